"""HTTP bodies on their way, with their content codings undone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from indelible.capture.codings import CodingError, Undoing
from indelible.capture.kept import Kept

MAX_UNREAD: Final = 64
"""Characters of a content coding's name that are kept."""


class Body(Kept):
    """A body as it comes."""

    plain = True
    """Its bytes are those of the content."""
    readable = True
    """False: it is coded in a way that is not known here, or wrongly; nothing of it can be said."""
    unread: str | None = None
    """Why nothing can be said of it, for an event's metadata; None when something can, or nothing came."""

    def parts(self, piece: bytes) -> Iterator[bytes]:
        """Yield the next piece with its codings undone, a little at a time; what is kept is for `add`."""
        yield piece


class Coded(Body):
    """A body in content codings, kept with these undone."""

    plain = False
    _undoing: Undoing | None = None

    def __init__(self, codings: list[str]) -> None:
        """`codings` are names in lower case, in the order in which they were applied."""
        self._named = ", ".join(codings)
        try:
            self._undoing = Undoing(codings)
        except CodingError:
            self.readable = False

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        for part in self.parts(piece):
            super().add(part)

    def parts(self, piece: bytes) -> Iterator[bytes]:
        """Yield the next piece with its codings undone, a little at a time."""
        try:
            if self._undoing is not None and self.readable:
                yield from self._undoing.feed(piece)
        except CodingError:
            self.readable = False
        if piece and not self.readable:
            self.unread = f"content-encoding {self._named}"[:MAX_UNREAD]


def piece_of(message: Mapping[str, Any]) -> bytes:
    """Return what an ASGI message brings of a body; apps may send any bytes-like object (Starlette's do)."""
    piece = message.get("body") or b""
    return piece if type(piece) is bytes else bytes(piece)


def body_of(coding: bytes | None) -> Body:
    """Return a body of which nothing came yet; `coding` is the header ``Content-Encoding``."""
    if not coding:
        return Body()
    named = [name.strip().lower() for name in coding.decode("latin-1").split(",")]
    codings = [name for name in named if name not in ("", "identity")]
    return Coded(codings) if codings else Body()
