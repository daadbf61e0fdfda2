"""A recorder's count of what it could not record, kept where kill -9 does not reach it.

The disk that cannot take events cannot be trusted with their count either: it may be full, read-only, or hang. So the
count stands in shared memory (`/dev/shm`, a page of a file there), and, for as long as the disk takes it, in a file in
the trail's own `gaps/`, which also survives the end of the machine or container; a thread writes that, so that nobody
waits for it. Without shared memory the file alone has to do.

What may not move:

- A file is two slots, written in turn, each with its generation and a checksum: a process that dies within a store
  leaves the count from before. Whoever reads takes the newest whole slot of both places.
- Its owner holds a lock on it (flock) for as long as it lives. One that is not locked is a dead recorder's.
- What may be in the trail though it is counted stands there by its id, with the trail's size before: an `audit_gap`
  (`Claim`) and a refusal before they are appended, an event that was not recorded in time. It is taken off the count
  when it is known what became of it. After a death in between, whoever finds the file looks for those events in the
  trail: each is in the trail or counted, whatever dies when.
- What a file holds is believed only when it is this user's own, a plain file, and nobody else may write it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import secrets
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from indelible.trail import durable

if TYPE_CHECKING:
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

SLOT_BYTES: Final = 8192
FILE_BYTES: Final = 2 * SLOT_BYTES
MAX_REASON_CHARS: Final = 200
"""Of the reason; in JSON a character takes six bytes at the most."""

MAX_DOUBTS: Final = 128
"""So many events that are counted and may have come are known by their ids; what fits a slot."""

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - in it a directory that only this user can enter

_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_PRIVATE: Final = durable.Access()


class Claim(msgspec.Struct, frozen=True):
    """An `audit_gap` that is on its way into the trail."""

    event_id: str
    lost: int
    """How many it says."""
    size: int
    """The trail had so many lines at least when it was claimed: the event is at none of their places."""
    at: float
    """When (seconds since the epoch)."""


class Count(msgspec.Struct):
    """What one recorder owes the record."""

    recorder: str
    pid: int
    lost: int = 0
    """Events that are neither in the trail nor in an `audit_gap`."""
    waiting: int = 0
    """Refusals that its memory holds: lost when it dies."""
    reason: str = ""
    since: str = ""
    until: str = ""
    claim: Claim | None = None
    doubts: list[str] = []
    """The ids of events among `lost` and `waiting` that may be in the trail."""
    doubt_size: int = 0
    """The trail had so many lines at least before the first of them was on its way."""
    doubt_at: float = 0.0
    """When the newest of them was (seconds since the epoch)."""
    generation: int = 0

    @property
    def owed(self) -> int:
        """How many events are lost when the recorder is dead."""
        return self.lost + self.waiting

    def doubt(self, event_id: str, size: int) -> None:
        """An event that is counted may be in the trail, after its first `size` lines."""
        if len(self.doubts) < MAX_DOUBTS and event_id not in self.doubts:
            self.doubt_size = min(size, self.doubt_size) if self.doubts else size
            self.doubts.append(event_id)
            self.doubt_at = time.time()

    def know(self, event_id: str) -> None:
        """It is known what became of it."""
        if event_id in self.doubts:
            self.doubts.remove(event_id)


_decode = msgspec.json.Decoder(Count).decode


def _pack(count: Count) -> bytes:
    body = msgspec.json.encode(msgspec.structs.replace(count, reason=count.reason[:MAX_REASON_CHARS]))
    return (b"%08x %b\n" % (zlib.crc32(body), body)).ljust(SLOT_BYTES)


def _newest(data: bytes) -> Count | None:
    """Return the newest whole slot of a file's content."""
    found = []
    for at in range(0, FILE_BYTES, SLOT_BYTES):
        line, end, _ = data[at : at + SLOT_BYTES].partition(b"\n")
        with contextlib.suppress(ValueError, msgspec.MsgspecError):
            if end and int(line[:8], 16) == zlib.crc32(line[9:]):
                found.append(_decode(line[9:]))
    return max(found, key=lambda count: count.generation, default=None)


# --- where ------------------------------------------------------------------------------------------------------


_TRIES: Final = 8


def memory_directory(layout: Layout) -> Path | None:
    """Return where in shared memory the counts of this trail's recorders are; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    own = SHARED_MEMORY / f"indelible-{os.geteuid()}"
    if layout.behind_service:  # another one at each of its starts, at the same place
        return own / f"socket-{hashlib.sha256(os.fsencode(layout.socket.absolute())).hexdigest()[:32]}"
    with contextlib.suppress(OSError):
        about = layout.directory.stat()
        return own / f"{about.st_dev:x}-{about.st_ino:x}"
    return None


def _own(about: os.stat_result) -> bool:
    """Tell whether a file or directory is this user's, and nobody else can write it."""
    return about.st_uid == os.geteuid() and not about.st_mode & 0o022


def _enter(directory: Path) -> None:
    """Make the directory in shared memory; raises OSError when somebody else has one of that name."""
    for path in (directory.parent, directory):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        about = path.lstat()
        if not stat.S_ISDIR(about.st_mode) or not _own(about):
            raise PermissionError(1, "belongs to somebody else", str(path))


