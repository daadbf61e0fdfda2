"""What a sink is sent at once: chosen and rendered; and what came back as refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.formats.record import Entry, NoEntryError, Record
from indelible.sinks.base import Delivery, Shipment
from indelible.trail.shipping.letters import Letter, letter

if TYPE_CHECKING:
    from indelible.shipper.feed import Piece
    from indelible.sink_settings import SinkSettings

BATCH_EVENTS: Final = 4000
BATCH_BYTES: Final = 1 << 21
"""Of the trail's lines: a batch in memory is this, and what a format makes of it."""


class Batch(NamedTuple):
    """What is sent at once."""

    shipments: list[Shipment]
    unfit: list[Letter]
    """What has no record: it cannot be rendered."""
    next: int
    """Where the cursor stands when all of it was taken."""


def _session_or_call(entry: Entry) -> str:
    return entry.source.session_id or entry.request.request_id or ""


class Renderer(NamedTuple):
    """Which events a sink gets, and as what."""

    sink: str
    format: str
    wanted: Callable[[Entry], bool]
    render: Callable[[Record], bytes]
    key: Callable[[Entry], str] = _session_or_call
    """What a destination with partitions keeps in order."""

    def batch(self, piece: Piece, origin: str) -> Batch:
        """Choose and render. What has no record is refused here, so that it holds up nothing."""
        shipments: list[Shipment] = []
        unfit: list[Letter] = []
        wanted, render, key = self.wanted, self.render, self.key
        for seq, line in piece.lines:
            try:
                record = Record(line, origin)
            except NoEntryError as exc:
                unfit.append(letter(self.sink, origin, seq, "", str(exc), b""))
                continue
            entry = record.entry
            if not wanted(entry):
                continue
            try:
                shipments.append(
                    Shipment(render(record), seq, entry.event_id, key(entry), origin, entry.schema)
                )
            except Exception as exc:  # noqa: BLE001 - another package's format may raise anything
                why = f"{self.format}: {type(exc).__name__}: {exc}"
                unfit.append(letter(self.sink, origin, seq, entry.event_id, why, b""))
        return Batch(shipments, unfit, piece.next)


_KEYS: Final[dict[str, Callable[[Entry], str | None]]] = {
    "session_id": lambda entry: entry.source.session_id,
    "auth_key_id": lambda entry: entry.source.auth_key_id,
    "tool_name": lambda entry: entry.target.capability_name if entry.target.type == "tool" else None,
    "method": lambda entry: entry.target.method,
    "request_id": lambda entry: entry.request.request_id,
}
"""What a destination with partitions may be asked to keep in order."""


def key_of(settings: SinkSettings) -> Callable[[Entry], str]:
    """Return what tells a destination which events to keep in order; those of one session, unless its settings say."""
    named = getattr(settings.own, "partition_key", None)
    if named is None:
        return _session_or_call
    key = _KEYS[named]
    return lambda entry: key(entry) or ""


def accepted(delivery: Delivery, count: int) -> int:
    """Return how many of so many were taken, whatever a sink says."""
    return min(max(delivery.taken, 0), count)


def refusals(sink: str, origin: str, shipments: Sequence[Shipment], delivery: Delivery) -> Iterator[Letter]:
    """Yield the dead letters of what a destination refused for good."""
    taken = accepted(delivery, len(shipments))
    seen = set()
    for index, why in delivery.refused:
        if 0 <= index < taken and index not in seen:
            seen.add(index)
            one = shipments[index]
            yield letter(sink, origin, one.seq, one.event_id, str(why) or "refused", one.record)
