"""How a reader of each JSON format finds who did what: the documented paths, and nothing of what writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

JSON_FORMATS: Final = ("argus", "mxcp", "alive", "hangar", "mcpgw", "cloudevents", "ecs", "ocsf", "otlp")
OPERATIONS_ONLY: Final = ("argus", "mxcp", "alive", "mcpgw")

Read = dict[str, Any]


def strict(data: bytes) -> Any:
    """Return the value of strict JSON: no NaN, no key twice, no integer that a double does not hold."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        assert len(set(keys)) == len(keys), keys
        return dict(pairs)

    def constant(name: str) -> Any:
        raise AssertionError(name)

    def integer(digits: str) -> int:
        assert abs(int(digits)) < 2**53, digits
        return int(digits)

    return json.loads(
        data.decode("utf-8"), parse_constant=constant, parse_int=integer, object_pairs_hook=unique
    )


def micros(text: str | None) -> int | None:
    """Return RFC 3339 as microseconds since 1970."""
    if text is None:
        return None
    delta = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return delta // (datetime.resolution)


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _own(value: Any, *path: str) -> Read:
    """Read the last key of the formats of other systems."""
    found = _at(value, *path, "indelible")
    names = ("event_id", "seq", "origin", "leaf", "request_id", "kind", "user_id", "caller_type")
    cost = {
        name: found.get(f"cost_{name}") for name in ("centicents", "model", "input_tokens", "output_tokens")
    }
    return {**{name: found.get(name) for name in names}, **cost}


def argus(value: Any) -> Read:
    return {
        **_own(value, "metadata"),
        "time": micros(value["timestamp"]),
        "user_id": value["source"]["user_id"],
        "session_id": value["source"]["session_id"],
        "client_ip": value["source"]["client_ip"],
        "backend": value["target"]["backend"],
        "error": value["outcome"]["error"],
    }


def mxcp(value: Any) -> Read:
    time = micros(value["timestamp"])
    return {
        **_own(value),
        "time_ms": None if time is None else time // 1000,
        "caller": value["caller"],
        "type": value["type"],
        "name": value["name"],
        "args": json.loads(value["input_json"]),
        "reason": value["reason"],
        "error": value["error"],
    }


def alive(value: Any) -> Read:
    time = micros(value["timestamp"])
    return {
        **_own(value),
        "time_ms": None if time is None else time // 1000,
        "request_id": value["requestId"],
        "name": value["tool"],
        "args": value["args"],
        "error": value["error"],
        "server_version": value["serverVersion"],
    }


def hangar(value: Any) -> Read:
    return {
        **_own(value),
        "time": micros(value.get("timestamp")),
        "backend": value.get("mcp_server_id"),
        "name": value.get("tool_name"),
        "user_id": value.get("caller_id"),
        "caller_type": value.get("caller_type"),
        "centicents": value.get("cost_cents"),
        "model": value.get("cost_model"),
        "input_tokens": value.get("cost_input_tokens"),
        "output_tokens": value.get("cost_output_tokens"),
        "session_id": value.get("session_id"),
        "error": value.get("error"),
        "kind": value.get("kind"),
    }


def mcpgw(value: Any) -> Read:
    return {
        **_own(value),
        "time": micros(value["ts"]),
        "request_id": value["request_id"],
        "session_id": value["session_id"],
        "client_ip": value["client_ip"],
        "method": value["method"],
        "name": value["tool"],
        "backend": value["upstream"],
    }


def cloudevents(value: Any) -> Read:
    data = value["data"]
    own = data.pop("indelible")
    return {
        **flat(data),
        "time": micros(value.get("time")),
        "seq": int(value["sequence"]),
        **{name: own[name] for name in ("event_id", "seq", "origin", "leaf")},
    }


def ecs(value: Any) -> Read:
    own = value["indelible"]
    return {
        **{
            name: own.get(name)
            for name in ("event_id", "seq", "origin", "leaf", "request_id", "kind", "caller_type")
        },
        "event_id_field": _at(value, "event", "id"),
        "time": micros(value.get("@timestamp")),
        "user_id": _at(value, "user", "id"),
        "session_id": own.get("session_id"),
        "client_ip": _at(value, "client", "address"),
        "backend": _at(value, "service", "name"),
        "name": own.get("name"),
        "method": own.get("method"),
        "error": _at(value, "error", "message"),
        "args": json.loads(own["args"]) if "args" in own else None,
    }


def ocsf(value: Any) -> Read:
    return {
        **_own(value, "unmapped"),
        "time_ms": value["time"],
        "name": _at(value, "unmapped", "name"),
    }


def otlp(value: Any) -> Read:
    [resource] = value["resourceLogs"]
    [scope] = resource["scopeLogs"]
    [record] = scope["logRecords"]
    attributes = {pair["key"]: _any(pair["value"]) for pair in record["attributes"]}
    assert list(attributes)[-1] == "indelible"
    own = attributes["indelible"]
    names = ("event_id", "seq", "origin", "leaf", "request_id", "kind", "caller_type", "backend", "error")
    found = {name: own.get(name) for name in names}
    args = attributes.get("gen_ai.tool.call.arguments", own.get("args"))
    return {
        **found,
        "user_id": attributes.get("user.id"),
        "session_id": attributes.get("mcp.session.id"),
        "client_ip": attributes.get("client.address"),
        "method": attributes.get("mcp.method.name"),
        "centicents": own.get("cost_centicents"),
        "model": own.get("cost_model"),
        "input_tokens": attributes.get("gen_ai.usage.input_tokens"),
        "output_tokens": attributes.get("gen_ai.usage.output_tokens"),
        "args": None if args is None else json.loads(args),
    }


def _any(value: dict[str, Any]) -> Any:
    [(kind, found)] = value.items()
    if kind == "kvlistValue":
        return {pair["key"]: _any(pair["value"]) for pair in found["values"]}
    if kind == "arrayValue":
        return [_any(item) for item in found["values"]]
    return int(found) if kind == "intValue" else found


READERS: Final[dict[str, Callable[[Any], Read]]] = {
    "argus": argus,
    "mxcp": mxcp,
    "alive": alive,
    "hangar": hangar,
    "mcpgw": mcpgw,
    "cloudevents": cloudevents,
    "ecs": ecs,
    "ocsf": ocsf,
    "otlp": otlp,
}


def flat(entry: Any) -> Read:
    """Return what a line of the trail says, in the words of the readers."""
    source, target, request = (entry.get(part) or {} for part in ("source", "target", "request"))
    outcome, cost = entry.get("outcome") or {}, entry.get("cost") or {}
    return {
        "event_id": entry.get("event_id", ""),
        "event_id_field": entry.get("event_id") or None,
        "seq": entry["seq"],
        "request_id": request.get("request_id"),
        "kind": outcome.get("kind"),
        "user_id": source.get("user_id"),
        "caller": source.get("caller"),
        "caller_type": source.get("caller_type"),
        "session_id": source.get("session_id"),
        "client_ip": source.get("client_ip"),
        "backend": target.get("backend"),
        "name": target.get("capability_name"),
        "method": target.get("method"),
        "type": target.get("type"),
        "server_version": target.get("server_version"),
        "args": request.get("args"),
        "error": outcome.get("error"),
        "reason": (entry.get("policy") or {}).get("reason"),
        **{name: cost.get(name) for name in ("centicents", "model", "input_tokens", "output_tokens")},
    }
