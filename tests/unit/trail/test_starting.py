"""What a lock says of its holder, who believes it, and how long anybody waits for that."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from indelible.config import AuditSettings
from indelible.errors import IndelibleError, TrailLocked
from indelible.trail import durable
from indelible.trail.layout import Layout
from indelible.trail.sharing import patience, processes
from indelible.trail.sharing.hub import Hub
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.start import recovery
from indelible.trail.start.holder import ENDING, HOLDING, STARTING, Holder, said, who_comes_or_goes
from indelible.trail.start.lock import TrailLock
from indelible.trail.start.maintain import open_for_maintenance
from indelible.trail.start.opening import open_writer
from indelible.trail.writer import Writer
from tests.recording import LIMIT_S, body, wait_for

ACCESS = durable.access_for(None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a trail that there is already."""
    found = tmp_path / "audit.jsonl"
    open_writer(found, AuditSettings(), "first").writer.close()
    return found


def phase(path: Path) -> str | None:
    holder = said(Layout(path).lock)
    return holder and holder.phase


def dead_pid() -> int:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


# --- what it says -------------------------------------------------------------------------------------------------


def test_a_shared_writer_says_what_it_is_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            seen.append((name, phase(path)))
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in ((recovery, "resume"), (Hub, "start"), (Hub, "close"), (Writer, "close")):
        watch(owner, name)
    writer = SharedWriter(path, AuditSettings(), "one")
    seen.append(("open", phase(path)))
    writer.append(body(writer, "e1"), "", "")
    writer.close()
    assert seen == [
        ("resume", STARTING), ("start", STARTING), ("open", HOLDING), ("close", ENDING), ("close", ENDING)
    ]  # fmt: skip
    assert said(Layout(path).lock) is None


def test_one_that_listens_to_nobody_says_so_and_maintenance_that_it_ends(path: Path) -> None:
    writer = open_writer(path, AuditSettings(), "alone").writer
    assert phase(path) == HOLDING
    writer.close()
    with open_for_maintenance(path, AuditSettings()):
        assert phase(path) == ENDING


def test_a_start_that_fails_leaves_nothing_said(path: Path) -> None:
    key = Layout(path).key
    key.rename(key.with_name("kept"))
    key.mkdir()
    with pytest.raises(IndelibleError, match="signing key"):
        SharedWriter(path, AuditSettings(), "one")
    assert said(Layout(path).lock) is None


def test_a_lock_that_is_made_anew_says_the_same(path: Path) -> None:
    lock = TrailLock(Layout(path).lock, ACCESS)
    lock.say(ENDING)
    Layout(path).lock.unlink()
    lock.ensure()
    assert phase(path) == ENDING
    lock.release()
    lock.say(HOLDING)  # of one that is let go of there is nothing to say
    assert phase(path) is None


# --- who believes it ----------------------------------------------------------------------------------------------


def described(**other: Any) -> dict[str, Any]:
    pid = os.getpid()
    about = {"pid": pid, "command": "c", "since": "s", "phase": STARTING}
    return {**about, "born": processes.born(pid), "namespace": processes.namespace(), **other}


@pytest.mark.parametrize("phase", [STARTING, ENDING])
def test_a_living_one_is_believed(tmp_path: Path, phase: str) -> None:
    lock = tmp_path / "lock"
    lock.write_text(json.dumps(described(phase=phase)) + "\n")
    found = who_comes_or_goes(lock)
    assert found is not None
    assert (found.pid, found.phase, str(found)) == (os.getpid(), phase, f"process {os.getpid()} (c, since s)")


@pytest.mark.parametrize(
    "other",
    [
        {"phase": HOLDING},
        {"phase": None},
        {"born": (processes.born(os.getpid()) or 0) + 1},
        {"pid": dead_pid()},
        {"pid": -1},
        {"pid": 1 << 70},
        {"pid": "1"},
        {"pid": True},
    ],
    ids=["holding", "no phase", "born later", "gone", "negative", "huge", "a text", "true"],
)
def test_one_that_is_gone_or_another_is_not(tmp_path: Path, other: dict[str, Any]) -> None:
    lock = tmp_path / "lock"
    lock.write_text(json.dumps(described(**other)) + "\n")
    assert who_comes_or_goes(lock) is None


