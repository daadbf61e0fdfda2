"""One writer a trail: a flock on its directory, and one on the file `lock` in it.

The directory's keeps a second writer out: deleting the file `lock` does not let one in. The file's is what readers look
at, and what stands in it says who holds it, and what he is at: whoever finds the trail held waits for one who is only
starting, or ending. A writer takes the directory first, so that one who is refused never touches the file. After each
flock the descriptor is compared with what the path names: a lock on something that was deleted or replaced in between
is worth nothing, and is taken again.

The holder looks again before each checkpoint (`ensure`). A `lock` file that was deleted or replaced is made anew, which
is safe while the directory is held. When the directory itself was moved or replaced, or somebody holds a new `lock`, a
second writer may be at work: the holder then writes nothing more. Until it looks, half a second at the most on a trail
that moves, it may have appended to the active file: lines that no checkpoint of its own covers.

The kernel drops the locks when the last descriptor of them is closed, however the process ends. Forked children close
theirs at once (see `writer`), executed ones never have them (O_CLOEXEC), so nobody holds them by accident.

What a crash leaves in the file is what stood there: it names a process that is gone, and counts for nothing. Its first
line is all that counts: a new one is written over the old before the file is cut to it, and there is no moment without.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from indelible import events
from indelible.errors import TrailLocked
from indelible.trail import durable
from indelible.trail.sharing import processes
from indelible.trail.start.holder import STARTING, Phase, said

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.trail.durable import Access

log = logging.getLogger("indelible")

_TRIES: Final = 4
_PAUSE_S: Final = 0.01

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class TrailLock:
    """The held lock; `release` it, or die."""

    def __init__(self, path: Path, access: Access) -> None:
        """Take the lock; raises TrailLocked when somebody has it, naming them."""
        self._path = path
        self._access = access
        self._fd = self._directory_fd = -1
        self._phase: Phase = STARTING
        self._about = {"pid": os.getpid(), "command": _command(), "since": events.now()}
        self._about |= {"born": processes.born(os.getpid()), "namespace": processes.namespace()}
        self._writing = threading.Lock()
        """Held while the descriptor of the file is used, or another one takes its place: its number may be reused."""
        try:
            self._directory_fd = _hold(path.parent, _DIRECTORY_FLAGS, access)
            self._fd = _hold(path, _FILE_FLAGS, access)
        except BlockingIOError as exc:
            holder = read_holder(path)
            self.abandon()
            trail = path.parent.name.removesuffix(".d")
            msg = f"{path.parent.with_name(trail)}: is being written by {holder or 'another process'}"
            raise TrailLocked(msg, holder) from exc
        except OSError:
            self.abandon()
            raise
        self._describe()

    def say(self, phase: Phase) -> None:
        """Let whoever finds the trail locked know what its holder is at."""
        with self._writing:
            self._phase = phase
            if self._fd >= 0:
                self._describe()

    def _describe(self) -> None:
        """Write into the file who holds it."""
        with contextlib.suppress(OSError):  # a full disk: the lock holds without it
            if self._access.gid != -1:
                os.fchown(self._fd, -1, self._access.gid)
                os.fchmod(self._fd, self._access.file_mode)
            _put(self._fd, json.dumps({**self._about, "phase": self._phase}).encode() + b"\n")

    def ensure(self) -> None:
        """Make sure that nobody else can hold the trail; raises TrailLocked when somebody may."""
        if not _names(self._path.parent, self._directory_fd):
            msg = f"{self._path.parent} was moved or replaced while it was held"
            raise TrailLocked(msg)
        if _names(self._path, self._fd):
            return
        try:
            fd = _hold(self._path, _FILE_FLAGS, self._access)
        except BlockingIOError as exc:
            holder = read_holder(self._path)
            msg = f"{self._path} was replaced, and is held by {holder or 'another process'}"
            raise TrailLocked(msg, holder) from exc
        except OSError:
            return  # a full disk, or no file of ours to be had there: the directory is held
        with self._writing:
            os.close(self._fd)
            self._fd = fd
            self._describe()
        log.warning("%s: was deleted or replaced while it was held; it was made anew", self._path)

    def release(self) -> None:
        """Give the lock back."""
        with self._writing:
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    _put(self._fd, b"\n")  # not empty: the next one finds room for a line, on a full disk too
            self.abandon()

    def abandon(self) -> None:
        """Close the descriptors; in a forked child, where they are inherited, the parent keeps the lock."""
        fds, self._fd, self._directory_fd = (self._fd, self._directory_fd), -1, -1
        for fd in fds:
            if fd >= 0:
                durable.close(fd)


def _hold(path: Path, flags: int, access: Access) -> int:
    """Return a descriptor that holds the lock on what `path` names; raises BlockingIOError when somebody has it."""
    for _ in range(_TRIES):
        fd = os.open(path, flags, access.file_mode)
        try:
            _take(fd)
            if _names(path, fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise OSError(errno.EAGAIN, "is deleted or replaced again and again", str(path))


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


def _command() -> str:
    return " ".join(os.path.basename(word) for word in sys.argv[:2])  # noqa: PTH119 - no paths, no secrets


def _put(fd: int, line: bytes) -> None:
    os.pwrite(fd, line, 0)
    os.ftruncate(fd, len(line))


def _names(path: Path, fd: int) -> bool:
    """Tell whether `path` names what `fd` has open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


def read_holder(path: Path) -> str:
    """Return ``process 123 (indelible wrap, since …)`` from a lock file, or an empty text."""
    holder = said(path)
    return "" if holder is None else str(holder)
