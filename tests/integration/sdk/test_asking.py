"""What a server of the official SDK asks its client from within a tool: an event of its own, linked to the call."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import CreateMessageResult, ElicitResult, SamplingMessage, TextContent
from pydantic import BaseModel

import indelible
from indelible.opening import open_trail
from tests.environments import ROOT, old_python
from tests.integration.sdk.looking import lines
from tests.integration.sdk.servers import QUESTION
from tests.integration.sdk.wires import LEGACY, MODERN
from tests.recording import full_disk


class Answer(BaseModel):
    """What is asked of the user."""

    size: str


def made() -> MCPServer:
    server = MCPServer("shop")

    @server.tool()
    async def order(ctx: Context[Any, Any], password: str) -> str:
        answer = await ctx.elicit(f"Which size? The old password was {password}", Answer)
        return answer.action

    @server.tool()
    async def think(ctx: Context[Any, Any]) -> str:
        message = SamplingMessage(role="user", content=TextContent(type="text", text="Mail ada@example.com"))
        await ctx.session.create_message([message], max_tokens=7, related_request_id=ctx.request_id)
        return "thought"

    @server.tool()
    async def ask(ctx: Context[Any, Any]) -> types.CallToolResult | types.InputRequiredResult:
        if ctx.input_responses:
            return types.CallToolResult(content=[])
        return types.InputRequiredResult(input_requests={"q": QUESTION}, request_state="round-1")

    @server.tool()
    async def plain() -> str:
        return indelible.current_request_id() or ""

    return server


Elicits = Callable[..., Any]


async def _accepts(*_: Any) -> Any:
    return ElicitResult(action="accept", content={"size": "XL"})


async def _declines(*_: Any) -> Any:
    return ElicitResult(action="decline")


async def _cancels(*_: Any) -> Any:
    return ElicitResult(action="cancel")


async def _refuses(*_: Any) -> Any:
    raise MCPError(code=-32050, message="not now")


async def _samples(*_: Any, **__: Any) -> Any:
    return CreateMessageResult(role="assistant", content=TextContent(type="text", text="done"), model="m")


async def _call(path: Path, name: str, elicits: Elicits = _accepts, mode: str = "legacy", **args: Any) -> bool:
    with open_trail(path) as trail:
        server = made()
        indelible.attach(server, trail)
        async with Client(
            server, mode=mode, elicitation_callback=elicits, sampling_callback=_samples
        ) as client:
            await client.call_tool("plain", {})
            try:
                result = await client.call_tool(name, args)
            except MCPError:
                return True
    return bool(result.is_error)


def of(path: Path, event_type: str) -> list[dict[str, Any]]:
    return [line for line in lines(path) if line["event_type"] == event_type]


@pytest.mark.parametrize(
    ("elicits", "kind", "action", "failed"),
    [
        (_accepts, "completed", "accept", False),
        (_declines, "completed", "decline", False),
        (_cancels, "cancelled", "cancel", False),
        (_refuses, "protocol_error", None, True),
    ],
)
def test_an_elicitation(
    tmp_path: Path, elicits: Elicits, kind: str, action: str | None, *, failed: bool
) -> None:
    path = tmp_path / "audit.jsonl"
    assert asyncio.run(_call(path, "order", elicits, password="kq3vT9xLw2")) is failed
    [asked] = of(path, "elicitation")
    [_, call] = of(path, "mcp_operation")
    assert call["target"]["capability_name"] == "order"
    assert asked["request"]["continues"] == call["request"]["request_id"]
    assert asked["request"]["args"]["requestedSchema"]["properties"]["size"]["type"] == "string"
    assert (asked["outcome"]["kind"], asked.get("metadata", {}).get("action")) == (kind, action)
    target = asked["target"]
    assert (target["backend"], target["method"], target["type"]) == (
        "shop",
        "elicitation/create",
        "elicitation",
    )
    assert target["protocol_version"] == LEGACY
    assert asked["source"] == call["source"]
    assert b"kq3vT9xLw2" not in path.read_bytes()
    if kind == "completed":
        assert asked["outcome"]["result_hmac"]
    assert lines(path).index(asked) < lines(path).index(call)


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
def test_a_sampling(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    assert not asyncio.run(_call(path, "think"))
    [asked] = of(path, "sampling")
    [_, call] = of(path, "mcp_operation")
    assert asked["request"]["continues"] == call["request"]["request_id"]
    assert asked["request"]["args"]["messages"][0]["content"]["text"] == "Mail [EMAIL]"
    assert asked["outcome"]["kind"] == "completed"
    assert asked["outcome"]["result_bytes"] > 10


@pytest.mark.parametrize(
    ("elicits", "kind", "action"), [(_accepts, "completed", "accept"), (_cancels, "cancelled", "cancel")]
)
def test_an_elicitation_in_two_rounds(tmp_path: Path, elicits: Elicits, kind: str, action: str) -> None:
    """Of 2026-07-28: the first round's result asks, the second round answers."""
    path = tmp_path / "audit.jsonl"
    assert not asyncio.run(_call(path, "ask", elicits, mode=MODERN))
    [asked] = of(path, "elicitation")
    [_, first, second] = of(path, "mcp_operation")
    assert second["request"]["continues"] == first["request"]["request_id"] == asked["request"]["continues"]
    assert asked["request"]["args"]["message"] == "Sure?"
    assert (asked["outcome"]["kind"], asked["metadata"]) == (kind, {"action": action})
    assert asked["target"]["protocol_version"] == MODERN
    assert asked["outcome"]["latency_ms"] >= 0


def test_each_of_several_calls_at_once_is_known_by_what_it_asks_in_sdk_1(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    program = [str(old_python()), "tests/integration/sdk/old/asking.py", str(path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(program, cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)
    calls = {each["request"]["request_id"]: each for each in of(path, "mcp_operation")}
    names = sorted(each["target"]["capability_name"] for each in calls.values())
    assert names == ["order"] * 3 + ["think"] * 3 + ["thought_of"] * 3
    asked = of(path, "elicitation") + of(path, "sampling")
    assert len(asked) == 6
    for event in asked:
        item = calls[event["request"]["continues"]]["request"]["args"]["item"]
        assert item in json.dumps(event["request"]["args"])


def test_what_cannot_be_recorded_is_answered_all_the_same_and_owed(tmp_path: Path) -> None:
    async def main() -> None:
        async def unrecorded(*_: Any, **__: Any) -> Any:
            full.__enter__()
            return ElicitResult(action="accept", content={"size": "XL"})

        server = made()
        indelible.attach(server, trail)
        async with Client(server, mode="legacy", elicitation_callback=unrecorded) as client:
            with pytest.raises(MCPError, match="withheld"):
                await client.call_tool("order", {"password": "x"})
            full.__exit__(None, None, None)
            await client.call_tool("plain", {})

    path = tmp_path / "audit.jsonl"
    full = full_disk()
    with open_trail(path, on_failure="deny") as trail:
        asyncio.run(main())
    [asked] = of(path, "elicitation")
    assert asked["metadata"]["action"] == "accept"
    denied = [json.dumps(event["metadata"]) for event in of(path, "mcp_operation") if "metadata" in event]
    assert denied == ['{"answer_withheld": true}']
