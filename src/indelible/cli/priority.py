"""Which share of the machine a child takes that works beside a recorder: less than it.

The rule that lives here: Linux, as most distributions have it, shares the processors out between sessions before it
does between their processes (autogroup, `man 7 sched`). A child with a session of its own has as much of them as the
whole recorder has, however nice it is, unless its session is made nice, too. So both are. Of all sessions there are,
Linux lets users but root change one in a tenth of a second: where several recorders start at once, their children wait
for their turns.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from pathlib import Path
from typing import Final

IDLE_NICE: Final = 19

AGAIN_S: Final = 0.2
"""After about this it is tried again; by chance, since others do so, too."""

TRIES: Final = 100

_SESSION: Final = Path("/proc/self/autogroup")


def be_idle() -> None:
    """Take only what nobody else wants."""
    be_nice(IDLE_NICE)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def be_nice(nice: int) -> None:
    """Let others go first, by so much more of `nice`; with its session, if nobody else is in that."""
    with contextlib.suppress(OSError):
        os.nice(nice)
    if os.getsid(0) == os.getpid() and not _shared(nice):
        with contextlib.suppress(RuntimeError):  # no thread can be started
            threading.Thread(target=_wait, args=(nice,), name="indelible-priority", daemon=True).start()


def _wait(nice: int) -> None:
    for _ in range(TRIES):
        time.sleep(random.uniform(0.5, 1.5) * AGAIN_S)  # noqa: S311 - spreads, hides nothing
        if _shared(nice):
            return


def _shared(nice: int) -> bool:
    """Make our session nice, if that is to be done at all; False where another one was, just now."""
    try:
        with _SESSION.open("wb", buffering=0) as file:
            return file.write(str(nice).encode()) is not None
    except OSError:  # there are no such groups, or they are not ours to change
        return True
