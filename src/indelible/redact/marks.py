"""The sensitive arguments of a tool, as its input schema marks them, compiled to paths.

A schema is a graph (``$ref`` may be cyclic, ``allOf`` and the like put several schemas on one value), so the
compiled form is one too: nodes, with edges for members and items, and `also` for schemas that apply to the
same value. Only names of properties and patterns of names are kept: no defaults, no examples, no
descriptions. Whatever cannot be understood is taken to be sensitive where it might hide a mark, and ignored
where it cannot.

Marks: ``sensitive: true``, ``x-sensitive`` (both also with a word of one's own: ``high``), ``writeOnly`` (JSON Schema
validation, section 9.4) and ``format: password`` (OpenAPI 3.1). Parameters in MXCP's form, a list of objects with
``name``, work too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote, urljoin

import msgspec
import re2

from indelible.redact.limits import CACHED_CHARS, NAME_CACHE

MAX_SCHEMA_NODES: Final = 10_000
"""Subschemas that are followed; what lies behind more of them is taken to be sensitive."""

MAX_PATTERN_CHARS: Final = 1_000
"""A longer pattern of property names is taken to match every name."""


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one schema says of a value; numbers are indices into `Marks.nodes`."""

    sensitive: bool = False
    properties: dict[str, int] = {}
    patterns: dict[str, int] = {}
    additional: int | None = None
    items: int | None = None
    prefix: tuple[int, ...] = ()
    anywhere: tuple[int, ...] = ()
    """For every member and item, whatever its name or place (``contains``, an unreadable pattern)."""
    also: tuple[int, ...] = ()


class Marks(msgspec.Struct, frozen=True):
    """Compiled marks of one tool; node 0 is the arguments' own schema. Empty when nothing is marked."""

    nodes: tuple[Node, ...] = ()


_ALSO_LISTS: Final = ("allOf", "anyOf", "oneOf")
_ALSO: Final = ("if", "then", "else")
_MEMBERS: Final = ("unevaluatedProperties",)


def compile_marks(input_schema: object) -> Marks:
    """Return the marks of a tool's input schema; never raises, whatever the schema is."""
    try:
        nodes = _Compiler(_as_schema(input_schema)).run()
    except Exception:  # noqa: BLE001 - a hostile schema may break anything; then everything is sensitive
        return Marks((Node(sensitive=True),))
    return Marks(nodes if any(node.sensitive for node in nodes) else ())


def compile_result_marks(output_schema: object) -> Marks:
    """Return the marks of a tool's results by its output schema; never raises. Node 0 is the whole result's.

    The schema is that of ``structuredContent`` (MCP, `Tool.outputSchema`). What stands beside it in ``content`` says
    the same again in a form of its own, so of its blocks all that holds a value counts as marked when anything is.
    """
    return of_result(compile_marks(output_schema), {"content": _BLOCKS})


def of_returned(marks: Marks) -> Marks:
    """Return the marks of a result of any kind of call, by those of what its function returns.

    That is the ``structuredContent``, or its ``result``, as servers wrap what is no object; what the result says beside
    it (a resource's ``contents``, a prompt's ``messages``) counts as marked when anything is.
    """
    beside = {"content": _BLOCKS, "contents": _BLOCKS, "messages": _HIDDEN}
    return of_result(marks, beside, wrapped={"result": _RETURNED})


REPEATS: Final = ("text", "blob", "data", "resource")
"""Members of a block of content that hold what the result says."""

_BLOCKS, _HIDDEN, _RETURNED = 1, 3, 5


def of_result(marks: Marks, beside: dict[str, int], wrapped: dict[str, int] | None = None) -> Marks:
    """Return the marks of a result whose ``structuredContent`` has these; empty when there are none."""
    if not marks.nodes:
        return marks
    around = (
        Node(properties={"structuredContent": 4, **beside}),
        Node(items=2),
        Node(properties=dict.fromkeys(REPEATS, _HIDDEN)),
        Node(sensitive=True),
        Node(properties=wrapped or {}, also=(_RETURNED,)),
    )
    return Marks((*around, *(_shifted(node, len(around)) for node in marks.nodes)))


def joined(one: Marks, other: Marks) -> Marks:
    """Return marks that hold where either of two does."""
    if not (one.nodes and other.nodes):
        return one if one.nodes else other
    shifted = (
        _shifted(node, start)
        for nodes, start in ((one.nodes, 1), (other.nodes, 1 + len(one.nodes)))
        for node in nodes
    )
    return Marks((Node(also=(1, 1 + len(one.nodes))), *shifted))


def _shifted(node: Node, by: int) -> Node:
    """Return a node whose numbers are larger; -1 is nowhere, and stays."""

    def moved(number: int) -> int:
        return number if number < 0 else number + by

    return Node(
        sensitive=node.sensitive,
        properties={key: moved(number) for key, number in node.properties.items()},
        patterns={key: moved(number) for key, number in node.patterns.items()},
        additional=None if node.additional is None else moved(node.additional),
        items=None if node.items is None else moved(node.items),
        prefix=tuple(map(moved, node.prefix)),
        anywhere=tuple(map(moved, node.anywhere)),
        also=tuple(map(moved, node.also)),
    )


