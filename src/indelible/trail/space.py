"""Room on the file system: how much is used, what is said of it, and what is kept back for the trail's last words.

The rules that live here:

- Beyond the last threshold (`audit.disk_thresholds`), and whenever the reserve is gone for want of space, the callers'
  events are not taken: what becomes of their calls, `on_failure` says. The trail's own events still are.
- `reserve` is a preallocated file. Only the trail's own words may use its room: an alert, the gap, `audit_stopped`, and
  the checkpoint over what is written. When one of them finds no space, the file is removed; then as much of it as there
  is room for is made again, so that nobody else takes that, and all of it before any caller's event is taken.
- The reserve counts as used whether it is there or not, or letting go of it would look like room.

What a crash can leave: no `reserve`, or one that is shorter than it should be (the next start makes it whole); one that
nobody needs (the next clean end removes it); `disk` older than the last alert (that is then said twice).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from indelible.events import MAX_INTEGER
from indelible.trail import durable

if TYPE_CHECKING:
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

RESERVE_BYTES: Final = 512 * 1024
"""Enough for the tiles of 4,096 lines (16 of 8 KiB, the partial ones, directories), a checkpoint, and some events."""

RESERVE_SHARE: Final = 16
"""Never more than one part in so many of a small file system."""

HYSTERESIS: Final = 1.0
"""A threshold is left again when so many percentage points less are used: what flaps about it is said once."""

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when there is no room: the file system is full (of bytes or inodes), or the user's quota is."""

MAX_REMEMBERED_BYTES: Final = 4096

T = TypeVar("T")


# --- how much is used -----------------------------------------------------------------------------------------


class Usage(NamedTuple):
    """What a file system has: of bytes, or of inodes."""

    of: str
    used: int
    free: int
    """For somebody without privileges: blocks that are kept for root are neither used nor free."""

    @property
    def percent(self) -> float:
        """How full it is."""
        total = self.used + self.free
        return 100 * self.used / total if total > 0 else 0.0

    def at_least(self, percent: float) -> bool:
        """Tell whether so many percent are used; exact for sizes beyond a float's. Of nothing, nothing is used."""
        total = self.used + self.free
        return total > 0 and self.used * 1_000_000 >= round(percent * 10_000) * total


def measure(path: Path) -> Usage:
    """Return the scarcer of bytes and inodes on the file system of `path`, as `df` counts. Raises OSError."""
    about = os.statvfs(path)
    kinds = [
        Usage("bytes", (about.f_blocks - about.f_bfree) * about.f_frsize, about.f_bavail * about.f_frsize),
        Usage("inodes", about.f_files - about.f_ffree, about.f_favail),
    ]
    return max((kind for kind in kinds if kind.used + kind.free > 0), key=_percent, default=kinds[0])


def _percent(usage: Usage) -> float:
    return usage.percent


class Level:
    """How many of the thresholds are passed, without flapping. Pure."""

    def __init__(self, thresholds: tuple[float, ...], passed: int = 0) -> None:
        """`thresholds` in percent, rising."""
        self.thresholds = thresholds
        self.passed = min(passed, len(thresholds))

    def take(self, usage: Usage) -> list[tuple[str, float]]:
        """Note what is used; return each threshold that it is ``above`` now, or the lowest that it is ``below``."""
        said = []
        while self.passed < len(self.thresholds) and usage.at_least(self.thresholds[self.passed]):
            said.append(("above", self.thresholds[self.passed]))
            self.passed += 1
        before = self.passed
        while self.passed and not usage.at_least(_leaves_at(self.thresholds[self.passed - 1])):
            self.passed -= 1
        return said if self.passed == before else [("below", self.thresholds[self.passed])]

    @property
    def at_last(self) -> bool:
        """Whether the last threshold is passed."""
        return bool(self.thresholds) and self.passed == len(self.thresholds)


def _leaves_at(threshold: float) -> float:
    return threshold - min(HYSTERESIS, threshold / 10)


def describe(about: dict[str, Any]) -> str:
    """Return in words what an alert says."""
    used = f"{about['used_percent']} % of the file system's {about['of']} are used"
    return f"{used}, {about['disk']} the threshold of {about['threshold']:g} %"


# --- the reserve ----------------------------------------------------------------------------------------------


