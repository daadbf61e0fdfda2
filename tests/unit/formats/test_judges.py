"""JSON formats that others define, before judges that others wrote: what they read is what the event says."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.common import get_event_factory_for_version
from cloudevents.core.formats.json import JSONFormat
from google.protobuf import json_format
from hypothesis import given
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from indelible.formats.names import naming
from indelible.formats.record import Options, Record
from indelible.formats.times import EPOCH, epoch_us, event_time
from indelible.registry import make_format
from tests.unit.formats import events
from tests.unit.formats.readers import micros, otlp, strict

OPTIONS = Options(version="1.0", host="gateway.example")
CLOUDEVENTS, OCSF, OTLP = (make_format(name, OPTIONS) for name in ("cloudevents", "ocsf", "otlp"))
any_record = events.records | events.operation_records | events.redacted

PLAIN = events.with_text(
    "plain",
    source={
        "caller": "http",
        "user_id": "ada",
        "roles": ["dev", "ops"],
        "session_id": "s1",
        "client_ip": "2001:db8::7",
        "tenant": "acme",
        "issuer": "https://idp.example",
        "on_behalf_of": ["agent-1"],
    },
)


@given(any_record)
def test_the_cloudevents_sdk_reads_the_event_and_its_data(record: Record) -> None:
    line = CLOUDEVENTS.render(record)
    event = JSONFormat().read(get_event_factory_for_version("1.0"), line)
    assert event.get_specversion() == "1.0"
    assert event.get_id() == (record.entry.event_id or f"seq:{record.entry.seq}")
    assert event.get_source() == events.ORIGIN
    assert event.get_type() == f"indelible.{naming(record.entry).name}"
    assert event.get_extension("sequence") == str(record.entry.seq)
    time = event_time(record.entry)
    if time:
        assert event.get_time() is not None
        assert (event.get_attributes()["time"] - EPOCH) // timedelta(microseconds=1) == epoch_us(time)
    data = event.get_data()
    assert isinstance(data, dict)
    own = data.pop("indelible")
    assert data == json.loads(record.text)
    assert (own["seq"], own["origin"], own["leaf"]) == (record.entry.seq, record.origin, record.leaf)


def test_a_source_is_a_uri_reference_whatever_the_origin() -> None:
    record = Record(events.line_of(PLAIN), 'exa mple"/<ö>\n')
    event = JSONFormat().read(get_event_factory_for_version("1.0"), CLOUDEVENTS.render(record))
    assert event.get_source() == "exa%20mple%22/%3C%C3%B6%3E%0A"


class Ocsf:
    """The schema's own definitions, as JSON Schema; made once, since that takes a second."""

    def __init__(self) -> None:
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0"))
        profiles = ["ai_operation", "trace"]
        self.api = Draft202012Validator(schema.get_class_schema("api_activity", profiles=profiles))
        self.base = Draft202012Validator(schema.get_class_schema("base_event", profiles=[]))

    def judge(self, value: dict[str, Any]) -> list[str]:
        judge = self.api if value["class_uid"] == 6003 else self.base
        return [error.message for error in judge.iter_errors(value)]


@pytest.fixture(scope="module")
def ocsf() -> Ocsf:
    return Ocsf()


def test_ocsfs_schema_takes_every_record(ocsf: Ocsf) -> None:
    @given(any_record)
    def each(record: Record) -> None:
        value = strict(OCSF.render(record))
        assert ocsf.judge(value) == []
        called = record.entry.event_type in (
            "mcp_operation",
            "mcp_operation_started",
            "sampling",
            "elicitation",
            "auth_rejected",
        )
        assert value["class_uid"] == (6003 if called else 0)
        assert value["type_uid"] == value["class_uid"] * 100 + value["activity_id"]

    each()


