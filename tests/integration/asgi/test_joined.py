"""A server that records its own calls, behind `AuditASGI` that does too: one wire request is one operation."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastmcp import FastMCP

import indelible
from indelible.asgi import AuditASGI
from indelible.fastmcp import AuditMiddleware
from tests.integration.asgi import connecting
from tests.integration.sdk import servers, wires
from tests.integration.sdk.looking import lines, of
from tests.integration.sdk.wires import LEGACY, MODERN, request

numbers = itertools.count()
CALLS = {
    "ok": {"a": 1},
    "boom": {},
    "limited": {},
    "whoami": {},
    "nope": {},
}


async def _call_all(wire: Any, era: str, names: dict[str, Any], mark: str = "mark") -> dict[str, Any]:
    answers = {}
    for name, arguments in names.items():
        number = next(numbers)
        params = {"name": name, "arguments": arguments}
        await wire.send(request(number, "tools/call", params, era, f"{mark}-{name}"))
        answers[name] = await wire.answer(number)
    return answers


def outcome(trail: Path, mark: str) -> tuple[str, str | None]:
    [event] = of(trail, mark)
    return event["outcome"]["kind"], event["outcome"].get("error_type")


def one_of_each(trail: Path, marks: Any) -> None:
    for event_type in ("mcp_operation", "mcp_operation_started"):
        found = Counter(
            line["request"]["request_id"] for line in lines(trail) if line["event_type"] == event_type
        )
        assert set(found.values()) == {1}
        if event_type == "mcp_operation":
            assert set(found) == set(marks)


@pytest.mark.parametrize("era", [LEGACY, MODERN])
@pytest.mark.parametrize("kind", ["mcpserver", "sdk2"])
def test_with_the_sdks_middleware_within(kind: str, era: str, tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"

    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            server = servers.built(kind)
            indelible.attach(server, recorder)
            app = AuditASGI(AuditASGI(server.streamable_http_app(), recorder), recorder, backend="front")
            async with wires.listening(app) as url:
                wire = wires.Http(url, era)
                await wires.greet(wire, era)
                answers = await _call_all(wire, era, CALLS)
                await wire.close()
        assert answers["whoami"]["result"]["content"][0]["text"] == "mark-whoami"

    asyncio.run(run())
    one_of_each(trail, [f"mark-{name}" for name in CALLS])
    assert outcome(trail, "mark-ok") == ("completed", None)
    assert outcome(trail, "mark-boom") == ("tool_error", "KeyError")
    assert outcome(trail, "mark-limited") == ("timed_out", "TimeoutError")
    assert {line["target"]["backend"] for line in lines(trail) if "target" in line} == {"front"}


def test_into_two_trails_each_has_its_own(tmp_path: Path) -> None:
    front, within = tmp_path / "front.jsonl", tmp_path / "within.jsonl"

    async def run() -> None:
        with indelible.open_trail(front) as one, indelible.open_trail(within) as other:
            server = servers.built("mcpserver")
            indelible.attach(server, other)
            async with wires.listening(AuditASGI(server.streamable_http_app(), one)) as url:
                wire = wires.Http(url, MODERN)
                await _call_all(wire, MODERN, {"boom": {}})
                await wire.close()

    asyncio.run(run())
    assert outcome(front, "mark-boom") == ("tool_error", None)
    assert outcome(within, "mark-boom") == ("tool_error", "KeyError")


def _fastmcp(recorder: Any) -> FastMCP:
    desk: FastMCP = FastMCP("desk")
    desk.add_middleware(AuditMiddleware(recorder))
    desk.tool(servers.whoami)

    @desk.tool
    def boom() -> str:
        raise LookupError("x")

    @desk.tool
    async def nested() -> str:
        return str((await desk.call_tool("whoami", {})).content[0].text)  # type: ignore[union-attr]

    front: FastMCP = FastMCP("front")
    front.add_middleware(AuditMiddleware(recorder))
    front.mount(desk, "desk")
    return front


@pytest.mark.parametrize("era", [LEGACY, MODERN])
def test_with_fastmcps_middleware_within(era: str, tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    names: dict[str, Any] = {"desk_whoami": {}, "desk_boom": {}, "nope": {}}

    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            app = AuditASGI(_fastmcp(recorder).http_app(), recorder, backend="door")
            async with wires.listening(app) as url:
                wire = wires.Http(url, era)
                await wires.greet(wire, era)
                answers = await _call_all(wire, era, names)
                assert answers["desk_whoami"]["result"]["content"][0]["text"] == "mark-desk_whoami"
                one_of_each(trail, [f"mark-{name}" for name in names])
                await _call_all(wire, era, {"desk_nested": {}})
                await wire.close()

    asyncio.run(run())
    assert outcome(trail, "mark-desk_boom") == ("tool_error", "LookupError")
    assert outcome(trail, "mark-nope") == ("protocol_error", "NotFoundError")
    [event] = of(trail, "mark-desk_boom")
    assert event["target"]["capability_name"] == "desk_boom"
    assert event["target"]["original_name"] == "boom"
    assert event["target"]["backend"] == "door"
    [nested] = [
        line
        for line in lines(trail)
        if line.get("metadata", {}).get("within") == "mark-desk_nested"
        and line["event_type"] == "mcp_operation"
    ]
    assert nested["target"]["capability_name"] == "whoami"
    assert len(of(trail, "mark-desk_nested")) == 1


def test_sdk_1_alone_and_with_the_tap_within(tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    ways = ("sessions", "stateless", "within")

    async def run() -> None:
        async with connecting.process(*wires.old_command("fastmcp", trail, "fronts")) as (ports, _):
            for way, port in zip(ways, ports, strict=True):
                wire = wires.Http(f"http://127.0.0.1:{port}/mcp", LEGACY)
                await wires.greet(wire, LEGACY)
                answers = await _call_all(wire, LEGACY, CALLS, way)
                assert answers["whoami"]["result"]["content"][0]["text"] == f"{way}-whoami"
                await wire.send(request("counted", "tools/call", {"name": "counted"}, LEGACY, f"{way}-counted"))
                assert "result" in await wire.answer("counted")
                await wire.close()

    asyncio.run(run())
    parts = {
        line["metadata"]["within"]: line["request"]["request_id"]
        for line in lines(trail)
        if line.get("target", {}).get("capability_name") == "part"
    }
    assert list(parts) == [f"{way}-counted" for way in ways]
    one_of_each(trail, [*parts.values(), *(f"{way}-{name}" for way in ways for name in (*CALLS, "counted"))])
    for way in ways:
        assert outcome(trail, f"{way}-boom") == ("tool_error", None)
        assert outcome(trail, f"{way}-nope") == ("protocol_error", None)
