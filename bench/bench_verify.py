"""How fast a trail is verified: `python -m bench.bench_verify [--json FILE]`.

CPU time of one thread, lines of 500 bytes, from the page cache; the bare floor beside it is one SHA-256 of each line
and one of each node, in the same round.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from bench import big_trail
from bench.report import Goal, Report
from indelible.formats.record import Options, Record
from indelible.query.held import HeldCheck
from indelible.query.sources.files import FileSource
from indelible.registry import make_format
from indelible.trail.checking.check import verify_trail

ROUNDS = 5
TRAIL_BYTES = 200_000_000
MB = 1e6


def floor(path: Path) -> float:
    """Return the CPU seconds that hashing alone takes."""
    lines = path.read_bytes().split(b"\n")
    started = time.process_time()
    for line in lines:
        sha256(line).digest()
    node = bytes(65)
    for _ in lines:
        sha256(node).digest()
    return time.process_time() - started


def verified(path: Path) -> float:
    """Return the CPU seconds of one verification."""
    started = time.process_time()
    result = verify_trail(path)
    seconds = time.process_time() - started
    assert result.ok, result.findings[:3]
    return seconds


def write_records(trail: Path, path: Path, name: str) -> None:
    """Write what a file sink of a format holds of a whole trail."""
    origin = trail.with_name(trail.name + ".d").joinpath("origin").read_text().strip()
    made = make_format(name, Options(host="host"))
    with trail.open("rb") as lines, path.open("wb") as file:
        for line in lines:
            file.write(made.render(Record(line[:-1], origin)) + b"\n")


def held(trail: Path, path: Path) -> tuple[float, int]:
    """Return the CPU seconds of one `verify --from`, and how many records it read."""
    source = FileSource(str(path))
    started = time.process_time()
    with HeldCheck([trail], [], str(path)) as check:
        for block in source.blocks():
            check.block(block)
        result = check.finish([source])
    seconds = time.process_time() - started
    assert result.ok, result.findings[:3]
    return seconds, check.read


def main() -> int:
    report = Report("verification")
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "audit.jsonl", Path(folder) / "small.jsonl"
        big_trail.write(small, 10_000_000, seal=True)
        verified(small)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        big_trail.write(path, TRAIL_BYTES, seal=True)
        size = path.stat().st_size
        seconds = [verified(path) for _ in range(ROUNDS)]
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        floors = [floor(path) for _ in range(ROUNDS)]
        lines = [held(path, path)[0] for _ in range(ROUNDS)]
        records = Path(folder) / "held.cef"
        write_records(small, records, "cef")
        rounds = [held(small, records) for _ in range(ROUNDS)]
    report.add("verify, MB/s", size / MB / statistics.median(seconds), Goal.at_least(150))
    report.add("verify, CPU over hashing alone", statistics.median(seconds) / statistics.median(floors))
    report.add("verify --from, lines, MB/s", size / MB / statistics.median(lines))
    each = statistics.median(seconds / count for seconds, count in rounds)
    report.add("verify --from, cef, records/s", 1 / each)
    report.add("resident memory, MB", after / 1024)
    report.add("  more than for a trail 20 times smaller, MB", (after - before) / 1024, Goal.at_most(16))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
