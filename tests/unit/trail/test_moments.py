"""What becomes of events when something happens in the midst of recording: at any line of the way, any call of it.

A recorder in a process of its own records, refuses, loses, catches up and closes, on a disk that is full or fails in
between. At one moment, counted in the lines of our code, it is killed; or another thread records, or closes the trail,
to the end; or, where a function begins (there Python itself looks for signals), a signal's handler raises. Afterwards
the next recorder opens the trail, and each event is there once, or counted once.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import os
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, Literal
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible import verify
from indelible.config import AuditSettings, Durability, OnFailure, Settings
from indelible.errors import TrailUnavailable
from indelible.events import Event, new_id, now, outcome
from indelible.opening import open_recorder
from indelible.recorder import Recorder
from indelible.trail import gapfile, queued
from indelible.trail.layout import Layout
from indelible.trail.sharing.hub import Hub
from tests.effort import LONG, examples

from .faults import read_all, without_threads

Effect = Literal["none", "kill", "raise", "record", "seal", "close"]
Op = Literal["record", "full", "room", "sick", "seal"]

OURS: Final = ("indelible.trail.", "indelible.recorder")
QUEUED: Final = 3
"""So many events wait at `memory` durability here: whoever records empties the queue every now and then."""
LIMIT_S: Final = 30.0
KILLED: Final = 9


class Rung(Exception):  # noqa: N818
    """What a signal's handler raises."""


class Disk:
    """Full, or failing at the next sync, as it is told; shared memory is none of it."""

    def __init__(self, root: Path) -> None:
        self.full = self.sick = False
        self._root = root

    @contextmanager
    def inserted(self) -> Iterator[None]:
        write, sync = os.write, os.fdatasync

        def spoiled_write(fd: int, data: bytes) -> int:
            if self.full and Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(self._root):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(fd, data)

        def spoiled_sync(fd: int) -> None:
            if self.sick:
                self.sick = False
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            sync(fd)

        with mock.patch.object(os, "write", spoiled_write), mock.patch.object(os, "fdatasync", spoiled_sync):
            yield


