"""Compressed streams, unpacked a piece at a time: told by how they begin, not by their names.

The rules that live here:

- No more is unpacked at once than a few bytes can stand for (a KB of zstandard: 32 MB), no piece is larger than
  `PIECE_BYTES`, and what unpacks to far more than records do is not read on: a bomb costs some time, and no memory.
- An end in the middle of a frame is damage, and never taken for the end of the content.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
MAGIC_BYTES: Final = 4

PIECE_BYTES: Final = 1 << 20
ZSTD_FEED: Final = 1024
"""So much is unpacked at once: four bytes of a frame can stand for 128 KB of one letter."""

FREE_BYTES: Final = 64 << 20
"""So much of any file is unpacked, before it is asked how much it grows."""
MAX_GROWTH: Final = 500
"""Each record has an id and a hash that nothing can shorten: some 30 is what the plainest come to."""

TOO_MUCH: Final = (
    f"it unpacks to more than {MAX_GROWTH} times its size, as no records do: the rest is left unread"
)

Read = Callable[[int], bytes]
Count = Callable[[int], None]


class Damaged(Exception):  # noqa: N818 - a state of what is read, not a mistake of anybody's
    """A compressed stream that cannot be unpacked any further; the message says why."""


def unpacked(read: Read, count: Count) -> Iterator[bytes]:
    """Yield the content of a stream, unpacked when it is compressed. Raises Damaged, OSError.

    `read` returns up to so many bytes, none at the end; `count` is told how many were read.
    """
    begin = b""
    while len(begin) < MAGIC_BYTES and (piece := read(PIECE_BYTES)):
        begin += piece
    pieces = _pieces(begin, read, count)
    if begin.startswith(GZIP):
        yield from _bounded(_gunzip(pieces))
    elif begin.startswith(ZSTD):
        yield from _bounded(_unzstd(pieces))
    else:
        yield from pieces


def _pieces(begin: bytes, read: Read, count: Count) -> Iterator[bytes]:
    piece = begin
    while piece:
        count(len(piece))
        yield piece
        piece = read(PIECE_BYTES)


def _bounded(parts: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
    """Pass on what is unpacked, as long as it does not grow out of all proportion."""
    made = used = 0
    for taken, part in parts:
        used += taken
        made += len(part)
        if made > FREE_BYTES and made > used * MAX_GROWTH:
            raise Damaged(TOO_MUCH)
        for start in range(0, len(part), PIECE_BYTES):  # one letter may be 32 million lines
            yield part[start : start + PIECE_BYTES]


def _gunzip(pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (bytes taken, what they unpack to): of one member after the other (RFC 1952, section 2.2)."""
    member: Any = None
    for piece in pieces:
        rest = piece
        while rest:
            member = member or zlib.decompressobj(wbits=31)
            before = len(rest)
            try:
                part = member.decompress(rest, PIECE_BYTES)
            except zlib.error as exc:
                raise Damaged(f"cannot be unpacked: {exc}") from exc
            rest = member.unused_data if member.eof else member.unconsumed_tail
            member = None if member.eof else member
            yield before - len(rest), part
            if member is None and rest and not rest.strip(b"\0"):
                rest = b""  # padding, as tapes and block devices leave it
        while member is not None and (part := _more(member)):
            yield 0, part
    if member is not None:
        raise Damaged("cannot be unpacked: its end is missing")


def _more(member: Any) -> bytes:
    """Return what a member still holds back after all input was taken."""
    try:
        held: bytes = member.decompress(b"", PIECE_BYTES)
    except zlib.error as exc:
        raise Damaged(f"cannot be unpacked: {exc}") from exc
    return held


def _unzstd(pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (bytes taken, what they unpack to): of one frame after the other (RFC 8878, section 3)."""
    import zstandard

    frame: Any = None
    for piece in pieces:
        for start in range(0, len(piece), ZSTD_FEED):
            rest = piece[start : start + ZSTD_FEED]
            while rest:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                before = len(rest)
                try:
                    part = frame.decompress(rest)
                except zstandard.ZstdError as exc:
                    raise Damaged(f"cannot be unpacked: {exc}") from exc
                rest = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
                yield before - len(rest), part
    if frame is not None:
        raise Damaged("cannot be unpacked: its end is missing")
