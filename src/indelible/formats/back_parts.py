"""What reading records back has in common: an event of the parts that are known, and times. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from indelible.events import STATUS_OF_KIND
from indelible.formats.names import event_type_of, family_of
from indelible.formats.record import OPERATIONS
from indelible.formats.times import EPOCH

Event = dict[str, Any]
Stamp = Mapping[str, Any]
Said = tuple[Event, frozenset[str]]
"""An event, and the filters that its record can answer."""

CORE: Final = frozenset(
    {"events", "since", "until", "name", "user", "caller_type", "kind", "status", "request_id"}
)
"""What all formats of ours say."""
NAMES: Final = frozenset({"tool", "resource", "prompt"})
TYPED: Final = frozenset({"type"}) | NAMES
EVERYTHING: Final = CORE | TYPED | {"session", "backend", "policy"}


def event_of(stamp: Stamp, **parts: Any) -> Event:
    """Return an event of what is known; `stamp` has what all formats say under the same keys."""
    kind = parts.get("kind", stamp.get("kind"))
    name, family = parts.get("name"), parts.get("type")
    event: Event = {
        "timestamp": parts.get("time"),
        "event_type": parts.get("event_type", "mcp_operation" if kind else "mcp_operation_started"),
        "source": {
            "user_id": parts.get("user", stamp.get("user_id")),
            "caller_type": stamp.get("caller_type"),
            "session_id": parts.get("session"),
        },
        "target": {
            "backend": parts.get("backend"),
            "type": family,
            "capability_name": name,
            "original_name": parts.get("original_name"),
        },
        "request": {"request_id": stamp.get("request_id"), "args": _json(parts.get("args"))},
        "policy": {"decision": parts.get("decision")},
        "outcome": {
            "status": (_status(parts.get("status")) or STATUS_OF_KIND.get(kind)) if kind else None,
            "kind": kind,
            "latency_ms": parts.get("latency"),
            "error": parts.get("error"),
        },
    }
    if stamp.get("erased"):
        return {"erased": stamp["erased"]}
    return _without_nothing(event)


def _status(said: Any) -> str | None:
    """Return what a format says became of a call; None of one that is under way."""
    return said if said in ("success", "error") else None


def _without_nothing(event: Event) -> Event:
    made = {}
    for key, value in event.items():
        known = value
        if isinstance(value, dict):
            known = {name: item for name, item in value.items() if item is not None}
        if known not in (None, {}):
            made[key] = known
    return made


def _json(value: Any) -> Any:
    """Return a JSON value that stands as its text in some formats."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):  # cut in the middle
        return value


def part_of(value: Any, *keys: str) -> Any:
    """Return what stands under the keys of nested objects, None when one of them is not there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_or_none(value: Any) -> str | None:
    """Return a text that is not empty."""
    return value if isinstance(value, str) and value else None


# --- times --------------------------------------------------------------------------------------------------------


def time_in(text: Any) -> str | None:
    """Return a time that a format of ours wrote in the trail's form; None for anything else."""
    if not isinstance(text, str) or len(text) < len("2026-11-21T05:38:34Z"):
        return None
    stem = text.removesuffix("Z").removesuffix("+00:00")
    seconds, _, fraction = stem.partition(".")
    return f"{seconds}.{fraction:0<6.6}Z"


def of_epoch(value: Any, unit: timedelta) -> str | None:
    """Return the trail's form of a count of `unit` since 1970."""
    try:
        moment = EPOCH + int(value) * unit
    except (TypeError, ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


MILLISECOND: Final = timedelta(milliseconds=1)


def of_nanoseconds(value: Any) -> str | None:
    """Return the trail's form of nanoseconds since 1970."""
    try:
        return of_epoch(int(value) // 1000, timedelta(microseconds=1))
    except (TypeError, ValueError):
        return None


def typed_by(called: str) -> frozenset[str]:
    """Return the filters that a signature answers: of other requests than the three no more than that they are none."""
    if family_of(called):
        return TYPED
    return NAMES if event_type_of(called) in OPERATIONS else frozenset()
