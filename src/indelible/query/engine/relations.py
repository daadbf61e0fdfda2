"""The SQL that makes columns of lines, for DuckDB. Pure.

The rules that live here:

- What a column says is what `indelible.query.columns` says of it, for every line that DuckDB and Python read alike;
  the others are written anew before (`indelible.query.engine.parts`).
- No expression can fail, whatever is in a line: a value of another type is NULL.
- A file's lines count up to the first seq of the file after it: what stands there was written again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from indelible.events import MAX_LINE_BYTES
from indelible.query.columns import EVENT_COLUMNS, LOGS, OTHERS, PARTS, Column
from indelible.query.filters import RFC3339, Filter, earlier

RECEIVED: Final = "_timestamp"
"""The internal column that time filters compare: `timestamp` as the line has it."""

_OBJECTS: Final = {"recorder": ("id", "uid", "pid")}
"""Keys of a part that are objects in their turn."""

_NUMBERS: Final = "'UBIGINT', 'BIGINT'"

SUSPECT: Final = (
    r",[ \t\r]*[\]}]"
    r"|[,:\[][ \t\r]*[-+]?(?i:nan|inf|infinity)[ \t\r]*[,\]}]"
    r"|[,:\[][ \t\r]*-?[0-9.]{20}"
    r"|[,:\[][ \t\r]*-?[0-9.]+[eE][-+]?[0-9]{3}"
)
"""Where DuckDB's reader of JSON is more lenient than RFC 8259 is, or numbers are too large for one of the two."""

DEEP: Final = 500
"""So many brackets in one line may be nested deeper than Python's reader goes."""


MAX_OBJECT: Final = 4 * MAX_LINE_BYTES
"""Bytes of a line, and of one that was written anew: its escapes are escaped then. The reader's buffers follow it."""


class Source(NamedTuple):
    """Files that DuckDB reads, one after the other."""

    paths: tuple[str, ...]
    compressed: bool = False

    @property
    def _how(self) -> str:
        compression = "zstd" if self.compressed else "none"
        listed = ", ".join(map(literal, self.paths))
        return f"[{listed}], compression='{compression}', maximum_object_size={MAX_OBJECT}"

    def objects(self) -> str:
        """Return a relation of one column, ``json``: each line's object, NULL for what is no JSON."""
        return f"read_ndjson_objects({self._how}, ignore_errors=true)"

    def typed(self, *, strict: bool = False) -> str:
        """Return a relation of an event's keys, the parts as structs; with `strict` it fails where a line has others.

        That is one that is no JSON object, or has a part that is none, or a key twice.
        """
        columns = ", ".join(f"{literal(key)}: {literal(type_)}" for key, type_ in KEYS.items())
        lenient = "" if strict else ", ignore_errors=true"
        return f"read_json({self._how}, format='newline_delimited', columns={{{columns}}}{lenient})"


def literal(text: str) -> str:
    """Return a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def _keys() -> dict[str, str]:
    """Return the type that each of an event's keys is read as: parts as structs, so that one pass reads all."""
    keys = {column.path[0]: "JSON" for column in EVENT_COLUMNS}
    for part, names in PARTS.items():
        fields = [f'"{name}" {_struct(_OBJECTS[name]) if name in _OBJECTS else "JSON"}' for name in names]
        keys[part] = f"STRUCT({', '.join(fields)})"
    return keys


def _struct(names: tuple[str, ...]) -> str:
    return "STRUCT(" + ", ".join(f'"{name}" JSON' for name in names) + ")"


KEYS: Final = _keys()
"""An event's keys, and what each is read as."""


def _of_struct(column: Column) -> str:
    found = f'"{column.path[0]}"'
    for key in column.path[1:]:
        found = f"struct_extract({found}, {literal(key)})"
    return found


def _of_object(column: Column) -> str:
    return f"json_extract(json, {literal('$.' + '.'.join(column.path))})"


def _value(column: Column, field: str) -> str:
    match column.type:
        case "text":
            return _text(field)
        case "time":
            text = _text(field)
            return f"CASE WHEN regexp_full_match({text}, {literal(RFC3339)}) THEN TRY_CAST({text} AS TIMESTAMPTZ) END"
        case "whole":
            return f"CASE WHEN json_type({field}) IN ({_NUMBERS}) THEN TRY_CAST({field} AS BIGINT) END"
        case "number":
            return (
                f"CASE WHEN json_type({field}) IN ({_NUMBERS}, 'DOUBLE') THEN TRY_CAST({field} AS DOUBLE) END"
            )
        case "texts":
            items = f"list_transform(json_extract({field}, '$[*]'), lambda one: {_text('one')})"
            return f"CASE WHEN starts_with({field}, '[') THEN {items} END"
        case "json":
            return f"nullif(CAST({field} AS VARCHAR), 'null')::JSON"
        case "truth":
            return f"coalesce(CAST({field} AS VARCHAR) <> 'null', false)"


def _text(field: str) -> str:
    return f"CASE WHEN starts_with({field}, '\"') THEN json_extract_string({field}, '$') END"


