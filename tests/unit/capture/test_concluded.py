"""Intents and outcomes for which no event is made: the bytes of those that would have been, of any call."""

from __future__ import annotations

import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indelible
from indelible.capture.calls import Call
from indelible.capture.outcomes import Verdict
from indelible.config import RecordMode, RedactionSettings
from indelible.errors import NotInTime, TrailUnavailable
from indelible.events import MAX_BODY_BYTES, Kind, encode_body, new_id
from indelible.recorder import Recorder
from indelible.redact import Redactor, compile_marks
from tests import redacting
from tests.canaries import arguments
from tests.effort import examples
from tests.unit.capture.test_calling import lines
from tests.unit.redact.test_ordinary import AN_EVENT, NUMBER, TEXT, UUID, VALUE, mostly, rarely, wire

ROOT = Path(__file__).parents[3]
MODES = get_args(RecordMode)
INTENDED = ("mcp_operation_started", "mcp_operation")
RESULT = st.none() | VALUE | VALUE.map(wire)
RPC_IDS = NUMBER.map(str.encode) | st.sampled_from([b"null", b'"a"', b'"a@b.com"', b"1.5", b"", b"\xff"])


def warm(mode: RecordMode) -> Redactor:
    """Return a redactor that knows what the calls are calls of, with marks for arguments and result."""
    redactor = redacting.make(record_args=mode, record_results=mode)
    marks = compile_marks({"properties": {"marked": {"writeOnly": True}}})
    redactor.learn("files", "read", marks, marks)
    redactor.redact(AN_EVENT)
    return redactor


WARM = {mode: warm(mode) for mode in MODES}


@st.composite
def calls(draw: st.DrawFn) -> Call:
    assert AN_EVENT.source is not None
    assert AN_EVENT.target is not None
    return Call(
        draw(mostly(NUMBER.map(str.encode), RPC_IDS)),
        "tools/call",
        "read",
        AN_EVENT.source,
        draw(mostly(st.just(AN_EVENT.target), st.just(msgspec.structs.replace(AN_EVENT.target)))),
        AN_EVENT.timestamp,
        1_000,
        request_id=draw(mostly(UUID, TEXT | st.text(string.hexdigits, max_size=40))),
        trace_id=draw(rarely(st.just("0af7651916cd43dd8448eb211c80319c"))),
        span_id=draw(rarely(st.just("b7ad6b7169203331"))),
        continues=draw(rarely(UUID)),
        args=draw(RESULT),
        args_bytes=draw(rarely(st.integers(0, 2**40))),
        intent=draw(st.none() | UUID),
        metadata=draw(rarely(st.dictionaries(TEXT, TEXT, max_size=2))),
    )


VERDICTS = st.builds(
    Verdict,
    kind=st.sampled_from(get_args(Kind)),
    error=rarely(TEXT),
    error_code=rarely(st.integers(-40000, 40000)),
    result=RESULT,
    metadata=rarely(st.just({"task": "t"})),
    error_type=rarely(TEXT),
)


def both(redactor: Redactor, call: Call, verdict: Verdict, mono: int) -> tuple[bytes | None, bytes]:
    """Return what is made of a call's end without an event, and the long way's body of its event."""
    event_id = new_id()
    short = None
    if call.is_plain(verdict):
        latency = call.latency_ms(mono)
        short = redactor.concluded(call, event_id, verdict.kind, latency, verdict.result)
    return short, encode_body(redactor._redacted(call.finish(verdict, mono, event_id=event_id)))


def begun(redactor: Redactor, call: Call) -> tuple[bytes | None, bytes]:
    """Return the same of a call's beginning."""
    call.named()
    event = call.start()
    short = redactor.started(call, event.event_id) if call.begins_plain() else None
    return short, encode_body(redactor._redacted(event))


@given(calls(), st.sampled_from(MODES), st.booleans())
@settings(max_examples=examples(600))
def test_an_intent_is_the_same_bytes_or_nothing(call: Call, mode: RecordMode, prepared: bool) -> None:
    redactor = WARM[mode]
    if prepared:  # as a capture does, so that its outcome need not do it again
        call.args = redactor.prepare(call.args, call.target, call.source)
    made, expected = begun(redactor, call)
    assert made in (None, expected) or len(expected) > MAX_BODY_BYTES
    after, outcome = both(redactor, call, Verdict("completed", result={"content": []}), 5_000)
    assert after in (None, outcome) or len(outcome) > MAX_BODY_BYTES


@given(calls(), VERDICTS, st.integers(0, 2**40), st.sampled_from(MODES))
@settings(max_examples=examples(600))
def test_it_is_the_same_bytes_or_nothing(call: Call, verdict: Verdict, mono: int, mode: RecordMode) -> None:
    made, expected = both(WARM[mode], call, verdict, mono)
    assert made in (None, expected) or len(expected) > MAX_BODY_BYTES


def usual(**fields: Any) -> Call:
    assert AN_EVENT.source is not None
    assert AN_EVENT.target is not None
    call = Call(
        b"7", "tools/call", "read", AN_EVENT.source, AN_EVENT.target, AN_EVENT.timestamp, 0, request_id=new_id()
    )
    for name, value in fields.items():
        setattr(call, name, value)
    return call


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("call", "verdict"),
    [
        (usual(args=wire({"path": "/srv"})), Verdict("completed", result={"content": []})),
        (usual(args=wire({"path": "/srv", "password": "x"})), Verdict("completed")),
        (usual(intent=new_id()), Verdict("completed", result=wire({"marked": "x"}))),
        (usual(args={"marked": [1, None]}), Verdict("cancelled")),
    ],
)
def test_most_calls_need_no_event(call: Call, verdict: Verdict, mode: RecordMode) -> None:
    made, expected = both(WARM[mode], call, verdict, 2_000_000)
    assert made == expected
    made, expected = begun(WARM[mode], call)
    assert made == expected


