"""Starts that take long: nobody fails because of another's, killed in it or suspended, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible import verify
from indelible.query.state import trail_state
from indelible.trail.sharing import processes
from tests.integration.trail.forks import GENEROUS_S, Forks
from tests.integration.trail.test_kill import close_cleanly, entries
from tests.integration.trail.test_shared import wait_until

OPENERS = 10


class Starter:
    """One process of `starter.py`."""

    def __init__(self, forks: Forks, path: Path, role: str, *rest: object) -> None:
        self.process = forks.start("starter", path, role, *rest)
        self._ended = False

    def line(self) -> str:
        """Return the next line that it prints; an empty text at its end."""
        assert select.select([self.process.stdout], [], [], GENEROUS_S)[0]
        return self.process.stdout.readline().decode().strip()

    def outcome(self) -> str:
        """Return the next line that does not say that it waits."""
        line = self.line()
        return self.line() if line == "waits" else line

    def tell(self, command: str) -> None:
        self.process.stdin.write(command.encode() + b"\n")

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> int:
        """Let it close the trail; return its exit code."""
        self._ended = True
        self.process.stdin.close()
        code = self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def kill(self) -> None:
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.end()


Begin = Callable[..., Starter]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a trail that there is already."""
    found = tmp_path / "audit.jsonl"
    close_cleanly(found)
    return found


@pytest.fixture
def begin(path: Path, forks: Forks) -> Iterator[Begin]:
    begun: list[Starter] = []

    def start(role: str, *rest: object) -> Starter:
        begun.append(Starter(forks, path, role, *rest))
        return begun[-1]

    yield start
    for one in begun:
        one.kill()


def starting(begin: Begin, role: str = "slow") -> Starter:
    one = begin(role)
    assert one.line() == "starting"
    return one


def waiting(begin: Begin, count: int = OPENERS) -> list[Starter]:
    """Return openers that have waited for longer than a holder is waited for that says nothing."""
    openers = [begin("opener") for _ in range(count)]
    assert [opener.line() for opener in openers] == ["waits"] * count
    return openers


def phase(path: Path) -> str | None:
    held_by = trail_state(path)["held_by"]
    found: str | None = held_by and held_by["phase"]
    return found


def record_and_end(path: Path, openers: list[Starter]) -> None:
    """Each records an event and closes; the trail is whole, and holds each of them once."""
    for number, opener in enumerate(openers):
        opener.tell(f"record e{number}")
    assert [opener.line() for opener in openers] == [f"recorded e{number}" for number in range(len(openers))]
    assert [opener.end() for opener in openers] == [0] * len(openers)
    found = entries(path)
    times = Counter(entry["event_id"] for entry in found if entry["event_type"] == "mcp_operation")
    assert times == {f"e{number}": 1 for number in range(len(openers))}
    result = verify(path)
    assert (result.ok, result.events) == (True, len(found)), result


def test_nobody_fails_because_another_starts_slowly(path: Path, begin: Begin) -> None:
    slow = starting(begin)
    openers = waiting(begin)
    assert phase(path) == "starting"
    slow.tell("go")
    assert slow.line() == "open holds"
    assert [opener.line() for opener in openers] == ["open through"] * OPENERS
    assert phase(path) == "holding"
    record_and_end(path, [*openers, slow])
    assert phase(path) is None


@pytest.mark.parametrize("role", ["slow", "slow with child"])
def test_the_next_takes_over_from_one_that_is_killed_in_its_start(path: Path, begin: Begin, role: str) -> None:
    """Also when it has started a child, which lives on."""
    slow = starting(begin, role)
    openers = waiting(begin)
    slow.process.kill()
    assert Counter(opener.line() for opener in openers) == {"open holds": 1, "open through": OPENERS - 1}
    record_and_end(path, openers)


