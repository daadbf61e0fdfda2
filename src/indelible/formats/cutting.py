"""A JSON record that is too large for its receiver, cut inside its values. Pure.

The rules that live here:

- What identifies a record is never cut: only what stands under the names that its format gives is, longest first. A
  record whose names and ids alone are over the limit stays over it.
- What was cut says so, with the size and the SHA-256 of what it was (UTF-8), so that whoever has the trail can tell
  that it is the same: ``… [CUT 60002 bytes, sha256 9f86…]``.
- What is JSON stays JSON, also inside a text: ``{"cut":"…","bytes":60002,"sha256":"9f86…"}``.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from indelible.formats.shapes import STAMP_KEY, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_KEPT: Final = 16
"""Characters of a value that stay, in any case."""

JSON_TEXTS: Final = frozenset({"args", "input_json", "metadata", "gen_ai.tool.call.arguments"})
"""Names whose text may be that of a JSON value."""

_MARK: Final = " [CUT {} bytes, sha256 {}]"


class _Text(NamedTuple):
    """A text that may be cut, and where it stands."""

    holder: Any
    key: Any
    size: int
    """Bytes of JSON."""
    json: bool
    """Whether it is the text of a JSON value."""


class _Value(NamedTuple):
    """An object or array that may be replaced, and what is kept of it."""

    holder: Any
    key: Any
    size: int
    mark: dict[str, Any]


def cut(data: bytes, limit: int, names: frozenset[str]) -> bytes:
    """Return a record of at most `limit` bytes, when that is possible; else the one that comes nearest.

    `names` are those of values that may be cut; one with a dot names its parent, too.
    """
    try:
        record = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):  # a number that is none, copied from the line as it stands
        return data
    inner = record.get("metadata")
    last = inner.pop(STAMP_KEY, None) if STAMP_KEY not in record and isinstance(inner, dict) else None
    texts, values = _found(record, names)
    size = len(data)
    for text in sorted(texts, key=lambda found: -found.size):
        if size <= limit:
            break
        size -= text.size - _shorten(text, text.size - (size - limit))
    for value in sorted(values, key=lambda found: -found.size):  # many small texts: all of a value goes
        if size <= limit:
            break
        size -= len(encode(value.holder[value.key])) - len(encode(value.mark))
        value.holder[value.key] = value.mark
    if last is not None:
        record["metadata"][STAMP_KEY] = last
    return encode(record)


def _found(record: Any, names: frozenset[str]) -> tuple[list[_Text], list[_Value]]:
    """Return the texts that may be cut, and the objects and arrays that may be replaced."""
    texts: list[_Text] = []
    values: list[_Value] = []
    waiting = [(record, "", False)]
    while waiting:
        above_holder, above, inside = waiting.pop()
        for holder, key, name, value in _members(above_holder):
            free = inside or name in names or f"{above}.{name}" in names
            if isinstance(value, str):
                if free:
                    texts.append(_Text(holder, key, len(encode(value)), not inside and _is_json(name, value)))
            elif isinstance(value, dict | list):
                if free and not inside:
                    values.append(_value(holder, key, value))
                waiting.append((value, name or above, free))
    return texts, values


def _is_json(name: str, text: str) -> bool:
    return name in JSON_TEXTS and text[:1] in ("{", "[", '"')


def _members(holder: Any) -> Iterator[tuple[Any, Any, str, Any]]:
    """Yield holder, key, name and value of what stands in an object or array.

    A KeyValue of OTLP has its name beside the value, and a text one level deeper.
    """
    if isinstance(holder, list):
        for index, value in enumerate(holder):
            yield holder, index, "", value
    elif holder.keys() == {"key", "value"} and isinstance(holder["key"], str):
        value = holder["value"]
        if isinstance(value, dict) and isinstance(value.get("stringValue"), str):
            yield value, "stringValue", holder["key"], value["stringValue"]
        else:
            yield holder, "value", holder["key"], value
    else:
        for key, value in holder.items():
            yield holder, key, key, value


def _value(holder: Any, key: Any, value: Any) -> _Value:
    whole = encode(value)
    mark = {
        "cut": whole.decode()[:MIN_KEPT],
        "bytes": len(whole),
        "sha256": sha256(whole).hexdigest(),
    }
    return _Value(holder, key, len(whole), mark)


def _shorten(found: _Text, room: int) -> int:
    """Put as much of a text in its place as fits `room` bytes of JSON; return how many it takes."""
    text: str = found.holder[found.key]
    whole = text.encode()
    digest = sha256(whole).hexdigest()

    def made(kept: int) -> str:
        if found.json:
            return encode({"cut": text[:kept], "bytes": len(whole), "sha256": digest}).decode()
        return text[:kept] + _MARK.format(len(whole), digest)

    low, high = MIN_KEPT, len(text)
    while low < high:  # the most characters that fit
        middle = (low + high + 1) // 2
        if len(encode(made(middle))) <= room:
            low = middle
        else:
            high = middle - 1
    size = len(encode(made(low)))
    if size >= found.size:
        return found.size
    found.holder[found.key] = made(low)
    return size
