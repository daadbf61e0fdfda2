"""Indelible, by the same protocol: ``python -m bench.peers.ours mcpserver|fastmcp|function``."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fastmcp import FastMCP
from fastmcp.exceptions import AuthorizationError
from fastmcp.server.middleware import Middleware
from fastmcp.tools import ToolResult
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent, ToolAnnotations

import indelible
from bench import called
from bench.peers import common
from indelible import Recorder
from indelible.fastmcp import AuditMiddleware

PAIRS = {
    "a read-only tool": ("bare look", "audited look"),
    "any other tool, whose intent is recorded first": ("bare answer", "audited answer"),
}
NAMES = {
    "mcpserver": "AuditMiddleware, SDK 2",
    "fastmcp": "AuditMiddleware, FastMCP 4",
    "function": "@audited",
}


class Refuses(Middleware):
    """An authorization of the application's own."""

    async def on_call_tool(self, context: Any, call_next: Any) -> Any:
        if context.message.name == "denied":
            raise AuthorizationError("not you")
        return await call_next(context)


def look(password: str, path: str = "", query: str = "", count: int = 1) -> str:
    return called.TEXT


def answer(password: str, path: str = "", query: str = "", count: int = 1) -> str:
    return called.TEXT


def marker(password: str, path: str = "", query: str = "", count: int = 1) -> str:
    return called.TEXT


def raised(password: str, path: str = "", query: str = "", count: int = 1) -> str:
    raise KeyError("x")


async def late(password: str, path: str = "", query: str = "", count: int = 1) -> str:
    async with asyncio.timeout(0.01):
        await asyncio.Event().wait()
    return "never"


def hanging(arrived: Path) -> Callable[..., Awaitable[str]]:
    async def hang(password: str, path: str = "", query: str = "", count: int = 1) -> str:
        arrived.touch()  # noqa: ASYNC240 - the call's first step, and the driver waits for it
        await asyncio.Event().wait()
        return "never"

    return hang


def mcpserver(arrived: Path, recorder: Recorder | None) -> Any:
    server = MCPServer("bench", version="1")

    @server.tool()
    def flag(password: str, path: str = "", query: str = "", count: int = 1) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="no")], is_error=True)

    @server.tool()
    def wire(password: str, path: str = "", query: str = "", count: int = 1) -> str:
        raise MCPError(code=-32050, message="not now")

    @server.tool()
    def denied(password: str, path: str = "", query: str = "", count: int = 1) -> str:
        raise MCPError(code=-32003, message="not you")

    for tool in (answer, marker, raised, late, hanging(arrived)):
        server.tool()(tool)
    server.tool(annotations=ToolAnnotations(read_only_hint=True))(look)
    if recorder is not None:
        indelible.attach(server, recorder)
    return server


def fastmcp(arrived: Path, recorder: Recorder | None) -> Any:
    server = FastMCP("bench")
    if recorder is not None:
        server.add_middleware(AuditMiddleware(recorder))

    @server.tool()
    def flag(password: str, path: str = "", query: str = "", count: int = 1) -> ToolResult:
        return ToolResult(content="no", is_error=True)

    @server.tool()
    def wire(password: str, path: str = "", query: str = "", count: int = 1) -> str:
        raise MCPError(code=-32050, message="not now")

    @server.tool()
    def denied(password: str, path: str = "", query: str = "", count: int = 1) -> str:
        return "never"

    for tool in (answer, marker, raised, late, hanging(arrived)):
        server.tool()(tool)
    server.tool(annotations={"readOnlyHint": True})(look)
    server.add_middleware(Refuses())
    return server


async def served(family: str, directory: Path) -> tuple[dict[str, list[Any]], common.Costs]:
    """Return the records and the figures of a server."""
    build = {"mcpserver": mcpserver, "fastmcp": fastmcp}[family]
    arrived, trail = directory / "arrived", directory / "causes.jsonl"
    with indelible.open_trail(trail) as recorder, indelible.open_trail(directory / "costs.jsonl") as other:
        client = common.Wire(build(arrived, recorder))
        await client.greet()
        tools = {"returned": "answer", "unknown": "no_such_tool"}
        tools |= {cause: cause for cause in ("flag", "raised", "wire", "denied", "late")}
        causes: dict[str, common.Happens] = {
            cause: functools.partial(client.said, tool) for cause, tool in tools.items()
        }
        causes["invalid"] = functools.partial(client.said, "answer", {**common.ARGUMENTS, "count": "many"})
        causes["cancelled"] = functools.partial(client.cancelled, "hang", arrived)
        found = await common.witnessed(
            lambda: outcomes(trail), functools.partial(client.said, "marker"), causes
        )
        await client.close()
        ways = await opened({"bare": build(arrived, None), "audited": build(arrived, other)})
        figures = await common.costs(ways, PAIRS)
    return found, figures


async def opened(servers: Mapping[str, Any]) -> dict[str, common.Prepares]:
    """Return what prepares turns at the servers, of either kind of tool."""
    ways = {}
    for way, server in servers.items():
        client = common.Wire(server)
        await client.greet()
        for tool in ("look", "answer"):
            assert called.TEXT in str(await client.said(tool))
            ways[f"{way} {tool}"] = client.preparing(tool)
    return ways


def outcomes(trail: Path) -> list[Any]:
    """Return what stands in a trail of calls."""
    return [event for event in common.lines(trail) if event["event_type"] == "mcp_operation"]


async def function(directory: Path) -> tuple[dict[str, list[Any]], common.Costs]:
    """Return the records and the figures of audited functions."""
    arrived, trail = directory / "arrived", directory / "causes.jsonl"
    with indelible.open_trail(trail) as recorder, indelible.open_trail(directory / "costs.jsonl") as other:
        audited = indelible.audited(trail=recorder)
        makes = {tool.__name__: audited(tool) for tool in (answer, marker, raised, late, hanging(arrived))}

        async def happen(tool: str) -> None:
            try:
                result = makes[tool](**common.ARGUMENTS)
                if asyncio.iscoroutine(result):
                    await result
            except (KeyError, TimeoutError):
                pass

        async def cancelled() -> None:
            task = asyncio.ensure_future(happen("hang"))
            await common.until(arrived.exists, "hang is called")
            task.cancel()
            await asyncio.wait([task])

        causes = {"returned": lambda: happen("answer"), "raised": lambda: happen("raised")}
        causes |= {"late": lambda: happen("late"), "cancelled": cancelled}
        found = await common.witnessed(lambda: outcomes(trail), lambda: happen("marker"), causes)
        reads = indelible.audited(trail=other, effects="read_only")(look)
        writes = indelible.audited(trail=other)(answer)
        ways = {"bare look": look, "audited look": reads, "bare answer": answer, "audited answer": writes}
        figures = await common.costs({way: calling(what) for way, what in ways.items()}, PAIRS)
    return found, figures


def calling(what: Callable[..., str]) -> common.Prepares:
    """Return what prepares turns of a function."""

    async def prepare(calls: int) -> common.Happens:
        async def turn() -> None:
            for _ in range(calls):
                what(**common.ARGUMENTS)

        return turn

    return prepare


def main() -> int:
    """Tell of one way to attach it."""
    family = sys.argv[1]
    with called.somewhere() as directory:
        found, figures = asyncio.run(function(directory) if family == "function" else served(family, directory))
    said = {cause: [event["outcome"]["kind"] for event in events] for cause, events in found.items()}
    common.tell(NAMES[family], "indelible", said, common.password_in(list(found.values())), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
