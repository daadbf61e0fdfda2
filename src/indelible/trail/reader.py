"""Reading a trail's files as they lie on disk, beside a writer at work.

The rule that lives here: a reader never sees a file twice, and misses none, whatever rotation does meanwhile. The
active file is opened first and the segments are listed after it: a file that was renamed in between is in the list
and known by its inode, one that was compressed and unlinked by its first seq. Nothing here follows a symbolic
link inside a trail, blocks on a pipe, or holds a whole file.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from indelible.errors import ConfigError, NoteError, TrailError
from indelible.events import MAX_LINE_BYTES
from indelible.trail import files, packed
from indelible.trail import layout as names
from indelible.trail.entry import line_recorded_at, line_seq, parse_line
from indelible.trail.files import CHUNK_BYTES
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import MAX_NOTE_BYTES, parse, split_note

MAX_ORIGIN: Final = 200
"""Characters of an origin that are read."""

_END_BLOCKS: Final = 3
"""Of a file's end, at least three of the longest lines: so far a line with a seq is looked for."""

_MAGIC: Final = (b"\x28\xb5\x2f\xfd", b"\x1f\x8b")
"""How a file begins that zstd or gzip made."""

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class TrailFile:
    """One file of a trail. The active one is held open, so that it stays what it was when it was found."""

    def __init__(self, path: Path, named_seq: int | None, fd: int = -1) -> None:
        self.path = path
        self.named_seq = named_seq
        """The first seq in a segment's name; None for the active file."""
        self._fd = fd

    @property
    def compressed(self) -> bool:
        """Whether its lines can only be read from the front."""
        return names.is_compressed(self.path.name)

    def first_seq(self) -> int | None:
        """Return the seq of its first line: from its name, or from the line. None when that is not there yet."""
        if self.named_seq is not None:
            return self.named_seq
        with self.open() as stream:
            return line_seq(os.pread(stream.fileno(), MAX_LINE_BYTES + 1, 0).partition(b"\n")[0])

    def size(self) -> int:
        """Return the bytes of its lines, unpacked; of a compressed file that does not say, and of none, 0."""
        try:
            if self._fd >= 0:
                return os.fstat(self._fd).st_size
            return (packed.content_size(self.path) or 0) if self.compressed else self.path.stat().st_size
        except OSError:
            return 0

    def open(self) -> BinaryIO:
        """Open for reading, decompressed. Raises FileNotFoundError when a writer deleted it meanwhile."""
        if self._fd >= 0:
            os.lseek(self._fd, 0, os.SEEK_SET)  # a duplicate shares its place in the file: one reader at a time
            return os.fdopen(os.dup(self._fd), "rb", buffering=0)
        try:
            fd = open_plain(self.path)
        except FileNotFoundError:
            if self.compressed:
                raise
            self.path = self.path.with_name(self.path.name + names.COMPRESSED_SUFFIX)  # compressed meanwhile
            fd = open_plain(self.path)
        raw = os.fdopen(fd, "rb", buffering=0)
        return cast("BinaryIO", packed.unpack(raw)) if self.compressed else raw

    def close(self) -> None:
        """Let go of the active file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_plain(path: Path, *, follow: bool = False) -> int:
    """Open a regular file for reading; raises TrailError for anything else, without ever blocking on it."""
    fd = os.open(path, _FLAGS if follow else _FLAGS | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        msg = f"{path}: not a plain file"
        raise TrailError(msg)
    return fd


def shown_size(path: Path) -> int:
    """Return how many lines a trail has at least, as the end of its active file shows; 0 when that cannot be seen."""
    try:
        fd = open_plain(path, follow=True)
    except (OSError, TrailError):
        return 0
    try:
        blocks = files.blocks_backward(fd, files.end_of_lines(fd))
        for _, lines in itertools.islice(blocks, _END_BLOCKS):
            for line in reversed(lines):
                seq = line_seq(line)
                if seq is not None:
                    return seq + 1
    except OSError:
        pass
    finally:
        os.close(fd)
    return 0


def read_small(path: Path, limit: int = MAX_NOTE_BYTES + 1) -> bytes | None:
    """Return a small file's content, up to `limit` bytes, or None when there is none, or no plain file."""
    try:
        fd = open_plain(path)
    except (FileNotFoundError, NotADirectoryError, TrailError):
        return None
    try:
        return os.read(fd, limit)
    finally:
        os.close(fd)


# --- what belongs to a trail --------------------------------------------------------------------------------


