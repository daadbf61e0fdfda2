"""``ocsf``: the Open Cybersecurity Schema Framework 1.8.0.

What somebody asked of a server is API Activity (class 6003), activity 99 "Invoke", with the profiles `ai_operation` and
`trace`: OCSF has no class for MCP, and this is what its maintainers advise. What the trail says of itself, and of
servers, is a Base Event (class 0). The schema lets no key of ours stand at the top: what has no attribute is in
`unmapped`, whose last key is `indelible`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.formats.addresses import ip_version
from indelible.formats.names import naming
from indelible.formats.record import ABSENT, whole
from indelible.formats.shapes import JsonFormat, Proof, proof
from indelible.formats.times import epoch_us, event_us

if TYPE_CHECKING:
    from indelible.formats.names import Naming
    from indelible.formats.record import Entry, Options, Record

VERSION: Final = "1.8.0"
PROFILES: Final = ["ai_operation", "trace"]
CATEGORY_UID: Final = 6
CLASS_UID: Final = 6003
INVOKE: Final = 99
"""`activity_id` Other, which `activity_name` names."""

API_EVENTS: Final = frozenset(
    {"mcp_operation", "mcp_operation_started", "sampling", "elicitation", "auth_rejected"}
)

SEVERITIES: Final = ("Unknown", "Informational", "Low", "Medium", "High", "Critical")
VALUES: Final = frozenset(
    {"request.data", "response.data", "error_message", "status_detail", "unmapped.reason", "unmapped.metadata"}
)
"""What may be cut: its own `metadata` is no value of anybody's."""

_STATUSES: Final = {"success": (1, "Success"), "error": (2, "Failure")}
_UNKNOWN: Final = (0, "Unknown")
_TRACE = re.compile(r"[0-9a-f]{32}")


