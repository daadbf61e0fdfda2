"""Make redactors, and events around a value."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from indelible.config import RedactionSettings
from indelible.events import Event, Request, Source, Target, outcome
from indelible.redact import Redactor

KEY = b"a key of the recorder's, 32 bytes"


def make(settings: RedactionSettings | None = None, **options: Any) -> Redactor:
    """Return a redactor that keeps the texts of tools that nobody has listed."""
    settings = RedactionSettings(unknown_schema="keep") if settings is None else settings
    return Redactor(settings, hmac_key=KEY, hmac_key_id="k1", **options)


def event(args: Any = None, **parts: Any) -> Event:
    """Return a call's event with these arguments."""
    given: dict[str, Any] = {
        "timestamp": "2026-11-21T05:38:34.123456Z",
        "event_type": "mcp_operation",
        "event_id": "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a",
        "source": Source(caller="stdio", session_id="s1", user_id="alice"),
        "target": Target(backend="files", method="tools/call", type="tool", capability_name="read"),
        "request": Request(request_id="r1", rpc_id="7", args=args),
        "outcome": outcome("completed", 1.5),
    }
    return Event(**{**given, **parts})


def stays_linear(redact: Callable[[str], object], block: str) -> bool:
    """Tell whether ten times as much of a text costs less than forty times the CPU time."""

    def cost(size: int) -> float:
        text = block * (size // len(block))
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            redact(text)
            best = min(best, time.process_time() - started)
        return best

    redact(block)  # compiles what is compiled when it is first used
    return cost(40_000) < 40 * cost(4_000) + 0.05
