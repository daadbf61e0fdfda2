"""Calls through middleware without the server around it: its handler has answered before it is asked.

What stands here for the official SDK's and FastMCP's own objects has of them what a middleware looks at. The chains are
the frameworks' own, as they run them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Final, Self

PROTOCOL: Final = "2025-06-18"
TEXT: Final = "the quick brown fox jumps over the lazy dog"
ANSWER: Final = {"content": [{"type": "text", "text": TEXT}], "isError": False}

Handler = Callable[[Any], Awaitable[Any]]


class Session:
    """Stands for the SDK's, of which there is one a message; one a connection in 1.x."""

    client_params = None

    async def send_request(self) -> None:
        """Nothing is asked."""


class Message:
    """Stands for the SDK's `ServerRequestContext`, of a call over a pipe."""

    method = "tools/call"
    request = None
    meta = None
    protocol_version = PROTOCOL

    def __init__(
        self, tool: str, arguments: dict[str, Any], number: int, session: Session | None = None
    ) -> None:
        """Be the call with this number, in a session of its own unless one is given."""
        self.request_id = number
        self.params = {"name": tool, "arguments": dict(arguments)}
        self.session = session or Session()


async def answered(message: Any) -> Any:
    """Be the server behind the middleware."""
    return ANSWER


class Tape:
    """Stands for the stream that a server of the SDK 1.x reads from."""

    def __init__(self, messages: list[Any]) -> None:
        """Hold these, and then nothing more."""
        self._messages = iter(messages)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._messages)
        except StopIteration:
            raise StopAsyncIteration from None


class Sink:
    """Stands for the stream that it writes to."""

    last: Any = None

    async def send(self, message: Any) -> None:
        """Take an answer."""
        self.last = message


class Cycle:
    """Stands for uvicorn's, of which there is one a request."""

    disconnected = False

    def __init__(self, body: bytes) -> None:
        """Have read this much."""
        self._body = body

    async def receive(self) -> Any:
        """Hand it over."""
        return {"type": "http.request", "body": self._body, "more_body": False}


Cycle.__module__, Cycle.__name__ = "uvicorn.protocols.http.alone", "RequestResponseCycle"


def through(middleware: list[Any], handler: Handler) -> Handler:
    """Return what the SDK calls with a message: its middleware in order, then the handler."""
    for outer in reversed(middleware):

        async def link(ctx: Any, outer: Any = outer, inner: Handler = handler) -> Any:
            return await outer(ctx, inner)

        handler = link
    return handler


def through_fastmcp(server: Any) -> Handler:
    """Return the same for FastMCP's own middleware: 4 runs it for what is common to all messages, and once more."""
    from fastmcp.server.middleware import MiddlewareContext

    run, params = server._run_middleware, _params()
    phases = ({"phase": "outer"}, {"phase": "typed"}) if "phase" in inspect.signature(run).parameters else ({},)

    async def last(context: Any) -> Any:
        return ANSWER

    handler = last
    for phase in reversed(phases):

        async def link(context: Any, inner: Handler = handler, phase: Any = phase) -> Any:
            return await run(context, inner, **phase)

        handler = link

    async def call(ctx: Any) -> Any:
        about: Any = SimpleNamespace(fastmcp=server, request_context=ctx, transport="stdio")
        message = params(name=ctx.params["name"], arguments=ctx.params["arguments"])
        return await handler(MiddlewareContext(message=message, fastmcp_context=about, method=ctx.method))

    return call


def _params() -> Any:
    try:
        from mcp_types import CallToolRequestParams
    except ImportError:
        from mcp.types import CallToolRequestParams
    return CallToolRequestParams
