"""One pass over what a search finds, into as many exports as are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple

from indelible.errors import ConfigError
from indelible.query.columns import row_of
from indelible.query.exports.place import Target, find_target
from indelible.query.exports.writers import Writer
from indelible.query.filters import Filter
from indelible.query.search import Hit

Kind = Literal["csv", "duckdb", "sqlite", "parquet"]

KINDS: Final[tuple[Kind, ...]] = ("csv", "duckdb", "sqlite", "parquet")


class Order(NamedTuple):
    """One export: what it is, and where it goes."""

    kind: Kind
    target: Target


class Exported(NamedTuple):
    """What became of one."""

    order: Order
    summary: str
    passed_over: int
    """Events that were asked for and for which it has no place."""


def option_of(kind: Kind) -> str:
    """Return the option that asks for it."""
    return f"--export-{kind}"


def make_orders(names: dict[Kind, str]) -> list[Order]:
    """Return the exports that are asked for, by the names of their files. Raises ConfigError."""
    orders: list[Order] = []
    for kind, name in names.items():
        target = find_target(option_of(kind), name, streams=kind == "csv")
        same = next((one for one in orders if one.target.path == target.path), None)
        if same is not None:
            raise ConfigError(
                f"{option_of(kind)}: {name}: is where {option_of(same.kind)} goes; say another name"
            )
        orders.append(Order(kind, target))
    return orders


def needs_everything(orders: Iterable[Order]) -> bool:
    """Tell whether one of them holds events of every type, whatever a list would show."""
    return any(order.kind == "duckdb" for order in orders)


def export(
    hits: Iterable[Hit], orders: Iterable[Order], listed: Filter, count: Callable[[], None] | None = None
) -> list[Exported]:
    """Write every export, and then give each its name. `hits` may hold more types of event than `listed` asks for.

    Raises ConfigError, TrailError; whatever is raised, what was there before is there, and nothing else is left.
    """
    with contextlib.ExitStack() as stack:
        made = [(order, stack.enter_context(_writer(order))) for order in orders]
        writers = [writer for _, writer in made]
        for hit in hits:
            row = row_of(hit.line, hit.origin)
            if row is None:  # a search finds entries, and nothing else
                continue
            is_listed = listed.events is None or row["event_type"] in listed.events
            for writer in writers:
                writer.add(row, listed=is_listed)
            if count is not None:
                count()
        for writer in writers:
            writer.finish()
        for writer in writers:
            writer.publish()
        return [Exported(order, writer.summary(), writer.passed_over) for order, writer in made]


def _writer(order: Order) -> Writer:
    match order.kind:
        case "csv":
            from indelible.query.exports.csv_file import csv_writer

            return csv_writer(order.target)
        case "sqlite":
            from indelible.query.exports.sqlite_file import SqliteFile

            return SqliteFile(order.target)
        case "duckdb":
            from indelible.query.exports.duckdb_file import DuckdbFile

            return DuckdbFile(order.target)
        case "parquet":
            from indelible.query.exports.duckdb_file import ParquetFile

            return ParquetFile(order.target)
