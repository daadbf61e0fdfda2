"""Servers of the official SDK 1.x with the tools of `servers.py`, run by the Python that has it.

``python server.py fastmcp|lowlevel TRAIL stdio`` or ``… http`` (which prints its port on a line). ``… asgi-sse`` has
the audit in front of the app; ``… fronts`` is several such apps, on as many ports. While there is a file
``TRAIL.full``, the disk is full.
"""

import errno
import os
import socket
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import uvicorn
from mcp import types
from mcp.server.fastmcp import FastMCP
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import McpError

import indelible
from indelible.asgi import AuditASGI
from indelible.trail import writer
from indelible.trail.active import ActiveFile

READ_ONLY = types.ToolAnnotations(readOnlyHint=True)


def failed() -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text="no stock")], isError=True)


async def hang(until: str) -> str:
    while not await anyio.Path(until).exists():  # noqa: ASYNC110 - the test is another process
        await anyio.sleep(0.01)
    return "done"


async def limited() -> str:
    with anyio.fail_after(0.01):
        await anyio.sleep_forever()
    return "never"


async def whoami() -> str:
    await anyio.lowlevel.checkpoint()
    return str(indelible.current_request_id())


def wrong(code: int) -> McpError:
    return McpError(types.ErrorData(code=code, message="no"))


def fastmcp() -> FastMCP:
    server = FastMCP("shop", port=0)

    @server.tool(annotations=READ_ONLY)
    def ok(a: int) -> int:
        return a

    @server.tool()
    def flag() -> types.CallToolResult:
        return failed()

    @server.tool()
    def boom() -> int:
        raise KeyError("x")

    @server.tool()
    def rpcerr() -> int:
        raise wrong(-32050)

    @server.tool()
    def denied() -> int:
        raise wrong(-32003)

    for tool in (hang, limited, whoami):
        server.tool()(tool)

    @server.resource("r://a")
    def r() -> str:
        return "A"

    @server.prompt()
    def p(q: str) -> str:
        return q

    return server


def lowlevel() -> Server:
    server = Server("shop", version="3.1")

    @server.list_tools()
    async def tools() -> list[types.Tool]:
        names = ("flag", "boom", "rpcerr", "denied", "hang", "limited", "whoami")
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        return [
            types.Tool(name="ok", inputSchema=schema, annotations=READ_ONLY),
            *(types.Tool(name=name, inputSchema={"type": "object"}) for name in names),
        ]

    @server.call_tool()
    async def call(name: str, args: dict) -> object:
        if name == "flag":
            return failed()
        if name == "boom":
            raise KeyError("x")
        if name in ("rpcerr", "denied"):
            raise wrong(-32050 if name == "rpcerr" else -32003)
        if name not in ("ok", "hang", "limited", "whoami"):
            raise ValueError(f"Unknown tool: {name}")
        run = {"hang": hang, "limited": limited, "whoami": whoami}.get(name)
        return [types.TextContent(type="text", text=str(await run(**args) if run else args["a"]))]

    @server.read_resource()
    async def read(uri: object) -> str:
        raise ValueError("there is no such resource")

    @server.get_prompt()
    async def prompt(name: str, args: dict | None) -> types.GetPromptResult:
        raise ValueError("there is no such prompt")

    return server


def full_while(there: str) -> None:
    put = ActiveFile.put

    def fail(self: ActiveFile, data: bytes) -> None:
        if Path(there).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(self, data)

    ActiveFile.put = fail
    writer.RETRY_S = 0.0


async def serve(server: Server) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


FRONTS = ("sessions", "stateless", "within")


def front(way: str, trail: indelible.Recorder) -> AuditASGI:
    """Return a server with the audit in front of it; ``within`` has it there as well."""
    server = fastmcp()
    server.settings.stateless_http = way == "stateless"
    if way == "within":
        indelible.attach(server, trail)

    @indelible.audited(trail=trail)
    def part() -> None:
        pass

    @server.tool()
    @indelible.audited(trail=trail)
    def counted() -> int:
        part()
        return 1

    return AuditASGI(server.streamable_http_app(), trail, backend=way)


async def serve_apps(apps: list) -> None:
    """Serve each on a port of its own, and print these."""
    ports = []
    async with anyio.create_task_group() as running:
        for app in apps:
            listening = socket.socket()
            listening.bind(("127.0.0.1", 0))
            ports.append(str(listening.getsockname()[1]))
            config = uvicorn.Config(app, log_level="critical")
            running.start_soon(uvicorn.Server(config).serve, [listening])
        print(*ports, flush=True)


if __name__ == "__main__":
    made = {"fastmcp": fastmcp, "lowlevel": lowlevel}[sys.argv[1]]()
    trail = indelible.open_trail(sys.argv[2], on_failure="deny", durability=os.environ.get("DURABILITY"))
    full_while(sys.argv[2] + ".full")
    way = sys.argv[3]
    if way == "fronts":
        anyio.run(serve_apps, [front(each, trail) for each in FRONTS])
    elif way == "asgi-sse":
        anyio.run(serve_apps, [AuditASGI(made.sse_app(), trail, backend="shop")])
    else:
        indelible.attach(made, trail)
        indelible.attach(made, trail)
        if way == "stdio":
            anyio.run(serve, getattr(made, "_mcp_server", made))
        else:
            anyio.run(serve_apps, [made.streamable_http_app()])
