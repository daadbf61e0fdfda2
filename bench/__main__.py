"""Run every benchmark, one after the other: `python -m bench [--json DIRECTORY]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    "bench_record",
    "bench_redact",
    "bench_formats",
    "bench_ship",
    "bench_kafka",
    "bench_http",
    "bench_batches",
    "bench_shared",
    "bench_wrap",
    "bench_middleware",
    "bench_log",
    "bench_query",
    "bench_verify",
    "bench_proof",
)


def main() -> int:
    """Run them; return 1 when one missed a goal or failed."""
    parser = argparse.ArgumentParser(description="Run every benchmark; each prints a table.")
    parser.add_argument("--json", metavar="DIRECTORY", type=Path, help="write each table as JSON there, too")
    directory = parser.parse_args().json
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in BENCHMARKS:
        command = [sys.executable, "-m", f"bench.{name}"]
        if directory is not None:
            command += ["--json", str(directory / f"{name}.json")]
        failed |= int(subprocess.run(command, check=False).returncode != 0)
        print(flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
