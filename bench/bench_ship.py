"""What shipping costs, and how fast it is: `python -m bench.bench_ship [--json FILE]`.

- A file sink that catches up with a trail of a million events, beside a bare loop that reads and writes the same lines
  in pieces of the same size. The shipper's own time counts from its first line to its last.
- The shipper's peak memory, with a tenth of the backlog and with all of it.
- Recording, and its slowest calls, beside a shipper at full speed, which is started as a recorder starts it: it is
  stopped and let go on by turns, and each turn is held against the one next to it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import indelible
from bench import big_trail
from bench.bench_record import NOTHING, make
from bench.report import Goal, Report

EVENTS = 1_000_000
LINE_BYTES = 500
PIECE_BYTES = 1 << 20
"""The bare loop's: what a batch of the shipper's is."""

ROUNDS = 5
TURNS = 60
"""Pairs of turns; each is short enough that what else the machine does meets both alike."""

CALLS = 2_000
"""Recorded in one turn."""


def begun(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a shipper as a recorder does: in a session of its own, with a pipe whose end is its end."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


class Shipping:
    """`indelible ship` of one file sink, in a process."""

    def __init__(self, place: Path, *options: str, start: str = "beginning") -> None:
        """Start it on the trail in a directory."""
        self._out = place / "out.jsonl"
        config = place / "ship.yaml"
        config.write_text(
            f"audit:\n  path: {place / 'audit.jsonl'}\n  ship: off\n  sinks:\n"
            f"    - {{type: file, name: out, path: {self._out}, start: {start}, max_size_mb: 100000}}\n"
        )
        command = [sys.executable, "-P", "-m", "indelible", "ship", "-c", str(config), *options]
        self.process = begun(command)

    def size(self) -> int:
        """Return how many bytes the destination has."""
        try:
            return self._out.stat().st_size
        except FileNotFoundError:
            return 0

    def began(self) -> None:
        """Wait until the destination has something."""
        while not self.size():
            if self.process.poll() is not None:
                sys.exit("bench_ship: the shipper has ended")
            time.sleep(0.001)

    def end(self) -> int:
        """Wait for it, or end it; return its peak memory in bytes."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            sys.exit(f"bench_ship: the shipper ended with {self.process.returncode}")
        return usage.ru_maxrss * 1024


@contextmanager
def backlog(events: int) -> Iterator[Path]:
    """Give a directory with a sealed trail of so many events."""
    place = Path(tempfile.mkdtemp(prefix="indelible-bench-"))
    try:
        big_trail.write(place / "audit.jsonl", events * (LINE_BYTES + 40), line_bytes=LINE_BYTES, seal=True)
        yield place
    finally:
        shutil.rmtree(place)


def shipped(place: Path) -> tuple[float, int]:
    """Return the lines a second of a sink that catches up, and the peak memory of its shipper."""
    for old in place.glob("out.jsonl*"):
        old.unlink()
    shutil.rmtree(place / "audit.jsonl.d" / "cursors", ignore_errors=True)
    lines = sum(piece.count(b"\n") for piece in _pieces(place / "audit.jsonl"))
    shipping = Shipping(place, "--once")
    shipping.began()
    started = time.perf_counter()
    peak = shipping.end()
    return lines / (time.perf_counter() - started), peak


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as source:
        while piece := source.read(PIECE_BYTES):
            yield piece


def copied(place: Path) -> float:
    """Return the lines a second of a loop that reads each line of the trail and writes it, and syncs at the end."""
    count = 0
    copy = place / "copy"
    started = time.perf_counter()
    with (place / "audit.jsonl").open("rb") as source, copy.open("wb") as target:
        for line in source:
            target.write(line)
            count += 1
        target.flush()
        os.fdatasync(target.fileno())
    seconds = time.perf_counter() - started
    copy.unlink()
    return count / seconds


def catching_up(report: Report) -> None:
    """A million lines to a file."""
    with backlog(EVENTS // 10) as place:
        few = statistics.median(shipped(place)[1] for _ in range(ROUNDS))
    rates, bare, peaks = [], [], []
    with backlog(EVENTS) as place:
        for _ in range(ROUNDS):
            bare.append(copied(place))
            rate, peak = shipped(place)
            rates.append(rate)
            peaks.append(peak)
    ratios = [rate / copy for rate, copy in zip(rates, bare, strict=True)]
    report.add(f"a file sink catches up {EVENTS:,} events, lines/s", statistics.median(rates))
    report.add("  a bare loop over the same lines, lines/s", statistics.median(bare))
    report.add("  of the bare loop", statistics.median(ratios), Goal.at_least(0.25))
    report.add("  peak memory of the shipper, MB", statistics.median(peaks) / (1 << 20))
    report.add(
        "  of that with a tenth of the backlog (times)", statistics.median(peaks) / few, Goal.at_most(1.2)
    )


def beside(report: Report) -> None:
    """Recording while a shipper of the same trail catches up, and while it is stopped."""
    rates: list[float] = []
    worst: list[float] = []
    with backlog(EVENTS) as place:
        path = place / "audit.jsonl"
        config = place / "record.yaml"
        config.write_text("audit: {max_size_mb: 100000}\n")
        with indelible.open_trail(path, config=config) as recorder:
            for _ in range(CALLS):
                recorder.record(make(NOTHING))
            shipping: Shipping | None = None
            for _ in range(TURNS):
                if shipping is None or shipping.size() > 0.8 * path.stat().st_size:
                    shipping = _anew(place, shipping)
                    turn(recorder, shipping, ships=True)  # after a pause there is nothing to seal for a while
                beside_it, alone = pair(recorder, shipping)
                rates.append(alone[0] / beside_it[0])
                worst.append(beside_it[1] / alone[1])
            if shipping is not None:
                _over(shipping)
    report.add(
        "recording beside a shipper at full speed, of without", statistics.median(rates), Goal.at_least(0.9)
    )
    report.add("  p99 of the calls, of without (times)", statistics.median(worst), Goal.at_most(1.1))


def _anew(place: Path, before: Shipping | None) -> Shipping:
    """Begin once more at the beginning of the backlog."""
    if before is not None:
        _over(before)
    for old in place.glob("out.jsonl*"):
        old.unlink()
    shutil.rmtree(place / "audit.jsonl.d" / "cursors", ignore_errors=True)
    shipping = Shipping(place, "--attached")
    shipping.began()
    return shipping


def _over(shipping: Shipping) -> None:
    shipping.process.send_signal(signal.SIGCONT)
    shipping.process.terminate()
    shipping.process.wait(60)


def pair(recorder: indelible.Recorder, shipping: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return a turn beside the shipper and one without it.

    Which of them comes first is left to chance: in any fixed order the rhythm in which lines are sealed meets the one
    more often than the other.
    """
    found = {ships: turn(recorder, shipping, ships=ships) for ships in random.sample((True, False), 2)}
    return found[True], found[False]


def turn(recorder: indelible.Recorder, shipping: Any, *, ships: bool) -> tuple[float, float]:
    """Return the seconds that recording took, and the 99th percentile of a call."""
    shipping.process.send_signal(signal.SIGCONT if ships else signal.SIGSTOP)
    events = [make(NOTHING) for _ in range(CALLS)]
    walls = []
    for event in events:
        started = time.perf_counter()
        recorder.record(event)
        walls.append(time.perf_counter() - started)
    walls.sort()
    return sum(walls), walls[len(walls) * 99 // 100]


def main() -> int:
    """Measure, print, and tell whether the goals are met."""
    report = Report("shipping")
    catching_up(report)
    beside(report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
