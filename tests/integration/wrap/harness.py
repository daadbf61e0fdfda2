"""A raw client for servers on pipes, and what the tests ask of a trail."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NASTY = str(Path(__file__).with_name("nasty.py"))
INDELIBLE = [sys.executable, "-c", "import sys; from indelible.cli import main; sys.exit(main())"]
LIMIT_S = 60.0
"""No wait in these tests is longer; every one of them is for a condition."""


def request(rpc_id: Any, method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": params}).encode() + b"\n"


def call(rpc_id: Any, name: str, **arguments: Any) -> bytes:
    return request(rpc_id, "tools/call", name=name, arguments=arguments)


INITIALIZE = request(
    0, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "raw", "version": "1"}
)
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'


class Client:
    """A process on three pipes, spoken to in lines; every wait has a limit."""

    def __init__(self, command: list[str], *, cwd: Path, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            bufsize=0,
            env={**os.environ, **isolated(cwd), **(env or {})},
        )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.received = bytearray()
        self._read = self._seen = 0

    def send(self, *lines: bytes) -> None:
        for line in lines:
            self.stdin.write(line) if len(line) < 65536 else self._send_long(line)

    def _send_long(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.stdin.fileno(), view[:65536]) :]

    def line(self) -> bytes:
        """Return the next line, or what is left at the end of the stream."""
        while (end := self.received.find(b"\n", max(self._read, self._seen)) + 1) == 0:
            self._seen = len(self.received)
            if not self._more():
                end = len(self.received)
                break
        found, self._read = bytes(self.received[self._read : end]), end
        return found

    def _more(self, limit: float = LIMIT_S) -> bool:
        ready, _, _ = select.select([self.stdout], [], [], limit)
        assert ready, "nothing came"
        chunk = os.read(self.stdout.fileno(), 1 << 20)
        self.received += chunk
        return bool(chunk)

    def ask(self, line: bytes) -> Any:
        self.send(line)
        return json.loads(self.line())

    def greet(self) -> None:
        assert "result" in self.ask(INITIALIZE)
        self.send(INITIALIZED)
        assert "result" in self.ask(request(1, "tools/list"))

    def finish(self, awaited: int = 0) -> int:
        """Close stdin, read everything, and return the exit status as Popen gives it; so many bytes are read before."""
        while len(self.received) < awaited and self._more():
            pass
        if not self.stdin.closed:
            self.stdin.close()
        return self.drain()

    def drain(self) -> int:
        while self._more():
            pass
        return self.process.wait(LIMIT_S)

    def stderr(self) -> str:
        assert self.process.stderr
        return self.process.stderr.read().decode()

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait(LIMIT_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def isolated(directory: Path) -> dict[str, str]:
    """Keep the user's own configuration and trail out of a test."""
    return {
        "XDG_STATE_HOME": str(directory / "state"),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "INDELIBLE_CONFIG": "",
        "SERVER_VERSION": "",
    }


def wrapped(trail: Path, *command: str, options: tuple[str, ...] = ()) -> list[str]:
    return [*INDELIBLE, "wrap", "--trail", str(trail), *options, "--", *command]


def nasty(behaviour: str, file: Path | None = None) -> list[str]:
    return [sys.executable, NASTY, behaviour, *([str(file)] if file else [])]


def events(trail: Path, *types: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in trail.read_text().splitlines()]
    return [event for event in found if not types or event["event_type"] in types]


def outcomes(trail: Path) -> list[dict[str, Any]]:
    """Return the operations, after having checked what holds for every trail."""
    everything = events(trail)
    started = {
        event["event_id"]: event for event in everything if event["event_type"] == "mcp_operation_started"
    }
    operations = [event for event in everything if event["event_type"] == "mcp_operation"]
    seen = Counter(event["request"]["request_id"] for event in operations)
    assert all(count == 1 for count in seen.values()), f"calls recorded more than once: {seen}"
    for operation in operations:
        intent = operation["request"].get("intent")
        if intent is not None:
            assert started[intent]["seq"] < operation["seq"]
            assert started.pop(intent)["request"]["request_id"] == operation["request"]["request_id"]
    assert not started, "an intent without an outcome"
    return operations


def kinds(trail: Path) -> list[str]:
    return [operation["outcome"]["kind"] for operation in outcomes(trail)]


def wait_for(condition: Callable[[], Any], limit: float = LIMIT_S) -> Any:
    """Return what `condition` returns once that is true."""
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that waits to be reaped by somebody else does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return sys.platform != "linux"


def pids(file: Path, count: int) -> list[int]:
    def read() -> list[int]:
        lines = file.read_text().split() if file.exists() else []
        return [int(line) for line in lines[:count]] if len(lines) >= count else []

    found: list[int] = wait_for(read)
    return found


def descendants(pid: int) -> Iterator[int]:
    import psutil

    for process in psutil.Process(pid).children(recursive=True):
        yield process.pid
