"""What arrives over a service's socket: redacted events stay byte for byte, all else is redacted or refused."""

from __future__ import annotations

import json
import random
from typing import Any, get_args

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from indelible import events
from indelible.config import RedactionSettings
from indelible.errors import EventError
from indelible.events import (
    MAX_BODY_BYTES,
    ClientEventType,
    Event,
    Outcome,
    Policy,
    RecorderId,
    Request,
    Source,
    State,
    Target,
    outcome,
)
from indelible.redact import Redactor
from indelible.redact.again import Again, Rules
from tests import canaries
from tests.effort import examples
from tests.redacting import KEY, event
from tests.unit.redact.test_properties import check, odd, texts, values, wrapped

WHO = RecorderId(id="jobs", uid=1001, pid=77)
KEY_ID = "0a1b2c3d"
RULES = Rules(RedactionSettings(), record_results="full")
AGAIN = Again(RULES, WHO, (KEY, KEY_ID))
UUID = "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a"


def first(**options: Any) -> Redactor:
    """Return the redactor of a recorder that is the same as the service knows it."""
    made = {"record_results": "full", **options}
    return Redactor(RedactionSettings(), hmac_key=KEY, hmac_key_id=KEY_ID, recorder=WHO, **made)


FIRST = first()


def raw(**changes: Any) -> bytes:
    """Return what a small client sends: no digests, nothing redacted."""
    found: dict[str, Any] = {
        "timestamp": "2026-11-21T05:38:34.123456Z",
        "event_type": "mcp_operation",
        "event_id": UUID,
        "source": {"caller": "library"},
        "target": {"type": "tool", "method": "tools/call", "capability_name": "send"},
        "request": {"request_id": "r1", "args": {"to": "a@example.com", "n": 1}},
        "outcome": {"status": "success", "kind": "completed"},
    }
    for key, value in changes.items():
        part, _, name = key.partition("__")
        if name:
            found[part][name] = value
        else:
            found[part] = value
    return json.dumps(found).encode()


def why(body: bytes) -> str:
    with pytest.raises(EventError) as refused:
        AGAIN.check(body)
    said = str(refused.value)
    assert "\n" not in said
    assert said
    return said


# --- redacted already -----------------------------------------------------------------------------------

names = st.one_of(st.none(), texts, wrapped)
parts_of_events = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from([kind for kind in get_args(ClientEventType) if kind != "audit_gap"]),
        "source": st.builds(
            Source,
            caller=st.sampled_from(["stdio", "library", "http"]),
            session_id=names,
            client=names,
            user_id=names,
            roles=st.one_of(st.none(), st.lists(texts, max_size=80)),
            on_behalf_of=st.one_of(st.none(), st.lists(texts, max_size=3)),
        ),
        "target": st.one_of(
            st.none(),
            st.builds(
                Target,
                backend=names,
                method=st.sampled_from(["tools/call", "x"]),
                capability_name=names,
                original_name=names,
            ),
        ),
        "policy": st.one_of(
            st.none(), st.builds(Policy, decision=st.sampled_from(["allow", "deny"]), rule=names, reason=names)
        ),
        "state": st.one_of(st.none(), st.builds(State, from_=names, to=names, reason=names)),
        "metadata": st.one_of(st.none(), st.dictionaries(texts, odd, max_size=4)),
    }
)


@given(parts_of_events, odd, odd, names, names)
@example({"event_type": "mcp_operation"}, None, [['{"user": {"password": "0UAqFzWsDK4FrUMp"}}', 0]], None, None)
@settings(deadline=None, max_examples=examples(200), suppress_health_check=[HealthCheck.too_slow])
def test_what_was_redacted_stays_byte_for_byte(
    parts: dict[str, Any], args: Any, result: Any, error: str | None, request_id: str | None
) -> None:
    made = event(
        **parts,
        request=Request(request_id=request_id, rpc_id="7", args=args, intent=UUID),
        outcome=outcome("tool_error", 1.5, result=result, error=error),
    )
    body = FIRST.redact(made)
    if b"redaction_failed" not in body and body.find(b'"cut"') < 0:
        assert AGAIN.check(body).body == body


@given(odd, st.sampled_from(["full", "digest", "none"]), st.sampled_from(["full", "digest", "none"]))
@settings(deadline=None, max_examples=examples(60))
def test_whatever_a_recorder_keeps_the_service_keeps(args: Any, record_args: Any, record_results: Any) -> None:
    redactor = first(record_args=record_args, record_results=record_results)
    body = redactor.redact(event(args, outcome=outcome("completed", 2.0, result=args)))
    assert AGAIN.check(body).body == body


def test_an_event_cut_to_its_line_fits_after_it() -> None:
    large = {f"k{number}": "x y" for number in range(10_000)}
    made = event(
        large,
        source=Source(caller="library"),
        outcome=outcome("completed", 1.0, result=large),
        metadata={"n": large},
    )
    body = FIRST.redact(made)
    assert len(body) <= MAX_BODY_BYTES
    assert b'"cut":[' in body
    assert AGAIN.check(body).body == body


