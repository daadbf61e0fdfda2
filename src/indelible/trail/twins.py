"""Twins: lines of a trail once more, as columns, to be asked without being read. Which there are, and which fit.

The rules that live here:

- **A twin is never trusted over its lines.** It counts only while it fits them, which is asked before each use and
  costs no reading of lines: of a closed file inode, size and times are those that it was made of, as in git's index;
  of the active file, which grows, the inode and what stands at both ends of the range. A twin that does not fit is as
  if it were not there.
- `twins/<first seq>-<end seq>.parquet` has the rows and ``.json`` beside it what they were made of, and how the other
  file was left. The second is written when the first has its name: a crash between leaves a file that nobody takes for
  a twin, and the next one who makes twins removes it.
- A range whose lines have to be read one by one (torn, altered, with a key twice) has the note alone, without rows:
  nobody tries again before the file changes.
- Whoever makes twins holds the lock, from before they open a file until no unfinished twin of theirs is left; so does
  an erasure, which is let in as soon as its plan stands in the trail. So nothing that was erased comes back.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from indelible.errors import TrailError
from indelible.trail import durable
from indelible.trail.durable import Access
from indelible.trail.layout import SEGMENT_DIGITS, Layout, segment_first_seq
from indelible.trail.reader import names_in, open_plain, read_small

VERSION: Final = 1
"""Of the note."""

MAX_NOTE_BYTES: Final = 1 << 16

END_BYTES: Final = 4096
"""So much is looked at on either end of a range of the active file."""

LOCK: Final = ".lock"

PATIENCE_S: Final = 60.0
"""How long an erasure waits for somebody who makes a twin, and was told to stop, before it is tried again later."""

LOOK_S: Final = 0.05

_NAME: Final = re.compile(r"([0-9]{20})-([0-9]{20})\.(parquet|json)")

_UNFINISHED: Final = re.compile(rf"\.{_NAME.pattern}\.tmp")


def has_duckdb() -> bool:
    """Tell whether the package that makes and asks them is there, without loading it."""
    try:
        return importlib.util.find_spec("duckdb") is not None
    except (ImportError, ValueError):
        return False


class Stamp(msgspec.Struct, frozen=True):
    """What tells that a file is still what it was, without reading it."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Twin(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside a twin: the lines from seq `first` up to and without `end`."""

    version: int = VERSION
    columns: str
    """Which columns it has, and what they mean: see `indelible.query.engine.twins`."""
    origin: str
    first: int
    end: int
    begin: int
    """The byte of its file's content at which the range begins."""
    stop: int
    """And the one at which it ends."""
    source: Stamp
    """The file that it was made of; of a range of the active file only the inode counts."""
    ends: str | None = None
    """Of such a range, the SHA-256 of what stands at both its ends; None for a closed file, which is whole."""
    newer: int | None = None
    """How many of the lines a newer version wrote; None where whoever made it did not look."""
    rows: Stamp | None = None
    """How the Parquet file was left; None where there is none, since the lines have to be read."""

    @property
    def name(self) -> str:
        """The names of its two files, without what they end with."""
        return _name(self.first, self.end)


def _name(first: int, end: int) -> str:
    return f"{first:0{SEGMENT_DIGITS}d}-{end:0{SEGMENT_DIGITS}d}"


_decode: Final = msgspec.json.Decoder(Twin).decode


def stamp_of(found: os.stat_result) -> Stamp:
    """Return the stamp of a file."""
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def rows_path(layout: Layout, twin: Twin) -> Path:
    """Return where a twin's rows are."""
    return layout.twins / f"{twin.name}.parquet"


def note_path(layout: Layout, twin: Twin) -> Path:
    """Return where it stands what they were made of."""
    return layout.twins / f"{twin.name}.json"


# --- which there are -------------------------------------------------------------------------------------------


def known(layout: Layout, origin: str, columns: str) -> list[Twin]:
    """Return the twins of a trail by their notes, in the order of their lines; of no other form, and not looked at."""
    found = []
    for name in names_in(layout.twins):
        match = _NAME.fullmatch(name)
        twin = _read(layout.twins / name) if match is not None and match[3] == "json" else None
        if twin is None or match is None or (twin.first, twin.end) != (int(match[1]), int(match[2])):
            continue
        if (twin.version, twin.columns, twin.origin) == (VERSION, columns, origin) and _is_sane(twin):
            found.append(twin)
    return sorted(found, key=lambda twin: (twin.first, -twin.end))


def names(layout: Layout) -> set[tuple[int, int]]:
    """Return the ranges (first seq, end) of which there is a note, whatever it says."""
    matches = (_NAME.fullmatch(name) for name in names_in(layout.twins))
    return {(int(match[1]), int(match[2])) for match in matches if match is not None and match[3] == "json"}


def bytes_of_chunks(layout: Layout, first: int) -> int:
    """Return up to which byte of the active file, which begins with this seq, there are twins by their notes."""
    at, stop, ranges = first, 0, dict[int, int](sorted(names(layout), key=lambda pair: -pair[1]))
    while at in ranges:
        note = _read(layout.twins / f"{_name(at, ranges[at])}.json")
        if note is None or note.begin != stop:
            break
        at, stop = ranges[at], note.stop
    return stop


def drop_outdated(layout: Layout) -> None:
    """Remove the twins of lines whose file is gone, by their names. Raises OSError."""
    closed = [first for name in names_in(layout.segments) if (first := segment_first_seq(name)) is not None]
    if not closed:
        return
    oldest = min(closed)
    gone = [
        layout.twins / name
        for name in names_in(layout.twins)
        if (match := _NAME.fullmatch(name)) is not None and int(match[2]) <= oldest
    ]
    for path in sorted(gone):
        path.unlink(missing_ok=True)


