"""A correlator with a client and a server that a test plays."""

from __future__ import annotations

import json
from typing import Any

from indelible.capture.calls import Session, Step
from indelible.capture.correlate import Correlator
from indelible.config import IntentMode
from indelible.events import Event

NOW = 1_763_700_000_123_456_789
TOOLS = [
    {"name": "look", "annotations": {"readOnlyHint": True}},
    {"name": "wipe", "annotations": {"readOnlyHint": False}},
    {"name": "plain"},
]


class Feed:
    """Feeds messages and keeps every event in order."""

    def __init__(self, *, intent: IntentMode = "writes", trust: bool = True, listed: bool = True) -> None:
        session = Session(
            caller="stdio", backend="b", server_version="0.1", intent=intent, trust_annotations=trust
        )
        self.correlator = Correlator(session)
        self.events: list[Event] = []
        self.mono = 1_000_000_000
        if listed:
            self.client({"jsonrpc": "2.0", "id": "list", "method": "tools/list"})
            self.server({"jsonrpc": "2.0", "id": "list", "result": {"tools": TOOLS}})

    def client(self, message: Any) -> Step:
        self.mono += 1_000_000
        step = self.correlator.from_client(_line(message), NOW, self.mono)
        self.events += step.events
        return step

    def server(self, message: Any) -> Step:
        self.mono += 1_000_000
        step = self.correlator.from_server(_line(message), NOW, self.mono)
        self.events += step.events
        return step

    def call(self, rpc_id: Any, name: str = "look", **more: Any) -> Step:
        params = {"name": name, "arguments": {"a": 1}, **more}
        return self.client({"jsonrpc": "2.0", "id": rpc_id, "method": "tools/call", "params": params})

    def answer(self, rpc_id: Any, result: Any = None) -> Step:
        return self.server({"jsonrpc": "2.0", "id": rpc_id, "result": {} if result is None else result})

    def end(self) -> None:
        self.events += self.correlator.end("backend_unavailable", "died", self.mono)

    @property
    def outcomes(self) -> list[Event]:
        return [event for event in self.events if event.event_type == "mcp_operation"]

    @property
    def kinds(self) -> list[str]:
        return [event.outcome.kind for event in self.outcomes if event.outcome is not None]

    def of(self, event_type: str) -> list[Event]:
        return [event for event in self.events if event.event_type == event_type]


def _line(message: Any) -> bytes:
    if isinstance(message, bytes):
        return message
    return json.dumps(message).encode() + b"\n"
