"""A real `indelible record`, as any user, and the clients that speak to it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from indelible.events import new_id, now
from indelible.trail.layout import Layout
from indelible.trail.sharing import wire
from indelible.trail.sharing.sockets import connect
from tests.recording import next_message

AS_USER = Path(__file__).with_name("as_user.py")
ROOT = Path(__file__).parents[3]
LIMIT_S = 120.0
"""No wait is longer; every one is for a condition."""

SERVICE_UID, ONE, OTHER, STRANGER = 64001, 64002, 64003, 64004
CLIENTS_GID = 64100
"""Numbers that nobody has: users and groups need no names to be different."""


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def open_place() -> Iterator[Path]:
    """Make a directory that every user can reach; pytest's own are for their owner only."""
    place = Path(tempfile.mkdtemp(prefix="indelible-record-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place)


class Service:
    """A process that holds a trail; a killed one can be started again."""

    def __init__(self, place: Path, uid: int = 0, **config: Any) -> None:
        self.uid = uid
        self.home = place / "service"
        self.home.mkdir(mode=0o755)
        self.run = place / "run"
        self.run.mkdir(mode=0o755)
        self.state = self.home / "state"
        self.state.mkdir(mode=0o700)
        self.path = self.state / "audit.jsonl"
        self.socket = self.run / "record.sock"
        self.config = self.home / "indelible.yaml"
        self.config.write_text(
            json.dumps({"audit": {"path": str(self.path), **config.pop("audit", {})}, **config})
        )
        if uid:
            for path in (self.home, self.run, self.state):
                os.chown(path, uid, CLIENTS_GID)
        self.layout = Layout(self.path)
        self.process: subprocess.Popen[bytes] | None = None
        self.errors = place / "service.err"
        self.under: list[str] = []
        """A command that runs it, such as strace."""

    def start(self, *more: str, env: dict[str, str] | None = None) -> Service:
        command = [*as_user(self.uid, CLIENTS_GID), "indelible", "record", "-c", str(self.config)]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*self.under, *command, "--listen", str(self.socket), *more],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **(env or {})},
            )  # fmt: skip
        wait_until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.errors.read_text()
        try:
            connect(self.socket, LIMIT_S).close()
        except OSError:
            return False
        return True

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_S)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(LIMIT_S)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def entries(self) -> list[dict[str, Any]]:
        """Return what stands in the trail; while it is written, the newest of it may be missing."""
        files = [*sorted(self.layout.segments.glob("*.jsonl")), self.layout.active]
        with contextlib.suppress(FileNotFoundError):  # in the midst of a rotation
            return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]
        return self.entries()

    def of_calls(self) -> list[dict[str, Any]]:
        """Return the outcomes of calls."""
        return [entry for entry in self.entries() if entry["event_type"] == "mcp_operation"]

    def of(self, uid: int) -> list[dict[str, Any]]:
        """Return the events that a user's processes have recorded."""
        return [
            entry
            for entry in self.entries()
            if entry["source"]["recorder"]["uid"] == uid and entry["source"]["recorder"]["id"] != "record"
        ]


def as_user(uid: int, gid: int, groups: Sequence[int] = ()) -> list[str]:
    """Return the beginning of a command that runs as another user."""
    return [sys.executable, str(AS_USER), str(uid), str(gid), ",".join(map(str, groups))]


def event(event_id: str = "", kind: str = "mcp_operation", **more: Any) -> dict[str, Any]:
    """Return what a small client sends."""
    found = {
        "timestamp": now(),
        "event_type": kind,
        "event_id": event_id or new_id(),
        "source": {"caller": "library"},
        "target": {"type": "tool", "method": "tools/call", "capability_name": "t"},
        **more,
    }
    if kind == "mcp_operation":
        found.setdefault("outcome", {"status": "success", "kind": "completed", "latency_ms": 1.0})
    return found


class Raw:
    """A recorder that says what it is told to, as the user of this process."""

    def __init__(self, path: Path, name: str = "raw", *, hello: bool = True) -> None:
        self.sock = connect(path, LIMIT_S)
        self._messages = wire.Messages()
        self._read: list[bytes] = []
        self.number = 0
        self.welcome: dict[str, Any] = {}
        if hello:
            self.say(t="hello", v=1, recorder=name, pid=0)
            self.welcome = self.next() or {}

    def say(self, **message: Any) -> None:
        data = json.dumps(message).encode()
        self.sock.sendall(len(data).to_bytes(4, "big") + data)

    def put(self, body: dict[str, Any], **more: Any) -> int:
        self.number += 1
        self.say(t="put", n=self.number, **{"id": body.get("event_id", ""), "body": body, **more})
        return self.number

    def next(self) -> dict[str, Any] | None:
        """Return the next message; None at the end."""
        raw = next_message(self.sock, self._messages, self._read)
        message: dict[str, Any] | None = None if raw is None else json.loads(raw)
        return message

    def asked(self, body: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Send an event and return the answer."""
        self.put(body, **more)
        answer = self.next()
        assert answer is not None
        return answer

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Supervisor:
    """What sd_notify(3) speaks to."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(0.05)
        self.said: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self.said += self.sock.recv(4096).decode().split("\n")
            except TimeoutError:
                continue

    def pings(self) -> int:
        return self.said.count("WATCHDOG=1")

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.sock.close()
