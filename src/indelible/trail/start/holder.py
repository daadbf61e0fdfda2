"""Who writes a trail, found without getting in a writer's way.

A reader must not take the lock to see whether it is taken: in that instant a starting writer would be refused. Linux
lists every flock in /proc/locks (proc_locks(5)); only where that does not help, and the lock file names somebody who
may be gone, a shared lock is tried for an instant. A writer leaves an empty line when it ends well.

What stands in the file is also the holder's word of what it is at. It counts only while the process that it names runs:
the very same one, since pids are used again.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, Literal, NamedTuple

import orjson

from indelible.errors import TrailError
from indelible.trail.reader import open_plain
from indelible.trail.sharing import processes

Phase = Literal["starting", "holding", "ending"]
"""What a holder is at. While it starts or ends nobody can write through it; both pass."""

STARTING: Final = "starting"
HOLDING: Final = "holding"
ENDING: Final = "ending"

_PASSING: Final = (STARTING, ENDING)


class Holder(NamedTuple):
    """A writer, as it described itself in the lock file."""

    pid: int | None = None
    command: str | None = None
    since: str | None = None
    phase: str | None = None
    born: int | None = None
    """When the process began; see `processes.born`."""
    namespace: int | None = None
    """Whose pid it is; see `processes.namespace`."""

    def __str__(self) -> str:
        """For a message: ``process 123 (indelible wrap, since …)``."""
        about = [self.command, self.since and f"since {self.since}"]
        return f"process {self.pid} ({', '.join(text for text in about if text)})"

    @property
    def is_here(self) -> bool:
        """Whether its pid means the same process to this one."""
        return self.namespace is not None and self.namespace == processes.namespace()

    @property
    def lives(self) -> bool:
        """Whether the process that described itself still runs, as far as that can be known from here.

        Of one in another container that is not known: whether it holds the lock is for the kernel to say.
        """
        if self.pid is None:
            return False
        if self.namespace is not None and not self.is_here:
            return True
        return processes.runs(self.pid) and self.born in (None, processes.born(self.pid))

    @property
    def is_stopped(self) -> bool:
        """Whether it is known to be suspended."""
        return self.pid is not None and self.is_here and processes.is_stopped(self.pid)


def said(lock: Path) -> Holder | None:
    """Return who described itself in a lock file last, gone or not; None when that one ended well, or nobody did."""
    try:
        fd = open_plain(lock)
    except (OSError, TrailError):
        return None
    try:
        holder = _about(os.pread(fd, 4096, 0))
    except OSError:
        return None
    finally:
        os.close(fd)
    return None if holder.pid is None else holder


def who_comes_or_goes(lock: Path) -> Holder | None:
    """Return who has taken a trail's lock and is starting, or ending, just now. Only for whoever found it locked."""
    holder = said(lock)
    return holder if holder is not None and holder.phase in _PASSING and holder.lives else None


def current_holder(lock: Path) -> Holder | None:
    """Return who holds the lock, or None when nobody does."""
    try:
        fd = open_plain(lock)
    except (FileNotFoundError, NotADirectoryError, TrailError):
        return None
    try:
        about = _about(os.pread(fd, 4096, 0))
        listed = _listed(os.fstat(fd))
        if listed is not None:
            return about._replace(pid=about.pid or listed or None)
        if about.pid is None or not _is_taken(fd):
            return None
        return about
    finally:
        os.close(fd)


def _about(data: bytes) -> Holder:
    try:
        about = orjson.loads(data.partition(b"\n")[0])
        command, since, phase = (_text(about.get(name)) for name in ("command", "since", "phase"))
        pid, born, namespace = (_number(about.get(name)) for name in ("pid", "born", "namespace"))
    except (ValueError, AttributeError):
        return Holder()
    return Holder(pid, command, since, phase, born, namespace)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if type(value) is int else None


def _listed(about: os.stat_result) -> int | None:
    """Return the process that /proc/locks names for this file, or None when it names none."""
    try:
        text = Path("/proc/locks").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    wanted = (os.major(about.st_dev), os.minor(about.st_dev), about.st_ino)
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[1:2] == ["FLOCK"] and "WRITE" in fields and _device(fields[5]) == wanted:
            return int(fields[4])
    return None


def _device(field: str) -> tuple[int, int, int] | None:
    major, _, rest = field.partition(":")
    minor, _, inode = rest.partition(":")
    try:
        return int(major, 16), int(minor, 16), int(inode)
    except ValueError:
        return None


def _is_taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
