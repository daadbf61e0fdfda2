"""What a rule sees of an event. Pure.

An actor is the user; where nobody said who that is, the credential, then the address. What has none of them is one
actor that is not known. Denied means here what it means in a report (`indelible.query.report.scope.DENIED`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from indelible.formats.record import real, whole

if TYPE_CHECKING:
    from indelible.formats.record import Entry

OPERATION: Final = "mcp_operation"
REJECTED: Final = "auth_rejected"
CHANGED: Final = "tool_definition_changed"
DENIED_KINDS: Final = frozenset({"denied", "unauthenticated"})

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Subject(NamedTuple):
    """What a rule counts for itself: an actor, a tool, a session; nothing of it where it counts everything."""

    user_id: str | None = None
    auth_key_id: str | None = None
    client_ip: str | None = None
    session_id: str | None = None
    backend: str | None = None
    name: str | None = None
    """Of the tool, prompt or resource."""
    type: str | None = None

    def key(self) -> str:
        """Return a text by which this is told from every other one."""
        return "\x1f".join("" if part is None else f"+{part}" for part in self)


class _Rejected(msgspec.Struct):
    """The metadata of a refusal, as far as it is looked at."""

    count: int = 1


class Facts(NamedTuple):
    """An event, as far as rules look."""

    seq: int
    at: int
    """`recorded_at`, microseconds since the epoch."""
    entry: Entry
    is_call: bool
    is_error: bool
    denials: int
    """How often somebody said no: once to a call, and to as many requests as one `auth_rejected` stands for."""
    is_destructive: bool
    latency_us: int
    cost: int


def microseconds(text: str) -> int | None:
    """Return a time of the trail as microseconds since the epoch; None for what is none."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError, OverflowError):  # TypeError: it has no zone
        return None


def moment(at: int) -> str:
    """Return microseconds since the epoch as the trail has times."""
    return (_EPOCH + at * _MICROSECOND).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def facts(entry: Entry, at: int) -> Facts:
    """Return what rules see of an event that was recorded at a time."""
    outcome = entry.outcome
    is_call = entry.event_type == OPERATION
    kind = None if outcome is None else outcome.kind
    decision = None if entry.policy is None else entry.policy.decision
    latency = None if outcome is None else real(outcome.latency_ms)
    return Facts(
        entry.seq,
        at,
        entry,
        is_call,
        is_call and outcome is not None and outcome.status == "error",
        _denials(entry, is_denied=is_call and (kind in DENIED_KINDS or decision == "deny")),
        is_call and entry.target.effects == "destructive",
        0 if latency is None or not 0 <= latency < 1e12 else int(latency * 1000),
        max(0, whole(entry.cost.centicents) or 0),
    )


def _denials(entry: Entry, *, is_denied: bool) -> int:
    """Return how often an event says no: where too many requests were refused, one event has their number."""
    if entry.event_type != REJECTED:
        return int(is_denied)
    try:
        count = msgspec.json.decode(entry.metadata, type=_Rejected).count if bytes(entry.metadata) else 1
    except msgspec.DecodeError:
        return 1
    return count if 0 < count < 2**63 else 1


def actor(entry: Entry) -> Subject:
    """Return who called."""
    source = entry.source
    if source.user_id is not None:
        return Subject(user_id=source.user_id)
    if source.auth_key_id is not None:
        return Subject(auth_key_id=source.auth_key_id)
    return Subject(client_ip=source.client_ip)


def tool(entry: Entry) -> Subject:
    """Return what was called."""
    target = entry.target
    return Subject(backend=target.backend, name=target.capability_name, type=target.type)


def subject(entry: Entry, by: str) -> Subject:
    """Return what an event counts for."""
    if by == "actor":
        return actor(entry)
    if by == "tool":
        return tool(entry)
    if by == "backend":
        return Subject(backend=entry.target.backend)
    return Subject(session_id=entry.source.session_id) if by == "session" else Subject()
