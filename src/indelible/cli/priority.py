"""Which share of the machine a child takes that works beside a recorder: less than it.

The rule that lives here: Linux, as most distributions have it, shares the processors out between sessions before it
does between their processes (autogroup, `man 7 sched`). A child with a session of its own has as much of them as the
whole recorder has, however nice it is, unless its session is made nice, too. So both are.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

IDLE_NICE: Final = 19

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
        if os.getsid(0) == os.getpid():
            _SESSION.write_text(str(nice))
