"""Deletion by retention: what goes is on record, what is on record goes, and what remains verifies."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from indelible import verify
from indelible.config import KEEP_ALL, AuditSettings, Bound, Retention
from indelible.errors import TrailCorrupt
from indelible.trail import files
from indelible.trail.files import TrailFile
from indelible.trail.layout import Layout
from indelible.trail.upkeep import due, facts, housekeeping, pruning
from indelible.trail.upkeep.due import Rules
from indelible.trail.upkeep.facts import FactsStore
from indelible.trail.upkeep.housekeeping import Housekeeper
from indelible.trail.upkeep.keeping import ClassFacts, Facts
from indelible.trail.writer import Writer

from .test_writer import body, start

DAY = 86_400 * 10**9
MONTH_AGO = 30 * DAY
AUDIT = AuditSettings(max_size=3000, backup_count=100, retention=KEEP_ALL)
ALL_GO = Rules(Retention(default=Bound(age=0.0)), 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


class Clock:
    """A month ago, and as much later as a test says."""

    def __init__(self) -> None:
        self.now = time.time_ns() - MONTH_AGO
        self._began = time.monotonic_ns()
        self._later = itertools.count(1000, 1000)
        """Beside `now`, which only the test changes: the sealer's thread asks, too, and would undo its step."""

    def __call__(self) -> int:
        passed = time.monotonic_ns() - self._began  # one that stood still would look as if it were set back
        return self.now + passed + next(self._later)


def fill(writer: Writer, files_wanted: int, kind: str = "mcp_operation") -> None:
    """Append events of one type until so many more files are closed, and seal them."""
    layout = writer.layout
    before = len(files.segments(layout))
    number = 0
    while len(files.segments(layout)) < before + files_wanted:
        writer.append(body(f"{kind}-{before}-{number}", kind, padding="x" * 300))
        number += 1
    writer.seal()


@contextlib.contextmanager
def trail(path: Path, *parts: tuple[str, int], **audit: Any) -> Iterator[Writer]:
    """A trail with closed files of these event types, nobody but the test looking after them."""
    with mock.patch.object(Housekeeper, "sealed"):
        writer = start(path, msgspec.structs.replace(AUDIT, **audit), clock=Clock())
        for kind, count in parts or (("mcp_operation", 6),):
            fill(writer, count, kind)
        yield writer
        writer.close()


def prune(writer: Writer, rules: Rules = ALL_GO) -> dict[str, Any]:
    return writer.housekeeper.pruner.prune(rules, lambda: False)


def records(path: Path) -> list[dict[str, Any]]:
    found = []
    for file in reversed(list(files.newest_first(Layout(path)))):
        with files.open_file(file) as stream:
            found += [json.loads(line) for line in stream if b'"retention_applied"' in line]
    return [entry["metadata"] for entry in found]


def assert_well(path: Path) -> None:
    """Nothing is missing that is not on record, and nothing is there that is."""
    found = verify(path)
    assert found.ok, found.findings
    said = [pair for metadata in records(path) for pair in metadata["pruned"]]
    there = [file.first_seq for file in files.segments(Layout(path))]
    assert not [first for first in there if any(low <= first <= high for low, high in said)]


# --- what is deleted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_the_record_says_of_each_file_what_it_held(path: Path, compressed: bool) -> None:
    with trail(path, ("mcp_operation", 2), ("alert", 2)) as writer:
        if compressed:
            writer.housekeeper.compress()
        held = {}
        for file in files.segments(writer.layout):
            with files.open_file(file) as stream:
                held[file.first_seq] = Counter(json.loads(line)["event_type"] for line in stream)
        sizes = {file.first_seq: file.path.stat().st_size for file in files.segments(writer.layout)}
        checkpoint = writer.layout.checkpoint.read_text().split("\n")
        done = prune(writer)
        [metadata] = records(path)
        assert {one["first"]: one["events"] for one in metadata["removed"]} == held
        assert {one["first"]: one["bytes"] for one in metadata["removed"]} == sizes
        for one, following in zip(metadata["removed"], metadata["removed"][1:], strict=False):
            assert one["last"] == following["first"] - 1
        assert metadata["checkpoint"]["size"] == int(checkpoint[1])
        assert metadata["files"] == len(held) == done["deleted_files"]
        assert metadata["bytes"] == sum(sizes.values()) == done["deleted_bytes"]
        assert metadata["removed"] == done["deleted"]
    assert_well(path)


