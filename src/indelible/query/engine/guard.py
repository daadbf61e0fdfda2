"""What SQL over a trail may be: judged by its syntax tree, before anything of it is run. Pure.

The rules that live here:

- One query (SELECT, FROM, VALUES, WITH) and nothing else: DuckDB's parser makes a tree of no other statement.
- Of every node its kind has to be in a list, of every function its name (`functions`), of every table that it is one of
  the views, or a name that the query itself gives. What nobody has thought of is refused.
- A condition is judged in a query around it, whose tree must be the one around ``true`` but for that place,
  and is run in such a place only: alone after WHERE, so that no parenthesis in it takes anything else along.

The connection is locked beside this (`indelible.query.engine.connection`): each is enough alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from indelible.errors import ConfigError
from indelible.query.engine.functions import FUNCTIONS, TABLE_FUNCTIONS
from indelible.values import closest

VIEWS: Final = ("logs", "events")
"""The tables that there are."""

MAX_SQL: Final = 100_000
"""Characters of a query."""

MAX_DEPTH: Final = 500
"""So deep a tree may be: Python's own limit is twice that."""

_EXPRESSIONS: Final = frozenset(
    (
        "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION",
        "LAMBDA", "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW",
    )
)  # fmt: skip
"""Classes of expressions."""

_NODES: Final = frozenset(
    (
        # queries
        "SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE",
        # what stands in FROM
        "BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SUBQUERY", "TABLE_FUNCTION",
        # what stands after a query
        "DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER",
        # how a column is sorted
        "ASCENDING", "DESCENDING", "ORDER_DEFAULT",
    )
)  # fmt: skip
"""Types of what is no expression."""

Tree = dict[str, Any]
Serialize = Callable[[str], Tree]
"""DuckDB's ``json_serialize_sql``: a text in, its tree out."""

Taken = Callable[[], Collection[str]]
"""Names that the database has tables or views of its own under; asked for where a query gives names."""


class SqlError(ConfigError):
    """What was asked is no query, or none that may be asked."""


def check_query(sql: str, serialize: Serialize, taken: Taken) -> None:
    """Raise SqlError, one line with the place, for what is not one query that only reads the views."""
    _check(_node(sql, serialize), frozenset(VIEWS), sql, _Names(taken))


def check_condition(condition: str, serialize: Serialize, taken: Taken) -> bool:
    """Raise SqlError for what is not one condition that only looks at columns, and at the views in subqueries.

    Returns whether there are subqueries.
    """
    node, plain = (_node(_around(text), serialize, condition) for text in (condition, "true"))
    found = node.get("where_clause")
    if found is None or _shape({**node, "where_clause": None}) != _shape({**plain, "where_clause": None}):
        raise SqlError("expected one condition, such as latency_ms > 100 AND user_id = 'ada'")
    _check(found, frozenset(VIEWS), condition, _Names(taken), shift=len(_BEFORE))
    return _has_query(found)


