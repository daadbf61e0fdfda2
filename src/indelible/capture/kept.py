"""Bytes that come in pieces: kept whole up to a limit, and beyond it their two ends. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from indelible.capture.frames import SCAN_BYTES
from indelible.values import MEGABYTE

MAX_KEPT: Final = 8 * MEGABYTE
"""Bytes of one body, or of one event of a stream, that are kept to be read; of a longer one only the ends are."""


class Kept:
    """What was said so far of one text. Memory is bounded by the limit, whatever its length."""

    size = 0
    """How long it is, in bytes."""
    head = b""
    """The first `SCAN_BYTES`; only of what is too long to be kept."""
    tail = b""
    """The last `SCAN_BYTES`; of the same."""
    _limit = MAX_KEPT
    _whole: bytes | None = b""
    _more: Sequence[bytes] = ()
    """What came after that."""

    def __init__(self, limit: int = MAX_KEPT) -> None:
        """`limit` is in bytes, and at least `SCAN_BYTES`."""
        if limit != MAX_KEPT:
            self._limit = limit

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        before = self.size
        self.size = size = before + len(piece)
        if self._whole is None:
            self.tail = (self.tail + piece[-SCAN_BYTES:])[-SCAN_BYTES:]
        elif size > self._limit:
            whole, self._whole, self._more = b"".join((self._whole, *self._more, piece)), None, ()
            self.head, self.tail = whole[:SCAN_BYTES], whole[-SCAN_BYTES:]
        elif not before:  # nearly always all of it
            self._whole = piece
        elif isinstance(self._more, list):
            self._more.append(piece)
        else:
            self._more = [piece]

    def add_kept(self, other: Kept, skip: int) -> None:
        """Take all of another but its first few bytes, at most `SCAN_BYTES` of them."""
        whole = other.whole
        if whole is not None:
            self.add(whole[skip:])
            return
        before = self.head if self.whole is None else self.whole
        self.size += other.size - skip
        self.head, self.tail = (before + other.head[skip:])[:SCAN_BYTES], other.tail
        self._whole, self._more = None, ()

    @property
    def cut(self) -> bool:
        """Tell whether it is too long, and only its ends are kept."""
        return self._whole is None

    @property
    def whole(self) -> bytes | None:
        """All of it; None when it is too long."""
        if self._more and self._whole is not None:
            self._whole, self._more = b"".join((self._whole, *self._more)), ()
        return self._whole
