"""A server of the official SDK 1.x whose calls become tasks (2025-11-25), run by the Python that has it.

``python tasked.py TRAIL attached|bare|front``: over stdio with the audit attached, or without any; with `AuditASGI` in
front it prints its port.
"""

import socket
import sys

import anyio
import uvicorn
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.routing import Mount

import indelible
from indelible.asgi import AuditASGI

server = Server("tasked", version="1")
server.experimental.enable_tasks()


@server.list_tools()
async def tools() -> list:
    names = ("ok", "boom", "hang")
    return [types.Tool(name=name, inputSchema={"type": "object"}) for name in names]


@server.call_tool()
async def call(name: str, args: dict) -> object:
    async def work(task: object) -> types.CallToolResult:
        if name == "boom":
            raise KeyError("x")
        if name == "hang":
            while not await anyio.Path(args["until"]).exists():  # noqa: ASYNC110 - the test is another process
                await anyio.sleep(0.01)
        return types.CallToolResult(content=[types.TextContent(type="text", text="done")])

    return await server.request_context.experimental.run_task(work)


async def over_stdio() -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def over_http(trail: str) -> None:
    manager = StreamableHTTPSessionManager(server)
    app = Starlette(routes=[Mount("/", app=manager.handle_request)], lifespan=lambda _: manager.run())
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(AuditASGI(app, trail, backend="tasked"), log_level="critical")
    await uvicorn.Server(config).serve([listening])


if __name__ == "__main__":
    if sys.argv[2] == "attached":
        indelible.attach(server, sys.argv[1])
    anyio.run(*((over_http, sys.argv[1]) if sys.argv[2] == "front" else (over_stdio,)))