def _has_query(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("class") == "SUBQUERY" or any(map(_has_query, value.values()))
    return isinstance(value, list) and any(map(_has_query, value))


_BEFORE: Final = "SELECT 1 FROM logs WHERE (\n"


def _around(condition: str) -> str:
    return f"{_BEFORE}{condition}\n)"


def where(condition: str) -> str:
    """Return a condition as the end of a query, after its FROM: nothing may follow but what ends a query."""
    return f" WHERE (\n{condition}\n)"


def place(sql: str, position: int) -> str:
    """Return where a character stands, counted from 1: ``at character 8``, with the line where there are several."""
    before = sql.encode()[: max(position, 0)].decode(errors="ignore")
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    return f"at line {line}, character {column}" if "\n" in sql.strip() else f"at character {column}"


def _node(sql: str, serialize: Serialize, said: str | None = None) -> Tree:
    if len(sql) > MAX_SQL:
        raise SqlError(f"a query of {len(sql)} characters: at most {MAX_SQL} are taken")
    if not sql.isascii() and any("\ud800" <= one <= "\udfff" for one in sql):
        raise SqlError("it is not UTF-8")
    if "\0" in sql:
        raise SqlError("a NUL character in it")
    if not (said if said is not None else sql).strip(" \t\r\n;"):
        raise SqlError("there is no query in it")
    tree = serialize(sql)
    if tree.get("error"):
        raise SqlError(_mistake(tree, sql if said is None else said, 0 if said is None else len(_BEFORE)))
    statements = tree.get("statements", [])
    if len(statements) != 1:
        raise SqlError(f"expected one query, found {len(statements)}: ask them one after the other")
    if statements[0].get("named_param_map"):
        raise SqlError("there are no parameters: write the value in the query")
    node: Tree = statements[0]["node"]
    return node


def _mistake(tree: Tree, sql: str, shift: int) -> str:
    if tree.get("error_type") == "not implemented":
        return "only queries can be asked: SELECT, FROM, WITH or VALUES; nothing is ever changed"
    message = " ".join(str(tree.get("error_message", "it cannot be read")).split())
    try:
        position = int(tree["position"]) - shift
    except (KeyError, ValueError):
        return message
    if position >= len(sql.encode()):
        return f"{message} at its end"
    return f"{message} {place(sql, position)}"


def _shape(value: Any) -> Any:
    """Return a tree without the places of its nodes."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items() if not key.startswith("query_location")}
    return [_shape(item) for item in value] if isinstance(value, list) else value


class _Names:
    """Names that a query must not give to what is its own: the tree does not say whose table is meant then."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken

    def given(self, name: str, tables: frozenset[str]) -> frozenset[str]:
        """Return the tables that there are when a query gives a name to one."""
        if name.lower() in {*VIEWS, *(one.lower() for one in self._taken())}:
            raise SqlError(f"WITH {name}: there is a table of that name; choose another one")
        return tables | {name.lower()}


def _check(
    value: Any, tables: frozenset[str], sql: str, names: _Names, *, shift: int = 0, depth: int = 0
) -> None:
    """Go through a tree; `tables` are those whose names mean something where it stands."""
    if depth > MAX_DEPTH:
        raise SqlError("it is nested too deep")
    if isinstance(value, list):
        for item in value:
            _check(item, tables, sql, names, shift=shift, depth=depth + 1)
        return
    if not isinstance(value, dict):
        return
    at = place(sql, position - shift) if (position := value.get("query_location", 2**64)) < 2**62 else ""
    _check_kind(value, at)
    if value.get("type") == "RECURSIVE_CTE_NODE":
        tables = names.given(str(value.get("cte_name")), tables)
    for entry in _with(value):  # each sees those before it; itself it sees only where it is recursive
        _check(entry, tables, sql, names, shift=shift, depth=depth + 1)
        tables = names.given(str(entry.get("key")), tables)
    if value.get("type") == "BASE_TABLE":
        _check_table(value, tables, at)
    is_table = value.get("type") == "TABLE_FUNCTION"
    if value.get("class") in ("FUNCTION", "WINDOW"):
        _check_function(value, FUNCTIONS, at)
    for key, item in value.items():
        if key == "cte_map" and isinstance(item, dict):
            item = {name: one for name, one in item.items() if name != "map"}  # noqa: PLW2901 - that was looked at
        if is_table and key == "function":
            _check_function(item, TABLE_FUNCTIONS, at)
            item = list(item.values())  # noqa: PLW2901 - its name has been looked at
        _check(item, tables, sql, names, shift=shift, depth=depth + 1)


def _check_kind(value: Tree, at: str) -> None:
    if "class" in value:
        if value["class"] not in _EXPRESSIONS:
            raise SqlError(_refused(str(value["class"]).lower().replace("_", " "), at))
    elif isinstance(value.get("type"), str) and value["type"] not in _NODES:
        raise SqlError(_refused(str(value["type"]).lower().replace("_", " "), at))
    if value.get("at_clause") is not None:
        raise SqlError(_refused("AT", at))


def _refused(what: str, at: str) -> str:
    return f"{what} is not allowed here {at}".rstrip()


def _with(value: Tree) -> list[Tree]:
    """Return the queries that WITH gives names to, in their order."""
    map_ = value.get("cte_map")
    return list(map_.get("map", [])) if isinstance(map_, dict) else []


def _check_table(value: Tree, tables: frozenset[str], at: str) -> None:
    names = (value.get(key) for key in ("catalog_name", "schema_name", "table_name"))
    path = [str(name) for name in names if name] or [""]
    if len(path) == 1 and path[0].lower() in tables:
        return
    close = closest(path[-1].lower(), sorted(tables))
    hint = f"did you mean '{close}'?" if close else f"there are {' and '.join(VIEWS)}"
    raise SqlError(f"no table {'.'.join(path)!r} {at}; {hint}")


def _check_function(value: Tree, allowed: frozenset[str], at: str) -> None:
    name = str(value.get("function_name", ""))
    path = (value.get("qualified_name") or {}).get("path", [name])
    if value.get("catalog") or value.get("schema") or len(path) != 1:
        raise SqlError(f"a function is called by its name alone, as in upper(name), {at}".rstrip(", "))
    if name.lower() in allowed:
        return
    close = closest(name.lower(), sorted(allowed), 0.8)
    hint = f"; did you mean '{close}'?" if close else ""
    raise SqlError(f"the function {name!r} is not allowed here {at}".rstrip() + hint)
