"""Two versions against each other, in turn: ``python -m bench.in_turn OTHER [--rounds N] [--json FILE]``.

`OTHER` is a directory with another version's ``src`` (``git worktree add /tmp/other HEAD~1``). Each version has a
process, both are bound to one processor, and they take turns of a few milliseconds: what else the machine does meets
both alike, so the median over many pairs shows a few percent where two runs one after the other show nothing. Figures
are the CPU of the caller's thread: one recorded event, one call through the tap's audit without its pipes, and one
through each middleware without its server (`alone.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from bench import bench_wrap, called
from bench.bench_record import NOTHING, SOMETHING, make, thread_cpu, trail
from indelible import configfile
from indelible.capture.wrapped import open_audit

ROOT = Path(__file__).parent.parent
EVENTS = 150
"""Recorded in one turn: 5 ms."""
CALLS = 80
WARM = 5
"""Turns that are not counted."""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "record, nothing to redact": NOTHING,
    "record, something to redact": SOMETHING,
}
TOOLS = {"wrap, read-only call": "look", "wrap, other call": "act"}
SERVED = {
    f"{what}, {kind} call": (family, tool)
    for what, family in (("SDK 2", "sdk2 alone"), ("FastMCP 4", "fastmcp alone"), ("AuditASGI", "asgi alone"))
    for kind, tool in (("read-only", "look"), ("other", "act"))
}

HELLO = (
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
    b'"clientInfo":{"name":"bench","version":"1"}}}\n',
    b'{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},'
    b'"serverInfo":{"name":"fast","version":"1"}}}\n',
)
LIST = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n',
    b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"look","inputSchema":{"type":"object"},'
    b'"annotations":{"readOnlyHint":true}},{"name":"act","inputSchema":{"type":"object"}}]}}\n',
)
ANSWER = (
    b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":'
    b'"the quick brown fox jumps over the lazy dog"}],"isError":false}}\n'
)


def serve(turn: Callable[[], float]) -> None:
    """Take a turn for each line that comes, and say what it cost in seconds."""
    for _ in sys.stdin:
        print(turn(), flush=True)


def record(what: str) -> None:
    """Be the process that records."""
    arguments = ARGUMENTS[what]
    with trail("process") as recorder:
        serve(lambda: thread_cpu(recorder.record, [make(arguments) for _ in range(EVENTS)]))


def wrap(what: str) -> None:
    """Be the process that audits calls."""
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
        settings = configfile.load(None, trail=f"{directory}/audit.jsonl")
        recorder, audit = open_audit(settings, name="fast", actor=None, caller_type="human")

        def one(pair: tuple[bytes, bytes]) -> None:
            now, mono = time.time_ns(), time.monotonic_ns()
            audit.client(pair[0], now, mono)
            audit.ahead()
            audit.server(pair[1], now, mono)

        def turn() -> float:
            numbers = range(1000, 1000 + CALLS)
            pairs = [(bench_wrap.call(TOOLS[what], number), ANSWER % number) for number in numbers]
            return thread_cpu(one, pairs)

        with recorder:
            one(HELLO)
            one(LIST)
            serve(turn)


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine does that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    return sys.exit("bench.in_turn: a call waits")


def middleware(what: str) -> None:
    """Be the process whose calls go through middleware, without a server around it."""
    family, tool = SERVED[what]
    with called.somewhere() as directory:
        client = at_once(called.opened(family, "audited", directory))
        at_once(client.check(tool))

        def turn() -> float:
            calls = at_once(client.prepare(tool, CALLS))
            started = time.thread_time()
            at_once(calls())
            return (time.thread_time() - started) / CALLS

        serve(turn)
        called.close_all()


def worker(what: str, version: Path) -> subprocess.Popen[str]:
    """Start the process of one version."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{version / 'src'}"}
    environment.pop("INDELIBLE_CONFIG", None)
    command = [sys.executable, "-m", "bench.in_turn", "--serve", what, str(version)]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd="/"
    )


def ask(process: subprocess.Popen[str]) -> float:
    """Let a process take its turn."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    return float(answer) if answer else sys.exit("bench.in_turn: a version ended")


def compare(what: str, other: Path, rounds: int) -> dict[str, float]:
    """Return the medians: µs of the other version, µs of this one, and what this costs of what that does."""
    processes = [worker(what, other), worker(what, ROOT)]
    pairs = []
    try:
        for number in range(WARM + rounds):
            order = (0, 1) if number % 2 else (1, 0)
            turn = {which: ask(processes[which]) for which in order}
            if number >= WARM:
                pairs.append((turn[0], turn[1]))
    finally:
        for process in processes:
            process.communicate(timeout=60)
    return {
        "other": 1e6 * statistics.median(old for old, _ in pairs),
        "this": 1e6 * statistics.median(new for _, new in pairs),
        "ratio": statistics.median(new / old for old, new in pairs),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure this version and another one in turn.")
    parser.add_argument("other", type=Path, help="a directory with the other version's src")
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--only", metavar="WHAT", action="append", help="one row of the table; may be repeated")
    parser.add_argument("--serve", metavar="WHAT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if options.serve is not None:
        whose = record if options.serve in ARGUMENTS else wrap if options.serve in TOOLS else middleware
        whose(options.serve)
        return 0
    other, everything = options.other.resolve(), (*ARGUMENTS, *TOOLS, *SERVED)
    if not (other / "src" / "indelible").is_dir():
        sys.exit(f"bench.in_turn: {options.other}: there is no src/indelible in it")
    figures = {what: compare(what, other, options.rounds) for what in options.only or everything}
    print(f"{'µs on the caller’s thread':30}{'other':>10}{'this':>10}{'of it':>8}")
    for what, found in figures.items():
        print(f"{what:30}{found['other']:>10.1f}{found['this']:>10.1f}{found['ratio']:>8.0%}")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
