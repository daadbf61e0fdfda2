"""The table that lines are inserted into, with its views, as SQL for ClickHouse. Pure.

The rules that live here:

- The key is (origin, seq), an event's identity everywhere. A part of the table is what one INSERT brought, so the key
  ranges of parts hardly overlap, and FINAL, by which the views count what came twice once, has little to merge. Within
  a trail time goes as seq does: searches by time are answered by the months and by the minmax indexes.
- ReplacingMergeTree drops the second copy of an event when parts are merged, whenever that is; of an erased line and
  what it was before, it keeps the erased one.
- A partition is a month: retention drops old ones, and an INSERT of many days, as after an outage, stays under
  `max_partitions_per_insert_block`.
- Whatever is printed can be run again: nothing is dropped, views are made anew.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from indelible.sink_settings.clickhouse import DATABASE, TABLE
from indelible.sinks.clickhouse.columns import COLUMNS, GIVEN, INDEXES
from indelible.sinks.clickhouse.quoting import identifier, literal
from indelible.sinks.clickhouse.views import OPERATIONS, VIEWS, View

REMEMBERED: Final = 1000
"""So many of its newest inserts a table without replicas knows again; those with replicas have a default."""

LATEST: Final = "toDateTime64('2106-01-01', 6, 'UTC')"
"""The latest day that a row is deleted: a DateTime, which a TTL has to be, ends a month later, and then begins anew at
1970, so that a row which is to be kept for longer would be deleted at once."""

_MEANT = re.compile(r"\b(?:TABLE|OPERATIONS)\b")
"""What stands for a name in a view's query."""

_UNITS: Final = ((86_400, "DAY"), (3_600, "HOUR"), (60, "MINUTE"), (1, "SECOND"))


class Options(NamedTuple):
    """What is to be printed."""

    database: str = DATABASE
    table: str = TABLE
    cluster: str = ""
    ttl: float | None = None
    """Seconds after `recorded_at` that a row is kept."""


class Statement(NamedTuple):
    """One statement."""

    makes: str
    """What is there when it was run: ``database``, ``table`` or ``view``, and its name."""
    about: str
    sql: str
    """Without the semicolon."""


def statements(options: Options) -> list[Statement]:
    """Return what makes the database, the table and its views, in the order in which it is to be run."""
    where = f" ON CLUSTER {literal(options.cluster)}" if options.cluster else ""
    database = Statement(
        f"database {options.database}",
        "",
        f"CREATE DATABASE IF NOT EXISTS {identifier(options.database)}{where}",
    )
    return [database, _table(options, where), *(_view(view, options, where) for view in VIEWS)]


def script(options: Options) -> str:
    """Return all of it as a file that a client runs, with comments."""
    return "\n".join([_head(options), *map(_printed, statements(options))])


def view_names(options: Options) -> list[str]:
    """Return what the views are called."""
    return [_view_name(view, options) for view in VIEWS]


def _table(options: Options, where: str) -> Statement:
    columns = [column.sql for column in COLUMNS]
    indexes = [f"INDEX {name} {column} TYPE {kind} GRANULARITY 1" for name, column, kind in INDEXES]
    engine = f"{'Replicated' if options.cluster else ''}ReplacingMergeTree(erased)"
    lines = [
        f"CREATE TABLE IF NOT EXISTS {_qualified(options, options.table)}{where}",
        "(\n" + ",\n".join(f"    {line}" for line in [*columns, *indexes]) + "\n)",
        f"ENGINE = {engine}",
        "PARTITION BY toYYYYMM(recorded_at)",
        "ORDER BY (origin, seq)",
    ]
    if options.ttl is not None:
        lines.append(
            f"TTL toDateTime(least(recorded_at + INTERVAL {_interval(options.ttl)}, {LATEST}), 'UTC') DELETE"
        )
    if not options.cluster:
        lines.append(f"SETTINGS non_replicated_deduplication_window = {REMEMBERED}")
    return Statement(f"table {options.table}", _ABOUT_TABLE, "\n".join(lines))


_ABOUT_TABLE: Final = """\
One row an event. origin, seq and line are inserted; the line is the trail's, to the byte, and everything else is
computed from it. '' is a text that is not known, NULL a number.
ORDER BY: an event's identity, by which copies of it are found, and the order of time within a trail.
PARTITION BY: a month, so that old ones go as a whole, and that an INSERT of many days is one of few parts."""


def _view(view: View, options: Options, where: str) -> Statement:
    name = _view_name(view, options)
    meant = {"TABLE": options.table, "OPERATIONS": _view_name(OPERATIONS, options)}
    select = _MEANT.sub(lambda found: _qualified(options, meant[found[0]]), view.select)
    sql = f"CREATE OR REPLACE VIEW {_qualified(options, name)}{where} AS\n{select}"
    return Statement(f"view {name}", view.about, sql)


def _view_name(view: View, options: Options) -> str:
    """Return what a view is called: beside another table than the usual one, after that."""
    return view.name if options.table == TABLE else f"{options.table}_{view.name}"


def _qualified(options: Options, name: str) -> str:
    return f"{identifier(options.database)}.{identifier(name)}"


def _interval(seconds: float) -> str:
    whole = max(1, round(seconds))
    return next(f"{whole // unit} {name}" for unit, name in _UNITS if whole % unit == 0)


def _head(options: Options) -> str:
    table = _qualified(options, options.table)
    lines = [
        "Indelible: a table of audit events, and views over it. Run it as a user who may create them:",
        "  indelible schema clickhouse | clickhouse-client --multiquery",
        "The sink's own user inserts, and needs nothing else:",
        f"  GRANT INSERT({', '.join(GIVEN)}) ON {table} TO indelible",
        "Who reads needs SELECT on the views and on the table.",
    ]
    if options.cluster:
        lines += [
            "The views show one shard. Where there are several, keep a trail on one of them, since FINAL counts",
            "within a shard: insert through a Distributed table with the sharding key cityHash64(origin).",
        ]
    return _comment("\n".join(lines))


def _printed(statement: Statement) -> str:
    return f"{_comment(statement.about)}{statement.sql};\n"


def _comment(text: str) -> str:
    return "".join(f"-- {line}\n" for line in text.splitlines())
