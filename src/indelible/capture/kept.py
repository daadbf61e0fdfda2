"""Bytes that come in pieces: kept whole up to a limit, and beyond it their two ends. Pure."""

from __future__ import annotations

from typing import Final

from indelible.capture.frames import SCAN_BYTES
from indelible.values import MEGABYTE

MAX_KEPT: Final = 8 * MEGABYTE
"""Bytes of one body, or of one event of a stream, that are kept to be read; of a longer one only the ends are."""


class Kept:
    """What was said so far of one text. Memory is bounded by the limit, whatever its length."""

    __slots__ = ("_limit", "_parts", "head", "size", "tail")

    def __init__(self, limit: int = MAX_KEPT) -> None:
        """`limit` is in bytes, and at least `SCAN_BYTES`."""
        self._limit = limit
        self._parts: list[bytes] | None = []
        self.size = 0
        """How long it is, in bytes."""
        self.head = b""
        """The first `SCAN_BYTES`; only of what is too long to be kept."""
        self.tail = b""
        """The last `SCAN_BYTES`; of the same."""

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        self.size += len(piece)
        if self._parts is None:
            self.tail = (self.tail + piece[-SCAN_BYTES:])[-SCAN_BYTES:]
            return
        if piece:
            self._parts.append(piece)
        if self.size > self._limit:
            whole, self._parts = b"".join(self._parts), None
            self.head, self.tail = whole[:SCAN_BYTES], whole[-SCAN_BYTES:]

    def add_kept(self, other: Kept, skip: int) -> None:
        """Take all of another but its first few bytes, at most `SCAN_BYTES` of them."""
        whole = other.whole
        if whole is not None:
            self.add(whole[skip:])
            return
        before = self.head if self._parts is None else b"".join(self._parts)
        self.size += other.size - skip
        self.head, self.tail = (before + other.head[skip:])[:SCAN_BYTES], other.tail
        self._parts = None

    @property
    def whole(self) -> bytes | None:
        """All of it; None when it is too long."""
        if self._parts is None:
            return None
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0] if self._parts else b""
