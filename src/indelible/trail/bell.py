"""What one thread is woken by, at the least that it costs."""

from __future__ import annotations

import os
import time
from typing import Final

from indelible.trail import durable

_RINGS: Final = 3
_DEAF_S: Final = 0.01
"""Pause before whoever waits looks for himself, while nothing can be heard."""


class Bell:
    """Wakes one thread that sleeps.

    A pipe, since whoever writes to it lets go of the interpreter meanwhile, and the kernel takes it that he is about to
    sleep himself: there and back costs a third of what it does over a lock.
    """

    def __init__(self) -> None:
        self._out = self._in = -1

    def open(self) -> None:
        """Make it, unless that was done. Raises OSError."""
        if self._in < 0:
            self._out, self._in = os.pipe()
            os.set_blocking(self._in, False)  # full: it rings already

    def ring(self) -> None:
        """Wake the thread, now or when it waits next. A call that fails for once is made again."""
        for _ in range(_RINGS):
            try:
                os.write(self._in, b"\0")
            except BlockingIOError:
                return
            except OSError:
                continue
            return

    def wait(self) -> None:
        """Wait until somebody has rung since the last time; maybe not so long."""
        try:
            os.read(self._out, 4096)
        except OSError:  # somebody has closed what is not his: who waits looks for himself
            time.sleep(_DEAF_S)

    def close(self) -> None:
        """Let go of it, when nobody waits."""
        fds, self._out, self._in = (self._out, self._in), -1, -1  # never the numbers of closed ones
        for fd in fds:
            if fd >= 0:
                durable.close(fd)
