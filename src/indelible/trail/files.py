"""The files of a trail in the order of their seqs, and lines found in them by seq.

Both sides use this: the writer when it starts, readers always. Nothing here changes a file.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeVar

from indelible.events import MAX_LINE_BYTES
from indelible.trail import layout as names
from indelible.trail import packed
from indelible.trail.entry import line_seq
from indelible.trail.layout import Layout

CHUNK_BYTES: Final = 1 << 20
"""How much is read at once."""

NEAR_BYTES: Final = 4 * MAX_LINE_BYTES
"""So much of a plain file is read through, and no longer bisected."""

PROBE_BYTES: Final = 8192
"""A place in a file is looked at so far first: nearly always there is a line's end in it, and the next one's seq."""

HEAD_BYTES: Final = 64
"""Of a line: its seq is in them."""

LOOKS: Final = 20
"""How often one looks for a closed file that is renamed or deleted just then."""

T = TypeVar("T")


def looking_again(look: Callable[[], T]) -> T:
    """Return what `look` finds; it looks again where the writer at work renamed or deleted a file meanwhile.

    Raises what `look` raises, FileNotFoundError only after so many `LOOKS`.
    """
    for _ in range(LOOKS - 1):
        try:
            return look()
        except FileNotFoundError:
            continue
    return look()


class TrailFile(NamedTuple):
    """One file of a trail and the seq of its first line."""

    path: Path
    first_seq: int
    compressed: bool


def segments(layout: Layout) -> list[TrailFile]:
    """Return the closed files, oldest first.

    Where a plain and a compressed form of one segment are there (a crash while compressing), the plain one counts.
    """
    found: dict[int, TrailFile] = {}
    try:
        entries = sorted(os.listdir(layout.segments))  # noqa: PTH208 - names only
    except FileNotFoundError:
        return []
    for name in entries:
        first_seq = names.segment_first_seq(name)
        if first_seq is not None and first_seq not in found:  # "….jsonl" sorts before "….jsonl.zst"
            found[first_seq] = TrailFile(layout.segments / name, first_seq, names.is_compressed(name))
    return [found[seq] for seq in sorted(found)]


class NumberedFile(NamedTuple):
    """What stands at ``audit.jsonl.1``, ``.2`` …, where links to the newest closed files belong."""

    path: Path
    number: int
    target: str | None
    """What a link says; None when it is none."""


def numbered(layout: Layout) -> list[NumberedFile]:
    """Return what stands at the places of a trail's links, by name. One that is being replaced may be missing."""
    form = re.compile(re.escape(layout.active.name) + r"\.([1-9][0-9]*)(?:\.zst)?")
    try:
        entries = sorted(os.listdir(layout.active.parent))  # noqa: PTH208 - names only
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for name in entries:
        match = form.fullmatch(name)
        if match is None:
            continue
        path = layout.active.with_name(name)
        try:
            target = os.readlink(path)  # noqa: PTH115 - as text, not resolved
        except FileNotFoundError:
            continue
        except OSError:  # EINVAL: no link
            target = None
        found.append(NumberedFile(path, int(match[1]), target))
    return found


def links(layout: Layout) -> list[Path]:
    """Return the links ``audit.jsonl.1`` and so on that point at closed files of this very trail, and no others."""
    return [
        link.path
        for link in numbered(layout)
        if link.target is not None and linked_seq(layout, link.target) is not None
    ]


def linked_seq(layout: Layout, target: str) -> int | None:
    """Return the first seq of the closed file of this trail that a link's text names, or None for anything else."""
    place = os.path.relpath(layout.segments, layout.active.parent)
    folder, _, name = target.rpartition("/")
    return names.segment_first_seq(name) if folder == place else None


def newest_first(layout: Layout) -> Iterator[TrailFile]:
    """Yield all files from the newest down: the active one, when it has a whole first line, then the segments."""
    first = first_seq(layout.active)
    if first is not None:
        yield TrailFile(layout.active, first, compressed=False)
    yield from reversed(segments(layout))


def oldest_first(layout: Layout) -> list[TrailFile]:
    """Return all files from the oldest up; see `newest_first`."""
    return list(newest_first(layout))[::-1]


def first_line(file: TrailFile) -> bytes:
    """Return a file's first line without its LF."""
    with open_file(file) as stream:
        return stream.readline(MAX_LINE_BYTES + 1).rstrip(b"\n")


def open_file(file: TrailFile) -> BinaryIO:
    """Open a trail's file for reading, decompressed; reading raises TrailCorrupt where a compressed one is damaged."""
    stream = file.path.open("rb")
    return io.BufferedReader(packed.unpack(stream, file.path), CHUNK_BYTES) if file.compressed else stream


def first_seq(path: Path) -> int | None:
    """Return the seq of a plain file's first line; None when there is no file, or no whole first line."""
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_LINE_BYTES + 1)
    except FileNotFoundError:
        return None
    return line_seq(line) if line.endswith(b"\n") else None


def end_of_compressed(segment: TrailFile) -> int:
    """Return the seq after the last of a compressed segment; reads it whole."""
    end = segment.first_seq
    with open_file(segment) as file:
        for _, line, whole in iter_lines(file):
            seq = line_seq(line) if whole else None
            end = seq + 1 if seq is not None else end
    return end


