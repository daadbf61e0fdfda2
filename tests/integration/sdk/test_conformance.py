"""The official conformance suite finds the same in a server with the audit, within and in front, as without it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import indelible
from tests.integration.sdk.looking import lines
from tests.integration.sdk.wires import LEGACY, LIMIT_S, MODERN

ROOT = Path(__file__).parents[3]
SUITE = ("node", "--import", "./tests/integration/sdk/node20.mjs", "node_modules/.bin/conformance", "server")
BOTH = {
    "tools-list", "tools-call-simple-text", "tools-call-image", "tools-call-audio", "tools-call-embedded-resource",
    "tools-call-mixed-content", "tools-call-error", "tools-call-with-progress", "resources-list",
    "resources-read-text", "resources-read-binary", "resources-templates-read", "prompts-list", "prompts-get-simple",
    "prompts-get-with-args", "dns-rebinding-protection", "server-sse-multiple-streams",
}  # fmt: skip
PASSED = {
    LEGACY: BOTH | {"server-initialize", "ping", "server-session-lifecycle"},
    MODERN: BOTH | {"http-header-validation", "caching", "sep-2164-resource-not-found"},
}
"""What the server answers as the suite wants it; the rest it does not have, with the audit or without."""

Judged = dict[str, tuple[int, int]]


@contextlib.contextmanager
def served(*trails: Path) -> Iterator[list[str]]:
    """Serve it without the audit, with it within, and with it in front."""
    command = [sys.executable, "-m", "tests.integration.sdk.conformance_server", *map(str, trails)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        ports = process.stdout.readline().split()
        for port in ports:  # it listens already; up is it once it answers
            deadline = time.monotonic() + LIMIT_S
            with socket.create_connection(("127.0.0.1", int(port)), LIMIT_S) as asking:
                asking.sendall(b"GET /none HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
                asking.settimeout(max(1.0, deadline - time.monotonic()))
                assert asking.recv(1)
        yield [f"http://127.0.0.1:{port}/mcp" for port in ports]
    finally:
        process.terminate()
        process.wait(LIMIT_S)
        process.stdout.close()


def judged(url: str, revision: str) -> Judged:
    """Return how many checks of each scenario that a revision asks for passed, and failed."""
    done = subprocess.run(
        [*SUITE, "--url", url, "--requirements", revision, "--timeout", "120000"],
        cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    found = re.findall(r"^\S+ ([a-z0-9-]+): (\d+) passed, (\d+) failed", done.stdout, re.MULTILINE)
    return {name: (int(passed), int(failed)) for name, passed, failed in found}


@pytest.mark.timeout(900)
def test_the_conformance_suite_finds_no_difference(tmp_path: Path) -> None:
    trails = tmp_path / "within.jsonl", tmp_path / "front.jsonl"
    with served(*trails) as urls, ThreadPoolExecutor() as at_once:
        asked = [(url, revision) for revision in (LEGACY, MODERN) for url in urls]
        found = list(at_once.map(lambda each: judged(*each), asked))
    for revision, (bare, within, front) in ((LEGACY, found[:3]), (MODERN, found[3:])):
        assert within == front == bare
        assert {name for name, (passed, failed) in bare.items() if passed and not failed} >= PASSED[revision]
    for trail in trails:
        operations = [line for line in lines(trail) if line["event_type"] == "mcp_operation"]
        for revision in (LEGACY, MODERN):
            of = [each for each in operations if each["target"].get("protocol_version") == revision]
            assert {"completed", "tool_error"} <= {each["outcome"]["kind"] for each in of}
        assert indelible.verify(trail).ok
