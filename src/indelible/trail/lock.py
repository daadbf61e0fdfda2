"""One writer a trail: a flock on a file of its own.

The kernel drops the lock when the last descriptor of it is closed, however its process ends. Forked children
close theirs at once (see `writer`), executed ones never have it (O_CLOEXEC), so nobody holds it by accident. What
stands in the file is for people only: who holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from indelible import events
from indelible.errors import TrailLocked

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.trail.durable import Access

_TRIES: Final = 4
_PAUSE_S: Final = 0.01


class TrailLock:
    """The held lock; `release` it, or die."""

    def __init__(self, path: Path, access: Access) -> None:
        """Take the lock; raises TrailLocked when somebody has it, naming them."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, access.file_mode)
        try:
            _take(fd)
        except BlockingIOError as exc:
            holder = read_holder(path)
            os.close(fd)
            trail = path.parent.name.removesuffix(".d")
            msg = f"{path.parent.with_name(trail)}: is being written by {holder or 'another process'}"
            raise TrailLocked(msg, holder) from exc
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        command = " ".join(os.path.basename(word) for word in sys.argv[:2])  # noqa: PTH119 - no paths, no secrets
        about = json.dumps({"pid": os.getpid(), "command": command, "since": events.now()})
        with contextlib.suppress(OSError):  # a full disk: the lock holds without it
            if access.gid != -1:
                os.fchown(fd, -1, access.gid)
                os.fchmod(fd, access.file_mode)
            os.ftruncate(fd, 0)
            os.pwrite(fd, about.encode() + b"\n", 0)

    def release(self) -> None:
        """Give the lock back."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptor; the parent keeps the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _take(fd: int) -> None:
    """Lock, or raise BlockingIOError. Tried again for a moment: `status` may be looking whether it is free."""
    for _ in range(_TRIES - 1):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def read_holder(path: Path) -> str:
    """Return ``process 123 (indelible wrap, since …)`` from a lock file, or an empty text."""
    try:
        about = json.loads(path.read_bytes()[:4096])
        return f"process {about['pid']} ({about['command']}, since {about['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
