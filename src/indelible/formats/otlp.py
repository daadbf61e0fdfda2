"""``otlp``: one OTLP/JSON ExportLogsServiceRequest an event, a line, as the Collector's ``otlpjsonfile`` reads them.

The protobuf JSON mapping, but for `traceId` and `spanId`, which OTLP has as hex (opentelemetry-proto, OTLP/JSON).
Attributes have the names of the semantic conventions for MCP and GenAI, all of them in development; what these do not
name is in the last attribute, `indelible`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.formats.names import naming
from indelible.formats.record import json_text
from indelible.formats.shapes import JsonFormat
from indelible.formats.times import epoch_us, event_time

if TYPE_CHECKING:
    from indelible.formats.record import Entry, Options, Record

_TRACE = re.compile(r"(?!0+$)[0-9a-f]{32}")
_SPAN = re.compile(r"(?!0+$)[0-9a-f]{16}")
TRANSPORTS: Final = {"stdio": "pipe", "http": "tcp"}
_INT64: Final = 2**63
_FIXED64: Final = 2**64


class _Part(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is not known is left out."""


class Value(_Part, frozen=True, gc=False):
    """AnyValue: one of these is set. An int64 is a text in JSON."""

    stringValue: str | None = None  # noqa: N815 - the protobuf's own name, as in the next ones
    intValue: str | None = None  # noqa: N815
    boolValue: bool | None = None  # noqa: N815
    doubleValue: float | None = None  # noqa: N815
    arrayValue: Values | None = None  # noqa: N815
    kvlistValue: Pairs | None = None  # noqa: N815


class Values(msgspec.Struct, frozen=True, gc=False):
    """ArrayValue."""

    values: list[Value]


class Pair(msgspec.Struct, frozen=True, gc=False):
    """KeyValue."""

    key: str
    value: Value


class Pairs(msgspec.Struct, frozen=True, gc=False):
    """KeyValueList."""

    values: list[Pair]


class LogRecord(_Part, frozen=True, gc=False, rename="camel"):
    """LogRecord (opentelemetry-proto logs/v1)."""

    time_unix_nano: str | None = None
    observed_time_unix_nano: str | None = None
    severity_number: int = 0
    severity_text: str = ""
    body: Value | None = None
    attributes: list[Pair] | None = None
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str = ""


class Scope(_Part, frozen=True, gc=False):
    """InstrumentationScope."""

    name: str
    version: str = ""


