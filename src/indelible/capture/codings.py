"""Content codings (RFC 9110, section 8.4.1) undone, piece by piece. Pure.

The rule that lives here: **what is made of a body is bounded, in memory and in time**. A coded body may be thousands of
times as long as it looks, or unpack to nothing at all; so each step makes a little, and all steps together make no more
than `MAX_MADE` and a multiple of what came.

gzip (RFC 1952) and deflate (RFC 1950; bare RFC 1951 too, as many senders have it) are zlib's, zstd (RFC 8878, with the
window that RFC 9659 allows) zstandard's. Of br nothing can be said: no part of ours knows it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from indelible.values import MEGABYTE

MADE_AT_ONCE: Final = 64 * 1024
"""Bytes that are made at a time of gzip and deflate."""

ZSTD_STEP: Final = 256
"""Bytes of zstd that are undone at a time: four of them make a block of 128 KiB at most (RFC 8878, section 3.1.1.2)."""

ZSTD_WINDOW: Final = 8 * MEGABYTE
"""The largest window that a sender may ask for (RFC 9659, section 3)."""

MAX_MADE: Final = 64 * MEGABYTE
MAX_RATIO: Final = 32
"""Bytes that are made of one body: so many, and so many for each that came."""

MAX_CODINGS: Final = 3
"""Codings one over the other that are undone."""


class CodingError(Exception):
    """Bytes that are not in the coding that they are said to be in, or too many."""


class _Zlib:
    """One coding of zlib's; further members of gzip (RFC 1952, section 2.2) belong to the content."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._inflate = zlib.decompressobj(wbits)
        self._members = 0
        self._any = self._over = False
        self._head: bytes | None = b"" if wbits == _DEFLATE else None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        if self._head is not None:  # two bytes tell whether it is RFC 1950 or bare
            piece = self._head + piece
            self._head = piece if len(piece) < _TELLING else None
            if self._head is not None:
                return
        full = False
        while (piece or full) and not self._over:
            made = self._made(piece)
            full = len(made) == MADE_AT_ONCE  # there may be more in it that no input stands for
            piece = self._inflate.unconsumed_tail
            if self._inflate.eof:
                piece, full = self._inflate.unused_data, False
                self._over = self._wbits != _GZIP
                self._members, self._any = self._members + 1, False
                self._inflate = zlib.decompressobj(self._wbits)
            yield made

    def _made(self, piece: bytes) -> bytes:
        try:
            made = self._inflate.decompress(piece, MADE_AT_ONCE)
        except zlib.error as exc:
            if self._members and not self._any:  # padding behind the content: nobody's
                self._over = True
                return b""
            if self._any or self._wbits != _DEFLATE:
                raise CodingError(str(exc)) from None
            self._wbits = -zlib.MAX_WBITS
            self._inflate = zlib.decompressobj(self._wbits)
            return self._made(piece)
        self._any = self._any or bool(made)
        return made


class _Zstd:
    """zstd, of any number of frames."""

    def __init__(self) -> None:
        import zstandard

        self._error: type[Exception] = zstandard.ZstdError
        maker = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        self._undo: Any = maker.decompressobj(read_across_frames=True)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        for at in range(0, len(piece), ZSTD_STEP):
            try:
                yield self._undo.decompress(piece[at : at + ZSTD_STEP])
            except self._error as exc:
                raise CodingError(str(exc)) from None


_DEFLATE: Final = zlib.MAX_WBITS
_TELLING: Final = 2
_GZIP: Final = zlib.MAX_WBITS | 16
_OF_ZLIB: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}


class Undoing:
    """The codings of one body, undone in the order that is the reverse of the one they were applied in."""

    def __init__(self, codings: list[str]) -> None:
        """`codings` as they stand in the header, lower case. Raises CodingError for one that is not known here."""
        if len(codings) > MAX_CODINGS:
            raise CodingError("too many codings")
        self._steps: list[_Zlib | _Zstd] = [_step(name) for name in reversed(codings)]
        self._left = MAX_MADE

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what the next piece gives, a little at a time. Raises CodingError."""
        self._left += MAX_RATIO * len(piece)
        pieces: Iterable[bytes] = (piece,)
        for step in self._steps:
            pieces = self._through(step, pieces)
        return iter(pieces)

    def _through(self, step: _Zlib | _Zstd, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            for made in step.feed(piece):
                self._left -= len(made)
                if self._left < 0:
                    raise CodingError("more than is read")
                if made:
                    yield made


def _step(name: str) -> _Zlib | _Zstd:
    if name == "zstd":
        return _Zstd()
    if name in _OF_ZLIB:
        return _Zlib(_OF_ZLIB[name])
    msg = f"not known: {name}"
    raise CodingError(msg)
