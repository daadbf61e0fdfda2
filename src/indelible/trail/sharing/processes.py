"""Whether a process still runs, and whether it is still the same: pids are used again (proc_pid_stat(5))."""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import Final

_STAT_BYTES: Final = 4096
"""More than a line of proc_pid_stat(5) has."""

_SLACK_S: Final = 2.0
"""Start times come in ticks, and the clock may have been set a little since."""


def runs(pid: int) -> bool:
    """Tell whether there is such a process; one that only waits to be reaped does not run."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    stat = _stat(pid)
    return stat is None or stat[0] not in ("Z", "X")


def is_stopped(pid: int) -> bool:
    """Tell whether a process is suspended (SIGSTOP, Ctrl-Z, a debugger); False where that cannot be known."""
    stat = _stat(pid)
    return stat is not None and stat[0] in ("T", "t")


def began(pid: int) -> float | None:
    """Return when a process began, in seconds since the epoch; None where that cannot be known."""
    stat = _stat(pid)
    if stat is None or len(stat) < 20:
        return None
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def born(pid: int) -> int | None:
    """Return when a process began, in clock ticks since the machine did: exact, and no other one of its pid has it.

    None where that cannot be known.
    """
    stat = _stat(pid)
    return None if stat is None or len(stat) < 20 else int(stat[19])


def namespace() -> int | None:
    """Return what tells this process's pid namespace from others (pid_namespaces(7)); None where there is none."""
    try:
        return int(os.readlink("/proc/self/ns/pid").strip("pid:[]"))  # noqa: PTH115 - and no path is looked at
    except (OSError, ValueError):
        return None


def is_before(began: float | None, timestamp: str) -> bool:
    """Tell whether a process that `began` then did so before a moment (RFC 3339), as far as that can be known."""
    try:
        return began is not None and began <= datetime.fromisoformat(timestamp).timestamp() + _SLACK_S
    except (ValueError, OverflowError):
        return False


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the state on; its second, the name, may hold anything."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, _STAT_BYTES).rpartition(b")")[2].decode(errors="replace").split()
    except OSError:  # it is gone meanwhile
        return None
    finally:
        os.close(fd)
