"""The examples are what they say: real configurations that a client could start, and that record."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

import indelible
from tests.unit.docs.pages import DOCS, blocks

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
CLIENTS = EXAMPLES / "clients"
BIN = Path(sys.executable).parent
KEY = {"claude-desktop": "mcpServers", "claude-code": "mcpServers", "cursor": "mcpServers", "vscode": "servers"}
WRITE_A_FORMAT = DOCS / "how-to" / "write-a-format.md"
RECORD = """
import indelible
with indelible.open_trail() as trail, trail.operation("tools/call", "read", args={"path": "a"}, user_id="ada"):
    pass
"""
WRITE_A_SINK = DOCS / "how-to" / "write-a-sink.md"
Entries = dict[str, dict[str, Any]]


def entries(client: str, when: str) -> Entries:
    [path] = (CLIENTS / client).glob(f"*.{when}.json")
    content = json.loads(path.read_text())
    assert list(content) == [KEY[client]]
    servers: Entries = content[KEY[client]]
    assert servers
    return servers


def environment(state: Path) -> dict[str, str]:
    path = os.pathsep.join([str(BIN), str(ROOT / "node_modules" / ".bin"), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "XDG_STATE_HOME": str(state)}


def logged(state: Path) -> list[dict[str, Any]]:
    command = [str(BIN / "indelible"), "log", "--json"]
    done = subprocess.run(command, env=environment(state), capture_output=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_client_is_tested() -> None:
    """The others are programs, which tests/integration/record/test_clients.py runs."""
    assert {path.parent.name for path in CLIENTS.glob("*/*.after.json")} == set(KEY)


@pytest.mark.parametrize("client", KEY)
def test_after_is_before_behind_wrap(client: str) -> None:
    before, after = entries(client, "before"), entries(client, "after")
    assert list(before) == list(after)
    for name, entry in before.items():
        wrapped = {
            **entry,
            "command": "indelible",
            "args": ["wrap", "--name", name, "--", entry["command"], *entry["args"]],
        }
        assert after[name] == wrapped
        assert all(isinstance(word, str) for word in after[name]["args"])


def test_a_client_can_start_what_the_file_says(tmp_path: Path) -> None:
    entry = entries("claude-desktop", "after")["files"]
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "notes.txt").write_text("as before")
    args = [str(folder) if word == "/Users/me/project" else word for word in entry["args"]]
    assert str(folder) in args
    parameters = StdioServerParameters(
        command=entry["command"], args=args, env=environment(tmp_path / "state"), cwd=ROOT
    )

    async def read() -> str:
        async with Client(parameters) as client:
            await client.list_tools()
            result = await client.call_tool("read_text_file", {"path": str(folder / "notes.txt")})
            [block] = result.content
            return str(getattr(block, "text", None))

    assert anyio.run(read) == "as before"
    [event] = logged(tmp_path / "state")
    assert event["target"]["backend"] == "files"
    assert event["target"]["capability_name"] == "read_text_file"
    assert event["outcome"]["kind"] == "completed"


def test_the_shell_client_and_the_small_server_make_a_record(tmp_path: Path) -> None:
    wrapped = [
        str(BIN / "indelible"),
        "wrap",
        "--name",
        "weather",
        "--",
        sys.executable,
        str(EXAMPLES / "own_server.py"),
    ]
    command = [
        sys.executable,
        str(EXAMPLES / "call.py"),
        "subscribe",
        "email=a.b@example.com",
        "city=Oslo",
        "--",
        *wrapped,
    ]
    state = tmp_path / "state"
    done = subprocess.run(
        command, env=environment(state), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "a.b@example.com will hear about Oslo.\n", done.stderr
    [event] = logged(state)
    assert event["target"]["capability_name"] == "subscribe"
    assert event["request"]["args"]["city"] == "Oslo"
    assert b"a.b@example.com" not in (state / "indelible" / "audit.jsonl").read_bytes()


def test_the_server_that_audits_itself_makes_a_record(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [
        sys.executable, str(EXAMPLES / "call.py"), "forecast", "city=Oslo", "--",
        sys.executable, str(EXAMPLES / "audited_server.py"),
    ]  # fmt: skip
    done = subprocess.run(
        command, env=environment(state), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.startswith("Tomorrow it rains in Oslo"), done.stderr
    [event] = logged(state)
    assert (event["target"]["backend"], event["outcome"]["kind"]) == ("weather", "completed")
    assert event["request"]["request_id"] in done.stdout


def test_a_fastmcp_server_that_records_itself_needs_no_wrap(tmp_path: Path) -> None:
    state = tmp_path / "state"
    server = [sys.executable, str(EXAMPLES / "audited_fastmcp.py")]
    command = [
        sys.executable, str(EXAMPLES / "call.py"), "subscribe", "email=a.b@example.com", "city=Oslo", "--", *server,
    ]  # fmt: skip
    done = subprocess.run(
        command, env=environment(state), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "a.b@example.com will hear about Oslo.\n", done.stderr
    [event] = logged(state)
    assert (event["target"]["backend"], event["target"]["capability_name"]) == ("weather", "subscribe")
    assert event["request"]["args"]["city"] == "Oslo"
    assert b"a.b@example.com" not in (state / "indelible" / "audit.jsonl").read_bytes()


def test_an_http_server_with_the_audit_in_front_of_it(tmp_path: Path) -> None:
    state, port = tmp_path / "state", free_port()
    server = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "audited_http.py"), str(port)], env=environment(state)
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                assert server.poll() is None
                time.sleep(0.05)
        text = asyncio.run(_forecast(f"http://127.0.0.1:{port}/mcp"))
    finally:
        server.terminate()
        server.wait(60)
    [event] = logged(state)
    assert (event["source"]["caller"], event["target"]["backend"]) == ("http", "weather")
    assert event["outcome"]["kind"] == "completed"
    assert event["request"]["request_id"] in text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


async def _forecast(url: str) -> str:
    async with Client(url) as client:
        return str((await client.call_tool("forecast", {"city": "Oslo"})).content)


def with_installed(package: Path, place: Path) -> dict[str, str]:
    """Return an environment in which a copy of somebody's package is installed."""
    shutil.copytree(package, place / "package")
    target = place / "site"
    install = [str(BIN / "uv"), "pip", "install", "--offline", "--no-deps", "--no-build-isolation"]
    environ = {**environment(place / "state"), "PYTHONPATH": str(target)}
    subprocess.run(
        [*install, "--target", str(target), "--python", sys.executable, str(place / "package")],
        env=environ, capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    return environ


def test_the_format_of_another_package_is_found_by_its_name(tmp_path: Path) -> None:
    """The page that shows how to write one shows this very package."""
    package = EXAMPLES / "formats" / "logfmt"
    files = {block.mark.removeprefix("file: "): block.text for block in blocks(WRITE_A_FORMAT)}
    for name in ("indelible_logfmt.py", "pyproject.toml"):
        assert files[name] == (package / name).read_text()
    environ = with_installed(package, tmp_path)
    recorded = [str(BIN / "python"), "-c", RECORD]
    subprocess.run(recorded, env=environ, capture_output=True, check=True, timeout=60)
    done = subprocess.run(
        [str(BIN / "indelible"), "log", "--format", "logfmt"],
        env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    assert "event=ToolInvocationCompleted user=ada name=read kind=completed " in line
    assert re.search(r"seq=[0-9]+ origin=indelible/[0-9a-f]{32} leaf=[0-9a-f]{64}$", line)


def test_a_sink_of_another_package_is_found_by_its_type(tmp_path: Path) -> None:
    """The page that shows how to write one shows this very package; `indelible ship` takes events to it."""
    package = EXAMPLES / "sinks" / "spool"
    files = {block.mark.removeprefix("file: "): block.text for block in blocks(WRITE_A_SINK)}
    for name in ("indelible_spool.py", "pyproject.toml"):
        assert files[name] == (package / name).read_text()
    environ, spool = with_installed(package, tmp_path), tmp_path / "spool"
    spool.mkdir()
    sink = {"type": "spool", "directory": str(spool), "start": "beginning", "format": "argus"}
    (tmp_path / "indelible.yaml").write_text(
        json.dumps({"audit": {"path": "audit.jsonl", "ship": "off", "sinks": [sink]}})
    )
    with indelible.open_trail(tmp_path / "audit.jsonl") as trail:
        for name in ("read", "write"):
            with trail.operation("tools/call", name):
                pass
    ship = [str(BIN / "indelible"), "ship", "--once", "-c", str(tmp_path / "indelible.yaml")]
    done = subprocess.run(ship, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = [json.loads(file.read_bytes()) for file in sorted(spool.iterdir())]
    assert [record["target"]["capability_name"] for record in found] == ["read", "write"]
    sink["spool"] = "elsewhere"
    (tmp_path / "indelible.yaml").write_text(
        json.dumps({"audit": {"path": "audit.jsonl", "ship": "off", "sinks": [sink]}})
    )
    done = subprocess.run(
        [*ship, "--timeout", "0s"], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert "sink spool: expected 'directory', and nothing else" in done.stderr