class _Place:
    """One file with a count, open and locked."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd

    @classmethod
    def create(cls, path: Path, access: Access) -> _Place:
        """Make the file with all the blocks that it will ever need. Raises OSError."""
        fd = durable.create_file(path, access)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # somebody may just be looking whether its recorder is dead
            durable.write_all(fd, b" " * FILE_BYTES)
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_APPEND)  # pwrite(2), BUGS
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return cls(path, fd)

    def read(self) -> Count | None:
        return _newest(os.pread(self.fd, FILE_BYTES, 0))

    def store(self, slot: int, data: bytes) -> None:
        """Overwrite a slot in place. Raises OSError."""
        os.pwrite(self.fd, data, slot * SLOT_BYTES)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            durable.close(fd)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.close()


def _in_memory(directory: Path, name: str) -> _Place | None:
    """Make a file in shared memory, if that can be had. Whoever removes the last one removes the directory, too."""
    for _ in range(_TRIES):
        try:
            _enter(directory)
            return _Place.create(directory / name, _PRIVATE)
        except FileNotFoundError:
            continue
        except OSError:
            break
    return None


class GapFile:
    """The count of one recorder, living or dead. Not thread-safe: its owner's lock covers it, but for `keep`."""

    def __init__(self, count: Count, memory: _Place | None, beside: _Place | None) -> None:
        self.count = count
        self._memory = memory
        self._beside = beside
        self._map = mmap.mmap(memory.fd, FILE_BYTES) if memory else None

    @classmethod
    def create(cls, layout: Layout, access: Access, recorder: str) -> GapFile:
        """Make the files of a living recorder, as far as they can be had: behind a service in shared memory only."""
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        memory = beside = None
        directory = memory_directory(layout)
        if directory is not None:
            memory = _in_memory(directory, name)
        if not layout.behind_service:
            with contextlib.suppress(OSError):
                durable.make_directory(layout.gaps, access, durable=False)
                beside = _Place.create(layout.gaps / name, _PRIVATE)
        return cls(Count(recorder, os.getpid()), memory, beside)

    @property
    def name(self) -> str:
        """The name of its files; empty without any."""
        place = self._memory or self._beside
        return place.path.name if place is not None else ""

    @property
    def survives(self) -> bool:
        """Whether the count outlives this process at all."""
        return self._memory is not None or self._beside is not None

    @property
    def in_memory(self) -> bool:
        """Whether `store` alone keeps the count; else whoever changes it has to `keep` it."""
        return self._map is not None

    def store(self) -> None:
        """Keep the count in shared memory."""
        self.count.generation += 1
        if self._map is not None:
            at = self.count.generation % 2 * SLOT_BYTES
            self._map[at : at + SLOT_BYTES] = _pack(self.count)

    def snapshot(self) -> tuple[int, bytes]:
        """Return what `keep` shall write."""
        return self.count.generation % 2, _pack(self.count)

    def keep(self, kept: tuple[int, bytes]) -> None:
        """Write the count to the file beside the trail, which may take any time. Raises OSError."""
        if self._beside is not None:
            self._beside.store(*kept)

    def remove(self) -> None:
        """Nothing is owed any more."""
        for place in (self._memory, self._beside):
            if place is not None:
                place.remove()
        if self._memory is not None:
            with contextlib.suppress(OSError):  # others of this trail may have files there
                self._memory.path.parent.rmdir()
        self._unmap()

    def close(self) -> None:
        """Leave the count to whoever comes next; in a forked child, to the parent."""
        for place in (self._memory, self._beside):
            if place is not None:
                place.close()
        self._unmap()

    def _unmap(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None


def leave(layout: Layout, access: Access, count: Count) -> None:
    """Leave a count to whoever comes next."""
    file = GapFile.create(layout, access, count.recorder)
    file.count = count
    file.store()
    with contextlib.suppress(OSError):
        file.keep(file.snapshot())
    file.close()


# --- what dead recorders left -------------------------------------------------------------------------------------


def left_behind(layout: Layout) -> Iterator[GapFile]:
    """Yield the counts of dead recorders, each locked for as long as it is open. Those who owe nothing are removed."""
    for name in sorted({name for directory in _directories(layout) for name in _names(directory)}):
        found = take(layout, name)
        if found is not None and found.count.owed:
            yield found
        elif found is not None:
            found.remove()


def take(layout: Layout, name: str) -> GapFile | None:
    """Open and lock a count that nobody has; None when somebody has it."""
    places = [_take(directory / name) for directory in _directories(layout)]
    if "living" in places:
        for place in places:
            if isinstance(place, _Place):
                place.close()
        return None
    beside, memory = [place if isinstance(place, _Place) else None for place in (*places, None)][:2]
    counts = [count for place in (beside, memory) if place and (count := place.read())]
    count = max(counts, key=lambda count: count.generation, default=Count("", 0))
    return GapFile(count, memory, beside)


def _directories(layout: Layout) -> list[Path]:
    return [layout.gaps, *filter(None, [memory_directory(layout)])]


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - names of two directories are put together
    except OSError:
        return []


def _take(path: Path) -> _Place | str:
    """Open and lock a dead recorder's file; ``living`` when its recorder holds it, else why there is none."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return "missing"
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        about = os.fstat(fd)
        if about.st_nlink and stat.S_ISREG(about.st_mode) and _own(about) and about.st_size == FILE_BYTES:
            return _Place(path, fd)
    except BlockingIOError:
        os.close(fd)
        return "living"
    except OSError:
        pass
    os.close(fd)
    return "missing"