def _as_schema(given: object) -> object:
    """Turn MXCP's parameters into the schema of the object that they make."""
    if isinstance(given, dict) and isinstance(given.get("parameters"), list) and "properties" not in given:
        given = given["parameters"]
    if isinstance(given, list):
        named = [item for item in given if isinstance(item, dict) and isinstance(item.get("name"), str)]
        return {"properties": {item["name"]: item for item in named}}
    return given


_NO: Final = ("", "false", "no", "off", "none", "null", "0")


def _marked(schema: dict[Any, Any]) -> bool:
    if any(_says_yes(schema.get(word)) for word in ("sensitive", "x-sensitive", "writeOnly")):
        return True
    form = schema.get("format")
    return isinstance(form, str) and form.strip().lower() == "password"


def _says_yes(value: object) -> bool:
    """Tell whether a mark is set: whatever it is set to that does not say no (``high``, ``{reason: …}``)."""
    return value.strip().lower() not in _NO if isinstance(value, str) else bool(value)


class _Compiler:
    def __init__(self, root: object) -> None:
        self._root = root
        self._index: dict[int, int] = {}
        self._schemas: list[dict[Any, Any]] = []
        self._anchors: dict[str, Any] | None = None
        self._overflow = -1

    def run(self) -> tuple[Node, ...]:
        if not isinstance(self._root, dict):
            return ()
        self._number(self._root)
        nodes: list[Node] = []
        while len(nodes) < len(self._schemas):  # grows while nodes are made
            nodes.append(self._node(self._schemas[len(nodes)]))
        return tuple(nodes)

    def _number(self, schema: object) -> int | None:
        """Return the index of a subschema, new or known; None when it is no object (``true``, ``false``)."""
        if not isinstance(schema, dict):
            return None
        known = self._index.get(id(schema))
        if known is not None:
            return known
        if len(self._schemas) >= MAX_SCHEMA_NODES:
            if self._overflow < 0:
                self._overflow = len(self._schemas)
                self._schemas.append({"sensitive": True})
            return self._overflow
        self._index[id(schema)] = len(self._schemas)
        self._schemas.append(schema)
        return len(self._schemas) - 1

    def _numbers(self, schemas: Iterable[object]) -> tuple[int, ...]:
        return tuple(n for n in map(self._number, schemas) if n is not None)

    def _node(self, schema: dict[Any, Any]) -> Node:
        if _marked(schema):
            return Node(sensitive=True)  # everything below goes with it
        patterns, anywhere = self._patterns(schema.get("patternProperties"))
        items, additional_items = schema.get("items"), schema.get("additionalItems")
        prefix = schema.get("prefixItems")
        if isinstance(items, list):  # up to draft 2019-09
            prefix, items = items, additional_items
        anywhere += self._numbers((schema.get("contains"), schema.get("unevaluatedItems")))
        return Node(
            properties=self._members(schema.get("properties")),
            patterns=patterns,
            additional=self._number(schema.get("additionalProperties")),
            items=self._number(items),
            prefix=self._positions(prefix),
            anywhere=anywhere + self._numbers(schema.get(word) for word in _MEMBERS),
            also=self._also(schema),
        )

    def _members(self, members: object) -> dict[str, int]:
        if not isinstance(members, dict):
            return {}
        numbered = ((key, self._number(value)) for key, value in members.items() if isinstance(key, str))
        return {key: -1 if number is None else number for key, number in numbered}

    def _positions(self, schemas: object) -> tuple[int, ...]:
        if not isinstance(schemas, list):
            return ()
        return tuple(-1 if number is None else number for number in map(self._number, schemas))

    def _patterns(self, patterns: object) -> tuple[dict[str, int], tuple[int, ...]]:
        """Return those that RE2 takes, and the schemas of the others: they apply to every member."""
        readable: dict[str, int] = {}
        anywhere: list[int] = []
        for pattern, number in self._members(patterns).items():
            if number >= 0:
                if compile_pattern(pattern) is None:
                    anywhere.append(number)
                else:
                    readable[pattern] = number
        return readable, tuple(anywhere)

    def _also(self, schema: dict[Any, Any]) -> tuple[int, ...]:
        found: list[object] = [schema.get(word) for word in _ALSO]
        for word in _ALSO_LISTS:
            several = schema.get(word)
            if isinstance(several, list):
                found += several
        for word in ("dependentSchemas", "dependencies"):  # the second up to draft 7
            if isinstance(dependent := schema.get(word), dict):
                found += dependent.values()
        found.append(schema.get("contentSchema"))  # of a text that holds JSON: it is looked into
        for word in ("$ref", "$dynamicRef", "$recursiveRef"):
            if isinstance(reference := schema.get(word), str):
                found.append(self._resolve(reference))
        return self._numbers(found)

    def _resolve(self, reference: str) -> object:
        """Follow a reference inside this schema (RFC 6901 pointer, or an anchor); others lead nowhere.

        One with a base leads to the part of that ``$id``, as it stands there or made absolute by the schema's own.
        """
        base, _, fragment = reference.partition("#")
        fragment = unquote(fragment)
        place: Any = self._root
        if base:
            place = self._anchored(reference) or self._anchored(base) or self._anchored(self._absolute(base))
        if not fragment or not isinstance(place, dict):
            return place
        if not fragment.startswith("/"):
            return self._anchored(fragment)
        for step in fragment[1:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, dict):
                place = place.get(name)
            elif isinstance(place, list) and name.isascii() and name.isdigit() and len(name) < 9:
                place = place[int(name)] if int(name) < len(place) else None
            else:
                return None
        return place

    def _absolute(self, reference: str) -> str:
        base = self._root.get("$id") if isinstance(self._root, dict) else None
        try:
            return urljoin(base, reference) if isinstance(base, str) else reference
        except ValueError:  # a host in brackets that is none
            return reference

    def _anchored(self, name: str) -> object:
        if self._anchors is None:
            self._anchors = {}
            waiting: list[Any] = [self._root]
            seen = {id(self._root)}
            while waiting:
                place = waiting.pop()
                for word in ("$anchor", "$dynamicAnchor", "$id"):
                    if isinstance(place, dict) and isinstance(key := place.get(word), str):
                        self._anchors.setdefault(key, place)
                        self._anchors.setdefault(self._absolute(key), place)
                children = place.values() if isinstance(place, dict) else place
                for child in children:
                    if isinstance(child, dict | list) and id(child) not in seen:
                        seen.add(id(child))
                        waiting.append(child)
        return self._anchors.get(name)


