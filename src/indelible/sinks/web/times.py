"""When an event happened, and when it was recorded, out of its line: formats write times in many ways. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from indelible.formats.times import epoch_us, event_time

if TYPE_CHECKING:
    from indelible.sinks.base import Shipment


class _Line(msgspec.Struct, gc=False):
    timestamp: str = ""
    recorded_at: str = ""


class Times(NamedTuple):
    """RFC 3339, UTC, microseconds; empty when nobody knows, as of an erased line."""

    event: str
    recorded: str

    @property
    def event_us(self) -> int:
        """Microseconds since 1970; 0 when nobody knows."""
        return epoch_us(self.event)

    @property
    def recorded_us(self) -> int:
        """Microseconds since 1970; 0 when nobody knows."""
        return epoch_us(self.recorded)


_decode = msgspec.json.Decoder(_Line).decode
NO_TIMES = Times("", "")


def of(shipment: Shipment) -> Times:
    """Return the times of an event."""
    try:
        line = _decode(shipment.line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NO_TIMES
    return Times(event_time(line), line.recorded_at)
