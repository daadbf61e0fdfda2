"""What recording costs: `python -m bench.bench_record [--json FILE]`.

Each figure is the median of several rounds, and each ratio compares two things measured next to each other in one
round, since the machine's speed drifts.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

import indelible
from bench.report import Goal, Report
from indelible import events
from indelible.events import Event, Policy, Request, Source, Target
from indelible.recorder import Recorder

ROUNDS = 7
EVENTS = 3000
OUTSTANDING = 512
SLICES = 20
SLICE = 100
"""So many events of a caller in sequence, then as many of the bare loop, in turn: what the disk takes drifts within a
second. A round is long enough that the checkpoints beside it have their usual share."""

SOURCE = Source(caller="library", session_id="s1", client="probe/1.0", user_id="alice", caller_type="agent")
TARGET = Target(
    backend="files", method="tools/call", type="tool", capability_name="read_file", effects="read_only"
)
NOTHING = {
    "path": "/srv/data/reports/summary.txt",
    "encoding": "utf-8",
    "limit": 100,
    "note": "the quick brown fox",
}
SOMETHING = {
    "path": "/srv/data/reports/summary.txt",
    "password": "correct horse",
    "note": "write to bob@example.com",
}


def make(args: dict[str, Any]) -> Event:
    """Return an event of about 500 bytes of JSON."""
    return Event(
        timestamp=events.now(),
        event_type="mcp_operation",
        event_id=events.new_id(),
        source=SOURCE,
        target=TARGET,
        request=Request(request_id="5f0c2a6e", rpc_id="7", args=args),
        policy=Policy(decision="allow"),
        outcome=events.outcome("completed", 1.25),
    )


@contextmanager
def trail(durability: str) -> Iterator[Recorder]:
    """Open a trail in a fresh directory beside this checkout's temporary files, and remove it after."""
    directory = Path(tempfile.mkdtemp(prefix="indelible-bench-"))
    try:
        with indelible.open_trail(directory / "audit.jsonl", durability=durability) as recorder:
            yield recorder
    finally:
        shutil.rmtree(directory)


def thread_cpu(action: Callable[[Any], Any], values: list[Any]) -> float:
    """Return the CPU seconds on this thread that `action` takes for each of `values`."""
    started = time.thread_time()
    for value in values:
        action(value)
    return (time.thread_time() - started) / len(values)


def p99_wall(action: Callable[[Any], Any], values: list[Any]) -> float:
    """Return the 99th percentile of the wall seconds that `action` takes for each of `values`."""
    walls = []
    for value in values:
        started = time.perf_counter()
        action(value)
        walls.append(time.perf_counter() - started)
    return statistics.quantiles(walls, n=100)[98]


def caller_cost(report: Report) -> None:
    """CPU of the caller's thread for one `record`, and its wall time at the 99th percentile, against json.dumps."""
    for what, args, goal in (("nothing to redact", NOTHING, 2.5), ("something to redact", SOMETHING, 5.0)):
        ratios, costs, floors, tails, busy = [], [], [], [], []
        with trail("process") as recorder:
            plain = msgspec.to_builtins(make(args))
            for _ in range(ROUNDS):
                floor = thread_cpu(json.dumps, [plain] * EVENTS)
                cost = thread_cpu(recorder.record, [make(args) for _ in range(EVENTS)])
                ratios.append(cost / floor)
                costs.append(cost)
                floors.append(floor)
                tails.append(p99_wall(recorder.record, [make(args) for _ in range(EVENTS)]) / floor)
                busy.append(p99_wall(json.dumps, [plain] * EVENTS) / floor)
        size = len(json.dumps(plain))
        report.add(f"record, {what} ({size} B): µs on the caller's thread", 1e6 * statistics.median(costs))
        report.add("  json.dumps of it, µs", 1e6 * statistics.median(floors))
        report.add("  ratio", statistics.median(ratios), Goal.at_most(goal))
        report.add("  p99 of the wall time, in json.dumps", statistics.median(tails), Goal.at_most(15))
        report.add("  the same of json.dumps itself: 1 or 2 on a quiet machine", statistics.median(busy))


@contextmanager
def bare_loop() -> Iterator[Callable[[], object]]:
    """Give what writes a 500-byte line and has it on the disk when it returns."""
    directory = Path(tempfile.mkdtemp(prefix="indelible-bench-"))
    fd = os.open(directory / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    line = b"x" * 499 + b"\n"

    def step() -> None:
        os.write(fd, line)
        os.fdatasync(fd)

    try:
        yield step
    finally:
        os.close(fd)
        shutil.rmtree(directory)


def seconds(step: Callable[[], object], count: int) -> float:
    """Return the wall seconds of so many steps in sequence."""
    started = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - started


def lone_rates(recorder: Recorder) -> tuple[float, float]:
    """Return the rates of a bare loop and of one caller in sequence, taken in turn."""
    with bare_loop() as bare:
        steps = (bare, lambda: recorder.record(make(NOTHING)))
        for step in steps:  # what a start does beside the first events is measured elsewhere
            seconds(step, SLICE)
        taken = [tuple(seconds(step, SLICE) for step in steps) for _ in range(SLICES)]
    floor, lone = map(sum, zip(*taken, strict=True))
    return SLICES * SLICE / floor, SLICES * SLICE / lone


def outstanding_rate(recorder: Recorder, count: int) -> float:
    """Return the rate with 512 events on their way at any time."""

    async def worker(number: int) -> None:
        for _ in range(number):
            await recorder.arecord(make(NOTHING))

    async def main() -> float:
        started = time.perf_counter()
        await asyncio.gather(*(worker(count // OUTSTANDING) for _ in range(OUTSTANDING)))
        return count / (time.perf_counter() - started)

    return asyncio.run(main())


def disk(report: Report) -> None:
    """`disk` durability, alone and with 512 outstanding, against the bare loop and against `memory`."""
    bare, lone, many, memory = [], [], [], []
    for _ in range(5):
        with trail("disk") as recorder:
            floor, rate = lone_rates(recorder)
            bare.append(floor)
            lone.append(rate)
            many.append(outstanding_rate(recorder, 20 * OUTSTANDING))
        with trail("memory") as recorder:
            memory.append(outstanding_rate(recorder, 20 * OUTSTANDING))
    of_bare = statistics.median(rate / floor for rate, floor in zip(many, bare, strict=True))
    of_memory = statistics.median(rate / top for rate, top in zip(many, memory, strict=True))
    report.add("bare write+fdatasync, events/s", statistics.median(bare))
    report.add("disk, one caller in sequence, events/s", statistics.median(lone))
    report.add(
        "  of the bare loop",
        statistics.median(rate / floor for rate, floor in zip(lone, bare, strict=True)),
        Goal.at_least(0.5),
    )
    report.add("disk, 512 outstanding, events/s", statistics.median(many))
    report.add("memory, 512 outstanding, events/s", statistics.median(memory))
    report.add("  disk of the bare loop (times)", of_bare)
    report.add("  disk of memory", of_memory)
    report.add(
        "  the easier of 12 times the bare loop and 60 % of memory",
        max(of_bare / 12, of_memory / 0.6),
        Goal.at_least(1),
    )


def main() -> int:
    """Measure, print, and tell whether the goals are met."""
    report = Report("recording")
    caller_cost(report)
    disk(report)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
