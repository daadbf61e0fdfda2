"""What is kept for sinks: as long as they need it, within bounds, and never gone without a word."""

from __future__ import annotations

import contextlib
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import verify
from indelible.config import Bound, Retention
from indelible.sink_settings import Backlog, parse_sinks
from indelible.trail import files
from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from indelible.trail.shipping import backlog, cursor
from indelible.trail.shipping.backlog import Shipping, Unshipped, kept_for, lost, shipping_of, waiting
from indelible.trail.upkeep import due, housekeeping
from indelible.trail.upkeep.due import Rules
from indelible.trail.upkeep.housekeeping import Housekeeper
from indelible.trail.upkeep.keeping import Closed, judge
from indelible.trail.writer import Writer

from .test_retention import ALL_GO, AUDIT, assert_well, path, prune, trail
from .test_writer import body, start

__all__ = ["path"]

SINKS = parse_sinks(
    [{"type": "file", "path": "/x", "name": "siem"}, {"type": "file", "path": "/y", "name": "lake"}]
)
NO_BOUND = Backlog(size=None, age=None)


def waits(bound: Backlog = NO_BOUND, *sinks: str) -> Rules:
    return Rules(ALL_GO.retention, 0, Shipping(sinks or ("siem", "lake"), bound))


def stand(writer: Writer, sink: str, following: int, origin: str | None = None) -> None:
    at = cursor.Cursor(sink=sink, origin=origin or writer.layout.origin.read_text().strip(), next=following)
    cursor.write(writer.layout, at, Access())


def firsts(writer: Writer) -> list[int]:
    return [file.first_seq for file in files.segments(writer.layout)]


def alerts(path: Path) -> list[dict[str, Any]]:
    found = []
    for file in reversed(list(files.newest_first(Layout(path)))):
        with files.open_file(file) as stream:
            found += [
                json.loads(line)["metadata"]["backlog"] for line in stream if b'"event_type":"alert"' in line
            ]
    return found


def test_a_file_stays_until_every_sink_has_all_of_it(path: Path) -> None:
    with trail(path) as writer:
        starts = firsts(writer)
        stand(writer, "siem", starts[4])
        stand(writer, "lake", starts[2] - 1)  # one event of the second file is missing
        done = prune(writer, waits())
        assert firsts(writer) == starts[1:]
        assert done["kept"] == {"unshipped": 5}
        stand(writer, "lake", starts[2])
        prune(writer, waits())
        assert firsts(writer) == starts[2:]
        stand(writer, "lake", writer.size)
        prune(writer, waits())
        assert [first for first in firsts(writer) if first <= starts[-1]] == starts[
            4:
        ]  # records were rotated, too
        assert not alerts(path)
    assert_well(path)


def test_one_that_has_not_begun_needs_nothing_and_one_in_an_earlier_trail_needs_all(path: Path) -> None:
    with trail(path) as writer:
        starts = firsts(writer)
        stand(writer, "siem", 10**6, origin="indelible/earlier")
        prune(writer, waits())
        assert firsts(writer) == starts
        cursor.path_of(writer.layout, "siem").write_bytes(b"{")
        prune(writer, waits())
        assert firsts(writer) == starts
        cursor.path_of(writer.layout, "siem").unlink()
        prune(writer, waits())
        assert firsts(writer) == []


def test_a_hold_comes_first_and_retention_later(path: Path) -> None:
    with trail(path) as writer:
        stand(writer, "siem", 0)
        kept = prune(writer, waits()._replace(retention=Retention(default=Bound(age=10.0**9))))
        assert kept["kept"] == {"retention": 6}
    file = Closed(0, 5, "2020-01-01T00:00:00Z", sealed=True)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    rules = ALL_GO.retention
    for held, missing, rule in (("h", "s", "hold"), (None, "s", "unshipped"), (None, None, "retention")):
        [verdict] = judge([file], rules, 0, now, lambda _: None, lambda _: held, lambda _: missing)  # noqa: B023
        assert (verdict.rule, verdict.goes) == (rule, rule == "retention")


def test_beyond_the_bound_it_goes_and_the_seqs_are_named(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with trail(path) as writer:
        starts = firsts(writer)
        stand(writer, "siem", 3)
        stand(writer, "lake", starts[3])
        size = sum(file.path.stat().st_size for file in files.segments(writer.layout)[2:])
        with caplog.at_level(logging.WARNING, "indelible"):
            prune(writer, waits(Backlog(size=size, age=None)))
        assert firsts(writer) == starts[2:]
        writer.seal()
    [above, gone] = alerts(path)
    assert (above["sink"], above["state"], above["next"], above["files"]) == ("siem", "above", 3, 6)
    assert gone == {"sink": "siem", "state": "lost", "lost": [3, starts[2] - 1]}
    assert f"sink siem: events 3 to {starts[2] - 1} are deleted before it had them" in caplog.text
    assert_well(path)
    assert verify(path).ok


def test_age_is_a_bound_as_well(path: Path) -> None:
    with trail(path) as writer:  # its clock is a month behind
        starts = firsts(writer)
        stand(writer, "siem", 0)
        prune(writer, waits(Backlog(size=None, age=60 * 86400.0)))
        assert firsts(writer) == starts
        prune(writer, waits(Backlog(size=None, age=7 * 86400.0)))
        assert not set(firsts(writer)) & set(starts)  # a rotation came of the alerts
    assert {one["state"] for one in alerts(path)} == {"above", "lost"}


def test_from_80_percent_on_it_is_said_once(path: Path) -> None:
    with trail(path) as writer:
        size = sum(file.path.stat().st_size for file in files.segments(writer.layout))
        rules = waits(Backlog(size=size * 5 // 4, age=None))
        stand(writer, "siem", 1)
        for _ in range(3):
            prune(writer, rules)
        stand(writer, "siem", firsts(writer)[-1])
        prune(writer, rules)
    [said] = alerts(path)
    assert (said["sink"], said["state"], said["bytes"]) == ("siem", "above", size)
    assert 79 <= said["percent"] <= 81


FILES = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 100)), min_size=1, max_size=8)