def compile_pattern(pattern: str) -> Any:
    """Compile a pattern of property names; None when RE2 does not take it."""
    if len(pattern) > MAX_PATTERN_CHARS:
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(), options)
    except (re2.error, UnicodeEncodeError):
        return None


Place = tuple[int, ...]
"""Where in the graph a value stands: every node that applies to it."""


class MarkTree:
    """Marks ready to be walked along a value. Unknown indices, from a damaged file, are ignored."""

    def __init__(self, marks: Marks) -> None:
        """Prepare the patterns."""
        self._nodes = marks.nodes
        self._patterns = {
            pattern: compile_pattern(pattern) for node in marks.nodes for pattern in node.patterns
        }
        self.root: Place = self._close([0])
        self._members: dict[tuple[Place, str], tuple[Place, bool]] = {}
        self._named: dict[Place, frozenset[str] | None] = {}

    def _close(self, indices: Iterable[int]) -> Place:
        found: list[int] = []
        seen: set[int] = set()
        waiting = list(indices)
        while waiting:
            index = waiting.pop()
            if index in seen or not 0 <= index < len(self._nodes):
                continue
            seen.add(index)
            found.append(index)
            waiting += self._nodes[index].also
        return tuple(sorted(found))

    def sensitive(self, place: Place) -> bool:
        """Tell whether the value here is marked."""
        return any(self._nodes[index].sensitive for index in place)

    def named(self, place: Place) -> frozenset[str] | None:
        """Return the only members of the object here at or below which anything may be marked; None when any may be."""
        try:
            return self._named[place]
        except KeyError:
            nodes = [self._nodes[index] for index in place]
            named = None
            if not any(node.anywhere or node.patterns or node.additional is not None for node in nodes):
                named = frozenset(name for node in nodes for name in node.properties)
            if len(self._named) >= NAME_CACHE:
                self._named.clear()
            self._named[place] = named
            return named

    def member(self, place: Place, key: str) -> tuple[Place, bool]:
        """Return where the member `key` of the object here stands, and whether it is marked."""
        known = self._members.get((place, key))
        if known is None:
            below = self._member(place, key)
            known = (below, self.sensitive(below))
            if len(key) <= CACHED_CHARS:
                if len(self._members) >= NAME_CACHE:
                    self._members.clear()
                self._members[place, key] = known
        return known

    def _member(self, place: Place, key: str) -> Place:
        found: list[int] = []
        for index in place:
            node = self._nodes[index]
            found += node.anywhere
            matched = key in node.properties
            if matched:
                found.append(node.properties[key])
            for pattern, target in node.patterns.items():
                regex = self._patterns[pattern]
                if regex is None or regex.search(key.encode("utf-8", "replace")) is not None:
                    matched = True
                    found.append(target)
            if not matched and node.additional is not None:
                found.append(node.additional)
        return self._close(found) if found else ()

    def item(self, place: Place, position: int) -> Place:
        """Return where the item at `position` of the array here stands."""
        found: list[int] = []
        for index in place:
            node = self._nodes[index]
            found += node.anywhere
            if position < len(node.prefix):
                found.append(node.prefix[position])
            elif node.items is not None:
                found.append(node.items)
        return self._close(found) if found else ()
