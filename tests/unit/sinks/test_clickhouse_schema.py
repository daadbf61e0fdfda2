"""The schema that is printed for ClickHouse, run by its own engine: columns say what lines say, views count once."""

from __future__ import annotations

import json
import statistics
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible import events
from indelible.formats.record import Options as FormatOptions
from indelible.formats.record import Record
from indelible.registry import make_format
from indelible.sinks.clickhouse.columns import COLUMNS, Column
from indelible.sinks.clickhouse.quoting import literal
from indelible.sinks.clickhouse.schema import Options, script, statements, view_names
from indelible.trail.entry import stamp
from indelible.trail.erased import erased_line
from indelible.trail.proofs.merkle import leaf_hash
from tests.clickhouse import (
    RECORDED,
    Engine,
    EngineError,
    insert,
    read,
    shipments,
    stamped,
)
from tests.effort import examples
from tests.trails import Body, encode, operation
from tests.unit.formats.events import lines

ORIGIN = "indelible/00112233445566778899aabbccddeeff"


@pytest.fixture(scope="module")
def schema(clickhouse: Engine) -> Options:
    return clickhouse.create("shape")


@pytest.fixture
def origin() -> str:
    """Return the name of a trail that is not there yet."""
    return f"indelible/{uuid4().hex}"


# --- columns ------------------------------------------------------------------------------------------------


@given(st.lists(lines, min_size=1, max_size=12))
@settings(max_examples=examples(60))
def test_any_line_is_one_row_whose_columns_can_be_read(
    clickhouse: Engine, schema: Options, sent: list[bytes]
) -> None:
    origin = f"indelible/{uuid4().hex}"
    insert(clickhouse, "shape", shipments(origin, *sent))
    every = ", ".join(column.name for column in COLUMNS)
    found = read(clickhouse, "shape.events", origin, every)
    assert [row["line"].encode() for row in found] == sent
    assert [row["leaf"] for row in found] == [leaf_of(line) for line in sent]


def leaf_of(line: bytes) -> str:
    found = json.loads(line)
    return found["leaf"] if "erased" in found else leaf_hash(line).hex()


PARTS: dict[str, type[msgspec.Struct]] = {
    "source": events.Source, "target": events.Target, "request": events.Request, "policy": events.Policy,
    "outcome": events.Outcome, "cost": events.Cost, "state": events.State,
}  # fmt: skip


def test_every_field_of_an_event_is_a_column() -> None:
    fields: set[tuple[str, ...]] = {("schema",), ("recorded_at",)}
    for field in msgspec.structs.fields(events.Event):
        of_part = msgspec.structs.fields(PARTS[field.name]) if field.name in PARTS else ()
        fields |= {(field.name, one.encode_name) for one in of_part} or {(field.name,)}
    fields -= {("source", "recorder")}
    fields |= {("source", "recorder", one.encode_name) for one in msgspec.structs.fields(events.RecorderId)}
    assert {column.path for column in COLUMNS if column.path} == fields
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


WHOLE: Body = {
    "timestamp": "2026-11-21T05:38:34.123456Z",
    "event_id": "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a",
    "source": {
        "caller": "http", "session_id": "s'1", "client_ip": "2001:db8::7", "client": "c/1", "user_id": 'a"da\\',
        "caller_type": "agent", "roles": ["dev", "o'ps"], "tenant": "t\t1", "auth_method": "jwt",
        "auth_key_id": "0a1b2c3d", "recorder": {"id": "r", "uid": 1000, "pid": 4711}, "issuer": "https://id.example",
        "on_behalf_of": ["eve", "bob"],
    },
    "target": {
        "backend": "files", "method": "tools/call", "type": "tool", "capability_name": "delete\nfile",
        "original_name": "delete_file", "effects": "destructive", "server_version": "1.2", "tool_sha256": "ab" * 32,
        "protocol_version": "2025-11-25",
    },
    "request": {
        "request_id": "r-7", "intent": "11111111-1111-4111-8111-111111111111", "rpc_id": '"7"', "args_bytes": 123,
        "trace_id": "4b" * 16, "span_id": "00f067aa0ba902b7", "continues": "r-6", "args_hmac": "cd" * 32,
        "args": {"a": [1, 2.5, None, "é😀\u0000"]}, "hmac_key_id": "k1",
    },
    "policy": {"decision": "warn", "rule": "r1", "reason": "why; not -- really"},
    "outcome": {
        "status": "error", "kind": "tool_error", "latency_ms": 1234.0625, "error": "no such file",
        "result_bytes": 2**53 - 1, "error_type": "OSError", "error_code": -32602, "result_hmac": "ef" * 32,
        "result": ["x", {"y": 1}],
    },
    "cost": {"centicents": 12345, "model": "token", "input_tokens": 7, "output_tokens": 0},
    "state": {"from": "Ready", "to": "Failed", "reason": "it died"},
    "metadata": {"indelible.x": {"y": []}},
}  # fmt: skip
"""Every field that there is."""


