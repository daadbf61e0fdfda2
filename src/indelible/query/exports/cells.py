r"""A value as a cell of CSV: harmless in a spreadsheet, and to be had back. Pure.

The rules that live here:

- A cell that a spreadsheet may take for a formula gets one apostrophe in front ("CSV Injection", OWASP): one that
  begins with ``=``, ``+``, ``-`` or ``@`` (also in full width), a tab, or the end of a line, or has such a character
  behind quotes, apostrophes, spaces or characters without width, which readers strip. A plain number is no formula.
- A control character other than TAB, LF and CR is written as ``\u00XX``, and a backslash in front of what looks like
  that as ``\u005c``: nothing in a file moves a terminal's cursor, and no reader ends at a NUL. In a cell that is JSON
  this is JSON's own escape.
- `original` gives a text back, character for character.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from indelible.query.columns import json_text

_STRIPPED: Final = " \"'`\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff"
_RISKY = re.compile(f"[{_STRIPPED}]*[=+\\-@＝＋－＠\t\r\n]")  # noqa: RUF001 - in full width on purpose
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\\(?=u00[0-9a-f]{2})")
_JSON_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ESCAPED = re.compile(r"\\u00([0-9a-f]{2})")

Cell = str | int | float | None


def is_risky(text: str) -> bool:
    """Tell whether a spreadsheet may take a text for a formula."""
    return _RISKY.match(text) is not None and _NUMBER.fullmatch(text) is None


def harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return "'" + text if is_risky(text) else text


def text_cell(text: str) -> str:
    """Return the cell of a text."""
    if not text.isprintable() or "\\u00" in text:
        text = _CONTROL.sub(_escape, text)
    return harmless(text)


def original(cell: str) -> str:
    """Return the text that a cell of `text_cell` is of."""
    if cell.startswith("'") and is_risky(cell[1:]):
        cell = cell[1:]
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), cell)


def json_cell(text: str) -> str:
    """Return the cell of a JSON text: JSON that says the same, unless it begins as a formula does."""
    return harmless(text if text.isprintable() else _JSON_CONTROL.sub(_escape, text))


def time_text(value: datetime) -> str:
    """Return a time as the trail has it: RFC 3339, UTC, microseconds."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


CELLS: Final[dict[str, Callable[[Any], Cell]]] = {
    "VARCHAR": text_cell,
    "BIGINT": lambda value: value,
    "DOUBLE": lambda value: value,
    "TIMESTAMPTZ": time_text,
    "VARCHAR[]": lambda value: json_cell(json_text(value)),
    "JSON": json_cell,
    "BOOLEAN": lambda value: "true" if value else "false",
}
"""The cell of a value that is known, by its column's type in SQL."""
