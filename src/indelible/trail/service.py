"""Events that the trail and its recorders make of themselves: what they hold is ours, and needs no redaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from indelible import events
from indelible.events import Event, EventType, RecorderId, Source
from indelible.trail.commit import Item
from indelible.trail.proofs import ownwords

if TYPE_CHECKING:
    from indelible.trail.proofs.checkpoint import Signer


def service_event(
    recorder: RecorderId,
    timestamp: str,
    event_type: EventType,
    metadata: dict[str, Any],
    signer: Signer | None = None,
) -> Item:
    """Return an event of `recorder`'s own; `metadata` must hold nothing that a caller chose.

    With a `signer` it is signed, if it is of a kind that counts only so: who holds the trail has one.
    """
    event = Event(
        timestamp=timestamp,
        event_type=event_type,
        event_id=events.new_id(),
        source=Source(recorder=recorder),
        metadata=metadata,
    )
    body = events.encode_body(event)
    return Item(ownwords.sign(signer, body) if signer is not None and event_type in ownwords.KINDS else body)
