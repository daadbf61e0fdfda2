"""Real servers, spoken to in the same lines with `wrap` and without: the transcripts are the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.wrap.harness import (
    INDELIBLE,
    INITIALIZE,
    INITIALIZED,
    Client,
    call,
    isolated,
    outcomes,
    request,
    wrapped,
)

ROOT = Path(__file__).parents[3]
FASTMCP = str(Path(__file__).with_name("fastmcp_server.py"))
Run = Callable[..., Client]


def npm(name: str) -> str | None:
    """Find a server from npm: in the checkout's node_modules, where $INDELIBLE_NPM says, or on the path."""
    places = [ROOT / "node_modules" / ".bin", Path(os.environ.get("INDELIBLE_NPM", "")) / ".bin"]
    return shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")]))


def python(name: str) -> str | None:
    """Find a server from PyPI, beside the interpreter that runs the tests."""
    return shutil.which(
        name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    )


def _filesystem(home: Path) -> tuple[list[str | None], list[bytes], list[str | None]]:
    (home / "a.txt").write_text("hello é\n")
    frames = [
        call(10, "read_text_file", path=str(home / "a.txt")),
        call(11, "write_file", path=str(home / "b.txt"), content="x" * 100_000),
        call("twelve", "read_text_file", path="/etc/passwd"),
        call(13, "no_such_tool"),
        call(14, "list_directory", path=str(home)),
    ]
    return (
        [npm("mcp-server-filesystem"), str(home)],
        frames,
        ["completed", "completed", "tool_error", None, "completed"],
    )


def _everything(_home: Path) -> tuple[list[str | None], list[bytes], list[str | None]]:
    frames = [
        call(10, "echo", message="hi"),
        request(11, "prompts/get", name="simple-prompt"),
        request(12, "resources/list"),
        request(13, "completion/complete", ref={"type": "ref/prompt", "name": "completable-prompt"},
                argument={"name": "department", "value": "E"}),
        call(14, "echo"),
    ]  # fmt: skip
    return [npm("mcp-server-everything"), "stdio"], frames, ["completed", None, "completed", None]


def _memory(home: Path) -> tuple[list[str | None], list[bytes], list[str | None]]:
    entity = {"name": "n", "entityType": "t", "observations": ["o"]}
    frames = [call(10, "create_entities", entities=[entity]), call(11, "read_graph")]
    return [npm("mcp-server-memory")], frames, ["completed", "completed"]


def _git(home: Path) -> tuple[list[str | None], list[bytes], list[str | None]]:
    subprocess.run(["git", "init", "-q", str(home / "repo")], check=True)
    frames = [call(10, "git_status", repo_path=str(home / "repo")), call(11, "git_log", repo_path="/nowhere")]
    return [python("mcp-server-git")], frames, ["completed", "tool_error"]


def _time(_home: Path) -> tuple[list[str | None], list[bytes], list[str | None]]:
    convert = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "UTC"}
    frames = [call(10, "convert_time", **convert), call(11, "convert_time", **{**convert, "time": "99"})]
    return [python("mcp-server-time"), "--local-timezone", "UTC"], frames, ["completed", "tool_error"]


def _fastmcp(_home: Path) -> tuple[list[str | None], list[bytes], list[str | None]]:
    frames = [
        call(10, "add", a=1, b=2),
        call(11, "fail", why="because"),
        request(12, "resources/read", uri="data://greeting"),
        request(13, "prompts/get", name="ask", arguments={"topic": "x"}),
        request(14, "resources/read", uri="data://missing"),
    ]
    kinds: list[str | None] = ["completed", "tool_error", "completed", "completed", "protocol_error"]
    return [sys.executable, FASTMCP], frames, kinds


SERVERS = {
    "filesystem": _filesystem, "everything": _everything, "memory": _memory, "git": _git, "time": _time,
    "fastmcp": _fastmcp,
}  # fmt: skip


def _talk(client: Client, frames: list[bytes]) -> list[bytes]:
    """Say each line after the last has been answered; return all lines, notifications included, in order."""
    said = []
    for frame in [INITIALIZE, INITIALIZED, request(1, "tools/list"), *frames]:
        client.send(frame)
        wanted = json.loads(frame).get("id")
        while wanted is not None:
            line = client.line()
            assert line, client.stderr()
            said.append(line)
            message = json.loads(line)
            if message.get("id") == wanted and "method" not in message:
                break
            if "method" in message and "id" in message:  # the server asks for roots and the like
                client.send(
                    json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"roots": []}}).encode()
                    + b"\n"
                )
    client.finish()
    return said


def _without_what_differs(lines: list[bytes], same: list[bytes]) -> list[bytes]:
    """Leave out lines at places where two runs without `wrap` differ already (a date, a random number)."""
    return [line for line, other in zip(lines, same, strict=True) if line == other]


@pytest.mark.parametrize("name", SERVERS)
def test_transcripts_are_the_same_bytes(name: str, run: Run, trail: Path, tmp_path: Path) -> None:
    transcripts = []
    expected: list[Any] = []
    for number in range(3):
        home = tmp_path / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        command, frames, expected = SERVERS[name](home)
        if command[0] is None:
            pytest.fail(f"the server {name} is not installed; `make setup` installs it")
        words = [str(word) for word in command]
        environment = {"MEMORY_FILE_PATH": str(home / "memory.jsonl")}
        transcripts.append(_talk(run(words if number < 2 else wrapped(trail, *words), env=environment), frames))
    first, second, tapped = transcripts
    assert len(tapped) == len(first)
    steady = _without_what_differs(first, second)
    assert len(steady) >= len(first) - 1
    assert [t for t, f, s in zip(tapped, first, second, strict=True) if f == s] == steady
    found = outcomes(trail)
    assert len(found) == len(expected)
    for operation, kind in zip(found, expected, strict=True):
        assert kind in (None, operation["outcome"]["kind"]), operation


CLIENT = """
import asyncio, json, sys
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main():
    command = json.loads(sys.argv[2])
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=None)
    async with Client(stdio_client(parameters), mode=sys.argv[1]) as client:
        tools = await client.list_tools()
        result = await client.call_tool("add", {"a": 1, "b": 2})
        failed = await client.call_tool("fail", {"why": "because"})
        resource = await client.read_resource("data://greeting")
        prompt = await client.get_prompt("ask", {"topic": "t"})
        counts = [len(resource.contents), len(prompt.messages)]
        print(json.dumps([len(tools.tools), result.is_error, failed.is_error, *counts]))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("mode", "protocol"), [("legacy", "2025"), ("2026-07-28", "2026-07-28")], ids=["handshake", "stateless"]
)
def test_the_official_client_works_in_both_eras(mode: str, protocol: str, tmp_path: Path, trail: Path) -> None:
    isolation = [f"{key}={value}" for key, value in isolated(tmp_path).items()]
    command = ["env", *isolation, *INDELIBLE, "wrap", "--trail", str(trail), "--", sys.executable, FASTMCP]
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, mode, json.dumps(command)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [2, False, True, 1, 1]
    found = outcomes(trail)
    assert [operation["target"]["type"] for operation in found] == ["tool", "tool", "resource", "prompt"]
    assert [operation["outcome"]["kind"] for operation in found] == ["completed", "tool_error"] + [
        "completed"
    ] * 2
    assert found[0]["target"]["protocol_version"].startswith(protocol)
    assert found[0]["source"]["client"].startswith("mcp")
    assert found[0]["target"]["effects"] == "read_only"
    assert found[0]["target"]["server_version"]
