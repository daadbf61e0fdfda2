"""Who ships, and how much is kept for a sink that does not take it. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from indelible.sink_settings.parts import mapping_of
from indelible.values import DAY_S, one_of, parse_duration_or_none, parse_size

Ship = Literal["process", "thread", "off"]


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """How much the trail keeps for a sink that has not taken it; None: without a bound."""

    size: int | None = 10 << 30
    """Bytes on the disk."""
    age: float | None = 7 * DAY_S
    """Seconds since it was recorded."""


def parse_ship(value: object) -> str:
    """Return who ships; ``off`` without quotes is false in YAML 1.1."""
    return one_of("process", "thread", "off")("off" if value is False else value)


def parse_backlog(value: object) -> Backlog:
    """Return the bounds of ``{size: 10GB, age: 7d}``; what is left out keeps its default, ``none`` is no bound."""
    given = mapping_of({"size": _size_or_none, "age": parse_duration_or_none})(value)
    return Backlog(**given)


def _size_or_none(value: object) -> int | None:
    return None if value is None or value == "none" else parse_size(value)
