"""What `indelible wrap` costs, against the same child without it: ``python bench/bench_wrap.py [--json FILE]``.

The client encodes each call and parses each answer with the standard library's json, as every client must in some
way (15 µs of its own); `--client raw` writes and reads prepared bytes instead, which shows the cost of the pipes
alone. The processes run where the system lets them, as a user's do; with `--cpus one` they share one processor, where
the child answers in a quarter of the time and whatever stands before it takes turns with it. A compiled tap that
records nothing (`bare_tap.c`) stands beside: nobody can do better than that. Everything is measured in turn and
reported as medians of `--runs` (at least 5): calls a second in sequence (one call outstanding), the latency added at
the median, the resident memory of the tap, and by how much later the first answer comes, without and with a
configuration file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INDELIBLE = [sys.executable, "-c", "import sys; from indelible.cli import main; sys.exit(main())"]
LIMITS = {"look": 0.35, "act": 0.25, "added_us": 80.0, "rss_mb": 50.0, "first_ms": 80.0}


def build(directory: Path, name: str = "fast_child") -> Path:
    """Compile a program of this directory."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        sys.exit("bench_wrap: no C compiler (cc) found")
    program = directory / name
    subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c")], check=True)
    return program


class Server:
    """A server at the other end of two pipes, with what is needed to call it in sequence."""

    def __init__(self, command: list[str], environment: dict[str, str], cwd: Path) -> None:
        """Start it."""
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=cwd, bufsize=0
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to = self.process.stdin.fileno()
        self._from = self.process.stdout.fileno()

    def ask(self, line: bytes) -> bytes:
        """Write one line, return the line that answers it."""
        os.write(self._to, line)
        answer = os.read(self._from, 65536)
        while not answer.endswith(b"\n"):
            more = os.read(self._from, 65536)
            if not more:
                sys.exit("bench_wrap: the server closed its output")
            answer += more
        return answer

    def greet(self) -> float:
        """Initialize; return the seconds from the start to the first answer."""
        params = (
            b'{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}'
        )
        self.ask(b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":%b}\n' % params)
        first = time.perf_counter() - self.started
        os.write(self._to, b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        self.ask(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
        return first

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def message(tool: str, number: int) -> dict[str, Any]:
    """Return one call, about 250 bytes."""
    arguments = {"path": "/srv/projects/indelible/README.md", "head": 40, "query": "lorem ipsum " * 8}
    return {
        "jsonrpc": "2.0",
        "id": number,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
    }


def call(tool: str, number: int) -> bytes:
    """Return the same as bytes."""
    arguments = b'{"path":"/srv/projects/indelible/README.md","head":40,"query":"%b"}' % (b"lorem ipsum " * 8)
    return b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%b","arguments":%b}}\n' % (
        number,
        tool.encode(),
        arguments,
    )


def measure(server: Server, tool: str, calls: int, *, raw: bool = False) -> tuple[float, float]:
    """Return calls a second and the median latency in µs."""
    lines = [call(tool, number) for number in range(10, 10 + calls)]
    for line in lines[: min(500, calls)]:
        server.ask(line)
    latencies = []
    clock = time.perf_counter
    begun = clock()
    for number, line in enumerate(lines):
        before = clock()
        if raw:
            server.ask(line)
        else:
            json.loads(server.ask(json.dumps(message(tool, number), separators=(",", ":")).encode() + b"\n"))
        latencies.append(clock() - before)
    return calls / (clock() - begun), statistics.median(latencies) * 1e6


def rss_mb(pid: int) -> float:
    """Return a process's resident memory (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def one_run(child: Path, bare: Path, home: Path, calls: int, *, raw: bool) -> dict[str, Any]:
    """Measure each once: the child alone, behind a tap that records nothing, and behind ours."""
    environment = {**os.environ, "XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config")}
    environment.pop("INDELIBLE_CONFIG", None)
    result: dict[str, Any] = {}
    commands = {
        "plain": [str(child)],
        "bare": [str(bare), str(child)],
        "wrap": [*INDELIBLE, "wrap", "--", str(child)],
    }
    for name, command in commands.items():
        server = Server(command, environment, home)
        result[f"{name}_first_ms"] = server.greet() * 1000
        for tool in ("look", "act"):
            rate, latency = measure(server, tool, calls, raw=raw)
            result[f"{name}_{tool}_rate"], result[f"{name}_{tool}_us"] = rate, latency
        result[f"{name}_rss_mb"] = rss_mb(server.process.pid)
        server.close()
    configuration = home / "indelible.yaml"
    configuration.write_text("audit:\n  intent: writes\n")
    server = Server([*INDELIBLE, "wrap", "-c", str(configuration), "--", str(child)], environment, home)
    result["config_first_ms"] = server.greet() * 1000
    server.close()
    return result


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians, and of ratios and differences the medians over the pairs."""
    summary: dict[str, Any] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    for tool in ("look", "act"):
        for name in ("wrap", "bare"):
            summary[f"{name}_{tool}_kept"] = statistics.median(
                run[f"{name}_{tool}_rate"] / run[f"plain_{tool}_rate"] for run in runs
            )
        summary[f"{tool}_added_us"] = statistics.median(
            run[f"wrap_{tool}_us"] - run[f"plain_{tool}_us"] for run in runs
        )
    for name in ("wrap", "config"):
        summary[f"{name}_later_ms"] = statistics.median(
            run[f"{name}_first_ms"] - run["plain_first_ms"] for run in runs
        )
    return summary


def table(summary: dict[str, Any]) -> list[tuple[str, str, str, str, bool]]:
    """Return the rows: what, untapped, tapped, result, whether the limit holds."""
    rows = []
    for tool, what in (("look", "read-only calls/s"), ("act", "other calls/s")):
        kept = summary[f"wrap_{tool}_kept"]
        rates = f"{summary[f'plain_{tool}_rate']:.0f}", f"{summary[f'wrap_{tool}_rate']:.0f}"
        floor = f"a bare tap {summary[f'bare_{tool}_kept']:.0%}"
        rows.append((what, *rates, f"{kept:.0%} kept (>= {LIMITS[tool]:.0%}; {floor})", kept >= LIMITS[tool]))
    for tool, what in (("look", "read-only, µs"), ("act", "other, µs")):
        added = summary[f"{tool}_added_us"]
        times = f"{summary[f'plain_{tool}_us']:.1f}", f"{summary[f'wrap_{tool}_us']:.1f}"
        rows.append(
            (what, *times, f"{added:.1f} added (<= {LIMITS['added_us']:.0f})", added <= LIMITS["added_us"])
        )
    memory = summary["wrap_rss_mb"]
    rows.append(("memory, MB", "", f"{memory:.1f}", f"(<= {LIMITS['rss_mb']:.0f})", memory <= LIMITS["rss_mb"]))
    for name, what in (("wrap", "first answer, ms"), ("config", "  with a config, ms")):
        later = summary[f"{name}_later_ms"]
        first = f"{summary['plain_first_ms']:.1f}", f"{summary[f'{name}_first_ms']:.1f}"
        rows.append((what, *first, f"{later:.1f} later (<= 80)", later <= LIMITS["first_ms"]))
    return rows


def main() -> int:
    """Run, print, and say whether every limit holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--calls", type=int, default=5000, help="calls of each kind in a run")
    parser.add_argument("--client", choices=("json", "raw"), default="json")
    parser.add_argument("--cpus", choices=("one", "all"), default="all")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if options.cpus == "one" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as scratch:
        child, bare = build(Path(scratch)), build(Path(scratch), "bare_tap")
        runs = []
        for number in range(options.runs):
            home = Path(scratch) / str(number)
            home.mkdir()
            runs.append(one_run(child, bare, home, options.calls, raw=options.client == "raw"))
    summary = summarise(runs)
    rows = table(summary)
    print(f"{'':20}{'untapped':>12}{'tapped':>12}   medians of {options.runs}")
    for what, plain, tapped, result, holds in rows:
        print(f"{what:20}{plain:>12}{tapped:>12}   {result}{'' if holds else '   NOT HELD'}")
    if options.json:
        Path(options.json).write_text(json.dumps({"runs": runs, "summary": summary}, indent=2) + "\n")
    return 0 if all(row[4] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
