"""MCP_COMPLIANCE_FORMAT of a service: it exports what everybody records through it."""

from __future__ import annotations

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
    lines = [line for line in service.errors.read_bytes().split(b"\n") if line.startswith(b"LEEF:2.0|")]
    found = [read_found(line) for line in lines]
    assert [(one.fields["usrName",], one.fields["action",]) for one in found if one] == [
        ("ada", "read"), ("ada", "write"), ("bob", "read"), ("bob", "write"),
    ]  # fmt: skip
