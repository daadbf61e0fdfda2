"""A condition whose waiter has the lock again when it goes on, whatever a signal's handler raises.

`threading.Condition` takes its lock again in a step that a handler can end with an exception: then whoever waited goes
on without the lock, and lets go of it at the end of his `with` all the same, when it is somebody else's. Here that step
is repeated until the lock is there, and what was raised goes on after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_BLOCKING: Final = (True,)
_FOREVER: Final = -1


class Condition:
    """Threads that wait for something which a lock covers. All of it is used under that lock."""

    def __init__(self, lock: threading.Lock) -> None:
        """`lock` is taken and let go of by its owner."""
        self._lock = lock
        self._gates: list[threading.Lock] = []
        """What each of those waits at that nobody has woken yet: a lock that is taken until somebody does."""

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock until somebody notifies, or for so many seconds; tell whether somebody has."""
        gate = threading.Lock()
        gate.acquire()
        self._gates.append(gate)
        came: list[bool] = []
        held: list[bool] = []
        raised: BaseException | None = None
        try:
            self._lock.release()
            came.extend(map(gate.acquire, _BLOCKING, (_FOREVER if timeout is None else max(0.0, timeout),)))
        except BaseException as exc:  # noqa: BLE001 - it goes on below
            raised = exc
        while not held:  # in one step for the interpreter: the lock is taken and noted, or neither
            try:
                held.extend(map(self._lock.acquire, _BLOCKING))
            except BaseException as exc:  # noqa: BLE001 - it goes on below
                raised = exc
        if gate in self._gates:
            self._gates.remove(gate)
        if raised is not None:
            raise raised
        return came[0]

    def wait_for(self, predicate: Callable[[], object], timeout: float | None = None) -> bool:
        """Wait until something is so, or for so many seconds; tell whether it is."""
        until = None if timeout is None else time.monotonic() + timeout
        while not (done := bool(predicate())):
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return done

    def notify(self, count: int = 1) -> None:
        """Wake so many of those that wait, those first that came first."""
        for gate in self._gates[:count]:
            if gate.locked():
                gate.release()
            self._gates.remove(gate)

    def notify_all(self) -> None:
        """Wake everybody."""
        self.notify(len(self._gates))
