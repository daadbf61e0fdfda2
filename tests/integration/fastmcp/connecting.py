"""Raw clients of FastMCP servers: in this process, or in one of another Python."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

from tests.environments import old_python
from tests.integration.sdk import wires
from tests.integration.sdk.wires import Http, Stdio


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


def command(kind: str, trail: Path, transport: str) -> tuple[str, ...]:
    python = str(old_python()) if kind == "fastmcp3" else sys.executable
    return (python, "-m", "tests.integration.fastmcp.servers", str(trail), transport)


@contextlib.asynccontextmanager
async def program(kind: str, transport: str, era: str, trail: Path) -> AsyncIterator[Stdio | Http]:
    """Connect to a server that is a process."""
    if transport == "stdio":
        async with wires.stdio(*command(kind, trail, transport), era=era) as stdio:
            yield stdio
        return
    async with wires.serving(*command(kind, trail, transport), era=era) as client:
        yield client
