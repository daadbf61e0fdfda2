"""A real syslog daemon, on ports of its own, that writes what it understood as JSON lines.

What it runs with is the configuration of a page, as it stands there but for folders and ports.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.certificates import Authority
from tests.unit.docs.pages import DOCS, blocks

PATIENCE_S = 60.0


def page_config(page: str, has: str) -> str:
    """Return the receiver's configuration that a page shows: the one that has this word."""
    whole = blocks(DOCS / "how-to" / page)
    [text] = [block.text for block in whole if has in block.text and block.language == "text"]
    return text


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Syslogd:
    """One that listens on UDP, TCP and TLS, and lets in whom the test's authority has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "mcp-audit.jsonl"
        self.authority = Authority(folder)
        self.authority.file.rename(folder / "ca.pem")
        self.ca = folder / "ca.pem"
        self.authority.issue("server", "127.0.0.1")
        self.client = self.authority.issue("client")
        self.udp, self.tcp, self.tls = free_port(socket.SOCK_DGRAM), free_port(), free_port()
        self.config = folder / "syslogd.conf"
        self.config.write_text(self.configuration())
        self.process: subprocess.Popen[bytes] | None = None

    def configuration(self) -> str:
        """Return its page's configuration, adapted to the folder and the ports."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return how it is started."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return what it has of variables."""
        return dict(os.environ)

    def in_folder(self, text: str, *folders: str) -> str:
        """Return a configuration whose files are in the test's folder."""
        for there in folders:
            assert there in text
            text = text.replace(there, f"{self.folder}/")
        return text

    def start(self) -> None:
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=self.environment()
            )
        deadline = time.monotonic() + PATIENCE_S
        for port in (self.tcp, self.tls):
            while not _listens(port):
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

    def understood(self) -> list[dict[str, Any]]:
        """Return what it wrote so far."""
        data = self.log.read_bytes() if self.log.exists() else b""
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Return the first `count` records, once they are there."""
        deadline = time.monotonic() + PATIENCE_S
        while len(found := self.understood()) < count:
            assert time.monotonic() < deadline, (len(found), count, self.said())
            time.sleep(0.05)
        return found

    def forget(self) -> None:
        """Empty its file: it appends."""
        if self.log.exists():
            os.truncate(self.log, 0)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running(server: Syslogd) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop()