def test_a_service_that_records_less_keeps_less() -> None:
    body = FIRST.redact(event({"city": "Oslo"}))
    lean = Again(Rules(RedactionSettings(), record_args="digest"), WHO, (KEY, KEY_ID))
    kept = orjson.loads(lean.check(body).body)["request"]
    assert "args" not in kept
    assert kept["args_hmac"] == orjson.loads(body)["request"]["args_hmac"]
    silent = Again(Rules(RedactionSettings(), record_args="none"), WHO, (KEY, KEY_ID))
    assert "args_hmac" not in orjson.loads(silent.check(body).body)["request"]


def test_the_services_own_patterns_hold_for_what_a_client_has_redacted() -> None:
    strict = Again(Rules(RedactionSettings(patterns={"EMPLOYEE": r"E-\d{5}"})), WHO, (KEY, KEY_ID))
    body = FIRST.redact(event({"who": "E-12345"}, source=Source(caller="library")))
    assert b"E-12345" in body
    assert b"E-12345" not in strict.check(body).body


# --- not redacted ---------------------------------------------------------------------------------------


def test_an_original_is_done_as_ones_own() -> None:
    found = orjson.loads(AGAIN.check(raw()).body)
    own = orjson.loads(FIRST.redact(event({"to": "a@example.com", "n": 1}, source=Source(caller="library"))))
    assert found["request"]["args"] == {"to": "[EMAIL]", "n": 1}
    for key in ("args", "args_bytes", "args_hmac", "hmac_key_id"):
        assert found["request"][key] == own["request"][key]
    assert found["source"]["recorder"] == {"id": "jobs", "uid": 1001, "pid": 77}


@pytest.mark.parametrize("seed", range(4))
def test_no_secret_of_any_class_gets_through_at_any_place(seed: int) -> None:
    for name, make in canaries.CLASSES.items():
        value, fragments = make(random.Random(seed))
        body = raw(
            source__session_id=value,
            source__client=value,
            target__capability_name=value,
            request__args={"x": value, value: 1},
            request__request_id=value,
            outcome={
                "status": "error",
                "kind": "tool_error",
                "error": value,
                "error_type": value,
                "result": [value],
            },
            policy={"decision": "deny", "rule": value, "reason": value},
            state={"from": value, "reason": value},
            metadata={"m": {"n": value}},
        )
        line = AGAIN.check(body).body
        for fragment in fragments:
            assert fragment.encode() not in line, name