def test_secrets_are_taken_out_of_what_it_was_called_with_and_of_its_result() -> None:
    secret, fragments = arguments(12)
    for call, verdict in (
        (usual(args=secret), Verdict("completed")),
        (usual(), Verdict("completed", result=secret)),
    ):
        made, expected = both(WARM["full"], call, verdict, 0)
        assert made == expected
        assert [text for text in fragments if text in expected.decode()] == []
        made, expected = begun(WARM["full"], call)
        assert made == expected
        assert [text for text in fragments if text in expected.decode()] == []


def test_marks_that_are_learned_hold_from_the_next_call_on() -> None:
    redactor = warm("full")
    call, verdict = usual(args={"late": "a word"}), Verdict("completed", result={"later": "another"})
    assert b"a word" in both(redactor, call, verdict, 0)[1]
    redactor.learn(
        "files",
        "read",
        compile_marks({"properties": {"late": {"writeOnly": True}}}),
        compile_marks({"properties": {"later": {"writeOnly": True}}}),
    )
    redactor.redact(AN_EVENT)
    made, expected = both(redactor, call, verdict, 0)
    assert made == expected
    assert b"a word" not in expected
    assert b"another" not in expected
    assert b"a word" not in begun(redactor, call)[1]
    assert begun(redactor, call)[0] is not None


def test_patterns_of_ones_own_take_the_long_way() -> None:
    redactor = redacting.make(RedactionSettings(unknown_schema="keep", patterns={"ticket": "ticket[0-9]+"}))
    redactor.redact(AN_EVENT)
    assert both(redactor, usual(args={"a": "ticket42"}), Verdict("completed"), 0)[0] is None


def test_arguments_that_were_prepared_before_their_tool_was_learned_are_looked_at_again() -> None:
    redactor = warm("full")
    call = usual(args=wire({"late": "a word"}))
    call.args = redactor.prepare(call.args, call.target, call.source)
    assert b"a word" in (begun(redactor, call)[0] or b"")
    marks = compile_marks({"properties": {"late": {"writeOnly": True}}})
    redactor.learn("files", "read", marks, marks)
    made, expected = both(redactor, call, Verdict("completed"), 0)
    assert made == expected
    assert b"a word" not in expected


DIES = """
import os, sys
import indelible
from tests.unit.capture import test_concluded as here

recorder = indelible.open_trail(sys.argv[1])
recorder.record(here.AN_EVENT)
calls = [here.usual(args=here.wire({"path": "/srv"})) for _ in range(2)]
assert all(recorder.record_intent(call) for call in calls)
assert recorder.record_outcome(calls[0], "completed", 1.0, None)
print(*(call.intent for call in calls), flush=True)
os._exit(1)
"""


def test_an_intent_is_open_until_its_outcome(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    died = subprocess.run(
        [sys.executable, "-c", DIES, path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    intents = died.stdout.split()
    assert (died.returncode, len(intents)) == (1, 2), died.stderr
    indelible.open_trail(path).close()  # who comes next says what is still open
    by_type = {kind: [line for line in lines(path) if line["event_type"] == kind] for kind in INTENDED}
    assert [line["event_id"] for line in by_type["mcp_operation_started"]] == intents
    first, second = (line for line in by_type["mcp_operation"] if line["event_id"] != AN_EVENT.event_id)
    assert (first["request"]["intent"], first["outcome"]["kind"]) == (intents[0], "completed")
    assert (second["request"]["intent"], second["outcome"]["kind"]) == (intents[1], "interrupted")


def begins(recorder: Recorder, call: Call) -> bool:
    return recorder.record_intent(call)


def ends(recorder: Recorder, call: Call) -> bool:
    return recorder.record_outcome(call, "completed", 1.0, None)


@pytest.mark.parametrize("record", [begins, ends])
@pytest.mark.parametrize("on_failure", ["allow", "deny"])
def test_one_that_cannot_be_written_is_counted_or_refused(
    tmp_path: Path, on_failure: Any, record: Callable[[Recorder, Call], bool]
) -> None:
    path = tmp_path / "audit.jsonl"
    call = usual()
    with indelible.open_trail(path, on_failure=on_failure) as recorder:
        recorder.record(AN_EVENT)
        assert recorder._writer is not None
        with mock.patch.object(recorder._writer, "append", side_effect=TrailUnavailable("no room")):
            if on_failure == "deny":
                with pytest.raises(TrailUnavailable):
                    record(recorder, call)
            else:
                assert record(recorder, call)
                assert not record(recorder, usual())  # the gap comes first
    assert (call.intent is not None) is (record is begins)
    gaps = [line["metadata"]["lost"] for line in lines(path) if line["event_type"] == "audit_gap"]
    assert gaps == ([1] if on_failure == "allow" else [])


def test_one_that_may_come_yet_is_known_by_its_id(tmp_path: Path) -> None:
    with indelible.open_trail(tmp_path / "audit.jsonl", on_failure="deny") as recorder:
        recorder.record(AN_EVENT)
        call = usual()
        assert recorder._writer is not None
        with (
            mock.patch.object(recorder._writer, "append", side_effect=NotInTime("late")),
            mock.patch.object(recorder._gap, "doubt") as doubt,
            pytest.raises(NotInTime),
        ):
            recorder.record_outcome(call, "completed", 1.0, None)
        assert doubt.call_args_list == [mock.call(call.outcome_id)]
