"""A FastMCP server whose tools run as background tasks, with docket's own worker and its store in memory.

As a program: ``python -m tests.integration.fastmcp.tasked TRAIL``, over stdio.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import anyio
import anyio.lowlevel
from fastmcp import Context, FastMCP
from fastmcp_tasks import TasksExtension

from indelible.fastmcp import AuditMiddleware
from tests.integration.fastmcp import servers


def shop(name: str = "shop") -> FastMCP:
    """Return a server whose tools run as tasks, not audited yet."""
    server: FastMCP = FastMCP(name)
    server.add_extension(TasksExtension(url=f"memory://{name}"))

    @server.tool(task=True, annotations={"readOnlyHint": True})
    async def quick(a: int) -> str:
        return f"got {a}"

    @server.tool(task=True)
    async def boom() -> str:
        raise KeyError("x")

    @server.tool(task=True)
    async def wrong() -> str:
        raise servers.wrong(-32050, "not now")

    @server.tool(task=True)
    async def hang(until: str) -> str:
        return await servers.hang(until)

    @server.tool(task=True)
    async def nothing() -> None:
        await anyio.lowlevel.checkpoint()

    async def ask(ctx: Context) -> Any:
        import mcp_types as types

        if ctx.input_responses:
            return "thanks"
        schema: dict[str, Any] = {"type": "object", "properties": {}}
        params = types.ElicitRequestFormParams(message="Sure?", requested_schema=schema)
        return types.InputRequiredResult(input_requests={"q": types.ElicitRequest(params=params)})

    server.tool(ask, task=True)
    return server


def audited(trail: Any) -> FastMCP:
    server = shop()
    server.add_middleware(AuditMiddleware(trail))
    return server


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    audited(sys.argv[1]).run("stdio", show_banner=False)
