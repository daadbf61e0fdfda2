"""A second fault in the midst of what the first one made necessary: nothing told is untrue afterwards.

The first is a write, or a sync of the active file. The second is any operation on the disk of the switch that
follows; or the process is killed there, or right after it was told what became of its events.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest

from indelible import verify
from indelible.config import AuditSettings, Durability
from indelible.errors import TrailUnavailable
from indelible.trail import durable, switch
from indelible.trail.active import ActiveFile
from indelible.trail.commit import Item
from indelible.trail.writer import Writer
from tests.effort import sample

from .faults import Crash, Disk, Mode, assert_sealed, die, faulty, read_all, without_threads
from .test_unsealed import BROKEN, FULL
from .test_writer import body, start

MODES: tuple[Mode, ...] = ("error", "error-after", "crash", "crash-after", "no-space")
MOST: int = 60
"""No switch does more on the disk than this."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@dataclass
class Told:
    """What whoever recorded an event was told of it; what was cut short is in neither."""

    recorded: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def append(self, writer: Writer, name: str) -> None:
        try:
            writer.append(body(name))
        except TrailUnavailable:
            self.refused.append(name)
        else:
            self.recorded.append(name)


def judge(path: Path, told: Told) -> None:
    """The next start finds what was told."""
    with without_threads():
        writer = start(path)
        writer.append(body("next"))
        writer.close()
    found = read_all(path)
    times = Counter(entry["event_id"] for entry in found)
    assert [name for name in [*told.recorded, "next"] if times[name] != 1] == [], "recorded, and not there once"
    assert [name for name in told.refused if times[name]] == [], "there, though its caller was told otherwise"
    assert_sealed(path, found)
    result = verify(path)
    assert result.ok, result.findings


def fails_once(disk: Disk) -> Any:
    """Let the next sync of the active file fail, and from then on the disk at the operation that it was told."""
    sync = ActiveFile.sync

    def spoiled(self: ActiveFile, size: int, next_seq: int) -> None:
        if disk.armed or disk.calls:
            sync(self, size, next_seq)
            return
        self.doubtful = disk.armed = True
        raise BROKEN

    return mock.patch.object(ActiveFile, "sync", spoiled)


def live(
    path: Path,
    durability: Durability,
    disk: Disk,
    told: Told,
    *,
    sealed: bool,
    killed: bool = False,
    sick: bool = False,
) -> None:
    """Record, with a sync that fails, and `disk` from then on: as long as it is `sick`, else for the switch only."""
    writer = start(path, AuditSettings(durability=durability, write_timeout=0.2))
    if sealed:
        told.append(writer, "first")
        writer.seal()
    if durability == "process":
        for number in range(3):
            told.append(writer, f"before{number}")
    with fails_once(disk):
        if durability == "process":
            with suppress(OSError, TrailUnavailable):
                writer.seal()
        else:
            told.append(writer, "in it")
    disk.armed = sick
    if killed:
        raise Crash
    for number in range(3):
        told.append(writer, f"after{number}")
    with suppress(OSError, TrailUnavailable):
        writer.seal()
    told.append(writer, "last")
    writer.close()


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    ("mode", "then"),
    [
        *((mode, "alive") for mode in MODES),
        ("error", "killed"),
        ("error-after", "killed"),  # a disk without room for anything may not take a cut either
    ],
)
@pytest.mark.parametrize("durability", ["process", "disk"])
def test_each_operation_of_a_switch_goes_wrong(
    tmp_path: Path, durability: Durability, mode: Mode, sealed: bool, then: Literal["alive", "killed"]
) -> None:
    for at in range(MOST):
        path, told, disk = tmp_path / str(at) / "audit.jsonl", Told(), Disk(mode, at)
        disk.armed = False
        with without_threads(), faulty(disk):
            try:
                live(path, durability, disk, told, sealed=sealed, killed=then == "killed")
            except Crash:
                disk.armed = False
                die(path.parent)
        try:
            judge(path, told)
        except Exception as exc:
            around = disk.calls[max(0, at - 3) : at + 3]
            msg = f"{mode} at operation {at} of the switch ({around}): {exc}"
            raise AssertionError(msg) from exc
        if len(disk.calls) <= at:  # it was not reached: all were tried
            break
    else:
        pytest.fail("a switch does more on the disk")
    assert at > 5


