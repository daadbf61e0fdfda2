"""``indelible sql``: ask the trail with SQL."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from indelible.cli.caps import bounded, caps_options, make_caps
from indelible.cli.common import Where, find_trails, where_options
from indelible.errors import ConfigError

if TYPE_CHECKING:
    from indelible.cli.rows import Form
    from indelible.query.engine.asking import Asked

EPILOG: Final = """\b
Examples:
  indelible sql "SELECT name, count(*) FROM logs GROUP BY name ORDER BY 2 DESC LIMIT 10"
  indelible sql --json "FROM logs WHERE status = 'error' LIMIT 5" | jq .
  indelible sql --csv "FROM logs" > logs.csv
  indelible sql < query.sql
  indelible sql --columns                        what columns there are
  indelible sql                                  a shell: \\d lists the columns, \\q ends it

The dialect is DuckDB's. There are two views: logs, every call, and events, everything that was
recorded. Queries only read them: no file, no network, no setting is within their reach, and
nothing is changed. Times are in UTC.
"""

MAX_STDIN: Final = 1_000_000
"""Bytes of a query from standard input that are read."""


@click.command("sql", epilog=EPILOG)
@click.argument("query", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print each row as one JSON object.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print CSV, with texts that look like formulas made harmless."
)
@click.option("--columns", is_flag=True, help="List the columns of both views.")
@click.option("--no-twins", is_flag=True, help="Read the lines themselves, and no twins.")
@caps_options
@where_options
def command(
    where: Where,
    query: str | None,
    no_twins: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001 - click's signature
    as_csv: bool,  # noqa: FBT001
    columns: bool,  # noqa: FBT001
    timeout: str | None,
    memory: int | None,
) -> int:
    """Ask the trail with SQL; without a query, in a shell."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: which of the two?")
    form: Form = "json" if as_json else "csv" if as_csv else "table"
    if columns:
        if query is not None:
            raise click.UsageError("--columns lists columns: it takes no query")
        return _print_columns(form)
    caps = make_caps(timeout, memory)._replace(total=not sys.stdout.isatty())
    if query is None and sys.stdin is not None and sys.stdin.isatty():
        from indelible.cli.sql_shell import Shell

        return Shell(where, caps, form, with_twins=not no_twins).run()
    sql = _from_stdin() if query in (None, "-") else query
    from indelible.query.engine.asking import ALL, Asked
    from indelible.trail.reader import with_earlier

    trails = with_earlier(find_trails(where))
    with Asked(trails, ALL, caps, with_twins=not no_twins) as asked, bounded(caps):
        return show(asked, str(sql), form)


def show(asked: Asked, sql: str, form: Form) -> int:
    """Print what a query gives. Raises SqlError, TrailError."""
    from indelible.cli.log import report_corrupt
    from indelible.cli.rows import print_rows

    result = asked.query(sql)
    found = print_rows(result.names, result.rows, form)
    sys.stdout.flush()
    report_corrupt(asked.corrupt)
    if not found and form == "table" and sys.stderr.isatty():
        click.secho("no rows", dim=True, err=True)
    return 0


def _print_columns(form: Form) -> int:
    from indelible.cli.rows import print_rows
    from indelible.query.columns import view_columns

    rows = [("logs", *column) for column in view_columns("logs")]
    rows += [("events", *column) for column in view_columns("events")]
    print_rows(("view", "column", "type"), rows, form)
    return 0


def _from_stdin() -> str:
    if sys.stdin is None:
        raise ConfigError("there is no query: name one, or give it on standard input")
    try:
        return sys.stdin.read(MAX_STDIN)
    except UnicodeDecodeError as exc:
        raise ConfigError("standard input: not UTF-8") from exc
