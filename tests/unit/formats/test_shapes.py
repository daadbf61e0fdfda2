"""The shapes of other systems: what their readers find where nothing, little or something else than a call is known."""

from __future__ import annotations

from typing import Any

import pytest

from indelible.formats.record import Options, Record
from indelible.registry import make_format
from tests.unit.formats import events
from tests.unit.formats.readers import strict

CALL: dict[str, Any] = {
    "timestamp": "2026-11-21T05:38:34.123456Z",
    "event_type": "mcp_operation",
    "event_id": "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a",
    "outcome": {"status": "success", "kind": "completed"},
}


def shown(name: str, **changes: Any) -> Any:
    record = Record(events.line_of({**CALL, **changes}), events.ORIGIN)
    return strict(make_format(name, Options()).render(record))


def denied(**parts: Any) -> dict[str, Any]:
    return {"outcome": {"status": "error", "kind": "denied", "error": "no"}, **parts}


def test_argus_writes_nulls_and_has_text_and_numbers_where_its_model_asks_for_them() -> None:
    value = shown("argus")
    assert value["timestamp"] == "2026-11-21T05:38:34.123456+00:00"
    assert value["source"] == {"session_id": None, "client_ip": None, "user_id": None}
    assert value["target"] == {"backend": None, "method": "", "capability_name": "", "original_name": None}
    assert value["outcome"] == {"status": "success", "latency_ms": 0.0, "error": None, "error_type": None}


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ({"method": "tools/call"}, "call_tool"),
        ({"method": "resources/read"}, "read_resource"),
        ({"method": "prompts/get"}, "get_prompt"),
        ({"method": "completion/complete"}, "completion/complete"),
        ({"type": "tool"}, "call_tool"),
        ({"type": "resource"}, "read_resource"),
        ({"type": "prompt"}, "get_prompt"),
        ({"type": "other"}, ""),
    ],
)
def test_argus_has_its_own_names_of_methods(target: dict[str, str], method: str) -> None:
    assert shown("argus", target=target)["target"]["method"] == method


def test_argus_keeps_what_stood_in_the_metadata() -> None:
    value = shown("argus", metadata={"acme.ticket": 7, "within": {"deep": [1]}})
    assert list(value["metadata"]) == ["acme.ticket", "within", "indelible"]
    assert (value["metadata"]["acme.ticket"], value["metadata"]["within"]) == (7, {"deep": [1]})


def test_mxcp_says_what_policy_decided_and_rounds_durations() -> None:
    value = shown("mxcp", policy={"decision": "deny", "rule": "r1", "reason": "not yours"}, **denied())
    assert (value["policy_decision"], value["reason"], value["status"]) == ("deny", "not yours", "error")
    bare = shown("mxcp")
    assert (bare["policy_decision"], bare["reason"], bare["duration_ms"], bare["input_json"]) == (
        "n/a",
        None,
        None,
        "{}",
    )
    for latency, duration in ((0.4, 0), (1.6, 2), (12, 12), ("NaN", None)):
        outcome = {"status": "success", "kind": "completed", "latency_ms": latency}
        assert shown("mxcp", outcome=outcome)["duration_ms"] == duration
    assert bare["timestamp"] == "2026-11-21T05:38:34.123Z"


def test_alive_names_nobody_anonymous_and_has_words_of_its_own() -> None:
    value = shown("alive")
    assert value["actor"] == {"id": "anonymous", "ip": "unknown"}
    assert (value["outcome"], value["error"], value["args"], value["serverVersion"]) == ("ok", None, {}, None)
    assert shown("alive", **denied())["outcome"] == "error"


def test_hangar_leaves_out_what_is_not_known_and_keeps_a_cost_of_nothing() -> None:
    value = shown("hangar", cost={"centicents": 0, "input_tokens": 0})
    assert list(value) == [
        "timestamp", "event_type", "status", "cost_cents", "cost_input_tokens", "kind", "indelible",
    ]  # fmt: skip
    assert (value["cost_cents"], value["cost_input_tokens"]) == (0, 0)


def test_hangars_eleven_fields_of_caller_call_and_cost() -> None:
    value = shown(
        "hangar",
        source={"user_id": "ada", "caller_type": "agent", "roles": ["dev", "ops"]},
        target={"backend": "files", "type": "tool", "capability_name": "read_file"},
        outcome={"status": "success", "kind": "completed", "latency_ms": 4.587},
        cost={"centicents": 120, "model": "token", "input_tokens": 300, "output_tokens": 40},
    )
    assert {key: value[key] for key in list(value)[2:14]} == {
        "provider_id": "files",
        "mcp_server_id": "files",
        "tool_name": "read_file",
        "status": "success",
        "duration_ms": 4.587,
        "caller_type": "agent",
        "caller_id": "ada",
        "caller_roles": "dev,ops",
        "cost_cents": 120,
        "cost_model": "token",
        "cost_input_tokens": 300,
        "cost_output_tokens": 40,
    }


def test_a_role_of_hangar_is_never_two() -> None:
    assert shown("hangar", source={"roles": ["dev,admin", "ops"]})["caller_roles"] == "dev\\u002cadmin,ops"


def test_in_hangar_a_denial_is_a_failure_that_says_its_kind() -> None:
    value = shown("hangar", target={"type": "tool"}, **denied())
    assert (value["event_type"], value["kind"], value["status"]) == ("ToolInvocationFailed", "denied", "error")


