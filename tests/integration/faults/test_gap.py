"""The number of lost events survives kill -9 of who lost them, and stands in the trail once, whatever dies when."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible import verify
from indelible.config import AuditSettings, Settings
from indelible.opening import open_recorder
from indelible.trail import gapfile
from indelible.trail.layout import Layout
from tests.effort import sample
from tests.integration.faults.tracing import GENEROUS_S, strace
from tests.integration.trail.test_kill import entries

LOSING = Path(__file__).with_name("losing.py")


ENOUGH = 64
"""So many events make the trail larger than a file with a count: a limit on its size leaves that alone."""


class Loser:
    """A recorder in a process of its own, and how much room it has."""

    def __init__(self, path: Path, durability: str = "process", place: str = "memory") -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, str(LOSING), str(path), durability, place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert self.hear() == b"open\n"
        self.record(ENOUGH)

    def hear(self) -> bytes:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], GENEROUS_S)[0], "it does not go on"
        return self.process.stdout.readline()

    def record(self, count: int) -> None:
        """Let it record so many events, and go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"%d\n" % count)
        assert self.hear() == b"went on\n"

    def set_room(self, size: int) -> None:
        """No file of this process may grow beyond `size`: the kernel refuses its writes."""
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def fill(self) -> None:
        size = self.path.stat().st_size
        assert size > gapfile.FILE_BYTES
        self.set_room(size)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self._end()

    def close(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self._end()

    def _end(self) -> int:
        code = self.process.wait(GENEROUS_S)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        return code


@pytest.fixture
def lose(tmp_path: Path) -> Iterator[Callable[..., Loser]]:
    started: list[Loser] = []

    def start(*args: Any) -> Loser:
        started.append(Loser(tmp_path / "audit.jsonl", *args))
        return started[-1]

    yield start
    for loser in started:
        if loser.process.poll() is None:
            loser.kill()


def gaps(path: Path) -> list[dict[str, Any]]:
    return [entry["metadata"] for entry in entries(path) if entry["event_type"] == "audit_gap"]


def left(path: Path) -> list[Path]:
    """Return the files that hold counts."""
    layout = Layout(path)
    places = [place for place in (layout.gaps, gapfile.memory_directory(layout)) if place is not None]
    return [file for place in places if place.exists() for file in place.iterdir()]


@pytest.mark.parametrize("durability", ["process", "disk"])
@pytest.mark.parametrize("place", ["memory", "beside"])
def test_the_count_survives_kill_9(
    lose: Callable[..., Loser], tmp_path: Path, durability: str, place: str
) -> None:
    path = tmp_path / "audit.jsonl"
    loser = lose(durability, place)
    loser.fill()
    loser.record(37)
    loser.kill()
    for _ in range(2):  # the second finds nothing more
        with indelible.open_trail(path):
            pass
    operations = [entry for entry in entries(path) if entry["event_type"] == "mcp_operation"]
    [gap] = gaps(path)
    assert (gap["lost"], len(operations)) == (37, ENOUGH)
    assert "File too large" in gap["reason"]
    assert gap["since"] <= gap["until"]
    assert gap["of"] == {"recorder": "library", "pid": loser.process.pid}
    assert left(path) == []
    assert verify(path).ok


def test_who_is_killed_after_it_has_recorded_its_gap_leaves_nothing(
    lose: Callable[..., Loser], tmp_path: Path
) -> None:
    loser = lose()
    loser.fill()
    loser.record(5)
    loser.set_room(resource.RLIM_INFINITY)
    while not gaps(tmp_path / "audit.jsonl"):
        loser.record(1)
    before = gaps(tmp_path / "audit.jsonl")
    loser.kill()
    with indelible.open_trail(tmp_path / "audit.jsonl"):
        pass
    assert gaps(tmp_path / "audit.jsonl") == before
    assert left(tmp_path / "audit.jsonl") == []


def test_who_closes_on_a_full_disk_leaves_its_count(lose: Callable[..., Loser], tmp_path: Path) -> None:
    loser = lose()
    loser.fill()
    loser.record(5)
    assert loser.close() == 0
    with indelible.open_trail(tmp_path / "audit.jsonl"):
        pass
    assert [gap["lost"] for gap in gaps(tmp_path / "audit.jsonl")] == [5]


@pytest.mark.parametrize("killed", [[0], [1, 2], [0, 1, 2]])
def test_each_of_several_recorders_has_its_own(
    lose: Callable[..., Loser], tmp_path: Path, killed: list[int]
) -> None:
    """The holder's disk is full, and the others' events are refused with it; then some of them die."""
    path = tmp_path / "audit.jsonl"
    losers = [lose() for _ in range(3)]
    losers[0].fill()
    for number, loser in enumerate(losers):
        loser.record(10 + number)
    expected = {loser.process.pid: 10 + number for number, loser in enumerate(losers)}
    for number in killed:
        losers[number].kill()
    for number, loser in enumerate(losers):
        if number not in killed:
            loser.set_room(resource.RLIM_INFINITY)
            assert loser.close() == 0
    with indelible.open_trail(path):
        pass
    reported = {}
    for entry in entries(path):
        if entry["event_type"] == "audit_gap":
            pid = entry["metadata"].get("of", entry["source"]["recorder"])["pid"]
            assert pid not in reported
            reported[pid] = entry["metadata"]["lost"]
    assert reported == expected
    assert left(path) == []


REPORTING = """
import os, sys
from indelible.config import AuditSettings, Settings
from indelible.opening import open_recorder
from indelible.trail import gap, gapfile
settings = Settings(audit=AuditSettings(path=sys.argv[1]))
recorder = open_recorder(settings, caller="library", on_failure="allow", report=False)
os.write(1, b"open")
os.read(0, 1)
recorder.report_the_dead()
os._exit(0)
"""
"""Opens, and reports what the dead left once it is told to; ends without a good-bye, so that all can be traced."""

CALLS = "openat,write,pwrite64,flock,unlink,close,newfstatat,fstat,pread64,read,lseek,getdents64"


def report_and_die(path: Path, call: str, at: int, trace: Path) -> bool:
    """Let a process report the dead, and kill it at its `at`-th `call`; tell whether it came so far."""
    with subprocess.Popen(
        [sys.executable, "-c", REPORTING, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stderr is not None
        opened = process.stdout.read(4)
        assert opened == b"open", process.stderr.read().decode()
        with strace(process.pid, ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={at}"], trace):
            process.stdin.write(b"!")
            code = process.wait(GENEROUS_S)
        assert code in (0, -signal.SIGKILL)
        return code != 0


@pytest.mark.sampled
@pytest.mark.timeout(1800)
def test_it_is_reported_once_whoever_dies_in_reporting_it(lose: Callable[..., Loser], tmp_path: Path) -> None:
    """Each who reports it is killed one system call later than the last, and yet it stands there once."""
    path = tmp_path / "audit.jsonl"
    cases = [(call, at) for call in CALLS.split(",") for at in range(1, 13)]
    reported = died = lost = 0
    for number, (call, at) in enumerate(sample(cases, 4, "reporting")):
        loser = lose()
        loser.fill()
        loser.record(1 + number)
        loser.kill()
        died += report_and_die(path, call, at, tmp_path / "trace")
        with open_recorder(Settings(audit=AuditSettings(path=str(path))), caller="library"):
            pass
        found = gaps(path)
        lost += 1 + number
        assert sum(gap["lost"] for gap in found) == lost, f"{call} {at}: {json.dumps(found[reported:])}"
        assert len(found) == reported + 1
        reported = len(found)
        assert left(path) == []
    assert died
    assert verify(path).ok
