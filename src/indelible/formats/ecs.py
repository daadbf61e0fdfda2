"""``ecs``: the Elastic Common Schema 9.1.

No field set of it knows MCP: what has no field stands under `indelible`, a name of our own, as custom fields should.
Fields that are numbers, dates or addresses there get nothing else; `event.category` and `event.type` have values of a
list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.formats.addresses import ip_version
from indelible.formats.names import naming
from indelible.formats.record import json_text, real, whole
from indelible.formats.shapes import JsonFormat
from indelible.formats.times import event_time

if TYPE_CHECKING:
    from indelible.formats.names import Naming
    from indelible.formats.record import Entry, Options, Record, Source, Target

VERSION: Final = "9.1.0"
DATASET: Final = "indelible.audit"

_OUTCOMES: Final = {"success": "success", "error": "failure"}
_EFFECTS: Final = {"write": "change", "destructive": "deletion"}
_CATEGORIES: Final = {
    "mcp_operation": "api",
    "mcp_operation_started": "api",
    "sampling": "api",
    "elicitation": "api",
    "auth_rejected": "authentication",
    "mcp_server_state_changed": "process",
}
_TYPES: Final = {
    "auth_rejected": ["info"],
    "mcp_server_state_changed": ["change"],
    "tool_definition_changed": ["change"],
    "config_reloaded": ["change"],
    "key_rotated": ["change"],
    "hold_placed": ["change"],
    "hold_released": ["change"],
    "retention_applied": ["deletion"],
    "entry_erased": ["deletion"],
}
_INFO: Final = ["info"]
_CONFIGURATION: Final = "configuration"


class _Part(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is not known is left out."""


class EcsEvent(_Part, frozen=True, gc=False):
    """Field set `event`."""

    kind: str
    category: list[str]
    type: list[str]
    action: str
    code: str
    outcome: str
    sequence: int
    severity: int
    hash: str
    module: str
    dataset: str
    id: str | None = None
    created: str | None = None
    duration: int | None = None
    """Nanoseconds."""
    reason: str | None = None


class Named(_Part, frozen=True, gc=False):
    """A field set of which only `id`, `name` or `version` is known."""

    id: str | None = None
    name: str | None = None
    version: str | None = None


class EcsUser(_Part, frozen=True, gc=False):
    """Field set `user`."""

    id: str | None = None
    roles: list[str] | None = None


class EcsClient(_Part, frozen=True, gc=False):
    """Field set `client`."""

    address: str | None = None
    ip: str | None = None


class EcsError(_Part, frozen=True, gc=False):
    """Field set `error`."""

    message: str | None = None
    type: str | None = None
    code: str | None = None


class GenAi(_Part, frozen=True, gc=False):
    """Field set `gen_ai`, of which `gen_ai.tool.name` is beta."""

    tool: Named


class EcsObserver(_Part, frozen=True, gc=False):
    """Field set `observer`."""

    vendor: str
    product: str
    version: str = ""
    hostname: str = ""


class EcsCost(_Part, frozen=True, gc=False):
    """Hundredths of a cent."""

    centicents: int | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class EcsOwn(_Part, frozen=True, gc=False):
    """The last key: what the record can be checked with, and what ECS has no field for."""

    event_id: str
    seq: int
    origin: str
    leaf: str
    mended: bool = False
    event_type: str | None = None
    request_id: str | None = None
    continues: str | None = None
    rpc_id: str | None = None
    caller: str | None = None
    caller_type: str | None = None
    client: str | None = None
    session_id: str | None = None
    auth_method: str | None = None
    auth_key_id: str | None = None
    on_behalf_of: list[str] | None = None
    backend: str | None = None
    method: str | None = None
    type: str | None = None
    name: str | None = None
    effects: str | None = None
    decision: str | None = None
    kind: str | None = None
    cost: EcsCost | None = None
    state_from: str | None = None
    state_to: str | None = None
    erased: str | None = None
    args: str | None = None
    """JSON, as one text: an index has one mapping for all tools."""
    metadata: str | None = None


class EcsRecord(_Part, frozen=True, gc=False):
    """One record."""

    timestamp: str | None = msgspec.field(default=None, name="@timestamp")
    ecs: Named | None = None
    event: EcsEvent | None = None
    message: str | None = None
    user: EcsUser | None = None
    client: EcsClient | None = None
    organization: Named | None = None
    service: Named | None = None
    trace: Named | None = None
    span: Named | None = None
    rule: Named | None = None
    error: EcsError | None = None
    gen_ai: GenAi | None = None
    observer: EcsObserver | None = None
    indelible: EcsOwn | None = None


