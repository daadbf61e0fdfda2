"""Parts of an event that are the same again and again: redacted and encoded once, then remembered by value.

Targets, policies and changes of state take few values in a process. Whoever makes a new value for every call
(a reason with a number in it) pays for the redaction each time, and never for more memory than the bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from indelible.redact import fields
from indelible.redact.limits import MAX_NAME_CHARS, NAME_CACHE

_encode: Final = msgspec.json.Encoder().encode


class Parts:
    """The redacted form of one kind of part; safe to use from several threads."""

    __slots__ = ("_defaults", "_kind", "_known", "_rules")

    def __init__(self, kind: type[Any], rules: Mapping[str, fields.Rule], **defaults: Any) -> None:
        """Redact by `rules`; `defaults` stand where an event lacks a word that every such part has."""
        self._kind = kind
        self._rules = rules
        self._defaults = defaults
        self._known: dict[Any, msgspec.Raw] = {}

    def known(self, part: Any) -> msgspec.Raw | None:
        """Return what stands for a part that was redacted before, else None."""
        try:
            return self._known.get(part)
        except TypeError:  # not hashable: nothing that a capture makes
            return None

    def redacted(self, part: Any, room: fields.Room) -> Any:
        """Return what stands for `part` in the line, encoded."""
        try:
            known = self._known.get(part)
        except TypeError:  # not hashable: nothing that a capture makes
            return self._kind(**{**self._defaults, **fields.apply(room, part, self._rules)})
        if known is None:
            known = msgspec.Raw(
                _encode(self._kind(**{**self._defaults, **fields.apply(room, part, self._rules)}))
            )
            if not room.replaced_surrogates and self._small(part):
                if len(self._known) >= NAME_CACHE:
                    self._known.clear()
                self._known[part] = known
        return known

    def _small(self, part: Any) -> bool:
        values = (getattr(part, name, None) for name in self._rules)
        return all(value is None or (type(value) is str and len(value) <= MAX_NAME_CHARS) for value in values)
