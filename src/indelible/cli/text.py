"""Text for people: nothing that a caller chose reaches a terminal as more than the characters that it shows.

What the trail holds was written by agents and their tools: escape sequences, newlines, right-to-left overrides, NULs,
half surrogate pairs. `neutralise` makes each of them visible; widths are counted as a terminal does.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from indelible.query.continuity import Missing

MAX_SCAN: Final = 2_000
"""A cell shows far fewer characters; what lies beyond is never looked at."""

ELLIPSIS: Final = "…"

_JSON_SPACE: Final = {"\n": "\n", "\r": " ", "\t": " "}
"""White space of JSON (RFC 8259, section 2) that is not visible, and what a terminal has for it."""


def neutralise(text: str) -> str:
    r"""Replace everything that is not a visible character by an escape: ``\n``, ``\x1b``, ``\u202e``, ``\ud800``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if named is not None:
        return named
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible_json(text: str) -> str:
    r"""Return the same JSON with everything that is not visible as an escape of its own: ``\u009b``, ``\u202e``.

    It stands in texts; tabs and carriage returns as they are stand between values, and become spaces. Line ends stay.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _JSON_SPACE.get(char) or _json_escape(char) for char in text)


def visible_text(text: str) -> str:
    """Return a text of several lines with everything as an escape that is not visible, but for line ends and tabs."""
    return "".join(char if char.isprintable() or char in "\n\t" else _escape(char) for char in text)


def _json_escape(char: str) -> str:
    import json

    return json.dumps(char)[1:-1]


def one_line(text: str, limit: int = MAX_SCAN) -> str:
    """Return a text that fits on one line of a message."""
    shown = neutralise(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + ELLIPSIS


def counted(count: int, noun: str) -> str:
    """Return ``1 file``, ``2 files``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def about_seqs(missing: Missing, newer: int) -> Iterator[str]:
    """Yield a sentence each about lines that are missing, and about those that a newer version wrote."""
    if missing.lines:
        yield f"{said_missing(missing)}; 'indelible verify' says more"
    if newer:
        yield said_newer(newer)


def said_missing(missing: Missing) -> str:
    """Return how many lines are missing, and where the first would stand."""
    least = "at least " if missing.at_least else ""
    are = "is" if missing.lines == 1 and not missing.at_least else "are"
    first = ", the first " if missing.gaps > 1 else " "
    return f"{least}{counted(missing.lines, 'line')} {are} missing{first}{missing.place()}"


def said_newer(lines: int) -> str:
    """Return that so many lines were written by a newer version, and what is to be done."""
    them = "it" if lines == 1 else "them"
    said = f"{counted(lines, 'line')} written by a newer indelible, read as if this one had written {them}"
    return f"{said}: upgrade to be sure"


def width(text: str) -> int:
    """Return how many cells a terminal gives a neutralised text."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def fit(text: str, cells: int) -> str:
    """Cut a neutralised text to so many cells; a cut shows. Characters without width are not let pile up."""
    if text.isascii():
        return text if len(text) <= cells else text[: max(cells - 1, 0)] + ELLIPSIS
    kept: list[str] = []
    used = bare = 0
    for char in text:
        wide = _char_width(char)
        bare = 0 if wide else bare + 1
        if bare > 2:
            continue
        if used + wide > cells:
            return _cut(kept, cells)
        kept.append(char)
        used += wide
    return "".join(kept)


def _cut(kept: list[str], cells: int) -> str:
    while kept and width("".join(kept)) > cells - 1:
        kept.pop()
    return "".join(kept) + ELLIPSIS


def pad(text: str, cells: int) -> str:
    """Fill a text up with spaces."""
    return text + " " * (cells - width(text))


def compact(value: Any, limit: int = MAX_SCAN) -> str:
    """Return a JSON value as people read it in a cell: compact JSON, neutralised, cut."""
    if value is None:
        return ""
    try:
        text = orjson.dumps(value)[: 4 * limit].decode("utf-8", "ignore")
    except (TypeError, ValueError):  # half a surrogate pair, an integer beyond 64 bits, too deep
        text = _slow(value)
    return neutralise(text[:limit])


def _slow(value: Any) -> str:
    import json

    try:
        return json.dumps(value, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return "(cannot be shown)"


def byte_count(count: int) -> str:
    """Return a size as people read it; MB is 1,048,576 bytes, as in the configuration."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
