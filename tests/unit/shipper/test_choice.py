"""Which events a sink gets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.formats.record import OPERATIONS, SIEM_EVENTS, Entry, Record
from indelible.shipper.choice import choice, event_types
from indelible.sink_settings import FILTER_CHOICES
from tests.trails import ORIGIN, operation
from tests.unit.shipper.shipping import settings

TYPES = FILTER_CHOICES["events"] or ()


def entry(**body: Any) -> Entry:
    return Record(json.dumps({"seq": 1, **operation(1), **body}, separators=(",", ":")).encode(), ORIGIN).entry


def test_without_a_filter_the_trails_own_format_gets_everything_but_intents() -> None:
    wanted = choice(settings(), None).has
    assert {kind for kind in TYPES if wanted(entry(event_type=kind))} == set(TYPES) - {"mcp_operation_started"}
    assert wanted(Record(b'{"seq":1,"erased":"x","leaf":"y"}', ORIGIN).entry)
    everything = choice(settings(intents=True), None).has
    assert all(everything(entry(event_type=kind)) for kind in TYPES)


@pytest.mark.parametrize(
    ("keys", "holds", "expected"),
    [
        ({"format": "cef"}, SIEM_EVENTS, SIEM_EVENTS),
        ({"format": "mxcp"}, OPERATIONS, {"mcp_operation"}),
        ({"format": "mxcp", "intents": True}, OPERATIONS, OPERATIONS),
        ({"format": "cef"}, None, SIEM_EVENTS),
        ({"format": "cef", "filter": {"events": ["alert", "audit_gap"]}}, SIEM_EVENTS, {"alert"}),
        ({"format": "cef", "filter": {"events": "all"}}, None, set(TYPES)),
        ({"filter": {"events": "alert"}, "intents": True}, None, {"alert", "mcp_operation_started"}),
        ({}, None, None),
    ],
)
def test_event_types(keys: dict[str, Any], holds: frozenset[str] | None, expected: set[str] | None) -> None:
    found = event_types(settings(**keys), holds)
    assert found is None if expected is None else found == frozenset(expected)


VALUES = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["success", "error"]),
        "kind": st.sampled_from(["completed", "denied"]),
        "policy": st.sampled_from(["allow", "deny", None]),
        "backend": st.sampled_from(["files", "mail"]),
        "effects": st.sampled_from(["read_only", "write", None]),
        "tool": st.sampled_from(["rm", "ls"]),
    }
)


@given(
    VALUES,
    st.fixed_dictionaries(
        {},
        optional={
            "status": st.just("error"),
            "kind": st.lists(st.sampled_from(["completed", "denied"]), min_size=1),
            "policy": st.sampled_from(["deny", "n/a"]),
            "backend": st.just("files"),
            "effects": st.just(["write", "unknown"]),
            "tool": st.just("rm"),
        },
    ),
)
def test_of_one_key_any_value_is_enough_and_all_keys_count(
    event: dict[str, Any], asked: dict[str, Any]
) -> None:
    body: dict[str, Any] = {
        "target": {
            "type": "tool",
            "capability_name": "x",
            "original_name": event["tool"],
            "backend": event["backend"],
        },
        "outcome": {"status": event["status"], "kind": event["kind"]},
    }
    if event["effects"]:
        body["target"]["effects"] = event["effects"]
    if event["policy"]:
        body["policy"] = {"decision": event["policy"]}
    said = {**event, "policy": event["policy"] or "n/a"}
    expected = all(said[key] in ([want] if isinstance(want, str) else want) for key, want in asked.items())
    assert choice(settings(filter=asked) if asked else settings(), None).has(entry(**body)) is expected


def test_what_is_no_call_has_no_status_and_no_tool() -> None:
    alert = entry(event_type="alert", outcome=None, target={})
    for asked in ({"status": "success"}, {"policy": "n/a"}, {"tool": "rm"}, {"effects": "unknown"}):
        assert not choice(settings(filter=asked), None).has(alert)
    prompt = entry(target={"type": "prompt", "capability_name": "rm"})
    assert not choice(settings(filter={"tool": "rm"}), None).has(prompt)