def test_of_one_in_another_container_only_its_lock_is_known(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(json.dumps(described(namespace=1, pid=dead_pid())) + "\n")
    found = who_comes_or_goes(lock)
    assert found is not None
    assert not found.is_stopped


@pytest.mark.parametrize("data", [b"", b"\n", b"{", b"[]\n", b"1\n", b"\xff\n", b'{"pid": 1', b"[" * 5000])
def test_what_says_nothing(tmp_path: Path, data: bytes) -> None:
    lock = tmp_path / "lock"
    assert said(lock) is None
    lock.write_bytes(data)
    assert said(lock) is None


def test_what_is_left_of_a_longer_line_counts_for_nothing(tmp_path: Path) -> None:
    """A holder may be killed, or looked at, between writing its line and cutting the file to it."""
    lock = tmp_path / "lock"
    line = json.dumps(described()).encode() + b"\n"
    lock.write_bytes(line + b'since": "2026-01-01", "phase": "ending"}\n')
    found = said(lock)
    assert found is not None
    assert found.phase == STARTING
    lock.write_bytes(b"\n" + line[1:])
    assert said(lock) is None


# --- who waits ----------------------------------------------------------------------------------------------------


@pytest.fixture
def held(path: Path) -> Iterator[TrailLock]:
    """The lock of a start that goes on."""
    lock = TrailLock(Layout(path).lock, ACCESS)
    yield lock
    lock.release()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """What returns when there were so many attempts; who says nothing is given no time at all."""
    monkeypatch.setattr(patience, "START_S", 0.0)
    count, real = [0], patience.Patience.wait

    def counted(self: patience.Patience, held: TrailLocked) -> None:
        real(self, held)
        count[0] += 1

    monkeypatch.setattr(patience.Patience, "wait", counted)
    return lambda enough: wait_for(lambda: count[0] >= enough)


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_all_who_wait_get_in_when_the_start_is_over(
    path: Path,
    held: TrailLock,
    waits: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    durability: Any,
) -> None:
    opened: list[SharedWriter] = []
    audit = AuditSettings(durability=durability)
    threads = [
        threading.Thread(target=lambda name=name: opened.append(SharedWriter(path, audit, name)))
        for name in ("a", "b", "c", "d")
    ]
    for thread in threads:
        thread.start()
    waits(8)
    assert opened == []
    monkeypatch.setattr(
        patience, "START_S", LIMIT_S
    )  # the next has the lock before it says that it is starting
    held.release()
    for thread in threads:
        thread.join(LIMIT_S)
    assert len(opened) == len(threads)
    assert sum(writer.holder is not None for writer in opened) == 1
    for writer in sorted(opened, key=lambda writer: writer.holder is not None):
        writer.append(body(writer, f"e{id(writer)}"), "", "")
        writer.close()


def test_a_limit_ends_it(path: Path, held: TrailLock, waits: Callable[[int], None]) -> None:
    with pytest.raises(
        TrailLocked, match=r"is just opening the trail, for longer than audit.open_timeout \(0.2 s\)"
    ):
        SharedWriter(path, AuditSettings(open_timeout=0.2), "one")
    held.say(ENDING)
    with pytest.raises(TrailLocked, match="is just closing the trail, for longer than"):
        SharedWriter(path, AuditSettings(open_timeout=0.0), "one")
    waits(1)  # the first was patient


def test_who_says_nothing_is_not_waited_for(
    path: Path, held: TrailLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor who holds the lock under the name of a process that is gone, or another by now."""
    monkeypatch.setattr(patience, "START_S", 0.1)
    held.say(HOLDING)
    for line in (b"", b"\n", json.dumps(described(born=1)).encode() + b"\n", None):
        if line is not None:
            Layout(path).lock.write_bytes(line)
        with pytest.raises(TrailLocked, match="is being written by"):
            SharedWriter(path, AuditSettings(), "one")
        held.say(HOLDING)


def test_who_dies_during_a_long_attempt_was_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt takes longer than one without hope is waited for, and whoever it was made at is killed meanwhile."""
    now = [100.0]
    seen = iter([Holder(os.getpid(), phase="starting"), None, None])
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda _: None)
    monkeypatch.setattr(patience, "who_comes_or_goes", lambda _: next(seen))
    monkeypatch.setattr(patience, "time", clock)
    waits, held = patience.Patience(Layout(path), 300.0), TrailLocked("held")
    waits.wait(held)
    now[0] += patience.START_S + 1  # the attempt
    waits.wait(held)
    now[0] += patience.START_S
    with pytest.raises(TrailLocked):
        waits.wait(held)


def test_the_log_says_once_for_whom(
    path: Path, held: TrailLock, waits: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(patience, "TOLD_S", 0.05)
    opened: list[SharedWriter] = []
    thread = threading.Thread(target=lambda: opened.append(SharedWriter(path, AuditSettings(), "one")))
    thread.start()
    wait_for(lambda: caplog.records)
    waits(6)
    held.release()
    thread.join(LIMIT_S)
    opened[0].close()
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith(f"{path}: waits for process {os.getpid()} (")
    assert said.endswith("is just opening the trail")


def test_a_suspended_one_is_given_a_moment(
    path: Path, held: TrailLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A debugger that only looks at it suspends it, too."""
    monkeypatch.setattr(patience, "STOPPED_S", 0.2)
    looks: list[bool] = []

    def is_stopped(_pid: int) -> bool:
        looks.append(len(looks) < 2 or looks.count(False) > 1)  # for two looks; then, after two more, for good
        return looks[-1]

    monkeypatch.setattr(processes, "is_stopped", is_stopped)
    with pytest.raises(TrailLocked, match="is just opening the trail, and is suspended"):
        SharedWriter(path, AuditSettings(), "one")
    assert looks[:4] == [True, True, False, False]


def test_a_lock_without_its_file_is_still_held(path: Path) -> None:
    """The flock on the directory is the lock; the file only says whose it is."""
    lock = TrailLock(Layout(path).lock, ACCESS)
    fd = os.open(Layout(path).directory, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
    lock.release()
