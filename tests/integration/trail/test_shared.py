"""Several processes, one trail: the holder is killed again and again, and nobody loses anything."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indelible import verify
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from tests.effort import KILLS
from tests.integration.trail.forks import GENEROUS_S, Forked, Forks
from tests.integration.trail.test_kill import MAX_SIZE, close_cleanly, entries

SHARER = Path(__file__).with_name("sharer.py")
AT_ONCE = 4


class Sharer:
    """One process that records, with what it said."""

    def __init__(self, path: Path, durability: str, forks: Forks | None = None) -> None:
        arguments = [str(path), durability, str(MAX_SIZE)]
        self.process: Forked | subprocess.Popen[bytes]
        if forks is not None:
            self.process = forks.start("sharer", *arguments)
        else:
            pipe = subprocess.PIPE
            command = [sys.executable, str(SHARER), *arguments]
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        self.said: list[bytes] = []
        self.errors: list[bytes] = []
        self.opened = threading.Event()
        self._threads = [
            threading.Thread(target=self._read_all),
            threading.Thread(target=lambda: self.errors.extend(self.process.stderr or ())),
        ]
        for thread in self._threads:
            thread.start()

    def _read_all(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == b"open\n":
                self.opened.set()
            elif line.endswith(b"\n"):
                self.said.append(line)
        self.opened.set()

    @property
    def acknowledged(self) -> list[str]:
        return [line.decode().strip() for line in self.said]

    def end(self) -> int:
        """Let it close the trail; return its exit code."""
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(GENEROUS_S)
        for thread in self._threads:
            thread.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.end()


def holder_of(path: Path) -> int | None:
    """Return the pid that stands in the lock file."""
    try:
        return int(json.loads(Layout(path).lock.read_bytes())["pid"])
    except (OSError, ValueError, KeyError):
        return None


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + GENEROUS_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def by_recorder(found: list[dict[str, Any]]) -> dict[int, list[str]]:
    order: dict[int, list[str]] = defaultdict(list)
    for entry in found:
        if (
            entry["event_type"].startswith("mcp_operation")
            and entry.get("outcome", {}).get("kind") != "interrupted"
        ):
            order[entry["source"]["recorder"]["pid"]].append(entry["event_id"])
    return order


@pytest.mark.sampled
@pytest.mark.timeout(120 + 3 * KILLS)
@pytest.mark.parametrize("durability", ["process", "disk"])
def test_the_holder_is_killed_at_random_moments(
    tmp_path: Path, durability: str, kills: int, forks: Forks
) -> None:
    """Every other one is killed whatever it is at, be it its start; before the others something was acknowledged."""
    path = tmp_path / "audit.jsonl"
    moments = random.Random(durability)
    alive = [Sharer(path, durability, forks) for _ in range(AT_ONCE)]
    everybody = list(alive)
    survivors: list[Sharer] = []
    try:
        assert all(sharer.opened.wait(GENEROUS_S) for sharer in alive)
        killed = 0
        while killed < kills:
            if killed % 2:
                before = [(sharer, len(sharer.said)) for sharer in alive]
                wait_until(lambda before=before: any(len(one.said) > count for one, count in before))  # type: ignore[misc]
            time.sleep(moments.uniform(0, 0.1))  # the random moment itself, not a wait for a condition
            pid = holder_of(path)
            victim = next((sharer for sharer in alive if sharer.process.pid == pid), None)
            if victim is None:
                continue  # one is just taking over
            victim.kill()
            killed += 1
            alive.remove(victim)
            alive.append(Sharer(path, durability, forks))
            everybody.append(alive[-1])
        survivors = list(alive)
    finally:
        codes = [sharer.end() for sharer in alive]
    assert codes == [0] * AT_ONCE, b"".join(line for sharer in survivors for line in sharer.errors).decode()
    close_cleanly(path)

    found = entries(path)
    times = Counter(entry["event_id"] for entry in found)
    acknowledged = [event_id for sharer in everybody for event_id in sharer.acknowledged]
    assert len(acknowledged) > kills
    assert [event_id for event_id in acknowledged if times[event_id] != 1] == []
    assert [event_id for event_id, count in times.items() if count > 1] == []
    order, same_pid = by_recorder(found), Counter(sharer.process.pid for sharer in everybody)
    for sharer in everybody:
        said = set(sharer.acknowledged)
        stands = [event_id for event_id in order[sharer.process.pid] if event_id in said]
        assert stands == sharer.acknowledged  # each recorder's own order
    for pid, count in same_pid.items():  # a pid may come again
        said = {one for sharer in everybody if sharer.process.pid == pid for one in sharer.acknowledged}
        assert len(set(order[pid]) - said) <= count  # of each at most one was on its way
    opened = [entry["event_id"] for entry in found if entry["event_type"] == "mcp_operation_started"]
    closed = Counter(entry["request"]["intent"] for entry in found if entry["event_type"] == "mcp_operation")
    assert {intent: closed[intent] for intent in opened} == dict.fromkeys(opened, 1)
    lived = {sharer.process.pid for sharer in survivors if same_pid[sharer.process.pid] == 1}
    interrupted = [entry for entry in found if entry.get("outcome", {}).get("kind") == "interrupted"]
    assert [entry for entry in interrupted if entry["source"]["recorder"]["pid"] in lived] == []
    result = verify(path)
    assert (result.ok, result.events) == (True, len(found)), result


def test_the_holder_leaves_and_another_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    first = Sharer(path, "process")
    assert first.opened.wait(GENEROUS_S)
    second = Sharer(path, "process")
    assert second.opened.wait(GENEROUS_S)
    assert holder_of(path) == first.process.pid
    wait_until(lambda: any(Layout(path).segments.glob("*.zst")))  # what was on its way is looked for there, too
    assert first.end() == 0
    wait_until(lambda: holder_of(path) == second.process.pid)
    assert second.end() == 0, b"".join(second.errors).decode()
    assert first.errors == second.errors == []
    found = entries(path)
    assert found[-1]["event_type"] == "audit_stopped"
    assert "interrupted" not in {entry.get("outcome", {}).get("kind") for entry in found}
    order = by_recorder(found)
    assert order[first.process.pid] == first.acknowledged
    assert order[second.process.pid] == second.acknowledged


def test_a_killed_recorder_leaves_interrupted_calls_while_the_holder_lives(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    holder = Sharer(path, "process")
    assert holder.opened.wait(GENEROUS_S)
    killed = []
    for _ in range(12):
        other = Sharer(path, "process")
        assert other.opened.wait(GENEROUS_S)
        other.kill()
        killed.append(other.process.pid)
    assert holder.end() == 0
    found = entries(path)
    opened = [entry["event_id"] for entry in found if entry["event_type"] == "mcp_operation_started"]
    closed = Counter(entry["request"]["intent"] for entry in found if entry["event_type"] == "mcp_operation")
    assert {intent: closed[intent] for intent in opened} == dict.fromkeys(opened, 1)
    interrupted = [entry for entry in found if entry.get("outcome", {}).get("kind") == "interrupted"]
    assert {entry["source"]["recorder"]["pid"] for entry in interrupted} <= set(killed)
    assert "audit_recovered" not in {entry["event_type"] for entry in found}


def test_a_path_longer_than_a_sockets_address(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 100) / "audit.jsonl"
    sharers = [Sharer(path, "process") for _ in range(2)]
    assert all(sharer.opened.wait(GENEROUS_S) for sharer in sharers)
    assert [sharer.end() for sharer in sharers] == [0, 0]
    order = by_recorder(entries(path))
    assert {pid: ids for pid, ids in order.items() if ids} == {
        sharer.process.pid: sharer.acknowledged for sharer in sharers if sharer.acknowledged
    }


def test_a_trail_that_nobody_lets_us_into_is_refused(tmp_path: Path) -> None:
    from indelible.config import AuditSettings, Settings
    from indelible.errors import TrailLocked
    from indelible.opening import open_recorder

    path = tmp_path / "audit.jsonl"
    writer = open_writer(path, AuditSettings(), "alone").writer  # holds the trail, and does not listen
    try:
        with pytest.raises(TrailLocked, match="is being written by process"):
            open_recorder(Settings(audit=AuditSettings(path=str(path))), caller="library")
    finally:
        writer.close()
