"""A real OpenTelemetry Collector: its own OTLP receivers, and what they understood as JSON lines."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.certificates import Authority
from tests.judges.conftest import TOOLS

PATIENCE_S = 60.0
MAX_HTTP_BYTES = 1 << 20


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Collector:
    """Listens in plain text and over TLS, for whom its authority has signed; HTTP and gRPC each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "lines.jsonl"
        self.authority = Authority(folder)
        self.ca = self.authority.file
        self.server = self.authority.issue("server", "127.0.0.1", "localhost")
        self.client = self.authority.issue("client")
        names = ("http", "grpc", "https", "grpcs")
        self.ports = {name: free_port() for name in names}
        self.config = folder / "collector.json"
        self.config.write_text(json.dumps(self._configuration()))
        self.process: subprocess.Popen[bytes] | None = None

    def endpoint(self, protocol: str, *, tls: bool = False) -> str:
        kind = "grpc" if protocol == "grpc" else "http"
        port = self.ports[f"{kind}s" if tls else kind]
        return f"{'https' if tls else 'http'}://127.0.0.1:{port}"

    def _configuration(self) -> dict[str, Any]:
        certificate, key = map(str, self.server)
        tls = {"cert_file": certificate, "key_file": key, "client_ca_file": str(self.ca)}

        def protocols(http: str, grpc: str, more: dict[str, Any]) -> dict[str, Any]:
            return {
                "protocols": {
                    "http": {
                        "endpoint": f"127.0.0.1:{self.ports[http]}",
                        "max_request_body_size": MAX_HTTP_BYTES,
                        **more,
                    },
                    "grpc": {"endpoint": f"127.0.0.1:{self.ports[grpc]}", **more},
                }
            }

        receivers = {
            "otlp": protocols("http", "grpc", {}),
            "otlp/tls": protocols("https", "grpcs", {"tls": tls}),
        }
        return {
            "receivers": receivers,
            "exporters": {"lines": {"path": str(self.log)}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
                "pipelines": {"logs": {"receivers": list(receivers), "exporters": ["lines"]}},
            },
        }

    def start(self) -> None:
        program = TOOLS / "collector"
        assert program.exists(), "collector is not built: run make setup"
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [str(program), "--config", f"file:{self.config}"],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        for port in self.ports.values():
            while not _listens(port):
                assert self.process.poll() is None, self.said()
                assert time.monotonic() < deadline, self.said()
                time.sleep(0.05)

    def stop(self, signum: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(signum)
            self.process.wait(PATIENCE_S)
            self.process = None

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def requests(self) -> list[list[dict[str, Any]]]:
        """Return the log records of each request that it has taken so far."""
        data = self.log.read_bytes() if self.log.exists() else b""
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def records(self) -> list[dict[str, Any]]:
        return [log for request in self.requests() for log in request]

    def forget(self) -> None:
        if self.log.exists():
            with self.log.open("r+b") as file:
                file.truncate(0)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Collector]:
    made = Collector(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
