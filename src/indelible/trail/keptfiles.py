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


def _split(data: bytes) -> list[bytes]:
    """Cut notes apart: one ends with the last of its signature lines."""
    notes: list[bytes] = []
    lines: list[bytes] = []
    signed = False
    for line in data.split(b"\n"):
        is_signature = line.startswith(_DASH)
        if signed and not is_signature:
            notes.append(b"\n".join(lines) + b"\n")
            lines, signed = [], False
        if not lines and not line:
            continue
        lines.append(line)
        signed = signed or is_signature
    if lines:
        while lines and not lines[-1]:
            lines.pop()
        notes.append(b"\n".join(lines))  # without its line feed, or unsigned: whoever opens it says so
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
