"""A FastMCP server whose tools ask the client, several calls at once in one session: a program, for either version.

``python -m tests.integration.fastmcp.asking TRAIL``
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from typing import Any

from fastmcp import Client, Context, FastMCP
from fastmcp.exceptions import ToolError

import indelible
from indelible.fastmcp import AuditMiddleware

CALLS = 3


@dataclass
class Size:
    """What is asked of the user."""

    size: str


def made(trail: Any) -> FastMCP:
    server: FastMCP = FastMCP("shop")
    server.add_middleware(AuditMiddleware(trail))

    under_way, together = [], asyncio.Event()

    async def order(ctx: Context, item: str) -> str:
        """Ask when the first calls are under way together: which of them asks is not to be guessed."""
        under_way.append(item)
        if len(under_way) == CALLS:
            together.set()
        await together.wait()
        await ctx.elicit(f"Which size of {item}? password=kq3vT9xLw2", Size)
        return item

    async def both(ctx: Context) -> str:
        await ctx.fastmcp.call_tool("order", {"item": "inner"})
        return "done"

    server.tool(order)
    server.tool(both)
    if not hasattr(Context, "sample"):  # FastMCP 4
        return server

    async def think(ctx: Any) -> str:
        for number in range(2):
            await ctx.sample(f"Think of {number}")
        return "thought"

    think.__annotations__["ctx"] = Context  # of which the checked version has no `sample`
    server.tool(think)
    return server


async def sampled(*_: Any) -> str:
    return "an answer"


async def call(server: FastMCP) -> None:
    async def elicited(message: str, *_: Any) -> Any:
        if "refused" in message:
            raise ValueError(message)
        return {"size": "XL"}

    kwargs: dict[str, Any] = {"elicitation_handler": elicited}
    kwargs |= {"sampling_handler": sampled} if hasattr(Context, "sample") else {"mode": "legacy"}
    async with Client(server, **kwargs) as client:
        await asyncio.gather(*(client.call_tool("order", {"item": f"item {n}"}) for n in range(CALLS)))
        await client.call_tool("both", {})
        try:
            await client.call_tool("order", {"item": "refused"})
        except ToolError:
            pass
        if hasattr(Context, "sample"):
            await client.call_tool("think", {})


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with indelible.open_trail(sys.argv[1]) as opened:
        asyncio.run(call(made(opened)))
