"""How tests look at the one event that a call left, and wait for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from indelible.capture.causes import Cell
from tests.integration.sdk.wires import LIMIT_S


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def of(path: Path, mark: str, event_type: str = "mcp_operation") -> list[dict[str, Any]]:
    return [
        line
        for line in lines(path)
        if line["event_type"] == event_type and line["request"]["request_id"] == mark
    ]


async def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def check(path: Path, cause: str, cell: Cell) -> dict[str, Any]:
    """Look at the one event that a call left, whose request id is its cause."""
    assert cell.kind is not None
    [event] = of(path, cause)
    outcome = event["outcome"]
    found = (outcome["kind"], outcome["status"], outcome.get("error_code"), outcome.get("error_type"))
    assert found == (cell.kind, cell.status, cell.code, cell.error_type), cause
    assert outcome.get("latency_ms", 0) >= 0
    intents = of(path, cause, "mcp_operation_started")
    assert len(intents) == (event["target"]["effects"] != "read_only" and cause != "refused")
    closes = [event["request"]["intent"]] if "intent" in event["request"] else []
    assert [intent["event_id"] for intent in intents] == closes
    return event
