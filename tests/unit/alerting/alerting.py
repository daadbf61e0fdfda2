"""Events for rules, and the plainest way to say what a rule is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from indelible.alert_settings import AlertSettings, RuleSettings, parse_alerts
from indelible.alerting.engine import Engine
from indelible.alerting.facts import moment
from indelible.alerting.words import Alert
from indelible.formats.record import Entry, Record
from tests.trails import ORIGIN

START = 1_795_000_000_000_000
"""Microseconds since the epoch."""


def entry(seq: int, at: int, **changes: Any) -> Entry:
    """Return a call as the trail has it, so many microseconds after `START`."""
    body: dict[str, Any] = {
        "seq": seq,
        "schema": 1,
        "recorded_at": moment(START + at),
        "timestamp": moment(START + at),
        "event_type": changes.pop("event_type", "mcp_operation"),
        "event_id": f"00000000-0000-4000-8000-{seq:012d}",
        "source": {"user_id": changes.pop("user", "ada")},
        "target": {
            "backend": "files",
            "type": "tool",
            "capability_name": changes.pop("tool", "read_file"),
            "effects": changes.pop("effects", "read_only"),
        },
        "request": {"args": changes.pop("args", {})},
    }
    kind = changes.pop("kind", "completed")
    body["outcome"] = {
        "status": "success" if kind == "completed" else "error",
        "kind": kind,
        "latency_ms": changes.pop("latency_ms", 1.5),
    }
    body["target"].update(changes.pop("target", {}))
    body.update(changes)
    return Record(json.dumps(body, separators=(",", ":")).encode(), ORIGIN).entry


def settings(**rules: Any) -> AlertSettings:
    """Return settings with these built-in rules alone."""
    from indelible.alert_settings import BUILT_IN

    return parse_alerts({"rules": {name: rules.get(name, "off") for name in BUILT_IN}})


def own(**keys: Any) -> tuple[RuleSettings, ...]:
    """Return one rule of a user's own."""
    from indelible.alert_settings import parse_own_rules

    return parse_own_rules([{"name": "mine", **keys}])


def run(rules: Iterable[RuleSettings], entries: Iterable[Entry]) -> list[Alert]:
    engine = Engine(tuple(rules), ORIGIN)
    return [alert for one in entries for alert in engine.take(one)]


def told(alerts: Iterable[Alert]) -> list[tuple[str, str, int]]:
    """Return rule, state, and when: microseconds after `START`."""
    return [(one.rule, one.state, one.at - START) for one in alerts]
