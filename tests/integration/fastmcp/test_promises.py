"""What is promised of calls to FastMCP servers, beside their outcomes: order, deny, kill, many at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fastmcp import FastMCP
from mcp.shared.exceptions import MCPError

import indelible
from indelible.capture.causes import TABLE
from indelible.errors import ConfigError
from indelible.fastmcp import AuditMiddleware
from tests.integration.fastmcp import connecting, servers
from tests.integration.sdk import wires
from tests.integration.sdk.looking import (
    call,
    check,
    check_refused_and_withheld,
    lines,
    of,
    refused_and_withheld,
    wait_until,
)
from tests.integration.sdk.wires import LEGACY, MODERN, request
from tests.recording import full_disk


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_what_cannot_be_recorded_is_refused_or_withheld(trail: Path, tmp_path: Path) -> None:
    async def run() -> None:
        with indelible.open_trail(trail, on_failure="deny") as recorder:
            async with connecting.memory(servers.audited(recorder), LEGACY) as wire:
                await refused_and_withheld(wire, trail, tmp_path / "release", full_disk)

    asyncio.run(run())
    check_refused_and_withheld(trail, TABLE["fastmcp4"])
    assert indelible.verify(trail).ok


def test_fastmcp_3_refuses_and_withholds_too(trail: Path, tmp_path: Path) -> None:
    release, full = tmp_path / "release", tmp_path / "audit.jsonl.full"

    async def run() -> None:
        command = (*connecting.command("fastmcp3", trail, "stdio"), "deny")
        async with wires.stdio(*command, era=LEGACY) as wire:
            full.touch()
            await wire.send(call(1, "hang", "refused", until=str(release)))
            refused = told(await wire.answer(1))
            full.unlink()
            await wire.send(call(2, "hang", "withheld", until=str(release)))
            await wait_until(lambda: of(trail, "withheld", "mcp_operation_started"))
            full.touch()
            release.touch()
            withheld = told(await wire.answer(2))
            full.unlink()
            await wire.send(call(3, "ok", "returned", a=1))
            assert (await wire.answer(3))["result"]["content"][0]["text"] == "1"
            assert refused.startswith("refused: ")
            assert "its result is withheld" in withheld

    asyncio.run(run())
    for cause in ("refused", "withheld", "returned"):
        check(trail, cause, TABLE["fastmcp3"][cause])
    assert indelible.verify(trail).ok


def told(answer: dict[str, Any]) -> str:
    """Return what a client is told that a call ended with: an error's text, or that of a result that is one."""
    if "error" in answer:
        return str(answer["error"]["message"])
    assert answer["result"]["isError"] is True
    return str(answer["result"]["content"][0]["text"])


def test_a_direct_call_is_refused_or_its_result_withheld_too(trail: Path) -> None:
    ran: list[bool] = []
    with indelible.open_trail(trail, on_failure="deny") as recorder:
        server: FastMCP = FastMCP("shop")
        server.add_middleware(AuditMiddleware(recorder))

        @server.tool
        def change(full: bool) -> str:
            ran.append(full)
            if full:
                stack.enter_context(full_disk())
            return "done"

        async def run() -> None:
            with full_disk(), pytest.raises(MCPError, match="refused: "):
                await server.call_tool("change", {"full": False})
            assert not ran
            with pytest.raises(MCPError, match="withheld"):
                await server.call_tool("change", {"full": True})

        with contextlib.ExitStack() as stack:
            asyncio.run(run())
    assert ran == [True]
    found = [line for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert [each["outcome"]["error_type"] for each in found] == ["audit_unavailable"] * 2


@pytest.mark.parametrize("kind", ["fastmcp4", "fastmcp3"])
def test_a_server_that_is_killed_leaves_its_calls_interrupted(kind: str, trail: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with wires.stdio(*connecting.command(kind, trail, "stdio"), era=LEGACY) as wire:
            await wire.send(call(1, "hang", "killed", until=str(tmp_path / "never")))
            await wait_until(lambda: of(trail, "killed", "mcp_operation_started"))
            wire.process.kill()
            await wire.process.wait()

    asyncio.run(run())
    with indelible.open_trail(trail):
        pass
    [event] = of(trail, "killed")
    assert event["outcome"]["kind"] == TABLE[kind]["killed"].kind
    assert indelible.verify(trail).ok


def test_many_calls_at_once_leave_as_many_events_each_with_its_own_id(trail: Path) -> None:
    count = 200

    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            async with connecting.memory(servers.audited(recorder), LEGACY) as wire:
                for number in range(count):
                    await wire.send(call(number, "whoami", f"call-{number}"))
                for number in range(count):
                    result = (await wire.answer(number))["result"]
                    assert result["content"][0]["text"] == f"call-{number}"

    asyncio.run(run())
    found = [line for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert sorted(each["request"]["request_id"] for each in found) == sorted(f"call-{n}" for n in range(count))


def test_a_trail_that_cannot_be_opened_is_said_when_the_middleware_is_made(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("audit: {on_failure: perhaps}\n")
    with mock.patch.dict(os.environ, {"INDELIBLE_CONFIG": str(config)}), pytest.raises(ConfigError):
        AuditMiddleware()


def test_attach_sees_the_very_first_message_with_both_eyes(trail: Path) -> None:
    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            server = servers.shop()
            indelible.attach(server, recorder)
            indelible.attach(server, recorder)
            server.add_middleware(AuditMiddleware(recorder))
            async with connecting.memory(server, MODERN) as wire:
                params = {"name": "ok", "arguments": [1]}
                await wire.send(request(1, "tools/call", params, MODERN, "malformed_params"))
                await wire.answer(1)
                await wire.send(request(2, "tools/call", {"name": "boom"}, MODERN, "raised"))
                await wire.answer(2)

    asyncio.run(run())
    for cause in ("malformed_params", "raised"):
        check(trail, cause, TABLE["fastmcp4"][cause])
    assert len([line for line in lines(trail) if line["event_type"] == "mcp_operation"]) == 2


def test_a_first_message_that_is_a_call_is_recorded(trail: Path) -> None:
    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            async with connecting.memory(servers.audited(recorder), MODERN) as wire:
                for mark in ("returned", "again"):
                    params = {"name": "ok", "arguments": {"a": 1}}
                    await wire.send(request(mark, "tools/call", params, MODERN, mark))
                    await wire.answer(mark)

    asyncio.run(run())
    [first], [second] = of(trail, "returned"), of(trail, "again")
    assert first["source"] == second["source"]
    assert first["target"] == second["target"]
    assert first["target"]["effects"] == "read_only"
    assert first["request"]["args"] == second["request"]["args"] == {"a": 1}


@pytest.mark.parametrize("kind", ["fastmcp4", "fastmcp3"])
def test_attached_and_with_the_middleware_each_call_is_recorded_once(kind: str, trail: Path) -> None:
    async def run() -> None:
        command = (*connecting.command(kind, trail, "stdio"), "attached")
        async with wires.stdio(*command, era=LEGACY) as wire:
            await wire.send(call(1, "ok", "returned", a=1))
            await wire.answer(1)
            params = {"name": "ok", "arguments": [1]}
            await wire.send(request(2, "tools/call", params, LEGACY, "malformed_params"))
            await wire.answer(2)

    asyncio.run(run())
    found = [line for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert [each["outcome"]["kind"] for each in found] == ["completed", "protocol_error"]
    assert {each["target"]["backend"] for each in found} == {"shop"}
