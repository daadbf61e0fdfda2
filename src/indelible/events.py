"""The audit event: the schema's one home.

An event becomes one JSON object on one line, keys in the order in which the fields stand here, a key left
out when nothing is known. Whoever captures a call builds these structs from *raw* values; only
`indelible.redact` turns them into bytes that may leave the process (see `encode_body`).

Readers ignore keys that they do not know: adding a field does not bump `SCHEMA`, changing the meaning of
one does. Integers stay below 2**53 (RFC 8259, section 6: what every JSON reader holds exactly).
"""

from __future__ import annotations

import os
import time
from typing import Any, Final, Literal

import msgspec

SCHEMA: Final = 1
"""The version that every line carries."""

MAX_LINE_BYTES: Final = 65_535
"""A line without its LF: the length of an entry in a C2SP tlog-tiles entry bundle is 16 bits."""

ENVELOPE_BYTES: Final = 192
"""What the writer may add in front of a body: seq, schema, recorded_at, with room for later keys."""

MAX_BODY_BYTES: Final = MAX_LINE_BYTES - ENVELOPE_BYTES
"""The largest body that a line has room for, in bytes; `indelible.redact` cuts to it."""

MAX_INTEGER: Final = 2**53 - 1

EventType = Literal[
    "mcp_operation",
    "mcp_operation_started",
    "mcp_server_state_changed",
    "tool_definition_changed",
    "auth_rejected",
    "sampling",
    "elicitation",
    "audit_started",
    "audit_stopped",
    "audit_heartbeat",
    "file_opened",
    "entry_erased",
    "audit_gap",
    "audit_recovered",
    "clock_stepped",
    "config_reloaded",
    "key_rotated",
    "retention_applied",
    "hold_placed",
    "hold_released",
    "alert",
]
ClientEventType = Literal[
    "mcp_operation",
    "mcp_operation_started",
    "mcp_server_state_changed",
    "tool_definition_changed",
    "auth_rejected",
    "sampling",
    "elicitation",
    "audit_gap",
]
"""What a service's client may record: what happened at its place. Of itself, only the trail says anything."""
SignedEventType = Literal[
    "file_opened", "key_rotated", "retention_applied", "entry_erased", "hold_placed", "hold_released"
]
"""What the trail says of its own lines, files and keys: its key signs each of them, and nobody else records one."""
Caller = Literal["http", "stdio", "cli", "library"]
CallerType = Literal["human", "agent", "service", "anonymous"]
AuthMethod = Literal["jwt", "api_key", "mtls", "os", "none"]
Effects = Literal["read_only", "destructive", "write", "unknown"]
Decision = Literal["allow", "deny", "warn", "n/a"]
Status = Literal["success", "error"]
Kind = Literal[
    "completed",
    "input_required",
    "tool_error",
    "protocol_error",
    "denied",
    "unauthenticated",
    "cancelled",
    "timed_out",
    "interrupted",
    "backend_unavailable",
]

STATUS_OF_KIND: Final[dict[Kind, Status]] = {
    "completed": "success",
    "input_required": "success",
    "tool_error": "error",
    "protocol_error": "error",
    "denied": "error",
    "unauthenticated": "error",
    "cancelled": "error",
    "timed_out": "error",
    "interrupted": "error",
    "backend_unavailable": "error",
}
"""Every kind of outcome, and the one status that goes with it."""


class _Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of an event; a field at its default is left out of the line."""


class RecorderId(_Part, frozen=True, kw_only=True):
    """Who recorded the event, as the trail's writer knows it, not as the recorder says."""

    id: str
    uid: int | None = None
    pid: int | None = None


class Source(_Part, frozen=True, kw_only=True):
    """Who called, and through what; everything but `recorder` is the recorder's word."""

    caller: Caller | None = None
    session_id: str | None = None
    client_ip: str | None = None
    client: str | None = None
    """``name/version`` of the MCP client."""
    user_id: str | None = None
    caller_type: CallerType | None = None
    roles: list[str] | None = None
    tenant: str | None = None
    recorder: RecorderId | None = None
    auth_method: AuthMethod | None = None
    auth_key_id: str | None = None
    """First 8 hex digits of the SHA-256 of the credential."""
    issuer: str | None = None
    on_behalf_of: list[str] | None = None
    """The delegation chain (RFC 8693 ``act``), nearest actor first."""


class Target(_Part, frozen=True, kw_only=True):
    """What was called."""

    backend: str | None = None
    """Id of the MCP server."""
    method: str | None = None
    """The wire method, such as ``tools/call``."""
    type: str | None = None
    """``tool``, ``resource``, ``prompt``, or the family of another method (what stands before its ``/``)."""
    capability_name: str | None = None
    original_name: str | None = None
    effects: Effects | None = None
    server_version: str | None = None
    protocol_version: str | None = None
    tool_sha256: str | None = None
    """SHA-256 of the tool's definition (compact JSON, sorted keys), so that a changed description shows."""