class Snapshot:
    """The files of a trail at one moment, oldest first; a context manager."""

    def __init__(self, layout: Layout) -> None:
        """Raises FileNotFoundError when there is no trail, PermissionError when it may not be read."""
        self.layout = layout
        self.links = files.numbered(layout)  # before the segments: links may lag behind these, never be ahead
        active = _open_active(layout)
        try:
            self.segments, self.strangers = list_segments(layout)
            self.files = [*self.segments]
            if active is not None and not self._is_listed(active):
                self.files.append(active)
                active = None
        finally:
            if active is not None:
                active.close()
        if not self.files and not self.strangers and not layout.directory.is_dir():
            raise FileNotFoundError(2, os.strerror(2), str(layout.active))

    def astray_links(self) -> list[tuple[Path, str, str]]:
        """Return (path, what belongs there, what stands there) of what is no link that a writer of this trail left.

        A link that lags behind is none of it, nor one whose file is gone: a writer that was killed in the midst of a
        rotation or a repair leaves those, and the next one puts them right.
        """
        newest = [seq for file in reversed(self.segments) if (seq := file.named_seq) is not None]
        pointed = [
            None if link.target is None else files.linked_seq(self.layout, link.target) for link in self.links
        ]
        some_are_gone = any(seq is not None and seq not in newest for seq in pointed)
        astray = []
        for link, seq in zip(self.links, pointed, strict=True):
            if link.number > len(newest):
                continue  # no link belongs there: what is none of the trail's is somebody's own
            belongs = newest[link.number - 1]
            if link.target is None:
                found = "a plain file" if link.path.is_file() else "no link"
            elif seq is None or (seq > belongs and not some_are_gone):
                found = f"a link to {link.target!r}"
            else:
                continue
            astray.append((link.path, f"a link to {self.layout.segment(belongs).name}", found))
        return astray

    def lagging_links(self) -> list[Path]:
        """Return the links that point to an older closed file than belongs there, or to one that is gone."""
        newest = [file.named_seq for file in reversed(self.segments)]
        own = [
            (link, files.linked_seq(self.layout, link.target)) for link in self.links if link.target is not None
        ]
        return [
            link.path
            for link, seq in own
            if seq is not None and (link.number > len(newest) or seq != newest[link.number - 1])
        ]

    def _is_listed(self, active: TrailFile) -> bool:
        """Tell whether the active file became a segment between its opening and the listing."""
        with active.open() as file:
            about = os.fstat(file.fileno())
            first = line_seq(os.pread(file.fileno(), MAX_LINE_BYTES + 1, 0).split(b"\n", 1)[0])
        for segment in self.segments:
            if about.st_nlink == 0 and segment.named_seq == first:
                return True
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(segment.path.stat(), about):
                    return True
        return False

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.files:
            file.close()


def _open_active(layout: Layout) -> TrailFile | None:
    try:
        return TrailFile(layout.active, None, open_plain(layout.active, follow=True))
    except FileNotFoundError:
        return None


def list_segments(layout: Layout) -> tuple[list[TrailFile], list[tuple[Path, str]]]:
    """Return the segments, oldest first, and (path, why) of what lies among them and is none.

    Of a plain and a compressed form of one segment the plain one counts (a crash while compressing).
    """
    found: dict[int, TrailFile] = {}
    strangers: list[tuple[Path, str]] = []
    try:
        entries = sorted(os.scandir(layout.segments), key=lambda entry: entry.name)
    except FileNotFoundError:
        return [], []
    for entry in entries:
        path = layout.segments / entry.name
        first_seq = names.segment_first_seq(entry.name)
        if entry.is_symlink():
            strangers.append((path, f"a link to {os.readlink(path)!r}"))  # noqa: PTH115 - as text
        elif not entry.is_file(follow_symlinks=False):
            strangers.append((path, "not a plain file"))
        elif first_seq is not None:
            found.setdefault(first_seq, TrailFile(path, first_seq))
        elif not _is_temporary(entry.name):
            strangers.append((path, "not a segment's name"))
    return [found[seq] for seq in sorted(found)], strangers


def _is_temporary(name: str) -> bool:
    """Tell whether a name is that of a segment being compressed."""
    inner = name.removeprefix(".").removesuffix(".tmp")
    return name == f".{inner}.tmp" and names.segment_first_seq(inner) is not None


