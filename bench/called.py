"""One process in which servers are called, with and without something that listens: ``python -m bench.called FAMILY``.

It runs in the environment that has the family's framework, so it imports nothing else at the top. A family is called
*alone* when its middleware is, around a handler that has answered already (`alone.py`). Else a server and its client's
end are in one thread and talk through a pair of memory streams; what a client does to a message (models,
JSON) is left out, what the server does is not. Every *way* (bare, audited, logged …) is a server of its own with the
same tools. The ways take turns of some calls, each round in another order, so that what else the machine does meets
all alike; a way's cost is its turn less the bare one's of the same round.

Prints JSON: for each way and tool, for each round, the CPU seconds a call of the server's thread and of the process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib.metadata
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from bench import alone
from bench.posted import FORMS, Posted

TOOLS = ("look", "act")
"""A tool that says it is read-only, and one that says nothing: its calls have an intent recorded before them."""

ARGUMENTS = {"path": "/srv/projects/indelible/README.md", "head": 40, "query": "lorem ipsum " * 8}
TEXT = alone.TEXT
PROTOCOL = alone.PROTOCOL
WARM = 100
"""Calls of a way before anything is counted."""


def look(path: str, head: int, query: str) -> str:
    """Do nothing."""
    return TEXT


def act(path: str, head: int, query: str) -> str:
    """Do nothing either, but nobody knows."""
    return TEXT


async def look_soon(path: str, head: int, query: str) -> str:
    """Do nothing, in a coroutine."""
    return TEXT


async def act_soon(path: str, head: int, query: str) -> str:
    """The same."""
    return TEXT


SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "head": {"type": "integer"}, "query": {"type": "string"}},
    "required": ["path", "head", "query"],
}


# --- servers ------------------------------------------------------------------------------------------------


def sdk2() -> Any:
    import mcp_types as types
    from mcp.server.lowlevel import Server

    async def call(ctx: Any, params: Any) -> Any:
        return types.CallToolResult(content=[types.TextContent(type="text", text=TEXT)])

    async def listed(ctx: Any, params: Any) -> Any:
        reads = types.ToolAnnotations(read_only_hint=True)
        return types.ListToolsResult(
            tools=[
                types.Tool(name="look", input_schema=SCHEMA, annotations=reads),
                types.Tool(name="act", input_schema=SCHEMA),
            ]
        )

    return Server("bench", version="1", on_list_tools=listed, on_call_tool=call)


def mcpserver() -> Any:
    from mcp.server.mcpserver import MCPServer
    from mcp_types import ToolAnnotations

    server = MCPServer("bench", version="1")
    server.tool(name="look", annotations=ToolAnnotations(read_only_hint=True))(look_soon)
    server.tool(name="act")(act_soon)
    return server


def sdk1() -> Any:
    import mcp

    types: Any = mcp.types
    from mcp.server.lowlevel import Server

    server: Any = Server("bench", version="1")

    async def call(name: str, arguments: Any) -> Any:
        return [types.TextContent(type="text", text=TEXT)]

    async def listed() -> Any:
        reads = types.ToolAnnotations(readOnlyHint=True)
        tools: Any = [{"name": "look", "annotations": reads}, {"name": "act"}]
        return [types.Tool(inputSchema=SCHEMA, **tool) for tool in tools]

    server.call_tool()(call)
    server.list_tools()(listed)
    return server


def fastmcp() -> Any:
    from fastmcp import FastMCP

    server = FastMCP("bench")
    server.tool(name="look", annotations={"readOnlyHint": True})(look_soon)
    server.tool(name="act")(act_soon)
    return server


_at_end: list[Callable[[], None]] = []
"""What is to be closed."""


def close_all() -> None:
    """Close what was opened."""
    for close in _at_end:
        close()


def audited(server: Any, directory: Path) -> None:
    import indelible

    recorder = indelible.open_trail(directory / "attached.jsonl")
    indelible.attach(server, recorder)
    _at_end.append(recorder.close)


def added(server: Any, directory: Path) -> None:
    import indelible
    from indelible.fastmcp import AuditMiddleware

    recorder = indelible.open_trail(directory / "added.jsonl")
    server.add_middleware(AuditMiddleware(recorder))
    _at_end.append(recorder.close)


def logged(server: Any, directory: Path) -> None:
    """FastMCP's own lines of text, into a file."""
    from fastmcp.server.middleware.logging import LoggingMiddleware

    server.add_middleware(LoggingMiddleware(logger=_logger(directory, "text"), include_payloads=True))


