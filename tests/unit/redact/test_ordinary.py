"""The short way to a body and the long one: the same bytes, whatever an event holds."""

from __future__ import annotations

import json
import string
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible import events
from indelible.config import RecordMode, RedactionSettings
from indelible.events import MAX_BODY_BYTES, Cost, Event, Outcome, Policy, Request, State, encode_body
from indelible.redact import Redactor, compile_marks, fields
from indelible.redact.limits import MAX_ARGS_BYTES
from indelible.redact.ordinary import MAX_DIGITS
from tests import redacting
from tests.canaries import arguments
from tests.effort import examples

AN_EVENT = redacting.event()
DECISIONS = get_args(events.Decision)

TEXT = st.text() | st.sampled_from(
    ["a@b.com", "password=x", '"', "\\", "Bearer abcdefgh", "\ud800", "é", "٣", ""]
)
UUID = st.uuids(version=4).map(str)
NUMBER = st.text(string.digits, min_size=1, max_size=14)
ID = UUID | NUMBER | st.text(string.ascii_letters + string.digits, max_size=90) | TEXT
TIME = st.just(AN_EVENT.timestamp) | st.sampled_from(
    ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000+00:00", "٢026-01-01T00:00:00.000000Z", "", "abcd"]
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def wire(value: Any) -> msgspec.Raw:
    """Return a value as it comes over the wire."""
    return msgspec.Raw(json.dumps(value).encode())


def rarely(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Leave most events ordinary in most respects."""
    return st.sampled_from(range(12)).flatmap(lambda n: strategy if n == 0 else st.none())


def mostly(usual: st.SearchStrategy[Any], strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(range(12)).flatmap(lambda n: strategy if n == 0 else usual)


REQUESTS = st.builds(
    Request,
    request_id=mostly(UUID, st.none() | ID | st.integers()),
    intent=rarely(ID | st.integers()),
    rpc_id=mostly(NUMBER, st.none() | ID | st.integers()),
    trace_id=rarely(TEXT | st.just("0af7651916cd43dd8448eb211c80319c")),
    span_id=rarely(TEXT),
    continues=rarely(ID),
    args=st.none() | VALUE | VALUE.map(wire),
    args_bytes=rarely(st.integers()),
)
OUTCOMES = st.builds(
    Outcome,
    status=mostly(st.sampled_from(get_args(events.Status)), TEXT),
    kind=mostly(st.sampled_from(get_args(events.Kind)), TEXT),
    latency_ms=st.floats() | rarely(st.integers()),
    error=rarely(TEXT),
    error_type=rarely(TEXT),
    error_code=rarely(st.integers()),
    result_bytes=rarely(st.integers()),
    result=st.none() | VALUE.map(wire),
)
EVENTS = st.builds(
    Event,
    timestamp=mostly(TIME, TEXT),
    event_type=mostly(st.sampled_from(sorted(fields.TYPES)), TEXT),
    event_id=mostly(UUID, TEXT),
    source=st.just(AN_EVENT.source),
    target=st.just(AN_EVENT.target),
    request=mostly(REQUESTS, st.none()),
    policy=st.none() | st.builds(Policy, decision=st.sampled_from(DECISIONS), reason=rarely(TEXT)),
    outcome=st.none() | OUTCOMES,
    cost=rarely(st.just(Cost(centicents=1))),
    state=rarely(st.just(State(to="Ready"))),
    metadata=rarely(st.dictionaries(TEXT, TEXT, max_size=2)),
)


def warm(mode: RecordMode) -> Redactor:
    """Return a redactor that has seen the source, the target and every plain policy before."""
    redactor = redacting.make(record_args=mode, record_results=mode)
    redactor.learn("files", "read", compile_marks({"properties": {"marked": {"writeOnly": True}}}))
    for decision in DECISIONS:
        redactor.redact(msgspec.structs.replace(AN_EVENT, policy=Policy(decision=decision)))
    return redactor


WARM = {mode: warm(mode) for mode in get_args(RecordMode)}


@given(EVENTS, st.sampled_from(get_args(RecordMode)))
@settings(max_examples=examples(600))
def test_both_ways_make_the_same_bytes(event: Event, mode: RecordMode) -> None:
    redactor = WARM[mode]
    expected = encode_body(redactor._redacted(event))
    assert redactor._ordinary(event) in (None, expected)
    assert redactor.redact(event) == expected or len(expected) > MAX_BODY_BYTES


USUAL = [
    AN_EVENT,
    redacting.event({"path": "/srv", "n": [1, None, True]}),
    redacting.event({"marked": "x"}),
    redacting.event({"password": "x"}, policy=Policy(decision="deny")),
    redacting.event({"é": "a@b.com"}, event_type="mcp_operation_started", outcome=None),
    redacting.event(request=Request(request_id=AN_EVENT.event_id, rpc_id="12", intent=AN_EVENT.event_id)),
    redacting.event(request=Request(request_id="r1", rpc_id='"abc"')),
    redacting.event(request=Request(request_id=AN_EVENT.event_id)),
    redacting.event({"long": "x y" * MAX_ARGS_BYTES}),
    redacting.event(outcome=events.outcome("tool_error", 0.001, result=wire({"isError": True}))),
]


@pytest.mark.parametrize("mode", get_args(RecordMode))
@pytest.mark.parametrize("event", USUAL)
def test_most_events_take_the_short_way(event: Event, mode: RecordMode) -> None:
    event = msgspec.structs.replace(event, source=AN_EVENT.source, target=AN_EVENT.target)
    redactor = WARM[mode]
    made = redactor._ordinary(event)
    assert made is not None
    assert made == encode_body(redactor._redacted(event)) == redactor.redact(event)


def test_arguments_are_redacted_on_the_short_way_too() -> None:
    secret, fragments = arguments(11)
    body = WARM["full"].redact(msgspec.structs.replace(AN_EVENT, request=Request(request_id="r1", args=secret)))
    assert [text for text in fragments if text in body.decode()] == []


@pytest.mark.parametrize(
    "text", ["AKIAIOSFODNN7EXAMPLE", "bob@example.com", "4111111111111111", "Bearer abcdefgh1"]
)
@pytest.mark.parametrize("place", ["request_id", "rpc_id", "intent"])
@pytest.mark.parametrize("args", [None, {}, {"a": "b" * 600}])
def test_an_id_that_is_a_secret_is_found(place: str, text: str, args: Any) -> None:
    ids: dict[str, Any] = {"request_id": "r1", "rpc_id": "7", place: text}
    body = WARM["full"].redact(msgspec.structs.replace(AN_EVENT, request=Request(**{**ids, "args": args})))
    assert text not in body.decode()


def test_patterns_of_ones_own_hold_for_ids_too() -> None:
    redactor = redacting.make(RedactionSettings(unknown_schema="keep", patterns={"ticket": "ticket[0-9]+"}))
    for _ in range(2):
        event = msgspec.structs.replace(AN_EVENT, request=Request(request_id="ticket42", rpc_id="7"))
        assert b"ticket42" not in redactor.redact(event)


@given(
    st.text(string.ascii_letters + string.digits, max_size=MAX_DIGITS),
    st.text(string.digits, max_size=MAX_DIGITS),
)
@settings(max_examples=examples(600))
def test_nothing_in_short_ids_is_ever_redacted(text: str, number: str) -> None:
    assert WARM["full"].text(text) == text
    assert WARM["full"].text(number) == number


@pytest.mark.parametrize("field", ["timestamp", "event_id", "request_id", "rpc_id", "intent"])
def test_half_a_surrogate_pair_among_what_is_usual_is_no_error(field: str) -> None:
    where = "request" if field in ("request_id", "rpc_id", "intent") else None
    odd = "\ud800" if field != "event_id" else "\ud800" * 36
    if where is None:
        event = msgspec.structs.replace(AN_EVENT, **{field: odd})
    else:
        request = msgspec.structs.replace(AN_EVENT.request or Request(), **{field: odd})
        event = msgspec.structs.replace(AN_EVENT, request=request)
    redactor = WARM["full"]
    assert redactor.redact(event) == encode_body(redactor._redacted(event))
