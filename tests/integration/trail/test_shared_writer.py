"""One process's way into a trail that another holds: forks, time-outs, the end, asyncio, and holders that die."""

from __future__ import annotations

import asyncio
import json
import logging
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from indelible import verify
from indelible.config import AuditSettings, Durability, OnFailure, Settings
from indelible.errors import TrailLocked, TrailUnavailable
from indelible.events import new_id
from indelible.opening import open_recorder
from indelible.recorder import Recorder
from indelible.trail.commit import Item
from indelible.trail.layout import Layout
from indelible.trail.sharing import processes, wire
from indelible.trail.sharing.shared import SharedWriter
from tests.descriptors import descriptors
from tests.recording import LIMIT_S, body, event, wait_for

FRAGILE = """
import os
from indelible.trail.writer import Writer
append_all = Writer.append_all
def dies_of_it(self, items):
    if any(b"POISON" in item.body for item in items):
        os.kill(os.getpid(), 9)
    return append_all(self, items)
"""
"""Makes `dies_of_it`, an `append_all` that kills its process for one of the events."""

HOLDER = (
    FRAGILE
    + """
import os, sys
from pathlib import Path
from indelible.config import AuditSettings
from indelible.trail.sharing.shared import SharedWriter
path, how, durability = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if how == "fragile":
    Writer.append_all = dies_of_it
writer = SharedWriter(path, AuditSettings(durability=durability), "holder")
print("open", flush=True)
sys.stdin.readline()
writer.close()
"""
)

FORKS = """
import os, sys, json, traceback
from pathlib import Path
from indelible.config import AuditSettings
from indelible.errors import TrailUnavailable
from indelible.trail.commit import Item
from indelible.trail.sharing.shared import SharedWriter
from tests.recording import body
path, durability = Path(sys.argv[1]), sys.argv[2]
writer = SharedWriter(path, AuditSettings(durability=durability), "forker")
writer.append(body(writer, "before"), "", "")
pid = os.fork()
if pid == 0:
    said = []
    for _ in range(2):
        try:
            writer.append(body(writer, "child"), "", "")
            said.append("written")
        except TrailUnavailable as exc:
            said.append(str(exc))
    try:
        done = []
        writer.submit([Item(body(writer, "child"))], lambda safe, error: done.append((safe, str(error))))
        for _ in range(1000):
            if done: break
            __import__("time").sleep(0.01)
        said.append(done[0][1] if done[0][0] == 0 else "written")
    except TrailUnavailable as exc:
        said.append(str(exc))
    writer.close()
    again = SharedWriter(path, AuditSettings(durability=durability), "child")
    again.append(body(again, "own"), "", "")
    again.close()
    print(json.dumps(said), flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
for number in range(3):
    writer.append(body(writer, f"after{number}"), "", "")
print("holds" if writer.holder else "writes through another", flush=True)
writer.close()
"""


def entries(path: Path) -> list[dict[str, Any]]:
    files = [*sorted(Layout(path).segments.glob("*.jsonl")), path]
    return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]