_ECS: Final = Named(version=VERSION)


class EcsFormat(JsonFormat):
    """Holds every event."""

    def __init__(self, options: Options) -> None:
        """Keep what is set."""
        super().__init__(options)
        self._observer = EcsObserver(options.vendor, options.product, options.version, options.host)

    def shape(self, record: Record) -> Any:
        """Return the record."""
        entry = record.entry
        source, target, request, policy = entry.source, entry.target, entry.request, entry.policy
        called = naming(entry)
        rule = policy.rule if policy else None
        tool = target.capability_name if target.type == "tool" else None
        return EcsRecord(
            event_time(entry) or None,
            _ECS,
            _event(record, called),
            f"{called.name} {target.capability_name}" if target.capability_name else called.name,
            _user(source),
            _client(source.client_ip),
            _id(source.tenant),
            _service(target),
            _id(request.trace_id),
            _id(request.span_id),
            None if rule is None else Named(name=rule),
            _error(entry),
            None if tool is None else GenAi(Named(name=tool)),
            self._observer,
            _own(record),
        )


def _event(record: Record, called: Naming) -> EcsEvent:
    entry = record.entry
    outcome, policy = entry.outcome, entry.policy
    latency = real(outcome.latency_ms) if outcome else None
    return EcsEvent(
        "alert" if entry.event_type == "alert" else "event",
        [_CATEGORIES.get(entry.event_type, _CONFIGURATION)],
        _types(entry),
        called.name,
        called.cef,
        _OUTCOMES.get(outcome.status, "unknown") if outcome else "unknown",
        entry.seq,
        called.level.cef,
        record.leaf,
        "indelible",
        DATASET,
        entry.event_id or None,
        entry.recorded_at or None,
        None if latency is None else whole(latency * 1_000_000),
        entry.state.reason if entry.state else policy.reason if policy else None,
    )


def _types(entry: Entry) -> list[str]:
    """Return `event.type`: what was done, and whether it was let through."""
    if _CATEGORIES.get(entry.event_type) != "api":
        return _TYPES.get(entry.event_type, _INFO)
    if entry.outcome is None:
        return ["start"]
    done = _EFFECTS.get(entry.target.effects or "", "access")
    return [done, "denied" if entry.outcome.kind in ("denied", "unauthenticated") else "allowed"]


def _id(found: str | None) -> Named | None:
    return None if found is None else Named(id=found)


def _user(source: Source) -> EcsUser | None:
    if source.user_id is None and not source.roles:
        return None
    return EcsUser(source.user_id, source.roles or None)


def _service(target: Target) -> Named | None:
    if target.backend is None and target.server_version is None:
        return None
    return Named(name=target.backend, version=target.server_version)


def _client(address: str | None) -> EcsClient | None:
    return None if address is None else EcsClient(address, address if ip_version(address) else None)


def _error(entry: Entry) -> EcsError | None:
    outcome = entry.outcome
    if outcome is None or (outcome.error is None and outcome.error_type is None and outcome.error_code is None):
        return None
    code = None if outcome.error_code is None else str(outcome.error_code)
    return EcsError(outcome.error, outcome.error_type, code)


def _own(record: Record) -> EcsOwn:
    entry, cost, state = record.entry, record.entry.cost, record.entry.state
    source, target, request = entry.source, entry.target, entry.request
    spent = EcsCost(whole(cost.centicents), cost.model, whole(cost.input_tokens), whole(cost.output_tokens))
    return EcsOwn(
        entry.event_id,
        entry.seq,
        record.origin,
        record.leaf,
        record.mended,
        entry.event_type or None,
        request.request_id,
        request.continues,
        request.rpc_id,
        source.caller,
        source.caller_type,
        source.client,
        source.session_id,
        source.auth_method,
        source.auth_key_id,
        source.on_behalf_of or None,
        target.backend,
        target.method,
        target.type,
        target.capability_name,
        target.effects,
        entry.policy.decision if entry.policy else None,
        entry.outcome.kind if entry.outcome else None,
        None if spent == _NO_COST else spent,
        state.from_ if state else None,
        state.to if state else None,
        entry.erased,
        json_text(request.args),
        json_text(entry.metadata),
    )


_NO_COST: Final = EcsCost()
