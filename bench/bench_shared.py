"""What it costs that several processes write one trail: `python -m bench.bench_shared [--only PART] [--json FILE]`.

Producers are processes of their own, also the lone one; one of the four holds the trail. Each ratio compares two things
measured next to each other in one round. A trail of a million events is opened with its lines in the page cache, and in
one file: that is the most that a start may have to look through.
"""

from __future__ import annotations

import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import indelible
from bench import big_trail
from bench.bench_record import NOTHING, make, trail
from bench.report import Goal, Report
from bench.sharing import ANSWER, MESSAGE
from indelible.recorder import Recorder
from indelible.trail.layout import Layout

ROUNDS = 5
OUTSTANDING = 512
PRODUCERS = 4
PER_ROUND = 160 * OUTSTANDING
CALLS = 2000
EVENTS = 1_000_000
LINE_BYTES = 500
TRAIL_BYTES = 540_000_000
CRASH_CALLS = 1500
"""Calls before a crash: with their intents about as many events as may lie beyond a checkpoint."""


@contextmanager
def folder() -> Iterator[Path]:
    """Make a directory, and remove it after."""
    path = Path(tempfile.mkdtemp(prefix="indelible-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


class Other:
    """Another process, ready to do what it is for."""

    def __init__(self, *args: object) -> None:
        """Start it, and wait until it is ready."""
        command = [sys.executable, "-m", "bench.sharing", *map(str, args)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.said() != "ready":
            sys.exit(f"bench_shared: {args[0]} did not start")

    def said(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def __enter__(self) -> Other:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


# --- four processes against one -----------------------------------------------------------------------------


class Run(NamedTuple):
    """What so many processes came to together."""

    rate: float
    """Acknowledged events a second, from the first start to the last end."""
    served_s: float
    """CPU seconds of the holder's thread that serves the others, for each of their events."""


def run(producers: int) -> Run:
    """Record from so many processes; the first one holds the trail."""
    with folder() as place, ExitStack() as stack:
        about = ("produce", place / "audit.jsonl", PER_ROUND // producers, OUTSTANDING // producers)
        others = [stack.enter_context(Other(*about)) for _ in range(producers)]
        for other in others:
            other.tell()
        times = [[float(word) for word in other.said().split()] for other in others]
    theirs = PER_ROUND - PER_ROUND // producers
    seconds = max(end for _, end, _ in times) - min(start for start, _, _ in times)
    return Run(PER_ROUND / seconds, times[0][2] / max(1, theirs))


def rate_through() -> float:
    """Return the same of four processes that record through a service, which checks all of it again."""
    with folder() as place, ExitStack() as stack:
        stack.enter_context(Other("serve", place / "audit.jsonl"))
        about = ("through", place / "audit.jsonl.sock", PER_ROUND // PRODUCERS, OUTSTANDING // PRODUCERS)
        others = [stack.enter_context(Other(*about)) for _ in range(PRODUCERS)]
        for other in others:
            other.tell()
        times = [[float(word) for word in other.said().split()] for other in others]
    return PER_ROUND / (max(end for _, end, _ in times) - min(start for start, _, _ in times))


def throughput(report: Report) -> None:
    """`disk`: four processes with 128 events outstanding each against one with 512."""
    one, four, busy = [], [], []
    for _ in range(ROUNDS):
        one.append(run(1).rate)
        many, served_s = run(PRODUCERS)
        four.append(many)
        busy.append(served_s)
    each = OUTSTANDING // PRODUCERS
    report.add(f"disk, one process, {OUTSTANDING} outstanding, events/s", statistics.median(one))
    report.add(f"disk, {PRODUCERS} processes, {each} outstanding each, events/s", statistics.median(four))
    ratios = [many / alone for many, alone in zip(four, one, strict=True)]
    report.add("  of one process (times)", statistics.median(ratios), Goal.at_least(1.0))
    report.add("  CPU of the holder's thread for an event of another, µs", 1e6 * statistics.median(busy))


def service(report: Report) -> None:
    """The same four through `indelible record`, which checks all of it again, against one without."""
    one, served = [], []
    for _ in range(ROUNDS):
        one.append(run(1).rate)
        served.append(rate_through())
    report.add(f"disk, {PRODUCERS} processes through `record`, events/s", statistics.median(served))
    ratios = [many / alone for many, alone in zip(served, one, strict=True)]
    report.add("  of one process (times)", statistics.median(ratios), Goal.at_least(0.4))


# --- one caller through the socket --------------------------------------------------------------------------


def each(action: Callable[[], object]) -> float:
    """Return the median seconds that one of many in sequence takes."""
    walls = []
    for _ in range(CALLS):
        started = time.perf_counter()
        action()
        walls.append(time.perf_counter() - started)
    return statistics.median(walls)


def recording(recorder: Recorder) -> float:
    """Return the median seconds of one `record`."""
    events = iter([make(NOTHING) for _ in range(CALLS)])
    return each(lambda: recorder.record(next(events)))


@contextmanager
def bare(place: Path) -> Iterator[Callable[[], object]]:
    """Give a round trip between two processes that does nothing."""
    path = str(place / "bare.sock")
    with Other("answer", path), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        message = bytes(MESSAGE)

        def trip() -> None:
            sock.sendall(message)
            left = ANSWER
            while left:
                left -= len(sock.recv(left))

        yield trip


def latency(report: Report) -> None:
    """`process`: a lone caller through the socket, against one that holds the trail itself."""
    through, within, floors = [], [], []
    with folder() as place, ExitStack() as stack:
        stack.enter_context(Other("hold", place / "audit.jsonl"))
        theirs = stack.enter_context(indelible.open_trail(place / "audit.jsonl", durability="process"))
        own = stack.enter_context(trail("process"))
        trip = stack.enter_context(bare(place))
        for _ in range(ROUNDS):
            within.append(recording(own))
            through.append(recording(theirs))
            floors.append(each(trip))
    report.add("process, one caller that holds the trail: µs at the median", 1e6 * statistics.median(within))
    report.add("process, one caller through the socket: µs at the median", 1e6 * statistics.median(through))
    pairs = list(zip(through, within, floors, strict=True))
    report.add("  of the holder's own (times)", statistics.median(a / b for a, b, _ in pairs), Goal.at_most(12))
    report.add(f"  a bare round trip of {MESSAGE} bytes, µs", 1e6 * statistics.median(floors))
    report.add("  through the socket, in bare round trips", statistics.median(a / c for a, _, c in pairs))


# --- opening ------------------------------------------------------------------------------------------------


def opened(path: Path) -> float:
    """Return the seconds until a trail can be written."""
    started = time.perf_counter()
    recorder = indelible.open_trail(path, durability="process", config=path.with_suffix(".yaml"))
    seconds = time.perf_counter() - started
    recorder.close()
    return seconds


def crash(path: Path) -> None:
    """Let a process write, and die of kill -9."""
    command = [sys.executable, "-m", "bench.sharing", "die", str(path), str(CRASH_CALLS)]
    if subprocess.run(command, check=False).returncode != -signal.SIGKILL:
        sys.exit("bench_shared: no crash")


def opening(report: Report) -> None:
    """A large trail is opened for writing, after a clean close and after kill -9."""
    clean, crashed, between = [], [], []
    with folder() as place:
        path = place / "audit.jsonl"
        path.with_suffix(".yaml").write_text("audit: {max_size_mb: 100000}\n")
        count = big_trail.write(path, TRAIL_BYTES, line_bytes=LINE_BYTES, seal=True)
        assert count >= EVENTS, count
        first = opened(path)
        for _ in range(ROUNDS):
            clean.append(opened(path))
        for _ in range(ROUNDS):
            crash(path)
            crashed.append(opened(path))
        hint = Layout(path).state
        for _ in range(ROUNDS):
            before = hint.read_bytes()
            crash(path)
            hint.write_bytes(before)
            between.append(opened(path))
    report.add(
        f"opening a trail of {count:,} events after a clean close, ms",
        1e3 * statistics.median(clean),
        Goal.at_most(200),
    )
    report.add("  after kill -9, ms", 1e3 * statistics.median(crashed), Goal.at_most(2000))
    report.add(
        "  after kill -9 between a checkpoint and its hint, ms",
        1e3 * statistics.median(between),
        Goal.at_most(2000),
    )
    report.add("  without any hint, ms", 1e3 * first)


PARTS: dict[str, Callable[[Report], None]] = {
    "throughput": throughput,
    "service": service,
    "latency": latency,
    "opening": opening,
}


def main() -> int:
    """Measure, print, and tell whether the goals are met."""
    report = Report("one trail, several writers", only=f"measure this alone: {', '.join(PARTS)}")
    chosen = report.said.only
    if chosen not in (None, *PARTS):
        sys.exit(f"bench_shared: no such part: {chosen}; there are {', '.join(PARTS)}")
    for part in PARTS.values() if chosen is None else [PARTS[chosen]]:
        part(report)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
