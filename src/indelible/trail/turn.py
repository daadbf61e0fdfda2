"""A lock whose holder may be stuck in the kernel: who waits for it waits no longer than he said, and then nobody does.

A write to a disk that hangs holds its thread for as long as it hangs, and with it the writer's lock. Nothing can
interrupt that one; the others must not join it.
"""

from __future__ import annotations

import threading
from typing import Final

from indelible.errors import TrailUnavailable

_BLOCKING: Final = (True,)


class Turn:
    """The timed way to a lock. `with turn:` holds it; raises TrailUnavailable when it is not to be had in time."""

    def __init__(self, lock: threading.Lock, timeout: float, what: str) -> None:
        """`timeout` in seconds; `what` is the trail, for the message."""
        self._lock = lock
        self._timeout = timeout
        self._what = what
        self._hung = False
        """Somebody has waited in vain, and nobody has had the lock since."""

    def __enter__(self) -> None:
        got: list[bool] = []
        try:
            # In one step for the interpreter: a signal's handler that raises finds the lock not taken, or in `got`.
            got.extend(map(self._lock.acquire, _BLOCKING, (0.0 if self._hung else self._timeout,)))
            if not got[0]:
                self._hung = True
                msg = f"{self._what}: not recorded in time: the disk does not answer"
                raise TrailUnavailable(msg)
            self._hung = False
        except BaseException:
            if got and got[0]:
                self._lock.release()
            raise

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()