def test_hangar_holds_what_is_no_call() -> None:
    state = {"from": "Ready", "to": "Failed", "reason": "it died"}
    phase = shown(
        "hangar", event_type="mcp_server_state_changed", state=state, target={"backend": "files"}, outcome=None
    )
    assert phase["event_type"] == "McpServerStateChanged"
    assert (phase["mcp_server_id"], phase["from_state"], phase["to_state"]) == ("files", "Ready", "Failed")
    assert phase["reason"] == "it died"
    assert "status" not in phase
    alert = shown("hangar", event_type="alert", metadata={"disk": "full"}, outcome=None)
    assert (alert["event_type"], alert["metadata"]) == ("Alert", {"disk": "full"})


@pytest.mark.parametrize(
    ("parts", "action"),
    [
        ({}, "allow"),
        ({"policy": {"decision": "n/a"}}, "allow"),
        ({"policy": {"decision": "warn"}}, "warn"),
        ({"policy": {"decision": "deny"}}, "deny"),
        (denied(), "deny"),
        (denied(policy={"decision": "allow"}), "deny"),
    ],
)
def test_mcpgw_says_what_was_done_about_a_call(parts: dict[str, Any], action: str) -> None:
    assert shown("mcpgw", **parts)["action"] == action


def test_mcpgw_counts_what_came_in_and_went_out() -> None:
    outcome = {"status": "success", "kind": "completed", "result_bytes": 305}
    value = shown("mcpgw", request={"args_bytes": 41}, outcome=outcome)
    assert (value["bytes_in"], value["bytes_out"], value["duration_ms"]) == (41, 305, None)


# --- Elastic Common Schema ------------------------------------------------------------------------------

ECS_FIELDS = {
    "@timestamp": "date", "ecs.version": "keyword", "message": "text",
    "event.kind": "keyword", "event.category": "keyword[]", "event.type": "keyword[]", "event.action": "keyword",
    "event.code": "keyword", "event.id": "keyword", "event.outcome": "keyword", "event.sequence": "long",
    "event.severity": "long", "event.hash": "keyword", "event.module": "keyword", "event.dataset": "keyword",
    "event.created": "date", "event.duration": "long", "event.reason": "keyword",
    "user.id": "keyword", "user.roles": "keyword[]", "client.address": "keyword", "client.ip": "ip",
    "organization.id": "keyword", "service.name": "keyword", "service.version": "keyword",
    "trace.id": "keyword", "span.id": "keyword", "rule.name": "keyword",
    "error.message": "text", "error.type": "keyword", "error.code": "keyword",
    "gen_ai.tool.name": "keyword",
    "observer.vendor": "keyword", "observer.product": "keyword", "observer.version": "keyword",
    "observer.hostname": "keyword",
}  # fmt: skip
"""Fields of the schema that are used, and their types, as its field reference has them."""

EXPECTED = {
    "event.kind": {"alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"},
    "event.category": {"api", "authentication", "configuration", "process"},
    "event.outcome": {"success", "failure", "unknown"},
}
TYPES_OF = {
    "api": {
        "access",
        "admin",
        "allowed",
        "change",
        "creation",
        "deletion",
        "denied",
        "end",
        "info",
        "start",
        "user",
    },
    "authentication": {"start", "end", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "process": {"access", "change", "end", "info", "start"},
}
"""The allowed values of `event.type`, by category."""


def fields(value: Any, above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, inner in value.items():
        path = f"{above}.{key}" if above else key
        found.update(fields(inner, path) if isinstance(inner, dict) else {path: inner})
    return found


def fits(kind: str, value: Any) -> bool:
    if kind.endswith("[]"):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "long":
        return isinstance(value, int) and abs(value) < 2**63
    return isinstance(value, str)


@pytest.mark.parametrize(
    "event_type", ["mcp_operation", "auth_rejected", "mcp_server_state_changed", "alert", "audit_gap"]
)
@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "not\nan address", "fe80::1%eth0"])
def test_every_field_of_ecs_is_one_of_its_own_with_a_value_of_its_type(event_type: str, address: str) -> None:
    body = events.with_text("x", event_type=event_type, state={"from": "Ready", "to": "Failed", "reason": "x"})
    body["source"]["client_ip"] = address
    body["request"].update(trace_id="4b" * 16, span_id="0f" * 8)
    record = Record(events.line_of(body), events.ORIGIN)
    value = strict(make_format("ecs", Options(version="1.0", host="h")).render(record))
    assert list(value)[-1] == "indelible"
    del value["indelible"]
    found = fields(value)
    for path, inner in found.items():
        assert fits(ECS_FIELDS[path], inner), path
    for path, allowed in EXPECTED.items():
        inner = found[path]
        assert set(inner if isinstance(inner, list) else [inner]) <= allowed
    [category] = found["event.category"]
    assert set(found["event.type"]) <= TYPES_OF[category]
    assert ("client.ip" in found) == (address in ("192.0.2.7", "2001:db8::7"))
    assert found["client.address"] == address
    assert found["event.duration"] == 1_500_000


@pytest.mark.parametrize(
    ("parts", "types", "outcome"),
    [
        ({"target": {"effects": "read_only"}}, ["access", "allowed"], "success"),
        ({"target": {"effects": "write"}}, ["change", "allowed"], "success"),
        ({"target": {"effects": "destructive"}}, ["deletion", "allowed"], "success"),
        (denied(target={"effects": "destructive"}), ["deletion", "denied"], "failure"),
        ({"event_type": "mcp_operation_started", "outcome": None}, ["start"], "unknown"),
    ],
)
def test_ecs_says_what_was_done_and_whether_it_was_let_through(
    parts: dict[str, Any], types: list[str], outcome: str
) -> None:
    event = shown("ecs", **parts)["event"]
    assert (event["type"], event["outcome"], event["category"]) == (types, outcome, ["api"])
