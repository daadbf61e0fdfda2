"""kill -9 at random moments: nothing acknowledged is lost, nothing doubled, and the trail verifies."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from indelible import verify
from indelible.config import AuditSettings
from indelible.trail import files
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from tests.effort import KILLS
from tests.integration.trail.forks import Forks

MAX_SIZE = 200_000


def killed_run(forks: Forks, path: Path, durability: str, mode: str, delay_s: float) -> list[str]:
    """Run the appender, kill it `delay_s` after it has opened the trail; return what was acknowledged."""
    process = forks.start("appender", path, durability, MAX_SIZE, mode)
    assert process.stdout.readline() == b"open\n", "the trail did not open after a kill"
    collected: list[bytes] = []
    reader = threading.Thread(target=lambda: collected.append(process.stdout.read()))
    reader.start()
    time.sleep(delay_s)  # the random moment itself, not a wait for a condition
    process.kill()
    process.wait()
    reader.join()
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    complete = collected[0].decode().rpartition("\n")[0]
    return complete.split("\n") if complete else []


def entries(path: Path) -> list[dict[str, Any]]:
    """Return every entry of a closed trail, in order; each line must parse and have the next seq."""
    layout = Layout(path)
    found: list[dict[str, Any]] = []
    for file in reversed(list(files.newest_first(layout))):
        with files.open_file(file) as stream:
            for line in stream:
                entry = json.loads(line)
                assert entry["seq"] == len(found)
                found.append(entry)
    return found


def close_cleanly(path: Path) -> None:
    open_writer(path, AuditSettings(max_size=MAX_SIZE, backup_count=1_000_000), "test").writer.close()


@pytest.mark.sampled
@pytest.mark.timeout(60 + 3 * KILLS)  # a kill and a start take a third of a second on an idle machine
@pytest.mark.parametrize(
    ("durability", "mode"), [("process", "events"), ("disk", "events"), ("process", "calls")]
)
def test_kills_at_random_moments(tmp_path: Path, durability: str, mode: str, kills: int, forks: Forks) -> None:
    path = tmp_path / "audit.jsonl"
    if mode == "calls":  # they take twice the time
        kills = -(-kills // 2)
    moments = random.Random(f"{durability} {mode}")
    acknowledged: list[str] = []
    for _ in range(kills):
        acknowledged += killed_run(forks, path, durability, mode, moments.uniform(0, 0.12))
    close_cleanly(path)

    found = entries(path)
    times = Counter(entry["event_id"] for entry in found)
    assert len(acknowledged) > kills
    assert [event_id for event_id in acknowledged if times[event_id] != 1] == []
    assert [event_id for event_id, count in times.items() if count > 1] == []
    result = verify(path)
    assert (result.ok, result.events) == (True, len(found)), result
    assert [entry["recorded_at"] for entry in found] == sorted(entry["recorded_at"] for entry in found)
    if mode == "calls":
        assert_each_intent_closed_once(found)


def assert_each_intent_closed_once(found: list[dict[str, Any]]) -> None:
    opened = [entry["event_id"] for entry in found if entry["event_type"] == "mcp_operation_started"]
    closed = Counter(entry["request"]["intent"] for entry in found if entry["event_type"] == "mcp_operation")
    assert {intent: closed[intent] for intent in opened} == dict.fromkeys(opened, 1)
    interrupted = [entry for entry in found if entry.get("outcome", {}).get("kind") == "interrupted"]
    assert interrupted, "no kill came between an intent and its outcome: the test shows nothing"
