"""The event's times: written the same whatever was written before them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from indelible.events import format_time

SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = 1_800_000_000 * SECOND

NEAR = st.sampled_from([0, 1, 999, 1000, 999_999, 1_000_000, SECOND - 1, SECOND]).flatmap(
    lambda edge: st.integers(-2, 2).map(lambda by: NOW + edge + by)
)
ANY = st.integers(-60 * 365 * 86_400 * SECOND, 200 * 365 * 86_400 * SECOND)


def written(nanoseconds: int) -> str:
    """Return the same by the standard library, which has no nanoseconds."""
    moment = EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@given(st.lists(NEAR | ANY, min_size=1, max_size=20))
@example([NOW + 1_500_000, NOW + 1_499_999, NOW + 999_999_999, NOW + SECOND, NOW + 1_500_000, NOW - 1])
@example([-1, 0, -1, -SECOND, -SECOND - 1])
def test_a_time_is_written_the_same_whatever_was_written_before_it(times: list[int]) -> None:
    """The newest millisecond is remembered: neither one beside it nor the next second may be taken for it."""
    assert [format_time(time) for time in times] == [written(time) for time in times]