class Request(_Part, frozen=True, kw_only=True):
    """What was asked. In a raw event `args` is the original; after redaction it is what may be kept."""

    request_id: str | None = None
    """Correlates everything of one call; the caller's or made here; never an identity."""
    intent: str | None = None
    """`event_id` of the ``mcp_operation_started`` that this outcome closes."""
    rpc_id: str | None = None
    """The JSON-RPC id as JSON text, so that ``7`` and ``"7"`` stay apart."""
    trace_id: str | None = None
    span_id: str | None = None
    continues: str | None = None
    """`request_id` of the earlier round of a call that asked for input."""
    args: Any = None
    """Any JSON value, or `msgspec.Raw` holding the bytes of one."""
    args_bytes: int | None = None
    """Size of the arguments before redaction, in bytes of compact JSON."""
    args_hmac: str | None = None
    hmac_key_id: str | None = None


class Policy(_Part, frozen=True, kw_only=True):
    """What was decided about the call, by which rule, and why."""

    decision: Decision
    rule: str | None = None
    reason: str | None = None


class Outcome(_Part, frozen=True, kw_only=True):
    """What became of it. `status` follows from `kind`; use `outcome()` to make one."""

    status: Status
    kind: Kind
    latency_ms: float | None = None
    error: str | None = None
    error_type: str | None = None
    """Class of the exception, or a word of ours such as ``audit_unavailable``."""
    error_code: int | None = None
    """JSON-RPC error code."""
    result_bytes: int | None = None
    result_hmac: str | None = None
    result: Any = None
    """The raw result in a raw event; kept in a line only when configured."""


class Cost(_Part, frozen=True, kw_only=True):
    """What the call cost, in hundredths of a cent."""

    centicents: int | None = None
    model: Literal["token", "duration", "fixed", "composite"] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class State(_Part, frozen=True, kw_only=True):
    """A backend's change of phase; the keys are ``from``, ``to`` and ``reason``."""

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    reason: str | None = None


class Event(_Part, frozen=True, kw_only=True):
    """One audit event, as captured: raw until `indelible.redact` has had it."""

    timestamp: str
    """When the call was received: RFC 3339, UTC, microseconds, ``Z``."""
    event_type: EventType
    event_id: str
    source: Source | None = None
    target: Target | None = None
    request: Request | None = None
    policy: Policy | None = None
    outcome: Outcome | None = None
    cost: Cost | None = None
    state: State | None = None
    metadata: dict[str, Any] | None = None
    """Free. Bare keys are Indelible's own, others put a namespace and a dot in front."""


def outcome(kind: Kind, latency_ms: float | None = None, **fields: Any) -> Outcome:
    """Make an outcome whose status agrees with its kind."""
    return Outcome(status=STATUS_OF_KIND[kind], kind=kind, latency_ms=latency_ms, **fields)


_encoder = msgspec.json.Encoder()


def encode_body(event: Event) -> bytes:
    """Encode an event without the keys that the writer stamps (`seq`, `schema`, `recorded_at`).

    The result begins with ``{``. The caller answers for its content: anything that came from outside must
    have been through `indelible.redact` before.
    """
    return _encoder.encode(event)


# --- identifiers and time -------------------------------------------------------------------------------
# Both are on the hot path: uuid.uuid4() and datetime.isoformat() cost ten times as much as these.

_ID_POOL: Final = 256
"""How many ids are drawn from the kernel at once."""

_id_pool: list[str] = []


def new_id() -> str:
    """Return a random UUID, version 4 (RFC 9562, section 5.4), from the kernel's generator."""
    try:
        return _id_pool.pop()
    except IndexError:
        _id_pool.extend(_draw_ids())
        return _id_pool.pop()


_VERSION: Final = bytes(0x40 | byte & 0x0F for byte in range(256))
_VARIANT: Final = bytes(0x80 | byte & 0x3F for byte in range(256))


def _draw_ids() -> list[str]:
    drawn = bytearray(os.urandom(16 * _ID_POOL))
    drawn[6::16] = drawn[6::16].translate(_VERSION)
    drawn[8::16] = drawn[8::16].translate(_VARIANT)
    digits = drawn.hex()
    ids = []
    for start in range(0, len(digits), 32):
        h = digits[start : start + 32]
        ids.append(f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}")
    return ids


# A forked child that kept the pool would hand out its parent's ids again.
os.register_at_fork(after_in_child=_id_pool.clear)

_SECOND: Final = 1_000_000_000
MILLIS: Final = tuple(f"{millis:03d}" for millis in range(1000))
MICROS: Final = tuple(f"{micros:03d}Z" for micros in range(1000))
"""The digits of a second's fraction, as they are written: formatting a number costs twice as much."""
_second: tuple[int, str] = (-1 << 80, "")
"""The newest second that was asked for: its first nanosecond since the epoch, and how it is written."""


def format_time(nanoseconds: int) -> str:
    """Return `nanoseconds` since the epoch as RFC 3339, UTC, microseconds: ``2026-11-21T05:38:34.123456Z``."""
    start, text = _second
    rest = nanoseconds - start
    if not 0 <= rest < _SECOND:
        rest = nanoseconds % _SECOND
        text = _begin_second(nanoseconds - rest)
    return text + MILLIS[rest // 1_000_000] + MICROS[rest // 1000 % 1000]


def _begin_second(start: int) -> str:
    """Return how a second is written, and remember it: most events of one are stamped twice."""
    global _second  # noqa: PLW0603 - a cache of one entry; a race costs a recomputation, never a wrong value
    text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(start // _SECOND))
    _second = (start, text)
    return text


def now() -> str:
    """Return the present time in the event's form."""
    return format_time(time.time_ns())