def test_one_that_is_suspended_in_its_start_is_not_waited_for(path: Path, begin: Begin) -> None:
    slow = starting(begin)
    slow.signal(signal.SIGSTOP)
    wait_until(lambda: processes.is_stopped(slow.process.pid))
    opener, wrap = begin("opener"), begin("wrap")
    said = f"{path}: process {slow.process.pid} "
    for one, how in ((opener, "refused"), (wrap, "beside")):
        line = one.outcome()
        assert line.startswith(f"{how} {said}"), line
        assert "is just opening the trail, and is suspended" in line
    assert (opener.end(), wrap.end()) == (0, 0)
    slow.signal(signal.SIGCONT)
    slow.tell("go")
    assert slow.line() == "open holds"
    record_and_end(path, [slow])


def test_who_waits_is_bounded_and_says_for_whom(path: Path, begin: Begin) -> None:
    slow = starting(begin)
    opener = begin("opener", 0.5)
    line = opener.outcome()
    assert line.startswith(f"refused {path}: process {slow.process.pid} (")
    assert line.endswith("is just opening the trail, for longer than audit.open_timeout (0.5 s)")
    assert opener.end() == 0
    slow.tell("go")
    assert slow.line() == "open holds"
    record_and_end(path, [slow])


def test_ctrl_c_ends_who_waits_and_nothing_else(path: Path, begin: Begin) -> None:
    slow = starting(begin)
    openers = waiting(begin, 2)
    openers[0].signal(signal.SIGINT)
    assert openers[0].line() == ""
    assert openers[0].end() == -signal.SIGINT
    slow.tell("go")
    assert slow.line() == "open holds"
    assert openers[1].line() == "open through"
    record_and_end(path, [openers[1], slow])


def test_one_that_closes_slowly_is_waited_for(path: Path, begin: Begin) -> None:
    slow = begin("closes slowly")
    assert slow.line() == "open holds"
    slow.process.stdin.write(b"record e2\n")
    assert slow.line() == "recorded e2"
    slow.process.stdin.write(b"\n")  # an empty command ends it
    assert slow.line() == "ending"
    openers = waiting(begin, 2)
    assert phase(path) == "ending"
    slow.tell("go")
    assert Counter(opener.line() for opener in openers) == {"open holds": 1, "open through": 1}
    assert slow.end() == 0
    for number, opener in enumerate(openers):
        opener.tell(f"record e{number}")
        assert opener.line() == f"recorded e{number}"
    assert [opener.end() for opener in openers] == [0, 0]
    assert verify(path).ok


def test_a_process_that_forks_while_it_waits(path: Path, begin: Begin) -> None:
    """Both the one that waited and its child, which opens the trail itself, get in."""
    slow = starting(begin)
    forker = begin("forks")
    assert forker.line() == "waits"
    slow.tell("go")
    assert slow.line() == "open holds"
    assert Counter(forker.outcome() for _ in range(3)) == {"open through": 2, "both": 1}
    assert forker.end() == 0
    assert slow.end() == 0
    recorders = [
        entry["source"]["recorder"]["id"] for entry in entries(path) if entry["event_type"] == "mcp_operation"
    ]
    assert sorted(recorders) == ["child", "parent"]
    assert verify(path).ok


def test_a_recorder_is_told_for_whom_its_event_waits(path: Path, begin: Begin) -> None:
    """The holder dies, and whoever takes over is slow: recorders go on waiting, each call for `write_timeout`."""
    holder, recorder = begin("opener"), begin("opener")
    assert sorted([holder.outcome(), recorder.outcome()]) == ["open holds", "open through"]
    if trail_state(path)["held_by"]["pid"] == recorder.process.pid:
        holder, recorder = recorder, holder
    recorder.signal(signal.SIGSTOP)
    wait_until(lambda: processes.is_stopped(recorder.process.pid))
    holder.kill()
    slow = starting(begin)
    recorder.signal(signal.SIGCONT)
    recorder.tell("record late")
    line = recorder.line()
    assert line.startswith(f"lost {path}: not recorded in time: process {slow.process.pid} (")
    assert line.endswith("is just opening the trail")
    slow.tell("go")
    assert slow.line() == "open holds"
    recorder.tell("record e0")
    assert recorder.line() == "recorded e0"
    assert (recorder.end(), slow.end()) == (0, 0)
    assert verify(path).ok
