"""``indelible log --around``: what was recorded just before and after the events of one request."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from indelible.cli.common import note
from indelible.cli.log import report_corrupt
from indelible.cli.rendering import Chosen, make_printer
from indelible.cli.text import counted, one_line
from indelible.query.around import Near, around
from indelible.query.filters import Filter
from indelible.query.search import Corrupt, Hit, TrailSearch, everything

MARK: Final = ">"


def show(
    paths: list[Path], wanted: Filter, request_id: str, reach: tuple[int, int], chosen: Chosen | None
) -> int:
    """Print the request's events, marked, and so many that fit before and after each; `reach` are these counts.

    That there is none of the request is said on stderr, and no failure. In another system's words an intent would pass
    for a call: there the request's events are of the types that are asked for, too.
    """
    corrupt = Corrupt()
    lookout = Filter(events=None, since=wanted.since, until=wanted.until)
    with contextlib.ExitStack() as stack:
        searches = [stack.enter_context(TrailSearch(path, lookout, corrupt)) for path in paths]
        fits = wanted.predicate()
        types = None if chosen is None or chosen.format is None else wanted.events
        groups = around(
            everything(searches),
            lambda hit: (
                hit.row.request.request_id == request_id and (types is None or hit.row.event_type in types)
            ),
            lambda hit: fits(hit.row),
            *reach,
        )
        found = _print_table(groups) if chosen is None else _print_lines(groups, chosen, wanted)
    sys.stdout.flush()
    report_corrupt(corrupt)
    if not found:
        within = " in that time" if wanted.since or wanted.until else ""
        note(one_line(f"no event of request '{request_id}' is here{within}, so nothing is around it"), "INFO")
    return 0


def _print_lines(groups: Iterator[Near[Hit]], chosen: Chosen, wanted: Filter) -> int:
    printer = make_printer(chosen, wanted)
    found = printer.print(near.item for near in groups)
    printer.report()
    return found


def _print_table(groups: Iterator[Near[Hit]]) -> int:
    from indelible.cli.table import EMPTY, Cells, TablePrinter, cells_of

    table = TablePrinter(sys.stdout, events=True, marks=True, terminal=sys.stdout.isatty())

    def rows() -> Iterator[Cells]:
        for near in groups:
            if near.skipped:
                yield EMPTY | {"time": f"… {counted(near.skipped, 'other event')} …"}
            yield cells_of(near.item.line) | {"mark": MARK if near.own else ""}

    return table.print_rows(rows())
