"""A real OpenTelemetry Collector understands what the otlp sink sends: over HTTP and gRPC, plain and over TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import indelible
from indelible.formats.record import Options, Record
from indelible.registry import make_format, make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.base import Shipment, Sink, SinkUnavailable
from tests.collectors import Collector
from tests.effort import examples
from tests.judges.test_otlp_records import assert_understood
from tests.servers import PATIENCE_S, running, until_taken
from tests.unit.docs.pages import DOCS, blocks
from tests.unit.formats import events

PAGE = DOCS / "how-to" / "ship-to-opentelemetry.md"
PROTOCOLS = ("http/protobuf", "http/json", "grpc")
FORMAT = make_format("otlp", Options(version="1.0", host="gateway.example"))


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    made = Collector(tmp_path_factory.mktemp("collector"))
    with running(made):
        yield made


def sink_of(**keys: Any) -> Sink:
    [sink] = parse_sinks([{"type": "otlp", **keys}])
    return make_sink(sink)


def shipment(record: Record) -> Shipment:
    return Shipment(FORMAT.render(record), record.entry.seq, record.entry.event_id)


def numbered(numbers: Sequence[int], size: int = 10) -> list[Shipment]:
    """Return records that are told apart by their user, about `size` bytes each."""
    made = []
    for number in numbers:
        line = events.line_of(events.with_text(f"{number}:" + "x" * size))
        made.append(Shipment(FORMAT.render(Record(line, events.ORIGIN)), number, f"id-{number}"))
    return made


def numbers(collector: Collector) -> list[int]:
    return [int(log["attributes"]["user.id"].partition(":")[0]) for log in collector.records()]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_it_reads_back_what_was_sent(collector: Collector, protocol: str, tls: bool) -> None:
    """Any events whatever; the batch is one request, and each of its records says what its event does."""
    keys: dict[str, Any] = {"endpoint": collector.endpoint(protocol, tls=tls), "protocol": protocol}
    if tls:
        certificate, key = map(str, collector.client)
        keys["tls"] = {"ca_file": str(collector.ca), "cert_file": certificate, "key_file": key}
    sink = sink_of(**keys, compression="gzip" if tls else "none", timeout="60s")

    @settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(events.records | events.operation_records | events.redacted, min_size=1, max_size=8))
    def sent(records: list[Record]) -> None:
        collector.forget()
        delivery = sink.send([shipment(record) for record in records])
        assert (delivery.taken, list(delivery.refused)) == (len(records), [])
        [request] = collector.requests()
        assert len(request) == len(records)
        for log, record in zip(request, records, strict=True):
            assert_understood(log, record)

    sink.open()
    sent()
    sink.close()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_nothing_is_missing_when_it_is_killed(tmp_path: Path, protocol: str) -> None:
    """Batch after batch, while it is killed, is away, and starts again."""
    collector = Collector(tmp_path)
    with running(collector):
        sink = sink_of(endpoint=collector.endpoint(protocol), protocol=protocol, timeout="60s")
        until_taken(sink, numbered([0]))

        def disturb() -> None:
            deadline = time.monotonic() + PATIENCE_S
            while len(collector.records()) < 200 and time.monotonic() < deadline:
                time.sleep(0.02)
            collector.stop(signal.SIGKILL)
            collector.start()

        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        number = 1
        while disturbing.is_alive():
            until_taken(sink, numbered(range(number, number + 50)))
            number += 50
        disturbing.join()
        until_taken(sink, numbered([number]))
        sink.close()
        assert list(dict.fromkeys(numbers(collector))) == list(range(number + 1))


@pytest.mark.parametrize("protocol", ["http/json", "grpc"])
def test_what_is_too_large_for_one_request_goes_in_several(collector: Collector, protocol: str) -> None:
    """A Collector takes 4 MB over gRPC; this one 1 MB over HTTP."""
    collector.forget()
    sink = sink_of(
        endpoint=collector.endpoint(protocol), protocol=protocol, timeout="60s",
        flush_batch_lines=2000, flush_batch_bytes="64MB",
    )  # fmt: skip
    batch = numbered(range(200), 1_000)
    delivery = sink.send(batch)
    sink.close()
    assert (delivery.taken, list(delivery.refused)) == (len(batch), [])
    assert numbers(collector) == list(range(len(batch)))
    assert len(collector.requests()) > 1


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_it_refuses_who_has_no_certificate_and_that_is_said(collector: Collector, protocol: str) -> None:
    collector.forget()
    endpoint = collector.endpoint(protocol, tls=True)
    sink = sink_of(endpoint=endpoint, protocol=protocol, timeout="60s", tls={"ca_file": str(collector.ca)})
    with pytest.raises(SinkUnavailable) as caught:
        sink.send(numbered([0]))
    sink.close()
    assert caught.value.delivery.taken == 0
    assert str(caught.value).startswith(f"{endpoint}: ")
    assert "certificate" in str(caught.value)
    assert collector.records() == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_trail_is_shipped_as_the_environment_says(
    collector: Collector, protocol: str, tmp_path: Path
) -> None:
    """From the call to the Collector, with `indelible ship`."""
    collector.forget()
    config = tmp_path / "indelible.yaml"
    sink = {"type": "otlp", "start": "beginning"}
    config.write_text(json.dumps({"audit": {"path": "audit.jsonl", "ship": "off", "sinks": [sink]}}))
    with indelible.open_trail(config=config) as trail:
        for name in ("first", "second"):
            with trail.operation("tools/call", name, args={"name": name}, user_id="alice"):
                pass
    env = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint(protocol),
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a%20b",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "60000",
    }
    command = [str(Path(sys.executable).with_name("indelible")), "ship", "--once", "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    found = [log["attributes"] for log in collector.records()]
    calls = [one for one in found if one.get("mcp.method.name") == "tools/call"]
    assert [one["gen_ai.tool.name"] for one in calls] == ["first", "second"]
    expected = [event["seq"] for event in indelible.search(tmp_path / "audit.jsonl")]
    assert [one["indelible"]["seq"] for one in calls] == expected


def test_what_the_page_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Collector, with an exporter that writes what arrived, and its sinks; ports and files are the test's."""
    shown = [yaml.safe_load(block.text) for block in blocks(PAGE) if block.language in ("yaml", "text")]
    [receives] = [one for one in shown if "receivers" in one]
    collector = Collector(tmp_path)
    ports = receives["receivers"]["otlp"]["protocols"]
    for name in ("http", "grpc"):
        assert ports[name]["endpoint"].startswith("127.0.0.1:43")
        ports[name]["endpoint"] = f"127.0.0.1:{collector.ports[name]}"
    own = json.loads(collector.config.read_text())
    [exporter] = receives["service"]["pipelines"]["logs"]["exporters"]
    receives["exporters"] = {"lines": own["exporters"]["lines"]}
    assert exporter not in receives["exporters"]
    receives["service"]["pipelines"]["logs"]["exporters"] = ["lines"]
    receives["service"]["telemetry"] = own["service"]["telemetry"]
    receives["receivers"]["otlp/tls"] = own["receivers"]["otlp/tls"]  # as the page says: to another machine
    receives["service"]["pipelines"]["logs"]["receivers"].append("otlp/tls")
    collector.config.write_text(json.dumps(receives))
    with running(collector):
        for number, one in enumerate(one for one in shown if "audit" in one):
            [keys] = one["audit"]["sinks"]
            secure = keys["endpoint"].startswith("https")
            keys["endpoint"] = collector.endpoint(keys["protocol"], tls=secure)
            if secure:
                certificate, key = map(str, collector.client)
                keys["tls"] |= {
                    "ca_file": str(collector.ca), "cert_file": certificate, "key_file": key,
                }  # fmt: skip
                monkeypatch.setenv(keys["token_env"], "t0ken")
            sink = sink_of(**{key: value for key, value in keys.items() if key != "type"})
            until_taken(sink, numbered([number]))
            sink.close()
        assert numbers(collector) == [0, 1]
