"""Events as a table: with rich on a terminal, as aligned plain text elsewhere; the same cells in both.

Rows are taken in batches, and the widths of the first batch hold for all, so that a listing of any length needs the
memory of one batch.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from indelible.cli.text import MAX_SCAN, compact, fit, neutralise, pad, width
from indelible.query.filters import parse_event

if TYPE_CHECKING:
    from indelible.query.search import Hit

BATCH: Final = 500
PLAIN_LIMITS: Final = {
    "event": 26,
    "user": 24,
    "backend": 24,
    "name": 48,
    "args": 60,
    "outcome": 24,
    "latency": 14,
}
"""The most cells of a column when nothing says how wide the paper is."""

STEADY: Final = {"event": 12, "user": 12, "backend": 12, "name": 28, "args": 40, "outcome": 19, "latency": 12}
"""Where later rows may be wider than those that are known: the least cells of a column."""

TIME_CELLS: Final = len("2026-11-21 05:38:34.123")
TIMES: Final = (slice(None), slice(0, 19), slice(5, 19))
"""What of a time is shown, the longest first: with milliseconds, to the second, and that without the year."""

LEAST: Final = {"args": 9, "name": 12, "user": 6, "backend": 7, "event": 13, "outcome": 10}
"""How far columns give way on a narrow terminal, in this order; 13 cells tell events and their intents apart."""

DROPPED: Final = ("user", "latency", "backend", "args", "event")
"""Where even that is too wide these columns are left out, in this order, until the rest fits."""

STYLES: Final = {"completed": "green", "input_required": "yellow", "cancelled": "yellow"}


class Column(NamedTuple):
    """A column: its key, its heading, whether it holds numbers."""

    key: str
    heading: str
    right: bool = False


COLUMNS: Final = (
    Column("mark", ""),
    Column("time", "TIME (UTC)"),
    Column("event", "EVENT"),
    Column("user", "USER"),
    Column("backend", "BACKEND"),
    Column("name", "NAME"),
    Column("args", "ARGUMENTS"),
    Column("outcome", "OUTCOME"),
    Column("latency", "LATENCY", right=True),
)

Cells = dict[str, str]

EMPTY: Final[Cells] = {column.key: "" for column in COLUMNS}
"""A row that shows nothing."""


def cells_of(line: bytes) -> Cells:
    """Return what a line shows in each column: neutralised, not cut to any width yet."""
    event = parse_event(line) or {}
    source, target, outcome = _part(event, "source"), _part(event, "target"), _part(event, "outcome")
    return {
        "time": _time(event),
        "event": _text(event.get("event_type")) or ("erased" if "erased" in event else ""),
        "user": _text(source.get("user_id")),
        "backend": _text(target.get("backend")),
        "name": _text(target.get("capability_name") or target.get("method")),
        "args": _arguments(event),
        "outcome": _text(outcome.get("kind")),
        "latency": latency_text(outcome.get("latency_ms")),
    }


def _part(event: dict[str, Any], name: str) -> dict[str, Any]:
    part = event.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: object) -> str:
    if value is None:
        return ""
    return neutralise(value[:MAX_SCAN]) if isinstance(value, str) else compact(value)


def _time(event: dict[str, Any]) -> str:
    """Return ``2026-11-21 05:38:34.123``."""
    shown = _text(event.get("timestamp"))
    return f"{shown[:10]} {shown[11:23]}" if len(shown) == 27 and shown[10] == "T" else shown[:40]


def _arguments(event: dict[str, Any]) -> str:
    if "erased" in event and "event_type" not in event:
        return f"seq {compact(event.get('seq'))}, on record as {_text(event['erased'])}"
    request, state = _part(event, "request"), _part(event, "state")
    if state:
        change = f"{_text(state.get('from')) or '-'} -> {_text(state.get('to')) or '-'}"
        return f"{change} ({_text(state['reason'])})" if state.get("reason") else change
    if "args" in request:
        return compact(request["args"])
    if "args_bytes" in request:
        return f"({compact(request['args_bytes'])} bytes)"
    return "" if request else compact(event.get("metadata"))


def latency_text(value: object) -> str:
    """Return a latency in milliseconds as people read it; nothing for what is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    if not abs(value) < 2**63:  # no clock has measured that
        return compact(value)
    return f"{value / 1000:.2f} s" if value >= 10_000 else f"{value:.2f} ms"


# --- printing -------------------------------------------------------------------------------------------


