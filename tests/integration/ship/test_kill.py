"""kill -9 of the shipper at random moments: nothing is missing, and what comes twice is told by its seq.

The moments are all over its life: half of the kills come from outside, some time after it began; the other half when it
comes to a place (reading, rendering, sending half of a part, a sync, a rename, …) for the N-th time. One shipper has
two sinks, a file that rotates and a syslog receiver over TCP, so that each is there at every kill.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from indelible.trail.entry import line_seq
from tests.effort import KILLS, LONG
from tests.integration.ship.forking import HALVES, PLACES
from tests.integration.ship.shipped import configure, next_of, run, seqs_of, start, until
from tests.trails import Maker, operation
from tests.unit.sinks.receivers import Receiver

AHEAD = 1500
"""The trail grows, so that there is always so much to ship: files are closed and compressed beside it."""

RARE = {"seeing that it was read": 1, "rotating": 1, "showing the state": 2}
"""How often a shipper comes to a place for sure, when it is not many times."""


def _restarts(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Return where a later event was followed by an earlier one."""
    return [(one, other) for one, other in pairwise(seqs) if other <= one]


class Orders:
    """How shippers are killed, one after the other; every place comes as often as every other one."""

    def __init__(self) -> None:
        self._chance = random.Random() if LONG else random.Random("shipper")
        self.places: list[str] = []

    def next(self, number: int) -> dict[str, object]:
        chance = self._chance
        if number % 2:
            every, batch = chance.choice([0.0, 0.02, 0.25]), chance.choice([1, 7, 60, 400])
            return {"BATCH_EVENTS": batch, "CURSOR_S": every, "after": chance.uniform(0, 0.12)}
        place = [*PLACES][number // 2 % len(PLACES)]
        self.places.append(place)
        how = chance.choice(["before", "after", *(["half"] * 2 if place in HALVES else [])])
        nth = chance.randint(1, RARE.get(place, 8))
        return {"BATCH_EVENTS": chance.choice([7, 60]), "CURSOR_S": 0.0, "place": place, "nth": nth, "how": how}


class Growing:
    """A trail that is always ahead of its sinks."""

    def __init__(self, path: Path) -> None:
        self.maker = Maker(path)
        self.grow()

    def grow(self) -> None:
        maker = self.maker
        maker.add_many(2 * AHEAD, lambda seq: operation(seq, request={"request_id": str(seq)}))
        if maker.seq // AHEAD % 4 < 2:
            maker.rotate(compress=bool(maker.seq % 2))
        maker.seal()

    def keep_ahead(self, places: Sequence[int | None]) -> None:
        while max(place or 0 for place in places) + AHEAD > self.maker.seq:
            self.grow()


@contextmanager
def _forker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).with_name("forking.py")
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, str(script), "-c", str(folder / "indelible.yaml")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.communicate()


def _kill_one(forker: subprocess.Popen[str], order: dict[str, object]) -> str:
    assert forker.stdin is not None
    assert forker.stdout is not None
    forker.stdin.write(json.dumps(order) + "\n")
    forker.stdin.flush()
    return forker.stdout.readline().strip()


@pytest.mark.timeout(120 + KILLS)
def test_a_shipper_that_is_killed_again_and_again(tmp_path: Path) -> None:
    trail, receiver = Growing(tmp_path / "a.jsonl"), Receiver()
    begin = {"start": "beginning", "format": "indelible"}
    configure(
        tmp_path,
        {**begin, "type": "file", "name": "file", "path": "out.log", "max_size_mb": 0.1, "backup_count": 5000},
        {
            **begin,
            "type": "syslog",
            "name": "siem",
            "address": receiver.address,
            "protocol": "tcp",
            "header": "none",
        },
    )
    orders = Orders()
    ends = []
    with _forker(tmp_path) as forker:
        for number in range(KILLS):
            ends.append(_kill_one(forker, orders.next(number)))
            trail.keep_ahead([next_of(tmp_path, "file"), next_of(tmp_path, "siem")])
    assert set(ends) == {"at its place", "from outside"}, (tmp_path / "said").read_text()
    assert ends.count("at its place") >= len(orders.places) * 9 // 10, "hardly a shipper came to its place"
    done = run(tmp_path, "--once")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in (tmp_path / "said").read_text()
    _is_whole(seqs_of(tmp_path / "out.log"), trail.maker.seq, KILLS)
    last = trail.maker.seq - 1
    until(lambda: any(line_seq(one) == last for one in receiver.messages[-50:]), "the last record")
    receiver.stop()
    for came in receiver.by_connection:
        _is_in_order([line_seq(one) or 0 for one in came])
    _is_whole([line_seq(one) or 0 for came in receiver.by_connection for one in came], trail.maker.seq, KILLS)


def _is_in_order(seqs: Sequence[int]) -> None:
    """Over one connection nothing comes twice, and nothing is left out."""
    assert all(later == earlier + 1 for earlier, later in pairwise(seqs))


def _is_whole(seqs: Sequence[int], count: int, kills: int) -> None:
    """Everything is there; what is there twice came again after a kill, and beginning with what was there."""
    assert set(seqs) == set(range(count))
    assert len(_restarts(seqs)) <= kills
    firsts = list(dict.fromkeys(seqs))
    assert firsts == sorted(firsts)
    assert all(later == earlier + 1 for earlier, later in pairwise(seqs) if later > earlier)


@pytest.mark.long
def test_commands_that_are_killed_again_and_again(tmp_path: Path) -> None:
    kills, lines = 200, 300_000
    maker = Maker(tmp_path / "a.jsonl")
    for number in range(6):
        maker.add_many(lines // 6, lambda seq: operation(seq, request={"request_id": str(seq)}))
        if number < 5:
            maker.rotate(compress=number % 2 == 0)
    maker.seal()
    out = tmp_path / "out.log"
    configure(
        tmp_path,
        {"type": "file", "path": "out.log", "start": "beginning", "max_size_mb": 4, "backup_count": 500},
    )
    chance = random.Random()
    for _ in range(kills):
        goal = _written(out) + chance.randrange(700_000)
        process = start(tmp_path)
        until(
            lambda: _written(out) >= goal or next_of(tmp_path, "out.log") == maker.seq,  # noqa: B023 - called at once
            "an event",
        )
        process.kill()
        process.communicate()
    assert run(tmp_path, "--once").returncode == 0
    _is_whole(seqs_of(out), maker.seq, kills)


def _written(out: Path) -> int:
    """Return how many bytes stand in a file sink's files; one that is being rotated counts once or not at all."""
    total = 0
    for path in out.parent.glob("out.log*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass
    return total
