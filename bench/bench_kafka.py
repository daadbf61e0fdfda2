"""How fast a Kafka sink catches up, and what it costs: `python -m bench.bench_kafka [--json FILE]`.

- `indelible ship --once` of a backlog to a real broker, acks=all, zstd, beside a bare loop that gives the same lines to
  the same client with a callback each: without headers, and with the headers that the sink's records have. What a
  shipper takes that finds nothing to ship is taken off its time.
- Its peak memory, with a tenth of the backlog and with all of it.
- The slowest calls beside a shipper at full speed, which is started as a recorder starts it, stopped and let go on by
  turns.

The broker takes its share of the same processors, in all of them alike.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

import indelible
from bench.bench_record import NOTHING, make
from bench.bench_ship import CALLS, backlog, begun, pair, turn
from bench.report import Goal, Report
from tests import brokers

EVENTS = 400_000
ROUNDS = 5
TURNS = 48
"""Pairs of turns of calls: the slowest of a turn are few, so that one pair says little."""
PARTITIONS = 4
ORIGIN = b"indelible/00112233445566778899aabbccddeeff"
topics = (f"bench-{number}" for number in itertools.count())


class Shipping:
    """`indelible ship` of one Kafka sink, in a process."""

    def __init__(self, place: Path, broker: brokers.Broker, *options: str, anew: bool = True) -> None:
        cursors = place / "audit.jsonl.d" / "cursors"
        if anew:
            shutil.rmtree(cursors, ignore_errors=True)
            self.topic = broker.topic(next(topics), PARTITIONS)
            (place / "ship.yaml").write_text(
                f"audit:\n  path: {place / 'audit.jsonl'}\n  ship: off\n  sinks:\n    - {{type: kafka, name: k, "
                f"brokers: ['{broker.address()}'], topic: {self.topic}, start: beginning, flush_interval: 0}}\n"
            )
        self.cursor = cursors / "k.json"
        command = [sys.executable, "-P", "-m", "indelible", "ship", "-c", str(place / "ship.yaml"), *options]
        self.process = begun(command)

    def end(self) -> int:
        """Wait for it; return its peak memory in bytes."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            sys.exit(f"bench_kafka: the shipper ended with {self.process.returncode}")
        return usage.ru_maxrss * 1024

    def stop(self) -> None:
        """End it before it has everything."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(60)


def shipped(place: Path, broker: brokers.Broker) -> tuple[float, int]:
    """Return the seconds that a sink takes to catch up, and the peak memory of its shipper."""
    started = time.perf_counter()
    peak = Shipping(place, broker, "--once").end()
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    Shipping(place, broker, "--once", anew=False).end()
    return seconds - (time.perf_counter() - started), peak


def bare(place: Path, broker: brokers.Broker, *, headers: bool) -> tuple[float, int]:
    """Return the seconds that a loop takes to send all lines, and how many there are."""
    producer = Producer({
        "bootstrap.servers": broker.address(), "acks": "all", "enable.idempotence": True, "linger.ms": 5,
        "compression.type": "zstd", "partitioner": "murmur2_random", "log_level": 0,
    })  # fmt: skip
    topic = broker.topic(next(topics), PARTITIONS)
    producer.list_topics(topic, timeout=30)
    count, failed = 0, []

    def told(error: Any, _message: object) -> None:
        nonlocal count
        count += 1
        if error is not None:
            failed.append(error)

    send = partial(producer.produce, topic, key="s1", on_delivery=told)
    started = time.perf_counter()
    with (place / "audit.jsonl").open("rb") as source:
        for number, line in enumerate(source):
            extra: dict[str, Any] = {"headers": _headers(number)} if headers else {}
            while True:
                try:
                    send(value=line[:-1], **extra)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
    producer.flush()
    seconds = time.perf_counter() - started
    if failed:
        sys.exit(f"bench_kafka: {failed[0]}")
    return seconds, count


def _headers(number: int) -> list[tuple[str, bytes]]:
    return [
        ("event_id", b"00000000-0000-4000-8000-%012d" % number), ("seq", b"%d" % number), ("origin", ORIGIN),
        ("schema", b"1"),
    ]  # fmt: skip


def catching_up(report: Report, broker: brokers.Broker) -> None:
    """A backlog to a topic."""
    with backlog(EVENTS // 10) as place:
        few = statistics.median(shipped(place, broker)[1] for _ in range(ROUNDS))
    rows: list[tuple[float, float, float]] = []
    with backlog(EVENTS) as place:
        # Before a bare loop fills this process: whoever is started takes over the peak of who starts it.
        peak = statistics.median(shipped(place, broker)[1] for _ in range(ROUNDS))
        for _ in range(ROUNDS):
            loop, count = bare(place, broker, headers=False)
            alike, _ = bare(place, broker, headers=True)
            ours, _ = shipped(place, broker)
            rows.append((count / loop, count / alike, count / ours))
    loops, alikes, rates = zip(*rows, strict=True)
    report.add(f"a Kafka sink catches up {EVENTS:,} events, lines/s", statistics.median(rates))
    report.add("  a bare loop with callbacks, lines/s", statistics.median(loops))
    report.add("  the same with the sink's headers, lines/s", statistics.median(alikes))
    report.add(
        "  of the bare loop", statistics.median(one / other for one, other in zip(rates, loops, strict=True)),
        Goal.at_least(0.5),
    )  # fmt: skip
    report.add(
        "  of the one with headers",
        statistics.median(one / other for one, other in zip(rates, alikes, strict=True)),
    )
    report.add("  peak memory of the shipper, MB", peak / (1 << 20))
    report.add("  of that with a tenth of the backlog (times)", peak / few, Goal.at_most(1.2))


def beside(report: Report, broker: brokers.Broker) -> None:
    """Recording while a shipper of the same trail catches up, and while it is stopped."""
    worst: list[float] = []
    with backlog(EVENTS) as place:
        (place / "record.yaml").write_text("audit: {max_size_mb: 100000}\n")
        with indelible.open_trail(place / "audit.jsonl", config=place / "record.yaml") as recorder:
            for _ in range(CALLS):
                recorder.record(make(NOTHING))
            for _ in range(TURNS // 4):
                shipping = Shipping(place, broker, "--attached")
                while not shipping.cursor.exists():
                    time.sleep(0.01)
                turn(recorder, shipping, ships=True)  # after a pause there is nothing to seal for a while
                for _ in range(4):
                    (_, beside_it), (_, alone) = pair(recorder, shipping)
                    worst.append(beside_it / alone)
                shipping.stop()
    report.add("p99 of calls beside it, of without (times)", statistics.median(worst), Goal.at_most(1.1))


def main() -> int:
    """Measure, print, and tell whether the goals are met."""
    report = Report("shipping to Kafka")
    folder = Path(tempfile.mkdtemp(prefix="indelible-bench-"))
    try:
        with brokers.running(folder) as broker:
            catching_up(report, broker)
            beside(report, broker)
    finally:
        shutil.rmtree(folder)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
