"""A trail's lines by their seq, for who asks for single ones of a long trail.

What a line claims is not believed here: a line is found by the seq in front of it, and whoever asked compares its leaf
hash with what was sealed. Files that were tampered with may hide a line, never make one up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from indelible.errors import TrailCorrupt
from indelible.events import MAX_LINE_BYTES
from indelible.trail.entry import line_seq
from indelible.trail.reader import Lines, TrailFile, open_snapshot, reading

_NEAR: Final = 4 * MAX_LINE_BYTES
"""So much of a plain file is read through, and no longer bisected."""

_STEP: Final = 2_000
"""So many lines are read over to the next one that is asked for: that takes as long as a bisection."""


class LinesBySeq:
    """One trail at one moment; a context manager. Seqs that go up are read in one pass, if they are near each other."""

    def __init__(self, path: Path) -> None:
        """Raises TrailError when there is no trail, or it may not be read."""
        self._path = path
        with reading(path):
            self._snapshot = open_snapshot(path)
        self._walk: _Walk | None = None

    def __enter__(self) -> LinesBySeq:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._forget()
        self._snapshot.__exit__()

    def find(self, seq: int) -> bytes | None:
        """Return the line that claims a seq, None when none does: deleted, or damaged. Raises TrailError."""
        with reading(self._path):
            for file in reversed(self._snapshot.files):
                if file.named_seq is not None and file.named_seq > seq:
                    continue
                try:
                    found = self._in_file(file, seq)
                except (FileNotFoundError, TrailCorrupt):  # deleted meanwhile; damaged
                    found = None
                if found is None:
                    self._forget()
                if found is not None or file.named_seq is not None:
                    return found
        return None

    def _in_file(self, file: TrailFile, seq: int) -> bytes | None:
        """Read on from the last line that was asked for, when that is not far before this one in the same file."""
        walk = self._walk
        if walk is not None and walk.file is file and walk.next_seq <= seq:
            if file.compressed:
                return walk.find(seq)
            found = walk.find(seq) if seq - walk.next_seq <= _STEP else None
            if found is not None:  # else a line in between may claim a seq that is not its own
                return found
        self._forget()
        self._walk = _Walk(file, 0 if file.compressed else _bisect(file, seq))
        return self._walk.find(seq)

    def _forget(self) -> None:
        if self._walk is not None:
            self._walk.close()
            self._walk = None


class _Walk:
    """A file that is read onwards."""

    def __init__(self, file: TrailFile, offset: int) -> None:
        self.file = file
        self.next_seq = 0
        """Of this one and those after it it can still tell."""
        self._stream = file.open()
        if offset:
            self._stream.seek(offset)
        self._lines = _each(self._stream)

    def find(self, seq: int) -> bytes | None:
        """Return the line that claims a seq; None when there is none further on, and then nothing more is found."""
        self.next_seq = seq + 1
        for line in self._lines:
            claimed = line_seq(line)
            if claimed is not None and claimed >= seq:
                return line if claimed == seq else None
        return None

    def close(self) -> None:
        self._stream.close()


def _each(stream: BinaryIO) -> Iterator[bytes]:
    for lines, _ in Lines(stream):
        yield from lines


def _bisect(file: TrailFile, seq: int) -> int:
    """Return an offset in a plain file: the line that claims a seq begins there, or not far behind."""
    with file.open() as stream:
        low, high = 0, stream.seek(0, os.SEEK_END)
        while high - low > _NEAR:
            middle = (low + high) // 2
            stream.seek(middle)
            begin, claimed = _next_seq(stream.read(2 * MAX_LINE_BYTES))
            if claimed is not None and claimed <= seq:
                low = middle + begin
            else:
                high = middle
    return low


def _next_seq(data: bytes) -> tuple[int, int | None]:
    """Return where the first line begins after a line feed that has a seq, and that seq; None when there is none."""
    begin = data.find(b"\n") + 1
    while begin:
        claimed = line_seq(data[begin : begin + 64])
        if claimed is not None:
            return begin, claimed
        begin = data.find(b"\n", begin) + 1
    return 0, None