class ThenKilled(Disk):
    """Fails at one operation, and dies at another, so many later."""

    def __init__(self, mode: Mode, at: int, later: int) -> None:
        super().__init__(mode, at)
        self._later = later

    def call(self, name: str, real: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().call(name, real, *args, **kwargs)
        finally:
            if self.mode != "crash" and len(self.calls) > self.at:
                self.mode, self.at = "crash", self.at + 1 + self._later


CASES: list[tuple[Durability, Mode, bool, int, int]] = [
    (durability, mode, sealed, at, later)
    for durability in ("process", "disk")
    for mode in ("error", "error-after")
    for sealed in (True, False)
    for at in range(30)
    for later in range(30)
]


@pytest.mark.sampled
def test_killed_while_it_is_tried_again(tmp_path: Path) -> None:
    """The switch fails, and in the midst of the next attempt the process dies."""
    died = 0
    for number, (durability, mode, sealed, at, later) in enumerate(sample(CASES, 60, "tried again")):
        path, told, disk = tmp_path / str(number) / "audit.jsonl", Told(), ThenKilled(mode, at, later)
        disk.armed = False
        with without_threads(), faulty(disk):
            try:
                live(path, durability, disk, told, sealed=sealed, sick=True)
            except Crash:
                died += 1
                disk.armed = False
                die(path.parent)
        try:
            judge(path, told)
        except Exception as exc:
            msg = f"{durability}, {mode} at {at}, dead {later} later, {sealed} ({disk.calls}): {exc}"
            raise AssertionError(msg) from exc
    assert died > 20


# --- what was refused does not come back ------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_of_a_batch_that_was_written_in_part_nothing_comes_back(path: Path, durability: Durability) -> None:
    """The disk is full in the midst of it, and the process is killed before anybody writes again."""
    write, calls = os.write, 0

    def full(fd: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise FULL
        return write(fd, data[: 2 * len(data) // 3])

    with without_threads():
        writer = start(path, AuditSettings(durability=durability))
        writer.append(body("a"))
        items = [Item(body(f"e{number}")) for number in range(6)]
        with mock.patch.object(os, "write", full):
            safe = writer._commit(items) if durability == "disk" else writer.append_all(items)[0]
        die(path.parent)
    assert calls > 1
    assert safe == 0
    judge(path, Told(["a"], [f"e{number}" for number in range(6)]))


def test_the_trails_own_words_do_not_go_with_a_batch_that_is_refused(path: Path) -> None:
    """Somebody placed a hold while a batch was being synced, and was told that it is on record."""
    with without_threads():
        writer = start(path, AuditSettings(durability="disk"))
        writer.append(body("a"))

        def sync(self: ActiveFile, *_: object) -> None:
            writer.write_service_events([writer.service_event("hold_placed", {"hold": {"id": "h1"}})])
            self.doubtful = True
            raise BROKEN

        told = Told(["a"])
        with (
            mock.patch.object(ActiveFile, "sync", sync),
            mock.patch.object(switch, "switch", side_effect=BROKEN),
        ):
            told.append(writer, "refused")
        writer.try_again()
        told.append(writer, "after")
        writer.close()
    judge(path, told)
    assert told.refused == ["refused"]
    placed = [e["metadata"]["hold"] for e in read_all(path) if e["event_type"] == "hold_placed"]
    assert placed == [{"id": "h1"}]


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switched", [True, False])
def test_a_closed_file_has_its_name_on_the_disk_before_the_next_one_has(
    path: Path, monkeypatch: pytest.MonkeyPatch, switched: bool
) -> None:
    """Though the first attempt to bring it there fails: else the power could take both names of it."""
    synced: list[Path] = []
    failed: list[Path] = []
    sync = durable.sync_directory

    def failing(place: Path | str) -> None:
        if Path(place) == layout.segments and not failed:
            failed.append(layout.segments)
            synced.clear()
            raise BROKEN
        synced.append(Path(place))
        sync(place)

    with without_threads():
        writer = start(path)
        layout = writer.layout
        writer.append(body("a"))
        writer.seal()
        writer.append(body("b"))
        disk = Disk("count")
        disk.armed = False
        monkeypatch.setattr(durable, "sync_directory", failing)
        if switched:
            with fails_once(disk), pytest.raises(OSError, match="Input"):
                writer.seal()
        else:
            with pytest.raises(TrailUnavailable):
                writer.rotate()
        assert failed
        writer.append(body("c"))
        assert synced.index(layout.segments) < synced.index(layout.active.parent)
        writer.close()
    judge(path, Told(["a", "b", "c"]))


def test_a_directory_has_its_name_on_the_disk_though_the_first_attempt_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    made = tmp_path / "tile" / "0" / "000.p"

    def failing(place: Path | str) -> None:
        synced.append(Path(place))
        if len(synced) == 2:
            raise BROKEN

    monkeypatch.setattr(durable, "sync_directory", failing)
    with pytest.raises(OSError, match="Input"):
        durable.make_directory(made, durable.Access())
    durable.make_directory(made, durable.Access())
    assert made.is_dir()
    assert synced == [tmp_path, tmp_path / "tile", tmp_path / "tile", tmp_path / "tile" / "0"]
