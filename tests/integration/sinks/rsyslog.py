"""A real rsyslog, on ports of its own, that writes what it understood as JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.certificates import Authority
from tests.unit.docs.pages import DOCS, blocks

PAGE = DOCS / "how-to" / "ship-to-rsyslog.md"
PATIENCE_S = 60.0
FOLDERS = ("/etc/rsyslog.d/", "/var/log/", "/etc/pki/")


def page_config() -> str:
    """Return the configuration that the page shows."""
    [text] = [block.text for block in blocks(PAGE) if "imtcp" in block.text and block.language == "text"]
    return text


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Rsyslog:
    """Runs with the page's configuration; folders and ports in it are those of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "mcp-audit.jsonl"
        self.authority = Authority(folder)
        self.authority.file.rename(folder / "ca.pem")
        self.ca = folder / "ca.pem"
        self.authority.issue("server", "127.0.0.1")
        self.client = self.authority.issue("client")
        self.udp, self.tcp, self.tls = free_port(socket.SOCK_DGRAM), free_port(), free_port()
        self.config = folder / "rsyslog.conf"
        self.config.write_text(self._adapted(page_config()))
        self.process: subprocess.Popen[bytes] | None = None

    def _adapted(self, text: str) -> str:
        for there in FOLDERS:
            assert there in text or there == "/etc/rsyslog.d/"
            text = text.replace(there, f"{self.folder}/")
        for name, port in (("imudp", self.udp), ("imtcp", self.tcp)):
            text, count = re.subn(rf'(type="{name}" port=")514"', rf'\g<1>{port}" address="127.0.0.1"', text)
            assert count == 1
        text, count = re.subn(r'port="6514"', f'port="{self.tls}" address="127.0.0.1"', text)
        assert count == 1
        return f'global(workDirectory="{self.folder}")\n{text}'

    def start(self) -> None:
        command = ["/usr/sbin/rsyslogd", "-n", "-i", "NONE", "-f", str(self.config)]
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
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
def running(folder: Path) -> Iterator[Rsyslog]:
    server = Rsyslog(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
