"""``hangar`` (= ``jsonlines``, ``json-lines``): the JSON lines of MCP Hangar's compliance export.

A key of which nothing is known is left out, as its writer does; a cost of 0 is known. Its `cost_cents` are hundredths
of a cent. What is no call has the keys that make sense of it: the phases of a server, the `metadata` of an alert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from indelible.formats.names import naming
from indelible.formats.record import ABSENT, OPERATIONS, Integer
from indelible.formats.shapes import JsonFormat, Proof, proof, roles, status
from indelible.formats.times import event_time, with_offset

if TYPE_CHECKING:
    from indelible.formats.record import Entry, Record


class HangarEvent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One record."""

    timestamp: str | None = None
    event_type: str = ""
    provider_id: str | None = None
    """The legacy name of the next one."""
    mcp_server_id: str | None = None
    tool_name: str | None = None
    status: str | None = None
    duration_ms: float | str | None = None
    caller_type: str | None = None
    caller_id: str | None = None
    caller_roles: str | None = None
    cost_cents: Integer | None = None
    cost_model: str | None = None
    cost_input_tokens: Integer | None = None
    cost_output_tokens: Integer | None = None
    kind: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    tenant_id: str | None = None
    error_type: str | None = None
    error: str | None = None
    policy_decision: str | None = None
    policy_rule: str | None = None
    from_state: str | None = None
    to_state: str | None = None
    reason: str | None = None
    metadata: msgspec.Raw = ABSENT
    indelible: Proof | None = None


class HangarFormat(JsonFormat):
    """Holds every event."""

    def shape(self, record: Record) -> Any:
        """Return the record."""
        entry = record.entry
        source, cost, outcome = entry.source, entry.cost, entry.outcome
        policy, state = entry.policy, entry.state
        time = event_time(entry)
        return HangarEvent(
            with_offset(time) if time else None,
            naming(entry).hangar,
            entry.target.backend,
            entry.target.backend,
            entry.target.capability_name,
            status(entry),
            outcome.latency_ms if outcome else None,
            source.caller_type,
            source.user_id,
            roles(entry),
            cost.centicents,
            cost.model,
            cost.input_tokens,
            cost.output_tokens,
            outcome.kind if outcome else None,
            source.user_id,
            source.session_id,
            source.tenant,
            outcome.error_type if outcome else None,
            outcome.error if outcome else None,
            policy.decision if policy else None,
            policy.rule if policy else None,
            state.from_ if state else None,
            state.to if state else None,
            _reason(entry),
            ABSENT if entry.event_type in OPERATIONS else entry.metadata,
            proof(record),
        )


def _reason(entry: Entry) -> str | None:
    if entry.state is not None:
        return entry.state.reason
    return None if entry.policy is None else entry.policy.reason
