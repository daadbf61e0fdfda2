"""FastMCP 3, whose middleware sees less than the wire does, behind `AuditASGI`: over each of its HTTP transports."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import indelible
from tests.integration.asgi import connecting
from tests.integration.fastmcp.connecting import command
from tests.integration.fastmcp.servers import FRONTS
from tests.integration.sdk import wires
from tests.integration.sdk.looking import STRAIGHT, lines, of, wait_until
from tests.integration.sdk.wires import LEGACY, request

ASKED = {
    **STRAIGHT,
    "rpc_error": ("resources/read", {"uri": "r://rpcerr"}),
    "whoami": ("tools/call", {"name": "whoami", "arguments": {}}),
}
IN_FRONT = {
    "returned": ("completed", None, None),
    "error_result": ("tool_error", None, None),
    "raised": ("tool_error", None, None),
    "rpc_error": ("protocol_error", -32050, None),
    "unknown_tool": ("protocol_error", -32602, None),
    "unknown_resource": ("protocol_error", -32002, None),
    "unknown_prompt": ("protocol_error", 0, None),
    "invalid_arguments": ("protocol_error", -32602, None),
    "malformed_params": ("protocol_error", -32602, None),
    "denied": ("protocol_error", -32602, None),
    "timed_out": ("timed_out", None, None),
    "whoami": ("completed", None, None),
    "cancelled": ("cancelled", None, None),
    "left": ("cancelled", None, None),
}
"""By its answers alone: FastMCP says of a tool that is hidden from the caller that there is none."""
WITHIN = {
    **IN_FRONT,
    "raised": ("tool_error", None, "KeyError"),
    "rpc_error": ("protocol_error", -32050, "McpError"),
    "unknown_tool": ("protocol_error", -32602, "NotFoundError"),
    "unknown_resource": ("protocol_error", -32602, "NotFoundError"),
    "unknown_prompt": ("protocol_error", -32602, "NotFoundError"),
    "invalid_arguments": ("protocol_error", -32602, "ValidationError"),
    "denied": ("denied", -32602, "NotFoundError"),
    "timed_out": ("timed_out", -32000, "McpError"),
}
"""With FastMCP's own middleware beneath, which adds what it knows."""


async def _ask_all(wire: Any, way: str, trail: Path) -> None:
    for number, (cause, (method, params)) in enumerate(ASKED.items()):
        await wire.send(request(number, method, params, LEGACY, f"{way}-{cause}"))
        answer = await wire.answer(number)
        if cause == "whoami":
            assert answer["result"]["content"][0]["text"] == f"{way}-whoami"
    release = trail.with_name(way)
    for number, cause in ((50, "cancelled"), (51, "left")):
        params = {"name": "hang", "arguments": {"until": str(release)}}
        await wire.send(request(number, "tools/call", params, LEGACY, f"{way}-{cause}"))
        await wait_until(lambda cause=cause: of(trail, f"{way}-{cause}", "mcp_operation_started"))  # type: ignore[misc]
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 50}}
    await wire.send(cancel)
    if way != "stateless":  # there, nobody can say of which request it is
        await wait_until(lambda: of(trail, f"{way}-cancelled"))
    await wire.close()
    if way == "json":  # the app does not look whether its client is there until it answers
        release.touch()
    await wait_until(lambda: of(trail, f"{way}-left") and of(trail, f"{way}-cancelled"))
    release.touch()  # FastMCP 3 cancels nothing, and waits for what runs before it ends


@pytest.mark.timeout(600)  # 25 s; 94 s beside eleven others on two processors
def test_each_call_leaves_its_one_event(tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"

    async def run() -> None:
        async with connecting.process(*command("fastmcp3", trail, "fronts")) as (ports, _):
            for way, port in zip(FRONTS, ports, strict=True):
                url = f"http://127.0.0.1:{port}"
                wire = connecting.Sse(url) if way == "sse" else wires.Http(f"{url}/mcp", LEGACY)
                await wires.greet(wire, LEGACY)
                await _ask_all(wire, way, trail)

    asyncio.run(run())
    for way in FRONTS:
        for cause, expected in (WITHIN if way == "within" else IN_FRONT).items():
            [event] = of(trail, f"{way}-{cause}")
            outcome = event["outcome"]
            found = (outcome["kind"], outcome.get("error_code"), outcome.get("error_type"))
            assert found == expected, (way, cause)
            assert event["target"]["backend"] == way
            assert event["source"]["caller"] == "http"
            assert ("session_id" in event["source"]) == (way != "stateless"), way
    operations = [line for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert len(operations) == len(FRONTS) * len(IN_FRONT)
    assert indelible.verify(trail).ok
