"""OTLP/JSON, as the OpenTelemetry Collector decodes it: one log record of each line, and what the event says in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.formats.names import naming
from indelible.formats.record import Options, Record
from indelible.formats.times import epoch_us, event_time
from indelible.registry import make_format
from tests.effort import examples
from tests.unit.formats import events
from tests.unit.formats.readers import otlp, strict

FORMAT = make_format("otlp", Options(version="1.0", host="gateway.example"))
BATCH = st.lists(events.records | events.operation_records | events.redacted, min_size=1, max_size=8)
ANY = settings(
    max_examples=examples(20),
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
    deadline=None,
)

Read = Callable[[list[bytes]], list[list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def read() -> Read:
    """Return what has the Collector decode lines."""
    from tests.judges.conftest import TOOLS

    program = TOOLS / "otlpread"
    assert program.exists(), "otlpread is not built: run make setup"

    def ask(lines: list[bytes]) -> list[list[dict[str, Any]]]:
        stream = b"".join(line + b"\n" for line in lines)
        done = subprocess.run([str(program)], input=stream, capture_output=True, check=False, timeout=120)
        assert (done.returncode, done.stderr) == (0, b"")
        return [json.loads(line) for line in done.stdout.split(b"\n") if line]

    return ask


def nanoseconds(time: str) -> str:
    """Return a time as OTLP has it; 0 is none."""
    found = epoch_us(time) * 1000
    return str(found) if 0 < found < 2**64 else "0"


def assert_understood(log: dict[str, Any], record: Record) -> None:
    """Check one log record as the judge understood it."""
    entry, called = record.entry, naming(record.entry)
    assert log["resource"] == {
        "service.name": "indelible",
        "service.version": "1.0",
        "host.name": "gateway.example",
    }
    assert (log["time"], log["observed"]) == (nanoseconds(event_time(entry)), nanoseconds(entry.recorded_at))
    assert (log["severity"], log["text"]) == (called.level.otlp, called.level.otlp_text)
    assert (log["event"], log["scope"]) == (f"indelible.{called.name}", "indelible")
    assert log["trace"] == (entry.request.trace_id or "")
    assert log["span"] == (entry.request.span_id or "" if entry.request.trace_id else "")
    attributes, own = log["attributes"], log["attributes"]["indelible"]
    args = attributes.get("gen_ai.tool.call.arguments", own.get("args"))
    said = otlp(strict(FORMAT.render(record)))
    assert {
        name: own.get(name) for name in ("event_id", "seq", "origin", "leaf", "request_id", "kind", "backend")
    } == {name: said[name] for name in ("event_id", "seq", "origin", "leaf", "request_id", "kind", "backend")}
    assert (attributes.get("user.id"), own.get("error")) == (entry.source.user_id, said["error"])
    assert (None if args is None else json.loads(args)) == said["args"]


@ANY
@given(records=BATCH)
def test_the_collector_reads_one_log_record_of_each_line(records: list[Record], read: Read) -> None:
    got = read([FORMAT.render(record) for record in records])
    assert len(got) == len(records)
    for [log], record in zip(got, records, strict=True):
        assert_understood(log, record)


def test_the_collector_reads_forged_text_as_text(read: Read) -> None:
    records = [Record(events.line_of(events.with_text(text)), events.ORIGIN) for text in events.FORGED]
    got = read([FORMAT.render(record) for record in records])
    assert [log["attributes"]["user.id"] for [log] in got] == list(events.FORGED)
    assert [log["attributes"]["indelible"]["error"] for [log] in got] == list(events.FORGED)
    assert {log["attributes"]["indelible"]["seq"] for [log] in got} == {7}
