"""Event streams (WHATWG HTML, section 9.2), read beside the bytes that go on: pieces in, events out. Pure.

The rule: an event is over where a client may dispatch it. A CR that ends a piece ends a line, whether or not an LF
follows in the next one; so nothing of an event that is over is left to be sent when its outcome is recorded.
However a stream is cut into pieces, the events are the same.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from indelible.capture.kept import MAX_KEPT, Kept

_END: Final = re.compile(rb"[\r\n]")
_BOM: Final = b"\xef\xbb\xbf"
_NAME_BYTES: Final = 64
"""Of a longer field name only this much is looked at; those that mean something have five at most."""

ID_BYTES: Final = 1024
"""Bytes of an event's id that are looked at."""

_USUAL: Final = re.compile(
    rb"(?:id: ?([^\r\n]*+)\r?\n)?(?:event: ?([^\r\n]{0,%d}+)\r?\n)?data: ?([^\r\n]*+)\r?\n\r?\n" % _NAME_BYTES
)
"""One event, as servers that answer in JSON write them."""


class Event(NamedTuple):
    """One event that has data."""

    data: Kept
    """Its ``data`` lines, joined by LF; UTF-8 as it came."""
    name: bytes
    """``message`` when it has none."""
    start: int
    """Where its first line begins, in bytes from the stream's beginning."""
    end: int
    """The byte after the line end that makes it one."""


class Parser:
    """One stream."""

    def __init__(self, limit: int = MAX_KEPT) -> None:
        """`limit` is of one event's data, in bytes; see `Kept`."""
        self._limit = limit
        self._at = 0
        self._line = Kept(limit)
        self._data: Kept | None = None
        self._name = b""
        self._start = 0
        self._after_cr = False
        self._first = True
        self.resumable = False
        """An event had an id: a client may ask for what comes after it on another connection."""

    @property
    def between(self) -> bool:
        """Tell whether no event is begun, so that one of our own may be put here."""
        return self._line.size == 0 and self._start == self._at

    def feed(self, piece: bytes) -> list[Event]:
        """Take the next piece; return the events that it completes."""
        if not piece:
            return []
        if self.between and not self._after_cr and len(piece) <= self._limit:
            usual = _USUAL.fullmatch(piece)
            if usual is not None:
                return [self._usual(usual)]
        found: list[Event] = []
        at, base = 0, self._at
        if self._after_cr:
            self._after_cr = False
            if piece[:1] == b"\n":
                at = 1
                if self._start == base:  # it belongs to what went before
                    self._start = base + 1
        while (end := _END.search(piece, at)) is not None:
            self._line.add(piece[at : end.start()])
            at = end.end()
            if end[0] == b"\r":
                if piece[at : at + 1] == b"\n":
                    at += 1
                elif at == len(piece):
                    self._after_cr = True
            self._end_line(found, base + at)
        self._line.add(piece[at:])
        self._at = base + len(piece)
        return found

    def _usual(self, match: re.Match[bytes]) -> Event:
        """Take an event that is a piece by itself, as nearly always: at a tenth of what its lines take."""
        start = self._start
        self._start = self._at = end = start + match.end()
        self._first = False
        event_id, name, text = match.groups()
        if event_id:
            self.resumable = True
        data = Kept(self._limit)
        data.add(text)
        return Event(data, name or b"message", start, end)

    def _end_line(self, found: list[Event], at: int) -> None:
        line, self._line = self._line, Kept(self._limit)
        skip = 0
        if self._first:
            self._first = False
            if _head(line).startswith(_BOM):
                skip = len(_BOM)
        if line.size == skip:
            if self._data is not None:
                found.append(Event(self._data, self._name or b"message", self._start, at))
            self._data, self._name, self._start = None, b"", at
            return
        self._field(line, skip)

    def _field(self, line: Kept, skip: int) -> None:
        head = _head(line)[skip:]
        name, colon, _ = head[:_NAME_BYTES].partition(b":")
        begins = skip + len(name) + len(colon)
        if colon and head[len(name) + 1 : len(name) + 2] == b" ":
            begins += 1
        if name == b"data":
            if self._data is None:
                self._data = Kept(self._limit)
            else:
                self._data.add(b"\n")
            self._data.add_kept(line, begins)
        elif name == b"event":
            self._name = head[begins - skip :][:_NAME_BYTES]
        elif name == b"id" and head[begins - skip :][:ID_BYTES]:
            self.resumable = True


def _head(line: Kept) -> bytes:
    return line.head if line.whole is None else line.whole or b""


def event_of(data: bytes) -> bytes:
    """Return an event with this data, which holds no line end."""
    return b"event: message\r\ndata: " + data + b"\r\n\r\n"