def ids(path: Path) -> list[str]:
    return [entry["event_id"] for entry in entries(path) if entry["event_type"] == "mcp_operation"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


class Process:
    """A process that holds the trail until it is told, or made, to end."""

    def __init__(self, path: Path, how: str = "sound", durability: str = "process") -> None:
        command = [sys.executable, "-c", HOLDER, str(path), how, durability]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], LIMIT_S)[0]
        assert self.process.stdout.readline() == b"open\n"

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> None:
        self.process.wait(LIMIT_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def finish(self) -> int:
        """Let it close the trail; return its exit code."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(LIMIT_S)


@pytest.fixture
def hold(path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(how: str = "sound", durability: str = "process") -> Process:
        started.append(Process(path, how, durability))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def share(path: Path) -> Iterator[Callable[..., SharedWriter]]:
    opened: list[SharedWriter] = []

    def start(name: str = "other", **audit: Any) -> SharedWriter:
        opened.append(SharedWriter(path, AuditSettings(**audit), name))
        return opened[-1]

    yield start
    for writer in opened:
        writer.close()


@contextmanager
def stopped(process: Process) -> Iterator[None]:
    process.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: processes.is_stopped(process.process.pid))
    try:
        yield
    finally:
        process.process.send_signal(signal.SIGCONT)


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Put what is no key in the key's place: nobody can take the trail over."""
    key = Layout(path).key
    kept = key.with_name("key.kept")
    key.rename(kept)
    key.mkdir()
    try:
        yield
    finally:
        key.rmdir()
        kept.rename(key)


# --- forks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["process", "disk"])
@pytest.mark.parametrize("holds", [True, False])
def test_a_forked_child_disturbs_nothing(
    path: Path, hold: Callable[..., Process], durability: str, holds: bool
) -> None:
    holder = None if holds else hold(durability=durability)
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(path), durability]
    found = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    child, parent = found.stdout.splitlines()
    reason = "opened before a fork; open the trail again in the child"
    assert [said.removeprefix(f"{path}: ") for said in json.loads(child)] == [reason] * 3
    assert parent == ("holds" if holds else "writes through another")
    if holder is not None:
        assert holder.finish() == 0
    assert ids(path) == ["before", "own", "after0", "after1", "after2"]
    assert verify(path).ok


# --- time-outs and the end ----------------------------------------------------------------------------------------


def test_a_holder_that_does_not_answer(path: Path, hold: Callable[..., Process], share: Any) -> None:
    holder, writer = hold(), share(write_timeout=0.3)
    writer.append(body(writer, "e1"), "", "")
    with stopped(holder):
        began = time.monotonic()
        with pytest.raises(TrailUnavailable, match="the process that holds the trail does not answer"):
            writer.append(body(writer, "e2"), "", "")
        assert time.monotonic() - began >= 0.3
        done: list[tuple[int, str]] = []
        writer.submit([Item(body(writer, "e3"))], lambda safe, error: done.append((safe, str(error))))
        wait_for(lambda: done)
        assert done[0][0] == 0
        assert "does not answer" in done[0][1]
    writer.audit = AuditSettings(write_timeout=LIMIT_S)
    writer.append(body(writer, "e4"), "", "")
    assert [one for one in ids(path) if one in ("e1", "e4")] == ["e1", "e4"]
    assert max(Counter(ids(path)).values()) == 1
    assert len(done) == 1


def test_a_suspended_holder_is_not_waited_for(path: Path, hold: Callable[..., Process], share: Any) -> None:
    holder = hold()
    with (
        stopped(holder),
        pytest.raises(TrailLocked, match=rf"process {holder.process.pid}, which holds the trail, is suspended"),
    ):
        share()
    writer = share()
    writer.append(body(writer, "e1"), "", "")
    assert ids(path) == ["e1"]


def test_a_holder_that_was_slow_has_not_died(path: Path, hold: Callable[..., Process], share: Any) -> None:
    """Whoever hangs up on it twice does not make a suspect of what was on its way."""
    holder, writer = hold(), share(write_timeout=0.2)
    padding = "x" * 60_000
    for turn in range(3):
        with stopped(holder):
            for number in range(5):  # more than the socket takes
                with pytest.raises(TrailUnavailable):
                    writer.append(body(writer, f"{turn}-{number}", padding=padding), "", "")
        writer.audit = AuditSettings(write_timeout=LIMIT_S)
        writer.append(body(writer, f"{turn}-last"), "", "")
        writer.audit = AuditSettings(write_timeout=0.2)
    assert {"0-last", "1-last", "2-last"} <= set(ids(path))
    assert max(Counter(ids(path)).values()) == 1
    assert "alert" not in {entry["event_type"] for entry in entries(path)}
    assert not list(Layout(path).quarantine.glob("event-*"))