@given(FILES, st.dictionaries(st.sampled_from("abc"), st.integers(0, 60), min_size=1), st.none() | st.integers(0, 400),
       st.none() | st.integers(0, 10))  # fmt: skip
def test_the_rule_said_file_by_file(
    given_files: list[tuple[int, int]], places: dict[str, int], size: int | None, age: int | None
) -> None:
    """A file is kept just when some sink misses an event of it, and it is within both bounds; what is lost is exact."""
    closed, last = [], -1
    for at, (count, length) in enumerate(given_files):
        last += count
        closed.append(Unshipped(last, length, float(len(given_files) - at)))
    bound = Backlog(size=size, age=None if age is None else float(age))
    for at, file in enumerate(closed):
        missing = [sink for sink, following in places.items() if following <= file.last]
        within = (size is None or sum(one.bytes for one in closed[at:]) <= size) and (
            age is None or file.age <= age
        )
        assert (
            (kept_for(at, closed, places, bound) in missing)
            if missing and within
            else (kept_for(at, closed, places, bound) is None)
        )
        first = closed[at - 1].last + 1 if at else 0
        ranges = {one["sink"]: one["lost"] for one in lost(first, file.last, places)}
        assert {sink: list(range(low, high + 1)) for sink, (low, high) in ranges.items()} == {
            sink: [seq for seq in range(first, file.last + 1) if seq >= places[sink]] for sink in missing
        }
    for one in waiting(closed, places, bound):
        own = [file for file in closed if file.last >= one.next]
        assert (one.files, one.bytes) == (len(own), sum(file.bytes for file in own))
        oldest_goes = bool(own) and kept_for(closed.index(own[0]), closed, {one.sink: one.next}, bound) is None
        assert (one.percent > 100) == oldest_goes or one.percent == 200


def test_settings_without_sinks_wait_for_nobody() -> None:
    from indelible.config import AuditSettings

    assert shipping_of(AuditSettings()) is None
    assert shipping_of(AuditSettings(sinks=SINKS)) == Shipping(("siem", "lake"), Backlog())
    assert backlog.places(Layout(Path("/nowhere/a")), ["x"], None) == {}


# --- recorders that end before their first checkpoint ---------------------------------------------------------------


def short_lived(path: Path, **audit: Any) -> None:
    """Record until a file is full, and close, before a checkpoint was made."""
    with mock.patch.object(Housekeeper, "sealed"):
        writer = start(
            path, msgspec.structs.replace(AUDIT, retention=ALL_GO.retention, backup_count=0, **audit)
        )
        before = len(firsts(writer))
        while len(firsts(writer)) == before:
            writer.append(body("e", padding="x" * 300))
        writer.close()


def test_where_nobody_records_for_long_the_bound_is_kept_as_well(path: Path) -> None:
    bound = Backlog(size=7000, age=None)
    for number in range(8):
        short_lived(path, sinks=SINKS, max_backlog=bound)
        if not number:
            at = cursor.Cursor(sink="siem", origin=Layout(path).origin.read_text().strip(), next=3)
            cursor.write(Layout(path), at, Access())
    assert sum(file.path.stat().st_size for file in files.segments(Layout(path))) <= 7000 + 3000 + 3000
    said = [about["state"] for about in alerts(path)]
    assert "above" in said
    assert "lost" in said
    assert_well(path)


def test_a_last_look_that_has_no_time_is_the_next_ones(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "LAST_LOOK_S", 0.0)
    for _ in range(3):
        short_lived(path)
    assert len(files.segments(Layout(path))) == 3
    monkeypatch.undo()
    short_lived(path)
    assert len(files.segments(Layout(path))) <= 2
    assert_well(path)


@pytest.mark.parametrize("after", range(0, 26, 5))
def test_a_look_stops_between_two_files_and_the_next_goes_on(path: Path, after: int) -> None:
    with trail(path) as writer:
        starts = firsts(writer)
        asked = iter(range(1000))
        with contextlib.suppress(due.Stopped):
            writer.housekeeper.pruner.prune(ALL_GO, lambda: next(asked) >= after)
        writer.seal()
        assert_well(path)
        prune(writer)
        assert not set(firsts(writer)) & set(starts)
    assert_well(path)
