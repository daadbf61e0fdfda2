"""``mxcp``: the audit log of MXCP, as its documentation has it and its ``LogEvent`` wrote it.

Compact, so that the documentation's own ``grep '"policy_decision":"deny"'`` finds what it is to find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from indelible.formats.record import OPERATIONS, whole
from indelible.formats.shapes import JsonFormat, Proof, arguments, proof, status
from indelible.formats.times import event_time, milliseconds

if TYPE_CHECKING:
    from indelible.formats.record import Record


class MxcpEvent(msgspec.Struct, frozen=True, gc=False):
    """One record."""

    timestamp: str
    caller: str | None
    type: str | None
    name: str | None
    input_json: str
    duration_ms: int | None
    policy_decision: str
    reason: str | None
    status: str | None
    error: str | None
    indelible: Proof


class MxcpFormat(JsonFormat):
    """Nulls are written out, as its writer does."""

    holds = OPERATIONS

    def shape(self, record: Record) -> Any:
        """Return the record."""
        entry = record.entry
        target, outcome, policy = entry.target, entry.outcome, entry.policy
        return MxcpEvent(
            milliseconds(event_time(entry)),
            entry.source.caller,
            target.type,
            target.capability_name,
            bytes(arguments(entry)).decode(),
            None if outcome is None else whole(outcome.latency_ms),
            "n/a" if policy is None else policy.decision,
            None if policy is None else policy.reason,
            status(entry),
            None if outcome is None else outcome.error,
            proof(record),
        )
