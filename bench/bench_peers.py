"""Our audit beside that of others, on the same call: ``python -m bench.bench_peers [--cache DIRECTORY] [--json FILE]``.

Each peer has an environment of its own, made once from ``requirements/peers-*.txt`` under the cache directory, and a
process of its own (``bench/peers``), in which it is started as its documentation says. Two tables: what each recorded
of each cause, and what its audit adds to a call that takes no time, in `json.dumps` of one event measured next to it.
Needs the network the first time, so it is no part of ``python -m bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.peers.common import CAUSES

ROOT = Path(__file__).parent.parent
OURS = ("mcpserver", "fastmcp", "function")
PEERS = ("mxcp", "argus", "hangar")
PASSWORDS = {"clear": "in clear", "hidden": "hidden", "absent": "no arguments"}
SECONDS = 1800
"""Until a peer's process that says nothing is given up."""


def environment(peer: str, cache: Path) -> Path:
    """Return the interpreter of a peer's environment, made anew when its requirements have changed."""
    directory, wanted = cache / peer, ROOT / "requirements" / f"peers-{peer}.txt"
    python, stamp = directory / "bin" / "python", directory / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        print(f"making the environment of {peer} in {directory}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(wanted)], check=True)
        stamp.write_text(wanted.read_text())
    return python


def told(python: Path, *arguments: str) -> Any:
    """Return what a process tells; None, and why on stderr, when it fails."""
    surroundings = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    command = [str(python), "-m", *arguments]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        print(f"{' '.join(arguments)}: said nothing within {SECONDS} s", file=sys.stderr)
        return None
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode != 0 or not last:
        print(f"{' '.join(arguments)}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(last[0])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def recorded(said: Mapping[str, list[str]], cause: str) -> str:
    """Return a cell: what a cause left, `nothing`, or a dash for a cause that was not made to happen there."""
    if cause not in said:
        return "–"
    return ", ".join(said[cause]) or "nothing"


def causes_table(all_told: Sequence[Mapping[str, Any]]) -> str:
    """Return what each recorded of each cause, and what of a password among the arguments."""
    header = ["cause", *(f"{peer['name']} {peer['version']}" for peer in all_told)]
    rows = [[words, *(recorded(peer["said"], cause) for peer in all_told)] for cause, words in CAUSES.items()]
    passwords = ["a password among the arguments", *(PASSWORDS[peer["password"]] for peer in all_told)]
    return table(header, [*rows, passwords])


def figure(costs: Mapping[str, float], column: str) -> str:
    """Return a cell: a dash for what says nothing there."""
    return f"{costs[column]:.1f}" if column in costs else "–"


def costs_table(all_told: Sequence[Mapping[str, Any]]) -> str:
    """Return what each adds to a call."""
    header = ["audit", "call", "× `json.dumps`, process", "× `json.dumps`, thread", "µs, process", "µs, thread"]
    columns = ("process", "thread", "process_us", "thread_us")
    rows = [
        [peer["name"], what, *(figure(costs, column) for column in columns)]
        for peer in all_told
        for what, costs in peer["costs"].items()
    ]
    return table(header, rows)


def main() -> int:
    """Measure and print; return 1 when one of them could not be run."""
    parser = argparse.ArgumentParser(description="Our audit beside that of mxcp, argus-mcp and mcp-hangar.")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--cache", metavar="DIRECTORY", type=Path, default=home / "indelible-bench-peers")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what each told as JSON, too")
    options = parser.parse_args()
    found = [told(Path(sys.executable), "bench.peers.ours", family) for family in OURS]
    for peer in PEERS:
        try:
            python = environment(peer, options.cache.absolute())
        except subprocess.CalledProcessError as error:
            print(f"{peer}: its environment could not be made: {error}", file=sys.stderr)
            found.append(None)
            continue
        found.append(told(python, f"bench.peers.{peer}"))
    there = [peer for peer in found if peer is not None]
    print(f"{causes_table(there)}\n\n{costs_table(there)}")
    if options.json is not None:
        options.json.write_text(json.dumps(there, indent=2) + "\n")
    return int(len(there) < len(found))


if __name__ == "__main__":
    sys.exit(main())