class _Part(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is not known is left out."""


class Product(_Part, frozen=True, gc=False):
    """Object `product`."""

    name: str
    vendor_name: str
    version: str = ""


class Metadata(_Part, frozen=True, gc=False):
    """Object `metadata`."""

    version: str
    product: Product
    profiles: list[str] | None = None
    uid: str | None = None
    event_code: str | None = None
    sequence: int | None = None
    correlation_uid: str | None = None
    tenant_uid: str | None = None
    logged_time: int | None = None
    log_name: str | None = None


class Named(_Part, frozen=True, gc=False):
    """An object of which `uid`, `name` or `version` is known."""

    name: str | None = None
    uid: str | None = None
    version: str | None = None


class User(_Part, frozen=True, gc=False):
    """Object `user`."""

    uid: str
    groups: list[Named] | None = None
    type: str | None = None
    credential_uid: str | None = None


class Session(_Part, frozen=True, gc=False):
    """Object `session`."""

    uid: str
    issuer: str | None = None


class Actor(_Part, frozen=True, gc=False):
    """Object `actor`."""

    user: User | None = None
    session: Session | None = None
    app_name: str | None = None
    invoked_by: str | None = None


class Asked(_Part, frozen=True, gc=False):
    """Object `request`."""

    uid: str
    data: msgspec.Raw = ABSENT


class Answered(_Part, frozen=True, gc=False):
    """Object `response`."""

    code: int | None = None
    error: str | None = None
    error_message: str | None = None
    data: msgspec.Raw = ABSENT


class Api(_Part, frozen=True, gc=False):
    """Object `api`."""

    operation: str
    request: Asked
    response: Answered | None = None
    service: Named | None = None
    version: str | None = None


class Endpoint(_Part, frozen=True, gc=False):
    """Object `network_endpoint`."""

    ip: str | None = None
    name: str | None = None


class Span(_Part, frozen=True, gc=False):
    """Object `span`."""

    uid: str
    start_time: int
    end_time: int


class Trace(_Part, frozen=True, gc=False):
    """Object `trace`."""

    uid: str
    span: Span | None = None


class Application(_Part, frozen=True, gc=False):
    """Object `application`."""

    name: str


class MessageContext(_Part, frozen=True, gc=False):
    """Object `message_context`."""

    application: Application
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Unmapped(_Part, frozen=True, gc=False):
    """What OCSF has no attribute for."""

    name: str | None = None
    effects: str | None = None
    decision: str | None = None
    rule: str | None = None
    reason: str | None = None
    state_from: str | None = None
    state_to: str | None = None
    metadata: msgspec.Raw = ABSENT
    indelible: Proof | None = None


class OcsfEvent(_Part, frozen=True, gc=False, kw_only=True):
    """One record."""

    activity_id: int
    activity_name: str
    category_uid: int
    category_name: str
    class_uid: int
    class_name: str
    type_uid: int
    type_name: str
    time: int
    severity_id: int
    severity: str
    status_id: int | None = None
    status: str | None = None
    status_code: str | None = None
    status_detail: str | None = None
    duration: int | None = None
    message: str
    metadata: Metadata
    actor: Actor | None = None
    api: Api | None = None
    src_endpoint: Endpoint | None = None
    trace: Trace | None = None
    message_context: MessageContext | None = None
    unmapped: Unmapped


class OcsfFormat(JsonFormat):
    """Holds every event."""

    values = VALUES

    def __init__(self, options: Options) -> None:
        """Keep what is set."""
        super().__init__(options)
        self._product = Product(options.product, options.vendor, options.version)

    def copied(self, record: Record) -> tuple[msgspec.Raw, ...]:
        """See `JsonFormat`."""
        entry, outcome = record.entry, record.entry.outcome
        return (entry.request.args, ABSENT if outcome is None else outcome.result, entry.metadata)

    def shape(self, record: Record) -> Any:
        """Return the record."""
        entry = record.entry
        called = naming(entry)
        time = event_us(entry) // 1000
        if entry.event_type not in API_EVENTS:
            return self._base_event(record, called, time)
        outcome = entry.outcome
        status_id, status = _STATUSES.get(outcome.status, _UNKNOWN) if outcome else _UNKNOWN
        return OcsfEvent(
            activity_id=INVOKE,
            activity_name="Invoke",
            category_uid=CATEGORY_UID,
            category_name="Application Activity",
            class_uid=CLASS_UID,
            class_name="API Activity",
            type_uid=CLASS_UID * 100 + INVOKE,
            type_name="API Activity: Invoke",
            time=time,
            severity_id=called.level.ocsf,
            severity=SEVERITIES[called.level.ocsf],
            status_id=status_id,
            status=status,
            status_code=outcome.kind if outcome else None,
            status_detail=outcome.error if outcome else None,
            duration=whole(outcome.latency_ms) if outcome else None,
            message=_message(entry, called),
            metadata=self._metadata(record, called, PROFILES),
            actor=_actor(entry),
            api=_api(entry),
            src_endpoint=_endpoint(entry),
            trace=_trace(entry, time),
            message_context=_context(entry),
            unmapped=_unmapped(record),
        )

    def _base_event(self, record: Record, called: Naming, time: int) -> OcsfEvent:
        return OcsfEvent(
            activity_id=INVOKE,
            activity_name=called.name,
            category_uid=0,
            category_name="Uncategorized",
            class_uid=0,
            class_name="Base Event",
            type_uid=INVOKE,
            type_name=f"Base Event: {called.name}",
            time=time,
            severity_id=called.level.ocsf,
            severity=SEVERITIES[called.level.ocsf],
            message=_message(record.entry, called),
            metadata=self._metadata(record, called, None),
            unmapped=_unmapped(record),
        )

    def _metadata(self, record: Record, called: Naming, profiles: list[str] | None) -> Metadata:
        entry = record.entry
        return Metadata(
            VERSION,
            self._product,
            profiles,
            entry.event_id or None,
            called.cef,
            entry.seq,
            entry.request.request_id,
            entry.source.tenant,
            epoch_us(entry.recorded_at) // 1000 if entry.recorded_at else None,
            record.origin,
        )


def _message(entry: Entry, called: Naming) -> str:
    name = entry.target.capability_name or entry.target.backend
    return f"{called.name} {name}" if name else called.name


def _actor(entry: Entry) -> Actor:
    source = entry.source
    user = None
    if source.user_id is not None:
        groups = [Named(name=role) for role in source.roles] if source.roles else None
        user = User(source.user_id, groups, source.caller_type, source.auth_key_id)
    session = None if source.session_id is None else Session(source.session_id, source.issuer)
    by = source.on_behalf_of[0] if source.on_behalf_of else None
    name = source.client or (None if user or session or by else "unknown")
    return Actor(user, session, name, by)


def _api(entry: Entry) -> Api:
    request, target, outcome = entry.request, entry.target, entry.outcome
    answered = None
    if outcome is not None:
        code = outcome.error_code if isinstance(outcome.error_code, int) else None
        answered = Answered(code, outcome.error_type, outcome.error, outcome.result)
    service = None if target.backend is None else Named(target.backend, None, target.server_version)
    return Api(
        target.method or target.type or entry.event_type,
        Asked(request.request_id or entry.event_id, request.args),
        answered,
        service,
        target.protocol_version,
    )


def _endpoint(entry: Entry) -> Endpoint:
    source = entry.source
    if source.client_ip and ip_version(source.client_ip):
        return Endpoint(ip=source.client_ip)
    return Endpoint(name=source.client_ip or source.caller or "unknown")


def _trace(entry: Entry, start: int) -> Trace | None:
    request, outcome = entry.request, entry.outcome
    if not request.trace_id or not _TRACE.fullmatch(request.trace_id):
        return None
    took = whole(outcome.latency_ms) or 0 if outcome else 0
    return Trace(request.trace_id, Span(request.span_id, start, start + took) if request.span_id else None)


def _context(entry: Entry) -> MessageContext | None:
    spent, made = whole(entry.cost.input_tokens), whole(entry.cost.output_tokens)
    if spent is None and made is None:
        return None
    return MessageContext(Application(entry.target.backend or "unknown"), spent, made)


def _unmapped(record: Record) -> Unmapped:
    entry = record.entry
    target, policy, state = entry.target, entry.policy, entry.state
    return Unmapped(
        target.capability_name,
        target.effects,
        policy.decision if policy else None,
        policy.rule if policy else None,
        state.reason if state else policy.reason if policy else None,
        state.from_ if state else None,
        state.to if state else None,
        entry.metadata,
        proof(record),
    )
