"""How the values of a report are shown, in a terminal and on a page alike.

Whatever a caller chose is neutralised here: every invisible character is made visible.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from indelible.cli.text import neutralise
from indelible.query.report.sections import Column, Kind

NOBODY: Final = "(not named)"
"""Of a caller that no call names."""

CENTICENTS: Final = 10_000
"""Hundredths of a cent in one unit of a currency."""

RIGHT: Final[frozenset[Kind]] = frozenset(("count", "percent", "money", "ms", "seconds"))
"""What stands on the right of its column."""

BUCKETS: Final = {"hour": 16, "day": 10, "week": 10, "month": 7}
"""How much of a time tells which hour, day, week (by its Monday) or month it is."""


def shown(value: Any, column: Column, bucket: str = "hour") -> str:  # noqa: PLR0911 - one for each kind of value
    """Return a value as people read it, whole and neutralised."""
    if value is None:
        return NOBODY if column.name == "user_id" else ""
    match column.kind:
        case "text":
            return neutralise(str(value))
        case "time":
            return _time(value, 19)
        case "bucket":
            return _time(value, BUCKETS[bucket])
        case "count":
            return f"{value:,}" if column.name != "seq" else str(value)
        case "percent":
            return f"{value:.1f} %"
        case "money":
            return money(int(value))
        case "ms":
            return _latency(float(value))
        case "seconds":
            return duration(float(value))
        case "truth":
            return "yes" if value else "no"


def _time(value: Any, length: int) -> str:
    if not isinstance(value, datetime):
        return neutralise(str(value))
    return value.isoformat(" ")[:length]


def money(centicents: int) -> str:
    """Return hundredths of a cent in whole units, exactly: ``1,234.5678``."""
    return f"{Decimal(centicents) / CENTICENTS:,.4f}"


def _latency(milliseconds: float) -> str:
    return f"{milliseconds / 1000:,.2f} s" if abs(milliseconds) >= 10_000 else f"{milliseconds:.2f} ms"


def duration(seconds: float) -> str:
    """Return ``3 d 4 h``, ``2 h 5 min``, ``12 min``, ``3.4 s``: two units at the most."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    for word, long in (("d", 1440), ("h", 60)):
        if minutes >= long:
            smaller, size = ("h", 60) if word == "d" else ("min", 1)
            rest = minutes % long // size
            return f"{minutes // long:,} {word}" + (f" {rest} {smaller}" if rest else "")
    return f"{minutes} min"
