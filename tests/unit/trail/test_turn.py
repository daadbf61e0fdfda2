"""A lock whose holder may be stuck: who waits, for how long, and what a signal's handler that raises leaves."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from indelible.config import AuditSettings
from indelible.errors import TrailUnavailable
from indelible.trail.bell import Bell
from indelible.trail.commit import GroupCommit, Item
from indelible.trail.start.opening import open_writer
from indelible.trail.turn import Turn
from tests.recording import LIMIT_S, wait_for
from tests.ringing import ringing

BODY = b'{"timestamp":"2026-01-01T00:00:00.000000Z","event_type":"mcp_operation","event_id":"e"}'


AGAIN_S = 0.05
"""Who was not heard rings again: of a signal that another thread was handed, the interpreter may tell the main thread
only when it changes threads, which a loop that waits for nothing never makes it do."""


class Rung(Exception):  # noqa: N818
    """What a signal's handler raises."""


def test_after_one_has_waited_in_vain_nobody_waits_until_it_is_free_again() -> None:
    lock = threading.Lock()
    turn = Turn(lock, 0.01, "trail")
    with lock:
        for _ in range(2):
            with pytest.raises(TrailUnavailable, match="not recorded in time"), turn:
                pass
            turn._timeout = 3600.0
    wait_for(lambda: not turn.hung)  # who looks whether it is free has it for a moment
    with turn:
        assert lock.locked()
    assert not lock.locked()
    assert not turn.hung


def test_after_a_hang_an_ordinary_holder_is_waited_for_as_soon_as_the_lock_was_free() -> None:
    """The sealer, say, which has the lock for a moment, and does not come by a turn."""
    lock = threading.Lock()
    turn = Turn(lock, 0.01, "trail")
    with lock, pytest.raises(TrailUnavailable, match="not recorded in time"), turn:
        pass
    wait_for(lambda: not turn.hung)
    turn._timeout = 60.0
    lock.acquire()
    waiting = threading.Event()

    def come() -> None:
        waiting.set()
        with turn:
            got.append(True)

    got: list[bool] = []
    caller = threading.Thread(target=come)
    caller.start()
    assert waiting.wait(LIMIT_S)
    lock.release()
    caller.join(LIMIT_S)
    assert got == [True]


def test_a_disk_that_answers_again_is_waited_for_again(tmp_path: Path) -> None:
    """Though whoever appends first finds the lock free, and need not wait for a turn."""
    writer = open_writer(tmp_path / "audit.jsonl", AuditSettings(write_timeout=0.05), "test").writer
    with writer._lock, pytest.raises(TrailUnavailable, match="does not answer"):
        writer.append(BODY)
    wait_for(lambda: not writer._turn.hung)
    writer.append(BODY)
    writer._turn._timeout = 60.0
    writer._lock.acquire()
    busy = threading.Timer(0.2, writer._lock.release)  # the sealer, say
    busy.start()
    writer.append(BODY)
    busy.join()
    writer.close()


def test_a_handler_that_raises_leaves_no_lock_taken() -> None:
    lock = threading.Lock()
    turn = Turn(lock, 1.0, "trail")

    within: list[bool] = []

    def ring(*_: object) -> None:
        if within:  # once, and never where nobody would catch it
            within.clear()
            raise Rung

    with ringing(ring):
        for _ in range(3_000):
            until = time.monotonic() + LIMIT_S
            with contextlib.suppress(Rung):
                within.append(True)
                signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-6, 60e-6), AGAIN_S)
                while time.monotonic() < until:
                    with turn:
                        pass
                pytest.fail("no handler has raised")
            assert not lock.locked()


def test_a_bell_wakes_who_waits_and_who_is_about_to() -> None:
    bell = Bell()
    bell.open()
    bell.ring()
    bell.ring()  # twice is as once
    bell.wait()
    woken = threading.Event()

    def sleep() -> None:
        bell.wait()
        woken.set()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    assert not woken.is_set()
    bell.ring()
    assert woken.wait(LIMIT_S)
    sleeper.join()
    for _ in range(100_000):  # more than a pipe holds: nobody waits for room
        bell.ring()
    bell.close()
    bell.ring()  # whoever comes late


def test_every_event_is_committed_however_callers_and_the_committer_meet() -> None:
    """A ring that was missed would show as a time-out."""
    done: list[bytes] = []

    def commit(items: list[Item]) -> int:
        done.extend(item.body for item in items)
        return len(items)

    group = GroupCommit(commit, lambda: TrailUnavailable("why"), LIMIT_S)

    def call(name: int) -> None:
        for number in range(300):
            group.append(Item(b"%d %d" % (name, number)))

    callers = [threading.Thread(target=call, args=(name,)) for name in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    group.close()
    assert len(done) == len(set(done)) == 1200
    for name in range(4):
        own = [body for body in done if body.startswith(b"%d " % name)]
        assert own == [b"%d %d" % (name, number) for number in range(300)]


def test_a_bell_that_somebody_else_has_closed_costs_time_and_no_event() -> None:
    group = GroupCommit(len, lambda: TrailUnavailable("why"), LIMIT_S)
    group.append(Item(BODY))
    assert group._bell._ends is not None
    group._bell._ends[0].shutdown(socket.SHUT_RDWR)
    group.append(Item(BODY))  # the committer hears this one yet
    for _ in range(3):
        group.append(Item(BODY))
    group.close()


def test_of_two_committers_each_is_woken_at_the_end() -> None:
    """A start that a signal's handler cut short was taken for none, and another one was begun: one ring is for one."""
    group = GroupCommit(len, lambda: TrailUnavailable("why"), LIMIT_S)
    asleep, wait = set(), group._bell.wait

    def sleep() -> None:
        asleep.add(threading.get_ident())
        wait()
        asleep.discard(threading.get_ident())

    group._bell.wait = sleep  # type: ignore[method-assign]
    group.append(Item(BODY))
    first = group._committer
    assert first is not None
    group._committer, group._serving = None, False
    group.append(Item(BODY))
    second = group._committer
    assert second is not None
    assert second is not first
    wait_for(lambda: len(asleep) == 2)
    group._closing = True
    group._bell.ring()
    for thread in (first, second):
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    group.close()


def test_a_committer_that_had_no_time_is_no_disk_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process was suspended, or another thread kept the interpreter: nothing waits for the disk."""
    group = GroupCommit(len, lambda: TrailUnavailable("why"), 0.05)
    with monkeypatch.context() as late:
        late.setattr(group, "_is_served", lambda: True)
        with pytest.raises(TrailUnavailable, match="not recorded in time"):
            group.append(Item(BODY))
    group._timeout = 60.0
    group.append(Item(BODY))
    group.close()