def test_classes_have_their_own_age_and_holes_are_no_finding(path: Path) -> None:
    rules = Rules(Retention(default=Bound(age=1.0), classes={"auth_rejected": Bound(age=90 * 86_400.0)}), 0)
    with trail(path, ("mcp_operation", 2), ("auth_rejected", 2), ("mcp_operation", 3)) as writer:
        done = prune(writer, rules)
        left = files.segments(writer.layout)
        assert [one["rule"] for one in done["deleted"]] == ["retention"] * len(done["deleted"])
        for file in left[:-1]:
            assert b"auth_rejected" in file.path.read_bytes()
        assert len(done["deleted"]) >= 4
        assert len(records(path)[-1]["pruned"]) == 2
        assert prune(writer, rules)["deleted"] == []
        assert len(prune(writer)["deleted"]) >= 2
        assert prune(writer)["kept"].keys() <= {"unsealed"}
    assert_well(path)


def test_a_size_keeps_the_newest_of_its_class(path: Path) -> None:
    with trail(path, ("mcp_operation", 8)) as writer:
        closed = files.segments(writer.layout)
        keep = sum(file.path.stat().st_size for file in closed[-3:])
        prune(writer, Rules(Retention(default=Bound(size=keep)), 0))
        assert files.segments(writer.layout)[:3] == closed[-3:]
    assert_well(path)


def test_what_is_left_before_a_hole_is_as_old_as_its_own_last_event(path: Path) -> None:
    """And not as old as the next file that is still there, which may be months younger."""
    with trail(path, ("alert", 1), ("mcp_operation", 2)) as writer:
        held_back = Rules(Retention(default=Bound(age=0.0), classes={"alert": Bound(age=1e9)}), 0)
        prune(writer, held_back)
        clock = writer._clock.wall
        assert isinstance(clock, Clock)
        clock.now += 25 * DAY
        fill(writer, 2)
        first = files.segments(writer.layout)[0]
        prune(writer, Rules(Retention(default=Bound(age=20 * 86_400.0)), 0))
        assert first not in files.segments(writer.layout)
        assert records(path)[-1]["removed"][0]["last"] < files.segments(writer.layout)[0].first_seq - 1
    assert_well(path)


def test_many_files_go_with_records_that_fit_a_line(path: Path) -> None:
    with trail(path, ("mcp_operation", 130)) as writer:
        done = prune(writer)
        assert [metadata["files"] for metadata in records(path)] == [50, 50, 30]
        assert done["deleted_files"] == 130
    assert_well(path)


def test_holes_are_no_more_than_a_first_line_has_room_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "MAX_RANGES", 2)
    parts = [(kind, 2) for _ in range(5) for kind in ("mcp_operation", "auth_rejected")]
    rules = Rules(Retention(default=Bound(age=1.0), classes={"auth_rejected": Bound(age=1e9)}), 0)
    with trail(path, *parts) as writer:
        prune(writer, rules)
        assert len(writer.housekeeper.pruned) == 2
        assert len(prune(writer)["deleted"]) > 10  # with no hole between them
        assert len(writer.housekeeper.pruned) == 1
    assert_well(path)


