"""A server mounted in another, both audited, called in every way: a program, for FastMCP of whichever version.

``python -m tests.integration.fastmcp.composed TRAIL``
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import Any

from fastmcp import Client, Context, FastMCP
from fastmcp.exceptions import ToolError

import indelible
from tests.integration.fastmcp import servers


def parent(trail: Any) -> FastMCP:
    child = servers.audited(trail, name="child")

    async def twice(ctx: Context) -> str:
        await ctx.fastmcp.call_tool("ok", {"a": 1})
        return "done"

    child.tool(twice)
    made: FastMCP = FastMCP("parent")
    made.add_middleware(indelible.fastmcp.AuditMiddleware(trail))
    made.mount(child, "sub")
    return made


async def call(server: FastMCP) -> None:
    async with Client(server) as client:
        await client.call_tool("sub_ok", {"a": 1})
        with contextlib.suppress(ToolError):
            await client.call_tool("sub_boom", {})
        await client.read_resource("item://sub/7")
        await client.get_prompt("sub_p", {"q": "x"})
        await client.call_tool("sub_twice", {})
    await server.call_tool("sub_ok", {"a": 2})


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with indelible.open_trail(sys.argv[1]) as opened:
        asyncio.run(call(parent(opened)))