def names_in(directory: Path) -> list[str]:
    """Return the names in a directory, or none when it is not there."""
    try:
        return os.listdir(directory)  # noqa: PTH208 - names only
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Make one line, a TrailError, of what the system says while the trail at `path` is read."""
    try:
        yield
    except OSError as exc:
        msg = f"{exc.filename or path}: cannot be read: {exc.strerror}"
        raise TrailError(msg) from exc


def open_snapshot(path: Path) -> Snapshot:
    """Open the files of the trail whose active file is `path`; raises TrailError when there is none."""
    try:
        return Snapshot(Layout(path))
    except FileNotFoundError as exc:
        msg = f"{path}: there is no trail here"
        raise TrailError(msg) from exc


def is_there(path: Path) -> bool:
    """Tell whether there is anything of a trail, from the path of its active file. Raises TrailError when that fails.

    Such as for a name that is too long, or below a directory that may not be looked into.
    """
    try:
        return path.exists() or Layout(path).directory.is_dir()
    except OSError as exc:
        msg = f"{path}: cannot be read: {exc.strerror}"
        raise TrailError(msg) from exc


def trails_in(directory: Path) -> list[Path]:
    """Return the active files of the trails that lie in a directory, by name.

    One whose ``.d`` directory is gone is still a trail: its first line says so.
    """
    found = set(files.trails_in(directory))
    plain = (directory / name for name in names_in(directory) if name.endswith(".jsonl"))
    return sorted(found | {path for path in plain if path not in found and _begins_a_trail(path)})


def trails_at(path: Path, *, named: bool) -> list[Path]:
    """Return the active files of the trails that are meant by a path.

    One that was `named` is that file alone, or, of a directory, all that lie in it. Else it is the configured trail:
    that, and those beside it that further recorders made while it was held. Raises ConfigError for a compressed file,
    which is no trail's active one.
    """
    if named:
        if path.is_dir():
            return trails_in(path)
        if _is_packed(path):
            msg = f"{path}: a compressed file, and no trail's active one: name that, or the directory that it lies in"
            raise ConfigError(f"{msg}; 'indelible log --from FILE' lists what a single file holds")
        return [path]
    beside = files.side_trails(path)
    return [path, *beside] if not beside or is_there(path) else beside


def _is_packed(path: Path) -> bool:
    try:
        fd = open_plain(path, follow=True)
    except (OSError, TrailError):
        return False
    try:
        return os.pread(fd, 4, 0).startswith(_MAGIC)
    finally:
        os.close(fd)


def with_earlier(paths: list[Path]) -> list[Path]:
    """Return trails and, before each, those that were set aside below it: what was recorded there is listed on.

    Of two of one origin (a backup that was put in the place of the trail it was made of) the longer one has it all.
    """
    return [found for path in paths for found in (*_earlier_trails(path), path)]


def _earlier_trails(path: Path) -> list[Path]:
    home = Layout(path).retired
    longest: dict[str, tuple[int, Path]] = {}
    for name in sorted(names_in(home)):
        for found in [] if name.startswith(".") else files.trails_in(home / name):
            origin, size = _claims(Layout(found))
            if origin not in longest or longest[origin][0] < size:
                longest[origin] = (size, found)
    living, size = _claims(Layout(path))
    return [found for origin, (length, found) in longest.items() if origin != living or length > size]


def _claims(layout: Layout) -> tuple[str, int]:
    """Return origin and size as a trail's checkpoint says them, unchecked; its path and 0 without one."""
    try:
        checkpoint = parse(split_note(read_small(layout.checkpoint) or b"")[0])
    except (OSError, NoteError):
        return str(layout.active), 0
    return checkpoint.origin, checkpoint.size


def origin_of(layout: Layout) -> str:
    """Return a trail's name as what lies beside it says, or its first line; unchecked, and empty when nothing does."""
    try:
        text = read_small(layout.origin) or b""
    except OSError:
        text = b""
    return text.decode("utf-8", "replace").strip()[:MAX_ORIGIN] or origin_in(_first_line(layout.active))


def origin_in(line: bytes) -> str:
    """Return the trail's name as the first line of one of its files says it; empty for any other line."""
    entry = parse_line(line) or {}
    metadata = entry.get("metadata")
    origin = metadata.get("origin") if isinstance(metadata, dict) else None
    return origin if entry.get("event_type") == "file_opened" and isinstance(origin, str) else ""


def _begins_a_trail(path: Path) -> bool:
    """Tell whether a file's first line is a stamped `file_opened`, as every file of a trail begins."""
    line = _first_line(path)
    entry = parse_line(line) if line_recorded_at(line) else None
    return entry is not None and entry.get("event_type") == "file_opened"


def _first_line(path: Path) -> bytes:
    """Return a plain file's first line; empty when there is none that is whole."""
    try:
        fd = open_plain(path)
    except (OSError, TrailError):
        return b""
    try:
        line, feed, _ = os.pread(fd, MAX_LINE_BYTES + 1, 0).partition(b"\n")
    except OSError:
        return b""
    finally:
        os.close(fd)
    return line if feed else b""


# --- lines from the front -----------------------------------------------------------------------------------


class Lines:
    """A file's lines in order, in lists; `rest` is, in the end, what follows the last LF.

    A line that is longer than any entry is cut, so that it does not fill the memory, but never to a length that an
    entry may have.
    """

    def __init__(self, file: BinaryIO, chunk: int = CHUNK_BYTES, limit: int = MAX_LINE_BYTES) -> None:
        """`limit` is the length of the longest line."""
        self._file = file
        self._chunk = chunk
        self._limit = limit
        self.rest = b""

    def __iter__(self) -> Iterator[tuple[list[bytes], bytes]]:
        """Yield (lines without LF, the bytes that hold them all)."""
        while chunk := self._file.read(self._chunk):
            if b"\n" not in chunk:
                self.rest = (self.rest + chunk)[: self._limit + 1]
                continue
            raw = self.rest + chunk if self.rest else chunk
            lines = raw.split(b"\n")
            self.rest = lines.pop()
            yield lines, raw
