"""What is around a request is what a plain loop over all of it finds, and no more is held than what may be shown."""

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.query.around import Near, around
from tests.effort import examples


def by_a_plain_loop(kinds: list[str], before: int, after: int) -> list[tuple[int, bool]]:
    """Return (place, own) of what is shown: every own one, and those of the others within reach of one."""
    fitting = [at for at, kind in enumerate(kinds) if kind != "-"]
    own = [place for place, at in enumerate(fitting) if kinds[at] == "own"]
    return [
        (at, kinds[at] == "own")
        for place, at in enumerate(fitting)
        if kinds[at] == "own" or any(_reaches(fitting, kinds, mine, place, before, after) for mine in own)
    ]


def _reaches(fitting: list[int], kinds: list[str], mine: int, place: int, before: int, after: int) -> bool:
    """Tell whether so few others lie between that one and this."""
    low, high = sorted((mine, place))
    others = sum(kinds[at] == "fits" for at in fitting[low : high + 1])
    return others <= (before if place < mine else after)


@settings(max_examples=examples(300))
@given(
    st.lists(st.sampled_from(["own", "fits", "fits", "fits", "-"]), max_size=40),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_the_same_as_a_plain_loop(kinds: list[str], before: int, after: int) -> None:
    found = list(
        around(list(enumerate(kinds)), lambda one: one[1] == "own", lambda one: one[1] == "fits", before, after)
    )
    assert [(near.item[0], near.own) for near in found] == by_a_plain_loop(kinds, before, after)
    fitting = [at for at, kind in enumerate(kinds) if kind != "-"]
    for earlier, later in pairwise(found):
        between = fitting.index(later.item[0]) - fitting.index(earlier.item[0]) - 1
        assert later.skipped == between
    assert not found or found[0].skipped == 0


def test_it_gives_out_what_it_has_and_does_not_wait_for_the_end() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(1_000_000):
            taken.append(number)
            yield number

    groups = around(items(), lambda number: number == 10, lambda _: True, 2, 1)
    assert [next(groups) for _ in range(4)] == [
        Near(8, own=False),
        Near(9, own=False),
        Near(10, own=True),
        Near(11, own=False),
    ]
    assert taken[-1] == 11
