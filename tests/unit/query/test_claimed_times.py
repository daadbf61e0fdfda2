"""Lines whose `timestamp` is after their `recorded_at`: no writer makes any now, and each way to ask says the same."""

import functools
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.query import search
from indelible.query.engine.asking import Asked
from indelible.query.filters import Filter, parse_row
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail.files import blocks_backward
from tests.effort import examples
from tests.trails import Maker, at, operation

AHEAD = st.sampled_from([-30.0, -0.5, 0.0, 0.000001, 1.9, 2.0, 2.000001, 2.1, 40.0, 3600.0, 1e8])
"""By how many seconds a `timestamp` is after `recorded_at`."""


@given(
    calls=st.lists(st.tuples(st.integers(0, 9), AHEAD), min_size=30, max_size=90),
    cuts=st.frozensets(st.integers(0, 90), max_size=4),
    sinces=st.lists(
        st.tuples(st.integers(0, 89), st.sampled_from([-2e-6, 0, 1e-6, 2.0])), min_size=1, max_size=4
    ),
)
@settings(max_examples=examples(10), deadline=None)
def test_every_way_to_ask_an_old_trail_finds_what_a_loop_finds(
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[tuple[int, float]],
    cuts: frozenset[int],
    sinces: list[tuple[int, float]],
) -> None:
    maker = Maker(tmp_path_factory.mktemp("t") / "audit.jsonl")
    recorded, times = 1.0, []
    lines = []
    for number, (pause, ahead) in enumerate(calls):
        if number in cuts:
            maker.clock = recorded - 1
            maker.rotate(compress=number % 2 == 0)
        recorded += pause
        times.append(recorded + ahead)
        lines.append(maker.add(operation(maker.seq, timestamp=at(times[-1])), at(recorded)))
    for which, beside in sinces:
        wanted = Filter(since=at(times[which % len(times)] + beside))
        matches = wanted.predicate()
        expected = [line for line in lines if (row := parse_row(line)) is not None and matches(row)]
        assert found(maker.layout.active, wanted) == [expected] * 4


def found(path: Path, wanted: Filter) -> list[list[bytes]]:
    """Return what each way finds, with small pieces, so that a small trail is bisected like a large one."""
    small = functools.partial(blocks_backward, chunk=512)
    with mock.patch.object(search, "MAX_LINE_BYTES", 600), mock.patch.object(search, "blocks_backward", small):
        with TrailSearch(path, wanted, Corrupt()) as one:
            ways = [[hit.line for hit in one.all()], [hit.line for hit in one.newest(1000)]]
        with Asked([path], wanted) as asked:
            (trail,) = asked.trails("true")
            ways += [
                [hit.line for hit in trail.all()],
                [hit.line for hit in asked.sorted(None, ("seq", False), 0)],
            ]
    return ways
