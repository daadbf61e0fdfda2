"""Following a trail while the disk fails under its writer: each line once, though some are taken back or renumbered."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from indelible.config import AuditSettings
from indelible.errors import TrailUnavailable
from indelible.query.filters import Filter
from indelible.query.follow import Follower
from indelible.query.search import Corrupt
from indelible.trail import durable, switch
from indelible.trail.active import ActiveFile
from indelible.trail.commit import Item
from indelible.trail.layout import Layout
from indelible.trail.writer import Writer
from tests.trails import Maker
from tests.unit.trail.faults import read_all, without_threads
from tests.unit.trail.test_writer import body, start

ALL = Filter(events=None)
BROKEN = OSError(5, "Input/output error")


@pytest.fixture(autouse=True)
def _no_threads() -> Iterator[None]:
    """Checkpoints are made where a test says, and a disk that failed is tried again at once."""
    with without_threads():
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


class Watcher:
    """A follower, and all that it has shown."""

    def __init__(self, path: Path) -> None:
        self.corrupt = Corrupt()
        self._follower = Follower(path, ALL, self.corrupt)
        self.lines = [hit.line for hit in self._follower.start(0)]

    def look(self) -> None:
        self.lines += [hit.line for hit in self._follower.poll()]

    def close(self) -> list[dict[str, Any]]:
        self._follower.close()
        return [json.loads(line) for line in self.lines]


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["event_id"] for entry in entries]


def fail_the_sync(writer: Writer) -> None:
    with mock.patch.object(ActiveFile, "sync", side_effect=BROKEN), pytest.raises(OSError, match="Input"):
        writer.seal()


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    "looks", [set(), {"a"}, {"b"}, {"c"}, {"a", "c"}, {"switch"}, {"a", "b", "c", "switch"}]
)
def test_lines_that_were_written_again_are_shown_once(path: Path, *, sealed: bool, looks: set[str]) -> None:
    writer = start(path)
    watcher = Watcher(path)
    for name in ("a", "b", "c"):
        writer.append(body(name))
        if name in looks:
            watcher.look()
        if name == "a" and sealed:
            writer.seal()
    fail_the_sync(writer)
    if "switch" in looks:
        watcher.look()
    writer.append(body("d"))
    watcher.look()
    writer.close()
    watcher.look()
    shown, kept = watcher.close(), read_all(path)
    opened = [entry for entry in kept if entry["event_type"] == "file_opened"]
    assert len(opened) == (2 if sealed else 1), "the disk's failure began no new file"
    assert [name for name, count in Counter(names(shown)).items() if count > 1] == []
    gone = set(names(shown)) - set(names(kept))  # the first line of a file that the switch replaced altogether
    assert len(gone) <= (0 if sealed else 1)
    assert set(names(kept)) <= set(names(shown))
    assert [name for name in names(shown) if name in "abcd"] == ["a", "b", "c", "d"]
    assert watcher.corrupt.count == 0


@pytest.mark.parametrize("look_at_the_cut", [True, False])
def test_a_switch_that_is_seen_half_done_shows_nothing_twice(path: Path, *, look_at_the_cut: bool) -> None:
    writer = start(path)
    writer.seal()
    watcher = Watcher(path)
    for name in ("a", "b", "c"):
        writer.append(body(name))
    watcher.look()
    settle = switch.settle

    def watched(*args: Any) -> None:
        if look_at_the_cut:
            watcher.look()
        settle(*args)

    with mock.patch.object(switch, "settle", watched):
        fail_the_sync(writer)
    writer.append(body("d"))
    watcher.look()
    writer.close()
    watcher.look()
    shown, kept = watcher.close(), read_all(path)
    assert sorted(names(shown)) == sorted(names(kept))
    assert [name for name in names(shown) if name in "abcd"] == ["a", "b", "c", "d"]


def test_two_switches_and_a_rotation_between_two_looks(path: Path) -> None:
    writer = start(path, AuditSettings(max_size=2000, backup_count=100))
    watcher = Watcher(path)
    for number in range(4):
        writer.append(body(f"a{number}"))
    watcher.look()
    for step in range(2):
        fail_the_sync(writer)
        for number in range(9):
            writer.append(body(f"{step}.{number}", padding="x" * 200))
    watcher.look()
    writer.close()
    watcher.look()
    shown, kept = names(watcher.close()), read_all(path)
    assert len(kept) > 24
    assert sorted(set(shown)) == sorted(shown)
    assert set(names(kept)) <= set(shown)
    own = names([entry for entry in kept if entry["event_type"] == "mcp_operation"])
    assert [name for name in shown if name in own] == own


def test_a_file_that_was_removed_and_written_again(path: Path) -> None:
    writer = start(path)
    writer.seal()
    watcher = Watcher(path)
    writer.append(body("a"))
    watcher.look()
    writer.append(body("b"))
    path.unlink()
    with pytest.raises(OSError, match="removed"):
        writer.seal()
    writer.append(body("c"))
    watcher.look()
    writer.close()
    watcher.look()
    shown = names(watcher.close())
    assert sorted(set(shown)) == sorted(shown)
    assert [name for name in shown if name in "abc"] == ["a", "b", "c"]


def write_a_part(writer: Writer) -> None:
    """Two lines and a piece of the third get into the file; nobody is told that any is in the trail.

    The disk does not let them be cut off at once, as they would be; before the next write they are.
    """
    write = os.write

    def half(fd: int, data: bytes) -> int:
        write(fd, data[:700])
        raise OSError(28, "No space left on device")

    refused = mock.patch.object(os, "ftruncate", side_effect=OSError(5, "Input/output error"))
    with mock.patch.object(os, "write", half), refused:
        assert writer._write([Item(body(f"lost{number}", padding="x" * 150)) for number in range(6)]) == []


def test_seqs_of_lines_that_were_taken_back_are_shown_with_what_bears_them_now(path: Path) -> None:
    writer = start(path)
    watcher = Watcher(path)
    write_a_part(writer)
    watcher.look()
    assert names([json.loads(line) for line in watcher.lines])[-2:] == ["lost0", "lost1"]
    for number in range(6):  # the file is longer again than it was when it was looked at
        writer.append(body(f"new{number}", padding="y" * 140))
    watcher.look()
    writer.close()
    watcher.look()
    shown = names(watcher.close())
    assert [name for name in shown if name.startswith("new")] == [f"new{number}" for number in range(6)]
    assert set(names(read_all(path))) <= set(shown)
    assert watcher.corrupt.count == 0


def test_what_was_seen_of_lines_taken_back_counts_no_more_once_others_came(path: Path) -> None:
    writer = start(path)
    writer.seal()
    watcher = Watcher(path)
    write_a_part(writer)
    watcher.look()
    writer.append(body("a"))
    watcher.look()
    writer.append(body("b"))
    fail_the_sync(writer)
    writer.append(body("c"))
    watcher.look()
    writer.close()
    watcher.look()
    shown = names(watcher.close())
    assert [name for name in shown if name in "abc"] == ["a", "b", "c"]


def test_a_commit_that_failed_for_good_and_what_came_in_its_place(path: Path) -> None:
    writer = start(path, AuditSettings(durability="disk"))
    writer.seal()
    watcher = Watcher(path)
    writer.append(body("a"))

    def look(*_: Any, **__: Any) -> None:
        watcher.look()
        raise BROKEN

    with (
        mock.patch.object(durable, "datasync", side_effect=BROKEN),
        mock.patch.object(switch, "switch", look),
        pytest.raises(TrailUnavailable),
    ):
        writer.append(body("lost"))
    writer.append(body("b"))
    watcher.look()
    writer.close()
    watcher.look()
    shown, kept = names(watcher.close()), names(read_all(path))
    assert "lost" in shown
    assert "lost" not in kept
    assert sorted(shown) == sorted([*kept, "lost"])


def test_what_a_first_line_says_is_believed_only_in_a_writers_form(path: Path) -> None:
    maker = Maker(path).add_many(9)
    watcher = Watcher(path)
    wrong: list[Any] = [["7", "8"], [9, 8], [8], {"first": 8}, [True, 9], [0, 3], [8, 2**70], None]
    for said, lines in [*((said, 3) for said in wrong), ([8, 2**60], 1)]:
        before = len(watcher.lines)
        maker.layout.active.unlink()
        maker.seq = 7  # 7, 8 and 9 were seen
        maker.add(maker.service("file_opened", {"rewritten": said, "shift": 1, "first_seq": 7}))
        maker.add_many(2)
        watcher.look()
        assert len(watcher.lines) == before + lines, said
    assert watcher.corrupt.count == 0


def test_a_damaged_closed_file_does_not_end_the_following(path: Path) -> None:
    maker = Maker(path).add_many(5)
    watcher = Watcher(path)
    maker.rotate()
    packed = maker.add_many(9).rotate(compress=True)
    packed.write_bytes(packed.read_bytes()[:-20])
    maker.add_many(3)
    watcher.look()
    seqs = [entry["seq"] for entry in watcher.close()]
    assert seqs[-4:] == list(range(maker.seq - 4, maker.seq))
    assert watcher.corrupt.count == 1
    assert Layout(path).active.name in watcher.corrupt.first()
