"""``indelible log --timeline``: calls by when they began, with durations as bars on one scale.

On a terminal a bar follows each row, and never goes beyond the terminal's edge; elsewhere a row has no bar and its
numbers have no unit, so that `awk` and `sort -n` read them.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

from indelible.cli.common import note
from indelible.cli.log import report_corrupt
from indelible.cli.rendering import Chosen, make_printer
from indelible.cli.table import STYLES, latency_text
from indelible.cli.text import counted, fit, neutralise, one_line, pad, width
from indelible.query.filters import Filter
from indelible.query.quick import open_search
from indelible.query.search import Corrupt, everything, newest
from indelible.query.timeline import OUTCOME, Item, Span, Timeline, extent, make_timeline

DEFAULT_LIMIT: Final = 1_000
"""Events; a timeline is held in memory, and nobody reads a longer one."""

MOST: Final = {"session": 16, "user": 16, "backend": 16, "name": 32, "outcome": 24}
"""The most cells of a column on a terminal."""

LEAST: Final = {"session": 6, "user": 6, "backend": 7, "name": 12, "outcome": 10}
"""How far they give way, in this order."""

DROPPED: Final = ("session", "user", "backend", "outcome", "took")
"""What is left out, in this order, where even that is too wide."""

LEAST_BAR: Final = 16
"""Cells of the bars; with fewer nothing is to be seen in them."""

EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
UNKNOWN: Final = "╌"
"""How long it took is not known."""
FOLD: Final = "≈"

HEADINGS: Final = {
    "start": "START",
    "took": "DURATION",
    "session": "SESSION",
    "user": "USER",
    "backend": "BACKEND",
    "name": "NAME",
    "outcome": "OUTCOME",
}
PLAIN_HEADINGS: Final = {**HEADINGS, "start": "START_S", "took": "DURATION_MS"}
NUMBERS: Final = ("start", "took")
GAP: Final = "  "

Cells = dict[str, str]


def show(
    paths: list[Path], wanted: Filter, limit: int | None, chosen: Chosen | None, *, with_twins: bool = True
) -> int:
    """Print the timeline of what is asked for, or the stored lines that it is made of."""
    corrupt = Corrupt()
    most = DEFAULT_LIMIT if limit is None else limit
    with contextlib.ExitStack() as stack:
        searches = [
            stack.enter_context(open_search(path, wanted, corrupt, with_twins=with_twins)) for path in paths
        ]
        hits = newest(searches, most) if most else everything(searches)
        if chosen is None:
            found = print_timeline(
                make_timeline(hit.line for hit in hits), sys.stdout, terminal=sys.stdout.isatty()
            )
        else:
            printer = make_printer(chosen, wanted)
            found = printer.print(hits)
            printer.report()
    sys.stdout.flush()
    report_corrupt(corrupt)
    if isinstance(hits, list) and limit is None and len(hits) == most:
        note(f"these are the newest {most} events; -n N shows N, -n 0 all of them", "INFO")
    if not found and sys.stderr.isatty():
        import click

        click.secho("no event matches", dim=True, err=True)
    return 0


def print_timeline(timeline: Timeline, out: IO[str], *, terminal: bool) -> int:
    """Print a timeline; return how many rows it has."""
    if not timeline.items:
        return 0
    columns = _columns(timeline)
    if terminal:
        _Drawing(timeline, columns, out).print()
    else:
        _print_plain(timeline, columns, out)
    return len(timeline.items)


def _columns(timeline: Timeline) -> list[str]:
    """Return the columns, without those that say the same in each row, or nothing."""
    several = {
        "session": len({item.session for item in timeline.items} - {""}) > 1,
        "user": len({item.user for item in timeline.items} - {""}) > 1,
        "backend": any(item.backend for item in timeline.items),
    }
    return [key for key in HEADINGS if several.get(key, True)]


def _words(item: Item) -> Cells:
    """Return the cells that say the same on a terminal and elsewhere."""
    kind = item.kind or ("no outcome" if item.open else "")
    other = item.event_type not in ("", OUTCOME) and not item.open
    return {
        "session": neutralise(item.session),
        "user": neutralise(item.user),
        "backend": neutralise(item.backend),
        "name": neutralise(item.name or item.event_type),
        "outcome": neutralise(f"({item.event_type})" if other and item.name and not kind else kind),
    }


def title(timeline: Timeline) -> str:
    """Return what is said above: whose timeline it is, how much, from when, for how long."""
    items = timeline.items
    sessions = sorted({item.session for item in items} - {""})
    whose = (
        f"session {sessions[0]}: " if len(sessions) == 1 else f"{len(sessions)} sessions: " if sessions else ""
    )
    begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=timeline.whole.begin)
    when = begin.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    span = duration_text(timeline.whole.length)
    return one_line(f"{whose}{counted(len(items), 'event')} in {span}, from {when} UTC")


# --- elsewhere than on a terminal ---------------------------------------------------------------------------------


def _print_plain(timeline: Timeline, columns: list[str], out: IO[str]) -> None:
    rows = [_plain_cells(timeline, item) for item in timeline.items]
    widths = {key: max(width(row[key]) for row in (PLAIN_HEADINGS, *rows)) for key in columns}
    out.write(title(timeline) + "\n")
    for row in (PLAIN_HEADINGS, *rows):
        parts = [_padded(row[key], widths[key], number=key in NUMBERS) for key in columns]
        out.write(GAP.join(parts).rstrip() + "\n")


def _plain_cells(timeline: Timeline, item: Item) -> Cells:
    words = {key: text or "-" for key, text in _words(item).items()}
    start = "-" if item.at is None else _decimals(item.at - timeline.whole.begin, 6)
    took = "-" if item.took is None or not _is_call(item) else _decimals(item.took, 3)
    return {"start": start, "took": took, **words}


def _decimals(micros: int, digits: int) -> str:
    """Return an exact decimal: `digits` places, so seconds with 6 and milliseconds with 3."""
    whole, rest = divmod(micros, 10**digits)
    return f"{whole}.{rest:0{digits}d}"


def _padded(text: str, cells: int, *, number: bool) -> str:
    return text.rjust(cells) if number else pad(text, cells)


# --- on a terminal ------------------------------------------------------------------------------------------------


class _Drawing:
    def __init__(self, timeline: Timeline, columns: list[str], out: IO[str]) -> None:
        from rich.console import Console

        self._timeline = timeline
        self._columns = columns
        self._console: Any = Console(file=out, highlight=False, markup=False, emoji=False)
        self._rows = list(self._made())
        self._total = shutil.get_terminal_size().columns
        self._widths, self._bar = self._layout()

    def _made(self) -> Iterator[tuple[Cells, Item]]:
        begin = self._timeline.whole.begin
        long = self._timeline.whole.length
        for item in self._timeline.items:
            start = "?" if item.at is None else offset_text(item.at - begin, long)
            took = "?" if item.took is None else latency_text(item.took / 1000) if _is_call(item) else ""
            yield {"start": start, "took": took, **_words(item)}, item

    def _layout(self) -> tuple[dict[str, int], int]:
        """Return the cells of each column, and of the bars: words give way first, then whole columns."""
        widths = {
            key: max(len(HEADINGS[key]), *(width(cells[key]) for cells, _ in self._rows))
            for key in self._columns
        }
        widths = {key: min(cells, MOST.get(key, cells)) for key, cells in widths.items()}
        for key, least in LEAST.items():
            if key in widths:
                widths[key] = max(min(widths[key], least), widths[key] - max(0, -self._room(widths)))
        for key in DROPPED:
            if self._room(widths) < 0:
                widths.pop(key, None)
        bar = self._room(widths) + LEAST_BAR
        if bar < LEAST_BAR // 2:  # so narrow that there is no room for bars
            return widths, 0
        return widths, bar

    def _room(self, widths: dict[str, int]) -> int:
        """Return how many cells are left beside columns and the least bars."""
        return self._total - LEAST_BAR - sum(widths.values()) - len(GAP) * len(widths)

    def print(self) -> None:
        from rich.text import Text

        self._line(Text(fit(title(self._timeline), self._total), style="bold"))
        self._line(self._text(HEADINGS, self._axis(), "", bold=True))
        folds = list(self._timeline.folds)
        for cells, item in self._rows:
            while folds and item.at is not None and folds[0].end <= item.at:
                self._line(Text(fit(self._fold_words(folds.pop(0)), self._total), style="dim"))
            style = STYLES.get(item.kind, "red") if item.kind else "yellow" if item.open else ""
            self._line(self._text(cells, self._bar_of(item), style))

    def _line(self, text: Any) -> None:
        text.rstrip()
        self._console.print(text, no_wrap=True, overflow="crop", soft_wrap=True)

    def _text(self, cells: Cells, bar: str, style: str, *, bold: bool = False) -> Any:
        from rich.text import Text

        text = Text(style="bold" if bold else "")
        for key, room in self._widths.items():
            shown = _padded(fit(cells[key], room), room, number=key in NUMBERS)
            text.append(shown, style=style if key == "outcome" else "").append(GAP)
        return text.append(bar, style=style)

    def _fold_words(self, fold: Span) -> str:
        indent = " " * max(0, self._widths["start"] - 1)
        return f"{indent}{FOLD}{GAP}{duration_text(fold.length)} of silence"

    # --- the scale ------------------------------------------------------------------------------------------

    def _axis(self) -> str:
        """Return what is above the bars: how long the scale is without what is folded, and where that was."""
        words = duration_text(self._timeline.shown)
        if self._bar <= len(words) + 1:
            return ""
        axis = list("0" + " " * (self._bar - 1 - len(words)) + words)
        for fold in self._timeline.folds:
            at = self._timeline.place(fold.begin) * self._bar // max(self._timeline.shown, 1)
            if at < self._bar and axis[at] == " ":
                axis[at] = FOLD
        return "".join(axis)

    def _bar_of(self, item: Item) -> str:
        span = extent(item)
        if span is None or not self._bar:
            return ""
        return bar(self._timeline, span, self._bar, known=item.took is not None)


def bar(timeline: Timeline, span: Span, cells: int, *, known: bool = True) -> str:
    """Return a bar of at most so many cells, blanks before it: never without anything to see, nor beyond the scale.

    Where the end is not `known`, it goes to the end of the scale, dashed.
    """
    scale = max(timeline.shown, 1)
    first = timeline.place(span.begin) * cells * 8 // scale
    last = timeline.place(span.end) * cells * 8 // scale if known else cells * 8
    begin = min(first // 8, cells - 1)
    if not known:
        return " " * begin + UNKNOWN * (cells - begin)
    eighths = min(max(last - begin * 8, 1), (cells - begin) * 8)
    full, rest = divmod(eighths, 8)
    return " " * begin + EIGHTHS[8] * full + (EIGHTHS[rest] if rest else "")


def _is_call(item: Item) -> bool:
    return item.open or item.event_type == OUTCOME or bool(item.took)


# --- words --------------------------------------------------------------------------------------------------------


def offset_text(micros: int, longest: int) -> str:
    """Return a time since the first event, in one form for all up to the longest: ``1.250``, ``2:03``, ``1:02:03``.

    The smallest part is milliseconds while all of it is shorter than ten minutes, seconds beyond.
    """
    seconds, rest = divmod(micros, 1_000_000)
    minutes, second = divmod(seconds, 60)
    fraction = f".{rest // 1000:03d}" if longest < 600_000_000 else ""
    if longest < 60_000_000:
        return f"{second}{fraction}"
    if longest < 3_600_000_000:
        return f"{minutes}:{second:02d}{fraction}"
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def duration_text(micros: int) -> str:
    """Return a duration as people read it: ``0.31 ms``, ``4.20 s``, ``3 min 5 s``, ``2 h 13 min``, ``3 d 4 h``."""
    if micros < 10_000_000:
        return f"{micros / 1000:.2f} ms" if micros < 999_995 else f"{micros / 1_000_000:.2f} s"
    seconds = round(micros / 1_000_000)
    for big, size, small, part in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {big}" + (f" {rest} {small}" if rest else "")
    return f"{seconds} s"
