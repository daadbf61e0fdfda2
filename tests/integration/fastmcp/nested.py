"""A FastMCP server whose tools call others from within functions and operations: a program, for either version.

``python -m tests.integration.fastmcp.nested TRAIL...``; with several trails each has a middleware of its own.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from fastmcp import Client, Context, FastMCP

import indelible
from indelible.fastmcp import AuditMiddleware

WAYS = ("plain", "function", "operation", "joined")


def made(trails: list[indelible.Recorder]) -> FastMCP:
    server: FastMCP = FastMCP("shop")
    for trail in trails:
        server.add_middleware(AuditMiddleware(trail))
    first = trails[0]

    @server.tool
    def inner() -> str:
        return "done"

    @indelible.audited(trail=first)
    async def helper(ctx: Context) -> None:
        await ctx.fastmcp.call_tool("inner", {})

    @server.tool
    async def plain(ctx: Context) -> None:
        await ctx.fastmcp.call_tool("inner", {})

    @server.tool
    async def function(ctx: Context) -> None:
        await helper(ctx)

    @server.tool
    async def operation(ctx: Context) -> None:
        with first.operation("jobs/run", "job"):
            await ctx.fastmcp.call_tool("inner", {})

    @server.tool
    @indelible.audited(trail=first)
    async def joined(ctx: Context) -> None:
        await ctx.fastmcp.call_tool("inner", {})

    return server


async def call(server: FastMCP) -> None:
    async with Client(server) as client:
        for way in WAYS:
            await client.call_tool(way, {})
    await server.call_tool("inner", {})


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    opened = [indelible.open_trail(path) for path in sys.argv[1:]]
    asyncio.run(call(made(opened)))
    for each in opened:
        each.close()