def reserve_bytes(path: Path) -> int:
    """Return how large the reserve is on this file system. Raises OSError."""
    about = os.statvfs(path)
    return min(RESERVE_BYTES, about.f_blocks * about.f_frsize // RESERVE_SHARE or RESERVE_BYTES)


def make_reserve(layout: Layout, access: Access) -> int:
    """Make the reserve, as much of it as there is room for; return how many bytes it lacks. Raises OSError."""
    size = reserve_bytes(layout.directory)
    with contextlib.suppress(FileNotFoundError):
        about = layout.reserve.lstat()
        if about.st_size >= size and about.st_blocks * 512 >= size:
            return 0
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(layout.reserve, flags, access.file_mode)
    try:
        has = os.fstat(fd).st_size
        for part in (size, size // 2, size // 4, size // 8):
            if part <= has:
                return size - has
            try:
                _allocate(fd, part)
            except OSError as exc:
                os.ftruncate(fd, has)
                if exc.errno not in NO_SPACE:
                    raise
            else:
                return size - part
        return size
    finally:
        os.close(fd)


def _allocate(fd: int, size: int) -> None:
    """Give a file blocks of its own."""
    try:
        os.posix_fallocate(fd, 0, size)
    except (AttributeError, OSError) as exc:  # macOS has no such call, some file systems none either
        if isinstance(exc, OSError) and exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        durable.write_all(fd, os.urandom(size))  # what does not shrink where data is compressed
        os.fsync(fd)  # where blocks are given late, this is when


def free_reserve(layout: Layout) -> bool:
    """Let go of the reserve; tell whether there was one."""
    try:
        layout.reserve.unlink()
    except OSError:
        return False
    return True


def with_reserve(layout: Layout, act: Callable[[], T]) -> T:
    """Do something that may be done twice; when there is no space for it, once more without the reserve."""
    try:
        return act()
    except OSError as exc:
        if exc.errno not in NO_SPACE or not free_reserve(layout):
            raise
    return act()


# --- one trail's room -----------------------------------------------------------------------------------------


class Space:
    """The room of one trail, as its writer sees it. Not thread-safe: the writer's lock covers it."""

    def __init__(
        self,
        layout: Layout,
        thresholds: tuple[float, ...],
        access: Access,
        usage: Callable[[Path], Usage] = measure,
    ) -> None:
        self.full: OSError | None = None
        """Why callers' events are not to be taken; None while they may be."""
        self._layout = layout
        self._access = access
        self._usage = usage
        self._level = Level(thresholds, _remembered(layout.disk, thresholds))
        self._kept_level = self._level.passed
        self._code = errno.ENOSPC
        """What the system said last: that the disk is full, or the quota."""
        self._lacks = 0
        """So many bytes of the reserve could not be had."""

    @property
    def whole(self) -> bool:
        """Whether all of the reserve is there, as far as is known."""
        return not self._lacks

    def look(self) -> list[dict[str, Any]]:
        """See how much room there is, and make the reserve; return what alerts have to say."""
        self._make_reserve()
        try:
            usage = self._usage(self._layout.directory)
        except OSError:  # the directory is gone, or the disk: that is for others to say
            return []
        if usage.of == "bytes":  # what the reserve lacks is as good as used
            usage = usage._replace(used=usage.used + self._lacks, free=max(0, usage.free - self._lacks))
        said = [
            {
                "disk": side,
                "threshold": threshold,
                "of": usage.of,
                "used_percent": round(usage.percent, 1),
                "used": min(usage.used, MAX_INTEGER),
                "free": min(usage.free, MAX_INTEGER),
                "path": str(self._layout.directory),
            }
            for side, threshold in self._level.take(usage)
        ]
        self.full = self._why_full(usage)
        return said

    def _make_reserve(self) -> None:
        try:
            self._lacks = make_reserve(self._layout, self._access)
        except OSError as exc:
            if exc.errno in NO_SPACE:  # not even an inode
                self._lacks = self._lacks or RESERVE_BYTES
            else:  # whoever writes events will say what is wrong
                self._lacks = 0

    def _why_full(self, usage: Usage) -> OSError | None:
        if self._level.at_last:
            what = f"{usage.percent:.1f} % of the file system's {usage.of} are used"
            return OSError(
                errno.ENOSPC, f"{what}, the last of audit.disk_thresholds is {self._level.thresholds[-1]:g}"
            )
        if self._lacks:
            return OSError(self._code, os.strerror(self._code))
        return None

    def release(self, failure: BaseException | None) -> bool:
        """Let go of the reserve when `failure` is for want of space; tell whether that has given some."""
        if not isinstance(failure, OSError) or failure.errno not in NO_SPACE or not free_reserve(self._layout):
            return False
        self._lacks, self._code = RESERVE_BYTES, failure.errno
        self.full = self.full or OSError(failure.errno, os.strerror(failure.errno))
        return True

    def remember(self) -> None:
        """Keep for the next start which thresholds have been said to be passed. Nothing depends on it but that."""
        if self._level.passed == self._kept_level:
            return
        said = {"above": list(self._level.thresholds[: self._level.passed])}
        with contextlib.suppress(OSError):
            durable.replace_file(
                self._layout.disk, json.dumps(said).encode() + b"\n", self._access, durable=False
            )
            self._kept_level = self._level.passed

    def settle(self) -> None:
        """At a clean end there are no last words to come: keep the reserve only where room is short already."""
        if not self._level.passed and not self._lacks:
            free_reserve(self._layout)


def _remembered(path: Path, thresholds: tuple[float, ...]) -> int:
    """Return how many of the thresholds were passed when the last writer wrote it down."""
    try:
        with path.open("rb") as file:
            above = json.loads(file.read(MAX_REMEMBERED_BYTES))["above"]
        return sum(threshold in above for threshold in thresholds)
    except (OSError, ValueError, KeyError, TypeError):
        return 0
