"""``indelible log --export-…``: what a search finds, as files that other tools open."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from indelible.cli.common import From, Where, find_trails, note
from indelible.cli.text import counted

if TYPE_CHECKING:
    from indelible.cli.asking import Question
    from indelible.cli.log_views import View
    from indelible.query.exports.exporting import Exported, Kind, Order
    from indelible.query.filters import Filter
    from indelible.query.readback import Readback
    from indelible.query.search import Hit

HELP: Final[dict[Kind, str]] = {
    "parquet": "Write them all to a Parquet file: the columns of `logs`.",
    "sqlite": "Write them all to an SQLite file: table audit_log.",
    "duckdb": "Write them all to a DuckDB file: tables logs and events.",
    "csv": "Write them all to a CSV file (RFC 4180): the columns of `logs`; - is standard output.",
}

Hits = tuple["Iterable[Hit]", Callable[[], None]]
"""What was found, and what says on stderr what could not be read of it."""


class Exports(NamedTuple):
    """Which exports are asked for, and the file of each."""

    names: dict[Kind, str]

    def refuse_others(
        self, question: Question, view: View, *, follow: bool, as_json: bool, format_name: str | None
    ) -> None:
        """Raise UsageError for options that do not go together."""
        if not self.names:
            return
        option = f"--export-{next(iter(self.names))}"
        others = {
            "--follow": follow,
            "--json": as_json,
            "--format": format_name is not None,
            "--around": view.around is not None,
            "--timeline": bool(view.timeline),
            "--count": question.number,
            "--group-by": question.group_by is not None,
            "--sum": question.sum_of is not None,
        }
        for other, given in others.items():
            if given:
                raise click.UsageError(f"{option} writes a file of events: not together with {other}")

    def write(
        self, where: Where, sources: From, wanted: Filter, limit: int, question: Question, *, as_asked: bool
    ) -> int:
        """Write what is asked for; `limit` 0 is all, `as_asked`, that the types of event were. Raises ConfigError."""
        import msgspec

        from indelible.query.exports.exporting import export, make_orders, needs_everything

        orders = make_orders(self.names)
        every = wanted
        if needs_everything(orders) and not as_asked and not limit:
            every = msgspec.structs.replace(wanted, events=None)
        with contextlib.ExitStack() as stack:
            if sources.names and question.needs_sql:
                hits, report = _asked_elsewhere(stack, where, sources, every, limit, question, orders)
            elif sources.names:
                hits, report = _found_elsewhere(stack, where, sources, every, limit)
            elif question.needs_sql:
                paths = _paths(where)
                hits, report = _asked(stack, paths, every, limit, question, orders, _bar(stack, paths))
            else:
                hits, report = _found(stack, where, every, limit)
            done = export(hits, orders, wanted)
            report()
        for one in done:
            _say(one)
        return 0


def export_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add ``--export-csv`` and the others; the command gets them as `exports`."""

    @functools.wraps(function)
    def command(*args: Any, **options: Any) -> int:
        given: dict[Kind, str | None] = {kind: options.pop(f"export_{kind}") for kind in reversed(HELP)}
        names: dict[Kind, str] = {kind: name for kind, name in given.items() if name is not None}
        return function(*args, exports=Exports(names), **options)

    for kind, text in HELP.items():
        command = click.option(f"--export-{kind}", metavar="FILE", help=text)(command)
    return command


def _say(one: Exported) -> None:
    said = one.order.target.said
    note(f"{said}: {one.summary}", "INFO")
    if one.passed_over:
        left_out = counted(one.passed_over, "event")
        note(f"{said}: {left_out} left out: it holds calls; a DuckDB file has a table of all")


def _found(stack: contextlib.ExitStack, where: Where, wanted: Filter, limit: int) -> Hits:
    from indelible.cli.log import report_corrupt
    from indelible.query.search import Corrupt, TrailSearch, everything, newest

    paths, corrupt = _paths(where), Corrupt()
    progress = _bar(stack, paths)
    searches = [stack.enter_context(TrailSearch(path, wanted, corrupt, progress)) for path in paths]
    hits = newest(searches, limit) if limit else everything(searches)
    return hits, lambda: report_corrupt(corrupt)


def _asked(
    stack: contextlib.ExitStack,
    paths: list[Path],
    wanted: Filter,
    limit: int,
    question: Question,
    orders: list[Order],
    progress: Callable[[int], None] | None = None,
) -> Hits:
    from indelible.cli import asking
    from indelible.cli.caps import bounded, make_caps
    from indelible.cli.log import report_corrupt
    from indelible.query.engine.asking import Asked

    columns = asking.Columns(question)
    caps = make_caps(question.timeout, question.memory)
    stack.enter_context(bounded(caps._replace(memory_mb=caps.memory_mb + _writers_mb(orders))))
    twins, complete = not question.no_twins, not question.gathered
    asked = stack.enter_context(Asked(paths, wanted, caps, progress, with_twins=twins, complete=complete))
    stack.enter_context(asking.named())
    if question.where_sql is not None:
        asked.check_condition(question.where_sql)
    return asking.events(asked, question, columns, limit), lambda: report_corrupt(asked.corrupt)


def _found_elsewhere(
    stack: contextlib.ExitStack, where: Where, sources: From, wanted: Filter, limit: int
) -> Hits:
    back, report = _read_elsewhere(stack, where, sources, wanted)
    return back.newest(limit) if limit else back.all(), report


def _asked_elsewhere(
    stack: contextlib.ExitStack,
    where: Where,
    sources: From,
    wanted: Filter,
    limit: int,
    question: Question,
    orders: list[Order],
) -> Hits:
    from indelible.cli import asking
    from indelible.query.gathered import chosen_already, gathered

    asking.check(question)
    back, report = _read_elsewhere(stack, where, sources, wanted, question.asked_of_lines)
    paths = stack.enter_context(gathered(back))
    return _asked(stack, paths, chosen_already(wanted), limit, question.of_gathered(), orders)[0], report


def _read_elsewhere(
    stack: contextlib.ExitStack, where: Where, sources: From, wanted: Filter, of_lines: Sequence[str] = ()
) -> tuple[Readback, Callable[[], None]]:
    from indelible.cli import log_from
    from indelible.cli.progress import byte_bar
    from indelible.query.readback import Readback

    log_from.refuse_others(where, sources, follow=False)
    opened = sources.open(where, wanted.since)
    progress = stack.enter_context(byte_bar(sum(source.size() for source in opened), "exporting"))
    back = Readback(opened, wanted, progress, of_lines=of_lines)
    return back, lambda: log_from.report(back, opened)


def _paths(where: Where) -> list[Path]:
    from indelible.trail.reader import with_earlier

    return with_earlier(find_trails(where))


def _bar(stack: contextlib.ExitStack, paths: list[Path]) -> Callable[[int], None] | None:
    from indelible.cli.progress import progress_bar

    return stack.enter_context(progress_bar(paths, "exporting"))


def _writers_mb(orders: list[Order]) -> int:
    """Return what the exports that DuckDB makes may use, in MB of 1,048,576 bytes."""
    from indelible.query.exports.duckdb_file import MEMORY_MB

    return sum(MEMORY_MB for order in orders if order.kind in ("duckdb", "parquet"))
