"""``mcpgw``: the access log of an MCP gateway: what came in, what was decided, what went out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.formats.record import OPERATIONS, Integer
from indelible.formats.shapes import JsonFormat, Proof, proof, status
from indelible.formats.times import event_time

if TYPE_CHECKING:
    from indelible.formats.record import Entry, Record

REFUSED: Final = frozenset({"denied", "unauthenticated"})


class McpgwEvent(msgspec.Struct, frozen=True, gc=False):
    """One record."""

    ts: str
    request_id: str | None
    session_id: str | None
    client_ip: str | None
    method: str | None
    tool: str | None
    upstream: str | None
    action: str
    rule_id: str | None
    bytes_in: Integer | None
    bytes_out: Integer | None
    status: str | None
    duration_ms: float | str | None
    auth_key_id: str | None
    indelible: Proof


class McpgwFormat(JsonFormat):
    """Nulls are written out."""

    holds = OPERATIONS

    def shape(self, record: Record) -> Any:
        """Return the record."""
        entry = record.entry
        source, target, outcome = entry.source, entry.target, entry.outcome
        return McpgwEvent(
            event_time(entry),
            entry.request.request_id,
            source.session_id,
            source.client_ip,
            target.method,
            target.capability_name,
            target.backend,
            action(entry),
            entry.policy.rule if entry.policy else None,
            entry.request.args_bytes,
            outcome.result_bytes if outcome else None,
            status(entry),
            outcome.latency_ms if outcome else None,
            source.auth_key_id,
            proof(record),
        )


def action(entry: Entry) -> str:
    """Return what was done about a call: refused by whomever, or what the policy decided; without one it went on."""
    if entry.outcome is not None and entry.outcome.kind in REFUSED:
        return "deny"
    policy = entry.policy
    return "allow" if policy is None or policy.decision == "n/a" else policy.decision