class Run:
    """One process's life, told to the test line by line: what was begun, and what came of it."""

    def __init__(self, path: Path, durability: Durability, on_failure: OnFailure, tell: int) -> None:
        self._tell_fd, self._write = tell, os.write
        self._on_failure: OnFailure = on_failure
        self.disk = Disk(path.parent)
        audit = AuditSettings(path=str(path), durability=durability, write_timeout=5.0, disk_thresholds=())
        self.recorder: Recorder = open_recorder(
            Settings(audit=audit), caller="library", on_failure=on_failure, report=False
        )
        self.steps = 0
        """How many moments there were since something may happen."""
        self._left = -1
        self._effect: Callable[[], None] = lambda: None
        self._on_call = False

    def tell(self, what: str, event_id: str = "") -> None:
        self._write(self._tell_fd, f"{what} {event_id}\n".encode())

    # --- what it does ------------------------------------------------------------------------------------------

    def record(self) -> None:
        event = Event(timestamp=now(), event_type="mcp_operation", event_id=new_id())
        self.tell("began", event.event_id)
        try:
            self.recorder.record(event)
        except TrailUnavailable:
            assert self._on_failure == "deny"
            self.tell("refused", event.event_id)
            denied = msgspec.structs.replace(
                event, event_id=new_id(), outcome=outcome("denied", 0.0, error_type="audit_unavailable")
            )
            self.tell("denying", denied.event_id)
            self.recorder.refuse(denied)
            self.tell("owed", denied.event_id)
        else:
            self.tell("owed", event.event_id)

    def do(self, op: Op) -> None:
        if op == "record":
            self.record()
        elif op == "seal":
            writer = self.recorder._writer
            if writer is not None:
                with contextlib.suppress(OSError, TrailUnavailable):
                    writer.seal()
        else:
            self.disk.full = op == "full" or (op == "sick" and self.disk.full)
            self.disk.sick = op == "sick"

    def live(self, ops: list[Op], armed: int, arm: Callable[[], None]) -> None:
        """Do all of it, then close; from the operation `armed` on something may happen."""
        with self.disk.inserted():
            for at, op in enumerate(ops):
                if at == armed:
                    arm()
                try:
                    self.do(op)
                except Rung:
                    self.check_locks()
            if armed >= len(ops):
                arm()
            self.disk.full = False
            try:
                self.recorder.close()
            except Rung:
                return
            finally:
                sys.settrace(None)
            self.tell("closed")

    # --- what happens to it ------------------------------------------------------------------------------------

    def arm(self, effect: Effect, after: int) -> None:
        effects: dict[Effect, Callable[[], None]] = {
            "none": lambda: None,
            "kill": lambda: os._exit(KILLED),
            "raise": self._ring,
            "record": lambda: self._elsewhere(self.record),
            "seal": lambda: self._elsewhere(lambda: self.do("seal")),
            "close": lambda: self._elsewhere(self.recorder.close),
        }
        self._left, self._effect, self._on_call = after, effects[effect], effect == "raise"
        self._waits = effect in ("record", "seal", "close")
        sys.settrace(self._trace)

    def _ring(self) -> None:
        raise Rung

    def _elsewhere(self, call: Callable[[], None]) -> None:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(LIMIT_S)
        if thread.is_alive():
            self.tell("stuck")
            os._exit(1)

    def _trace(self, frame: FrameType, event: str, _arg: object) -> Any:
        if not frame.f_globals.get("__name__", "").startswith(OURS):
            return None
        wanted = "call" if self._on_call else "line"
        if event == wanted and not (self._on_call and _is_resumed(frame.f_code)):
            self._step()
        return self._trace

    def _step(self) -> None:
        self._left -= 1
        self.steps += 1
        if self._left >= 0 or (self._waits and self._keeps_others()):
            return
        sys.settrace(None)
        effect, self._effect = self._effect, lambda: None
        self.tell("now")
        effect()

    def _locks(self) -> list[threading.Lock]:
        gap, shared = self.recorder._gap, self.recorder._writer
        locks = [gap._lock, gap._catching._lock]
        if shared is not None and shared.holder is not None:
            locks += [shared.holder._lock, shared.holder._group._lock, shared.holder._sealer._sealing]
            locks.append(shared._outbox.lock)
        return locks

    def _keeps_others(self) -> bool:
        """Tell whether another thread could not come to its end now."""
        shared = self.recorder._writer
        leads = shared is not None and shared.holder is not None and shared.holder._group._leading
        return bool(leads) or any(lock.locked() for lock in self._locks())

    def check_locks(self) -> None:
        if any(lock.locked() for lock in self._locks()):
            self.tell("locked")


def _is_resumed(code: CodeType) -> bool:
    """Tell whether it may be a generator that goes on: there a handler's exception comes up elsewhere."""
    return bool(code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE))


def live(
    path: Path, how: tuple[Durability, OnFailure], ops: list[Op], moment: tuple[Effect, int, int]
) -> list[str]:
    """Let a process do it; return what it told."""
    out, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(out)
            with (
                without_threads(),
                mock.patch.object(Hub, "start", side_effect=OSError(errno.EACCES, "nobody else here")),
                mock.patch.object(queued, "MAX_QUEUED", QUEUED),
            ):
                run = Run(path, *how, tell)
                effect, armed, after = moment
                run.live(ops, armed, lambda: run.arm(effect, after))
                run.check_locks()
                run.tell("steps", str(run.steps))
                status = 0
        except BaseException as exc:  # noqa: BLE001 - the test is told
            os.write(tell, f"failed {exc!r}\n".encode())
        finally:
            os._exit(status)
    os.close(tell)
    with os.fdopen(out, "rb") as stream:
        told = stream.read().decode().splitlines()
    os.waitpid(pid, 0)
    return told