def structured(server: Any, directory: Path) -> None:
    """FastMCP's own lines of JSON with what was called with, into a file."""
    from fastmcp.server.middleware.logging import StructuredLoggingMiddleware

    server.add_middleware(StructuredLoggingMiddleware(logger=_logger(directory, "json"), include_payloads=True))


def untraced(server: Any, directory: Path) -> None:
    """Without the OpenTelemetry middleware that every server of the SDK begins with."""
    server.middleware.clear()


def _logger(directory: Path, name: str) -> logging.Logger:
    logger = logging.getLogger(f"bench.{name}")
    logger.addHandler(logging.FileHandler(directory / name))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger


def bare(server: Any, directory: Path) -> None:
    """Nothing listens."""


SERVERS: dict[str, Callable[[], Any]] = {
    "sdk2": sdk2,
    "mcpserver": mcpserver,
    "sdk1": sdk1,
    "fastmcp": fastmcp,
    "otel": sdk2,
    "sdk2 alone": sdk2,
    "fastmcp alone": fastmcp,
}
WAYS: dict[str, dict[str, Callable[[Any, Path], None]]] = {
    "sdk2": {"bare": bare, "audited": audited},
    "mcpserver": {"bare": bare, "audited": audited},
    "sdk1": {"bare": bare, "audited": audited},
    "fastmcp": {"bare": bare, "audited": added, "logged": logged, "structured": structured},
    "otel": {"bare": untraced, "noop": bare},
    "sdk2 alone": {"bare": bare, "audited": audited},
    "fastmcp alone": {"bare": bare, "audited": added, "logged": logged, "structured": structured},
}
"""Family, way, what is done to a server of it."""
FUNCTIONS = ("bare", "audited", "operation", "bare, soon", "audited, soon")
OTHERS = {"functions": FUNCTIONS, **dict.fromkeys(("sdk1 alone", *FORMS), ("bare", "audited"))}
"""The ways of the families that have no server."""


# --- calls over a wire --------------------------------------------------------------------------------------


def _message(frame: dict[str, Any]) -> Any:
    """Return a message as a transport hands it to a server."""
    from mcp.shared.message import SessionMessage

    try:
        from mcp_types import jsonrpc_message_adapter
    except ImportError:
        import mcp

        types: Any = mcp.types
        return SessionMessage(types.JSONRPCMessage.model_validate(frame))
    return SessionMessage(jsonrpc_message_adapter.validate_python(frame, by_name=False))


