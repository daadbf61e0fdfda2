"""What each middleware adds to a call that takes no time itself: ``python -m bench.bench_middleware [--json FILE]``.

Each family runs in a process of its own (`called.py`), those of the SDK 1.x in their own environment. First each
middleware *alone*: the framework's own chain of them around a handler that has answered already. The goal is for that,
and for a call of a read-only tool: one event. Of any other tool an intent is recorded first (`audit.intent`), which is
a second event. Then within whole servers, whose calls do take time: there the same code costs two to three times as
much, since between two calls the processor has forgotten it.

What is added is a call of the audited server less one of the bare server next to it, median of the rounds, in CPU of
the server's thread; the process's beside it, in which the trail's sealing is as well. FastMCP's own logging middleware
and the SDK's own tracing stand beside it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.posted import FORMS
from bench.report import Goal, Report

ROOT = Path(__file__).parent.parent
HERE, OLD = Path(sys.executable), ROOT / ".venv-mcp1" / "bin" / "python"
GOAL_US = 60.0
FAMILIES = (
    ("SDK 2, alone", "sdk2 alone", HERE),
    ("SDK 1, alone", "sdk1 alone", OLD),
    ("FastMCP 4, alone", "fastmcp alone", HERE),
    ("FastMCP 3, alone", "fastmcp alone", OLD),
    ("an ASGI app, alone", "asgi alone", HERE),
    ("an ASGI app that answers in a stream, alone", "asgi stream alone", HERE),
    ("an ASGI app without sessions (2026-07-28), alone", "asgi stateless alone", HERE),
    ("SDK 2, low-level Server", "sdk2", HERE),
    ("SDK 2, MCPServer", "mcpserver", HERE),
    ("SDK 1, low-level Server", "sdk1", OLD),
    ("FastMCP 4", "fastmcp", HERE),
    ("FastMCP 3", "fastmcp", OLD),
    ("a function", "functions", HERE),
    ("SDK 2, low-level Server", "otel", HERE),
)
WAYS = {
    "audited": "AuditMiddleware",
    "logged": "FastMCP's LoggingMiddleware(include_payloads=True)",
    "structured": "FastMCP's StructuredLoggingMiddleware(include_payloads=True)",
    "noop": "the SDK's OpenTelemetryMiddleware, no SDK of OpenTelemetry",
    "operation": "recorder.operation",
    "audited, soon": "@audited, async",
}

NAMES = {
    ("functions", "audited"): "@audited",
    **dict.fromkeys(((form, "audited") for form in FORMS), "AuditASGI"),
}


def run(python: Path, *arguments: str) -> Any:
    """Return what a process prints as JSON; None, and why on stderr, when it fails."""
    done = subprocess.run(
        [str(python), "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=900
    )
    if done.returncode != 0:
        print(f"\n{' '.join(arguments)}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def of_family(report: Report, what: str, found: Any, family: str) -> None:
    """Add the rows of one family."""
    for way, tools in found["figures"].items():
        if way.startswith("bare"):
            continue
        bare = found["figures"]["bare, soon" if way.endswith("soon") else "bare"]
        name = NAMES.get((family, way)) or WAYS[way]
        for tool, rounds in tools.items():
            thread, process = (
                1e6 * statistics.median(mine[i] - its[i] for mine, its in zip(rounds, bare[tool], strict=True))
                for i in (0, 1)
            )
            alone = family == "functions" or (family.endswith("alone") and way == "audited")
            goal = Goal.at_most(GOAL_US) if alone and tool == "look" else None
            kind = "read-only tool" if tool == "look" else "other tool"
            report.add(f"{what}, {kind}: {name}, µs added", thread, goal)
            report.add("  the process, µs", process)


def main() -> int:
    """Measure and print."""
    report = Report("middleware")
    for what, family, python in FAMILIES:
        found = run(python, "bench.called", family)
        if found is not None:
            report.add(f"{what}: json.dumps of an event of 600 B then, µs", found["json_dumps_us"])
            of_family(report, what, found, family)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
