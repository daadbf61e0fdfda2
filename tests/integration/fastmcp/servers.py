"""A FastMCP server, of version 4 or 3, in which every cause can be made to happen.

As a program: ``python -m tests.integration.fastmcp.servers TRAIL stdio|http [attached] [deny]``; over HTTP it
prints its port. ``… fronts`` has `AuditASGI` in front of several of its apps, on as many ports.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from typing import Any

import anyio
import anyio.lowlevel
import mcp.shared.exceptions as theirs
import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth import require_scopes
from fastmcp.tools import ToolResult

import indelible
import indelible.fastmcp
from indelible.asgi import AuditASGI
from indelible.trail import writer
from indelible.trail.active import ActiveFile

log = logging.getLogger("shop")
seen: list[str | None] = []
"""The request id that each call of `whoami` saw."""


def wrong(code: int, text: str) -> Exception:
    """Return the SDK's error, of whichever version."""
    new: Any = getattr(theirs, "MCPError", None)
    if new is not None:
        return new(code=code, message=text)  # type: ignore[no-any-return]
    from mcp.types import ErrorData

    old: Any = theirs.McpError  # type: ignore[attr-defined]
    return old(ErrorData(code=code, message=text))  # type: ignore[no-any-return]


async def hang(until: str) -> str:
    while not await anyio.Path(until).exists():  # noqa: ASYNC110 - the test may be another process
        await anyio.sleep(0.01)
    return "done"


async def whoami() -> str:
    await anyio.lowlevel.checkpoint()
    log.warning("asked who I am")
    seen.append(indelible.current_request_id())
    return str(await anyio.to_thread.run_sync(indelible.current_request_id))


def add_asking(server: FastMCP) -> None:
    import mcp_types as types
    from fastmcp import Context

    params = types.ElicitRequestFormParams(
        message="Sure?", requested_schema={"type": "object", "properties": {}}
    )

    async def ask(ctx: Context) -> Any:
        if ctx.input_responses:
            return "thanks"
        question = types.ElicitRequest(params=params)
        return types.InputRequiredResult(input_requests={"q": question}, request_state="round-1")

    ask.__annotations__["ctx"] = Context
    server.tool(ask)


def add_resources(server: FastMCP) -> None:
    @server.resource("r://a")
    def fixed() -> str:
        return "A"

    @server.resource("r://boom")
    def broken() -> str:
        raise KeyError("x")

    @server.resource("item://{number}")
    def item(number: str) -> str:
        return f"item {number}"

    @server.prompt
    def p(q: str) -> str:
        return q

    @server.resource("r://rpcerr")
    def rpcerr() -> str:
        raise wrong(-32050, "not now")


def shop(name: str = "shop", **kwargs: Any) -> FastMCP:
    """Return the server, not audited yet."""
    server: FastMCP = FastMCP(name, version="3.1", **kwargs)

    @server.tool(annotations={"readOnlyHint": True})
    def ok(a: int) -> int:
        return a

    @server.tool
    def flag() -> ToolResult:
        return ToolResult("no stock", is_error=True)

    @server.tool
    def boom() -> int:
        raise KeyError("x")

    @server.tool
    def told() -> int:
        from fastmcp.exceptions import ToolError

        raise ToolError("not on Sundays")

    @server.tool(auth=require_scopes("admin"))
    def denied() -> int:
        return 1

    @server.tool(timeout=0.05)
    async def limited() -> str:
        await anyio.sleep_forever()
        return "never"

    if hasattr(theirs, "MCPError"):  # FastMCP 4: 2026-07-28 has results that ask
        add_asking(server)

    for tool in (hang, whoami):
        server.tool(tool)

    add_resources(server)
    return server


def audited(trail: Any, **kwargs: Any) -> FastMCP:
    """Return the server with the one line that audits it."""
    server = shop(**kwargs)
    server.add_middleware(indelible.fastmcp.AuditMiddleware(trail))
    return server


def full_while(there: str) -> None:
    """Let the disk be full while there is a file."""
    put = ActiveFile.put

    def fail(self: ActiveFile, data: bytes) -> None:
        if os.path.exists(there):  # noqa: PTH110 - asked before each write
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(self, data)

    ActiveFile.put = fail  # type: ignore[method-assign]
    writer.RETRY_S = 0.0  # type: ignore[misc]


FRONTS = ("sessions", "json", "stateless", "sse", "within")


def front(way: str, trail: Any) -> AuditASGI:
    """Return a server's app with the audit in front of it; ``within`` has FastMCP's middleware as well."""
    ways: dict[str, dict[str, Any]] = {
        "json": {"json_response": True},
        "stateless": {"stateless_http": True},
        "sse": {"transport": "sse"},
    }
    server = audited(trail) if way == "within" else shop()
    return AuditASGI(server.http_app(**ways.get(way, {})), trail, backend=way)


async def serve_all(apps: list[Any]) -> None:
    """Serve each on a port of its own, and print these."""
    listening = []
    for _ in apps:
        listening.append(socket.socket())
        listening[-1].bind(("127.0.0.1", 0))
    print(*(each.getsockname()[1] for each in listening), flush=True)
    async with anyio.create_task_group() as running:
        for app, mine in zip(apps, listening, strict=True):
            config = uvicorn.Config(app, log_level="critical", lifespan="on")
            running.start_soon(uvicorn.Server(config).serve, [mine])


def main() -> None:
    logging.disable(logging.CRITICAL)
    trail: Any = sys.argv[1]
    if "deny" in sys.argv:
        full_while(f"{trail}.full")
        trail = indelible.open_trail(trail, on_failure="deny")
    if sys.argv[2] == "fronts":
        trail = indelible.open_trail(trail)
        anyio.run(serve_all, [front(way, trail) for way in FRONTS])
        return
    made = audited(trail)
    if "attached" in sys.argv:
        indelible.attach(made, sys.argv[1])
    if sys.argv[2] == "stdio":
        made.run("stdio", show_banner=False)
    else:
        anyio.run(serve_all, [made.http_app()])


if __name__ == "__main__":
    main()
