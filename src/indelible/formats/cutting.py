"""A JSON record that is too large for its receiver, cut inside its values. Pure.

The rules that live here:

- What identifies a record is never cut: only what stands under a name of `VALUES` is, longest first. A record whose
  names and ids alone are over the limit stays over it.
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

VALUES: Final = frozenset(
    {
        "args",
        "input_json",
        "result",
        "error",
        "reason",
        "metadata",
        "message",
        "gen_ai.tool.call.arguments",
        "request.data",
        "response.data",
        "error_message",
        "status_detail",
    }
)
"""Names whose values may be cut; one with a dot names its parent, too."""

MIN_KEPT: Final = 16
"""Characters of a value that stay, in any case."""

_MARK: Final = " [CUT {} bytes, sha256 {}]"


class _Text(NamedTuple):
    """A text that may be cut, and where it stands."""

    holder: Any
    key: Any
    size: int
    """Bytes of JSON."""
    inside: bool
    """Whether it is a part of a value, and not all of it."""


class _Value(NamedTuple):
    """An object or array that may be replaced, and what is kept of it."""

    holder: Any
    key: Any
    size: int
    mark: dict[str, Any]


def cut(data: bytes, limit: int) -> bytes:
    """Return a record of at most `limit` bytes, when that is possible."""
    record = msgspec.json.decode(data)
    last = record["metadata"].pop(STAMP_KEY) if STAMP_KEY not in record and "metadata" in record else None
    texts, values = _found(record)
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


def _found(record: Any) -> tuple[list[_Text], list[_Value]]:
    """Return the texts that may be cut, and the objects and arrays that may be replaced."""
    texts: list[_Text] = []
    values: list[_Value] = []
    waiting = [(record, "", False)]
    while waiting:
        above_holder, above, inside = waiting.pop()
        for holder, key, name, value in _members(above_holder):
            free = inside or name in VALUES or f"{above}.{name}" in VALUES
            if isinstance(value, str):
                if free:
                    texts.append(_Text(holder, key, len(encode(value)), inside))
            elif isinstance(value, dict | list):
                if free and not inside:
                    values.append(_value(holder, key, value))
                waiting.append((value, name or above, free))
    return texts, values


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
    wrapped = text[:1] in ("{", "[") and not found.inside

    def made(kept: int) -> str:
        if wrapped:
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
