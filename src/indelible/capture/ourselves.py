"""Our own process: its signals, its parent, its standard descriptors.

Standard library only: see `child`.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

READY: Final = b"\0"
"""Written to the wake-up pipe from another thread; signals write their number, which is never 0."""

TO_LEADER: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
TO_GROUP: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
"""What a terminal sends goes to a whole group; the rest goes to one process."""


def replace_with_null(descriptor: int, flags: int) -> None:
    """Close a standard descriptor, and let no other file take its number."""
    null = os.open(os.devnull, flags | os.O_CLOEXEC)
    os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def watch_process(pid: int) -> int | None:
    """Return a descriptor that becomes readable when a process ends, or None where there is no such thing.

    Not PR_SET_PDEATHSIG: that fires when the *thread* that made us ends.
    """
    if not hasattr(os, "pidfd_open") or pid <= 1:
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def catch_signals() -> tuple[int, int]:
    """Let every signal that is passed on write its number to a pipe; returns the pipe. Ignored ones stay so."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (*TO_LEADER, *TO_GROUP, signal.SIGCHLD):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader, writer


def wake(pipe: tuple[int, int]) -> None:
    """Wake the loop from another thread."""
    os.write(pipe[1], READY)
