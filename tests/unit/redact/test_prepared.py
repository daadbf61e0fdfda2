"""Arguments that are redacted before their events are made: those are the same bytes, whatever came between."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.config import RedactionSettings
from indelible.events import Event, Request, Source, Target, outcome
from indelible.redact import Redactor, compile_marks
from tests.canaries import arguments
from tests.redacting import make

SOURCE = Source(caller="stdio")
TARGET = Target(backend="b", method="tools/call", type="tool", capability_name="t")
MARKS = compile_marks({"properties": {"plain": {"type": "string", "sensitive": True}}})


def listed(settings: RedactionSettings | None = None) -> Redactor:
    redactor = make(settings)
    redactor.learn("b", "t", compile_marks({}))
    return redactor


def event(args: Any, event_type: Any = "mcp_operation", target: Target = TARGET) -> Event:
    return Event(
        timestamp="2026-01-01T00:00:00.000000Z",
        event_type=event_type,
        event_id="00000000-0000-4000-8000-000000000000",
        source=SOURCE,
        target=target,
        request=Request(request_id="r", rpc_id="1", args=args),
        outcome=outcome("completed") if event_type == "mcp_operation" else None,
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["a@b.com", "password=x", "Bearer abcdefgh"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(JSON)
def test_the_events_are_the_same_with_and_without(value: Any) -> None:
    raw = msgspec.Raw(json.dumps(value).encode())
    redactor = listed()
    prepared = redactor.prepare(raw, TARGET, SOURCE)
    for event_type in ("mcp_operation_started", "mcp_operation"):
        assert redactor.redact(event(prepared, event_type)) == listed().redact(event(raw, event_type))


def test_what_is_learned_meanwhile_counts() -> None:
    redactor = listed()
    raw = msgspec.Raw(b'{"plain":"nobody may know"}')
    prepared = redactor.prepare(raw, TARGET, SOURCE)
    redactor.learn("b", "t", MARKS)
    assert b"nobody may know" not in redactor.redact(event(prepared))


def test_another_tools_arguments_are_its_own() -> None:
    redactor = listed(RedactionSettings(unknown_schema="digest"))
    raw = msgspec.Raw(b'{"plain":"nobody may know"}')
    prepared = redactor.prepare(raw, TARGET, SOURCE)
    other = msgspec.structs.replace(TARGET, capability_name="never listed")
    assert b"nobody may know" not in redactor.redact(event(prepared, target=other))


@pytest.mark.parametrize("args", [None, object(), msgspec.Raw(b"{"), {"a": float("nan")}, [[[[]]]]])
def test_what_cannot_be_prepared_is_redacted_as_ever(args: Any) -> None:
    redactor = listed()
    assert redactor.redact(event(redactor.prepare(args, TARGET, SOURCE))) == listed().redact(event(args))


def test_secrets_are_taken_out_ahead_too() -> None:
    secret, fragments = arguments(7)
    redactor = listed()
    raw = msgspec.Raw(json.dumps(secret).encode())
    body = redactor.redact(event(redactor.prepare(raw, TARGET, SOURCE))).decode()
    assert [fragment for fragment in fragments if fragment in body] == []
