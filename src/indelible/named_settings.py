"""Lists in a configuration of things that have a type and a name each: anchors, sinks. Pure.

A parser raises ValueError, whose text says what it expects; whoever has the key puts that in front of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from indelible.values import Parser, nearest, parse_duration, shown

MAX_TIMEOUT_S: Final = 300.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """Names its file beside the trail, and stands in `status`."""


T = TypeVar("T", bound=Named)


def parse_name(value: object) -> str:
    """Return a name that a file may have."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise ValueError("expected up to 64 letters, digits, '.', '_' and '-'")


def fitting_name(words: str, otherwise: str) -> str:
    """Return a name made of what something is called elsewhere, such as a host; `otherwise` when nothing is left."""
    fit = _UNFIT.sub("-", words).strip("-.")[:56]
    return fit if _NAME.fullmatch(fit) else otherwise


def parse_timeout(value: object) -> float:
    """Return how many seconds one attempt may take."""
    seconds = parse_duration(value)
    if not 0 < seconds <= MAX_TIMEOUT_S:
        raise ValueError(f"expected a duration above 0 and up to {MAX_TIMEOUT_S:g} s")
    return seconds


def parse_keys(given: Mapping[Any, Any], parsers: Mapping[str, Parser]) -> dict[str, Any]:
    """Return the values of a mapping, each parsed by its key's own parser; there are no other keys."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in parsers:
            raise ValueError(f"unknown key {shown(str(key))}{nearest(str(key), parsers)}")
        try:
            values[key] = parsers[key](value)
        except ValueError as exc:
            raise ValueError(f"{key}: {exc}") from None
    return values


def parse_list(value: object, what: str, most: int, parse: Callable[[object], T]) -> tuple[T, ...]:
    """Return what stands in a list, at most so many. Errors name one by its place; `what` is what one is called."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list of {what}s, each with a type")
    if len(value) > most:
        raise ValueError(f"expected at most {most} {what}s")
    found: list[T] = []
    for number, item in enumerate(value, 1):
        try:
            one = parse(item)
        except ValueError as exc:
            raise ValueError(f"{what} {number}: {exc}") from None
        if any(one.name.casefold() == other.name.casefold() for other in found):
            raise ValueError(
                f"{what} {number}: another one is called {one.name!r}, too; give each a 'name' of its own"
            )
        found.append(one)
    return tuple(found)
