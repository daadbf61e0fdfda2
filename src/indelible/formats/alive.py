"""``alive``: records of the shape that small servers write themselves: who, what, with what, and how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.formats.record import OPERATIONS, whole
from indelible.formats.shapes import JsonFormat, Proof, arguments, proof, status
from indelible.formats.times import event_time, milliseconds

if TYPE_CHECKING:
    from indelible.formats.record import Record

ANONYMOUS: Final = "anonymous"
UNKNOWN_IP: Final = "unknown"

_OUTCOMES: Final = {"success": "ok"}


class AliveActor(msgspec.Struct, frozen=True, gc=False):
    """Who called."""

    id: str
    ip: str


class AliveEvent(msgspec.Struct, frozen=True, gc=False):
    """One record."""

    timestamp: str
    request_id: str | None = msgspec.field(name="requestId")
    actor: AliveActor
    tool: str | None
    args: msgspec.Raw
    outcome: str | None
    error: str | None
    duration_ms: int | None = msgspec.field(name="durationMs")
    server_version: str | None = msgspec.field(name="serverVersion")
    indelible: Proof


class AliveFormat(JsonFormat):
    """Nulls are written out."""

    holds = OPERATIONS

    def copied(self, record: Record) -> tuple[msgspec.Raw, ...]:
        """See `JsonFormat`."""
        return (record.entry.request.args,)

    def shape(self, record: Record) -> Any:
        """Return the record."""
        entry = record.entry
        source, target, outcome = entry.source, entry.target, entry.outcome
        said = status(entry) or ""
        return AliveEvent(
            milliseconds(event_time(entry)),
            entry.request.request_id,
            AliveActor(source.user_id or ANONYMOUS, source.client_ip or UNKNOWN_IP),
            target.capability_name,
            arguments(entry),
            _OUTCOMES.get(said, said),
            None if outcome is None else outcome.error,
            None if outcome is None else whole(outcome.latency_ms),
            target.server_version,
            proof(record),
        )
