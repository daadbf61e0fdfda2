"""Endpoint files in MXCP's format: which arguments and results of a tool, resource or prompt are sensitive.

No I/O here: `indelible.configfile` finds and reads the files that `redaction.schemas` names. The format is that of
mxcp 0.12 (`mxcp.server.definitions.endpoints.models`): a file has one of ``tool``, ``resource`` and ``prompt``, with
``parameters`` (a list) and ``return`` (a type), nested by ``properties`` and ``items``. Only what says where something
sensitive is is looked at, and that strictly: a word that is misspelled would be a secret that stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from indelible.values import nearest, shown

Kind = Literal["tool", "resource", "prompt"]
KINDS: Final[tuple[Kind, ...]] = ("tool", "resource", "prompt")
MAX_DEPTH: Final = 64
"""Levels of ``properties`` and ``items``."""

_TOP: Final = ("mxcp", *KINDS, "metadata")
_COMMON: Final = ("name", "description", "tags", "parameters", "return", "enabled", "tests", "policies")
_CODE: Final = ("language", "source")
_KEYS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "tool": (*_COMMON, *_CODE, "annotations"),
    "resource": (*_COMMON, *_CODE, "uri", "mime_type"),
    "prompt": (*_COMMON, "messages"),
}
_TYPES: Final = ("string", "number", "integer", "boolean", "array", "object")
_TYPE: Final = (
    "name", "type", "format", "description", "default", "examples", "enum", "sensitive", "minLength", "maxLength",
    "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
    "uniqueItems", "items", "properties", "required", "additionalProperties",
)  # fmt: skip


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says; the types are JSON Schema but for ``sensitive`` (see `indelible.redact.marks`)."""

    kind: Kind
    name: str
    """A resource's is its URI, or the template of it."""
    parameters: Mapping[str, Any]
    returns: Mapping[str, Any]
    hidden: tuple[str, ...] = ()
    """The parameters that are sensitive, or hold something that is."""


def parse(data: object) -> Endpoint:
    """Return what a file says. Raises ValueError, one line, for what is no endpoint of MXCP."""
    top = _mapping(data, "the file")
    _known(top, _TOP, "")
    found = [kind for kind in KINDS if top.get(kind)]
    if len(found) != 1:
        raise ValueError(f"expected one of {', '.join(KINDS)}, found {', '.join(found) or 'none'}")
    kind = found[0]
    body = _mapping(top[kind], kind)
    _known(body, _KEYS[kind], kind)
    name = body.get("uri" if kind == "resource" else "name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{kind}.{'uri' if kind == 'resource' else 'name'}: expected a text that is not empty")
    given = body.get("parameters") or []
    if not isinstance(given, list):
        raise ValueError(f"{kind}.parameters: expected a list")
    parameters: dict[str, Any] = {}
    for position, item in enumerate(given):
        at = f"{kind}.parameters[{position}]"
        one = _type(item, at, 0)
        own = one.get("name")
        if not isinstance(own, str) or not own or own in parameters:
            raise ValueError(f"{at}.name: expected a name that no other parameter has, found {shown(own)}")
        parameters[own] = one
    returns = _type(body["return"], f"{kind}.return", 0) if body.get("return") is not None else {}
    hidden = tuple(own for own, one in parameters.items() if _sensitive(one))
    return Endpoint(kind=kind, name=name, parameters=parameters, returns=returns, hidden=hidden)


def _type(given: object, at: str, depth: int) -> dict[str, Any]:
    body = _mapping(given, at)
    _known(body, _TYPE, at)
    if depth > MAX_DEPTH:
        raise ValueError(f"{at}: nested deeper than {MAX_DEPTH} levels")
    if body.get("type") not in _TYPES:
        raise ValueError(f"{at}.type: expected one of {', '.join(_TYPES)}, found {shown(body.get('type'))}")
    kept: dict[str, Any] = {"name": body.get("name")}
    if type(body.get("sensitive", False)) is not bool:
        raise ValueError(f"{at}.sensitive: expected true or false, found {shown(body['sensitive'])}")
    if body.get("sensitive"):
        kept["sensitive"] = True
    if body.get("items") is not None:
        kept["items"] = _type(body["items"], f"{at}.items", depth + 1)
    if body.get("properties") is not None:
        members = _mapping(body["properties"], f"{at}.properties")
        kept["properties"] = {
            str(key): _type(item, f"{at}.properties.{key}", depth + 1) for key, item in members.items()
        }
    return kept


def _sensitive(one: Mapping[str, Any]) -> bool:
    below = [*one.get("properties", {}).values(), *([one["items"]] if "items" in one else [])]
    return bool(one.get("sensitive")) or any(map(_sensitive, below))


def _mapping(value: object, at: str) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{at}: expected a mapping, found {shown(value)}")


def _known(body: Mapping[Any, Any], known: tuple[str, ...], at: str) -> None:
    for key in body:
        if key not in known:
            path = f"{at}.{key}" if at else str(key)
            raise ValueError(f"unknown key {shown(path)}{nearest(str(key), known)}")
