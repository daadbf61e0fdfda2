"""MCP_COMPLIANCE_FORMAT of a service: it exports what everybody records through it."""

from __future__ import annotations

import json
from pathlib import Path

import indelible
from indelible.formats.found import read_found
from tests.integration.record.serving import Service


def test_a_service_exports_everybodys_events(tmp_path: Path) -> None:
    service = Service(tmp_path).start(env={"MCP_COMPLIANCE_FORMAT": "leef"})
    try:
        for user in ("ada", "bob"):
            with indelible.open_trail(socket=service.socket) as trail:
                for tool in ("read", "write"):
                    with trail.operation("tools/call", tool, user_id=user):
                        pass
        assert service.stop() == 0
    finally:
        service.end()
    lines = service.errors.read_bytes().split(b"\n")[:-1]
    ordinary = [json.loads(line) for line in lines if not line.startswith(b"LEEF:2.0|")]
    assert [(one["level"], one["logger"]) for one in ordinary] == [("INFO", "indelible")]
    assert "recording to" in ordinary[0]["message"]
    lines = [line for line in lines if line.startswith(b"LEEF:2.0|")]
    found = [read_found(line) for line in lines]
    assert [(one.fields["usrName",], one.fields["action",]) for one in found if one] == [
        ("ada", "read"), ("ada", "write"), ("bob", "read"), ("bob", "write"),
    ]  # fmt: skip
