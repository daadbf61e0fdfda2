"""A server of the official SDK 1.x whose tools ask the client, several calls at once in one session: a program.

``python asking.py TRAIL``, by the Python that has it.
"""

import sys

import anyio
from mcp import types
from mcp.server.fastmcp import Context, FastMCP
from mcp.shared.memory import create_connected_server_and_client_session
from pydantic import BaseModel

import indelible

CALLS = 3


class Size(BaseModel):
    """What is asked of the user."""

    size: str


def made(trail: indelible.Recorder) -> FastMCP:
    server = FastMCP("shop")
    indelible.attach(server, trail)
    under_way, together = [], anyio.Event()

    async def ready(item: str) -> None:
        """Return when all calls are under way together: which of them asks is not to be guessed."""
        under_way.append(item)
        if len(under_way) == 2 * CALLS:
            together.set()
        await together.wait()

    @server.tool()
    @indelible.audited(trail=trail)
    async def order(ctx: Context, item: str) -> str:
        await ready(item)
        await ctx.elicit(f"Which size of {item}?", Size)
        return item

    @indelible.audited(trail=trail)
    async def thought_of(ctx: Context, item: str) -> None:
        """Ask without saying for which request."""
        text = types.TextContent(type="text", text=f"Think of {item}")
        await ctx.session.create_message([types.SamplingMessage(role="user", content=text)], max_tokens=7)

    @server.tool()
    async def think(ctx: Context, item: str) -> str:
        await ready(item)
        await thought_of(ctx, item)
        return item

    return server


async def elicited(*_: object) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"size": "XL"})


async def sampled(*_: object) -> types.CreateMessageResult:
    text = types.TextContent(type="text", text="an answer")
    return types.CreateMessageResult(role="assistant", content=text, model="m")


async def call(server: FastMCP) -> None:
    async with (
        create_connected_server_and_client_session(
            server, elicitation_callback=elicited, sampling_callback=sampled
        ) as client,
        anyio.create_task_group() as calls,
    ):
        for number in range(CALLS):
            for name in ("order", "think"):
                calls.start_soon(client.call_tool, name, {"item": f"{name} {number}"})


if __name__ == "__main__":
    with indelible.open_trail(sys.argv[1]) as opened:
        anyio.run(call, made(opened))
