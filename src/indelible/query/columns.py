"""The flat columns that SQL sees, as data, and what a line says in each: the reference for every engine. Pure.

The rules that live here:

- One flat table; a column's name is the last part of its field's path, with the part in front where that alone would
  say too little (`policy_reason`), as in the table of `indelible schema clickhouse`.
- A value of another type than its column's is NULL, and hides nothing else of its line: the trail holds what recorders
  said, and SQL compares values of one type. Half a surrogate pair is U+FFFD: no text of a database can hold it.
- Of a key that stands twice in an object the last one counts, as for every other search (`indelible.query.filters`).
- A time is one only in RFC 3339's form, with a zone; anything else is NULL, never a guess. What it said is in the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import orjson

from indelible.query.filters import moment_of, read_event

Type = Literal["text", "whole", "number", "time", "texts", "json", "truth"]

SQL_TYPES: Final[dict[Type, str]] = {
    "text": "VARCHAR",
    "whole": "BIGINT",
    "number": "DOUBLE",
    "time": "TIMESTAMPTZ",
    "texts": "VARCHAR[]",
    "json": "JSON",
    "truth": "BOOLEAN",
}
"""What each type is called in DuckDB's SQL."""

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

_HALF = re.compile("[\ud800-\udfff]")


class Column(NamedTuple):
    """One column: its name, its type, and where its field stands in the event."""

    name: str
    type: Type
    path: tuple[str, ...]

    @property
    def sql_type(self) -> str:
        """The column's type in DuckDB's SQL."""
        return SQL_TYPES[self.type]


def _part(part: str, names: str, type_: Type = "text", prefix: str = "") -> tuple[Column, ...]:
    return tuple(Column(prefix + name, type_, (part, name)) for name in names.split())


EVENT_COLUMNS: Final = (
    Column("seq", "whole", ("seq",)),
    Column("schema", "whole", ("schema",)),
    Column("recorded_at", "time", ("recorded_at",)),
    Column("timestamp", "time", ("timestamp",)),
    Column("event_type", "text", ("event_type",)),
    Column("event_id", "text", ("event_id",)),
    Column("erased", "truth", ("erased",)),
    *_part("source", "caller session_id client_ip client user_id caller_type"),
    Column("roles", "texts", ("source", "roles")),
    *_part("source", "tenant auth_method auth_key_id issuer"),
    Column("on_behalf_of", "texts", ("source", "on_behalf_of")),
    Column("recorder_id", "text", ("source", "recorder", "id")),
    Column("recorder_uid", "whole", ("source", "recorder", "uid")),
    Column("recorder_pid", "whole", ("source", "recorder", "pid")),
    *_part("target", "backend method type capability_name original_name effects"),
    *_part("target", "server_version protocol_version tool_sha256"),
    *_part("request", "request_id intent rpc_id trace_id span_id continues"),
    Column("args", "json", ("request", "args")),
    Column("args_bytes", "whole", ("request", "args_bytes")),
    *_part("request", "args_hmac hmac_key_id"),
    *_part("policy", "decision rule reason", prefix="policy_"),
    *_part("outcome", "status kind"),
    Column("latency_ms", "number", ("outcome", "latency_ms")),
    *_part("outcome", "error error_type"),
    Column("error_code", "whole", ("outcome", "error_code")),
    Column("result_bytes", "whole", ("outcome", "result_bytes")),
    Column("result_hmac", "text", ("outcome", "result_hmac")),
    Column("result", "json", ("outcome", "result")),
    Column("cost_centicents", "whole", ("cost", "centicents")),
    Column("cost_model", "text", ("cost", "model")),
    *_part("cost", "input_tokens output_tokens", "whole", prefix="cost_"),
    *_part("state", "from to reason", prefix="state_"),
    Column("metadata", "json", ("metadata",)),
)
"""What stands in a line, in the line's order."""

ORIGIN: Final = Column("origin", "text", ())
"""Which trail an event is of: that stands beside the lines, not in them."""

COLUMNS: Final = (ORIGIN, *EVENT_COLUMNS)
"""The columns of the view `events`."""

LOGS: Final[tuple[tuple[str, str, str], ...]] = (
    ("timestamp", "TIMESTAMPTZ", "timestamp"),
    ("caller", "VARCHAR", "caller"),
    ("type", "VARCHAR", "type"),
    ("name", "VARCHAR", "capability_name"),
    (
        "input_json",
        "JSON",
        "CASE WHEN event_type = 'mcp_operation' THEN coalesce(args, '{}'::JSON) ELSE args END",
    ),
    ("duration_ms", "BIGINT", "TRY_CAST(round(latency_ms) AS BIGINT)"),
    ("policy_decision", "VARCHAR", "coalesce(policy_decision, CASE WHEN kind <> '' THEN 'n/a' END)"),
    ("reason", "VARCHAR", "policy_reason"),
    ("status", "VARCHAR", "status"),
    ("error", "VARCHAR", "error"),
)
"""The first columns of the view `logs`, those of MXCP's audit log: name, type, and what it is of `events`."""

