"""JSON inside a text: where it may begin, and how it is read."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from indelible.redact.plain import Plain

NOTHING: Final = object()
SPACES: Final = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What a reader may strip before it parses, lenient ones too: Unicode's White_Space, and the byte order mark."""
STARTS: Final = frozenset('{["' + SPACES)
"""What JSON may begin with, of those values that can hold a text."""


def parse(text: str) -> Any:
    """Parse JSON as leniently as any server may (NaN, lone surrogates); `NOTHING` when it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    if text[-1] not in '}]"':
        return NOTHING
    try:
        return Plain().convert(json.loads(text))
    except (ValueError, RecursionError):
        return NOTHING


def dumped(value: Any, *, sort: bool = False) -> str:
    """Return the text of a JSON value, as compact as it can be."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort else None).decode()
    except TypeError:  # numbers of more than 64 bits
        return json.dumps(value, sort_keys=sort, separators=(",", ":"), ensure_ascii=False)


def has_duplicates(text: str) -> bool:
    """Tell whether an object in JSON text has a key twice: only one of the values was looked at."""
    found = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        result = dict(items)
        found = found or len(result) != len(items)
        return result

    try:
        json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return True
    return found
