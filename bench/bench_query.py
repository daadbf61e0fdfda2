"""How fast the trail answers: `python -m bench.bench_query [--json FILE] [--events N,N] [--trails DIR]`.

Whole processes, warm, medians, on calls in files as a writer rotates them, every second closed one compressed: what
`indelible` takes beside ripgrep, jq and DuckDB on the same lines in one plain file. Then the same in what is already
up: a shell, and `indelible mcp`, which records each of its answers into the trail that it is asked about. What twins
cost in bytes, and how fast they are made; and recording beside a process that makes them.

With several numbers of events the questions are the same, of as many lines each: what is asked grows no further. What
is held against ripgrep is measured in turn with it; jq and DuckDB on the lines, which read them all, and the making of
twins are measured of the first number alone, whose seconds are the goals'.
"""

from __future__ import annotations

import compileall
import json
import os
import pty
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psutil

from bench import many_calls
from bench.report import Goal, Report
from indelible.trail.entry import line_recorded_at
from indelible.trail.files import oldest_first, open_file
from indelible.trail.layout import Layout

EVENTS: Final = 2_000_000
ROUNDS: Final = 7
TURNS: Final = 200
"""Pairs of turns of recording, a tenth of a second each: rounds of whole programs differ by more than what is asked."""
WARM_TURNS: Final = 4
RECORDED: Final = 2_000
"""Events of one turn; all together are three closed files of lines."""

ROOT: Final = Path(__file__).resolve().parents[1]
PATIENCE_S: Final = 600.0
INDELIBLE: Final = [sys.executable, "-m", "indelible"]

COUNT: Final = ["--tool", "delete_file", "--status", "error"]
P95: Final = "SELECT name, count(*) AS calls, quantile_cont(duration_ms, 0.95) AS p95 FROM logs GROUP BY name"
RG: Final = '"capability_name":"delete_file".*"status":"error"'
NEEDED: Final = ("rg", "jq")

MEASURED: Final = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A process that is started takes over the peak memory of the one that starts it: this one's is small."""


def once(args: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory."""
    run = subprocess.run([sys.executable, "-c", MEASURED, *args], check=True, capture_output=True, text=True)
    seconds, peak = map(float, run.stdout.split())
    return seconds, peak


class Timed:
    """Median seconds and peak memory of one command."""

    def __init__(self, args: list[str], rounds: int = ROUNDS) -> None:
        figures = [once(args) for _ in range(rounds)]
        self.seconds = statistics.median(seconds for seconds, _ in figures)
        self.peak = max(peak for _, peak in figures)


class Beside:
    """Median seconds of ripgrep's count and of ours, taken in turn, and the median of each pair's ratio.

    `of_quickest` is our median beside ripgrep's least, which says less of how the page cache holds the file.
    """

    def __init__(self, flat: Path, ours: Callable[[], float]) -> None:
        pairs = []
        for _ in range(ROUNDS + 1):  # the first is warm only after it
            rg, _ = once(["rg", "-c", RG, str(flat)])
            pairs.append((rg, ours()))
        self.rg = statistics.median(rg for rg, _ in pairs[1:])
        self.seconds = statistics.median(seconds for _, seconds in pairs[1:])
        self.ratio = statistics.median(seconds / rg for rg, seconds in pairs[1:])
        self.of_quickest = self.seconds / min(rg for rg, _ in pairs)


class Shell:
    """`indelible sql` on a terminal of its own."""

    PROMPT: Final = b"indelible> "

    def __init__(self, path: Path) -> None:
        self._terminal, slave = pty.openpty()
        command = [*INDELIBLE, "sql", "--json", "--trail", str(path)]
        environment = {**os.environ, "TERM": "dumb", "XDG_STATE_HOME": str(path.parent)}
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, env=environment
        )
        os.close(slave)
        self._until_prompt()

    def seconds(self, sql: str) -> float:
        """Return how long a query takes, from its last key to the next prompt."""
        started = time.perf_counter()
        os.write(self._terminal, sql.encode() + b";\n")
        self._until_prompt()
        return time.perf_counter() - started

    def _until_prompt(self) -> None:
        seen = b""
        while not seen.endswith(self.PROMPT):
            seen += os.read(self._terminal, 65_536)

    def close(self) -> None:
        os.close(self._terminal)
        self._process.wait(PATIENCE_S)


class Agent:
    """A client of `indelible mcp` over its pipes."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [*INDELIBLE, "mcp", "--trail", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_CONFIG_HOME": str(path.parent), "XDG_STATE_HOME": str(path.parent)},
        )
        self._id = 0
        info = {"name": "bench", "version": "1"}
        self._ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=info)
        self._tell({"method": "notifications/initialized"})

    def count(self, wanted: dict[str, list[str]]) -> int:
        """Return how many calls match."""
        found = self._ask("tools/call", name="statistics", arguments=wanted)["structuredContent"]
        return int(found["rows"][0][0])

    def seconds(self, wanted: dict[str, list[str]]) -> float:
        """Return how long that takes, from the request to its answer."""
        started = time.perf_counter()
        self.count(wanted)
        return time.perf_counter() - started

    def _ask(self, method: str, **params: object) -> dict[str, Any]:
        self._id += 1
        self._tell({"id": self._id, "method": method, "params": params})
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("id") == self._id:
                result: dict[str, Any] = message["result"]
                return result
        raise EOFError("indelible mcp has ended")

    def _tell(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)