OTHERS: Final = tuple(column for column in COLUMNS if column.name not in {name for name, _, _ in LOGS})
"""The rest of the columns of `logs`: as they are in `events`."""

PARTS: Final[dict[str, tuple[str, ...]]] = {
    part: tuple(
        dict.fromkeys(one.path[1] for one in EVENT_COLUMNS if one.path[0] == part and len(one.path) > 1)
    )
    for part in dict.fromkeys(one.path[0] for one in EVENT_COLUMNS if len(one.path) > 1)
}
"""The parts of an event that are objects, and the keys of each that columns are of."""


def view_columns(view: Literal["events", "logs"]) -> tuple[tuple[str, str], ...]:
    """Return the name and the SQL type of each column of a view, in order."""
    if view == "events":
        return tuple((column.name, column.sql_type) for column in COLUMNS)
    return (*((name, type_) for name, type_, _ in LOGS), *((one.name, one.sql_type) for one in OTHERS))


def row_of(line: bytes, origin: str = "") -> dict[str, Any] | None:
    """Return what a line says in each column of `events`; None when it is torn, altered or no entry at all.

    Times are datetimes in UTC, JSON values compact JSON texts, what is not known is None.
    """
    event = read_event(line)
    if event is None:
        return None
    row: dict[str, Any] = {**_EMPTY, "origin": origin or None}
    _read(event, _PLACES, row)
    return row


def _read(part: Mapping[str, Any], places: Mapping[str, Any], row: dict[str, Any]) -> None:
    """Put what a part of an event says into the columns; what it has none of is passed over."""
    for key, value in part.items():
        place = places.get(key)
        if place is None:
            continue
        if isinstance(place, Column):
            row[place.name] = _READERS[place.type](value)
        elif isinstance(value, dict):
            _read(value, place, row)


def log_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row of `events` says in each column of `logs`, in their order: what `LOGS` says in SQL."""
    args, decision = row["args"], row["policy_decision"]
    if args is None and row["event_type"] == "mcp_operation":
        args = "{}"
    return {
        "timestamp": row["timestamp"],
        "caller": row["caller"],
        "type": row["type"],
        "name": row["capability_name"],
        "input_json": args,
        "duration_ms": rounded(row["latency_ms"]),
        "policy_decision": "n/a" if decision is None and row["kind"] else decision,
        "reason": row["policy_reason"],
        "status": row["status"],
        "error": row["error"],
        **{column.name: row[column.name] for column in OTHERS},
    }


def rounded(value: float | None) -> int | None:
    """Return a number as a whole one, halves away from zero as in SQL; None for one that is too large."""
    if value is None or not -(2.0**63) <= value < 2.0**63:
        return None
    whole = int(value)
    return whole + (1 if value > 0 else -1) if abs(value - whole) >= 0.5 else whole


def _text(value: object) -> str | None:
    return _HALF.sub(REPLACEMENT, value) if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _number(value: object) -> float | None:
    if type(value) is int:
        return float(value) if -(2**63) <= value < 2**64 else None
    return value if isinstance(value, float) else None


def _time(value: object) -> datetime | None:
    return moment_of(value) if isinstance(value, str) else None


def _texts(value: object) -> list[str | None] | None:
    return [_text(item) for item in value] if isinstance(value, list) else None


def json_text(value: object) -> str:
    """Return a value of a line as compact JSON that every reader takes: no half surrogate pairs."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):  # half a surrogate pair, an integer beyond 64 bits, deep nesting
        try:
            text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        except RecursionError:
            return '"(nested too deep)"'
        return _HALF.sub(REPLACEMENT, text)


_READERS: Final[dict[Type, Any]] = {
    "text": _text,
    "whole": _whole,
    "number": _number,
    "time": _time,
    "texts": _texts,
    "json": lambda value: None if value is None else json_text(value),
    "truth": lambda value: value is not None,
}


def _places() -> dict[str, Any]:
    places: dict[str, Any] = {}
    for column in EVENT_COLUMNS:
        part = places
        for key in column.path[:-1]:
            part = part.setdefault(key, {})
        part[column.path[-1]] = column
    return places


_PLACES: Final = _places()
"""The column of each field, by the keys that lead to it."""

_EMPTY: Final = {column.name: False if column.type == "truth" else None for column in COLUMNS}
"""The row of an event that says nothing, in the columns' order."""


def plain_line(line: bytes) -> bytes | None:
    """Return a line that says in each column what this one does, and that every reader of JSON reads alike.

    None for a line that is no entry. The line itself is in it under ``line``.
    """
    event = read_event(line)
    if event is None:
        return None
    plain: dict[str, Any] = {}
    for column in EVENT_COLUMNS:
        name, part = column.path[0], plain
        if len(column.path) == 1:
            if name in event:
                part[name] = event[name]
        elif isinstance(event.get(name), dict):
            plain[name] = {key: event[name][key] for key in PARTS[name] if key in event[name]}
    recorder = plain.get("source", {}).get("recorder")
    if recorder is not None and not isinstance(recorder, dict):
        del plain["source"]["recorder"]
    return json_text({**plain, "line": line.decode()}).encode()
