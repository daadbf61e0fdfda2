"""Many records of the format `otlp` in one ExportLogsServiceRequest, as JSON or as protobuf (opentelemetry-proto 1.x).

Each record is a request of one log record; those of one sink have the same resource and scope, which stand once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.formats.otlp import ExportLogs, LogRecord, Pair, Resource, ResourceLogs, Scope, ScopeLogs, Value

if TYPE_CHECKING:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as LogMessage

UNFIT: Final = "is no log record; this sink takes 'format: otlp'"

Encode = Callable[[Sequence[bytes]], bytes]
_read = msgspec.json.Decoder(ExportLogs).decode
_json = msgspec.json.Encoder()


def check(record: bytes) -> None:
    """Raise ValueError for what is no record of the format."""
    _parts(record)


def _parts(record: bytes) -> tuple[Resource, Scope, LogRecord]:
    try:
        [resource] = _read(record).resource_logs
        [scope] = resource.scope_logs
        [log] = scope.log_records
    except (msgspec.MsgspecError, ValueError):
        raise ValueError(UNFIT) from None
    return resource.resource, scope.scope, log


def request(records: Sequence[bytes]) -> ExportLogs:
    """Return one request with the log records of many. Raises ValueError for what is no record of the format."""
    found: list[tuple[Resource, Scope, list[LogRecord]]] = []
    for record in records:
        resource, scope, log = _parts(record)
        if not found or found[-1][:2] != (resource, scope):
            found.append((resource, scope, []))
        found[-1][2].append(log)
    return ExportLogs([ResourceLogs(resource, [ScopeLogs(scope, logs)]) for resource, scope, logs in found])


def as_json(records: Sequence[bytes]) -> bytes:
    """Return the request as OTLP/JSON."""
    return _json.encode(request(records))


def protobuf() -> Encode:
    """Return what encodes as protobuf. Raises ImportError without the package opentelemetry-proto."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    def encode(records: Sequence[bytes]) -> bytes:
        message = ExportLogsServiceRequest()
        for logs in request(records).resource_logs:
            _add(message, logs)
        return message.SerializeToString()

    return encode


def _add(message: ExportLogsServiceRequest, logs: ResourceLogs) -> None:
    resource = message.resource_logs.add()
    _pairs(resource.resource.attributes, logs.resource.attributes)
    for one in logs.scope_logs:
        scope = resource.scope_logs.add()
        scope.scope.name, scope.scope.version = one.scope.name, one.scope.version
        for log in one.log_records:
            _fill(scope.log_records.add(), log)


def _fill(message: LogMessage, log: LogRecord) -> None:
    message.time_unix_nano = int(log.time_unix_nano or 0)
    message.observed_time_unix_nano = int(log.observed_time_unix_nano or 0)
    message.severity_number = log.severity_number  # type: ignore[assignment] # an enum's values are ints
    message.severity_text = log.severity_text
    if log.body is not None:
        _value(message.body, log.body)
    _pairs(message.attributes, log.attributes or ())
    message.trace_id, message.span_id = bytes.fromhex(log.trace_id or ""), bytes.fromhex(log.span_id or "")
    message.event_name = log.event_name


def _pairs(message: Any, pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        one = message.add()
        one.key = pair.key
        _value(one.value, pair.value)


def _value(message: AnyValue, value: Value) -> None:
    if value.stringValue is not None:
        message.string_value = value.stringValue
    elif value.intValue is not None:
        message.int_value = int(value.intValue)
    elif value.boolValue is not None:
        message.bool_value = value.boolValue
    elif value.doubleValue is not None:
        message.double_value = value.doubleValue
    elif value.arrayValue is not None:
        message.array_value.SetInParent()
        for item in value.arrayValue.values:
            _value(message.array_value.values.add(), item)
    elif value.kvlistValue is not None:
        message.kvlist_value.SetInParent()
        _pairs(message.kvlist_value.values, value.kvlistValue.values)
