"""The official conformance suite finds the same in a server with the audit and without it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import indelible
from tests.integration.sdk.looking import lines
from tests.integration.sdk.wires import LIMIT_S

ROOT = Path(__file__).parents[3]
SUITE = ROOT / "node_modules" / ".bin" / "conformance"
PASSED = {
    "server-initialize", "ping", "tools-list", "tools-call-simple-text", "tools-call-image", "tools-call-audio",
    "tools-call-embedded-resource", "tools-call-mixed-content", "tools-call-error", "tools-call-with-progress",
    "resources-list", "resources-read-text", "resources-read-binary", "resources-templates-read", "prompts-list",
    "prompts-get-simple", "prompts-get-with-args",
}  # fmt: skip
"""What the server answers as the suite wants it; the rest it does not have, with the audit or without."""


@contextlib.contextmanager
def served(*trail: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.integration.sdk.conformance_server", str(port), *trail]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=ROOT, **quiet)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + LIMIT_S
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def judged(url: str) -> dict[str, tuple[int, int]]:
    """Return how many checks of each scenario passed, and failed."""
    done = subprocess.run(
        [SUITE, "server", "--url", url], env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True,
        check=False, timeout=400,
    )  # fmt: skip
    found = re.findall(r"^\S+ ([a-z0-9-]+): (\d+) passed, (\d+) failed", done.stdout, re.MULTILINE)
    return {name: (int(passed), int(failed)) for name, passed, failed in found}


@pytest.mark.timeout(900)  # 44 s with 14 others on two processors, and 183 s with 20
def test_the_conformance_suite_finds_no_difference(tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    with served() as bare, served(str(trail)) as audited:
        without, with_it = judged(bare), judged(audited)
    assert with_it == without
    assert {name for name, (passed, failed) in with_it.items() if passed and not failed} >= PASSED
    kinds = [line["outcome"]["kind"] for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert {"completed", "tool_error"} <= set(kinds)
    assert indelible.verify(trail).ok