@pytest.mark.parametrize("event_type", [*get_args(events.EventType), "of_a_later_version"])
def test_a_column_says_what_the_line_says(
    clickhouse: Engine, schema: Options, origin: str, event_type: str
) -> None:
    """Of every type of event: whole, and with nothing but what each has."""
    bare = {"timestamp": WHOLE["timestamp"], "event_id": WHOLE["event_id"], "event_type": event_type}
    sent = stamped({**WHOLE, "event_type": event_type, "of_a_later_version": {"x": 1}}, bare)
    insert(clickhouse, "shape", shipments(origin, *sent))
    found = read(clickhouse, "shape.events FINAL", origin, ", ".join(column.name for column in COLUMNS))
    for line, row in zip(sent, found, strict=True):
        for column in COLUMNS:
            if column.path:
                assert row[column.name] == expected(column, json.loads(line)), column.name
        assert (row["origin"], row["erased"], row["leaf"]) == (origin, 0, leaf_hash(line).hex())


def expected(column: Column, event: Any) -> Any:
    value = event
    for key in column.path:
        value = value.get(key) if isinstance(value, dict) else None
    if column.type.startswith("DateTime64"):
        return value.replace("T", " ").removesuffix("Z")
    if "ExtractRaw" in column.expression:
        return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    empty: Any = None if column.type.startswith("Nullable") else [] if column.type.startswith("Array") else ""
    return empty if value is None else value


@pytest.mark.parametrize("said", ["soon", "12", "20261121", "", "2026-02-30T00:00:00.000000Z", "9" * 40])
def test_what_is_no_time_is_the_time_of_recording(
    clickhouse: Engine, schema: Options, origin: str, said: str
) -> None:
    insert(clickhouse, "shape", shipments(origin, *stamped(operation(0, timestamp=said))))
    [row] = read(clickhouse, "shape.events FINAL", origin, "timestamp, recorded_at")
    assert row["timestamp"] == row["recorded_at"] == RECORDED.replace("T", " ").removesuffix("Z")


def test_a_time_with_an_offset_is_the_same_moment(clickhouse: Engine, schema: Options, origin: str) -> None:
    sent = operation(0, timestamp="2026-11-21T07:38:34.1+02:00")
    insert(clickhouse, "shape", shipments(origin, *stamped(sent)))
    [row] = read(clickhouse, "shape.events FINAL", origin, "timestamp")
    assert row["timestamp"] == "2026-11-21 05:38:34.100000"


# --- the views ----------------------------------------------------------------------------------------------


def of_every_type() -> list[Body]:
    bodies: list[Body] = [{**WHOLE, "event_type": one} for one in get_args(events.EventType)]
    for number, (kind, status) in enumerate(sorted(events.STATUS_OF_KIND.items())):
        changes: Any = {
            "outcome": {"status": status, "kind": kind, "latency_ms": 1.5 * number},
            "cost": {"centicents": 3 * number + 1} if number % 2 else None,
            "source__user_id": f"user {number % 3}",
            "source__caller": None if number == 1 else "stdio",
            "policy": {"decision": "deny", "rule": "r", "reason": "no"} if kind == "denied" else None,
            "request__args": None if number == 2 else {"n": number},
        }
        bodies.append({**operation(number, **changes)})
    return bodies


