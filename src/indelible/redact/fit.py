"""Cut a redacted JSON value to a number of bytes: small members stay, the large ones are cut.

The budget is shared as water fills a vessel: what is smaller than an even share stays whole, and what it
leaves goes to the others. Every cut says so, with what is missing.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from indelible.redact.limits import MIN_PART_BYTES, TRUNCATED
from indelible.redact.plain import add
from indelible.redact.values import prefix

CUT_KEY: Final = "[TRUNCATED]"
_NOTE_BYTES: Final = 72
"""Room for the note that says what is missing."""
_LEAST_BYTES: Final = 48
"""A share smaller than this holds nothing worth keeping: whole members are left out then."""


def fit(value: Any, budget: int) -> Any:
    """Return `value` cut so that its compact JSON is at most `budget` bytes (at least `MIN_PART_BYTES`)."""
    cut = _fit(value, max(budget, MIN_PART_BYTES))
    if len(orjson.dumps(cut)) > max(budget, MIN_PART_BYTES):
        return f"{CUT_KEY} {len(orjson.dumps(value))} bytes"
    return cut


def _fit(value: Any, budget: int) -> Any:
    encoded = orjson.dumps(value)
    if len(encoded) <= budget:
        return value
    if isinstance(value, str):
        return _text(value, budget)
    if isinstance(value, dict):
        return _object(value, budget)
    if isinstance(value, list):
        return _array(value, budget)
    return f"{CUT_KEY} {len(encoded)} bytes"


def _text(value: str, budget: int) -> str:
    note = f"{TRUNCATED} {len(value)} chars"
    keep = max(0, budget - len(note) - 2)
    start = prefix(value, keep)
    while start and len(orjson.dumps(start)) > keep:
        start = start[: len(start) // 2]
    return start + note


def _level(sizes: list[int], budget: int) -> int:
    """Return the largest share such that members cut to it fit into the budget together."""
    left = budget
    ordered = sorted(sizes)
    for index, size in enumerate(ordered):
        share = left // (len(ordered) - index)
        if size > share:
            return share
        left -= size
    return budget


def _object(value: dict[str, Any], budget: int) -> dict[str, Any]:
    heads = [len(orjson.dumps(key)) + 2 for key in value]
    sizes = [head + len(orjson.dumps(item)) for head, item in zip(heads, value.values(), strict=True)]
    room = budget - _NOTE_BYTES
    share = max(_level(sizes, room), _LEAST_BYTES)
    result: dict[str, Any] = {}
    missing = missing_bytes = 0
    for (key, item), head, size in zip(value.items(), heads, sizes, strict=True):
        if size <= share and size <= room:
            result[key] = item
            room -= size
        elif share - head >= _LEAST_BYTES and share <= room:
            result[key] = new = _fit(item, share - head)
            room -= head + len(orjson.dumps(new))
        else:
            missing += 1
            missing_bytes += size
    if missing:
        add(result, CUT_KEY, f"{missing} members, {missing_bytes} bytes")
    return result


def _array(value: list[Any], budget: int) -> list[Any]:
    sizes = [len(orjson.dumps(item)) + 1 for item in value]
    room = budget - _NOTE_BYTES
    share = max(_level(sizes, room), _LEAST_BYTES)
    result: list[Any] = []
    for position, (item, size) in enumerate(zip(value, sizes, strict=True)):
        new = item if size <= share else _fit(item, share - 1)
        used = size if new is item else len(orjson.dumps(new)) + 1
        if used > room:
            rest = len(value) - position
            result.append(f"{CUT_KEY} {rest} items, {sum(sizes[position:])} bytes")
            break
        result.append(new)
        room -= used
    return result