def test_time_alone_makes_a_file_due(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with trail(path) as writer:
        pass
    monkeypatch.setattr(housekeeping, "LOOK_S", 0.0)
    writer = start(path, AuditSettings(max_size=3000, retention=60 * 86_400.0))
    keeper = writer.housekeeper
    looks: list[float] = []
    prune_it = keeper.prune

    def look() -> None:
        looks.append(1.0)
        prune_it()

    with mock.patch.object(keeper, "prune", look):
        for number in range(3):
            writer.append(body(f"later-{number}"))
            writer.seal()
            assert keeper._thread is not None
            keeper._thread.join(30)
    writer.close()
    assert len(looks) >= 3
    assert records(path) == []


# --- what is remembered ---------------------------------------------------------------------------------------------


def test_facts_are_those_of_the_lines(path: Path) -> None:
    with trail(path, ("mcp_operation", 1), ("alert", 1)) as writer:
        for file in files.segments(writer.layout):
            lines = file.path.read_bytes().splitlines(keepends=True)
            found = facts.read(file, 0, "2030")
            assert found.bytes == file.path.stat().st_size
            assert sum(one.count for one in found.classes.values()) == len(lines)
            entries = [(json.loads(line), len(line)) for line in lines]
            for kind, one in found.classes.items():
                own = [(entry, size) for entry, size in entries if entry["event_type"] == kind]
                assert (one.count, one.bytes) == (len(own), sum(size for _, size in own))
                assert one.newest == max(entry["recorded_at"] for entry, _ in own)
            assert found.since == min(entry["timestamp"] for entry, _ in entries)


def test_lines_that_are_no_events_are_as_young_as_the_file(path: Path) -> None:
    good = b'{"seq":0,"schema":1,"recorded_at":"2026-01-01T00:00:00.000000Z","timestamp":"t","event_type":"alert"}\n'
    erased = b'{"seq":1,"erased":"x","leaf":"y"}\n'
    other = b'{"seq":0,"event_type":"alert","timestamp":"2026-02","recorded_at":"2026-03"}\n'
    data = b"torn\n" + good + b"\xff\xfe\n" + erased + good[:50] + b"\n" + other + b"\nno end\r\n"
    path.write_bytes(data)
    found = facts.read(TrailFile(path, 0, compressed=False), 5, "2030")
    assert {kind: (one.count, one.newest) for kind, one in found.classes.items()} == {
        "alert": (2, "2026-03"),
        "erased": (1, ""),
        "unknown": (5, "2030"),
    }
    assert sum(one.bytes for one in found.classes.values()) == len(data) == found.bytes
    assert found.since == ""


BY_CLASS = Rules(Retention(default=Bound(age=1.0), classes={"auth_rejected": Bound(age=1e9)}), 0)


def lie(layout: Layout, first: int, **classes: ClassFacts) -> None:
    """Have it remembered that a file holds something else."""
    sidecar = layout.facts / f"{first:020d}.json"
    known = msgspec.json.decode(sidecar.read_bytes(), type=Facts)
    sidecar.write_bytes(msgspec.json.encode(msgspec.structs.replace(known, classes=classes)))


def test_nothing_goes_by_what_is_remembered_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with trail(path, ("auth_rejected", 3)) as writer:
        prune(writer, BY_CLASS)
        layout = writer.layout
    before = files.segments(layout)
    old = ClassFacts(9, 999, "2020-01-01T00:00:00.000000Z")
    for file in before:
        lie(layout, file.first_seq, mcp_operation=old)
    with mock.patch.object(Housekeeper, "sealed"):
        writer = start(path, AUDIT)
        assert prune(writer, BY_CLASS)["deleted"] == []
        assert files.segments(layout)[: len(before)] == before
        assert "was remembered wrongly" in caplog.text
        caplog.clear()
        assert prune(writer, BY_CLASS)["deleted"] == []  # judged anew, and remembered rightly
        assert caplog.text == ""
        writer.close()


@pytest.mark.parametrize("how", ["missing", "torn", "another's"])
def test_what_is_remembered_is_made_anew(path: Path, how: str) -> None:
    with trail(path, ("mcp_operation", 3)) as writer:
        prune(writer, BY_CLASS._replace(retention=Retention(classes={"alert": Bound(age=1.0)}), backup_count=9))
        layout = writer.layout
    sidecars = sorted(layout.facts.iterdir())
    assert len(sidecars) == 3
    right = [sidecar.read_bytes() for sidecar in sidecars]
    for sidecar in sidecars:
        if how == "missing":
            sidecar.unlink()
        else:
            sidecar.write_bytes(
                right[0][:40] if how == "torn" else right[-1].replace(b'"first":', b'"first":9')
            )
    store = FactsStore(layout, None)
    closed = files.segments(layout)
    for file, end, expected in zip(closed, due.ends(layout, closed), right, strict=True):
        assert msgspec.json.encode(store.get(file, end - 1, "")) == expected


def test_what_is_remembered_of_deleted_files_goes_with_them(path: Path) -> None:
    with trail(path) as writer:
        prune(writer, BY_CLASS)
        left = {file.first_seq for file in files.segments(writer.layout)}
        assert {int(sidecar.stem) for sidecar in writer.layout.facts.iterdir()} <= left


def test_a_hint_that_lies_about_deletions_deletes_nothing_and_is_not_repeated(path: Path) -> None:
    """What it says would stand in the next file's first line, which excuses a file that is gone."""
    with trail(path) as writer:
        layout = writer.layout
    before = files.segments(layout)
    hint = json.loads(layout.state.read_bytes())
    layout.state.write_text(json.dumps({**hint, "pruned": [[0, 10**6]]}))
    with mock.patch.object(Housekeeper, "sealed"):
        writer = start(path, AUDIT)
        assert writer.housekeeper.pruned == []
        prune(writer, Rules(KEEP_ALL, 0))
        assert files.segments(layout) == before
        writer.close()


def test_a_damaged_file_stops_no_other(path: Path) -> None:
    with trail(path, ("mcp_operation", 5)) as writer:
        writer.housekeeper.compress()
        closed = files.segments(writer.layout)
        data = closed[2].path.read_bytes()
        closed[2].path.write_bytes(data[:40])
        rules = BY_CLASS._replace(
            retention=Retention(default=Bound(age=1.0), classes={"alert": Bound(age=1.0)})
        )
        with pytest.raises(TrailCorrupt, match=closed[2].path.name):
            prune(writer, rules)
        left = files.segments(writer.layout)
        assert closed[2] in left
        assert closed[0] not in left
        assert closed[3] not in left
        closed[2].path.write_bytes(data)
        prune(writer)
    assert_well(path)


# --- rotations meanwhile ------------------------------------------------------------------------------------------


def test_a_file_that_is_closed_while_files_are_judged_is_not_deleted_with_the_one_before_it(path: Path) -> None:
    with trail(path) as writer:
        writer.append(body("sealed"))
        writer.seal()
        of, meant = files.first_seq, writer.active_size[0]

        def rotates(place: Path) -> int | None:
            writer.rotate()
            return of(place)

        store = FactsStore(writer.layout, writer.access)
        with mock.patch.object(files, "first_seq", rotates):
            plan = due.make_plan(writer.layout, ALL_GO, writer.sealed, store, None, ())
        assert files.segments(writer.layout)[-1].first_seq == meant
        assert plan.due[-1][1].file.last == meant - 1  # what goes on record as deleted
    assert verify(path).ok


def test_the_newest_file_may_be_closed_just_before_it_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trail(path) as writer:
        pruner = writer.housekeeper.pruner
        said = pruner._said = prune(writer)["deleted"] and pruner.pruned
        pruner._said = None
        writer.append(body("new"))

        def rotates(file: TrailFile) -> Any:
            monkeypatch.undo()
            file.path.rename(file.path.with_name("away"))
            try:
                return files.open_file(file)
            finally:
                file.path.with_name("away").rename(file.path)

        monkeypatch.setattr(files, "open_file", rotates)
        pruner.finish()
        assert pruner._said == said
