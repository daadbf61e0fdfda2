"""Raw JSON-RPC to a server, over each transport and in both eras of the protocol: what a test sends is what arrives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import anyio
import httpx2
import uvicorn
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from tests.environments import old_python

ROOT = Path(__file__).parents[3]
LEGACY, MODERN = "2025-11-25", "2026-07-28"
CLIENT = {"name": "tester", "version": "9"}
LIMIT_S = 120.0
Frame = dict[str, Any]


class Wire(Protocol):
    """One client's end of a connection."""

    async def send(self, frame: Frame) -> None: ...
    async def answer(self, rpc_id: Any) -> Frame: ...
    async def close(self) -> None: ...


class Answers:
    """Answers by their ids, whatever the order."""

    def __init__(self) -> None:
        self._waiting: dict[Any, asyncio.Future[Frame]] = {}

    def _future(self, rpc_id: Any) -> asyncio.Future[Frame]:
        return self._waiting.setdefault(rpc_id, asyncio.get_running_loop().create_future())

    def take(self, frame: Frame) -> None:
        if "id" in frame and "method" not in frame and not self._future(frame["id"]).done():
            self._future(frame["id"]).set_result(frame)

    async def answer(self, rpc_id: Any) -> Frame:
        return await asyncio.wait_for(self._future(rpc_id), LIMIT_S)


def request(rpc_id: Any, method: str, params: Any, era: str, mark: str | None = None) -> Frame:
    """Return a request whose request id is `mark`."""
    fields: Frame = {"request_id": mark} if mark else {}
    if era == MODERN:
        prefix = "io.modelcontextprotocol/"
        fields |= {
            f"{prefix}protocolVersion": MODERN,
            f"{prefix}clientInfo": CLIENT,
            f"{prefix}clientCapabilities": {},
        }
        fields[f"{prefix}clientCapabilities"] = {"elicitation": {"form": {}}}
    if isinstance(params, dict):
        params = {**params, "_meta": fields} if fields else params
    return {"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": params}


async def greet(wire: Wire, era: str) -> None:
    if era == LEGACY:
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
        await wire.send(request("hello", "initialize", params, era))
        await wire.answer("hello")
        await wire.send({"jsonrpc": "2.0", "method": "notifications/initialized"})


class Memory(Answers):
    """A client in the server's own process."""

    def __init__(self, to_server: Any, from_server: Any) -> None:
        super().__init__()
        self._to, self._from = to_server, from_server
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                message = (await self._from.receive()).message
                self.take(json.loads(message.model_dump_json(by_alias=True, exclude_none=True)))

    async def send(self, frame: Frame) -> None:
        await self._to.send(SessionMessage(jsonrpc_message_adapter.validate_python(frame, by_name=False)))

    async def close(self) -> None:
        await self._to.aclose()
        await self._from.aclose()
        self._reader.cancel()


@contextlib.asynccontextmanager
async def memory(server: Any, era: str) -> AsyncIterator[Memory]:
    inner = getattr(server, "_lowlevel_server", server)
    to_server, read = anyio.create_memory_object_stream[Any](100)
    write, from_server = anyio.create_memory_object_stream[Any](100)
    running = asyncio.ensure_future(inner.run(read, write, inner.create_initialization_options()))
    wire = Memory(to_server, from_server)
    try:
        await greet(wire, era)
        yield wire
    finally:
        await wire.close()
        await asyncio.wait_for(running, LIMIT_S)


class Stdio(Answers):
    """A client at a server's standard streams."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self.process = process
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.take(json.loads(line))

    async def send(self, frame: Frame) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(frame).encode() + b"\n")
        await self.process.stdin.drain()

    async def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), LIMIT_S)
        await self._reader


@contextlib.asynccontextmanager
async def stdio(*command: str, era: str) -> AsyncIterator[Stdio]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    wire = Stdio(process)
    try:
        await greet(wire, era)
        yield wire
        if process.returncode is None:
            await wire.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def command(kind: str, trail: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.integration.sdk.servers", kind, str(trail))


class Http(Answers):
    """A client over Streamable HTTP: a POST for every message, each in a task of its own."""

    def __init__(self, url: str, era: str, headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self._url, self._era = url, era
        self._more = headers or {}
        self._client = httpx2.AsyncClient(timeout=LIMIT_S)
        self._session: str | None = None
        self._posts: set[asyncio.Task[None]] = set()

    def _headers(self, frame: Frame) -> dict[str, str]:
        headers = {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            **self._more,
        }
        if self._session:
            headers["mcp-session-id"] = self._session
        if self._era == MODERN or self._session:
            headers["mcp-protocol-version"] = self._era
        if self._era == MODERN:
            headers["mcp-method"] = frame["method"]
            params = frame.get("params")
            name = params.get("name", params.get("uri")) if isinstance(params, dict) else None
            if isinstance(name, str):
                headers["mcp-name"] = name
        return headers

    async def send(self, frame: Frame) -> None:
        task = asyncio.ensure_future(self._post(frame))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)
        if frame["method"] == "notifications/initialized":
            await task

    async def _post(self, frame: Frame) -> None:
        async with self._client.stream("POST", self._url, json=frame, headers=self._headers(frame)) as response:
            self._session = response.headers.get("mcp-session-id", self._session)
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                async for line in response.aiter_lines():
                    if line.startswith("data:") and line[5:].strip():
                        self.take(json.loads(line[5:]))
            else:
                body = await response.aread()
                if body:
                    self.take(json.loads(body))

    async def close(self) -> None:
        for task in tuple(self._posts):
            task.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)
        await self._client.aclose()


@contextlib.asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    """Serve an ASGI app on the loopback interface."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    task = asyncio.ensure_future(server.serve(sockets=[sock]))
    try:
        while not server.started:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, LIMIT_S)


@contextlib.asynccontextmanager
async def http(server: Any, era: str) -> AsyncIterator[Http]:
    async with listening(server.streamable_http_app()) as url:
        wire = Http(url, era)
        try:
            await greet(wire, era)
            yield wire
        finally:
            await wire.close()


def old_command(kind: str, trail: Path, transport: str) -> tuple[str, ...]:
    server = ROOT / "tests" / "integration" / "sdk" / "old" / "server.py"
    return (str(old_python()), str(server), kind, str(trail), transport)


@contextlib.asynccontextmanager
async def old(kind: str, transport: str, trail: Path) -> AsyncIterator[Stdio | Http]:
    """Connect to a server of the SDK 1.x, a process of another Python."""
    if transport == "stdio":
        async with stdio(*old_command(kind, trail, transport), era=LEGACY) as wire:
            yield wire
        return
    async with serving(*old_command(kind, trail, transport), era=LEGACY) as client:
        yield client


@contextlib.asynccontextmanager
async def serving(*command: str, era: str) -> AsyncIterator[Http]:
    """Connect over HTTP to a process that prints its port."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), LIMIT_S))
        client = Http(f"http://127.0.0.1:{port}/mcp", era)
        await _when_up(port)
        await greet(client, era)
        yield client
        await client.close()
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), LIMIT_S)


async def _when_up(port: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            with contextlib.suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                return
            await asyncio.sleep(0.02)
