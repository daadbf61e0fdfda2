"""A client of `indelible record` with nothing but Python's own library: docs/reference/protocol.md.

    with Client("/run/indelible/record.sock", "jobs") as client:
        client.record({"event_type": "mcp_operation", "target": {…}, "outcome": {…}})
    # everything is in the trail now

Events go out at once, a window of them ahead of what was acknowledged; when the service is gone, they wait, and are
sent again when it is back. One thread at a time may use a client.
"""

from __future__ import annotations

import json
import random
import socket
import time
import uuid
from collections import deque
from datetime import UTC, datetime
from typing import Any

VERSION = 1
PAUSE_S = (0.02, 1.0)
"""Between two attempts to reach a service that is gone: the first pause, and the longest."""


class Refused(Exception):  # noqa: N818 - it is no error of the client's
    """The service does not let this client in, or does not take an event."""


class _Letter:
    """An event on its way."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.event = event
        self.number = 0
        self.again = False
        self.deaths = 0
        self.since = -1
        """How many lines the trail had at least when this was sent first; -1 when nobody has said."""


class Client:
    """A recorder. `refused` collects what the service did not take: pairs of an event and why."""

    def __init__(self, path: str, recorder: str, timeout: float = 30.0) -> None:
        """Connect. Raises Refused, or OSError when nobody answers within `timeout` seconds."""
        self.refused: list[tuple[dict[str, Any], str]] = []
        self.welcome: dict[str, Any] = {}
        self.acknowledged = 0
        self._path, self._recorder, self._timeout = path, recorder, timeout
        self._letters: deque[_Letter] = deque()
        self._sent = 0
        self._number = 0
        self._size = 0
        self._sock: socket.socket | None = None
        self._rest = b""
        self._said_bye = False
        self._reach()

    def record(self, event: dict[str, Any]) -> str:
        """Send an event, filling in its id and time; wait when too many are on their way. Returns the id."""
        event.setdefault("event_id", str(uuid.uuid4()))
        event.setdefault("timestamp", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        self._letters.append(_Letter(event))
        self._go_on(self.welcome["window"] - 1)
        return str(event["event_id"])

    def flush(self) -> None:
        """Wait until the service has answered for every event."""
        self._go_on(0)

    def close(self) -> None:
        """Flush, and say good-bye."""
        self.flush()
        if self._sock is not None:
            self._say({"t": "bye"})
            self._sock.close()
            self._sock = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _go_on(self, most: int) -> None:
        """Send and hear until at most `most` events are on their way."""
        while True:
            try:
                if self._sock is None:
                    self._reach()
                self._send()
                if len(self._letters) <= most:
                    return
                self._hear()
            except (OSError, EOFError):
                self._lose()

    def _send(self) -> None:
        while self._sent < min(len(self._letters), self.welcome["window"]):
            letter = self._letters[self._sent]
            if self._sent and (letter.deaths or self._letters[self._sent - 1].deaths):
                return  # an event that was on its way when a service died goes alone
            self._number += 1
            letter.number = self._number
            if not letter.again:
                letter.since = self._size or -1
            put = {"t": "put", "n": letter.number, "id": letter.event["event_id"], "body": letter.event}
            if letter.again:
                put.update(again=True, deaths=letter.deaths, since=letter.since)
            self._sent += 1
            self._say(put)

    def _hear(self) -> None:
        message = self._next()
        kind = message["t"]
        if kind == "ack":
            while self._sent and self._letters[0].number <= message["n"]:
                self._settle()
                self.acknowledged += 1
            self._size = message.get("size", 0) or self._size
        elif kind == "nack":
            # Answers come in the order of the numbers: it is the first that is still unanswered.
            self.refused.append((self._letters[0].event, message["error"]))
            self._settle()
        elif kind == "bye":
            self._said_bye = True
            raise EOFError

    def _settle(self) -> None:
        self._letters.popleft()
        self._sent -= 1

    def _lose(self) -> None:
        """The connection is gone; what was on its way may be in the trail or not: it is sent again, marked."""
        if self._sock is not None:
            self._sock.close()
        self._sock = None

    def _reach(self) -> None:
        """Connect, say hello, and begin anew. Waits while nobody answers."""
        deadline, pause = time.monotonic() + self._timeout, PAUSE_S[0]
        while True:
            try:
                self._greet()
            except (OSError, EOFError) as exc:
                self._lose()
                if time.monotonic() >= deadline:
                    raise OSError(f"{self._path}: nobody answers: {exc}") from exc
            else:
                return
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(PAUSE_S[1], 2 * pause)

    def _greet(self) -> None:
        before, self._rest = self.welcome, b""
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(self._timeout)
        self._sock.connect(self._path)
        self._say({"t": "hello", "v": VERSION, "recorder": self._recorder, "pid": 0})
        answer = self._next()
        if answer["t"] == "refused":
            raise Refused(answer["error"])
        died = bool(before) and not self._said_bye and before["life"] != answer["life"]
        for letter in list(self._letters)[: self._sent]:
            letter.again = True
            letter.deaths += died
        self.welcome, self._number, self._sent, self._said_bye = answer, 0, 0, False
        self._size = answer.get("size", 0)

    def _say(self, message: dict[str, Any]) -> None:
        assert self._sock is not None
        data = json.dumps(message, separators=(",", ":")).encode()
        self._sock.sendall(len(data).to_bytes(4, "big") + data)

    def _next(self) -> dict[str, Any]:
        """Return the next message. Raises EOFError when the connection has ended."""
        size = int.from_bytes(self._exactly(4), "big")
        message: dict[str, Any] = json.loads(self._exactly(size))
        return message

    def _exactly(self, count: int) -> bytes:
        assert self._sock is not None
        while len(self._rest) < count:
            data = self._sock.recv(65536)
            if not data:
                raise EOFError
            self._rest += data
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


def main() -> None:
    """``indelible_client.py SOCKET COUNT``: record so many events; print what became of them."""
    import sys

    with Client(sys.argv[1], "python-example") as client:
        for number in range(int(sys.argv[2])):
            client.record(
                {
                    "event_type": "mcp_operation",
                    "source": {"caller": "library"},
                    "target": {"type": "tool", "method": "tools/call", "capability_name": "example"},
                    "request": {"args": {"number": number, "to": "ada@example.com"}},
                    "outcome": {"status": "success", "kind": "completed", "latency_ms": 1.5},
                }
            )
        client.flush()
        print(f"acknowledged {client.acknowledged}, refused {len(client.refused)}")


if __name__ == "__main__":
    main()
