"""What events are called, and how grave they are: one table for every format."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given

from indelible.events import STATUS_OF_KIND, EventType
from indelible.formats.names import LEVELS, NAMINGS, UNKNOWN, naming
from indelible.formats.record import Record
from tests.unit.formats import events

OUTCOMES = {kind: {"status": status, "kind": kind} for kind, status in STATUS_OF_KIND.items()}


def named(event_type: str, **parts: Any) -> Any:
    body = {"timestamp": "2026-11-21T05:38:34.123456Z", "event_type": event_type, "event_id": "x", **parts}
    return naming(Record(events.line_of(body), "o").entry)


@pytest.mark.parametrize(
    ("kind", "name", "hangar", "cef", "cef_severity", "leef", "priority"),
    [
        ("completed", "ToolInvocationCompleted", "ToolInvocationCompleted", "100", 5, "101", 134),
        ("input_required", "ToolInvocationCompleted", "ToolInvocationCompleted", "100", 5, "101", 134),
        ("tool_error", "ToolInvocationFailed", "ToolInvocationFailed", "101", 7, "102", 132),
        ("cancelled", "ToolInvocationFailed", "ToolInvocationFailed", "101", 7, "102", 132),
        ("denied", "ToolInvocationDenied", "ToolInvocationFailed", "103", 8, "104", 131),
        ("unauthenticated", "ToolInvocationDenied", "ToolInvocationFailed", "103", 8, "104", 131),
    ],
)
def test_tools_have_the_names_that_siems_know(
    kind: str, name: str, hangar: str, cef: str, cef_severity: int, leef: str, priority: int
) -> None:
    found = named("mcp_operation", target={"type": "tool"}, outcome=OUTCOMES[kind])  # type: ignore[index]
    assert (found.name, found.hangar, found.cef, found.leef) == (name, hangar, cef, leef)
    assert (found.level.cef, 16 * 8 + found.level.syslog) == (cef_severity, priority)


def test_a_servers_change_of_phase_has_one_signature_and_is_graver_when_it_fails() -> None:
    ready = named("mcp_server_state_changed", state={"from": "Initializing", "to": "Ready"})
    failed = named("mcp_server_state_changed", state={"from": "Ready", "to": "Failed"})
    assert {(found.name, found.cef, found.leef) for found in (ready, failed)} == {
        ("McpServerStateChanged", "102", "103")
    }
    assert failed.level.syslog < ready.level.syslog


@pytest.mark.parametrize("kind", STATUS_OF_KIND)
@pytest.mark.parametrize("target", ["tool", "resource", "prompt", "completion", None])
def test_a_name_says_whether_it_went_well(target: str | None, kind: str) -> None:
    about = {} if target is None else {"target": {"type": target}}
    found = named("mcp_operation", outcome=OUTCOMES[kind], **about)  # type: ignore[index]
    assert found.name.endswith("Completed") == (OUTCOMES[kind]["status"] == "success")  # type: ignore[index]
    assert found.hangar.endswith("Completed") == found.name.endswith("Completed")
    begin = {"tool": "ToolInvocation", "resource": "ResourceRead", "prompt": "PromptFetch"}.get(
        target or "", "Request"
    )
    assert found.name.startswith(begin)
    intent = named("mcp_operation_started", **about)
    assert intent.name == f"{begin}Requested"


@pytest.mark.parametrize("event_type", get_args(EventType))
def test_every_event_type_has_a_row(event_type: str) -> None:
    outcome = {"outcome": OUTCOMES["denied"]} if event_type == "mcp_operation" else {}
    found = named(event_type, **outcome)
    assert found in NAMINGS
    assert found is not UNKNOWN


def test_what_a_later_version_brings_has_its_own_name_and_is_never_a_success() -> None:
    assert named("tool_pin_recorded").name == "ToolPinRecorded"
    assert named("tool_pin_recorded").cef == UNKNOWN.cef
    assert named("no\nname|5") == UNKNOWN
    new = {"status": "error", "kind": "rate_limited"}
    assert named("mcp_operation", target={"type": "tool"}, outcome=new).name == "ToolInvocationFailed"
    assert named("mcp_operation", target={"type": "tool"}).name == "ToolInvocationFailed"


def test_a_signature_is_one_name_and_levels_rise_together() -> None:
    for column in ("cef", "leef"):
        names = {getattr(found, column): found.name for found in NAMINGS}
        assert len(names) == len({found.name for found in NAMINGS})
    for scale, order in (("cef", 1), ("otlp", 1), ("ocsf", 1), ("syslog", -1)):
        steps = [order * getattr(level, scale) for level in LEVELS]
        assert steps == sorted(steps), scale
    assert all(1 <= level.cef <= 10 for level in LEVELS)


@given(events.records)
def test_a_name_is_plain_whatever_an_event_says(record: Record) -> None:
    found = naming(record.entry)
    assert found.name.isascii()
    assert found.name.isalnum()
    assert json.dumps(found.cef) == f'"{int(found.cef)}"'