def iter_lines(
    file: BinaryIO, offset: int | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (offset, line without LF, whole) from `offset` on, or from where the file stands at its beginning.

    `whole` is False for a last line without LF.

    `chunk_bytes`, more than an entry may have, are read at once. A line that is longer is handed out in pieces and
    never held in memory whole; its pieces are not `whole`, except for the one that ends it.
    """
    if offset is not None:
        file.seek(offset)
    position, rest = offset or 0, b""
    while chunk := file.read(chunk_bytes):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield position, line, True
            position += len(line) + 1
        if len(rest) > chunk_bytes:
            yield position, rest, False
            position += len(rest)
            rest = b""
    if rest:
        yield position, rest, False


Find = Callable[[bytes, int, int], int]
"""Returns where something first stands in data between two offsets, -1 for nowhere: `bytes.find` of a part, say."""


def lines_with(file: BinaryIO, find: Find) -> Iterator[bytes]:
    """Yield the whole lines, without LF, in which `find` finds; the others are passed over at its speed.

    From where the file stands. Of a line that is longer than an entry may be, only the end is looked at.
    """
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        data = rest + chunk
        end = data.rfind(b"\n") + 1
        rest = data[end:][-MAX_LINE_BYTES:]
        after = 0
        while (at := find(data, after, end)) >= 0:
            begin, after = data.rfind(b"\n", 0, at) + 1, data.index(b"\n", at) + 1
            yield data[begin : after - 1]


def find_seq(file: BinaryIO, seq: int) -> int | None:
    """Return the offset of the line with `seq` in a plain file, or None.

    Bisects on bytes, since seqs rise, whatever stands between the lines; where the file stands does not matter, and is
    another place afterwards.
    """
    for offset, line, whole in iter_lines(file, near_seq(file.fileno(), seq), NEAR_BYTES):
        found = line_seq(line) if whole else None
        if found is not None and found >= seq:
            return offset if found == seq else None
    return None


def near_seq(fd: int, seq: int) -> int:
    """Return an offset of a line in a plain file: the one with `seq` begins there, or not far behind."""
    low, high = 0, os.fstat(fd).st_size
    while high - low > NEAR_BYTES:
        middle = (low + high) // 2
        offset, claimed = _seq_after(fd, middle)
        if claimed is not None and claimed <= seq:
            low = offset
        else:
            high = middle
    return low


def find_line(file: BinaryIO, seq: int) -> bytes | None:
    """Return the line with `seq` in a plain file, without its LF, or None. One that is too long for an entry is cut."""
    offset = find_seq(file, seq)
    return None if offset is None else os.pread(file.fileno(), MAX_LINE_BYTES + 1, offset).partition(b"\n")[0]


def _seq_after(fd: int, position: int) -> tuple[int, int | None]:
    """Return (offset, seq) of the first line after the next line feed that has a seq; (…, None) when none is near."""
    for size in (PROBE_BYTES, 2 * MAX_LINE_BYTES):
        data = os.pread(fd, size, position)
        begin = data.find(b"\n") + 1
        while begin:
            claimed = line_seq(data[begin : begin + HEAD_BYTES])
            if claimed is not None:
                return position + begin, claimed
            begin = data.find(b"\n", begin) + 1
    return position, None


# --- lines from the back ------------------------------------------------------------------------------------


def last_line(path: Path) -> bytes | None:
    """Return a plain file's last whole line, without LF; None when there is none, or it is too long for an entry."""
    with path.open("rb", buffering=0) as file:
        fd = file.fileno()
        for _, lines in blocks_backward(fd, end_of_lines(fd)):
            if lines:
                return lines[-1] if len(lines[-1]) <= MAX_LINE_BYTES else None
    return None


def blocks_backward(fd: int, end: int, chunk: int = 1 << 16) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (offset, lines without LF) from the end of a plain file to its front; within a list lines rise.

    The first list's last line is what follows the last LF before `end`, and is left out when empty. Chunks double
    up to `CHUNK_BYTES`. Of a line that is longer than any entry only the end is kept, so that it does not fill the
    memory, but never of a length that an entry may have.
    """
    later, position, last = b"", end, True
    while position > 0:
        start = max(0, position - chunk)
        data = _read_exactly(fd, start, position - start)
        position, chunk = start, min(2 * chunk, CHUNK_BYTES)
        lines = data.split(b"\n")
        lines[-1] += later
        if start and len(lines) == 1:
            later = lines[0][-(MAX_LINE_BYTES + 1) :]
            continue
        later = lines.pop(0) if start else b""
        offset = start + data.index(b"\n") + 1 if start else 0
        if last and not lines[-1]:
            lines.pop()
        last = False
        yield offset, lines


def end_of_lines(fd: int) -> int:
    """Return the offset after the last LF of a plain file."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - CHUNK_BYTES)
        found = _read_exactly(fd, start, end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _read_exactly(fd: int, offset: int, size: int) -> bytes:
    """Read up to `size` bytes; fewer only where the file ends (it was cut meanwhile)."""
    parts = []
    while size and (part := os.pread(fd, size, offset)):
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return b"".join(parts)


# --- trails beside a trail ---------------------------------------------------------------------------------------


def side_path(path: Path, label: str) -> Path:
    """Return where this process records beside `path`."""
    return path.with_name(f"{_stem(path)}-{label}-{os.getpid()}.jsonl")


def trails_in(directory: Path) -> list[Path]:
    """Return the active files of the trails that lie in a directory, by name."""
    suffix = ".jsonl" + names.DIRECTORY_SUFFIX
    return sorted(
        path.with_name(path.name.removesuffix(names.DIRECTORY_SUFFIX))
        for path in directory.iterdir()
        if path.name.endswith(suffix) and path.is_dir()
    )


def side_trails(path: Path) -> list[Path]:
    """Return the trails that further recorders made beside `path`, by name."""
    pattern = re.compile(re.escape(_stem(path)) + r"-.+-[0-9]+\.jsonl")
    beside = trails_in(path.parent) if path.parent.is_dir() else []
    return [other for other in beside if pattern.fullmatch(other.name)]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".jsonl")