def plain(path: Path) -> Path:
    """Return all lines of a trail in one plain file."""
    flat = path.with_name("flat.jsonl")
    with flat.open("wb") as target:
        for one in oldest_first(Layout(path)):
            with open_file(one) as source:
                shutil.copyfileobj(source, target, 1 << 20)
    return flat


def questions(report: Report, path: Path, flat: Path, session: str, *, beside_others: bool) -> None:
    """Measure each question."""
    trail = ["--trail", str(path)]
    duckdb = _DUCKDB.replace("FILE", str(flat))
    peaks: list[float] = []

    def counted() -> float:
        seconds, peak = once([*INDELIBLE, "log", *COUNT, "--count", *trail])
        peaks.append(peak)
        return seconds

    def ours(name: str, args: list[str], goal: float) -> None:
        timed = Timed([*INDELIBLE, *args, *trail])
        peaks.append(timed.peak)
        report.add(name, timed.seconds, Goal.at_most(goal) if beside_others else None)

    count = Beside(flat, counted)
    report.add("tool and status, counted: rg -c, s", count.rg)
    if beside_others:
        report.add("  jq, s", Timed(["jq", "-c", _JQ, str(flat)], rounds=1).seconds)
        report.add("  DuckDB on the JSON lines, s", Timed([sys.executable, "-c", duckdb], rounds=3).seconds)
    report.add("  log --tool --status --count, s", count.seconds)
    report.add("  of rg's", count.ratio, Goal.at_most(2))
    since = ten_minutes(flat)
    ours("log --since: the last 10m, all, s", ["log", "--since", since, "-n", "0", "--json"], 0.3)
    ours("sql, p95 of each tool, s", ["sql", P95], 0.4)
    ours("log --session, in full, s", ["log", "--session", session, "-n", "0", "--json"], 0.3)
    report.add("peak memory of these, MB", max(peaks) / 1e6, Goal.at_most(500))


def ten_minutes(flat: Path) -> str:
    """Return when the last ten minutes of a trail began: a large one takes longer than that to be made.

    Of the calls that it was made of, not of what those who asked it have recorded since.
    """
    with flat.open("rb") as lines:
        lines.seek(-(1 << 16), os.SEEK_END)
        recorded_at = line_recorded_at(lines.read().splitlines()[-1])
    assert recorded_at is not None
    return (datetime.fromisoformat(recorded_at) - timedelta(minutes=10)).isoformat()


_DUCKDB: Final = """
import duckdb
columns = "{target: 'JSON', outcome: 'JSON'}"
lines = f"read_json('FILE', columns={columns}, format='newline_delimited', maximum_object_size=300000)"
wanted = "target->>'capability_name' = 'delete_file' AND outcome->>'status' = 'error'"
print(duckdb.sql(f"SELECT count(*) FROM {lines} WHERE {wanted}").fetchall())
"""
_JQ: Final = 'select(.target.capability_name == "delete_file" and .outcome.status == "error") | .seq'


def already_up(report: Report, path: Path, flat: Path) -> None:
    """Measure the count in a shell and a server that have answered it before."""
    shell = Shell(path)
    sql = "SELECT count(*) AS count FROM logs WHERE name = 'delete_file' AND status = 'error'"
    shell.seconds(sql)
    count = Beside(flat, lambda: shell.seconds(sql))
    shell.close()
    of_ripgrep(report, "a shell that is up", count)
    agent = Agent(path)
    wanted = {"tool": ["delete_file"], "status": ["error"]}
    lines = int(subprocess.run(["rg", "-c", RG, str(flat)], check=True, capture_output=True).stdout)
    assert agent.count(wanted) == lines
    count = Beside(flat, lambda: agent.seconds(wanted))
    agent.close()
    of_ripgrep(report, "`mcp`, which records each answer", count)


def of_ripgrep(report: Report, where: str, count: Beside) -> None:
    """Report the count in something that is up."""
    report.add(f"the count in {where}, s", count.seconds)
    report.add("  of rg's", count.ratio, Goal.at_most(0.2))
    report.add("  of rg's quickest", count.of_quickest, Goal.at_most(0.2))


