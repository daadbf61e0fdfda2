"""Every cause of the table really happens in a FastMCP server, and leaves the one event that it says."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import indelible
from indelible.capture.causes import TABLE
from tests.integration.fastmcp import servers
from tests.integration.sdk import wires
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

WAYS = [("memory", LEGACY), ("memory", MODERN), ("http", LEGACY), ("http", MODERN), ("stdio", LEGACY)]


@contextlib.asynccontextmanager
async def memory(server: Any, era: str) -> AsyncIterator[wires.Memory]:
    """Connect to a FastMCP server in this process."""
    inner = server._mcp_server
    to_server, read = anyio.create_memory_object_stream[Any](100)
    write, from_server = anyio.create_memory_object_stream[Any](100)
    async with server._lifespan_manager():
        running = asyncio.ensure_future(inner.run(read, write, inner.create_initialization_options()))
        wire = wires.Memory(to_server, from_server)
        try:
            await wires.greet(wire, era)
            yield wire
        finally:
            await wire.close()
            await asyncio.wait_for(running, wires.LIMIT_S)


@contextlib.asynccontextmanager
async def http(server: Any, era: str, **headers: str) -> AsyncIterator[wires.Http]:
    async with wires.listening(server.http_app()) as url:
        wire = wires.Http(url, era, headers)
        try:
            await wires.greet(wire, era)
            yield wire
        finally:
            await wire.close()


@contextlib.asynccontextmanager
async def connected(transport: str, era: str, trail: Path) -> AsyncIterator[Wire]:
    if transport == "stdio":
        program = (sys.executable, "-m", "tests.integration.fastmcp.servers", str(trail))
        async with wires.stdio(*program, era=era) as wire:
            yield wire
        return
    recorder = indelible.open_trail(trail, on_failure="deny")
    server = servers.audited(recorder)
    opened: Any = memory(server, era) if transport == "memory" else http(server, era)
    async with opened as wire:
        yield wire
    recorder.close()


@pytest.mark.parametrize(("transport", "era"), WAYS)
def test_every_cause_leaves_its_one_event(transport: str, era: str, tmp_path: Path) -> None:
    trail, release = tmp_path / "audit.jsonl", tmp_path / "release"
    hang = {"name": "hang", "arguments": {"until": str(release)}}
    happened = dict(STRAIGHT)
    if transport == "stdio":  # where FastMCP trusts whoever started it
        del happened["denied"]

    async def run() -> None:
        async with connected(transport, era, trail) as wire:
            for number, (cause, (method, params)) in enumerate(tuple(happened.items())):
                await wire.send(request(number, method, params, era, cause))
                await wire.answer(number)
            if (transport, era) != ("http", MODERN):  # there, closing the stream is how a call is cancelled
                happened["cancelled"] = ("tools/call", hang)
                await wire.send(request(50, "tools/call", hang, era, "cancelled"))
                await wait_until(lambda: of(trail, "cancelled", "mcp_operation_started"))
                cancel = {"requestId": 50, "reason": "no more"}
                await wire.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
                await wait_until(lambda: of(trail, "cancelled"))
            if era == MODERN:
                await asked(wire)
                happened.update(dict.fromkeys(("input_required", "continued"), ("tools/call", {})))
            went = "disconnected_http_session" if (transport, era) == ("http", LEGACY) else "disconnected"
            happened[went] = ("tools/call", hang)
            await wire.send(request(60, "tools/call", hang, era, went))
            await wait_until(lambda: of(trail, went, "mcp_operation_started"))
            await wire.close()
            if went == "disconnected_http_session":
                release.touch()
            await wait_until(lambda: of(trail, went))

    async def asked(wire: Wire) -> None:
        params: dict[str, Any] = {"name": "ask", "arguments": {}}
        await wire.send(request(70, "tools/call", params, era, "input_required"))
        result = (await wire.answer(70))["result"]
        params |= {
            "requestState": result["requestState"],
            "inputResponses": {"q": {"action": "accept", "content": {}}},
        }
        await wire.send(request(71, "tools/call", params, era, "continued"))
        await wire.answer(71)

    asyncio.run(run())
    events = {cause: check(trail, cause, TABLE["fastmcp4"][cause]) for cause in happened}
    assert len([line for line in lines(trail) if line["event_type"] == "mcp_operation"]) == len(events)
    if era == MODERN:
        assert events["continued"]["request"]["continues"] == "input_required"
    event = events["returned"]
    assert event["target"]["backend"] == "shop"
    assert (event["target"]["server_version"], event["target"]["protocol_version"]) == ("3.1", era)
    assert event["source"]["client"] == "tester/9"
    assert event["source"]["caller"] == {"memory": "library", "stdio": "stdio", "http": "http"}[transport]
    assert event["source"].get("client_ip") == ("127.0.0.1" if transport == "http" else None)
    assert ("session_id" in event["source"]) == (transport == "stdio" or (transport, era) == ("http", LEGACY))
    assert event["request"]["args"] == {"a": 1}
    assert indelible.verify(trail).ok
