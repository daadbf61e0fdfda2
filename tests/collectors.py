"""A real OpenTelemetry Collector: its own OTLP receivers, and what they understood as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.certificates import Authority
from tests.judges.conftest import TOOLS
from tests.servers import Server, free_port

MAX_HTTP_BYTES = 1 << 20


class Collector(Server):
    """Listens in plain text and over TLS, for whom its authority has signed; HTTP and gRPC each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "lines.jsonl")
        self.authority = Authority(folder)
        self.ca = self.authority.file
        self.server = self.authority.issue("server", "127.0.0.1", "localhost")
        self.client = self.authority.issue("client")
        names = ("http", "grpc", "https", "grpcs")
        self.ports = {name: free_port() for name in names}
        self.config = folder / "collector.json"
        self.config.write_text(json.dumps(self._configuration()))

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

    def command(self) -> list[str]:
        program = TOOLS / "collector"
        assert program.exists(), "collector is not built: run make setup"
        return [str(program), "--config", f"file:{self.config}"]

    def listening(self) -> Sequence[int]:
        return list(self.ports.values())

    def requests(self) -> list[list[dict[str, Any]]]:
        """Return the log records of each request that it has taken so far."""
        return self.understood()

    def records(self) -> list[dict[str, Any]]:
        return [log for request in self.requests() for log in request]
