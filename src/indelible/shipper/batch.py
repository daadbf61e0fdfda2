"""What a sink is sent at once: chosen and rendered; and what came back as refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.formats.record import Entry, NoEntryError, Record
from indelible.sinks.base import Delivery, Shipment
from indelible.trail.shipping.letters import Letter, letter

if TYPE_CHECKING:
    from indelible.shipper.feed import Piece

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


class Renderer(NamedTuple):
    """Which events a sink gets, and as what."""

    sink: str
    format: str
    wanted: Callable[[Entry], bool]
    render: Callable[[Record], bytes]

    def batch(self, piece: Piece, origin: str) -> Batch:
        """Choose and render. What has no record is refused here, so that it holds up nothing."""
        shipments: list[Shipment] = []
        unfit: list[Letter] = []
        wanted, render = self.wanted, self.render
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
                shipments.append(Shipment(render(record), seq, entry.event_id, _key(entry)))
            except Exception as exc:  # noqa: BLE001 - another package's format may raise anything
                why = f"{self.format}: {type(exc).__name__}: {exc}"
                unfit.append(letter(self.sink, origin, seq, entry.event_id, why, b""))
        return Batch(shipments, unfit, piece.next)


def fault(exc: BaseException) -> str:
    """Return what is said of an exception that nobody foresaw: its class, and where it was raised.

    Not its text: that may quote an event, and what stands in a state or a log is out of an erasure's reach. The reasons
    of dead letters, which an erasure knows, have it.
    """
    last = exc.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = "" if last is None else f" ({Path(last.tb_frame.f_code.co_filename).name}, line {last.tb_lineno})"
    return f"{type(exc).__name__}{where}"


def _key(entry: Entry) -> str:
    """Return what a destination keeps in order: the events of one session, or of one call."""
    return entry.source.session_id or entry.request.request_id or ""


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
