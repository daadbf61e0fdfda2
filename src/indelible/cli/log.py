"""``indelible log``: list recorded events."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from indelible.cli.asking import Question, question_options
from indelible.cli.common import (
    From,
    Trails,
    Where,
    find_trails,
    from_options,
    lines_option,
    note,
    where_options,
)
from indelible.cli.filtering import filter_options, make_filter
from indelible.cli.log_export import Exports, export_options
from indelible.cli.log_views import View, view_options
from indelible.cli.rendering import Chosen, chosen_format, format_option, make_printer
from indelible.cli.text import about_seqs, counted
from indelible.errors import TrailError
from indelible.query.filters import Filter
from indelible.query.quick import open_search
from indelible.query.search import Corrupt, Hit, everything, newest
from indelible.trail.reader import is_there, with_earlier

DEFAULT_LIMIT: Final = 50

EPILOG: Final = """\b
Examples:
  indelible log                                  the newest 50 calls, oldest first
  indelible log --since 1h --status error        what went wrong in the last hour
  indelible log --tool read_file --user ada -n 0 all of one user's calls of one tool
  indelible log --session 7f3a                   what one session did, as a timeline
  indelible log --around 9b1c --before 20        what came just before and after a request
  indelible log --json -n 0 | jq .outcome.kind   the stored lines as they are
  indelible log --format mxcp --since 1d         in the words of another system
  indelible log --where "latency_ms > 1000 and (args->>'path') like '/etc/%'"
                                                 any condition on the columns, in SQL
  indelible log --follow --where "status = 'error' and user_id = 'ada'"
                                                 the same, of each new event
  indelible log --since 1d --group-by name,status
                                                 how many of what, most first
  indelible log --user ada --count               how many there are
  indelible log --from siem.cef --user ada       what is held elsewhere: a file and those that it was
                                                 rotated to, a directory, or - for standard input
  indelible log --from s3://audit/prod --since 1d  what a bucket holds
  indelible log --since 30d --export-csv calls.csv
                                                 for a spreadsheet: all of them, not the newest 50
  indelible log --export-duckdb audit.duckdb --export-sqlite audit.db
                                                 for people's own SQL: tables logs, events; audit_log

Without --trail, the configured trail and those that lie beside it because several
recorders ran at once are listed together; and before each trail those that it follows, since
they were restored or had lost their end. Times are shown in UTC.
"""


@click.command("log", epilog=EPILOG)
@filter_options
@question_options
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help="The newest N; 0 is all. Default 50, of an export all.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new events, as `tail` does.")
@view_options
@from_options(
    "List the records that are held here, in any format: a file, a directory, - for standard input, "
    "kafka://HOST:PORT/TOPIC, s3://BUCKET/PREFIX."
)
@lines_option
@format_option
@export_options
@where_options
def command(
    where: Where,
    exports: Exports,
    sources: From,
    view: View,
    limit: int | None,
    follow: bool,  # noqa: FBT001 - click's signature
    as_json: bool,  # noqa: FBT001
    format_name: str | None,
    **options: Any,
) -> int:
    """List recorded calls, oldest first; with --events other events too."""
    from indelible.cli import asking

    question = Question(**{name: options.pop(name) for name in Question._fields if name in options})
    wanted = make_filter(**options)
    exports.refuse_others(question, view, follow=follow, as_json=as_json, format_name=format_name)
    asking.refuse_others(question, view, limit, follow=follow, format_name=format_name)
    chosen = chosen_format(format_name, as_json=as_json)
    count = DEFAULT_LIMIT if limit is None else limit
    listed = follow or question.is_asked or bool(sources.names or chosen or exports.names)
    view = view.settled(limit, options, listed=listed)
    view.check(limit, sources, follow=follow)
    if exports.names:
        return exports.write(where, sources, wanted, limit or 0, question, as_asked=bool(options["events"]))
    if sources.names:
        from indelible.cli import log_from

        log_from.refuse_others(where, sources, follow=follow)
        if question.is_asked:
            opened = sources.open(where, wanted.since)
            return log_from.ask(opened, wanted, limit, chosen, question, as_json=as_json)
        return log_from.show(sources.open(where, wanted.since), wanted, count, chosen)
    if not follow:
        paths = with_earlier(find_trails(where))
        if question.is_asked:
            return asking.answer(paths, wanted, limit, chosen, question, as_json=as_json)
        twins = not question.no_twins
        shown = view.show(paths, wanted, limit, chosen, as_asked=bool(options["events"]), with_twins=twins)
        return show(paths, wanted, count, chosen, with_twins=twins) if shown is None else shown
    from indelible.cli.tail import follow_trails

    trails = Trails(where)
    show_missing(trails)
    with asking.sieved(question) as sieve:
        return follow_trails(trails, wanted, count, chosen, sieve=sieve)


def show_missing(trails: Trails) -> None:
    """Refuse to follow what is not there: `tail` waits, `log` does not. Raises TrailError."""
    if not any(is_there(path) for path in trails.paths()):
        msg = f"{trails.path}: there is no trail here; 'indelible tail' waits for one"
        raise TrailError(msg)


def show(
    paths: list[Path], wanted: Filter, limit: int, chosen: Chosen | None, *, with_twins: bool = True
) -> int:
    """Print what is asked for; unreadable lines are counted on stderr."""
    corrupt = Corrupt()
    with contextlib.ExitStack() as stack:
        searches = [
            stack.enter_context(open_search(path, wanted, corrupt, with_twins=with_twins)) for path in paths
        ]
        hits: Iterable[Hit] = newest(searches, limit) if limit else everything(searches)
        printer = make_printer(chosen, wanted)
        found = printer.print(hits)
    sys.stdout.flush()
    printer.report()
    report_corrupt(corrupt)
    if not found and sys.stderr.isatty():
        click.secho("no event matches", dim=True, err=True)
    return 0


def report_corrupt(corrupt: Corrupt) -> None:
    """Say on stderr how many lines could not be read, are missing, or mean what this version cannot know."""
    for sentence in about_lines(corrupt):
        note(sentence)


def about_lines(corrupt: Corrupt) -> Iterator[str]:
    """Yield a sentence each about lines that cannot be read, are missing, or were written by a newer version.

    And about a file that is not as its twin says: who wants to be asked by twins has them made anew.
    """
    if corrupt.misfit is not None:
        yield (
            f"{corrupt.misfit}: is not as its twin says, so the lines were asked and not the twin; 'indelible verify' "
            "says more, 'indelible twins --rebuild' makes twins anew"
        )
    if corrupt.count:
        lines = counted(corrupt.count, "line")
        yield f"{lines} could not be read, the first: {corrupt.first()}; 'indelible verify' says more"
    yield from about_seqs(corrupt.missing(), corrupt.newer)
