"""Receivers of OTLP logs in this process, over HTTP and gRPC: one chooses what they answer, and asks what they took."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import grpc
import msgspec
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from indelible.sinks.base import Shipment
from tests.unit.sinks.web_receivers import Asked, HttpReceiver, Reply

LIMIT_S = 60
Logs = Sequence[str]
"""What each log record of a request says, in order."""


def otlp(record: bytes) -> bytes:
    """Return a record of the format `otlp` that says what another one does."""
    text = base64.b64encode(record).decode()
    log = {"severityNumber": 9, "body": {"stringValue": text}, "traceId": "0af7651916cd43dd8448eb211c80319c"}
    resource: dict[str, Any] = {"attributes": [{"key": "service.name", "value": {"stringValue": "x"}}]}
    scope = {"scope": {"name": "indelible"}, "logRecords": [log]}
    whole = {"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]}
    return json.dumps(whole, separators=(",", ":")).encode()


def as_otlp(shipments: Sequence[Shipment]) -> list[Shipment]:
    return [msgspec.structs.replace(shipment, record=otlp(shipment.record)) for shipment in shipments]


def said(request: ExportLogsServiceRequest) -> list[bytes]:
    """Return what its records say; they all have one resource and one scope."""
    [resource] = request.resource_logs
    [scope] = resource.scope_logs
    assert resource.resource.attributes[0].value.string_value == "x"
    assert scope.scope.name == "indelible"
    for log in scope.log_records:
        assert log.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    return [base64.b64decode(log.body.string_value) for log in scope.log_records]


Judge = Callable[[list[bytes]], Any]
"""Return what to answer: None to take it, or what the transport answers otherwise."""


def take(records: list[bytes]) -> None:
    del records


class OverHttp:
    """Answers a `Reply`, or takes what it reads."""

    def __init__(self, judge: Judge = take) -> None:
        self.judge = judge
        self.records: list[bytes] = []
        self.receiver = HttpReceiver(self._answer)

    @property
    def endpoint(self) -> str:
        return self.receiver.url

    @property
    def asked(self) -> list[Asked]:
        return self.receiver.asked

    def _answer(self, asked: Asked) -> Reply:
        assert asked.path == "/v1/logs"
        request = ExportLogsServiceRequest()
        kind = asked.headers["Content-Type"]
        if kind == "application/json":
            found = json.loads(asked.body)
            for log in found["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
                log["traceId"] = base64.b64encode(bytes.fromhex(log["traceId"])).decode()
            json_format.ParseDict(found, request)
        else:
            assert kind == "application/x-protobuf"
            request.ParseFromString(asked.body)
        records = said(request)
        reply = self.judge(records)
        if reply is not None:
            assert isinstance(reply, Reply)
            return reply
        self.records += records
        empty = ExportLogsServiceResponse()
        body = b"{}" if kind == "application/json" else empty.SerializeToString()
        return Reply(200, body, {"Content-Type": kind})

    def stop(self) -> None:
        self.receiver.stop()

    def start(self) -> None:
        self.receiver.start()

    def hang(self) -> None:
        self.receiver.goes_on.clear()


class OverGrpc:
    """Answers a code with its details, an ExportLogsServiceResponse, or takes what it reads."""

    def __init__(self, judge: Judge = take, secrets: grpc.ServerCredentials | None = None) -> None:
        """`secrets` are its key and certificate, where it speaks TLS."""
        self.judge = judge
        self.secrets = secrets
        self.records: list[bytes] = []
        self.metadata: list[dict[str, Any]] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._port = 0
        self._server: Any = None
        self.start()

    @property
    def endpoint(self) -> str:
        return f"{'http' if self.secrets is None else 'https'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        handler = grpc.unary_unary_rpc_method_handler(
            self._export,
            request_deserializer=ExportLogsServiceRequest.FromString,
            response_serializer=ExportLogsServiceResponse.SerializeToString,
        )
        name = "opentelemetry.proto.collector.logs.v1.LogsService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": handler}),))
        address = f"127.0.0.1:{self._port}"
        self._port = (
            server.add_insecure_port(address)
            if self.secrets is None
            else server.add_secure_port(address, self.secrets)
        )
        server.start()
        self._server = server

    def _export(self, request: ExportLogsServiceRequest, context: Any) -> ExportLogsServiceResponse:
        assert self.goes_on.wait(LIMIT_S)
        self.metadata.append(dict(context.invocation_metadata()))
        records = said(request)
        reply = self.judge(records)
        if isinstance(reply, ExportLogsServiceResponse):
            return reply
        if reply is not None:
            code, details, trailers = reply
            context.set_trailing_metadata(trailers)
            context.abort(code, details)
        self.records += records
        return ExportLogsServiceResponse()

    def stop(self) -> None:
        self.goes_on.set()
        if self._server is not None:
            self._server.stop(None).wait(LIMIT_S)
            self._server = None

    def hang(self) -> None:
        self.goes_on.clear()
