"""Keys that stand twice in one JSON object: in no record of ours, whatever stands in the line. Pure.

No recorder writes such a line, but who tampers with a trail can, and JSON's readers then differ in what they see
(RFC 8259, section 4). The last of them counts, as for most readers; each one before it gets a name of its own,
`key (1)`, so that nothing that stands in the line is hidden.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final

import orjson

SURROGATE: Final = re.compile("[\ud800-\udfff]")


def with_unique_keys(text: bytes) -> bytes:
    """Return JSON text in which no object has a key twice: the very same bytes when that is so already.

    What no reader takes for JSON is returned as it stands.
    """
    try:
        if (
            orjson.dumps(orjson.loads(text)) == text
        ):  # as every recorder writes it: a reader's way there and back
            return text
    except (orjson.JSONDecodeError, TypeError):
        pass  # beyond what it reads: deep, or a number that it does not hold
    again = Keys()
    try:
        value = loads(text, again.distinct)
    except (ValueError, RecursionError):
        return text
    return SURROGATE.sub("\ufffd", dumps(value)).encode() if again.renamed else text


def loads(text: bytes, made: Callable[[list[tuple[str, Any]]], dict[str, Any]]) -> Any:
    """Return JSON's value, its objects `made` of their pairs. Raises ValueError, RecursionError."""
    return json.loads(text, object_pairs_hook=made, parse_float=_number)


def dumps(value: Any) -> str:
    """Return compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _number(text: str) -> float | str:
    """Return a number, or its text: JSON has no infinity."""
    value = float(text)
    return value if math.isfinite(value) else text


class Keys:
    """What makes objects of pairs, with a name for each of them."""

    def __init__(self) -> None:
        self.renamed = False

    def distinct(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return an object that has every pair; half of a surrogate pair in a key is U+FFFD."""
        pairs = [(SURROGATE.sub("\ufffd", key), value) for key, value in pairs]
        last = {key: index for index, (key, _) in enumerate(pairs)}
        if len(last) == len(pairs):
            return dict(pairs)
        self.renamed = True
        taken, found = set(last), {}
        for index, (key, value) in enumerate(pairs):
            name, number = key, 0
            while index != last[key] and name in taken:
                number += 1
                name = f"{key} ({number})"
            taken.add(name)
            found[name] = value
        return found
