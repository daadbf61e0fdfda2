"""`indelible mcp` as a client starts it: a process with pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

from tests.trails import Maker, operation

LIMIT_S = 120.0
"""A loaded machine takes its time; what is waited for comes long before."""

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "PYTHONPATH") if name in os.environ}
    return {
        **kept,
        "HOME": str(tmp_path / "home"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """A trail of three files that nobody writes."""
    maker = Maker(tmp_path / "trails" / "audit.jsonl").add_many(60)
    maker.rotate(compress=True)
    maker.add_many(60).rotate()
    maker.add(operation(200, source__session_id="s2", outcome__kind="tool_error", outcome__status="error"))
    return maker.add_many(20).seal().layout.active


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "indelible", "mcp", *map(str, args)]


@pytest.fixture
def connect(env: dict[str, str], tmp_path: Path) -> Connect:
    """Return what starts the server and connects the official SDK's client to it."""

    @asynccontextmanager
    async def connected(*args: str | Path, mode: str = "auto") -> AsyncIterator[Client]:
        program, *rest = command(*args)
        server = StdioServerParameters(command=program, args=rest, env=env, cwd=str(tmp_path))
        with (tmp_path / "stderr").open("a") as said:
            async with Client(stdio_client(server, errlog=said), mode=mode, raise_exceptions=True) as client:
                yield client

    return connected


class Raw:
    """The server on pipes, spoken to in lines."""

    def __init__(self, args: list[str], env: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            args, env=env, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._id = 0

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def call(self, method: str, **params: Any) -> int:
        self._id += 1
        self.send(
            json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}).encode() + b"\n"
        )
        return self._id

    def tell(self, method: str, **params: Any) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode() + b"\n")

    def answer(self, to: int) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message.get("id") == to:
                return message
        raise EOFError

    def begin(self) -> None:
        info = {"name": "tests", "version": "1"}
        said = self.answer(
            self.call("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=info)
        )
        assert said["result"]["serverInfo"]["name"] == "indelible-mcp"
        self.tell("notifications/initialized")

    def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.answer(self.call("tools/call", name=tool, arguments=arguments))

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(LIMIT_S)


@pytest.fixture
def raw(env: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Raw]]:
    started: list[Raw] = []

    def start(*args: str | Path) -> Raw:
        started.append(Raw(command(*args), env, tmp_path))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait(LIMIT_S)
        for pipe in (one.process.stdin, one.process.stdout, one.process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass
