"""Every cause of the table really happens behind `wrap`, in real servers, and leaves the one event that it says."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

import indelible
from indelible.capture.causes import TABLE, Cell
from tests.integration.sdk import wires
from tests.integration.sdk.looking import STRAIGHT, check, lines, of, wait_until
from tests.integration.sdk.wires import LEGACY, MODERN, Stdio, request
from tests.integration.wrap.harness import isolated, wrapped

SERVER = ["-m", "tests.integration.sdk.servers"]
LOW_LEVEL = {"raised": Cell("protocol_error", 0), "timed_out": Cell("protocol_error", 0)}
LOW_LEVEL |= {"unknown_prompt": Cell("protocol_error", -32602)}
"""A low-level server says by a JSON-RPC error what `MCPServer` makes a result of; the page says so in words."""


def command(kind: str, trail: Path) -> list[str]:
    config = trail.with_name("indelible.yaml")
    config.write_text("audit: {on_failure: deny}\n")
    return wrapped(trail, sys.executable, *SERVER, kind, options=("--name", "shop", "-c", str(config)))


@pytest.fixture
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in isolated(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "audit.jsonl"


class Session:
    """A client of a wrapped server, which brings causes about one after the other."""

    def __init__(self, wire: Stdio, era: str, trail: Path) -> None:
        self.wire, self.era, self.trail = wire, era, trail
        self._number = 0

    async def send(self, cause: str, method: str, params: Any) -> int:
        self._number += 1
        await self.wire.send(request(self._number, method, params, self.era, cause))
        return self._number

    async def ask(self, cause: str, method: str, params: Any) -> Any:
        return await self.wire.answer(await self.send(cause, method, params))

    async def hang(self, cause: str) -> int:
        """Make a call that goes on until a file of its name is there."""
        until = str(self.trail.with_name(cause))
        number = await self.send(cause, "tools/call", {"name": "hang", "arguments": {"until": until}})
        await wait_until(lambda: of(self.trail, cause, "mcp_operation_started"))
        return number

    async def cancelled(self) -> None:
        rpc_id = await self.hang("cancelled")
        params = {"requestId": rpc_id, "reason": "no more"}
        await self.wire.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
        await wait_until(lambda: of(self.trail, "cancelled"))

    async def rounds(self) -> None:
        params: dict[str, Any] = {"name": "ask", "arguments": {}}
        result = (await self.ask("input_required", "tools/call", params))["result"]
        params |= {"requestState": result["requestState"]}
        params |= {"inputResponses": {"q": {"action": "accept", "content": {}}}}
        await self.ask("continued", "tools/call", params)

    async def without_room(self) -> None:
        rpc_id = await self.hang("withheld")
        self._room(self.trail.stat().st_size + 1)
        answer = await self.ask("refused", "tools/call", {"name": "flag", "arguments": {}})
        assert (answer["error"]["code"], answer["error"]["message"][:9]) == (-32603, "refused: ")
        self.trail.with_name("withheld").touch()
        assert "withheld" in (await self.wire.answer(rpc_id))["error"]["message"]
        self._room(resource.RLIM_INFINITY)
        while "error" in await self.ask("again", "tools/call", STRAIGHT["returned"][1]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # a disk that was full is not tried at every call

    def _room(self, size: int) -> None:
        _, hard = resource.prlimit(self.wire.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.wire.process.pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.mark.parametrize(("kind", "era"), [("mcpserver", MODERN), ("sdk2", LEGACY)])
def test_every_cause_leaves_its_one_event(kind: str, era: str, trail: Path) -> None:
    happened = {*STRAIGHT, "cancelled", "refused", "withheld", "disconnected"}

    async def run() -> None:
        async with wires.stdio(*command(kind, trail), era=era) as wire:
            session = Session(wire, era, trail)
            await session.ask("listed", "tools/list", {})
            for cause, (method, params) in STRAIGHT.items():
                await session.ask(cause, method, params)
            await session.cancelled()
            if era == MODERN:
                happened.update(("input_required", "continued"))
                await session.rounds()
            await session.without_room()
            await session.hang("disconnected")
            await wire.close()

    asyncio.run(run())
    column = {**TABLE["wrap"], **(LOW_LEVEL if kind == "sdk2" else {})}
    events = {cause: check(trail, cause, column[cause]) for cause in happened}
    others = [line for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert {line["request"]["request_id"] for line in others} == {*happened, "again"}
    if era == MODERN:
        assert events["continued"]["request"]["continues"] == "input_required"
    assert events["withheld"]["metadata"]["answer_withheld"] is True
    event = events["returned"]
    assert event["target"]["backend"] == "shop"
    assert event["target"]["effects"] == "read_only"
    assert event["source"]["client"] == "tester/9"
    assert event["request"]["args"] == {"a": 1}
    assert indelible.verify(trail).ok


@pytest.mark.parametrize("cause", ["killed", "server_died"])
def test_whoever_is_killed_an_outcome_is_left(cause: str, trail: Path) -> None:
    async def run() -> None:
        async with wires.stdio(*command("mcpserver", trail), era=MODERN) as wire:
            session = Session(wire, MODERN, trail)
            await session.hang(cause)
            children = psutil.Process(wire.process.pid).children(recursive=True)
            [server] = [child for child in children if child.cmdline()[1:3] == SERVER]
            os.kill(wire.process.pid if cause == "killed" else server.pid, signal.SIGKILL)
            await wire.process.wait()

    asyncio.run(run())
    indelible.open_trail(trail).close()
    check(trail, cause, TABLE["wrap"][cause])
    assert indelible.verify(trail).ok
