"""The event's own time, in the forms that formats write it. Pure: no clock is read here.

The time of an event is when its call was received (`timestamp`). A recorder may say something there that is no time;
then it is `recorded_at`, the writer's own. An erased line has neither.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from indelible.formats.record import Entry

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NO_TIME: Final = ""
"""Of a line that was erased."""

_SECONDS: Final = len("2026-11-21T05:38:34")
_MILLISECONDS: Final = len("2026-11-21T05:38:34.123")
_canonical = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII).fullmatch


def event_time(entry: Entry) -> str:
    """Return when it happened: RFC 3339, UTC, microseconds, ``Z``, 27 characters; `NO_TIME` when nobody says so."""
    said = entry.timestamp
    if _canonical(said) and _second(said[:_SECONDS]) is not None:
        return said
    return _canonized(said) or _canonized(entry.recorded_at)


def event_us(entry: Entry) -> int:
    """Return microseconds since 1970 of what `event_time` returns; 0 for `NO_TIME`."""
    said = entry.timestamp
    if _canonical(said) and (second := _second(said[:_SECONDS])) is not None:
        return second * 1_000_000 + int(said[_SECONDS + 1 : -1])
    return epoch_us(event_time(entry))


def milliseconds(time: str) -> str:
    """Return what `event_time` returned with three digits after the second, cut and not rounded."""
    return time[:_MILLISECONDS] + "Z"


def with_offset(time: str) -> str:
    """Return what `event_time` returned with ``+00:00`` for ``Z``, as Python's own `isoformat` writes UTC."""
    return time[:-1] + "+00:00"


def epoch_us(time: str) -> int:
    """Return microseconds since 1970 of what `event_time` returned; 0 for `NO_TIME`, and for what is no time."""
    if not _canonical(time):
        return 0
    return (_second(time[:_SECONDS]) or 0) * 1_000_000 + int(time[_SECONDS + 1 : -1])


@lru_cache(maxsize=64)
def _second(text: str) -> int | None:
    """Return seconds since 1970; events come by the thousand in one."""
    try:
        return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(seconds=1)
    except ValueError:
        return None


def _canonized(said: str) -> str:
    try:
        moment = datetime.fromisoformat(said)
        if moment.tzinfo is None:
            return NO_TIME
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    except (ValueError, OverflowError):
        return NO_TIME
