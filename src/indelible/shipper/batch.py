"""What a sink is sent at once: chosen and rendered; and what came back as refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from indelible.errors import FOREIGN
from indelible.formats.indelible import IndelibleFormat
from indelible.formats.record import Head, NoEntryError, Record, RequestHead, read_heads
from indelible.shipper.choice import choice
from indelible.shipper.feed import Piece
from indelible.sinks.base import Delivery, Shipment
from indelible.trail.shipping.letters import Letter, letter

if TYPE_CHECKING:
    from indelible.formats.record import Format
    from indelible.shipper.choice import Check
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


KEYS: Final[dict[str | None, Callable[[Any], str | None]]] = {
    None: lambda entry: entry.source.session_id or entry.request.request_id,
    "session_id": lambda entry: entry.source.session_id,
    "auth_key_id": lambda entry: entry.source.auth_key_id,
    "tool_name": lambda entry: entry.target.capability_name if entry.target.type == "tool" else None,
    "method": lambda entry: entry.target.method,
    "request_id": lambda entry: entry.request.request_id,
}
"""What a destination with partitions may be asked to keep in order: `partition_key` → what an event has of it."""

HEADS: Final[dict[str | None, type[Head]]] = {
    None: RequestHead,
    "session_id": Head,
    "request_id": RequestHead,
}
"""Those that a line's head has, too: `partition_key` → which head."""


class Renderer:
    """Which events a sink gets, and as what.

    A line that is shipped as it stands is read no further than its choice needs.
    """

    def __init__(self, settings: SinkSettings, made: Format, only: Check | None = None) -> None:
        """`made` is what `settings.format` names; `only` is asked of an event, too."""
        self._sink = settings.name
        self._format = settings.format
        self._choice = choice(settings, made.holds, only)
        self._render = made.render
        named = getattr(settings.own, "partition_key", None)
        self._key = KEYS[named]
        self._heads_do = isinstance(made, IndelibleFormat) and not self._choice.by_values and named in HEADS
        self._head = HEADS.get(named, RequestHead)

    def batch(self, piece: Piece, origin: str) -> Batch:
        """Choose and render. What has no record is refused here, so that it holds up nothing."""
        unfit: list[Letter] = []
        shipments = self._as_they_stand(piece.lines, origin) if self._heads_do else None
        if shipments is None:
            each = (self._one(seq, line, origin, unfit) for seq, line in piece.lines)
            shipments = [shipment for shipment in each if shipment is not None]
        return Batch(shipments, unfit, piece.next)

    def again(self, dead: Letter, line: bytes | None) -> Shipment | None:
        """Return what there is to ship of a dead letter; `line` is its event's, None where that is there no more.

        What was refused is sent as it was; what could not be rendered then is rendered now. Where the line is gone,
        nobody knows what kept the record in order.
        """
        if line is None:
            return Shipment(dead.data, dead.seq, dead.event_id, origin=dead.origin) if dead.data else None
        if not dead.data:
            found = self.batch(Piece([(dead.seq, line)], dead.seq + 1, []), dead.origin).shipments
            return found[0] if found else None
        try:
            entry = Record(line, dead.origin).entry
        except NoEntryError:
            return Shipment(dead.data, dead.seq, dead.event_id, origin=dead.origin, line=line)
        return Shipment(
            dead.data, dead.seq, dead.event_id, self._key(entry) or "", dead.origin, entry.schema, line
        )

    def _as_they_stand(self, lines: list[tuple[int, bytes]], origin: str) -> list[Shipment] | None:
        """Return what there is to ship of lines that are not rendered; None when one of them has to be read whole."""
        heads = read_heads([line for _, line in lines], self._head)
        if heads is None:
            return None
        of_type, key = self._choice.of_type, self._key
        return [
            Shipment(line, seq, head.event_id, key(head) or "", origin, head.schema, line)
            for (seq, line), head in zip(lines, heads, strict=True)
            if of_type(head.event_type)
        ]

    def _one(self, seq: int, line: bytes, origin: str, unfit: list[Letter]) -> Shipment | None:
        """Return what there is to ship of a line; what has no record is added to the unfit."""
        if self._heads_do and (found := self._as_they_stand([(seq, line)], origin)) is not None:
            return found[0] if found else None
        try:
            record = Record(line, origin)
        except NoEntryError as exc:
            unfit.append(letter(self._sink, origin, seq, "", str(exc), b""))
            return None
        entry = record.entry
        if not self._choice.has(entry):
            return None
        try:
            key = self._key(entry) or ""
            rendered = self._render(record)
            if not isinstance(rendered, bytes):
                raise TypeError(f"its record is {type(rendered).__name__}, not bytes")
            return Shipment(rendered, seq, entry.event_id, key, origin, entry.schema, line)
        except FOREIGN as exc:  # of another package's format
            why = f"{self._format}: {type(exc).__name__}: {exc}"
            unfit.append(letter(self._sink, origin, seq, entry.event_id, why, b""))
            return None


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