def test_close_gives_up_what_nobody_takes(
    path: Path, hold: Callable[..., Process], share: Any, caplog: pytest.LogCaptureFixture
) -> None:
    holder, writer = hold(), share(write_timeout=1.0)
    done: list[tuple[int, str]] = []
    with stopped(holder):
        items = [Item(body(writer, "e1")), Item(body(writer, "e2"))]
        writer.submit(items, lambda safe, error: done.append((safe, str(error))))
        writer.close()
        assert len(done) == 1
        assert done[0][0] == 0
    with pytest.raises(TrailUnavailable, match="the trail is closed"):
        writer.append(body(writer, "late"), "", "")
    with pytest.raises(TrailUnavailable, match="the trail is closed"):
        writer.submit([Item(body(writer, "late"))], lambda *_: None)
    assert [r.getMessage() for r in caplog.records if "closed with 2 events that nobody took" in r.getMessage()]


def test_a_signals_handler_closes_in_the_middle_of_an_append(
    share: Any, hold: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indelible.trail.sharing.shared.CLOSE_S", 0.1)
    hold()
    writer = share(write_timeout=0.05)
    closed = threading.Event()
    with writer._outbox.lock:  # as if the handler stood on top of whoever has it

        def handler() -> None:
            writer.close()
            closed.set()

        threading.Thread(target=handler).start()
        assert closed.wait(LIMIT_S)


def test_whoever_waited_for_room_is_served_by_the_one_who_took_over(
    path: Path, hold: Callable[..., Process], share: Any
) -> None:
    holder, writer = hold(), share(write_timeout=LIMIT_S)
    with stopped(holder):
        done: list[int] = []
        count = 2 * wire.WINDOW
        for number in range(count):
            writer.submit([Item(body(writer, f"s{number}"))], lambda safe, _: done.append(safe))
        waiting = threading.Thread(target=writer.append, args=(body(writer, "last"), "", ""))
        waiting.start()
        wait_for(lambda: not writer._outbox.has_room)
        assert waiting.is_alive()
    holder.kill()
    waiting.join(LIMIT_S)
    assert not waiting.is_alive()
    wait_for(lambda: len(done) == count)
    assert done == [1] * count
    assert ids(path) == [*(f"s{number}" for number in range(count)), "last"]


def test_nothing_is_left_open(path: Path, hold: Callable[..., Process]) -> None:
    hold()
    before, threads = descriptors(), threading.active_count()
    for _ in range(5):
        writer = SharedWriter(path, AuditSettings(), "other")
        writer.submit([Item(body(writer, new_id()))], lambda *_: None)
        writer.close()
    wait_for(lambda: threading.active_count() == threads)
    assert descriptors() <= before  # an earlier test may leave something to the collector


# --- asyncio ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_hundred_and_twenty_eight_at_a_time(
    path: Path, hold: Callable[..., Process], durability: Durability
) -> None:
    hold(durability=durability)
    settings = Settings(audit=AuditSettings(path=str(path), durability=durability))
    sent: list[list[str]] = [[] for _ in range(128)]

    async def one(recorder: Recorder, own: list[str]) -> None:
        for _ in range(8):
            made = event()
            await recorder.arecord(made)
            own.append(made.event_id)

    async def everything(recorder: Recorder) -> None:
        await asyncio.gather(*(one(recorder, own) for own in sent))

    with open_recorder(settings, caller="library", on_failure="deny") as recorder:
        asyncio.run(everything(recorder))
        found = ids(path)
        for own in sent:
            assert [one_id for one_id in found if one_id in set(own)] == own
        assert Counter(found) == Counter(one_id for own in sent for one_id in own)


def test_asyncio_is_answered_in_time(path: Path, hold: Callable[..., Process]) -> None:
    holder = hold()
    settings = Settings(audit=AuditSettings(path=str(path), write_timeout=0.3))
    with (
        open_recorder(settings, caller="library", on_failure="deny") as recorder,
        stopped(holder),
        pytest.raises(TrailUnavailable, match="does not answer"),
    ):
        asyncio.run(asyncio.wait_for(recorder.arecord(event()), LIMIT_S))


