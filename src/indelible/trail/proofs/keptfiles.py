"""Files of checkpoints that were kept elsewhere: one, many, or lines of a syslog that hold them. Pure.

A file is either notes, one after the other, with empty lines between them or not; or lines of a log, of which those
that an anchor sent end in a whole checkpoint as base64. What is neither is counted, not believed: whoever asks is told.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple

END: Final = b"\n\n"
"""What stands after each checkpoint in a file that many are appended to."""

_DASH: Final = "— ".encode()
_SMALLEST: Final = 100
"""Characters of base64: no checkpoint with a signature is shorter than 75 bytes."""


class Kept(NamedTuple):
    """What a file holds."""

    notes: list[bytes]
    """Each with its signatures, byte for byte; whether it is one, and by whom it is signed, is not judged."""
    other_lines: int
    """Lines of a log that hold none."""


def notes_in(data: bytes) -> Kept:
    """Return the checkpoints in a file's content, in its order."""
    if data.startswith(_DASH) or b"\n" + _DASH in data:
        return Kept(_split(data), 0)
    notes, others = [], 0
    for line in data.split(b"\n"):
        note = _in_line(line)
        if note is not None:
            notes.append(note)
        elif line.strip():
            others += 1
    return Kept(notes, others)


def whole_length(data: bytes) -> int:
    """Return how much of a file that checkpoints are appended to is whole: up to the last that has its end."""
    at = len(data)
    while (at := data.rfind(END, 0, at)) >= 0:
        if data.startswith(_DASH, data.rfind(b"\n", 0, at) + 1):
            return at + len(END)
        at += len(END) - 1  # the last two of three line feeds are no end, the first two may be
    return 0


def _split(data: bytes) -> list[bytes]:
    """Cut notes apart: lines, an empty one, signature lines. What lacks a part stands for itself."""
    notes: list[bytes] = []
    lines: list[bytes] = []

    def cut() -> None:
        if lines:
            notes.append(b"\n".join(lines) + b"\n")
            lines.clear()

    def begins_another(row: bytes) -> bool:
        """Tell whether what is there is complete, or never will be: its empty line is there, and no signature comes."""
        if not lines or row.startswith(_DASH):
            return False
        return lines[-1] == b"" or lines[-1].startswith(_DASH)

    rows = data.split(b"\n")
    torn = rows.pop()
    for row in rows:
        if begins_another(row):
            cut()
        if row or lines:
            lines.append(row)
    if begins_another(torn):
        cut()
    if torn:
        notes.append(b"\n".join([*lines, torn]))  # without its line feed: whoever opens it says so
    else:
        cut()
    return notes


def _in_line(line: bytes) -> bytes | None:
    word = line.rstrip().rpartition(b" ")[2]
    if len(word) < _SMALLEST:
        return None
    try:
        note = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return None
    return note if b"\n" + _DASH in note else None
