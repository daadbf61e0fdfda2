"""However the clock is set, `--since` and `--until` find what a scan of every line finds."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.config import AuditSettings
from indelible.events import format_time
from indelible.query import search
from indelible.query.filters import Filter, parse_row
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail.files import blocks_backward
from indelible.trail.start.opening import open_writer
from indelible.trail.writer import Writer
from tests.effort import examples

pytestmark = pytest.mark.slow

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND


class Recording:
    """A writer in a world where time passes and clocks are set; calls are received, and recorded later."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.true, self.off = SECOND, START
        self.received: list[str] = []
        self.count = 0
        self.writer = self._open()

    def _open(self) -> Writer:
        audit = AuditSettings(max_size=6_000, backup_count=10_000, compress_rotated=False)
        return open_writer(
            self.path, audit, "test", clock=lambda: self.true + self.off, steady=lambda: self.true
        ).writer

    def wait(self, seconds: float) -> None:
        self.true += int(seconds * SECOND)

    def set_clock(self, seconds: float) -> None:
        self.off += int(seconds * SECOND)
        self.writer.look()  # the sealer's thread does, every few seconds

    def receive(self, _: float) -> None:
        self.received.append(format_time(self.true + self.off))

    def record(self, which: float) -> None:
        if not self.received:
            self.receive(0)
        timestamp = self.received.pop(int(which) % len(self.received))
        event = {"timestamp": timestamp, "event_type": "mcp_operation", "event_id": f"call-{self.count}"}
        self.writer.append(
            msgspec.json.encode({**event, "metadata": {"test.pad": "x" * (self.count * 37 % 400)}})
        )
        self.count += 1

    def burst(self, seconds: float) -> None:
        """Many short calls, so that there is something to leave out."""
        for _ in range(12):
            self.wait(seconds / 12)
            self.record(self.count)

    def late(self, seconds: float) -> None:
        """A call during which the clock is set back, with others after it."""
        self.burst(seconds)
        self.wait(seconds)
        self.receive(0)
        self.wait(1)
        self.set_clock(-0.9 * seconds)
        self.record(-1)
        self.burst(seconds / 3)

    def restart(self, seconds: float) -> None:
        """The calls that were under way end with the process; the clock may be set in between."""
        self.writer.close()
        self.received.clear()
        self.off += int(seconds * SECOND)
        self.writer = self._open()


AMOUNTS = st.sampled_from([0.5, 3.0, 60.0, 600.0, 3600.0, 90_000.0]) | st.floats(0.001, 8000)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["wait", "receive", "record", "burst", "late"]), AMOUNTS)
    | st.tuples(st.sampled_from(["set_clock"]), AMOUNTS | AMOUNTS.map(lambda seconds: -seconds))
    | st.tuples(st.just("restart"), st.just(0.0) | AMOUNTS.map(lambda seconds: -seconds)),
    min_size=5,
    max_size=25,
)


@given(
    actions=ACTIONS, wheres=st.lists(st.tuples(st.integers(0, 400), st.integers(-1, 1)), min_size=2, max_size=8)
)
@settings(max_examples=examples(40))
def test_any_sequence_of_steps(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, float]], wheres: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("steps") / "audit.jsonl"
    recording = Recording(path)
    for name, amount in actions:
        getattr(recording, name)(amount)
    recording.writer.close()
    files = [*sorted((path.parent / "audit.jsonl.d/segments").glob("*.jsonl")), path]
    lines = [line for file in files for line in file.read_bytes().split(b"\n")[:-1]]
    rows = [row for line in lines if (row := parse_row(line)) is not None]
    assert len(rows) == len(lines)
    assert [row.recorded_at for row in rows] == sorted(row.recorded_at for row in rows)
    edges = [_beside(rows[at % len(rows)].timestamp, by) for at, by in wheres]
    for since in edges:
        _compare(path, lines, Filter(since=since, events=None))
        for until in edges:
            _compare(path, lines, Filter(since=since, until=until))


def _beside(timestamp: str, by: int) -> str:
    """Return a moment at a time, or a microsecond beside it."""
    micro = int(timestamp[20:26]) + by
    return f"{timestamp[:20]}{min(999_999, max(0, micro)):06d}Z"


def _compare(path: Path, lines: list[bytes], wanted: Filter) -> None:
    """Search with small pieces, so that a small trail is bisected like a large one."""
    matches = wanted.predicate()
    expected = [line for line in lines if (row := parse_row(line)) is not None and matches(row)]
    small: Any = functools.partial(blocks_backward, chunk=512)
    with mock.patch.object(search, "MAX_LINE_BYTES", 600), mock.patch.object(search, "blocks_backward", small):
        with TrailSearch(path, wanted, Corrupt()) as one:
            assert [hit.line for hit in one.all()] == expected
        with TrailSearch(path, wanted, Corrupt()) as one:
            assert [hit.line for hit in one.newest(len(lines))] == expected
