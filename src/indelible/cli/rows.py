"""Rows that a query gave, as a table, as JSON lines, or as CSV.

To a terminal nothing goes that it would obey: what is not visible is an escape there, in each of the three. A file or a
pipe gets the values as they are.

In CSV (RFC 4180) a text is made harmless as in an export (`indelible.query.exports.cells`): what stands in a trail was
written by agents and their tools.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Final, Literal

from indelible.cli.text import compact, fit, neutralise, pad, visible_json, width
from indelible.query.exports.cells import harmless

Form = Literal["table", "json", "csv"]

BATCH: Final = 500
"""The widths of so many rows hold for all that follow."""

MAX_CELLS: Final = 60
"""The most cells of a column when there are several."""


def print_rows(names: Sequence[str], rows: Iterable[Sequence[Any]], form: Form) -> int:
    """Print rows to standard output; return how many."""
    match form:
        case "json":
            return _print_json(names, rows)
        case "csv":
            return _print_csv(names, rows)
        case "table":
            return _print_table(names, rows)


def plain(value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
    """Return a value as JSON has it: times as RFC 3339 in UTC, numbers that JSON does not have as texts."""
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case Decimal():
            return float(value) if value.is_finite() else str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case float():
            return value if math.isfinite(value) else str(value)
        case dict():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)


def _print_json(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    from indelible.query.columns import json_text

    printed, names, terminal = 0, _distinct(names), sys.stdout.isatty()
    for row in rows:
        text = json_text(dict(zip(names, map(plain, row), strict=True)))
        sys.stdout.write((visible_json(text) if terminal else text) + "\n")
        printed += 1
    return printed


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names of which none hides another: of equal ones the second is ``NAME_1``, as in DuckDB's subqueries."""
    taken, found = set(names), list[str]()
    for name in names:
        new = name
        if name in found:
            new = next(
                other for number in range(1, len(names) + 1) if (other := f"{name}_{number}") not in taken
            )
            taken.add(new)
        found.append(new)
    return found


def _print_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    out, terminal = io.StringIO(), sys.stdout.isatty()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_harmless(name, terminal=terminal) for name in names])
    count = 0
    for count, row in enumerate(rows, 1):
        writer.writerow([_harmless(_csv(value), terminal=terminal) for value in row])
        if count % BATCH == 0:
            _hand_over(out)
    _hand_over(out)
    return count


def _hand_over(out: io.StringIO) -> None:
    sys.stdout.write(out.getvalue())
    out.seek(0)
    out.truncate()


def _csv(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        value = compact(value, 1 << 20)
    return value


def _harmless(value: Any, *, terminal: bool) -> Any:
    if not isinstance(value, str):
        return value
    text = harmless(value)
    return neutralise(text) if terminal else text


def _print_table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    count, widths, right = 0, list[int](), list[bool]()
    for batch in _batches(rows):
        cells = [[_cell(value) for value in row] for row in batch]
        if not widths:
            most = MAX_CELLS if len(names) > 1 else 10_000
            heads = [neutralise(name) for name in names]
            widths = [
                min(most, max(width(head), *(width(row[at]) for row in cells))) for at, head in enumerate(heads)
            ]
            right = [_is_number(batch, at) for at in range(len(names))]
            _print_cells(heads, widths, right)
        for row in cells:
            _print_cells(row, widths, right)
        count += len(batch)
    return count


def _batches(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _is_number(rows: Sequence[Sequence[Any]], at: int) -> bool:
    values = [row[at] for row in rows if row[at] is not None]
    return bool(values) and all(
        isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in values
    )


def _print_cells(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> None:
    fitted = [fit(cell, cells_) for cell, cells_ in zip(cells, widths, strict=True)]
    padded = [
        " " * (cells_ - width(cell)) + cell if is_right else pad(cell, cells_)
        for cell, cells_, is_right in zip(fitted, widths, right, strict=True)
    ]
    sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            text = value.isoformat(" ").replace("+00:00", "")
            return text[:-3] if value.microsecond else text
        case float():
            return f"{value:.6g}" if abs(value) < 1e15 else repr(value)
        case str():
            return neutralise(value)
        case dict() | list() | tuple():
            return compact(plain(value))
        case _:
            return neutralise(str(plain(value)))
