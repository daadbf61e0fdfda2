"""Which events a sink gets, as the configuration says it. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from indelible.sink_settings.parts import mapping_of
from indelible.values import Parser, nearest, parse_text, shown

FILTER_CHOICES: Final[dict[str, tuple[str, ...] | None]] = {
    "events": (
        "mcp_operation", "mcp_operation_started", "mcp_server_state_changed", "tool_definition_changed",
        "auth_rejected", "sampling", "elicitation", "audit_started", "audit_stopped", "audit_heartbeat", "file_opened",
        "entry_erased", "audit_gap", "audit_recovered", "clock_stepped", "config_reloaded", "key_rotated",
        "retention_applied", "hold_placed", "hold_released", "alert",
    ),
    "status": ("success", "error"),
    "kind": (
        "completed", "input_required", "tool_error", "protocol_error", "denied", "unauthenticated", "cancelled",
        "timed_out", "interrupted", "backend_unavailable",
    ),
    "policy": ("allow", "deny", "warn", "n/a"),
    "effects": ("read_only", "destructive", "write", "unknown"),
    "backend": None,
    "tool": None,
}  # fmt: skip
"""What a filter may name, to its vocabulary (`indelible.events` has it); None: any text."""


class SinkFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a sink gets: of what is named, any; of all that is named, each. An empty set names nothing."""

    events: frozenset[str] | None = None
    """Event types; None: what the sink's format is for. Every type there is: ``all``."""
    status: frozenset[str] = frozenset()
    kind: frozenset[str] = frozenset()
    policy: frozenset[str] = frozenset()
    backend: frozenset[str] = frozenset()
    tool: frozenset[str] = frozenset()
    effects: frozenset[str] = frozenset()


def _words(name: str) -> Parser:
    """Return a parser of a filter's values: one, or a list of them."""
    known = FILTER_CHOICES[name]

    def parse(value: object) -> frozenset[str]:
        items = value if isinstance(value, list) else [value]
        if not items:
            raise ValueError("expected a value, or a list of values")
        words = [parse_text(item) for item in items]
        for word in words:
            if known is not None and word not in known:
                raise ValueError(f"no such value {shown(word)}{nearest(word, known)}")
        return frozenset(words)

    return parse


def _events(value: object) -> frozenset[str]:
    known = FILTER_CHOICES["events"] or ()
    return frozenset(known) if value in ("all", ["all"]) else _words("events")(value)


FILTER_KEYS: Final[dict[str, Parser]] = {
    name: _events if name == "events" else _words(name) for name in FILTER_CHOICES
}


def parse_filter(value: object) -> SinkFilter:
    """Return which events a sink gets."""
    return SinkFilter(**mapping_of(FILTER_KEYS)(value))
