"""Settings of `redaction`: what is taken out beyond the built-in tables, and what stands in its place.

No I/O here. What the file says of strategies is checked against the classes, keys and patterns that there are, so that
a word that means nothing is an error and never a secret that stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from indelible.endpoints import Endpoint
from indelible.values import nearest, parse_text_map, shown

UnknownSchema = Literal["digest", "keep"]
Strategy = Literal["full", "partial", "hash", "tokenize", "drop", "keep"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)

CLASSES: Final = ("EMAIL", "CARD", "IBAN", "PHONE", "SSN", "TOKEN")
"""Classes of values that have a marker of their own, and may have a strategy."""

_NEVER_KEPT: Final[Mapping[str, str]] = {
    "CARD": "a card's number is never kept readable (PCI DSS 3.5)",
    "TOKEN": "a token opens doors to whoever reads the trail; name the one key that is none: key:NAME",
    "key": "that would switch off all names of keys; name one: key:NAME",
    "mark": "what a schema marks is never kept; take the mark out of the schema",
}
_KEY: Final = re.compile(r"key:\s*(\S.{0,199})").fullmatch


class RedactionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken out beyond the built-in tables."""

    keys: tuple[str, ...] = ()
    """Further sensitive words or pairs of words in key names."""
    allow_keys: tuple[str, ...] = ()
    """Whole keys that are never sensitive by name."""
    patterns: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Name of the replacement (``EMPLOYEE`` gives ``[EMPLOYEE]``) to an RE2 pattern."""
    strategies: Mapping[str, Strategy] = msgspec.field(default_factory=dict)
    """What is found (`CLASSES`, a pattern's name, ``key``, ``key:NAME``, ``mark``) to what becomes of it; else full."""
    unknown_schema: UnknownSchema = "digest"
    """What happens to the string arguments of a tool that no server has listed yet."""
    schemas: tuple[str, ...] = ()
    """Patterns of the names of endpoint files in MXCP's format."""
    endpoints: tuple[Endpoint, ...] = ()
    """What these files say."""

    @property
    def kept_keys(self) -> tuple[str, ...]:
        """The keys whose names hide nothing: what is allowed, and what a strategy keeps."""
        names = (
            name[4:] for name, strategy in self.strategies.items() if strategy == "keep" and name[:4] == "key:"
        )
        return (*self.allow_keys, *names)

    @property
    def kept_classes(self) -> frozenset[str]:
        """The classes of values that are not looked for."""
        return frozenset(name for name in CLASSES if self.strategies.get(name) == "keep")


def parse_strategies(value: object) -> dict[str, Strategy]:
    """Return a mapping of names to strategies; `check_strategies` looks at the names."""
    found: dict[str, Strategy] = {}
    for name, word in parse_text_map(value).items():
        known = next((strategy for strategy in STRATEGIES if strategy == word), None)
        if known is None:
            raise ValueError(f"{name}: expected one of {', '.join(STRATEGIES)}{nearest(word, STRATEGIES)}")
        key = _KEY(name)
        found[f"key:{key[1].strip()}" if key else name] = known
    return found


def check_strategies(settings: RedactionSettings) -> None:
    """Raise ValueError, one line, for a name that means nothing, or a strategy that it may not have."""
    names = (*CLASSES, "key", "mark", *settings.patterns)
    for name, strategy in settings.strategies.items():
        if name not in names and not _KEY(name):
            raise ValueError(f"{shown(name)} is no class, pattern, key:NAME, key or mark{nearest(name, names)}")
        if strategy == "keep" and name in settings.patterns:
            raise ValueError(f"{name}: keep: leave the pattern out instead")
        if strategy == "keep" and name in _NEVER_KEPT:
            raise ValueError(f"{name}: keep: {_NEVER_KEPT[name]}")
        if strategy == "partial" and name == "SSN":
            raise ValueError("SSN: partial: it is too short for a part of it to be shown")
