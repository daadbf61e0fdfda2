"""How tests bring a call's causes about, wait for the one event that it left, and look at it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import anyio

from indelible.capture.causes import Cell
from tests.integration.sdk.wires import LEGACY, LIMIT_S, MODERN, Wire, request

STRAIGHT = {
    "returned": ("tools/call", {"name": "ok", "arguments": {"a": 1}}),
    "error_result": ("tools/call", {"name": "flag", "arguments": {}}),
    "raised": ("tools/call", {"name": "boom", "arguments": {}}),
    "rpc_error": ("tools/call", {"name": "rpcerr", "arguments": {}}),
    "unknown_tool": ("tools/call", {"name": "nope", "arguments": {}}),
    "unknown_resource": ("resources/read", {"uri": "r://zz"}),
    "unknown_prompt": ("prompts/get", {"name": "zz"}),
    "invalid_arguments": ("tools/call", {"name": "ok", "arguments": {"a": "x"}}),
    "malformed_params": ("tools/call", {"name": "ok", "arguments": [1]}),
    "denied": ("tools/call", {"name": "denied", "arguments": {}}),
    "timed_out": ("tools/call", {"name": "limited", "arguments": {}}),
}
"""Causes that one request brings about, and its answer ends."""


def call(rpc_id: Any, name: str, mark: str, era: str = LEGACY, **arguments: Any) -> dict[str, Any]:
    return request(rpc_id, "tools/call", {"name": name, "arguments": arguments}, era, mark)


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


def check_returned(event: dict[str, Any], transport: str, era: str) -> None:
    """Look at who is said to have called what, and how, in the event of the cause ``returned``."""
    assert event["target"]["backend"] == "shop"
    assert event["target"]["effects"] == "read_only"
    assert event["target"]["protocol_version"] == era
    assert event["source"]["client"] == "tester/9"
    assert event["source"]["caller"] == {"memory": "library", "stdio": "stdio", "http": "http"}[transport]
    assert event["source"].get("client_ip") == ("127.0.0.1" if transport == "http" else None)
    assert ("session_id" in event["source"]) == (transport == "stdio" or (transport, era) == ("http", LEGACY))
    assert event["request"]["args"] == {"a": 1}


# --- causes that take more than a request -----------------------------------------------------------------------


async def cancelled(wire: Wire, trail: Path, era: str, release: Path) -> None:
    """Call what hangs until there is a file `release`, and say that the answer is not wanted any more."""
    await wire.send(call(50, "hang", "cancelled", era, until=str(release)))
    await wait_until(lambda: of(trail, "cancelled", "mcp_operation_started"))
    cancel = {"requestId": 50, "reason": "no more"}
    await wire.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
    await wait_until(lambda: of(trail, "cancelled"))


async def asked(wire: Wire) -> None:
    """Call what asks for input, and give it."""
    params: dict[str, Any] = {"name": "ask", "arguments": {}}
    await wire.send(request(70, "tools/call", params, MODERN, "input_required"))
    result = (await wire.answer(70))["result"]
    answers = {"q": {"action": "accept", "content": {}}}
    params |= {"requestState": result["requestState"], "inputResponses": answers}
    await wire.send(request(71, "tools/call", params, MODERN, "continued"))
    await wire.answer(71)


async def refused_and_withheld(
    wire: Wire, trail: Path, release: Path, full: Callable[[], AbstractContextManager[None]]
) -> None:
    """Call while nothing can be recorded, and answer then; and find that it goes on afterwards."""
    with full():
        await wire.send(call(1, "hang", "refused", until=str(release)))
        error = (await wire.answer(1))["error"]
    assert (error["code"], error["message"][:9]) == (-32603, "refused: ")
    await wire.send(call(2, "hang", "withheld", until=str(release)))
    await wait_until(lambda: of(trail, "withheld", "mcp_operation_started"))
    with full():
        await anyio.Path(release).touch()
        error = (await wire.answer(2))["error"]
    assert (error["code"], "withheld" in error["message"]) == (-32603, True)
    await wire.send(call(3, "ok", "returned", a=1))
    assert (await wire.answer(3))["result"]


def check_refused_and_withheld(trail: Path, column: Mapping[str, Cell]) -> None:
    for cause in ("refused", "withheld", "returned"):
        check(trail, cause, column[cause])
    assert of(trail, "withheld")[0]["metadata"]["answer_withheld"] is True
