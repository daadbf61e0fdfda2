"""Any event whatever, in every JSON format: one line, from which what the event says is read back."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given

from indelible.formats.record import OPERATIONS, Options, Record
from indelible.formats.times import event_time
from indelible.registry import make_format
from indelible.trail.erased import erased_line
from tests.unit.formats import events
from tests.unit.formats.readers import JSON_FORMATS, OPERATIONS_ONLY, READERS, flat, micros, strict

FORMATS = {name: make_format(name, Options(version="1.0")) for name in JSON_FORMATS}
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x84\x86-\x9f]")
NO_ARGS: dict[str, Any] = {}


def held(name: str, record: Record) -> bool:
    holds = FORMATS[name].holds
    return holds is None or record.entry.event_type in holds


def said(record: Record) -> dict[str, Any]:
    """Return what the line says; where nothing is said the formats of other systems say so in their own way."""
    found = flat(json.loads(record.text))
    leaf = record.entry.leaf or sha256(b"\0" + record.line).hexdigest()
    time = micros(event_time(record.entry) or None)
    return {
        **found,
        "origin": events.ORIGIN,
        "leaf": leaf,
        "time": time,
        "time_ms": (time or 0) // 1000,
    }


def test_these_are_the_formats_that_hold_calls_alone() -> None:
    assert {name for name in JSON_FORMATS if FORMATS[name].holds is not None} == set(OPERATIONS_ONLY)
    assert all(FORMATS[name].holds == OPERATIONS for name in OPERATIONS_ONLY)


@given(events.records | events.operation_records | events.redacted)
def test_an_event_is_one_line_from_which_it_is_read_back(record: Record) -> None:
    for name in JSON_FORMATS:
        if held(name, record):
            reads_back(name, record)


def reads_back(name: str, record: Record) -> None:
    line = FORMATS[name].render(record)
    assert not CONTROLS.search(line.decode("utf-8"))
    read, expected = READERS[name](strict(line)), said(record)
    if not expected["args"] and name in ("mxcp", "alive", "otlp"):
        expected["args"] = read["args"]  # an empty object, or nothing
        assert not read["args"]
    if name == "ocsf" and expected["time"] is None:
        assert read["time_ms"] == 0
    assert (name, read) == (name, {key: expected[key] for key in read})
    assert FORMATS[name].render(record) == line


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_half_a_surrogate_pair_is_replaced_and_said(name: str) -> None:
    record = Record(events.line_of(events.with_text("half \ud800 a pair")), events.ORIGIN)
    line = FORMATS[name].render(record).decode("utf-8")
    assert "half � a pair" in line
    assert '"mended":true' in line or '"key":"mended","value":{"boolValue":true}' in line
    assert sha256(b"\0" + record.line).hexdigest() in line


@pytest.mark.parametrize("name", OPERATIONS_ONLY)
def test_an_intent_is_no_success(name: str) -> None:
    body = {key: value for key, value in events.with_text("x").items() if key not in ("outcome", "cost")}
    record = Record(events.line_of({**body, "event_type": "mcp_operation_started"}), events.ORIGIN)
    value = strict(FORMATS[name].render(record))
    shown = value["outcome"]["status"] if name == "argus" else value.get("status", value.get("outcome"))
    assert shown == "started"


@pytest.mark.parametrize("name", [name for name in JSON_FORMATS if name not in OPERATIONS_ONLY])
def test_a_record_of_an_erased_line_says_that_it_was_erased_and_by_which_event(name: str) -> None:
    by, leaf = "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a", "ab" * 32
    record = Record(erased_line(3, by, bytes.fromhex(leaf)), events.ORIGIN)
    line = FORMATS[name].render(record).decode()
    assert "ErasedLine" in line
    assert by in line
    assert leaf in line
    assert READERS[name](strict(line.encode()))["seq"] == 3


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_no_caller_gives_a_record_another_last_key(name: str) -> None:
    forged = {"indelible": {"event_id": "forged", "seq": 1}, "x": 1}
    text = events.line_of(events.with_text("x", metadata=forged))
    text = text.replace(b'"indelible"', b'"\\u0069ndelible"')
    record = Record(text, events.ORIGIN)
    assert READERS[name](strict(FORMATS[name].render(record)))["seq"] == 7


@given(events.times, events.times.filter(str.isprintable))
def test_the_time_is_the_events_own_else_the_writers(timestamp: str, recorded_at: str) -> None:
    entry = Record(events.line_of(events.with_text("x", timestamp=timestamp), 7, recorded_at), "o").entry
    expected = ""
    for text in (timestamp, recorded_at):
        try:
            moment = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
        expected = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)
        break
    assert event_time(entry) == expected
