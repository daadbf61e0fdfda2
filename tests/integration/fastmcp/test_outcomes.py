"""Every cause of the table really happens in a FastMCP server, and leaves the one event that it says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.capture.causes import TABLE
from tests.integration.fastmcp import connecting, servers
from tests.integration.sdk.looking import check, lines, of, wait_until
from tests.integration.sdk.wires import LEGACY, MODERN, Wire, request

STRAIGHT = {
    "returned": ("tools/call", {"name": "ok", "arguments": {"a": 1}}),
    "error_result": ("tools/call", {"name": "flag", "arguments": {}}),
    "raised": ("tools/call", {"name": "boom", "arguments": {}}),
    "rpc_error": ("resources/read", {"uri": "r://rpcerr"}),
    "unknown_tool": ("tools/call", {"name": "nope", "arguments": {}}),
    "unknown_resource": ("resources/read", {"uri": "r://zz"}),
    "unknown_prompt": ("prompts/get", {"name": "zz"}),
    "invalid_arguments": ("tools/call", {"name": "ok", "arguments": {"a": "x"}}),
    "malformed_params": ("tools/call", {"name": "ok", "arguments": [1]}),
    "denied": ("tools/call", {"name": "denied", "arguments": {}}),
    "timed_out": ("tools/call", {"name": "limited", "arguments": {}}),
}
"""Causes that one request brings about, and its answer ends."""

WAYS = [
    ("fastmcp4", "memory", LEGACY),
    ("fastmcp4", "memory", MODERN),
    ("fastmcp4", "http", LEGACY),
    ("fastmcp4", "http", MODERN),
    ("fastmcp4", "stdio", LEGACY),
    ("fastmcp3", "stdio", LEGACY),
    ("fastmcp3", "http", LEGACY),
]


@contextlib.asynccontextmanager
async def connected(kind: str, transport: str, era: str, trail: Path) -> AsyncIterator[Wire]:
    if kind == "fastmcp3" or transport == "stdio":
        async with connecting.program(kind, transport, era, trail) as wire:
            yield wire
        return
    recorder = indelible.open_trail(trail, on_failure="deny")
    server = servers.audited(recorder)
    opened: Any = connecting.memory if transport == "memory" else connecting.http
    async with opened(server, era) as wire:
        yield wire
    recorder.close()


async def cancelled(wire: Wire, trail: Path, hang: dict[str, Any], era: str) -> None:
    await wire.send(request(50, "tools/call", hang, era, "cancelled"))
    await wait_until(lambda: of(trail, "cancelled", "mcp_operation_started"))
    cancel = {"requestId": 50, "reason": "no more"}
    await wire.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
    await wait_until(lambda: of(trail, "cancelled"))


async def asked(wire: Wire) -> None:
    params: dict[str, Any] = {"name": "ask", "arguments": {}}
    await wire.send(request(70, "tools/call", params, MODERN, "input_required"))
    result = (await wire.answer(70))["result"]
    answers = {"q": {"action": "accept", "content": {}}}
    params |= {"requestState": result["requestState"], "inputResponses": answers}
    await wire.send(request(71, "tools/call", params, MODERN, "continued"))
    await wire.answer(71)


@pytest.mark.parametrize(("kind", "transport", "era"), WAYS)
def test_every_cause_leaves_its_one_event(kind: str, transport: str, era: str, tmp_path: Path) -> None:
    trail, release = tmp_path / "audit.jsonl", tmp_path / "release"
    hang = {"name": "hang", "arguments": {"until": str(release)}}
    column, straight = TABLE[kind], dict(STRAIGHT)
    if transport == "stdio":  # where FastMCP trusts whoever started it
        del straight["denied"]
    happened = set(straight)
    went = "disconnected_http_session" if (transport, era) == ("http", LEGACY) else "disconnected"

    async def run() -> None:
        async with connected(kind, transport, era, trail) as wire:
            for number, (cause, (method, params)) in enumerate(straight.items()):
                await wire.send(request(number, method, params, era, cause))
                await wire.answer(number)
            if (transport, era) != ("http", MODERN):  # there, closing the stream is how a call is cancelled
                happened.add("cancelled")
                await cancelled(wire, trail, hang, era)
            if era == MODERN:
                happened.update(("input_required", "continued"))
                await asked(wire)
            happened.add(went)
            await wire.send(request(60, "tools/call", hang, era, went))
            await wait_until(lambda: of(trail, went, "mcp_operation_started"))
            closing = asyncio.ensure_future(wire.close())
            await asyncio.sleep(0)  # it has begun
            if column[went].kind == "completed":
                release.touch()
            await closing
            await wait_until(lambda: of(trail, went))

    asyncio.run(run())
    blank = {cause for cause in happened if column[cause].kind is None}
    assert not any(of(trail, cause) for cause in blank)
    events = {cause: check(trail, cause, column[cause]) for cause in happened - blank}
    assert len([line for line in lines(trail) if line["event_type"] == "mcp_operation"]) == len(events)
    if era == MODERN:
        assert events["continued"]["request"]["continues"] == "input_required"
    event = events["returned"]
    assert event["target"]["backend"] == "shop"
    assert event["target"]["effects"] == "read_only"
    assert (event["target"]["server_version"], event["target"]["protocol_version"]) == ("3.1", era)
    assert event["source"]["client"] == "tester/9"
    assert event["source"]["caller"] == {"memory": "library", "stdio": "stdio", "http": "http"}[transport]
    assert event["source"].get("client_ip") == ("127.0.0.1" if transport == "http" else None)
    assert ("session_id" in event["source"]) == (transport == "stdio" or (transport, era) == ("http", LEGACY))
    assert event["request"]["args"] == {"a": 1}
    assert indelible.verify(trail).ok
