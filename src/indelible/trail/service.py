"""Events that the trail and its recorders make of themselves: what they hold is ours, and needs no redaction."""

from __future__ import annotations

from typing import Any

from indelible import events
from indelible.events import Event, EventType, RecorderId, Source
from indelible.trail.commit import Item, OwnWord
from indelible.trail.proofs.ownwords import KINDS


def service_event(
    recorder: RecorderId, timestamp: str, event_type: EventType, metadata: dict[str, Any]
) -> Item:
    """Return an event of `recorder`'s own; `metadata` must hold nothing that a caller chose."""
    event = Event(
        timestamp=timestamp,
        event_type=event_type,
        event_id=events.new_id(),
        source=Source(recorder=recorder),
        metadata=metadata,
    )
    return (OwnWord if event_type in KINDS else Item)(events.encode_body(event))
