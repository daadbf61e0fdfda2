"""What a FastMCP server asks its client from within a tool: an event of its own, linked to the call, in 4 and 3."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.environments import old_python
from tests.integration.fastmcp.asking import CALLS
from tests.integration.sdk import wires
from tests.integration.sdk.looking import lines


def asked(path: Path, event_type: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each event of a kind, with the call within which it was asked."""
    found = lines(path)
    calls = {each["request"]["request_id"]: each for each in found if each["event_type"] == "mcp_operation"}
    return [(each, calls[each["request"]["continues"]]) for each in found if each["event_type"] == event_type]


@pytest.mark.parametrize("kind", ["fastmcp4", "fastmcp3"])
def test_what_tools_ask_belongs_to_their_calls(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    python = str(old_python()) if kind == "fastmcp3" else sys.executable
    program = [python, "-m", "tests.integration.fastmcp.asking", str(path)]
    subprocess.run(program, cwd=wires.ROOT, check=True, capture_output=True, timeout=120)
    pairs = asked(path, "elicitation")
    items = [call["request"]["args"]["item"] for _, call in pairs]
    assert sorted(items[:CALLS]) == [f"item {number}" for number in range(CALLS)]
    assert items[CALLS:] == ["inner", "refused"]
    for item, (event, call) in zip(items, pairs, strict=True):
        assert event["request"]["args"]["message"] == f"Which size of {item}? password=[REDACTED]"
        assert event["source"] == call["source"]
        assert event["target"]["method"] == "elicitation/create"
    assert [event["outcome"]["kind"] for event, _ in pairs] == ["completed"] * (CALLS + 1) + ["protocol_error"]
    thoughts = asked(path, "sampling")
    assert [call["target"]["capability_name"] for _, call in thoughts] == (
        ["think", "think"] if kind == "fastmcp3" else []
    )
    assert b"kq3vT9xLw2" not in path.read_bytes()