def _select(origin: str, fields: dict[str, str]) -> str:
    columns = [f"{literal(origin) if origin else 'NULL::VARCHAR'} AS origin"]
    columns += [f'{_value(column, fields[column.name])} AS "{column.name}"' for column in EVENT_COLUMNS]
    columns.append(f"coalesce({_text(fields['timestamp'])}, '') AS {RECEIVED}")
    return ", ".join(columns)


def _until(end: int | None) -> str:
    return "" if end is None else f" WHERE seq IS NULL OR seq < {end}"


def rows(source: Source, origin: str, end: int | None) -> str:
    """Return a query for the rows of a file."""
    fields = {column.name: _of_struct(column) for column in EVENT_COLUMNS}
    read = f'SELECT {_select(origin, fields)} FROM {source.typed()} WHERE "seq" IS NOT NULL'
    return f"SELECT * FROM ({read}){_until(end)}"


def rows_with_lines(source: Source, origin: str, end: int | None, *, inside: bool) -> str:
    """Return a query for the rows of a file and, in ``_line``, the line of each; `inside`: it is what ``line`` says."""
    fields = {column.name: _of_object(column) for column in EVENT_COLUMNS}
    line = "json_extract_string(json, '$.line')" if inside else "CAST(json AS VARCHAR)"
    read = f"SELECT {_select(origin, fields)}, {line} AS _line FROM {source.objects()} WHERE json IS NOT NULL"
    return f"SELECT * FROM ({read}){_until(end)}"


def no_rows() -> str:
    """Return a query for no rows, of the columns that `rows` has."""
    columns = ["NULL::VARCHAR AS origin"]
    columns += [f'NULL::{column.sql_type} AS "{column.name}"' for column in EVENT_COLUMNS]
    return f"SELECT {', '.join(columns)}, ''::VARCHAR AS {RECEIVED} WHERE false"


def seen(of: str, where: str, hidden: Collection[str]) -> str:
    """Return a query for the rows of another under a condition that nobody can look behind, without hidden values.

    A condition beside it would not do: the engine may put somebody's own before it, and that shows what it was put to
    by failing. Here a value is one only where the condition holds, wherever it is looked at.
    """
    types = {
        "origin": "VARCHAR",
        **{column.name: column.sql_type for column in EVENT_COLUMNS},
        RECEIVED: "VARCHAR",
    }
    shown = [
        f'NULL::{type_} AS "{name}"' if name in hidden else f'CASE WHEN _seen THEN "{name}" END AS "{name}"'
        for name, type_ in types.items()
    ]
    return f"SELECT {', '.join(shown)} FROM (SELECT *, ({where}) AS _seen FROM ({of})) WHERE _seen"


def logs(of: str, *more: str) -> str:
    """Return a query for the columns of `logs` of a relation of rows: MXCP's, then the others, and `more`."""
    mxcp = [f'{expression} AS "{name}"' for name, _, expression in LOGS]
    others = [f'"{column.name}"' for column in OTHERS]
    return f"SELECT {', '.join([*mxcp, *others, *more])} FROM {of}"


# --- filters ------------------------------------------------------------------------------------------------

_VALUES: Final = {
    "user": "user_id",
    "session": "session_id",
    "caller_type": "caller_type",
    "backend": "backend",
    "type": "type",
    "status": "status",
    "kind": "kind",
    "request_id": "request_id",
}


def condition(wanted: Filter) -> str:
    """Return what `Filter.predicate` asks of a row of `events`, as SQL."""
    checks = [] if wanted.events is None else [_one_of("event_type", wanted.events)]
    checks += [_one_of(column, values) for name, column in _VALUES.items() if (values := getattr(wanted, name))]
    if wanted.policy:
        decided = "coalesce(nullif(policy_decision, ''), CASE WHEN kind <> '' THEN 'n/a' END)"
        checks.append(_one_of(decided, wanted.policy))
    if wanted.name:
        checks.append(_is_named(wanted.name))
    typed = {"tool": wanted.tool, "resource": wanted.resource, "prompt": wanted.prompt}
    if any(typed.values()):
        any_of = [
            f"(type = {literal(type_)} AND {_is_named(names)})" for type_, names in typed.items() if names
        ]
        checks.append(f"({' OR '.join(any_of)})")
    if wanted.since is not None:
        checks.append(f"{RECEIVED} >= {literal(wanted.since)}")
        earliest = f"TIMESTAMPTZ {literal(earlier(wanted.since))}"
        checks.append(f"(recorded_at IS NULL OR recorded_at >= {earliest})")
    if wanted.until is not None:
        checks.append(f"{RECEIVED} <> '' AND {RECEIVED} < {literal(wanted.until)}")
    return " AND ".join(checks) or "true"


def _one_of(expression: str, values: frozenset[str]) -> str:
    return f"{expression} IN ({', '.join(map(literal, sorted(values)))})"


def _is_named(names: frozenset[str]) -> str:
    return f"({_one_of('capability_name', names)} OR {_one_of('original_name', names)})"
