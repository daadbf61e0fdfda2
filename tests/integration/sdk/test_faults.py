"""A fault of ours in somebody's call: the call is what it was without us, or refused, and what it cost is counted.

Every function that a capture goes through is broken in turn (`faulty`), in servers of each framework and version.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import indelible
from tests.environments import old_python
from tests.integration.sdk import faulty
from tests.integration.sdk.looking import lines
from tests.integration.sdk.wires import ROOT

HARMLESS = {"arecord", "record_or_owe", "refuse"}
"""What these calls do not go through, as long as the trail can be written."""


def test_a_fault_of_ours_is_nobody_elses_in_the_newest_versions(tmp_path: Path) -> None:
    for way in ("sdk2", "fastmcp wire", "fastmcp direct"):
        for mode in ("allow", "deny"):
            trail = tmp_path / f"{way} {mode}.jsonl"
            look(trail, mode, asyncio.run(faulty.calls(way, str(trail), mode)))


def test_a_fault_of_ours_is_nobody_elses_in_the_older_ones(tmp_path: Path) -> None:
    ways = ("sdk1", "fastmcp wire", "fastmcp direct")
    command = [str(old_python()), "-m", "tests.integration.sdk.faulty", str(tmp_path), *ways]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=600)
    assert faulty.CANARY.encode() not in done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == 6
    for way, mode, hooks in told:
        look(tmp_path / f"{way} {mode}.jsonl", mode, hooks)


def look(trail: Path, mode: str, hooks: dict[str, Any]) -> None:
    """Look at what became of the calls, and that each is recorded or counted, once."""
    ok, boom = hooks.pop("whole")
    assert "got 1" in ok
    assert len(hooks) >= 12
    noticed = 0
    for hook, each in hooks.items():
        for answer, own in zip(each["answers"], (ok, boom, ok), strict=True):
            denied = mode == "deny" and ("refused: " in answer or "its result is withheld: " in answer)
            assert denied or answer == own, hook
        refused = sum("refused: " in answer for answer in each["answers"])
        assert each["ran"] == 3 - refused, hook
        faults = [line for line in each["said"] if line.startswith("a fault in Indelible: ")]
        assert len(faults) == len(set(faults)), hook
        noticed += bool(faults)
        assert faulty.CANARY not in json.dumps(each)
        assert hook not in HARMLESS or (refused, faults) == (0, [])
    assert noticed >= 5
    events = lines(trail)
    operations = sum(event["event_type"] == "mcp_operation" for event in events)
    lost = sum(event["metadata"]["lost"] for event in events if event["event_type"] == "audit_gap")
    assert lost
    intents = 3 * (
        "sdk1._line" in hooks and mode == "allow"
    )  # with the recorder broken, these are lost as well
    assert operations + lost == 2 + 4 * len(hooks) + intents
    assert indelible.verify(trail).ok
