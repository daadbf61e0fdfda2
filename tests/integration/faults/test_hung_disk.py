"""A disk that hangs: `deny` answers in time, `allow` goes on, and the count of what was lost is exact.

strace holds a call in the kernel's door (`delay_enter`) until it lets go: the thread that makes it is out of reach.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import indelible
from indelible import verify
from tests.integration.faults.tracing import GENEROUS_S, strace
from tests.integration.trail.test_kill import entries

HANGING = Path(__file__).with_name("hanging.py")
TIMEOUT_S = 0.5
SLACK_S = 30.0
"""For a machine that is busy with something else. The disk hangs until everybody has answered, however long that is."""


class Callers:
    """Threads or tasks of one process, each with an event to record; see `hanging.py`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HANGING), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._said = b""
        assert self.hear() == ["open"]

    def hear(self) -> list[str]:
        """Return the next line's words."""
        assert self.process.stdout is not None
        while b"\n" not in self._said:
            assert select.select([self.process.stdout], [], [], GENEROUS_S)[0], "nobody answers"
            data = self.process.stdout.read(4096)
            assert data, "it has ended"
            self._said += data
        line, _, self._said = self._said.partition(b"\n")
        return line.decode().split(" ", 3)

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word.encode() + b"\n")

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(GENEROUS_S) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def hung(callers: Callers, path: Path, call: str, trace: Path) -> Iterator[None]:
    """Let every call of a kind hang that concerns the active file, for as long as the block lasts."""
    options = ["-P", str(path), "-e", f"trace={call}", "-e", f"inject={call}:delay_enter=600000000"]
    with strace(callers.process.pid, options, trace, detach=True):
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A trail that has been written before: its active file is opened under its own name, which strace knows."""
    path = tmp_path / "audit.jsonl"
    with indelible.open_trail(path):
        pass
    return path


def recorded(path: Path) -> list[str]:
    return [entry["event_id"] for entry in entries(path) if entry["event_type"] == "mcp_operation"]


def outcomes(callers: Callers, count: int) -> dict[str, str]:
    """Return what became of so many events; each was told in time."""
    found = {}
    for _ in range(count):
        name, became, seconds = callers.hear()[:3]
        found[name] = became
        assert float(seconds) < TIMEOUT_S + SLACK_S
    return found


def recovered(callers: Callers) -> str:
    """Wait until events are recorded again; return the name of the first that is.

    Each attempt has a name of its own: one that was refused may be in a sync that a busy machine did not end in time,
    and is recorded after all, as `first` is.
    """
    deadline, attempt = time.monotonic() + GENEROUS_S, 0
    callers.tell("again0- 1")
    while (answer := callers.hear())[1] == "refused":
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
        attempt += 1
        callers.tell(f"again{attempt}- 1")
    return answer[0]


@pytest.mark.parametrize("how", ["threads", "tasks", "alone"])
def test_deny_answers_in_time_at_disk(path: Path, tmp_path: Path, how: str) -> None:
    """Also the only caller: no thread but the trail's own is in the sync."""
    count = 1 if how == "alone" else 6
    callers = Callers(str(path), "disk", "deny", "tasks" if how == "tasks" else "threads", str(TIMEOUT_S))
    with hung(callers, path, "fdatasync", tmp_path / "trace"):
        callers.tell(f"first {count}")
        assert set(outcomes(callers, count).values()) == {"refused"}
        callers.tell("then 1")
        assert outcomes(callers, 1) == {"then0": "refused"}
    again = recovered(callers)
    callers.end()
    names = recorded(path)
    assert again in names
    assert "then0" not in names
    assert len(set(names)) == len(names)
    assert verify(path).ok


def test_deny_answers_in_time_at_process_but_for_the_one_in_the_write(path: Path, tmp_path: Path) -> None:
    callers = Callers(str(path), "process", "deny", "threads", str(TIMEOUT_S))
    with hung(callers, path, "write", tmp_path / "trace"):
        callers.tell("first 6")
        answered = outcomes(callers, 5)
        assert set(answered.values()) == {"refused"}
        callers.tell("then 3")
        assert set(outcomes(callers, 3).values()) == {"refused"}
    name, became = callers.hear()[:2]
    assert became == "recorded"
    assert name not in answered
    again = recovered(callers)
    callers.end()
    # An attempt before it that was refused may have been in a write that a busy machine did not end in time.
    names = recorded(path)
    assert (names[:2], names[-1]) == (["warm", name], again)
    assert all(between.startswith("again") for between in names[2:])
    assert len(set(names)) == len(names)
    assert verify(path).ok


@pytest.mark.parametrize(
    ("durability", "call", "how"),
    [("disk", "fdatasync", "threads"), ("disk", "fdatasync", "tasks"), ("process", "write", "threads")],
)
def test_allow_goes_on_and_the_gap_is_exact(
    path: Path, tmp_path: Path, durability: str, call: str, how: str
) -> None:
    """At `disk`, what was in the sync that hung is recorded after all, and not counted."""
    callers = Callers(str(path), durability, "allow", how, str(TIMEOUT_S))
    stuck = int(durability == "process")
    with hung(callers, path, call, tmp_path / "trace"):
        callers.tell("first 6")
        assert set(outcomes(callers, 6 - stuck).values()) == {"recorded"}  # as far as the caller is told
        callers.tell("then 7")
        outcomes(callers, 7)
    for _ in range(stuck):
        callers.hear()
    deadline, asked = time.monotonic() + GENEROUS_S, 0
    while not any(entry["event_type"] == "audit_gap" for entry in entries(path)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
        callers.tell(f"later{asked} 1")
        callers.hear()
        asked += 1
    callers.end()
    names = recorded(path)
    [lost] = [entry["metadata"]["lost"] for entry in entries(path) if entry["event_type"] == "audit_gap"]
    assert len(set(names)) == len(names)
    assert lost >= 7
    assert lost + len(names) == 1 + 6 + 7 + asked
    assert any(name.startswith("first") for name in names)
    assert verify(path).ok
