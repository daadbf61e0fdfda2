"""A web server that has the trail open and forks its workers, each of which records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from indelible import verify
from tests.integration.trail.test_kill import entries

WORKERS = 8
CALLS = 40

SERVER = """
import os, sys, indelible
workers, calls = int(sys.argv[2]), int(sys.argv[3])

def work(trail, name):
    for number in range(calls):
        with trail.operation("tools/call", name, args={"number": number}):
            pass

master = indelible.open_trail(sys.argv[1], on_failure="deny")
work(master, "before")
if sys.argv[4] == "closes":
    master.close()
pids = []
for number in range(workers):
    pid = os.fork()
    if not pid:
        with indelible.open_trail(sys.argv[1], on_failure="deny") as own:
            work(own, f"worker{number}")
        os._exit(0)
    pids.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in pids]
if sys.argv[4] == "stays open":
    work(master, "after")
    master.close()
sys.exit(int(any(codes)))
"""


@pytest.mark.parametrize("master", ["closes", "stays open"])
def test_eight_workers_that_a_server_forks(tmp_path: Path, master: str) -> None:
    path = tmp_path / "audit.jsonl"
    command = [sys.executable, "-W", "ignore", "-c", SERVER, str(path), str(WORKERS), str(CALLS), master]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=170)
    assert (done.returncode, done.stderr) == (0, "")
    found = entries(path)
    operations = [entry for entry in found if entry["event_type"] == "mcp_operation"]
    expected = {"before", *(f"worker{number}" for number in range(WORKERS))}
    expected |= {"after"} if master == "stays open" else set()
    names = Counter(entry["target"]["capability_name"] for entry in operations)
    assert names == dict.fromkeys(expected, CALLS)
    for name in expected:  # each in its own order
        own = [entry for entry in operations if entry["target"]["capability_name"] == name]
        assert [entry["request"]["args"]["number"] for entry in own] == list(range(CALLS))
        assert len({entry["source"]["recorder"]["pid"] for entry in own}) == 1
    assert {entry["outcome"]["kind"] for entry in operations} == {"completed"}
    result = verify(path)
    assert (result.ok, result.events) == (True, len(found)), json.dumps([str(f) for f in result.findings])
