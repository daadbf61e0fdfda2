"""What the real servers of tests have in common: a process on ports of its own, with what it said in a file."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from indelible.sinks.base import Shipment, Sink, SinkUnavailable

PATIENCE_S: Final = 60.0
PORTS: Final = range(15_000, 30_000)
"""Below those that the system gives to whoever connects: a port must still be free when the server takes it."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket(socket.AF_INET, kind) as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


class Server:
    """One process, which can be started again. It writes what it understood as JSON lines."""

    def __init__(self, folder: Path, log: str) -> None:
        self.folder = folder
        self.log = folder / log
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return how it is started."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return what it has of variables."""
        return dict(os.environ)

    def listening(self) -> Sequence[int]:
        """Return the TCP ports that it listens on once it runs."""
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=self.environment()
            )
        deadline = time.monotonic() + PATIENCE_S
        for port in self.listening():
            while not listens(port):
                assert self.process.poll() is None, self.said()
                assert time.monotonic() < deadline, self.said()
                time.sleep(0.05)

    def stop(self, signum: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signum)
            self.process.wait(PATIENCE_S)
            self.process = None

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def understood(self) -> list[Any]:
        """Return what it wrote so far."""
        data = self.log.read_bytes() if self.log.exists() else b""
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def wait_for(self, count: int) -> list[Any]:
        """Return the first `count` lines, once they are there."""
        deadline = time.monotonic() + PATIENCE_S
        while len(found := self.understood()) < count:
            assert time.monotonic() < deadline, (len(found), count, self.said())
            time.sleep(0.05)
        return found

    def forget(self) -> None:
        """Empty its file: it appends."""
        if self.log.exists():
            os.truncate(self.log, 0)


@contextlib.contextmanager
def running(server: Server) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop()


def until_taken(sink: Sink, batch: Sequence[Shipment]) -> None:
    """Send as the shipper does, as long as it takes."""
    deadline, said = time.monotonic() + PATIENCE_S, ""
    while batch:
        assert time.monotonic() < deadline, said
        try:
            batch = batch[sink.send(batch).taken :]
        except SinkUnavailable as exc:
            batch, said = batch[exc.delivery.taken :], str(exc)
            time.sleep(0.02)
