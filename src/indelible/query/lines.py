"""A trail's lines by their seq, for who asks for single ones of a long trail.

What a line claims is not believed here: a line is found by the seq in front of it, and whoever asked compares its leaf
hash with what was sealed. Files that were tampered with may hide a line, never make one up.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from indelible.errors import TrailCorrupt
from indelible.trail import files
from indelible.trail.entry import line_seq
from indelible.trail.reader import Lines, TrailFile, open_snapshot, reading


class LinesBySeq:
    """One trail at one moment; a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises TrailError when there is no trail, or it may not be read."""
        self._path = path
        with reading(path):
            self._snapshot = open_snapshot(path)
        self._unpacked: _Walk | None = None

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
                    found = self._unpack(file, seq) if file.compressed else _find(file, seq)
                except (FileNotFoundError, TrailCorrupt):  # deleted meanwhile; damaged
                    self._forget()
                    found = None
                if found is not None or file.named_seq is not None:
                    return found
        return None

    def _unpack(self, file: TrailFile, seq: int) -> bytes | None:
        """Read on from the last line that was asked for, when that is before this one in the same file."""
        if self._unpacked is None or self._unpacked.file is not file or self._unpacked.next_seq > seq:
            self._forget()
            self._unpacked = _Walk(file)
        return self._unpacked.find(seq)

    def _forget(self) -> None:
        if self._unpacked is not None:
            self._unpacked.close()
            self._unpacked = None


def _find(file: TrailFile, seq: int) -> bytes | None:
    with file.open() as stream:
        return files.find_line(stream, seq)


class _Walk:
    """A file that is read from its front."""

    def __init__(self, file: TrailFile) -> None:
        self.file = file
        self.next_seq = 0
        self._stream = file.open()
        self._lines = _each(self._stream)
        self._last: bytes | None = None

    def find(self, seq: int) -> bytes | None:
        for line in self._lines:
            claimed = line_seq(line)
            if claimed is not None and claimed >= seq:
                self.next_seq = claimed + 1
                return line if claimed == seq else None
        self.next_seq = seq + 1
        return None

    def close(self) -> None:
        self._stream.close()


def _each(stream: BinaryIO) -> Iterator[bytes]:
    for lines, _ in Lines(stream):
        yield from lines
