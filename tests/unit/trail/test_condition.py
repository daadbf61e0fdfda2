"""A condition whose waiter always has the lock again, also when a signal's handler raises as he takes it."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from typing import cast

import pytest

from indelible.trail.condition import Condition
from tests.recording import LIMIT_S, wait_for
from tests.ringing import ringing


class Rung(Exception):  # noqa: N818
    """What a signal's handler raises."""


class Interrupted:
    """A lock, at the taking of which a handler raises when it is told to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.locked, self.release = self._lock.locked, self._lock.release
        self.rings = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self.rings:
            self.rings -= 1
            raise Rung
        return self._lock.acquire(blocking, timeout)


@pytest.mark.parametrize("rings", [1, 3])
def test_who_is_interrupted_as_he_takes_the_lock_again_has_it_when_he_goes_on(rings: int) -> None:
    lock = Interrupted()
    changed = Condition(cast("threading.Lock", lock))
    lock.acquire()
    lock.rings = rings
    with pytest.raises(Rung):
        changed.wait(0.0)
    assert lock.locked()
    assert lock.rings == 0
    changed.notify_all()  # nobody is left of whom it would think that he waits
    assert not changed.wait_for(lambda: False, 0.01)


def test_each_notice_wakes_one_in_the_order_in_which_they_came() -> None:
    lock = threading.Lock()
    changed = Condition(lock)
    woken: list[int] = []

    def wait(number: int) -> None:
        with lock:
            changed.wait()
            woken.append(number)

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        wait_for(lambda number=number: len(changed._gates) == number + 1)  # type: ignore[misc]
    for number in range(3):
        with lock:
            changed.notify()
        wait_for(lambda number=number: len(woken) == number + 1)  # type: ignore[misc]
    assert woken == [0, 1, 2]
    for thread in threads:
        thread.join(LIMIT_S)


def test_a_condition_that_comes_in_time_and_one_that_does_not() -> None:
    lock = threading.Lock()
    changed = Condition(lock)
    came: list[bool] = []

    def bring() -> None:
        with lock:
            came.append(True)
            changed.notify_all()

    with lock:
        assert not changed.wait_for(lambda: came, 0.01)
        threading.Thread(target=bring).start()
        assert changed.wait_for(lambda: came, LIMIT_S)
        assert lock.locked()


def test_handlers_that_raise_at_any_moment_leave_the_lock_to_who_has_it() -> None:
    """While another thread takes it again and again, and finds it its own each time."""
    lock = threading.Lock()
    changed = Condition(lock)
    stop: list[bool] = []
    inside: list[int] = []
    broken: list[str] = []

    def others() -> None:
        while not stop:
            with lock:
                inside.append(1)
                changed.notify_all()
                if len(inside) != 1:
                    broken.append("two are inside")
                inside.pop()

    within: list[bool] = []

    def ring(*_: object) -> None:
        if within:  # once, and never where nobody would catch it
            within.clear()
            raise Rung

    def take_it_again_and_again() -> None:
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            with lock:
                changed.wait(0.001)
                if inside:
                    broken.append("the lock is not ours")
        broken.append("no handler has raised")

    other = threading.Thread(target=others)
    other.start()
    try:
        with ringing(ring):
            for _ in range(400):
                with contextlib.suppress(Rung):
                    within.append(True)
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-3))
                    take_it_again_and_again()
            within.clear()
    finally:
        stop.append(True)
        other.join(LIMIT_S)
    assert not broken
    assert not lock.locked()