@pytest.fixture(scope="module")
def viewed(clickhouse: Engine) -> list[Record]:
    clickhouse.create("views")
    sent = stamped(*of_every_type())
    insert(clickhouse, "views", shipments(ORIGIN, *sent))
    insert(clickhouse, "views", shipments(ORIGIN, *sent)[5:])  # and some of it twice
    return [Record(line, ORIGIN) for line in sent]


def of_calls(viewed: list[Record]) -> list[Record]:
    return [record for record in viewed if record.entry.event_type == "mcp_operation"]


def view(engine: Engine, name: str) -> list[dict[str, Any]]:
    return engine.rows(f"SELECT * FROM views.{name} ORDER BY ALL")


def test_every_view_answers(clickhouse: Engine, viewed: list[Record]) -> None:
    assert all(view(clickhouse, name) for name in view_names(Options("views")))


def test_the_view_of_calls_has_each_once(clickhouse: Engine, viewed: list[Record]) -> None:
    found = clickhouse.rows("SELECT * FROM views.operations ORDER BY seq")
    assert [row["line"].encode() for row in found] == [record.line for record in of_calls(viewed)]


def test_logs_is_what_the_format_mxcp_makes(clickhouse: Engine, viewed: list[Record]) -> None:
    render = make_format("mxcp", FormatOptions()).render
    found = clickhouse.rows("SELECT * FROM views.logs ORDER BY seq")
    for record, row in zip(of_calls(viewed), found, strict=True):
        made = json.loads(render(record))
        proof = made.pop("indelible")
        assert list(row)[: len(made)] == list(made)
        last = ("event_id", "origin", "seq", "leaf")
        assert {key: row[key] for key in last} == {key: proof[key] for key in last}
        assert row["timestamp"][:23] == made.pop("timestamp").replace("T", " ").removesuffix("Z")
        assert json.loads(row["input_json"]) == json.loads(made.pop("input_json"))
        assert {key: row[key] for key in made} == made
        assert (
            list(row)[: len(made)]
            == ["timestamp", "caller", "type", "name", "input_json", *list(made)[3:]][: len(made)]
        )


def test_errors_and_denials(clickhouse: Engine, viewed: list[Record]) -> None:
    calls = of_calls(viewed)
    failed = [
        record.entry.seq for record in calls if record.entry.outcome and record.entry.outcome.status == "error"
    ]
    assert sorted(row["seq"] for row in view(clickhouse, "errors")) == failed
    refused = [
        record.entry.seq
        for record in viewed
        if record.entry.event_type == "auth_rejected"
        or (
            record in calls
            and record.entry.outcome
            and record.entry.outcome.kind in ("denied", "unauthenticated")
        )
    ]
    assert sorted(row["seq"] for row in view(clickhouse, "denials")) == refused
    assert len(refused) == 3


def test_latency_of_tools(clickhouse: Engine, viewed: list[Record]) -> None:
    [row] = [row for row in view(clickhouse, "tool_latency") if row["tool"] == "read_file"]
    took = sorted(
        record.entry.outcome.latency_ms or 0.0
        for record in of_calls(viewed)
        if record.entry.outcome and record.entry.target.capability_name == "read_file"
    )
    assert (row["calls"], row["max_ms"]) == (len(took), took[-1])
    assert took[0] <= row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["max_ms"]
    assert row["p50_ms"] in (statistics.median_low(took), statistics.median_high(took))
    day = datetime.fromisoformat(of_calls(viewed)[-1].entry.timestamp).astimezone(UTC).date()
    assert row["day"] == day.isoformat()


def test_costs_are_exact(clickhouse: Engine, viewed: list[Record]) -> None:
    rows = clickhouse.rows(
        "SELECT user_id, centicents, toString(cost) AS cost FROM views.costs WHERE backend = 'files'"
    )
    spent: dict[str, int] = {}
    for record in of_calls(viewed):
        cost = record.entry.cost
        if cost.centicents is not None:
            user = record.entry.source.user_id or ""
            spent[user] = spent.get(user, 0) + int(cost.centicents)
    assert {row["user_id"]: row["centicents"] for row in rows} == spent
    assert {row["user_id"]: Decimal(row["cost"]) for row in rows} == {
        user: Decimal(count) / 10_000 for user, count in spent.items()
    }


