"""Anything to JSON: what no encoder takes becomes something that every encoder takes, and nothing raises.

Callers in the same process may hand over whatever Python has: bytes, sets, cycles, lone surrogates, NaN,
objects. What `objects` knows no form of is known by its class's name alone.
"""

from __future__ import annotations

import math
from typing import Any, Final

from indelible.redact.limits import MAX_DEPTH, MAX_NODES
from indelible.redact.objects import NO_FORM, form_of

TOO_DEEP: Final = f"[TRUNCATED] deeper than {MAX_DEPTH} levels"
TOO_MANY: Final = "[TRUNCATED] too many values"
_MAX_INTEGER_BITS: Final = 4_096
"""Larger integers are named by their size; Python itself refuses to print much larger ones."""


class Plain:
    """One conversion; `replaced_surrogates` and `altered` say what had to be done."""

    def __init__(self) -> None:
        """Start with a full budget of values."""
        self.replaced_surrogates = False
        self.altered = False
        """Something had no JSON form of its own."""
        self._left = MAX_NODES

    def text(self, value: str) -> str:
        """Return a text that UTF-8 can encode, lone surrogates replaced by U+FFFD."""
        try:
            value.encode()
        except UnicodeEncodeError:
            self.replaced_surrogates = True
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value if type(value) is str else str.__str__(value)

    def convert(self, value: Any, depth: int = 0) -> Any:
        """Return `value` as dict, list, str, int, float, bool or None, nested at most `MAX_DEPTH` deep.

        What it is is its type's word: `isinstance` would ask a proxy for its ``__class__``, which may raise.
        """
        self._left -= 1
        if self._left < 0:
            self.altered = True
            return TOO_MANY
        if value is None or value is True or value is False:
            return value
        if issubclass(type(value), (dict, list, tuple, set, frozenset)):
            if depth < MAX_DEPTH:
                return self._container(value, depth + 1)
            self.altered = True
            return TOO_DEEP
        return self._scalar(value, depth)

    def _scalar(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if issubclass(kind, str):
            return self.text(value)
        if issubclass(kind, int):
            return self._integer(value)
        if issubclass(kind, float):
            return number(float.__float__(value))
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return self._bytes(value)
        self.altered = True
        form = form_of(value) if depth < MAX_DEPTH else NO_FORM
        if form is not NO_FORM:
            return self.convert(form, depth + 1)
        return f"[NOT JSON: {self.text(kind.__name__)}]"

    def _integer(self, value: int) -> int | str:
        plain = int.__int__(value)
        if plain.bit_length() > _MAX_INTEGER_BITS:
            self.altered = True
            return f"[INTEGER of {plain.bit_length()} bits]"
        return plain

    def _bytes(self, value: bytes | bytearray | memoryview) -> str:
        """Bytes that are UTF-8 are looked into as text; others are named by their size."""
        self.altered = True
        raw = bytes(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return f"[{len(raw)} BYTES]"

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            result: dict[str, Any] = {}
            for key, item in dict.items(value):
                if self._left < 0:
                    break
                add(result, self._key(key), self.convert(item, depth))
            return result
        if not isinstance(value, list):
            self.altered = self.altered or not isinstance(value, tuple)
        items = []
        for item in value:
            items.append(self.convert(item, depth))
            if self._left < 0:
                break
        return items

    def _key(self, key: object) -> str:
        if isinstance(key, str):
            return self.text(key)
        self.altered = True
        plain = self.convert(key, MAX_DEPTH - 1)
        return "null" if plain is None else str(plain)


def number(value: float) -> float | str:
    """Return a float as JSON has it: what is not finite becomes a text."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def add(result: dict[str, Any], key: str, value: Any) -> None:
    """Put a member into an object; a key that is there already is numbered, so that nothing is lost."""
    if key in result:
        # Starting from the size keeps this linear when thousands of keys become the same.
        count = len(result) + 1
        while f"{key} ({count})" in result:
            count += 1
        key = f"{key} ({count})"
    result[key] = value


def not_finite(value: object) -> bool:
    """Tell whether NaN or an infinity is anywhere in JSON-like data (encoders make them null)."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(not_finite, value.values()))
    return isinstance(value, list | tuple) and any(map(not_finite, value))
