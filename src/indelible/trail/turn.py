"""A lock whose holder may be stuck in the kernel: who waits for it waits no longer than he said, and then nobody does.

A write to a disk that hangs holds its thread for as long as it hangs, and with it the writer's lock. Nothing can
interrupt that one; the others must not join it. As soon as the lock was free once, it is waited for again: a thread
that waits for nothing else sees to that.
"""

from __future__ import annotations

import contextlib
import threading
from operator import attrgetter
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
        self._let_go = lock.__exit__
        self.hung = False
        """Somebody has waited in vain, and the lock was not seen free since."""

    def __enter__(self) -> None:
        got: list[bool] = []
        try:
            # In one step for the interpreter: a signal's handler that raises finds the lock not taken, or in `got`.
            got.extend(map(self._lock.acquire, _BLOCKING, (0.0 if self.hung else self._timeout,)))
            if not got[0]:
                self._hang()
                msg = f"{self._what}: not recorded in time: the disk does not answer"
                raise TrailUnavailable(msg)
            self.hung = False
        except BaseException:
            if got and got[0]:
                self._lock.release()
            raise

    def _hang(self) -> None:
        """Let nobody wait until the lock has been free: whoever has it now may go on, and the next one be quick."""
        if not self.hung:
            self.hung = True
            watch = threading.Thread(target=self._see_it_free, name="indelible-turn", daemon=True)
            with contextlib.suppress(
                RuntimeError
            ):  # no thread starts here: whoever gets the lock in turn sees it
                watch.start()

    def _see_it_free(self) -> None:
        with self._lock:
            self.hung = False

    __exit__: property = property(attrgetter("_let_go"))
    """The lock's own: a signal's handler that raises where a function begins would leave the lock taken for ever."""
