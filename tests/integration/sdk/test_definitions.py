"""Tools that come, change and go while a server runs, or between two runs: what calls show of their arguments, and what
is told of a change.

Everything goes over the wire, so that only who is said to list tools does; and in the older protocol, since in that of
2026-07-28 the SDK's own transport lists the tools of a FastMCP at each call, to check its headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer
from pydantic import Field

import indelible
from indelible.capture import fastmcp_mw, sdk2
from indelible.recorder import Recorder
from tests.integration.fastmcp import connecting
from tests.integration.sdk import wires
from tests.integration.sdk.looking import lines
from tests.integration.sdk.wires import LEGACY, MODERN, Http, Memory, request

Marked = Annotated[str, Field(json_schema_extra={"sensitive": True})]


def plain(note: str) -> str:
    """Keep a note."""
    return "kept"


def marked(note: Marked) -> str:
    """Keep a note."""
    return "kept"


class Official:
    """An `MCPServer` of the SDK 2.x."""

    def __init__(self, trail: Recorder) -> None:
        self.server = MCPServer("notes")
        indelible.attach(self.server, trail)

    def has(self, name: str, fn: Callable[..., Any]) -> None:
        self.server.add_tool(fn, name=name)

    def lacks(self, name: str) -> None:
        self.server.remove_tool(name)

    def wire(self) -> AbstractAsyncContextManager[Http]:
        return wires.http(self.server, LEGACY)


class Fast:
    """A FastMCP 4 with the middleware."""

    def __init__(self, trail: Recorder) -> None:
        self.server: FastMCP = FastMCP("notes")
        self.server.add_middleware(indelible.fastmcp.AuditMiddleware(trail))

    def has(self, name: str, fn: Callable[..., Any]) -> None:
        self.server.tool(fn, name=name)

    def lacks(self, name: str) -> None:
        self.server.local_provider.remove_tool(name)

    def wire(self) -> AbstractAsyncContextManager[Http]:
        return connecting.http(self.server, LEGACY)


class Running:
    """A server under way, its client, and what is in the trail."""

    def __init__(self, path: Path, server: Official | Fast, wire: Http | Memory, era: str = LEGACY) -> None:
        self._path, self._wire, self._era, self.server = path, wire, era, server
        self._asked = 0

    async def ask(self, method: str, params: dict[str, Any]) -> Any:
        self._asked += 1
        await self._wire.send(request(self._asked, method, params, self._era))
        return await self._wire.answer(self._asked)

    async def lists(self) -> None:
        assert "result" in await self.ask("tools/list", {})

    async def shows(self, name: str) -> tuple[str, str]:
        """Call a tool; return how its argument stands in the trail, and what became of the call."""
        await self.ask("tools/call", {"name": name, "arguments": {"note": "wren"}})
        last = [line for line in lines(self._path) if line["event_type"] == "mcp_operation"][-1]
        assert last["target"]["capability_name"] == name
        shown = last["request"]["args"]["note"]
        shown = {"wren": "plain", "[REDACTED]": "marked"}.get(shown, shown[: len("[DIGEST")])
        return shown, last["outcome"]["kind"]

    def changed(self) -> list[str]:
        """Return of which tools it was told that they changed."""
        told = [line for line in lines(self._path) if line["event_type"] == "tool_definition_changed"]
        assert all("inputSchema" in line["metadata"]["changed"] for line in told)
        assert all(line["metadata"]["from_sha256"] != line["metadata"]["to_sha256"] for line in told)
        return [line["target"]["capability_name"] for line in told]


@pytest.fixture(params=[Official, Fast])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return a context manager: one run of a server, always with the same trail."""
    path = tmp_path / "audit.jsonl"

    @asynccontextmanager
    async def run(**tools: Callable[..., Any]) -> AsyncIterator[Running]:
        with indelible.open_trail(path) as trail:
            server = request.param(trail)
            for name, fn in tools.items():
                server.has(name, fn)
            async with server.wire() as wire:
                yield Running(path, server, wire)

    return run


def each(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any, pytest.MonkeyPatch], None]:
    """Run a coroutine as a test, with a server that may be asked again at once."""

    def sync(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (sdk2, fastmcp_mw):
            monkeypatch.setattr(module, "AGAIN_S", 0.0)
        asyncio.run(test(running))

    return sync


@each
async def test_a_tool_that_changes_is_as_it_was_until_it_is_listed(running: Any) -> None:
    async with running(take=plain) as now:
        assert await now.shows("take") == ("plain", "completed")  # nobody has listed it: we have asked
        await now.lists()
        now.server.lacks("take")
        now.server.has("take", marked)
        assert await now.shows("take") == ("plain", "completed")
        assert now.changed() == []
        await now.lists()
        assert now.changed() == ["take"]
        assert await now.shows("take") == ("marked", "completed")
        await now.lists()
        assert now.changed() == ["take"]


@each
async def test_a_tool_that_is_added_is_asked_about_at_its_first_call(running: Any) -> None:
    async with running(take=plain) as now:
        await now.lists()
        now.server.has("more", marked)
        assert await now.shows("more") == ("marked", "completed")
        assert now.changed() == []


@each
async def test_a_tool_that_is_removed_keeps_its_marks(running: Any) -> None:
    async with running(take=marked, more=plain) as now:
        await now.lists()
        now.server.lacks("take")
        await now.lists()
        assert await now.shows("take") == ("marked", "protocol_error")
        assert now.changed() == []
        now.server.has("take", plain)
        await now.lists()
        assert now.changed() == ["take"]
        assert await now.shows("take") == ("plain", "completed")


@each
async def test_after_a_restart_what_was_known_holds_until_somebody_lists(running: Any) -> None:
    async with running(take=marked) as now:
        await now.lists()
    async with running(take=plain) as now:
        assert await now.shows("take") == ("marked", "completed")
        assert now.changed() == []
        await now.lists()
        assert now.changed() == ["take"]
        assert await now.shows("take") == ("plain", "completed")


@each
async def test_after_a_restart_a_new_tool_is_asked_about(running: Any) -> None:
    async with running(take=marked) as now:
        await now.lists()
    async with running(take=plain, more=marked) as now:
        assert await now.shows("more") == ("marked", "completed")
        assert now.changed() == ["take"], "we were told of all of them"
        assert await now.shows("take") == ("plain", "completed")


def test_of_what_was_asked_a_moment_ago_texts_are_digested(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever calls names that nobody has must not make the server list its tools each time."""
    for module in (sdk2, fastmcp_mw):
        monkeypatch.setattr(module, "AGAIN_S", 3600.0)

    async def run() -> None:
        async with running(take=plain) as now:
            assert await now.shows("take") == ("plain", "completed")
            now.server.has("more", plain)
            assert await now.shows("more") == ("[DIGEST", "completed")
            assert await now.shows("none") == ("[DIGEST", "protocol_error")
            await now.lists()
            assert await now.shows("more") == ("plain", "completed")

    asyncio.run(run())


def test_a_list_that_is_a_fastmcps_first_message_is_heard(tmp_path: Path) -> None:
    """The tier beneath is put there at the first message, which it does not see."""
    path = tmp_path / "audit.jsonl"

    async def run() -> None:
        with indelible.open_trail(path) as trail:
            server = Fast(trail)
            server.has("take", marked)
            async with connecting.memory(server.server, MODERN) as wire:
                now = Running(path, server, wire, MODERN)
                await now.lists()
                server.lacks("take")
                assert await now.shows("take") == ("marked", "protocol_error")
                server.has("take", marked)
                await now.lists()
                assert now.changed() == [], "both tiers see the same definition"

    asyncio.run(run())
