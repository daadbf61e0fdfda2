"""``argus``: the audit records of Argus MCP, as its ``AuditEvent`` has them.

Its model asks for text in `method` and `capability_name`, and a number in `latency_ms`: they are empty, and 0, when
nothing is known. An intent is an event of its own type, whose status is ``started``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.formats.record import OPERATIONS, real
from indelible.formats.shapes import JsonFormat, proof, status, with_stamp
from indelible.formats.times import event_time, with_offset

if TYPE_CHECKING:
    from indelible.formats.record import Entry, Record

METHODS: Final = {"tools/call": "call_tool", "resources/read": "read_resource", "prompts/get": "get_prompt"}
_BY_TYPE: Final = {"tool": "call_tool", "resource": "read_resource", "prompt": "get_prompt"}


class ArgusSource(msgspec.Struct, frozen=True, gc=False):
    """Identity and origin of the request."""

    session_id: str | None
    client_ip: str | None
    user_id: str | None


class ArgusTarget(msgspec.Struct, frozen=True, gc=False):
    """Where it went."""

    backend: str | None
    method: str
    capability_name: str
    original_name: str | None


class ArgusOutcome(msgspec.Struct, frozen=True, gc=False):
    """What became of it."""

    status: str | None
    latency_ms: float
    error: str | None = None
    error_type: str | None = None


class ArgusEvent(msgspec.Struct, frozen=True, gc=False):
    """One record."""

    timestamp: str
    event_type: str
    event_id: str
    source: ArgusSource
    target: ArgusTarget
    outcome: ArgusOutcome
    metadata: msgspec.Raw


class ArgusFormat(JsonFormat):
    """Nulls are written out, as its writer does."""

    holds = OPERATIONS

    def copied(self, record: Record) -> tuple[msgspec.Raw, ...]:
        """See `JsonFormat`."""
        return (record.entry.metadata,)

    def shape(self, record: Record) -> Any:
        """Return the record."""
        entry = record.entry
        source, target = entry.source, entry.target
        return ArgusEvent(
            with_offset(event_time(entry)),
            entry.event_type,
            entry.event_id,
            ArgusSource(source.session_id, source.client_ip, source.user_id),
            ArgusTarget(target.backend, _method(entry), target.capability_name or "", target.original_name),
            _outcome(entry),
            with_stamp(entry.metadata, proof(record)),
        )


def _method(entry: Entry) -> str:
    method = entry.target.method
    if method is None:
        return _BY_TYPE.get(entry.target.type or "", "")
    return METHODS.get(method, method)


def _outcome(entry: Entry) -> ArgusOutcome:
    found = entry.outcome
    if found is None:
        return ArgusOutcome(status(entry), 0.0)
    return ArgusOutcome(found.status, real(found.latency_ms) or 0.0, found.error, found.error_type)
