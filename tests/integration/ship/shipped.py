"""Real `indelible ship` processes, and what they left in a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from indelible.trail.entry import line_seq

LIMIT_S = 120.0
COMMAND = (sys.executable, "-m", "indelible")


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


def configure(folder: Path, *sinks: dict[str, Any], **audit: Any) -> Path:
    """Write a configuration for the trail in `folder`."""
    file = folder / "indelible.yaml"
    file.write_text(json.dumps({"audit": {"path": "a.jsonl", "sinks": list(sinks), **audit}}))
    return file


def start(folder: Path, *args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "ship", "-c", str(folder / "indelible.yaml"), *args],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(),
    )  # fmt: skip


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "ship", "-c", str(folder / "indelible.yaml"), *args],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL, env=_environment(),
    )  # fmt: skip


def _environment() -> dict[str, str]:
    return {**os.environ, "INDELIBLE_DEBUG": "0"}


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> tuple[int, str]:
    """End a process that was started here; return its exit code and what it said."""
    process.send_signal(number)
    _, said = process.communicate(timeout=LIMIT_S)
    return process.returncode, said.decode()


def lines_of(out: Path) -> list[bytes]:
    """Return the whole lines of a file sink, the oldest first, rotated ones too."""
    numbered = sorted(
        (path for path in out.parent.glob(out.name + ".*") if path.suffix[1:].isdigit()),
        key=lambda path: -int(path.suffix[1:]),
    )
    data = b"".join(path.read_bytes() for path in [*numbered, *([out] if out.exists() else [])])
    assert data.endswith(b"\n") or not data
    return data.splitlines()


def seqs_of(out: Path) -> list[int]:
    found = [line_seq(line) for line in lines_of(out)]
    assert None not in found
    return [seq for seq in found if seq is not None]


def next_of(folder: Path, sink: str) -> int | None:
    """Return where a sink's cursor stands."""
    try:
        found: int = json.loads((folder / "a.jsonl.d" / "cursors" / f"{sink}.json").read_bytes())["next"]
    except FileNotFoundError:
        return None
    return found