class Client:
    """A client's end of a server's streams."""

    def __init__(self, server: Any) -> None:
        import anyio

        inner = getattr(server, "_lowlevel_server", None) or getattr(server, "_mcp_server", server)
        self._to, read = anyio.create_memory_object_stream[Any](1)
        write, self._from = anyio.create_memory_object_stream[Any](1)
        self._running = asyncio.ensure_future(inner.run(read, write, inner.create_initialization_options()))
        self._number = 0

    async def greet(self) -> None:
        info = {"name": "bench", "version": "1"}
        await self.ask("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": info})
        await self._to.send(_message({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        await self.ask("tools/list", {})

    async def ask(self, method: str, params: Any) -> Any:
        await self._to.send(self._request(method, params))
        return await self._from.receive()

    def _request(self, method: str, params: Any) -> Any:
        self._number += 1
        return _message({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})

    async def prepare(self, tool: str, calls: int) -> Callable[[], Awaitable[None]]:
        """Return a turn of so many calls, whose messages are made already."""
        params = {"name": tool, "arguments": ARGUMENTS}
        messages = [self._request("tools/call", params) for _ in range(calls)]
        send, receive = self._to.send, self._from.receive

        async def turn() -> None:
            for message in messages:
                await send(message)
                await receive()

        return turn

    async def check(self, tool: str) -> None:
        answer = (await self.ask("tools/call", {"name": tool, "arguments": ARGUMENTS})).message
        assert TEXT in answer.model_dump_json(), answer

    async def close(self) -> None:
        await self._to.aclose()
        with contextlib.suppress(Exception):
            await self._running


# --- calls of middleware alone ------------------------------------------------------------------------------


LISTED = (
    {"name": "look", "inputSchema": SCHEMA, "annotations": {"readOnlyHint": True}},
    {"name": "act", "inputSchema": SCHEMA},
)


def _is_ours(middleware: Any) -> bool:
    return type(middleware).__module__.startswith("indelible")


class Alone:
    """The middleware of a server that is never started."""

    def __init__(self, family: str, server: Any) -> None:
        ours = [each for each in getattr(server, "middleware", ()) if _is_ours(each)]
        if family.startswith("fastmcp"):
            for each in ours:
                each.attach(server)  # its tier beneath, which FastMCP 3 has no place for
            ours = [each for each in getattr(server._mcp_server, "middleware", ()) if _is_ours(each)]
        for each in ours:
            each.audited.list_tools(LISTED)
        handler = alone.through_fastmcp(server) if family.startswith("fastmcp") else alone.answered
        of_sdk1 = family.startswith("fastmcp") and not hasattr(server._mcp_server, "middleware")
        self._session = alone.Session() if of_sdk1 else None
        self._call = alone.through(ours, handler)
        self._number = 0

    async def prepare(self, tool: str, calls: int) -> Callable[[], Awaitable[None]]:
        call = self._call
        messages = [self._message(tool) for _ in range(calls)]

        async def turn() -> None:
            for message in messages:
                await call(message)

        return turn

    def _message(self, tool: str) -> alone.Message:
        self._number += 1
        return alone.Message(tool, ARGUMENTS, self._number, self._session)

    async def check(self, tool: str) -> None:
        assert await self._call(self._message(tool)) == alone.ANSWER

    async def close(self) -> None:
        """Nothing runs."""


class Taped:
    """A server of the SDK 1.x whose `run` has its answers ready: what is left of a call is the tap on its streams."""

    def __init__(self, way: str, directory: Path) -> None:
        self._server, self._number = sdk1(), 0
        self._answers: dict[Any, Any] = {}
        self._server.run = self._run
        if way == "audited":
            audited(self._server, directory)

    async def _run(self, read: Any, write: Any, *_: Any) -> None:
        answers = self._answers
        async for item in read:
            await write.send(answers[item.message.root.id])

    def _asked(self, method: str, params: Any, result: Any) -> Any:
        self._number += 1
        frame = {"jsonrpc": "2.0", "id": self._number}
        self._answers[self._number] = _message({**frame, "result": result})
        return _message({**frame, "method": method, "params": params})

    async def prepare(self, tool: str, calls: int) -> Callable[[], Awaitable[None]]:
        self._answers.clear()
        params = {"name": tool, "arguments": ARGUMENTS}
        messages = [self._asked("tools/call", params, alone.ANSWER) for _ in range(calls)]

        async def turn() -> None:
            await self._server.run(alone.Tape(messages), alone.Sink(), None)

        return turn

    async def check(self, tool: str) -> None:
        listed = self._asked("tools/list", {}, {"tools": LISTED})
        call, sink = (
            self._asked("tools/call", {"name": tool, "arguments": ARGUMENTS}, alone.ANSWER),
            alone.Sink(),
        )
        await self._server.run(alone.Tape([listed, call]), sink, None)
        assert TEXT in sink.last.message.model_dump_json()

    async def close(self) -> None:
        """Nothing runs."""


def posted(way: str, form: str, directory: Path) -> Posted:
    """Return an ASGI app in one form of answers, with `AuditASGI` in front of it or nothing."""
    if way == "bare":
        return Posted(form, lambda app: app, ARGUMENTS, LISTED)
    import indelible
    from indelible.asgi import AuditASGI

    recorder = indelible.open_trail(directory / "posted.jsonl")
    _at_end.append(recorder.close)
    return Posted(form, lambda app: AuditASGI(app, recorder), ARGUMENTS, LISTED)


# --- calls of functions -------------------------------------------------------------------------------------


class Functions:
    """Functions that are called as they are, audited, or within an operation."""

    def __init__(self, way: str, directory: Path) -> None:
        import indelible

        self._recorder = indelible.open_trail(directory / f"{way}.jsonl")
        self._way = way
        self._functions: dict[str, Callable[..., Any]] = {"look": look, "act": act}
        if way.endswith("soon"):
            self._functions = {"look": look_soon, "act": act_soon}
        if way.startswith("audited"):
            for name, function in self._functions.items():
                effects: Any = "read_only" if name == "look" else None
                self._functions[name] = indelible.audited(name=name, trail=self._recorder, effects=effects)(
                    function
                )

    async def prepare(self, tool: str, calls: int) -> Callable[[], Awaitable[None]]:
        function, recorder = self._functions[tool], self._recorder

        async def turn() -> None:
            for _ in range(calls):
                function(**ARGUMENTS)

        async def soon() -> None:
            for _ in range(calls):
                await function(**ARGUMENTS)

        async def within() -> None:
            effects: Any = "read_only" if tool == "look" else None
            for _ in range(calls):
                with recorder.operation("tools/call", tool, args=ARGUMENTS, effects=effects) as op:
                    op.result(function(**ARGUMENTS))

        if self._way == "operation":
            return within
        return soon if self._way.endswith("soon") else turn

    async def check(self, tool: str) -> None:
        await (await self.prepare(tool, 1))()

    async def close(self) -> None:
        self._recorder.close()


# --- measuring ----------------------------------------------------------------------------------------------


async def opened(family: str, way: str, directory: Path) -> Any:
    """Return a way of a family, ready to be called."""
    if family == "functions":
        return Functions(way, directory)
    if family in FORMS:
        return posted(way, family, directory)
    if family == "sdk1 alone":
        return Taped(way, directory)
    server = SERVERS[family]()
    WAYS[family][way](server, directory)
    if family.endswith("alone"):
        return Alone(family, server)
    client = Client(server)
    await client.greet()
    return client


async def measured(family: str, rounds: int, calls: int, directory: Path) -> dict[str, Any]:
    """Return the figures of a family."""
    ways = OTHERS.get(family) or tuple(WAYS[family])
    found = {way: await opened(family, way, directory) for way in ways}
    figures: dict[str, Any] = {way: {tool: [] for tool in TOOLS} for way in ways}
    for client in found.values():
        for tool in TOOLS:
            await client.check(tool)
            await (await client.prepare(tool, WARM))()
    for number in range(rounds):
        for tool in TOOLS:
            shift = number % len(ways)
            for way in (*ways[shift:], *ways[:shift]):
                turn = await found[way].prepare(tool, calls)
                gc.collect()
                thread, process = time.thread_time(), time.process_time()
                await turn()
                thread, process = time.thread_time() - thread, time.process_time() - process
                figures[way][tool].append((thread / calls, process / calls))
    for client in found.values():
        await client.close()
    close_all()
    return figures


def reference() -> float:
    """Return what the machine is good for just now: the CPU µs of `json.dumps` of an event of 600 bytes."""
    event = {"timestamp": "2026-11-21T19:00:00.000000Z", "args": ARGUMENTS, "text": [TEXT] * 4}
    event |= {f"field_{number}": "a value" for number in range(8)}
    rounds = []
    for _ in range(50):
        started = time.thread_time()
        for _ in range(100):
            json.dumps(event)
        rounds.append((time.thread_time() - started) / 100)
    return 1e6 * statistics.median(rounds)


def versions() -> dict[str, str]:
    """Return what is installed of what is measured."""
    found = {}
    for name in ("mcp", "fastmcp", "opentelemetry-sdk"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@contextlib.contextmanager
def somewhere() -> Iterator[Path]:
    """A directory for trails and logs."""
    with tempfile.TemporaryDirectory(prefix="indelible-bench-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def main() -> int:
    """Measure one family."""
    parser = argparse.ArgumentParser(description="Call the servers of one family, with and without listeners.")
    parser.add_argument("family", choices=[*SERVERS, *OTHERS])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--calls", type=int, default=250)
    options = parser.parse_args()
    with somewhere() as directory:
        before = reference()
        figures = asyncio.run(measured(options.family, options.rounds, options.calls, directory))
    speed = (before + reference()) / 2
    print(json.dumps({"versions": versions(), "json_dumps_us": speed, "figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
