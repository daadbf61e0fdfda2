"""Who writes a trail, found without getting in a writer's way.

A reader must not take the lock to see whether it is taken: in that instant a starting writer would be refused. Linux
lists every flock in /proc/locks (proc_locks(5)); only where that does not help, and the lock file names somebody who
may be gone, a shared lock is tried for an instant. A writer leaves the file empty when it ends well.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import NamedTuple

from indelible.errors import TrailError
from indelible.trail.reader import open_plain


class Holder(NamedTuple):
    """A writer, as it described itself in the lock file."""

    pid: int | None
    command: str | None
    since: str | None


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
        about = json.loads(data)
        pid = about.get("pid")
    except (ValueError, AttributeError):
        return Holder(None, None, None)
    texts = [value if isinstance(value, str) else None for value in (about.get("command"), about.get("since"))]
    return Holder(pid if isinstance(pid, int) else None, *texts)


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
