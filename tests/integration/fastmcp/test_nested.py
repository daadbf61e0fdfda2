"""A call that a tool makes is a call of its own, however deep in the tool's code it is made, and in every trail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.environments import old_python
from tests.integration.fastmcp.nested import WAYS
from tests.integration.sdk import wires
from tests.integration.sdk.looking import lines


def ran(kind: str, *paths: Path) -> list[list[dict[str, Any]]]:
    """Return the calls that each trail has."""
    python = str(old_python()) if kind == "fastmcp3" else sys.executable
    program = [python, "-m", "tests.integration.fastmcp.nested", *map(str, paths)]
    subprocess.run(program, cwd=wires.ROOT, check=True, capture_output=True, timeout=120)
    return [[each for each in lines(path) if each["event_type"] == "mcp_operation"] for path in paths]


def named(calls: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [each for each in calls if each["target"]["capability_name"] == name]


@pytest.mark.parametrize("kind", ["fastmcp4", "fastmcp3"])
def test_a_nested_call_is_no_second_call_of_the_wire(kind: str, tmp_path: Path) -> None:
    [calls] = ran(kind, tmp_path / "audit.jsonl")
    outer = {name: named(calls, name)[0]["request"]["request_id"] for name in (*WAYS, "helper", "job")}
    within = ["plain", "helper", "job", "joined"]
    *nested, direct = named(calls, "inner")
    assert [each["metadata"]["within"] for each in nested] == [outer[name] for name in within]
    assert not any("rpc_id" in each["request"] for each in nested)
    assert "metadata" not in direct
    wire = [each["request"]["rpc_id"] for each in calls if "rpc_id" in each["request"]]
    assert len(set(wire)) == len(wire) == len(WAYS)


def test_two_trails_of_a_fastmcp_3_have_the_same_calls(tmp_path: Path) -> None:
    first, second = ran("fastmcp3", tmp_path / "first.jsonl", tmp_path / "second.jsonl")
    for name in ("plain", "inner"):
        mine, theirs = named(first, name), named(second, name)
        assert [each["request"]["request_id"] for each in mine] == [
            each["request"]["request_id"] for each in theirs
        ]
    *nested, direct = named(second, "inner")
    assert [len(named(second, name)) for name in WAYS] == [1] * len(WAYS)
    assert nested[0]["metadata"]["within"] == named(second, "plain")[0]["request"]["request_id"]
    assert len(nested) == len(WAYS)
    assert not any("rpc_id" in each["request"] for each in nested)
    assert "metadata" not in direct