def _read(path: Path) -> Twin | None:
    try:
        return _decode(read_small(path, MAX_NOTE_BYTES) or b"")
    except (OSError, msgspec.DecodeError):
        return None


def _is_sane(twin: Twin) -> bool:
    return 0 <= twin.first < twin.end and 0 <= twin.begin < twin.stop


def fits_closed(twin: Twin, end: int, found: os.stat_result) -> bool:
    """Tell whether a twin is of a closed file, all of it: as it stands there, with its lines up to `end`."""
    return twin.ends is None and twin.end == end and twin.source == stamp_of(found)


def fits_range(twin: Twin, fd: int) -> bool:
    """Tell whether a twin is of a range of a plain file, which may have grown since, or been closed."""
    found = os.fstat(fd)
    if twin.ends is None or found.st_ino != twin.source.inode or found.st_size < twin.stop:
        return False
    return twin.ends == digest_of_ends(fd, twin.begin, twin.stop)


def digest_of_ends(fd: int, begin: int, stop: int) -> str:
    """Return the SHA-256 of what stands at both ends of a range of a plain file."""
    size = min(END_BYTES, stop - begin)
    return sha256(os.pread(fd, size, begin) + os.pread(fd, size, stop - size)).hexdigest()


def open_rows(layout: Layout, twin: Twin) -> int | None:
    """Return a descriptor of a twin's rows; None when they are not what its note says."""
    if twin.rows is None:
        return None
    try:
        fd = open_plain(rows_path(layout, twin))
    except (OSError, TrailError):
        return None
    if stamp_of(os.fstat(fd)) == twin.rows:
        return fd
    os.close(fd)
    return None


def is_whole(layout: Layout, twin: Twin) -> bool:
    """Tell whether a twin's rows are what its note says: none, or a file as it was left."""
    if twin.rows is None:
        return True
    try:
        return stamp_of(rows_path(layout, twin).lstat()) == twin.rows
    except OSError:
        return False


# --- making and removing: under the lock -------------------------------------------------------------------------


class TwinsBusyError(TrailError):
    """Somebody else makes twins of this trail, or erases."""


@contextlib.contextmanager
def alone(layout: Layout, access: Access, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock. Raises TwinsBusyError when somebody else does after `patience` seconds, OSError."""
    durable.make_directory(layout.twins, access)
    fd = os.open(layout.twins / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + patience
        while not _locked(fd):
            if time.monotonic() >= deadline:
                raise TwinsBusyError(
                    f"{layout.twins}: somebody else is making twins, or erasing; try again later"
                )
            time.sleep(LOOK_S)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_wanted_elsewhere(layout: Layout) -> bool:
    """Tell whether whoever makes twins has to stop: an erasure is under way."""
    return layout.erasing.exists()


def publish(layout: Layout, twin: Twin, access: Access) -> None:
    """Write the note that makes rows, which have their name, a twin."""
    durable.replace_file(note_path(layout, twin), msgspec.json.encode(twin), access)


def remove(layout: Layout, twins: list[Twin]) -> None:
    """Remove twins: first what makes them some."""
    for twin in twins:
        note_path(layout, twin).unlink(missing_ok=True)
        rows_path(layout, twin).unlink(missing_ok=True)
    if twins:
        durable.sync_directory(layout.twins)


def _ours(layout: Layout) -> list[str]:
    """Return the names of the files here that are ours to remove: all of them.

    Behind a link, which leads to where others may keep theirs, only those that whoever makes twins gives.
    """
    try:
        with os.scandir(layout.twins) as found:
            names = [entry.name for entry in found if not entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    if not layout.twins.is_symlink():
        return names
    return [name for name in names if _NAME.fullmatch(name) or _UNFINISHED.fullmatch(name)]


def sweep(layout: Layout, kept: list[Twin]) -> int:
    """Remove every file that is not of these twins, such as what a crash has left; return how many files."""
    names = {LOCK}.union(*({f"{twin.name}.json", f"{twin.name}.parquet"} for twin in kept))
    gone = [layout.twins / name for name in _ours(layout) if name not in names]
    for path in gone:
        path.unlink(missing_ok=True)
    if gone:
        durable.sync_directory(layout.twins)
    return len(gone)


def remove_over(layout: Layout, ranges: list[tuple[int, int]]) -> None:
    """Remove the twins that begin in these ranges (first and last seq): their files go."""
    gone = [
        layout.twins / name
        for name in names_in(layout.twins)
        if (match := _NAME.fullmatch(name)) is not None
        and any(first <= int(match[1]) <= last for first, last in ranges)
    ]
    for path in sorted(gone):
        path.unlink(missing_ok=True)
    if gone:
        durable.sync_directory(layout.twins)


def forget(layout: Layout, ranges: list[tuple[int, int]]) -> None:
    """Remove the twins that have lines of these ranges (first and last seq), whatever they say, and what is unfinished.

    Under the lock.
    """
    gone = []
    for name in _ours(layout):
        match = _NAME.fullmatch(name)
        if name == LOCK or (match is not None and not _touches(int(match[1]), int(match[2]), ranges)):
            continue
        gone.append(layout.twins / name)
    for path in sorted(gone):
        path.unlink(missing_ok=True)
    if gone:
        durable.sync_directory(layout.twins)


def _touches(first: int, end: int, ranges: list[tuple[int, int]]) -> bool:
    return any(low < end and high >= first for low, high in ranges)
