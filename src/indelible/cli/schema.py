"""``indelible schema``: what a destination needs to have, printed for whoever may make it there."""

from __future__ import annotations

from typing import Final

import click

from indelible.cli.common import print_json
from indelible.errors import ConfigError
from indelible.sink_settings.clickhouse import DATABASE, TABLE, parse_identifier
from indelible.values import parse_duration

EPILOG: Final = """\b
Examples:
  indelible schema                       what there are schemas for
  indelible schema clickhouse            SQL for a table and views over it
"""

CLICKHOUSE_EPILOG: Final = """\b
Examples:
  indelible schema clickhouse | clickhouse-client --multiquery
  indelible schema clickhouse --database audit --table mcp --ttl 90d
  indelible schema clickhouse --cluster '{cluster}'
  indelible schema clickhouse --json | jq -r '.statements[].sql'

What is printed is what a sink of type clickhouse inserts into. It can be run again:
nothing is dropped, views are made anew. Beside another table than 'events' the views have
its name before their own.
"""

SCHEMAS: Final = {"clickhouse": "SQL for a table and views over it."}
"""Every schema and its line; its subcommand has the same name."""


@click.group("schema", epilog=EPILOG, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Print what a destination needs to have: tables, views."""
    if ctx.invoked_subcommand is None:
        for name, line in SCHEMAS.items():
            click.echo(f"{name}  {line}")
    return 0


@command.command("clickhouse", epilog=CLICKHOUSE_EPILOG, short_help=SCHEMAS["clickhouse"])
@click.option(
    "--database", metavar="NAME", default=DATABASE, show_default=True, help="Where the table is to be."
)
@click.option("--table", metavar="NAME", default=TABLE, show_default=True, help="What it is to be called.")
@click.option("--cluster", metavar="NAME", help="Make it on every host of a cluster, with replicas.")
@click.option("--ttl", metavar="TIME", help="Delete rows so long after they were recorded, as in 90d.")
@click.option("--json", "as_json", is_flag=True, help="Print the statements as one JSON object.")
def clickhouse(
    database: str,
    table: str,
    cluster: str | None,
    ttl: str | None,
    as_json: bool,  # noqa: FBT001 - click's signature
) -> int:
    """Print SQL for ClickHouse: the table that the sink inserts into, and views over it."""
    from indelible.sinks.clickhouse import schema

    options = schema.Options(
        _name("--database", database),
        _name("--table", table),
        "" if cluster is None else _name("--cluster", cluster),
        None if ttl is None else _ttl(ttl),
    )
    if as_json:
        found = [{"makes": one.makes, "sql": one.sql} for one in schema.statements(options)]
        about = {"database": database, "table": table, "views": schema.view_names(options)}
        print_json({**about, "statements": found})
    else:
        click.echo(schema.script(options), nl=False)
    return 0


def _name(option: str, text: str) -> str:
    try:
        return parse_identifier(text)
    except ValueError as exc:
        raise ConfigError(f"{option}: {exc}, found {text!r}") from None


def _ttl(text: str) -> float:
    try:
        seconds = parse_duration(text)
        if seconds < 1:
            raise ValueError("expected a duration of at least 1s")
    except ValueError as exc:
        raise ConfigError(f"--ttl: {exc}, found {text!r}") from None
    return seconds