def twins(report: Report, path: Path, flat: Path, *, anew: bool) -> None:
    """Measure what twins take."""
    made = Timed([*INDELIBLE, "twins", *(["--rebuild"] if anew else []), "--trail", str(path)], rounds=1)
    size = sum(twin.stat().st_size for twin in (path.parent / f"{path.name}.d" / "twins").iterdir())
    report.add("twins: their size, % of the lines", 100 * size / flat.stat().st_size, Goal.at_most(15))
    if anew:
        report.add("  made, MB of lines a second", flat.stat().st_size / 1e6 / made.seconds)
        report.add("  peak memory, MB", made.peak / 1e6, Goal.at_most(500))


RECORD: Final = """
import random, sys, time
import indelible
from bench.many_calls import call
trail, config, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
chance = random.Random(0)
events = [call(chance, number, time.time_ns()) for number in range(20_000)]
with indelible.open_trail(trail, config=config) as recorder:
    print(flush=True)
    at = 0
    for _ in sys.stdin:
        started = time.perf_counter()
        for number in range(at, at + count):
            recorder.record(events[number % len(events)])
        print(time.perf_counter() - started, flush=True)
        at += count
"""


class Recording:
    """A process that records at full speed, and all that it starts: they run while it is their turn, and never else."""

    def __init__(self, folder: Path, twins: str) -> None:
        self._place = folder / twins
        self._place.mkdir()
        config = self._place / "indelible.yaml"
        config.write_text(f"audit: {{twins: {twins}, on_failure: deny}}\n")
        args = [str(self._place / "audit.jsonl"), str(config), str(RECORDED)]
        self._process = psutil.Popen(
            [sys.executable, "-c", RECORD, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._process.stdout.readline()
        self._stop()

    def turn(self) -> float:
        """Return how long it takes to record so many events."""
        for one in [*self._children(), self._process]:
            with suppress(psutil.NoSuchProcess):
                one.resume()
        print(file=self._process.stdin, flush=True)
        seconds = float(self._process.stdout.readline())
        self._stop()
        return seconds

    def _stop(self) -> None:
        self._process.suspend()  # first: it starts none meanwhile
        for one in self._children():
            with suppress(psutil.NoSuchProcess):
                one.suspend()

    def _children(self) -> list[psutil.Process]:
        found: list[psutil.Process] = self._process.children(recursive=True)
        return found

    def close(self) -> int:
        """End it; return how many twins there are."""
        made = len(list((self._place / "audit.jsonl.d").glob("twins/*.parquet")))
        for one in [*self._children(), self._process]:
            with suppress(psutil.NoSuchProcess):
                one.resume()
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        return made


def recording(report: Report, folder: Path) -> None:
    """Measure recording with and without a child that makes twins beside it, turn by turn.

    Whole programs take turns, each with all that it has in the background, and the other one stands still: what else
    the machine does meets both alike. Neither of the two is always the first.
    """
    both = {mode: Recording(folder, mode) for mode in ("auto", "off")}
    turns: dict[str, list[float]] = {mode: [] for mode in both}
    for number in range(WARM_TURNS + TURNS):
        for mode in sorted(both, reverse=number % 2 == 1):
            turns[mode].append(both[mode].turn())
    made = {mode: one.close() for mode, one in both.items()}
    on, off = turns["auto"][WARM_TURNS:], turns["off"][WARM_TURNS:]
    ratio = statistics.median(one / other for one, other in zip(on, off, strict=True))
    report.add("recording at full speed: seconds beside those without twins", ratio, Goal.at_most(1.05))
    report.add("  of all turns together", sum(on) / sum(off))
    report.add("  twins made meanwhile (0: the machine had nothing left over)", made["auto"])


@contextmanager
def trail_of(events: int, trails: str | None) -> Iterator[tuple[Path, Path]]:
    """Give a trail of so many events, and all its lines in one plain file; in `trails` both are kept."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(trails or folder) / str(events) / "audit.jsonl"
        if not path.exists():
            path.parent.mkdir(parents=True)
            subprocess.run([sys.executable, "-m", "bench.many_calls", str(path), str(events)], check=True)
        flat = path.with_name("flat.jsonl")
        yield path, flat if flat.exists() else plain(path)


def main() -> int:
    report = Report(
        "asking the trail",
        events="how many events, such as 2000000,20000000",
        trails="a directory for the trails, which are used again; without it they are made each time",
    )
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        print(f"needs {', '.join(missing)}: apt-get install ripgrep jq", file=sys.stderr)
        return 3
    compileall.compile_dir(ROOT / "src" / "indelible", quiet=1)  # as it is where it is installed
    with tempfile.TemporaryDirectory() as folder:
        recording(report, Path(folder))
    for number, events in enumerate(map(int, (report.said.events or str(EVENTS)).split(","))):
        with trail_of(events, report.said.trails) as (path, flat):
            report.add(f"events: {events:,}; lines, MB", flat.stat().st_size / 1e6)
            twins(report, path, flat, anew=not number)
            questions(report, path, flat, many_calls.session(events // 2), beside_others=not number)
            already_up(report, path, flat)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
