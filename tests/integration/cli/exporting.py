"""A server of one kind, audited, and a client that calls it twice: ``exporting.py KIND TRAIL``.

One call succeeds, one fails; over HTTP a third one is refused before the server sees it. Run with the official SDK 1.x,
too, so nothing of another version is imported before it is asked for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import indelible

NO = "no\n<134>1 - - - - - - forged"


async def fastmcp(trail: str) -> None:
    from fastmcp import Client, FastMCP

    from indelible.fastmcp import AuditMiddleware

    server: Any = FastMCP("shop")
    server.add_middleware(AuditMiddleware(trail=trail))
    server.tool(good)
    server.tool(bad)
    async with Client(server) as client:
        for name in ("good", "bad"):
            await client.call_tool(name, {}, raise_on_error=False)


async def sdk(trail: str) -> None:
    import mcp

    server: Any = mcp.server.MCPServer("shop")  # type: ignore[attr-defined,unused-ignore]
    await _attached(server, trail, mcp.Client(server))  # type: ignore[attr-defined,unused-ignore]


async def sdk1(trail: str) -> None:
    from mcp.server.fastmcp import FastMCP  # type: ignore[import-not-found,attr-defined,unused-ignore]
    from mcp.shared import memory

    connect: Any = memory.create_connected_server_and_client_session  # type: ignore[attr-defined,unused-ignore]
    server: Any = FastMCP("shop")
    await _attached(server, trail, connect(server._mcp_server))


async def _attached(server: Any, trail: str, connected: Any) -> None:
    indelible.attach(server, trail)
    server.add_tool(good)
    server.add_tool(bad)
    async with connected as client:
        for name in ("good", "bad"):
            await client.call_tool(name, {})


async def asgi(trail: str) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        asked = json.loads((await receive())["body"])
        name = asked["params"]["name"]
        status = 401 if name == "refused" else 200
        result = {"content": [{"type": "text", "text": NO}], "isError": name == "bad"}
        answer = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
        kind = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": answer})

    app = indelible.asgi.AuditASGI(inner, backend="shop", trail=trail)
    for name in ("good", "bad", "refused"):
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}}}
        body = [{"type": "http.request", "body": json.dumps(asked).encode(), "more_body": False}]

        async def receive(body: list[dict[str, Any]] = body) -> dict[str, Any]:
            return body.pop() if body else await asyncio.Future()

        async def send(message: Any) -> None: ...

        kind = (b"content-type", b"application/json")
        scope = {
            "type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "http_version": "1.1",
            "headers": [kind], "client": ("192.0.2.7", 4711), "server": ("127.0.0.1", 80), "scheme": "http",
        }  # fmt: skip
        await app(scope, receive, send)


async def decorator(trail: str) -> None:
    opened = indelible.open_trail(trail)
    for function in (good, bad):
        try:
            indelible.audited(trail=opened)(function)()
        except ValueError:
            pass


def good() -> str:
    return "yes"


def bad() -> str:
    raise ValueError(NO)


if __name__ == "__main__":
    logging.disable()
    asyncio.run(globals()[sys.argv[1]](sys.argv[2]))