# --- a dead holder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_failure", ["allow", "deny"])
def test_nobody_can_take_over(path: Path, hold: Callable[..., Process], on_failure: OnFailure) -> None:
    holder = hold()
    settings = Settings(audit=AuditSettings(path=str(path), write_timeout=0.1))
    with open_recorder(settings, caller="library", on_failure=on_failure) as recorder:
        first = event()
        recorder.record(first)
        shared = cast("SharedWriter", recorder._writer)
        with unreadable(path):
            holder.kill()
            wait_for(lambda: shared._answers.connection is None)
            for _ in range(7):
                if on_failure == "allow":
                    recorder.record(event())
                else:
                    with pytest.raises(TrailUnavailable, match=r"not recorded in time: .*key"):
                        recorder.record(event())
        wait_for(lambda: shared.holder is not None)
        last = event()
        recorder.record(last)
    assert ids(path) == [first.event_id, last.event_id]
    gaps = [entry["metadata"]["lost"] for entry in entries(path) if entry["event_type"] == "audit_gap"]
    assert gaps == ([7] if on_failure == "allow" else [])
    assert verify(path).ok


def test_an_event_that_kills_is_set_aside_and_its_neighbours_are_not(
    path: Path, hold: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    """Each holder dies of the marked event; two recorders keep innocent events on their way all the while."""
    caplog.set_level(logging.ERROR)
    poison = new_id()
    command = [sys.executable, "-c", RECORDS, str(path), poison]
    holder = hold("fragile")
    others = [
        subprocess.Popen([*command, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for role in ("poisoner", "innocent", "innocent")
    ]
    try:
        said = [other.communicate(timeout=60)[0].decode().split() for other in others]
    finally:
        for other in others:
            other.kill()
            other.wait(LIMIT_S)
    assert holder.process.wait(LIMIT_S) == -signal.SIGKILL
    final = SharedWriter(path, AuditSettings(), "final")
    final.close()
    found = Counter(ids(path))
    survivors = [one for one in said[1:] if one[-1:] == ["end"]]
    assert said[0][-2:] == ["refused", "end"]
    assert poison not in found
    assert len(survivors) == 1  # the first holder died of it, and one that took over, and no more
    for own in said:
        assert [one for one in own if one not in ("refused", "end") and found[one] != 1] == []
    alerts = [entry["metadata"] for entry in entries(path) if entry["event_type"] == "alert"]
    assert [alert["deaths"] for alert in alerts] == [2]
    (kept,) = Layout(path).quarantine.glob("event-*")
    assert json.loads(kept.read_bytes())["event_id"] == poison
    assert verify(path).ok


RECORDS = (
    FRAGILE
    + """
import os, sys, time
from pathlib import Path
from indelible.config import AuditSettings
from indelible.errors import TrailLocked, TrailUnavailable
from indelible.events import new_id
from indelible.trail.sharing import shared
from tests.recording import body
path, poison, role = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
Writer.append_all = dies_of_it
if role == "poisoner":  # it is the last to take over: it would die of its own event, and nobody send it again
    shared.SharedWriter._take_over = lambda self: (_ for _ in ()).throw(shared.TrailLocked("not this one"))
writer = shared.SharedWriter(path, AuditSettings(write_timeout=30.0), role)
def record(event_id, **metadata):
    writer.append(body(writer, event_id, **metadata), "", "")
    print(event_id, flush=True)
end = time.monotonic() + 3
if role == "poisoner":
    time.sleep(0.5)
    try:
        record(poison, text="POISON")
    except TrailUnavailable as exc:
        assert "set aside in quarantine/event-" in str(exc), exc
        print("refused")
else:
    while time.monotonic() < end:
        record(new_id())
writer.close()
print("end", flush=True)
"""
)
