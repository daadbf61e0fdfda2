"""Records in the JSON formats, read back: one function a format. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from indelible.formats.back_parts import (
    CORE,
    EVERYTHING,
    MILLISECOND,
    TYPED,
    Event,
    Said,
    event_of,
    of_epoch,
    of_nanoseconds,
    part_of,
    text_or_none,
    time_in,
    typed_by,
)
from indelible.formats.names import event_type_of, family_of
from indelible.formats.shapes import STAMP_KEY

_ARGUS_TYPES: Final = {"call_tool": "tool", "read_resource": "resource", "get_prompt": "prompt"}
_WIRE_TYPES: Final = {"tools/call": "tool", "resources/read": "resource", "prompts/get": "prompt"}


def _argus(value: Event) -> Said:
    source, target, outcome = value.get("source"), value.get("target"), value.get("outcome")
    family = _ARGUS_TYPES.get(part_of(target, "method"))
    event = event_of(
        part_of(value, "metadata", STAMP_KEY) or {},
        event_type=value.get("event_type"),
        time=time_in(value.get("timestamp")),
        user=part_of(source, "user_id"),
        session=part_of(source, "session_id"),
        backend=part_of(target, "backend"),
        type=family,
        name=text_or_none(part_of(target, "capability_name")),
        original_name=part_of(target, "original_name"),
        status=part_of(outcome, "status"),
        latency=part_of(outcome, "latency_ms"),
        error=part_of(outcome, "error"),
    )
    return event, CORE | {"session", "backend"} | (TYPED if family else frozenset())


def _mxcp(value: Event) -> Said:
    stamp = value.get(STAMP_KEY) or {}
    decision = value.get("policy_decision")
    event = event_of(
        stamp,
        time=time_in(value.get("timestamp")),
        type=value.get("type"),
        name=value.get("name"),
        args=value.get("input_json"),
        decision=None if decision == "n/a" and not stamp.get("kind") else decision,
        status=value.get("status"),
        latency=value.get("duration_ms"),
        error=value.get("error"),
    )
    return event, CORE | TYPED | {"policy"}


def _alive(value: Event) -> Said:
    event = event_of(
        value.get(STAMP_KEY) or {},
        time=time_in(value.get("timestamp")),
        name=value.get("tool"),
        args=value.get("args"),
        status={"ok": "success"}.get(str(value.get("outcome")), value.get("outcome")),
        latency=value.get("durationMs"),
        error=value.get("error"),
    )
    return event, CORE


def _hangar(value: Event) -> Said:
    stamp, called = value.get(STAMP_KEY) or {}, str(value.get("event_type"))
    event = event_of(
        stamp,
        event_type=event_type_of(called),
        time=time_in(value.get("timestamp")),
        session=value.get("session_id"),
        backend=value.get("mcp_server_id"),
        type=family_of(called),
        name=value.get("tool_name"),
        decision=value.get("policy_decision"),
        status=value.get("status"),
        latency=value.get("duration_ms"),
        error=value.get("error"),
    )
    return event, CORE | {"session", "backend", "policy"} | typed_by(called)


def _mcpgw(value: Event) -> Said:
    family = _WIRE_TYPES.get(str(value.get("method")))
    event = event_of(
        value.get(STAMP_KEY) or {},
        time=time_in(value.get("ts")),
        session=value.get("session_id"),
        backend=value.get("upstream"),
        type=family,
        name=value.get("tool"),
        status=value.get("status"),
        latency=value.get("duration_ms"),
    )
    return event, CORE | {"session", "backend"} | (TYPED if family else frozenset())


def _cloudevents(value: Event) -> Said:
    data = value.get("data")
    event = {key: item for key, item in data.items() if key != STAMP_KEY} if isinstance(data, dict) else {}
    return event, EVERYTHING


def _ecs(value: Event) -> Said:
    own = value.get(STAMP_KEY) or {}
    event = event_of(
        own,
        event_type=own.get("event_type"),
        time=time_in(value.get("@timestamp")),
        user=part_of(value, "user", "id"),
        session=own.get("session_id"),
        backend=own.get("backend"),
        type=own.get("type"),
        name=own.get("name"),
        args=own.get("args"),
        decision=own.get("decision"),
        status={"failure": "error"}.get(
            str(part_of(value, "event", "outcome")), part_of(value, "event", "outcome")
        ),
        latency=_milliseconds(part_of(value, "event", "duration")),
        error=part_of(value, "error", "message"),
    )
    return event, EVERYTHING


def _milliseconds(nanoseconds: Any) -> float | None:
    return nanoseconds / 1_000_000 if isinstance(nanoseconds, int | float) else None


def _ocsf(value: Event) -> Said:
    stamp, other = part_of(value, "unmapped", STAMP_KEY) or {}, value.get("unmapped")
    called = str(part_of(value, "metadata", "event_code"))
    is_call = value.get("class_uid") != 0
    event = event_of(
        stamp,
        event_type=event_type_of(called),
        time=of_epoch(value.get("time"), MILLISECOND),
        session=part_of(value, "actor", "session", "uid"),
        backend=part_of(value, "api", "service", "name"),
        type=family_of(called),
        name=part_of(other, "name"),
        args=part_of(value, "api", "request", "data"),
        decision=part_of(other, "decision"),
        status={"Success": "success", "Failure": "error"}.get(str(value.get("status"))),
        latency=value.get("duration"),
        error=value.get("status_detail"),
    )
    says = CORE | {"policy"} | typed_by(called)
    return event, says | {"session", "backend"} if is_call else says


def _otlp(value: Event) -> Said:
    logged = value["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    found = _attributes(logged.get("attributes"))
    own = found.get(STAMP_KEY) or {}
    names = [found.get(key) for key in ("mcp.resource.uri", "gen_ai.tool.name", "gen_ai.prompt.name")]
    event = event_of(
        own,
        event_type=own.get("event_type"),
        time=of_nanoseconds(logged.get("timeUnixNano")),
        user=found.get("user.id"),
        session=found.get("mcp.session.id"),
        backend=own.get("backend"),
        type=own.get("type"),
        name=next((name for name in names if name is not None), own.get("name")),
        args=found.get("gen_ai.tool.call.arguments", own.get("args")),
        decision=own.get("decision"),
        status=own.get("status"),
        latency=own.get("latency_ms"),
        error=own.get("error"),
    )
    return event, EVERYTHING


def _attributes(pairs: Any) -> Event:
    """Return a list of KeyValue as a mapping; numbers of 64 bits are texts in it."""
    found: Event = {}
    for pair in pairs if isinstance(pairs, list) else []:
        held = part_of(pair, "value")
        if isinstance(held, dict) and held:
            kind, item = next(iter(held.items()))
            nested = _attributes(part_of(item, "values")) if kind == "kvlistValue" else item
            found[str(part_of(pair, "key"))] = nested
    return found


READERS: Final[tuple[tuple[str, str, Callable[[Event], Said]], ...]] = (
    ("otlp", "resourceLogs", _otlp),
    ("cloudevents", "specversion", _cloudevents),
    ("ecs", "ecs", _ecs),
    ("ocsf", "class_uid", _ocsf),
    ("mxcp", "input_json", _mxcp),
    ("alive", "requestId", _alive),
    ("mcpgw", "ts", _mcpgw),
    ("argus", "target", _argus),
    ("hangar", "event_type", _hangar),
)
"""Format, a key that tells it from those after it, and what reads it."""