class ScopeLogs(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """ScopeLogs."""

    scope: Scope
    log_records: list[LogRecord]


class Resource(msgspec.Struct, frozen=True, gc=False):
    """Resource."""

    attributes: list[Pair]


class ResourceLogs(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """ResourceLogs."""

    resource: Resource
    scope_logs: list[ScopeLogs]


class ExportLogs(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """ExportLogsServiceRequest."""

    resource_logs: list[ResourceLogs]


class OtlpFormat(JsonFormat):
    """Holds every event."""

    def __init__(self, options: Options) -> None:
        """Keep what is set."""
        super().__init__(options)
        about = (
            ("service.name", options.app_name),
            ("service.version", options.version or None),
            ("host.name", options.host or None),
        )
        self._resource = Resource(_pairs(about))
        self._scope = Scope("indelible", options.version)

    def shape(self, record: Record) -> Any:
        """Return the record."""
        return ExportLogs(
            [ResourceLogs(self._resource, [ScopeLogs(self._scope, [log_record(record)])])],
        )


def log_record(record: Record) -> LogRecord:
    """Return the log record of an event; whoever sends many in one request batches these."""
    entry = record.entry
    called = naming(entry)
    name = entry.target.capability_name or entry.target.backend
    trace, span = entry.request.trace_id or "", entry.request.span_id or ""
    traced = _TRACE.fullmatch(trace) is not None
    return LogRecord(
        _nanoseconds(event_time(entry)),
        _nanoseconds(entry.recorded_at),
        called.level.otlp,
        called.level.otlp_text,
        Value(f"{called.name} {name}" if name else called.name),
        _attributes(record),
        trace if traced else None,
        span if traced and _SPAN.fullmatch(span) else None,
        f"indelible.{called.name}",
    )


def _nanoseconds(time: str) -> str | None:
    """Return fixed64 nanoseconds; it has no time before 1970, nor after 2554."""
    nanoseconds = epoch_us(time) * 1000
    return str(nanoseconds) if 0 < nanoseconds < _FIXED64 else None


def _attributes(record: Record) -> list[Pair]:
    entry = record.entry
    source, target, request, outcome = entry.source, entry.target, entry.request, entry.outcome
    tool = target.type == "tool"
    name = target.capability_name
    args = json_text(request.args)
    pairs = _pairs(
        (
            ("mcp.method.name", target.method),
            ("mcp.session.id", source.session_id),
            ("mcp.protocol.version", target.protocol_version),
            ("mcp.resource.uri", name if target.type == "resource" else None),
            ("gen_ai.operation.name", "execute_tool" if tool else None),
            ("gen_ai.tool.name", name if tool else None),
            ("gen_ai.prompt.name", name if target.type == "prompt" else None),
            ("gen_ai.tool.call.arguments", args if tool else None),
            ("gen_ai.usage.input_tokens", entry.cost.input_tokens),
            ("gen_ai.usage.output_tokens", entry.cost.output_tokens),
            ("jsonrpc.request.id", request.rpc_id),
            ("rpc.response.status_code", _text(outcome.error_code) if outcome else None),
            ("error.type", _error_type(entry)),
            ("client.address", source.client_ip),
            ("network.transport", TRANSPORTS.get(source.caller or "")),
            ("user.id", source.user_id),
            ("user.roles", source.roles or None),
        )
    )
    pairs.append(Pair("indelible", Value(kvlistValue=Pairs(_own(record, None if tool else args)))))
    return pairs


def _error_type(entry: Entry) -> str | None:
    outcome = entry.outcome
    if outcome is None or outcome.status != "error":
        return None
    return _text(outcome.error_code) or outcome.error_type or outcome.kind


def _own(record: Record, args: str | None) -> list[Pair]:
    """Return the last attribute: what the record can be checked with, and what no convention names."""
    entry = record.entry
    return _pairs(
        (
            ("event_id", entry.event_id),
            ("seq", entry.seq),
            ("origin", record.origin),
            ("leaf", record.leaf),
            ("mended", record.mended or None),
            ("event_type", entry.event_type),
            *_call(entry),
            *_result(entry),
            ("erased", entry.erased),
            ("args", args),
            ("metadata", json_text(entry.metadata)),
        )
    )


def _call(entry: Entry) -> tuple[tuple[str, object], ...]:
    source, target, request = entry.source, entry.target, entry.request
    return (
        ("request_id", request.request_id),
        ("continues", request.continues),
        ("backend", target.backend),
        ("type", target.type),
        ("name", None if target.type in _NAMED else target.capability_name),
        ("effects", target.effects),
        ("client", source.client),
        ("caller", source.caller),
        ("caller_type", source.caller_type),
        ("tenant", source.tenant),
        ("auth_method", source.auth_method),
        ("auth_key_id", source.auth_key_id),
        ("on_behalf_of", source.on_behalf_of or None),
    )


def _result(entry: Entry) -> tuple[tuple[str, object], ...]:
    outcome, policy, state = entry.outcome, entry.policy, entry.state
    return (
        ("decision", policy.decision if policy else None),
        ("rule", policy.rule if policy else None),
        ("reason", state.reason if state else policy.reason if policy else None),
        ("status", outcome.status if outcome else None),
        ("kind", outcome.kind if outcome else None),
        ("latency_ms", outcome.latency_ms if outcome else None),
        ("error", outcome.error if outcome else None),
        ("cost_centicents", entry.cost.centicents),
        ("cost_model", entry.cost.model),
        ("state_from", state.from_ if state else None),
        ("state_to", state.to if state else None),
    )


_NAMED: Final = frozenset({"tool", "resource", "prompt"})


def _text(value: int | str | None) -> str | None:
    return None if value is None else str(value)


def _pairs(found: tuple[tuple[str, object], ...]) -> list[Pair]:
    return [Pair(key, _value(value)) for key, value in found if value is not None]


def _value(value: object) -> Value:
    if isinstance(value, str):
        return Value(value)
    if isinstance(value, bool):
        return Value(None, None, value)
    if isinstance(value, int):
        return Value(None, str(value)) if -_INT64 <= value < _INT64 else Value(str(value))
    if isinstance(value, float):
        return Value(None, None, None, value)
    if isinstance(value, list):
        return Value(None, None, None, None, Values([Value(item) for item in value]))
    raise TypeError(type(value))