def judge(path: Path, told: list[str], how: tuple[Durability, OnFailure]) -> None:
    """Each event that somebody was promised is in the trail once, or counted once; what was cut short may be either."""
    words: dict[str, set[str]] = {}
    for line in told:
        what, _, event_id = line.partition(" ")
        words.setdefault(what, set()).add(event_id)
    assert not words.keys() & {"failed", "locked", "stuck"}, told
    with open_recorder(Settings(audit=AuditSettings(path=str(path))), caller="library"):
        pass
    entries = read_all(path)
    found = Counter(entry["event_id"] for entry in entries if entry["event_type"] == "mcp_operation")
    lost = sum(entry["metadata"]["lost"] for entry in entries if entry["event_type"] == "audit_gap")
    assert not [event_id for event_id, times in found.items() if times > 1], told
    owed = words.get("owed", set())
    may_count = words.get(
        "denying" if how[1] == "deny" else "began", set()
    )  # who refuses a call counts refusals only
    cut_short = may_count - owed
    assert not words.get("refused", set()) & found.keys(), told
    missing = len(owed - found.keys())
    may_be = len(cut_short - found.keys())
    ended = "closed" in words
    least = missing if ended or how[0] != "memory" else 0  # what was queued is lost with the process, uncounted
    assert least <= lost <= missing + may_be, (least, missing, lost, may_be, told)
    assert not list(gapfile.left_behind(Layout(path)))
    assert verify(path).ok


DURABILITIES: Final[tuple[Durability, ...]] = ("memory", "process", "disk")
ON_FAILURE: Final[tuple[OnFailure, ...]] = ("allow", "deny")

RECORD: Final[Op] = "record"
CATCHES_UP: Final[list[Op]] = [
    RECORD,
    "full",
    RECORD,
    RECORD,
    RECORD,
    "room",
    "seal",
    RECORD,
    RECORD,
    RECORD,
    RECORD,
]
"""As soon as there is room again, it says what it owes."""
WITH_ROOM: Final = 6
NEVER: Final = 1 << 30


@functools.cache
def moments(how: tuple[Durability, OnFailure], effect: Effect) -> int:
    """Return how many moments there are in which it catches up, records and closes."""
    with tempfile.TemporaryDirectory() as directory:
        told = live(Path(directory) / "audit.jsonl", how, CATCHES_UP, (effect, WITH_ROOM, NEVER))
    return next(int(line.split()[1]) for line in told if line.startswith("steps"))


@pytest.mark.parametrize("effect", ["kill", "raise", "record", "close"])
def test_at_each_moment_of_catching_up(effect: Effect, tmp_path: Path) -> None:
    """A seeded sample of them; others, and more, in the long run."""
    chosen = random.Random(None if LONG else effect)
    for number in range(examples(8)):
        how = chosen.choice(DURABILITIES), chosen.choice(ON_FAILURE)
        after = chosen.randrange(moments(how, effect))
        path = tmp_path / str(number) / "audit.jsonl"
        told = live(path, how, CATCHES_UP, (effect, WITH_ROOM, after))
        judge(path, [*told, f"moment {how} {after}"], how)


OPS = st.lists(
    st.sampled_from(["record", "record", "record", "full", "room", "sick", "seal"]), min_size=3, max_size=10
)


@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    how=st.tuples(st.sampled_from(DURABILITIES), st.sampled_from(ON_FAILURE)),
    ops=OPS,
    effect=st.sampled_from(["none", "kill", "raise", "record", "seal", "close"]),
    armed=st.integers(0, 10),
    after=st.integers(0, 200),
)
def test_whatever_happens_when_each_event_is_there_or_counted_once(
    how: tuple[Durability, OnFailure], ops: list[Op], effect: Effect, armed: int, after: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "audit.jsonl"
        told = live(path, how, ops, (effect, min(armed, len(ops)), after))
        judge(path, told, how)