def is_json(value: Any) -> bool:
    """No infinity, which is no JSON: an event with one is refused."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@given(values.filter(is_json), values.filter(is_json), texts)
@settings(deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow])
def test_what_was_checked_once_is_a_line_and_stays_so(args: Any, result: Any, name: str) -> None:
    body = raw(request__args=args, outcome__result=result, target__capability_name=name, metadata={"x": args})
    line = AGAIN.check(body).body
    check(line)
    assert AGAIN.check(line).body == line


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_whatever_are_taken_for_an_event(data: bytes) -> None:
    with pytest.raises(EventError):
        AGAIN.check(data)


@given(st.data())
@settings(deadline=None, max_examples=examples(200))
def test_a_damaged_event_is_refused_or_is_still_one(data: st.DataObject) -> None:
    body = bytearray(raw())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        checked = AGAIN.check(bytes(body))
    except EventError:
        return
    assert check(checked.body)["source"]["recorder"] == {"id": "jobs", "uid": 1001, "pid": 77}


def test_times_are_written_in_the_trails_form() -> None:
    for given_time, kept in {
        "2026-11-21T05:38:34Z": "2026-11-21T05:38:34.000000Z",
        "2026-11-21T07:38:34.5+02:00": "2026-11-21T05:38:34.500000Z",
        "2026-11-21T05:38:34.123Z": "2026-11-21T05:38:34.123000Z",
        "2026-11-21T05:38:34.123456Z": "2026-11-21T05:38:34.123456Z",
    }.items():
        assert orjson.loads(AGAIN.check(raw(timestamp=given_time)).body)["timestamp"] == kept


# --- refused --------------------------------------------------------------------------------------------

OWN = sorted(set(get_args(events.EventType)) - set(get_args(ClientEventType)))


@pytest.mark.parametrize("kind", OWN)
def test_what_the_trail_says_of_itself_no_client_says(kind: str) -> None:
    assert why(raw(event_type=kind)) == f"{kind} is an event of the trail's own; a client does not record it"


@pytest.mark.parametrize("stamp", ["seq", "schema", "recorded_at"])
def test_the_writers_stamps_are_the_writers(stamp: str) -> None:
    assert why(raw(**{stamp: 1})) == "it carries stamps that only the writer gives"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source__recorder": {"id": "other", "uid": 1001, "pid": 77}}, "another recorder"),
        ({"source__recorder": {"id": "jobs", "uid": 1000, "pid": 77}}, "another recorder"),
        ({"source__recorder": {"id": "jobs", "uid": 1001, "pid": 78}}, "another recorder"),
        ({"event_id": "7"}, "UUID"),
        ({"event_id": UUID.upper()}, "UUID"),
        ({"timestamp": "yesterday"}, "RFC 3339"),
        ({"timestamp": "2026-13-41T05:38:34Z"}, "no such time"),
        ({"outcome": None}, "has an outcome"),
        ({"outcome": {"status": "success", "kind": "denied"}}, "the status is error"),
        ({"outcome": {"status": "maybe", "kind": "denied"}}, "Invalid enum value"),
        ({"target": []}, "Expected `object`"),
        ({"target__port": 80}, "unknown field `port`"),
        ({"source__recorder": {"id": "jobs", "uid": 1001, "pid": 77}, "extra": 1}, "unknown field `extra`"),
        ({"metadata": [1]}, "metadata: expected an object"),
        ({"request__args_hmac": "ab"}, "64 hex digits"),
        ({"request__args_hmac": "a" * 64, "request__hmac_key_id": "ffffffff"}, KEY_ID),
        ({"request__args_hmac": "a" * 64, "request__hmac_key_id": KEY_ID}, "the size"),
        ({"event_type": "no_such"}, "not an event"),
    ],
)
def test_what_is_no_event_of_this_recorders_is_refused(changes: dict[str, Any], said: str) -> None:
    assert said in why(raw(**changes))


def test_the_recorder_may_be_named_as_it_is() -> None:
    for named in ({"id": "jobs", "uid": 1001, "pid": 77}, {"id": "jobs"}, None):
        AGAIN.check(raw(source__recorder=named))


def test_keys_that_stand_twice_are_what_the_line_says() -> None:
    body = raw().replace(b'"event_type":', b'"event_type": "audit_gap", "event_type":')
    assert body.count(b"event_type") == 2
    line = AGAIN.check(body).body
    assert line.count(b"event_type") == 1
    assert orjson.loads(line)["event_type"] == "mcp_operation"


def test_nesting_without_end_is_refused() -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    assert why(deep)
    body = raw().replace(b'{"to": "a@example.com", "n": 1}', b"[" * 30_000 + b"]" * 30_000)
    try:
        check(AGAIN.check(body).body)
    except EventError as exc:
        assert "deep" in str(exc)  # noqa: PT017 - both are right: refused, or cut as a recorder does


def test_the_intent_is_read_from_the_event_itself() -> None:
    opened = AGAIN.check(raw(event_type="mcp_operation_started", outcome=None))
    assert (opened.opens, opened.closes) == (UUID, "")
    closed = AGAIN.check(raw(request__intent=UUID))
    assert (closed.opens, closed.closes) == ("", UUID)
    other = AGAIN.check(raw(event_type="sampling", request__intent=UUID))
    assert (other.opens, other.closes) == ("", "")


def test_a_failure_of_the_rules_still_says_who_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Again(RULES, WHO, (KEY, KEY_ID))

    def fail(*_: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(again, "_redacted", fail)
    found = orjson.loads(again.check(raw()).body)
    assert found["metadata"] == {"redaction_failed": "RuntimeError"}
    assert found["source"]["recorder"] == msgspec.to_builtins(WHO)
    assert found["event_id"] == UUID


def test_the_event_type_table_is_whole() -> None:
    assert set(get_args(ClientEventType)) < set(get_args(events.EventType))
    assert isinstance(event(), Event)
    assert Outcome is events.Outcome


LOST = {"lost": 3, "reason": "the disk is full", "since": "2026-11-21T10:00:00.000000Z", "until": None}


@pytest.mark.parametrize(
    "metadata",
    [
        LOST,
        {**LOST, "claimed": False},
        {**LOST, "claimed": {"by": "nobody"}},
        {**LOST, "of": {"recorder": "record", "pid": 1}},
        {**LOST, **{f"key {number}": "x" * 400 for number in range(140)}},
    ],
)
def test_a_gap_of_a_clients_is_marked_as_its_claim(metadata: dict[str, Any]) -> None:
    line = orjson.loads(AGAIN.check(raw(event_type="audit_gap", outcome=None, metadata=metadata)).body)
    assert line["metadata"]["claimed"] is True
    assert orjson.loads(AGAIN.check(raw()).body).get("metadata") is None  # and nothing else is


def test_a_gap_whose_redaction_fails_is_marked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Again(RULES, WHO, (KEY, KEY_ID))

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(again, "_redacted", fail)
    line = orjson.loads(again.check(raw(event_type="audit_gap", outcome=None, metadata=LOST)).body)
    assert line["metadata"]["claimed"] is True


@pytest.mark.parametrize(
    "metadata", [None, {}, {"lost": 0}, {"lost": -1}, {"lost": "3"}, {"lost": 2**70}, {"lost": 1.5}]
)
def test_a_gap_says_how_many(metadata: Any) -> None:
    assert "metadata.lost" in why(raw(event_type="audit_gap", outcome=None, metadata=metadata))
