"""The otlp sink: what is taken, tried again and refused, over each of its transports; and what the environment says."""

from __future__ import annotations

import base64
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf import duration_pb2, json_format
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from indelible.errors import ConfigError
from indelible.formats.record import Options, Record
from indelible.registry import make_format, make_sink
from indelible.sink_settings import TlsSettings, parse_sinks
from indelible.sink_settings.otlp import OtlpSettings
from indelible.sink_settings.parts import Secret
from indelible.sinks.base import Delivery, Shipment, Sink, SinkUnavailable
from indelible.sinks.checks import CHECKS
from indelible.sinks.otlp import message
from indelible.sinks.otlp.environment import exporter
from indelible.testing import Destination, check_sink
from tests.certificates import Authority
from tests.effort import examples
from tests.unit.formats import events
from tests.unit.sinks.otlp_receivers import OverGrpc, OverHttp, as_otlp, otlp
from tests.unit.sinks.web_receivers import Reply, said

PROTOCOLS = ("http/protobuf", "http/json", "grpc")
UNFIT = b"the one that is refused"
FORMAT = make_format("otlp", Options(version="1.0", host="gateway.example"))


def sink_to(endpoint: str, protocol: str, **keys: Any) -> Sink:
    [sink] = parse_sinks(
        [{"type": "otlp", "endpoint": endpoint, "protocol": protocol, "timeout": "60s", **keys}]
    )
    return make_sink(sink)


