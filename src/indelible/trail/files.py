"""The files of a trail in the order of their seqs, and lines found in them by seq.

Both sides use this: the writer when it starts, readers always. Nothing here changes a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from indelible.events import MAX_LINE_BYTES
from indelible.trail import layout as names
from indelible.trail import packed
from indelible.trail.entry import line_seq
from indelible.trail.layout import Layout

CHUNK_BYTES: Final = 1 << 20
"""How much is read at once."""


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


def links(layout: Layout) -> list[Path]:
    """Return the links ``audit.jsonl.1`` and so on that point at closed files of this very trail, and no others."""
    pattern = re.compile(re.escape(layout.active.name) + r"\.[1-9][0-9]*(\.zst)?")
    own = os.path.relpath(layout.segments, layout.active.parent)
    found = []
    for name in os.listdir(layout.active.parent):  # noqa: PTH208 - names only
        path = layout.active.with_name(name)
        if pattern.fullmatch(name) and path.is_symlink():
            directory, segment = os.path.split(os.readlink(path))  # noqa: PTH115 - as text, not resolved
            if directory == own and names.segment_first_seq(segment) is not None:
                found.append(path)
    return found


def newest_first(layout: Layout) -> Iterator[TrailFile]:
    """Yield all files from the newest down: the active one, when it has a whole first line, then the segments."""
    first = first_seq(layout.active)
    if first is not None:
        yield TrailFile(layout.active, first, compressed=False)
    yield from reversed(segments(layout))


def open_file(file: TrailFile) -> BinaryIO:
    """Open a trail's file for reading, decompressed. Raises TrailCorrupt where a compressed one is damaged."""
    return packed.open_packed(file.path, CHUNK_BYTES) if file.compressed else file.path.open("rb")


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


def iter_lines(file: BinaryIO, offset: int | None = None) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (offset, line without LF, whole) from `offset` on, or from where the file stands at its beginning.

    `whole` is False for a last line without LF.

    A line that is longer than an entry may be is handed out in pieces no longer than `CHUNK_BYTES` and never
    held in memory whole; its pieces are not `whole`, except for the one that ends it.
    """
    if offset is not None:
        file.seek(offset)
    position, rest = offset or 0, b""
    while chunk := file.read(CHUNK_BYTES):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield position, line, True
            position += len(line) + 1
        if len(rest) > CHUNK_BYTES:
            yield position, rest, False
            position += len(rest)
            rest = b""
    if rest:
        yield position, rest, False


def find_seq(file: BinaryIO, seq: int) -> int | None:
    """Return the offset of the line with `seq` in a plain file, or None.

    Bisects on bytes, since seqs rise; where a probe meets a line without one, reads on from there.
    """
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > CHUNK_BYTES:
        middle = (low + high) // 2
        probe = _seq_after(file, middle)
        if probe is None or probe[1] > seq:
            high = middle
        else:
            low = probe[0]
            if probe[1] == seq:
                return low
    for offset, line, whole in iter_lines(file, low):
        found = line_seq(line) if whole else None
        if found == seq:
            return offset
        if found is not None and found > seq:
            break
    return None


def _seq_after(file: BinaryIO, position: int) -> tuple[int, int] | None:
    """Return (offset, seq) of the first line that begins at or after `position` and has a seq."""
    file.seek(position)
    file.readline(2 * MAX_LINE_BYTES)
    for _ in range(64):  # a run of garbage longer than this is searched line by line by the caller
        offset = file.tell()
        line = file.readline(2 * MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            return None
        seq = line_seq(line)
        if seq is not None:
            return offset, seq
    return None


def last_line(path: Path) -> tuple[int, bytes] | None:
    """Return (offset, line without LF) of the last whole line of a plain file, or None when it has none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        reach = 2 * (MAX_LINE_BYTES + 1)
        while True:
            start = max(0, size - reach)
            file.seek(start)
            data = file.read(size - start)
            end = data.rfind(b"\n")
            begin = data.rfind(b"\n", 0, max(end, 0)) if end >= 0 else -1
            if end >= 0 and (begin >= 0 or start == 0):
                return start + begin + 1, data[begin + 1 : end]
            if start == 0:
                return None
            reach *= 4


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
