"""Servers over every kind of HTTP, called by clients that show who they are: a program, for either version.

``python -m tests.integration.fastmcp.callers TRAIL``: of FastMCP with the middleware, and of the official SDK attached.
The backend's name in the trail is the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import mcp.shared.exceptions as theirs
import uvicorn
from fastmcp import Client, FastMCP
from fastmcp.client.transports import SSETransport, StreamableHttpTransport
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware

import indelible
from indelible.fastmcp import AuditMiddleware

NEW = hasattr(theirs, "MCPError")


class Gate(AuthenticationBackend):
    """Authentication of the app's own, by which the server's framework knows nothing."""

    async def authenticate(self, conn: Any) -> Any:
        return AuthCredentials(["read"]), SimpleUser(conn.headers["x-user"])


def fastmcp(trail: Any, way: str) -> Any:
    server: FastMCP = FastMCP(f"fastmcp {way}")
    server.add_middleware(AuditMiddleware(trail))
    server.tool(hello)
    options: dict[str, dict[str, Any]] = {"stateless": {"stateless_http": True}, "sse": {"transport": "sse"}}
    return server.http_app(**options.get(way, {}))


def official(trail: Any, way: str) -> Any:
    server: Any
    if NEW:
        from mcp.server.mcpserver import MCPServer

        server = MCPServer(f"official {way}")
    else:
        import mcp.server.fastmcp as old

        server = getattr(old, "FastMCP")(f"official {way}", stateless_http=way == "stateless")  # noqa: B009 - of 1.x
    server.tool()(hello)
    indelible.attach(server, trail)
    if way == "sse":
        return server.sse_app()
    return server.streamable_http_app(**({"stateless_http": True} if NEW and way == "stateless" else {}))


def hello() -> str:
    return "hello"


@contextlib.asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    config = uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server.serve(sockets=[sock]))
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def call(app: Any, way: str) -> None:
    kwargs: dict[str, Any] = {"mode": "legacy"} if NEW else {}
    headers = {"x-user": "ada"}
    async with listening(AuthenticationMiddleware(app, Gate()) if way == "gate" else app) as url:
        sse = way == "sse"
        here: Any = (
            SSETransport(f"{url}/sse", headers) if sse else StreamableHttpTransport(f"{url}/mcp", headers)
        )
        async with Client(here, **kwargs) as client:
            for _ in range(2):
                await client.call_tool("hello", {})


async def main(trail: Any) -> None:
    for make in (fastmcp, official):
        for way in ("stateless", "sse", "gate"):
            await call(make(trail, way), way)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with indelible.open_trail(sys.argv[1]) as opened:
        asyncio.run(main(opened))
