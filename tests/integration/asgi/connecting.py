"""A client of the old HTTP+SSE transport, and the ways to each server behind `AuditASGI`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from indelible.asgi import AuditASGI
from indelible.recorder import Recorder
from tests.integration.sdk import servers, wires
from tests.integration.sdk.wires import LEGACY, LIMIT_S, ROOT, Answers, Frame

START_S = 120.0
"""Seconds that a process has to start, on a machine that is busy."""

REFUSED_HEADER = "x-refuse"
"""With it, the server's own middleware answers with the status in it, before anything is read."""


def guarded(app: Any) -> Any:
    """Return an app behind a middleware that refuses, as one that checks credentials does."""

    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        refused = dict(scope.get("headers", ())).get(REFUSED_HEADER.encode())
        if scope["type"] != "http" or refused is None:
            await app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"www-authenticate", b'Bearer error="invalid_token"'),
        ]
        await send({"type": "http.response.start", "status": int(refused), "headers": headers})
        await send({"type": "http.response.body", "body": b'{"error":"invalid_token"}'})

    return refusing


def audited(kind: str, recorder: Recorder, **about: Any) -> AuditASGI:
    """Return a server of `servers` behind its guard, with the audit in front of both."""
    return AuditASGI(guarded(servers.built(kind).streamable_http_app(**about)), recorder, backend="shop")


class Sse(Answers):
    """A client over HTTP+SSE: answers come on the one stream."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.process: asyncio.subprocess.Process | None = None
        self._client = httpx2.AsyncClient(timeout=LIMIT_S)
        self._endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async with self._client.stream(
            "GET", self.url + "/sse", headers={"accept": "text/event-stream"}
        ) as response:
            named = ""
            async for line in response.aiter_lines():
                if line.startswith("event:"):
                    named = line[6:].strip()
                elif line.startswith("data:") and named == "endpoint":
                    self._endpoint.set_result(line[5:].strip())
                elif line.startswith("data:"):
                    self.take(json.loads(line[5:]))

    async def post(self, frame: Frame, **headers: str) -> int:
        endpoint = await asyncio.wait_for(asyncio.shield(self._endpoint), LIMIT_S)
        return (await self._client.post(self.url + endpoint, json=frame, headers=headers)).status_code

    async def send(self, frame: Frame) -> None:
        assert await self.post(frame) == 202

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._client.aclose()


@contextlib.asynccontextmanager
async def process(*command: str) -> AsyncIterator[tuple[list[int], asyncio.subprocess.Process]]:
    """Run a server that prints its ports; it is up on all of them."""
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert running.stdout is not None
    try:
        line = await asyncio.wait_for(running.stdout.readline(), START_S)
        ports = [int(port) for port in line.split()]
        for port in ports:
            await wires._when_up(port)
        yield ports, running
    finally:
        if running.returncode is None:
            running.terminate()
            await asyncio.wait_for(running.wait(), LIMIT_S)


@contextlib.asynccontextmanager
async def old_sse(trail: Path) -> AsyncIterator[Sse]:
    """Connect to a server of the SDK 1.x over the old transport."""
    async with process(*wires.old_command("fastmcp", trail, "asgi-sse")) as ([port], running):
        wire = Sse(f"http://127.0.0.1:{port}")
        wire.process = running
        try:
            await wires.greet(wire, LEGACY)
            yield wire
        finally:
            await wire.close()


def command(trail: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.integration.asgi.server", str(trail))