class Wrapping:
    """Sends what it is given as what log records say."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.open, self.close, self.stop = sink.open, sink.close, sink.stop

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        return self._sink.send(as_otlp(shipments))


class Otlp(Destination):
    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.receiver: OverGrpc | OverHttp = (
            OverGrpc(self.judge) if protocol == "grpc" else OverHttp(self.judge)
        )

    def judge(self, records: list[bytes]) -> Any:
        if UNFIT not in records:
            return None
        if self.protocol == "grpc":
            return grpc.StatusCode.INVALID_ARGUMENT, "no such record", ()
        return said(400, {"message": "no such record"})

    def make(self, timeout: float) -> Sink:
        [sink] = parse_sinks([{"type": "otlp", "endpoint": self.receiver.endpoint, "protocol": self.protocol}])
        own = msgspec.structs.replace(sink.own, timeout=timeout)
        return Wrapping(make_sink(msgspec.structs.replace(sink, own=own)))

    def received(self) -> Sequence[bytes]:
        return self.receiver.records

    def take_away(self) -> None:
        self.receiver.stop()

    def bring_back(self) -> None:
        self.receiver.start()

    def hang(self) -> None:
        self.receiver.hang()

    def unfit(self) -> bytes:
        return UNFIT

    def close(self) -> None:
        self.receiver.stop()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_contract(protocol: str) -> None:
    assert check_sink(lambda: Otlp(protocol)) == tuple(CHECKS)


def numbered(count: int) -> list[Shipment]:
    return as_otlp([Shipment(b"%d" % number, number, f"id-{number}") for number in range(count)])


def answered(protocol: str, judge: Any, count: int = 5, **keys: Any) -> tuple[Delivery, OverGrpc | OverHttp]:
    receiver: OverGrpc | OverHttp = OverGrpc(judge) if protocol == "grpc" else OverHttp(judge)
    sink = sink_to(receiver.endpoint, protocol, **keys)
    try:
        return sink.send(numbered(count)), receiver
    finally:
        sink.close()
        receiver.stop()


def refused(protocol: str, judge: Any) -> SinkUnavailable:
    with pytest.raises(SinkUnavailable) as caught:
        answered(protocol, judge)
    assert caught.value.delivery.taken == 0
    assert "\n" not in str(caught.value)
    return caught.value


def partial(protocol: str, count: int, why: str) -> Any:
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = count
    response.partial_success.error_message = why
    if protocol == "grpc":
        return response
    if protocol == "http/json":
        return said(200, json_format.MessageToDict(response))
    return Reply(200, response.SerializeToString(), {"Content-Type": "application/x-protobuf"})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_partial_success_leaves_every_record_of_the_request_among_the_dead_letters(protocol: str) -> None:
    """It does not say which, and must not be sent again."""
    asked: list[list[bytes]] = []

    def judge(records: list[bytes]) -> Any:
        asked.append(records)
        return partial(protocol, 2, "no more\nthan that")

    delivery, _ = answered(protocol, judge)
    assert len(asked) == 1
    reason = "it refuses 2 of the 5 records of the request, and does not say which: no more than that"
    assert delivery == Delivery(5, tuple((index, reason) for index in range(5)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_partial_success_that_refuses_nothing_is_a_warning(protocol: str) -> None:
    delivery, _ = answered(protocol, lambda _: partial(protocol, 0, "take care"))
    assert delivery == Delivery(5)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_answer_that_is_too_long_refuses_no_record(protocol: str) -> None:
    asked: list[int] = []

    def judge(records: list[bytes]) -> Any:
        asked.append(len(records))
        return partial(protocol, 0, "x" * 2_000_000)

    assert "no answer of an OTLP receiver" in str(refused(protocol, judge))
    assert asked == [5]


def details(seconds: int, nanos: int) -> bytes:
    info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds, nanos=nanos))
    status = status_pb2.Status(code=8, message="slower")
    status.details.add().Pack(info)
    return bytes(status.SerializeToString())


CODES: list[tuple[Any, str, str]] = [
    (grpc.StatusCode.UNAVAILABLE, "not now", "it answers UNAVAILABLE: not now"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "too much", "it answers RESOURCE_EXHAUSTED: too much"),
    (grpc.StatusCode.ABORTED, "again\nplease", "it answers ABORTED: again please"),
    (
        grpc.StatusCode.UNAUTHENTICATED,
        "who?",
        "it answers UNAUTHENTICATED: who?; does it accept our credentials?",
    ),
    (grpc.StatusCode.PERMISSION_DENIED, "", "it answers PERMISSION_DENIED; may our credentials write there?"),
    (grpc.StatusCode.UNIMPLEMENTED, "", "it answers UNIMPLEMENTED; does it take OTLP logs?"),
    (grpc.StatusCode.INTERNAL, "oops", "it answers INTERNAL: oops"),
]


@pytest.mark.parametrize(("code", "text", "line"), CODES, ids=lambda value: getattr(value, "name", ""))
def test_a_code_that_is_not_about_records_refuses_none(code: Any, text: str, line: str) -> None:
    said = refused("grpc", lambda _: (code, text, ()))
    assert str(said).partition(": ")[2] == line
    assert said.retry_after is None


def test_what_asks_to_be_left_alone_is() -> None:
    trailers = (("grpc-status-details-bin", details(7, 500_000_000)),)
    said_by = refused("grpc", lambda _: (grpc.StatusCode.RESOURCE_EXHAUSTED, "slower", trailers))
    assert said_by.retry_after == 7.5
    broken = (("grpc-status-details-bin", b"\xff\xff"),)
    assert refused("grpc", lambda _: (grpc.StatusCode.UNAVAILABLE, "x", broken)).retry_after is None
    slower = refused("http/json", lambda _: said(429, {"message": "slower"}, **{"Retry-After": "7"}))
    assert (str(slower).partition(": ")[2], slower.retry_after) == ("it answers 429: slower", 7.0)


def test_the_message_of_a_failure_in_protobuf_is_shown() -> None:
    body = status_pb2.Status(code=14, message="the exporter's queue is full").SerializeToString()
    reply = Reply(503, body, {"Content-Type": "application/x-protobuf"})
    line = str(refused("http/protobuf", lambda _: reply)).partition(": ")[2]
    assert line == "it answers 503: the exporter's queue is full"


@pytest.mark.parametrize(
    ("protocol", "body"),
    [("http/json", b"<html>hello</html>"), ("http/json", b"[]"), ("http/protobuf", b"<html>hello</html>")],
)
def test_a_200_of_somebody_else_takes_nothing(protocol: str, body: bytes) -> None:
    said_by = refused(protocol, lambda _: Reply(200, body, {"Content-Type": "text/html"}))
    assert "no answer of an OTLP receiver" in str(said_by)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_record_that_is_refused_is_found(protocol: str) -> None:
    """One bad record never costs its batch."""

    def judge(records: list[bytes]) -> Any:
        if b"3" not in records:
            return None
        return (grpc.StatusCode.INVALID_ARGUMENT, "bad", ()) if protocol == "grpc" else Reply(400, b"bad")

    delivery, receiver = answered(protocol, judge, 9)
    assert (delivery.taken, [index for index, _ in delivery.refused]) == (9, [3])
    assert receiver.records == [b"%d" % number for number in range(9) if number != 3]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_no_log_record_is_refused_and_the_others_go(protocol: str) -> None:
    receiver: OverGrpc | OverHttp = OverGrpc() if protocol == "grpc" else OverHttp()
    sink = sink_to(receiver.endpoint, protocol)
    two = b'{"resourceLogs":[{"resource":{"attributes":[]},"scopeLogs":[]}]}'
    records = [otlp(b"a"), b"CEF:0|x", b"{}", b"\xff", two, otlp(b"b")]
    delivery = sink.send([Shipment(record, number, "") for number, record in enumerate(records)])
    sink.close()
    receiver.stop()
    assert (delivery.taken, [index for index, _ in delivery.refused]) == (6, [1, 2, 3, 4])
    assert receiver.records == [b"a", b"b"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_headers_and_a_token_are_sent_and_no_message_shows_them(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTLP_TOKEN", "s3cret-token")
    more: dict[str, Any] = {"headers": {"X-Tenant": "t1"}, "token_env": "OTLP_TOKEN", "compression": "gzip"}
    _, receiver = answered(protocol, lambda _: None, **more)
    found = dict(receiver.asked[0].headers) if isinstance(receiver, OverHttp) else receiver.metadata[0]
    got = {name.lower(): text for name, text in found.items()}
    assert (got["x-tenant"], got["authorization"]) == ("t1", "Bearer s3cret-token")
    refusal = "you sent s3cret-token"
    code = (
        (grpc.StatusCode.UNAUTHENTICATED, refusal, ()) if protocol == "grpc" else Reply(401, refusal.encode())
    )
    with pytest.raises(SinkUnavailable) as caught:
        answered(protocol, lambda _: code, **more)
    assert "you sent" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_no_proxy_of_the_environment_is_asked(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        delivery, receiver = answered(protocol, lambda _: None)
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert (delivery, len(receiver.records)) == (Delivery(5), 5)


def test_over_grpc_the_systems_authorities_are_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("receiver", "localhost", "127.0.0.1")
    receiver = OverGrpc(secrets=grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())]))
    try:
        sink = sink_to(receiver.endpoint, "grpc")
        with pytest.raises(SinkUnavailable, match="its certificate is not believed"):
            sink.send(numbered(1))
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))  # where OpenSSL is told the system's are
        assert sink.send(numbered(1)) == Delivery(1)
        sink.close()
    finally:
        receiver.stop()


def test_an_answer_is_read_as_what_it_says_that_it_is() -> None:
    json_answer = Reply(200, b'{"partialSuccess":{}}', {"Content-Type": "application/json; charset=utf-8"})
    assert answered("http/protobuf", lambda _: json_answer)[0] == Delivery(5)
    empty = Reply(200, b"", {"Content-Type": "application/x-protobuf"})
    assert answered("http/json", lambda _: empty)[0] == Delivery(5)


def test_a_path_that_is_a_secret_is_not_shown() -> None:
    receiver = OverHttp()
    receiver.receiver.plan = lambda asked: Reply(404, f"nothing at {asked.path}".encode())
    sink = sink_to(f"{receiver.endpoint}/receiver/v1/otlp/ZaVnC4dhaV", "http/json")
    with pytest.raises(SinkUnavailable) as caught:
        sink.send(numbered(1))
    sink.close()
    receiver.stop()
    line = str(caught.value).partition(": ")[2]
    assert line == "it answers 404: nothing at [REDACTED]; is the path of 'url' right?"


@pytest.mark.parametrize(
    ("protocol", "package", "name"),
    [
        ("http/protobuf", "opentelemetry.proto.collector.logs.v1", "opentelemetry-proto"),
        ("grpc", "grpc", "grpcio"),
    ],
)
def test_a_package_that_is_missing_is_waited_for(
    protocol: str, package: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver: OverGrpc | OverHttp = OverGrpc() if protocol == "grpc" else OverHttp()
    sink = sink_to(receiver.endpoint, protocol)
    for module in [one for one in sys.modules if one == package or one.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, package, None)
        with pytest.raises(SinkUnavailable) as caught:
            sink.send(numbered(1))
    line = f"needs the package {name}, which is not installed: pip install 'indelible[otlp]'"
    assert str(caught.value) == line
    sink.close()
    receiver.stop()


BATCH = st.lists(events.records | events.operation_records | events.redacted, min_size=1, max_size=5)


@settings(max_examples=examples(60), deadline=None)
@given(records=BATCH)
def test_protobuf_says_what_json_says(records: list[Record]) -> None:
    """OpenTelemetry's own classes are the judge; ids are hex in OTLP/JSON, and base64 in protobuf's own mapping."""
    rendered = [FORMAT.render(record) for record in records]
    whole = json.loads(message.as_json(rendered))
    assert [log for _, log in _logs(whole)] == [log for one in rendered for _, log in _logs(json.loads(one))]
    for _, log in _logs(whole):
        for key in ("traceId", "spanId"):
            if key in log:
                log[key] = base64.b64encode(bytes.fromhex(log[key])).decode()
    wanted = json_format.ParseDict(whole, ExportLogsServiceRequest())
    assert ExportLogsServiceRequest.FromString(message.protobuf()(rendered)) == wanted


def _logs(whole: Any) -> list[tuple[Any, Any]]:
    return [
        (resource["resource"], log)
        for resource in whole["resourceLogs"]
        for scope in resource["scopeLogs"]
        for log in scope["logRecords"]
    ]


LOGS, ALL = "OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_OTLP_"
ENDPOINTS: list[tuple[dict[str, str], str]] = [
    ({}, "http://localhost:4318/v1/logs"),
    ({f"{ALL}PROTOCOL": "grpc"}, "http://localhost:4317"),
    ({f"{ALL}ENDPOINT": "https://c.example"}, "https://c.example/v1/logs"),
    ({f"{ALL}ENDPOINT": "https://c.example/base/"}, "https://c.example/base/v1/logs"),
    ({f"{LOGS}ENDPOINT": "https://c.example/base"}, "https://c.example/base"),
    ({f"{LOGS}ENDPOINT": "https://c.example"}, "https://c.example/"),
    ({f"{LOGS}ENDPOINT": "http://l.example", f"{ALL}ENDPOINT": "http://a.example"}, "http://l.example/"),
    ({f"{LOGS}ENDPOINT": "", f"{ALL}ENDPOINT": "http://a.example"}, "http://a.example/v1/logs"),
    ({f"{ALL}PROTOCOL": "grpc", f"{ALL}ENDPOINT": "c.example:4317"}, "https://c.example:4317"),
    (
        {f"{ALL}PROTOCOL": "grpc", f"{ALL}ENDPOINT": "c.example:4317", f"{ALL}INSECURE": "True"},
        "http://c.example:4317",
    ),
]


@pytest.mark.parametrize(("env", "url"), ENDPOINTS)
def test_where_the_environment_sends_logs(env: dict[str, str], url: str) -> None:
    assert exporter(OtlpSettings(), env).url == url


def test_what_else_the_environment_says_and_that_the_configuration_comes_first() -> None:
    env = {
        f"{ALL}ENDPOINT": "https://c.example", f"{ALL}HEADERS": "a=1, b=x%20y%2Cz", f"{ALL}TIMEOUT": "2500",
        f"{ALL}COMPRESSION": "gzip", f"{ALL}CERTIFICATE": "/ca.pem", f"{LOGS}CLIENT_CERTIFICATE": "/c.pem",
        f"{ALL}CLIENT_KEY": "/k.pem", f"{LOGS}PROTOCOL": "http/json", f"{ALL}PROTOCOL": "grpc",
    }  # fmt: skip
    found = exporter(OtlpSettings(), env)
    assert (found.protocol, found.headers, found.timeout, found.gzip) == (
        "http/json", {"a": "1", "b": "x y,z"}, 2.5, True,
    )  # fmt: skip
    assert found.tls == TlsSettings(ca_file="/ca.pem", cert_file="/c.pem", key_file="/k.pem")
    own = OtlpSettings(
        endpoint="https://own.example:9", protocol="grpc", headers={}, compression="none", timeout=1.0,
        tls=TlsSettings(ca_file="/own.pem"),
    )  # fmt: skip
    found = exporter(own, env)
    assert found._replace(tls=None) == ("grpc", "https://own.example:9", {}, False, None, 1.0)
    assert (found.tls, found.address) == (TlsSettings(ca_file="/own.pem"), "own.example:9")
    env = {f"{ALL}HEADERS": "Authorization=Bearer%20env,x=1"}
    assert exporter(OtlpSettings(token=Secret(env="T")), env).headers == {"x": "1"}
    assert exporter(OtlpSettings(), env).headers == {"Authorization": "Bearer env", "x": "1"}


@pytest.mark.parametrize(
    ("name", "protocol", "fits"),
    [
        ("content-length", "http/json", False), ("Host", "http/protobuf", False), ("transfer-encoding", "grpc", False),
        ("x-tenant-bin", "grpc", False), ("grpc-timeout", "grpc", False), ("x-tenant-bin", "http/json", True),
        ("authorization", "grpc", True),
    ],
)  # fmt: skip
def test_headers_that_a_request_has_by_itself_are_refused(name: str, protocol: Any, fits: bool) -> None:
    env = {f"{ALL}HEADERS": f"{name}=7", f"{ALL}PROTOCOL": protocol}
    keys = {"type": "otlp", "headers": {name: "7"}, "protocol": protocol}
    if fits:
        assert exporter(OtlpSettings(), env).headers == {name: "7"}
        parse_sinks([keys])
        return
    with pytest.raises(ConfigError, match=rf"^{ALL}HEADERS: '{name}' is "):
        exporter(OtlpSettings(), env)
    with pytest.raises(ValueError, match=f"headers: '{name}' is "):
        parse_sinks([keys])
    with pytest.raises(ConfigError, match=f"^headers: '{name}' is "):
        exporter(OtlpSettings(headers={name: "7"}), env | {f"{ALL}HEADERS": ""})


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PROTOCOL", "http/xml", "expected http/protobuf, http/json, grpc, found 'http/xml'"),
        ("ENDPOINT", "ftp://x", "expected http://HOST"),
        ("ENDPOINT", "https://u:p@x", "expected http://HOST"),
        ("HEADERS", "a", "expected name=value pairs"),
        ("HEADERS", "a=x%0D%0Ab: y", "expected name=value pairs"),
        ("TIMEOUT", "10s", "expected milliseconds"),
        ("COMPRESSION", "br", "expected gzip, none"),
        ("CLIENT_KEY", "/k.pem", "needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
    ],
)
@pytest.mark.parametrize("prefix", [LOGS, ALL])
def test_a_mistake_in_the_environment_is_one_line(prefix: str, name: str, value: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        exporter(OtlpSettings(), {prefix + name: value})
    assert str(caught.value).startswith(f"{prefix}{name}: {line}")
    assert "\n" not in str(caught.value)
    assert "p@x" not in str(caught.value)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"endpoint": "localhost:4317"}, "endpoint: expected http://HOST"),
    ({"endpoint": "http://x?key=1"}, "endpoint: expected http://HOST"),
    ({"protocol": "http"}, "protocol: expected http/protobuf, http/json or grpc"),
    ({"format": "ecs"}, "format: a sink of type otlp takes otlp"),
    ({"headers": {"a b": "c"}}, "headers: 'a b' is no header"),
    ({"headers": {"Authorization": "x"}, "token_env": "T"}, "headers: authorization is where the token goes"),
    ({"endpoint": "http://x", "tls": {"ca_file": "/c"}}, "tls: is for endpoints with https://"),
    ({"token_env": "T", "token_file": "/t"}, "token_env: give it or token_file, not both"),
]


@pytest.mark.parametrize(("keys", "line"), WRONG)
def test_a_mistake_in_the_configuration_is_one_line(keys: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=r"^sink 1: ") as caught:
        parse_sinks([{"type": "otlp", **keys}])
    assert str(caught.value).removeprefix("sink 1: ").startswith(line)
