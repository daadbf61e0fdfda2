"""Filters see what a line says, and times are what people write."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import ConfigError
from indelible.query.filters import (
    CALLS,
    EVENT_TYPES,
    Filter,
    parse_event,
    parse_event_types,
    parse_row,
    parse_time,
    read_event,
)
from indelible.trail.entry import stamp
from tests.trails import at, encode, operation

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def matches(wanted: Filter, body: dict[str, Any]) -> bool:
    row = parse_row(stamp(7, at(9), encode(body)))
    assert row is not None
    return wanted.predicate()(row)


HOSTILE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["'", '"', "'; DROP TABLE logs; --", "*", "?", "%", "[a-z]", "a\\", "\x00", "\x1b[31m", "\u202e", ""]
    ),
)
FIELDS = {
    "user": ("source", "user_id"),
    "session": ("source", "session_id"),
    "caller_type": ("source", "caller_type"),
    "backend": ("target", "backend"),
    "type": ("target", "type"),
    "name": ("target", "capability_name"),
    "status": ("outcome", "status"),
    "kind": ("outcome", "kind"),
    "request_id": ("request", "request_id"),
}


@pytest.mark.parametrize("field", FIELDS)
@given(value=HOSTILE, other=HOSTILE)
def test_a_value_is_just_a_value(field: str, value: str, other: str) -> None:
    part, key = FIELDS[field]
    values: dict[str, Any] = {field: frozenset({value})}
    wanted = Filter(**values)
    changes: dict[str, Any] = {f"{part}__{key}": value}
    body = operation(**changes)
    assert matches(wanted, body)
    changes = {f"{part}__{key}": other, "target__original_name": other}
    body = operation(**changes)
    assert matches(wanted, body) == (value == other)


def test_filters_are_joined_by_and_their_values_by_or() -> None:
    body = operation()
    assert matches(Filter(user=frozenset({"ada", "bob"}), kind=frozenset({"completed"})), body)
    assert not matches(Filter(user=frozenset({"ada"}), kind=frozenset({"denied"})), body)


@pytest.mark.parametrize("kind", ["tool", "resource", "prompt"])
def test_a_name_of_a_kind_is_only_of_that_kind(kind: str) -> None:
    body = operation(target={"type": kind, "capability_name": "files_x", "original_name": "x"})
    for option in ("tool", "resource", "prompt"):
        for name in ("files_x", "x"):
            values: dict[str, Any] = {option: frozenset({name})}
            assert matches(Filter(**values), body) == (option == kind)
    assert matches(Filter(name=frozenset({"x"})), body)
    assert not matches(Filter(tool=frozenset({"files"})), body)


def test_a_call_without_a_decision_was_not_decided() -> None:
    wanted = Filter(policy=frozenset({"n/a"}))
    assert matches(wanted, operation())
    assert not matches(wanted, operation(policy={"decision": "deny"}))
    assert not matches(
        Filter(events=None, policy=frozenset({"n/a"})), {"timestamp": at(1), "event_type": "alert"}
    )


def test_calls_alone_unless_asked() -> None:
    started = operation(event_type="mcp_operation_started")
    assert not matches(Filter(), started)
    assert matches(Filter(events=parse_event_types(("mcp_operation_started,alert",))), started)
    assert matches(Filter(events=parse_event_types(("all",))), started)
    assert parse_event_types(()) == CALLS


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_event_type_can_be_asked_for(name: str) -> None:
    assert parse_event_types((name,)) == frozenset({name})


def test_an_unknown_event_type_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'alert'"):
        parse_event_types(("alerts",))


# --- lines ------------------------------------------------------------------------------------------------


def line(text: str) -> bytes:
    return f'{{"seq":3,"schema":1,"recorded_at":"{at(1)}",{text}}}'.encode()


@pytest.mark.parametrize(
    "text",
    [
        '"source":null',
        '"source":[1],"target":"x","outcome":7,"event_type":null',
        '"timestamp":5,"unknown":{"deep":[[[]]]}',
        '"source":{"user_id":7,"session_id":["a"]}',
        '"request":{"args":"\\ud800"},"event_type":"mcp_operation"',
        '"source":{"user_id":"\\udfff"}',
        '"a":1,"a":2',
    ],
)
def test_an_unforeseen_shape_is_still_an_entry(text: str) -> None:
    row = parse_row(line(text))
    assert row is not None
    assert row.seq == 3
    assert parse_event(line(text)) is not None
    for wanted in (
        Filter(events=None, user=frozenset({"x"})),
        Filter(),
        Filter(events=None, tool=frozenset({"a"})),
    ):
        wanted.predicate()(row)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"garbage", b"[1]", b'{"seq":1', b'{"seq":"1"}', b'{"seq":1,"x":NaN}', b'{"seq":1,"x":"\xff"}',
        b'{"a":1,"seq":1}', b'{"seq":1}{"seq":2}', b'{"seq":1,"x":"' + b"a" * 65_535 + b'"}',
    ],
)  # fmt: skip
def test_what_is_no_entry_is_none(data: bytes) -> None:
    assert parse_row(data) is None or parse_event(data) is None


@given(st.binary(max_size=200))
def test_parsing_never_raises(data: bytes) -> None:
    parse_row(data)
    parse_row(b'{"seq":1,' + data)
    parse_event(b'{"seq":1,"x":"\\ud800' + data)


# --- times ------------------------------------------------------------------------------------------------


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(9000, 1, 1)),  # noqa: DTZ001 - it asks for these
    st.integers(-14 * 60, 14 * 60),
)
def test_rfc_3339_with_any_offset(moment: datetime, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    local = moment.replace(tzinfo=UTC).astimezone(zone)
    sign = "-" if minutes < 0 else "+"
    offset = f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    text = local.strftime("%Y-%m-%dT%H:%M:%S.%f") + offset
    expected = moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
    assert parse_time(text, NOW) == expected
    assert parse_time(expected.lower(), NOW) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", "2026-11-21T11:59:50.000000Z"),
        ("5m", "2026-11-21T11:55:00.000000Z"),
        ("2h", "2026-11-21T10:00:00.000000Z"),
        ("1d", "2026-11-20T12:00:00.000000Z"),
        ("1h30m", "2026-11-21T10:30:00.000000Z"),
        (" 2h ", "2026-11-21T10:00:00.000000Z"),
        ("2026-11-21", "2026-11-21T00:00:00.000000Z"),
        ("2026-11-21T08:30Z", "2026-11-21T08:30:00.000000Z"),
        ("2026-11-21 08:30:01+02:00", "2026-11-21T06:30:01.000000Z"),
        ("2026-11-21T08:30:01.5Z", "2026-11-21T08:30:01.500000Z"),
        ("2026-11-21T08:30:01.123456789Z", "2026-11-21T08:30:01.123456Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
        ("2017-01-01T05:29:60.5+05:30", "2017-01-01T00:00:00.000000Z"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "yesterday", "10", "10x", "-5m", "5 apples", "2026-13-01", "2026-11-21T08:30:00",
        "2026-11-21T25:00:00Z", "2026-02-30", "1e9d", "99999999999d", "2026-11-21T08:30:60Z", "2016-12-31T23:59:61Z",
        "9999-12-31T23:59:60Z", "\u0661\u0660s",
        "0001-01-01T00:00:00+10:00", "5m'", "\0",
    ],
)  # fmt: skip
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        parse_time(text, NOW)


@pytest.mark.parametrize(
    "line",
    [
        b'{"seq":true}',
        b'{"seq":18446744073709551616}',
        b'{"seq":1,"metadata":' + b"[" * 1500 + b"]" * 1500 + b"}",
        b'{"seq":1,"metadata":1e400}',
        b'{"seq":1,"outcome":{"latency_ms":-' + b"9" * 5000 + b"}}",
        b'{"seq":1,"outcome":{"latency_ms":' + b"9" * 280 + b"e40}}",
        b'{"seq":1e400}',
    ],
)
def test_what_one_reader_cannot_read_no_reader_reads(line: bytes) -> None:
    assert (parse_row(line) is None) == (read_event(line) is None)


def test_a_number_that_no_double_holds_is_not_known() -> None:
    line = b'{"seq":1,"a":[1e400,-1e400,%b,1e308,18446744073709551616,"\\ud800"]}' % (b"1" * 400)
    event = parse_event(line)
    assert event is not None
    assert event["a"] == [None, None, None, 1e308, 2.0**64, "\ud800"]
    assert parse_event(b'{"seq":1,"a":1e400,"b":NaN}') is None
    assert parse_event(b'{"seq":1,"a":1e400,"b":"\xed\xa0\x80"}') is None


def test_a_decision_that_is_no_text_is_none() -> None:
    wanted = Filter(policy=frozenset({"n/a"})).predicate()
    rows = [
        parse_row(
            b'{"seq":1,"event_type":"mcp_operation","policy":{"decision":%b},"outcome":{"kind":%b}}' % pair
        )
        for pair in ((b"5", b'"completed"'), (b"null", b"5"), (b'"allow"', b'"completed"'))
    ]
    assert [row is not None and wanted(row) for row in rows] == [True, False, False]
