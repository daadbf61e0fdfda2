"""What one thread is woken by, at the least that it costs."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable
from typing import Final

_RINGS: Final = 3
_DEAF_S: Final = 0.01
"""Pause before whoever waits looks for himself, while nothing can be heard."""


class Bell:
    """Wakes one thread that sleeps.

    A pair of sockets: whoever sends lets go of the interpreter meanwhile, and the kernel takes it that he is about to
    sleep himself, so there and back costs half of what it does over a lock. No pipe: what spoils every write, a full
    disk in a test, spoils a pipe's too.
    """

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Make it, unless that was done. Raises OSError."""
        if self._ends is None:
            ends = socket.socketpair()
            try:
                ends[1].setblocking(False)  # noqa: FBT003 - its signature; full: it rings already
                self._ends = ends
            finally:
                if self._ends is not ends:  # a signal's handler raised
                    _close(ends)

    def ring(self) -> None:
        """Wake the thread, now or when it waits next. A call that fails for once is made again."""
        ends = self._ends
        for _ in range(_RINGS if ends else 0):
            try:
                if ends:
                    ends[1].send(b"\0")
            except BlockingIOError:
                return
            except OSError:
                continue
            return

    def wait(self) -> None:
        """Wait until somebody has rung since the last time; maybe not so long."""
        try:
            if self._ends and self._ends[0].recv(4096):
                return
        except OSError:  # somebody has closed what is not his: who waits looks for himself
            pass
        time.sleep(_DEAF_S)

    def close(self) -> None:
        """Let go of it, when nobody waits."""
        ends, self._ends = self._ends, None
        _close(ends or ())


def _close(ends: Iterable[socket.socket]) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.close()
