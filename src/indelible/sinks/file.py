"""Records into a file of our own, one line each, with rotation as RotatingFileHandler names it.

The rules that live here:

- What is taken is whole and on the disk (fdatasync, once a batch): the shipper's cursor moves by that, and a record
  that a power failure took back would be sent by nobody again. After a sync that failed nothing is believed that it
  was about.
- A file has one writer: a flock on the file itself, which goes along when it is renamed.
- A line is whole or is not there. A write that stops half-way is cut back to its last whole line, at once. A kill -9
  or a power failure in the middle leaves a torn end, which was never taken: it is cut off by the next one who opens.
  It is ended with an LF where nothing may be cut (a file that may only grow), and where it may be somebody else's: it
  does not begin as a record does, and as the line before it.
- Before each batch it is seen whether the path still names the file, and the file still has the length that it had:
  whoever renames, deletes or empties it (logrotate) is noticed, and after the sync once more, so that what went into
  a file that was deleted meanwhile is written again.

Rotation is a row of renames from the oldest to the newest. A crash between them leaves a gap in the numbers, or no
file under the path itself: the next rotation fills the gap, the next one who opens makes the file. Nothing is
overwritten but the oldest, and that only when there is no gap.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigError
from indelible.sink_settings.files import FileSettings
from indelible.sinks.base import Delivery, Shipment, SinkUnavailable, delivered
from indelible.sinks.waits import STOPPED
from indelible.trail import durable
from indelible.trail.durable import Access

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings

TRIES: Final = 4
"""How often a batch is begun again, or the file opened, when somebody takes it away in between."""

LINE_END: Final = "holds a line end: a file has one record a line"

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_BLOCK: Final = 65_536

_LF: Final = ord("\n")
"""As a number: so it is looked for ten times as fast as bytes are."""
_BEGINNINGS: Final = (b"{", b"<", b"C", b"L")
"""JSON, syslog, CEF, LEEF."""
_MISTAKES: Final = {
    errno.ELOOP: "is a symbolic link; name the file that it points to",
    errno.EISDIR: "is a directory; name a file in it",
    errno.ENXIO: "is a pipe, a socket or a device; a sink of type 'file' needs a plain file",
    errno.ENOTDIR: "leads through something that is no directory",
    errno.EACCES: "may not be written by this user",
    errno.EPERM: "may not be written by this user",
    errno.EROFS: "is on a file system that is only read",
    errno.ENAMETOOLONG: "the name is too long",
}
"""What will not be better tomorrow."""

_OPEN: weakref.WeakSet[FileSink] = weakref.WeakSet()


class FileSink:
    """Appends records to a file."""

    def __init__(self, settings: SinkSettings) -> None:
        """`settings.own` is `FileSettings`; without `max_size` or `backup_count` it never rotates."""
        own = FileSettings.of(settings.own)
        self._path = Path(own.path)
        self._backups = own.backup_count
        self._max_size = own.max_size if self._backups else 0
        self._fd = -1
        self._size = 0
        self._stopped = False

    def open(self) -> None:
        """See `Sink`."""
        self._check()
        try:
            durable.make_directory(self._path.parent, Access())
            self._look()
        except OSError as exc:
            if exc.errno in _MISTAKES:
                raise ConfigError(f"{self._path}: {_MISTAKES[exc.errno]}") from exc
            raise SinkUnavailable(self._said(exc)) from exc

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        lines = [shipment.record for shipment in shipments]
        refused = _refused(lines)
        for index, _ in refused:
            lines[index] = b""
        at = fruitless = 0
        try:
            while at < len(lines):
                self._check()
                self._look()
                count = self._put(lines[at : self._end(lines, at)])
                at += count
                fruitless = 0 if count else fruitless + 1
                if fruitless == TRIES:
                    raise SinkUnavailable(f"{self._path}: is renamed, cut or deleted again and again")
        except SinkUnavailable as exc:
            exc.delivery = delivered(at, refused)
            raise
        except (OSError, ConfigError) as exc:
            raise SinkUnavailable(self._said(exc), delivered(at, refused)) from exc
        return delivered(at, refused)

    def close(self) -> None:
        """See `Sink`."""
        _OPEN.discard(self)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            durable.close(fd)

    def stop(self) -> None:
        """See `Sink`. Nothing is waited for here but the disk, and that cannot be interrupted."""
        self._stopped = True

    def _check(self) -> None:
        if self._stopped:
            raise SinkUnavailable(STOPPED)

    def _said(self, exc: Exception) -> str:
        if not isinstance(exc, OSError):
            return str(exc)
        return f"{self._path}: {_MISTAKES.get(exc.errno or 0) or exc.strerror or exc}"

    # --- the file ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Have the file open that the path names, and know its length."""
        if self._fd >= 0 and not _names(self._path, self._fd):
            self.close()
        if self._fd < 0:
            self._take(None)
        elif os.fstat(self._fd).st_size != self._size:
            self._size = _settle(self._fd)

    def _take(self, like: os.stat_result | None) -> None:
        """Open the file, or make it, `like` another one; raises SinkUnavailable when another sink has it."""
        for _ in range(TRIES):
            fd, made = _open_or_make(self._path, like)
            try:
                _refuse_no_file(self._path, fd)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _names(self._path, fd):
                    if made:
                        durable.sync_directory(self._path.parent)
                    self._size = _settle(fd)
                    self._fd, fd = fd, -1
                    _OPEN.add(self)
                    return
            except BlockingIOError:
                raise SinkUnavailable(f"{self._path}: another sink or process writes to it") from None
            finally:
                if fd >= 0:
                    os.close(fd)
        raise SinkUnavailable(f"{self._path}: is renamed or deleted again and again")

    def _end(self, lines: Sequence[bytes], at: int) -> int:
        """Return up to which line the file takes them, from `at` on; it is rotated first where it takes none."""
        if not self._max_size:
            return len(lines)
        room = self._max_size - self._size
        if self._size and len(lines[at]) + 1 > room:
            self._rotate()
            room = self._max_size
        if not at and sum(map(len, lines)) + len(lines) <= room:  # nearly always
            return len(lines)
        end = at
        while end < len(lines) and (room := room - len(lines[end]) - 1) >= 0:
            end += 1
        return max(end, at + 1)  # one that is longer than the limit has a file of its own

    def _put(self, lines: Sequence[bytes]) -> int:
        """Write lines and bring them to the disk; return how many are there, 0 when the file was taken away.

        Raises OSError when not even one is. Refused ones are empty, and count.
        """
        data = b"\n".join([*filter(None, lines), b""])
        start = self._size
        written, failure = _write(self._fd, data)
        if failure is not None:
            written = data.rfind(b"\n", 0, written) + 1
            self._cut(start + written)
            if not written:
                raise failure
        try:
            durable.datasync(self._fd)
        except OSError:
            self._cut(start)
            self.close()
            raise
        about = os.fstat(self._fd)
        self._size = start + written
        if about.st_nlink == 0 or about.st_size < self._size:
            self.close()
            return 0
        return len(lines) if failure is None else _lines_in(lines, written)

    def _cut(self, size: int) -> None:
        with contextlib.suppress(OSError):  # where nothing may be cut, `_settle` ends the torn line
            os.ftruncate(self._fd, size)

    def _rotate(self) -> None:
        """Rename the file to `.1`, those before it to the next number; see the module's rules."""
        names = [self._path, *(self._backup(number) for number in range(1, self._backups + 1))]
        free = next((at for at, name in enumerate(names) if at and not os.path.lexists(name)), self._backups)
        for at in range(free, 0, -1):
            names[at - 1].rename(names[at])
        about, held = os.fstat(self._fd), self._fd
        self._fd = -1
        try:
            self._take(about)
        finally:
            durable.close(held)
        durable.sync_directory(self._path.parent)

    def _backup(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _open_or_make(path: Path, like: os.stat_result | None) -> tuple[int, bool]:
    """Return a descriptor that appends, and whether the file was made: 0600, or as another one is."""
    for _ in range(TRIES):
        try:
            return os.open(path, _FLAGS), False
        except FileNotFoundError:
            pass
        try:
            fd = durable.create_file(path, Access())
        except FileExistsError:
            continue
        if like is not None:
            with contextlib.suppress(OSError):  # the group may be one that this user is not in
                os.fchown(fd, -1, like.st_gid)
                os.fchmod(fd, stat.S_IMODE(like.st_mode) & 0o666)
        return fd, True
    raise SinkUnavailable(f"{path}: is made and deleted again and again")


def _refuse_no_file(path: Path, fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise ConfigError(f"{path}: {_MISTAKES[errno.ENXIO]}")


def _names(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _settle(fd: int) -> int:
    """Cut a torn end off, or end it; return the file's length (see the module's rules)."""
    size = os.fstat(fd).st_size
    if not size or os.pread(fd, 1, size - 1) == b"\n":
        return size
    torn = _after_lf(fd, size)
    if torn and _is_torn_record(os.pread(fd, 1, _after_lf(fd, torn - 1)), os.pread(fd, size - torn, torn)):
        with contextlib.suppress(OSError):
            os.ftruncate(fd, torn)
            return torn
    durable.write_all(fd, b"\n")
    return size + 1


def _after_lf(fd: int, end: int) -> int:
    """Return where the line begins that goes on at `end`; 0 for the first one."""
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _is_torn_record(before: bytes, torn: bytes) -> bool:
    """Tell whether the end of a file was left by a sink, `before` being how the line before it begins.

    Formats begin their records with the same sign; where blocks were lost with the power, zeros stand in their place.
    """
    return before in _BEGINNINGS and torn.lstrip(b"\0")[:1] in (b"", before)


def _write(fd: int, data: bytes) -> tuple[int, OSError | None]:
    """Write as much as can be; return how much that is, and why it is not all."""
    view, written = memoryview(data), 0
    try:
        while written < len(data):
            written += os.write(fd, view[written:])
    except OSError as exc:
        return written, exc
    return written, None


def _lines_in(lines: Sequence[bytes], size: int) -> int:
    """Return how many of the lines, with their ends, are in so many bytes: those that were refused before them, too."""
    count = 0
    for line in lines:
        size -= len(line) + 1 if line else 0
        if size < 0:
            break
        count += 1
    return count


def _refused(lines: Sequence[bytes]) -> list[tuple[int, str]]:
    return [
        (index, LINE_END if line else "is empty") for index, line in enumerate(lines) if not line or _LF in line
    ]


def _abandon_all() -> None:
    """A forked child has the lock as its parent has; it lets go of it, and writes nothing."""
    for sink in list(_OPEN):
        sink.close()


os.register_at_fork(after_in_child=_abandon_all)