def test_ocsf_has_its_own_attributes_for_what_it_knows(ocsf: Ocsf) -> None:
    body = {**PLAIN, "request": {**PLAIN["request"], "trace_id": "4b" * 16, "span_id": "0f" * 8}}
    value = strict(OCSF.render(Record(events.line_of(body), events.ORIGIN)))
    assert ocsf.judge(value) == []
    assert value["time"] == micros("2026-11-21T05:38:34.123456Z") // 1000  # type: ignore[operator]
    assert (value["status_id"], value["severity_id"], value["duration"]) == (2, 3, 2)
    assert value["actor"]["user"]["uid"] == "ada"
    assert value["actor"]["user"]["groups"] == [{"name": "dev"}, {"name": "ops"}]
    assert value["actor"]["session"] == {"uid": "s1", "issuer": "https://idp.example"}
    assert value["src_endpoint"] == {"ip": "2001:db8::7"}
    assert value["api"]["operation"] == "plain"
    assert value["api"]["request"]["data"] == {"plain": ["plain", {"deep": "plain"}]}
    assert value["metadata"]["tenant_uid"] == "acme"
    assert value["trace"]["uid"] == "4b" * 16
    assert value["trace"]["span"]["end_time"] - value["trace"]["span"]["start_time"] == 2
    assert (value["message_context"]["prompt_tokens"], value["message_context"]["completion_tokens"]) == (3, 4)


def test_a_peer_that_is_no_address_is_named_and_nobody_is_somebody(ocsf: Ocsf) -> None:
    for source, expected in (
        ({"caller": "stdio"}, {"name": "stdio"}),
        ({"client_ip": "fe80::1%eth0"}, {"name": "fe80::1%eth0"}),
        ({}, {"name": "unknown"}),
    ):
        value = strict(OCSF.render(Record(events.line_of({**PLAIN, "source": source}), events.ORIGIN)))
        assert ocsf.judge(value) == []
        assert value["src_endpoint"] == expected
        assert value["actor"] == {"app_name": "unknown"}


@given(any_record)
def test_otlp_is_what_the_protobuf_definitions_say(record: Record) -> None:
    line = OTLP.render(record)
    request = json_format.Parse(line, ExportLogsServiceRequest())  # raises for a field that it does not know
    [resource] = request.resource_logs
    [scope] = resource.scope_logs
    [log] = scope.log_records
    entry, called = record.entry, naming(record.entry)
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes} == {
        "service.name": "indelible",
        "service.version": "1.0",
        "host.name": "gateway.example",
    }
    nanoseconds = epoch_us(event_time(entry)) * 1000
    assert log.time_unix_nano == (nanoseconds if 0 < nanoseconds < 2**64 else 0)
    assert (log.severity_number, log.severity_text) == (called.level.otlp, called.level.otlp_text)
    assert log.event_name == f"indelible.{called.name}"
    # OTLP/JSON has ids as hex, which the protobuf mapping takes for base64.
    assert base64.b64encode(log.trace_id).decode() == (entry.request.trace_id or "")
    own = {pair.key: pair.value for pair in log.attributes[-1].value.kvlist_value.values}
    assert log.attributes[-1].key == "indelible"
    assert own["seq"].int_value == entry.seq
    assert (own["origin"].string_value, own["leaf"].string_value) == (record.origin, record.leaf)
    parsed = json.loads(json_format.MessageToJson(request, preserving_proto_field_name=False))
    assert otlp(parsed) == otlp(strict(line))


def test_otlp_has_the_names_of_the_semantic_conventions() -> None:
    body = {**PLAIN, "request": {**PLAIN["request"], "trace_id": "4b" * 16, "span_id": "0f" * 8, "rpc_id": "7"}}
    body["outcome"] = {**PLAIN["outcome"], "error_code": -32602}
    [resource] = strict(OTLP.render(Record(events.line_of(body), events.ORIGIN)))["resourceLogs"]
    log = resource["scopeLogs"][0]["logRecords"][0]
    found = {pair["key"]: next(iter(pair["value"].values())) for pair in log["attributes"]}
    assert found["gen_ai.operation.name"] == "execute_tool"
    assert found["gen_ai.tool.name"] == "plain"
    assert found["gen_ai.usage.input_tokens"] == "3"
    assert found["jsonrpc.request.id"] == "7"
    assert found["rpc.response.status_code"] == "-32602"
    assert found["error.type"] == "-32602"
    assert found["network.transport"] == "tcp"
    assert found["client.address"] == "2001:db8::7"
    assert (log["traceId"], log["spanId"]) == ("4b" * 16, "0f" * 8)


def test_of_other_targets_otlp_has_their_own_names() -> None:
    for kind, name in (("resource", "mcp.resource.uri"), ("prompt", "gen_ai.prompt.name")):
        body = {**PLAIN, "target": {**PLAIN["target"], "type": kind}}
        line = OTLP.render(Record(events.line_of(body), events.ORIGIN)).decode()
        assert f'{{"key":"{name}","value":{{"stringValue":"plain"}}}}' in line
        assert "execute_tool" not in line
        assert "gen_ai.tool.name" not in line
