"""Lines of a trail's files by their seqs: read where they stand, and nothing between them, as far as that can be done.

Seqs are dense in the files that this is for, so that a line's place in a plain file can nearly be told from its seq.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from indelible.errors import TrailCorrupt
from indelible.events import MAX_LINE_BYTES
from indelible.trail.entry import line_seq
from indelible.trail.files import CHUNK_BYTES, HEAD_BYTES
from indelible.trail.reader import TrailFile

WINDOW_BYTES: Final = 1 << 16
"""So much of a plain file is read around the place where a line should stand."""

GUESSES: Final = 64
"""So often a place is guessed at; a bisection of the largest file needs fewer."""


def lines_of(file: TrailFile, first: int, seqs: Iterable[int]) -> Iterator[tuple[int, bytes | None]]:
    """Yield each seq, which rise, with its line, without LF; None where it is not there. `first` is the file's first.

    Raises OSError; FileNotFoundError when the file was deleted.
    """
    with file.open() as stream:
        if file.compressed:
            yield from _streamed(iter(lambda: stream.read(CHUNK_BYTES), b""), first, seqs)
        else:
            plain = _Plain(stream.fileno(), first)
            for seq in seqs:
                yield seq, plain.find(seq)


class _Plain:
    """Finds lines of a plain file. What was read last is looked at first: hits stand close to each other."""

    def __init__(self, fd: int, first: int) -> None:
        self._fd = fd
        self._first = first
        self._size = os.fstat(fd).st_size
        self._mean = 512.0
        """Bytes of a line, as far as that is known."""
        self._at = 0
        self._seqs = range(0)
        self._lines: list[bytes] = []

    def find(self, seq: int) -> bytes | None:
        """Return the line with this seq, or None."""
        low, low_seq, high = 0, self._first, self._size
        for _ in range(GUESSES):
            if seq in self._seqs:
                line = self._lines[seq - self._seqs.start]
                return line if line_seq(line[:HEAD_BYTES]) == seq else None
            if self._lines and low <= self._at < high:
                if seq < self._seqs.start:
                    high = self._at
                elif self._after < high:
                    low, low_seq = self._after, self._seqs.stop
                else:
                    return None
            if low >= high:
                return None
            guess = low + int((seq - low_seq) * self._mean) - WINDOW_BYTES // 4
            if not self._read(min(max(guess, low), max(low, high - WINDOW_BYTES)), low):
                return None
        return None

    def _read(self, position: int, known: int) -> bool:
        """Read a window; `known` is the beginning of a line at or before it. Tell whether there is a line in it."""
        for size in (WINDOW_BYTES, 4 * MAX_LINE_BYTES):
            data = os.pread(self._fd, size, position)
            begin = 0 if position == known else data.find(b"\n") + 1
            end = data.rfind(b"\n") + 1
            seq = line_seq(data[begin : begin + HEAD_BYTES]) if begin < end else None
            if seq is not None and (begin or position == known):
                self._at, self._after = position + begin, position + end
                self._lines = data[begin : end - 1].split(b"\n")
                self._seqs = range(seq, seq + len(self._lines))
                self._mean = (end - begin) / len(self._lines)
                return True
        return False


def _streamed(chunks: Iterator[bytes], first: int, seqs: Iterable[int]) -> Iterator[tuple[int, bytes | None]]:
    """Count lines from the front: of what can only be read so."""
    rest, at, lines = b"", first, list[bytes]()
    taken = first
    for seq in seqs:
        while at <= seq:
            try:
                chunk = next(chunks, b"")
            except TrailCorrupt:
                chunk = b""
            if not chunk:
                break
            data = rest + chunk
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            count = data.count(b"\n", 0, end)
            if seq < at + count:
                lines, taken = data[: end - 1].split(b"\n"), at
            at += count
        line = lines[seq - taken] if lines and taken <= seq < taken + len(lines) else None
        yield seq, line if line is not None and line_seq(line[:HEAD_BYTES]) == seq else None
