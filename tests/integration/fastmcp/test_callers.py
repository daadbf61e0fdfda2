"""Who calls, by every kind of HTTP: what the framework does not say, the request does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import old_python
from tests.integration.sdk import wires
from tests.integration.sdk.looking import lines
from tests.integration.sdk.wires import LEGACY


@pytest.mark.parametrize("kind", ["new", "old"])
def test_session_protocol_and_user_are_known_by_every_kind_of_http(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    python = str(old_python()) if kind == "old" else sys.executable
    program = [python, "-m", "tests.integration.fastmcp.callers", str(path)]
    subprocess.run(program, cwd=wires.ROOT, check=True, capture_output=True, timeout=120)
    calls = [line for line in lines(path) if line["event_type"] == "mcp_operation"]
    ways = ["stateless", "stateless", "sse", "sse", "gate", "gate"]
    assert [each["target"]["backend"] for each in calls] == [
        f"{framework} {way}" for framework in ("fastmcp", "official") for way in ways
    ]
    assert {each["target"]["protocol_version"] for each in calls} == {LEGACY}
    for first, second in zip(calls[::2], calls[1::2], strict=True):
        source, way = first["source"], first["target"]["backend"].split()[1]
        assert source == second["source"]
        assert ("session_id" in source) is (way != "stateless")
        about = [source.get(key) for key in ("user_id", "roles", "caller_type", "auth_method")]
        assert about == (["ada", ["read"], None, None] if way == "gate" else [None, None, "anonymous", "none"])
