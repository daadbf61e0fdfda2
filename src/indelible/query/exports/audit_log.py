"""The table `audit_log` of an SQLite file: its columns, and the row of a call in it. Pure.

The rules that live here:

- Who asks it with ``datetime('now', '-1 day')`` gets the right answer: times are texts of UTC in SQLite's own form,
  with six digits of a second, and so compare as texts. An hour that begins on a whole second has that second in it,
  with ``>`` as with ``>=``.
- First what small servers log in their own words (the format `alive`): `actor_id` is ``anonymous`` when nobody is
  known, `outcome` is ``ok`` or ``error``. Then every column of `events`, as that has it.
- SQLite has no booleans, lists or JSON: 0 and 1, and texts of JSON, which its ``json_extract`` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from indelible.formats.alive import ANONYMOUS, UNKNOWN_IP
from indelible.query.columns import COLUMNS, json_text, rounded

TABLE: Final = "audit_log"

INDEXED: Final = ("timestamp", "tool", "actor_id")

_OUTCOMES: Final = {"success": "ok"}
_TYPES: Final = {"whole": "INTEGER", "truth": "INTEGER", "number": "REAL"}


class Field(NamedTuple):
    """One column: its name, its type in SQLite, what it is of, and its value in a row of `events`."""

    name: str
    type: str
    source: str
    value: Callable[[Mapping[str, Any]], Any]


def sqlite_time(value: datetime) -> str:
    """Return a time in SQLite's form, UTC."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _own(name: str, read: Callable[[Any], Any] | None) -> Callable[[Mapping[str, Any]], Any]:
    if read is None:
        return lambda row: row[name]
    return lambda row: None if row[name] is None else read(row[name])


_READ: Final[dict[str, Callable[[Any], Any]]] = {"time": sqlite_time, "texts": json_text, "truth": int}

_OWN: Final = tuple(
    Field(one.name, _TYPES.get(one.type, "TEXT"), one.name, _own(one.name, _READ.get(one.type)))
    for one in COLUMNS
)

_FIRST: Final = (
    next(field for field in _OWN if field.name == "timestamp"),
    Field("actor_id", "TEXT", "user_id", lambda row: row["user_id"] or ANONYMOUS),
    Field("tool", "TEXT", "capability_name", lambda row: row["capability_name"]),
    Field("args", "TEXT", "args", lambda row: "{}" if row["args"] is None else row["args"]),
    Field("outcome", "TEXT", "status", lambda row: _OUTCOMES.get(row["status"], row["status"])),
    Field("error", "TEXT", "error", lambda row: row["error"]),
    Field("duration_ms", "INTEGER", "latency_ms", lambda row: rounded(row["latency_ms"])),
    Field("actor_ip", "TEXT", "client_ip", lambda row: row["client_ip"] or UNKNOWN_IP),
)

FIELDS: Final = (*_FIRST, *(field for field in _OWN if field.name not in {one.name for one in _FIRST}))
"""The columns, in their order."""


def create_table(*, strict: bool = True) -> str:
    """Return the statement that makes the table; `strict` needs SQLite 3.37."""
    columns = ", ".join(f'"{field.name}" {field.type}' for field in FIELDS)
    return f"CREATE TABLE {TABLE} ({columns}){' STRICT' if strict else ''}"


def create_indexes() -> list[str]:
    """Return the statements that make its indexes."""
    return [f'CREATE INDEX {TABLE}_{name} ON {TABLE} ("{name}")' for name in INDEXED]


def insert() -> str:
    """Return the statement that adds a row."""
    return f"INSERT INTO {TABLE} VALUES ({', '.join('?' * len(FIELDS))})"  # noqa: S608 - names of ours


def values_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of a row of `events`, in the order of `FIELDS`."""
    return tuple(field.value(row) for field in FIELDS)