def test_nothing_that_a_line_may_say_makes_a_view_fail(clickhouse: Engine) -> None:
    clickhouse.create("odd")
    numbers: list[Any] = [2**53 - 1, -(2**53) + 1, 1e300, "NaN", "7", None, [], {}]
    for number in numbers:
        odd = operation(0, outcome={"status": "success", "kind": "completed", "latency_ms": number})
        odd["cost"] = {"centicents": number, "input_tokens": number, "model": number}
        odd["source"]["roles"] = number
        insert(clickhouse, "odd", shipments(f"odd/{number!r}".replace("'", ""), *stamped(odd)))
    for name in view_names(Options("odd")):
        clickhouse.rows(f"SELECT * FROM odd.{name}")


# --- the rest -----------------------------------------------------------------------------------------------


def test_what_is_printed_runs_as_it_stands(clickhouse: Engine) -> None:
    """Comments and all, as a client that is handed the whole of it does."""
    options = Options("it's -- `printed`", ttl=86_400)
    clickhouse.query(script(options))
    made = clickhouse.rows(f"SELECT name FROM system.tables WHERE database = {literal(options.database)}")
    assert {row["name"] for row in made} == {"events", *view_names(options)}


def test_a_column_cannot_be_inserted_that_says_something_else(clickhouse: Engine, schema: Options) -> None:
    with pytest.raises(EngineError, match="ILLEGAL_COLUMN"):
        clickhouse.query(
            'INSERT INTO shape.events (origin, seq, line, user_id) FORMAT JSONEachRow {"user_id":"eve"}'
        )


def test_rows_go_when_their_time_is_over(clickhouse: Engine, origin: str) -> None:
    for statement in statements(Options("ttl", ttl=90 * 86_400)):
        clickhouse.query(statement.sql)
    assert "toIntervalDay(90)" in clickhouse.query("SHOW CREATE TABLE ttl.events", "TSVRaw")
    old = stamp(0, "2020-01-01T00:00:00.000000Z", encode(operation(0)))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    insert(
        clickhouse,
        "ttl",
        shipments(origin, old, stamp(1, now, encode(operation(1))), erased_line(2, "x", b"\1" * 32)),
    )
    clickhouse.query("OPTIMIZE TABLE ttl.events FINAL")
    assert [row["seq"] for row in read(clickhouse, "ttl.events", origin)] == [1, 2]


@pytest.mark.parametrize("days", [365, 29_000, 36_500])
def test_what_is_kept_beyond_the_end_of_a_datetime_is_not_deleted_at_once(
    clickhouse: Engine, origin: str, days: int
) -> None:
    """A DateTime ends in 2106, and what is added beyond that begins anew at 1970."""
    database = f"ttl_{days}"
    for statement in statements(Options(database, ttl=days * 86_400)):
        clickhouse.query(statement.sql)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    times = (now, "2105-12-31T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z")
    lines = [stamp(seq, time, encode(operation(seq))) for seq, time in enumerate(times)]
    insert(clickhouse, database, shipments(origin, *lines))
    clickhouse.query(f"OPTIMIZE TABLE {database}.events FINAL")
    assert [row["seq"] for row in read(clickhouse, f"{database}.events", origin)] == [0, 1, 2]


def test_with_replicas_and_on_a_cluster_it_parses(clickhouse: Engine) -> None:
    for statement in statements(Options(cluster="{clu'ster}", ttl=3600)):
        found = clickhouse.query(f"EXPLAIN AST {statement.sql}", "TSVRaw")
        assert "Create" in found
        assert "ON CLUSTER '{clu\\'ster}'" in statement.sql
    [table] = [one.sql for one in statements(Options(cluster="c")) if one.makes == "table events"]
    assert "ENGINE = ReplicatedReplacingMergeTree(erased)" in table
    assert "non_replicated" not in table
