"""How fast the commands answer: `python -m bench.bench_log [--json FILE]`.

Wall time of whole processes, start-up included, medians; a bare Python start stands beside them. The large trail has
1 GB of 500-byte lines in one file, in the page cache.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import big_trail
from bench.report import Goal, Report
from indelible.events import format_time

ROUNDS = 7
LARGE_BYTES = 1_000_000_000
LINE_BYTES = 500
INDELIBLE = [sys.executable, "-m", "indelible"]


def timed(args: list[str]) -> tuple[float, float]:
    """Return the median wall time (seconds) and the largest resident memory (MB) of a command."""
    seconds, memory = [], 0.0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        process = subprocess.Popen(args, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - started)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, args
        memory = max(memory, usage.ru_maxrss / 1024)
    return statistics.median(seconds), memory


def main() -> int:
    report = Report("the commands that read")
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.jsonl", Path(folder) / "large.jsonl"
        big_trail.write_apart(small, 100_000)
        big_trail.write_apart(large, LARGE_BYTES)
        events = LARGE_BYTES // LINE_BYTES
        late = format_time(big_trail.START_NS + (events - 5_000) * big_trail.STEP_NS)
        report.add("python -c pass, ms", timed([sys.executable, "-c", "pass"])[0] * 1000)
        report.add("indelible --help, ms", timed([*INDELIBLE, "--help"])[0] * 1000, Goal.at_most(200))
        seconds, memory = timed([*INDELIBLE, "log", "--trail", str(small)])
        report.add("log, small trail, ms", seconds * 1000, Goal.at_most(200))
        report.add("  resident memory, MB", memory)
        seconds, more = timed([*INDELIBLE, "log", "--trail", str(large), "-n", "50"])
        report.add("log -n 50, 1 GB, ms", seconds * 1000, Goal.at_most(300))
        report.add("  more memory than for the small trail, MB", more - memory, Goal.at_most(16))
        seconds, more = timed([*INDELIBLE, "log", "--trail", str(large), "-n", "0", "--since", late])
        report.add("log -n 0 --since, the end of 1 GB, ms", seconds * 1000)
        seconds, more = timed([*INDELIBLE, "status", "--trail", str(large)])
        report.add("status, 1 GB, ms", seconds * 1000)
        started = time.perf_counter()
        subprocess.run([*INDELIBLE, "log", "--trail", str(large), "--user", "nobody"], check=True)
        report.add("log --user nobody, every line of 1 GB, s", time.perf_counter() - started)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
