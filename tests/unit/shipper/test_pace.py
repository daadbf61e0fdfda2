"""When a sink that failed is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from indelible.shipper.pace import CAP_S, FIRST_S, MAX_ASKED_S, pause

CHANCE = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 10**6), CHANCE)
def test_a_pause_grows_to_its_cap_and_half_of_it_is_chance(failures: int, chance: float) -> None:
    wait = pause(failures, chance)
    whole = min(CAP_S, FIRST_S * 2 ** min(max(failures - 1, 0), 30))
    assert whole / 2 <= wait <= whole
    assert pause(failures, 0) <= wait <= pause(failures + 1, 1)


@given(st.integers(0, 100), CHANCE, st.floats(0, 1e9))
def test_no_attempt_is_made_sooner_than_a_destination_asks_for(
    failures: int, chance: float, asked: float
) -> None:
    assert pause(failures, chance, asked) == max(pause(failures, chance), min(asked, MAX_ASKED_S))