class TablePrinter:
    """Prints hits to a text stream; the heading comes with the first."""

    def __init__(
        self, out: IO[str], *, events: bool, terminal: bool, steady: bool = False, marks: bool = False
    ) -> None:
        """With `steady`, rows come a few at a time: columns are wide from the first on.

        `events` and `marks` are columns that only some listings need: which type of event, and which rows are meant.
        """
        self._out = out
        self._steady = steady
        needed = {"event": events, "mark": marks}
        self._columns = [column for column in COLUMNS if needed.get(column.key, True)]
        self._terminal = terminal
        self._time = TIMES[0]
        self._widths: dict[str, int] = {}
        self._console: Any = None

    def print(self, hits: Iterable[Hit]) -> int:
        """Print all hits, a batch at a time; return how many."""
        return self.print_rows(cells_of(hit.line) for hit in hits)

    def print_rows(self, cells: Iterable[Cells]) -> int:
        """Print rows that are made already, a batch at a time; return how many."""
        count = 0
        for rows in _batches(cells):
            first = not self._widths
            if first:
                self._widths = self._measure(rows)
            if self._terminal:
                self._rich(rows, heading=first)
            else:
                self._plain(rows, heading=first)
            count += len(rows)
        return count

    def _measure(self, rows: list[Cells]) -> dict[str, int]:
        widths = {
            column.key: max(len(column.heading), *(width(row[column.key]) for row in rows))
            for column in self._columns
        }
        for key, most in PLAIN_LIMITS.items():
            if key in widths:
                widths[key] = min(widths[key], most)
        widths["time"] = min(widths["time"], 40)
        if self._steady or len(rows) == BATCH:
            widths = {key: max(cells, STEADY.get(key, 0)) for key, cells in widths.items()}
        return self._squeeze(widths) if self._terminal else widths

    def _squeeze(self, widths: dict[str, int]) -> dict[str, int]:
        """Make the table fit the terminal: arguments give way first, then names, then people, then whole columns.

        A time is never cut in the middle: the milliseconds go first, then the year.
        """
        least = {key: min(cells, LEAST.get(key, cells)) for key, cells in widths.items()}
        self._shorten_time(widths, least)
        for key in DROPPED:
            if _excess(least) > 0 and least.pop(key, None) is not None:
                del widths[key]
        self._columns = [column for column in self._columns if column.key in widths]
        for key in LEAST:
            excess = _excess(widths)
            if excess > 0 and key in widths:
                widths[key] = max(least[key], widths[key] - excess)
        return widths

    def _shorten_time(self, widths: dict[str, int], least: dict[str, int]) -> None:
        if _excess(widths) > 0:
            self._time = TIMES[1] if _excess({**least, "time": 19}) <= 0 else TIMES[2]
            shown = len(range(TIME_CELLS)[self._time])
            widths["time"] = least["time"] = min(widths["time"], shown)

    def _plain(self, rows: list[Cells], *, heading: bool) -> None:
        lines = [{column.key: column.heading for column in self._columns}, *rows] if heading else rows
        for row in lines:
            parts = []
            for column in self._columns:
                cells = self._widths[column.key]
                shown = self._fit(row, column.key)
                parts.append(shown.rjust(cells) if column.right else pad(shown, cells))
            self._out.write("  ".join(parts).rstrip() + "\n")

    def _fit(self, row: Cells, key: str) -> str:
        cells = self._widths[key]
        text = row[key]
        return fit(text[self._time] if key == "time" and len(text) == TIME_CELLS else text, cells)

    def _rich(self, rows: list[Cells], *, heading: bool) -> None:
        from rich.table import Table
        from rich.text import Text

        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self._out, highlight=False, markup=False, emoji=False)
        table = Table(box=None, show_header=heading, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for column in self._columns:
            justify: Any = "right" if column.right else "left"
            table.add_column(column.heading, width=self._widths[column.key], no_wrap=True, justify=justify)
        for row in rows:
            style = STYLES.get(row["outcome"], "red") if row["outcome"] else ""
            shown = [(column.key, self._fit(row, column.key)) for column in self._columns]
            table.add_row(*(Text(text, style=style if key == "outcome" else "") for key, text in shown))
        self._console.print(table)


def _excess(widths: dict[str, int]) -> int:
    """Return how many cells a table of such columns is too wide for the terminal."""
    return sum(widths.values()) + 2 * (len(widths) - 1) - shutil.get_terminal_size().columns


def _batches(cells: Iterable[Cells]) -> Iterator[list[Cells]]:
    rest = iter(cells)
    while batch := list(islice(rest, BATCH)):
        yield batch
