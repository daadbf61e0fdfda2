"""How much of a call's arguments and result is recorded, by what the call is of.

The most specific pattern counts: an exact name before one with ``*``; of these the one with more characters beside the
``*``; of equals the one that names the backend, then the stricter one. Both names of a tool count, the one that clients
know and the one behind it; whichever matches more specifically.
"""

from __future__ import annotations

from typing import Final

from indelible.config import RecordMode, RecordRules
from indelible.events import Target
from indelible.redact.limits import NAME_CACHE

STRICTER: Final[dict[RecordMode, int]] = {"full": 0, "digest": 1, "none": 2}


class Modes:
    """The modes of one kind of payload; safe to use from several threads."""

    def __init__(self, rules: RecordMode | RecordRules) -> None:
        """Compile the patterns: ``*`` is the only sign with a meaning of its own."""
        made = rules if isinstance(rules, RecordRules) else RecordRules(default=rules)
        self.default: RecordMode = made.default
        ordered = sorted(made.tools.items(), key=lambda rule: _rank(*rule), reverse=True)
        self._rules = [(pattern.split("*"), mode) for pattern, mode in ordered]
        self._known: dict[tuple[object, object, object], RecordMode] = {}

    def of(self, target: Target | None) -> RecordMode:
        """Return the mode of a call. What is no tool has the default."""
        if not self._rules or target is None or (target.type != "tool" and target.method != "tools/call"):
            return self.default
        key = (target.backend, target.capability_name, target.original_name)
        try:
            mode = self._known.get(key)
            if mode is None:
                mode = self._search(target)
                if len(self._known) >= NAME_CACHE:
                    self._known.clear()
                self._known[key] = mode
        except TypeError:  # a name that is no text: nobody wrote a rule for it, so the strictest holds
            return max((self.default, *(mode for _, mode in self._rules)), key=STRICTER.__getitem__)
        return mode

    def _search(self, target: Target) -> RecordMode:
        names = [name for name in (target.capability_name, target.original_name) if name is not None]
        full = [f"{target.backend or ''}/{name}" for name in names]
        for pattern, mode in self._rules:
            if any(_matches(pattern, name) for name in (*full, *names)):
                return mode
        return self.default


def _rank(pattern: str, mode: RecordMode) -> tuple[bool, int, bool, int]:
    return "*" not in pattern, len(pattern.replace("*", "")), "/" in pattern, STRICTER[mode]


def _matches(parts: list[str], name: str) -> bool:
    """Tell whether a name is these parts in a row, anything between; in linear time: names are anybody's."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return name == first
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in parts[1:-1]:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
