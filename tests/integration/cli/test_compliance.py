"""MCP_COMPLIANCE_FORMAT, as an environment has it: real processes, and what they have on their standard error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cefp
import pytest

from indelible.formats.found import read_found
from tests.environments import old_python
from tests.integration.cli.conftest import COMMAND, Run
from tests.integration.wrap.harness import call, request, wait_for

CALLS = """
import sys, indelible
with indelible.open_trail(sys.argv[1]) as trail:
    print("open", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[2])):
        with trail.operation("tools/call", sys.argv[3], args={"number": number}, user_id="ada\\n<134>1 forged"):
            pass
    sys.stdin.readline()
"""

SERVER = Path(__file__).parents[1] / "wrap" / "parrot.py"


def test_of_several_processes_each_exports_its_own(run: Run, home: dict[str, str], tmp_path: Path) -> None:
    """In four formats at once; and every record that came is the trail's own word."""
    trail, formats = tmp_path / "audit.jsonl", ("CEF", "leef", "Syslog", "json-lines")
    started = []
    for format_ in formats:
        process = subprocess.Popen(
            [sys.executable, "-c", CALLS, str(trail), "25", f"tool-{format_}"],
            env={**home, "MCP_COMPLIANCE_FORMAT": format_},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        started.append(process)
    exported = b""
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for format_, process in zip(formats, started, strict=True):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0
        assert errors.count(b"\n") == 25
        assert all(f"tool-{format_}".encode() in line for line in errors.split(b"\n")[:-1])
        exported += errors
    (tmp_path / "found.txt").write_bytes(exported)
    said = run("verify", "--line", tmp_path / "found.txt", "--trail", trail, "--json")
    assert json.loads(said.stdout)["counts"] == {"yes": 100}
    assert said.returncode == 0


def test_a_file_has_everybodys_events_whoever_dies(run: Run, home: dict[str, str], tmp_path: Path) -> None:
    """One export, however many write: each event once, and again at the most after a kill; none is missing."""
    trail, out = tmp_path / "audit.jsonl", tmp_path / "out" / "mcp.cef"
    env = {**home, "MCP_COMPLIANCE_FORMAT": "CEF", "MCP_COMPLIANCE_OUTPUT": str(out)}
    started = []
    for name in ("holder", "other"):
        process = subprocess.Popen(
            [sys.executable, "-c", CALLS, str(trail), "2000" if name == "holder" else "200", name],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        started.append(process)
    holder, other = started
    assert holder.stdin is not None
    holder.stdin.write(b"\n")
    holder.stdin.flush()
    wait_for(lambda: out.exists() and out.stat().st_size > 10_000)
    holder.kill()
    holder.communicate()
    _, errors = other.communicate(b"\n", timeout=120)
    assert (other.returncode, errors.count(b"CEF:0")) == (0, 0)
    said = run("ship", "--once", "--trail", trail, **env)
    assert said.returncode == 0, said.stderr
    found = [read_found(line) for line in out.read_bytes().split(b"\n")[:-1]]
    seqs = {one.seq for one in found if one is not None}
    lines = run("log", "--json", "-n", "0", "--trail", trail).stdout.split(b"\n")[:-1]
    assert seqs == {json.loads(line)["seq"] for line in lines}
    assert sum(b'"capability_name":"other"' in line for line in lines) == 200
    checked = run("verify", "--line", out, "--trail", trail, "--json")
    assert json.loads(checked.stdout)["counts"] == {"yes": len(found)}


LOGS = """
import logging, sys, warnings, indelible
log = logging.getLogger("indelible.anything")
with indelible.open_trail(sys.argv[1]) as trail:
    with trail.operation("tools/call", "read", request_id="r-7"):
        log.warning("half\\ud800 a line\\nCEF:0|forged|%s", "\\x1b[2J")
    log.info("not for standard error")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it went wrong")
"""


def test_ordinary_logs_beside_records_are_json_lines(home: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGS, str(tmp_path / "audit.jsonl")],
        env={**home, "MCP_COMPLIANCE_FORMAT": "cef"}, capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    lines = done.stderr.split(b"\n")[:-1]
    assert sum(line.startswith(b"CEF:0|Indelible|") for line in lines) == 1
    said = [json.loads(line) for line in lines if not line.startswith(b"CEF:0|Indelible|")]
    assert [(one["level"], one["logger"], one.get("request_id")) for one in said] == [
        ("WARNING", "indelible.anything", "r-7"),
        ("ERROR", "indelible.anything", None),
    ]
    assert said[0]["message"] == "half\ufffd a line\nCEF:0|forged|\x1b[2J"
    assert (said[1]["message"], said[1]["error"]) == ("it went wrong", "ValueError: why")


def test_a_mistake_is_said_as_a_json_line_where_records_would_stand(run: Run, tmp_path: Path) -> None:
    """Whoever reads the stream parses each line; whoever only reads a trail is told in words."""
    config = tmp_path / "indelible.yaml"
    config.write_text(
        "audit: {path: a.jsonl, sinks: [{type: stderr, format: mxcp}, {type: stderr, name: b, format: nope}]}"
    )
    for command, env in (
        (["wrap", "--trail", tmp_path, "--", "cat"], {"MCP_COMPLIANCE_FORMAT": "CEF"}),
        (["record", "--lisen", "x"], {"MCP_COMPLIANCE_FORMAT": "CEF"}),
        (["wrap", "-c", config, "--", "cat"], {}),
        (["ship", "-c", config], {}),
    ):
        done = run(*command, **env)
        assert done.returncode == 2
        [line] = done.stderr.split(b"\n")[:-1]
        said = json.loads(line)
        assert set(said) == {"timestamp", "level", "logger", "message"}
        assert (said["level"], said["logger"]) == ("ERROR", "indelible")
    assert run("verify", "-c", config, MCP_COMPLIANCE_FORMAT="CEF").stderr.startswith(b"indelible: ")


def test_nobody_reads_standard_error(home: dict[str, str], tmp_path: Path) -> None:
    """The pipe is full long before the end: no call waits, all are recorded, and the process ends."""
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", CALLS, str(tmp_path / "audit.jsonl"), "3000", "read"],
            env={**home, "MCP_COMPLIANCE_FORMAT": "jsonlines"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0
    finally:
        os.close(writer)
        os.close(reader)
    lines = (tmp_path / "audit.jsonl").read_bytes().split(b"\n")
    assert sum(b'"event_type":"mcp_operation",' in line for line in lines) == 3000


def test_wrap_exports_what_it_records(home: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "wrap", "--trail", str(tmp_path / "audit.jsonl"), "--", sys.executable, str(SERVER)],
        input=b"".join([request(1, "initialize"), call(2, "reads"), call(3, "fails")]),
        env={**home, "MCP_COMPLIANCE_FORMAT": "jsonlines"}, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    records = [json.loads(line) for line in done.stderr.split(b"\n")[:-1]]
    calls = {one["tool_name"]: one["event_type"] for one in records if one.get("tool_name")}
    assert calls == {"reads": "ToolInvocationCompleted", "fails": "ToolInvocationFailed"}


@pytest.mark.parametrize("to", ["a file", "standard error"])
@pytest.mark.parametrize("capture", ["fastmcp", "sdk", "sdk1", "asgi", "decorator"])
def test_every_middleware_exports_what_it_records(
    run: Run, home: dict[str, str], tmp_path: Path, capture: str, to: str
) -> None:
    trail, out = tmp_path / "audit.jsonl", tmp_path / "out.cef"
    python = str(old_python()) if capture == "sdk1" else sys.executable
    env = {**home, "PYTHONPATH": "", "MCP_COMPLIANCE_FORMAT": "Cef"}
    if to == "a file":
        env["MCP_COMPLIANCE_OUTPUT"] = str(out)
    done = subprocess.run(
        [python, str(Path(__file__).with_name("exporting.py")), capture, str(trail)],
        env=env, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if to == "a file":
        assert run("ship", "--once", "--trail", trail, **env).returncode == 0
        exported = out.read_bytes()
    else:
        exported = b"".join(line for line in done.stderr.splitlines(keepends=True) if line.startswith(b"CEF:"))
    (tmp_path / "found").write_bytes(exported)
    read = [cefp.parse(line.decode()) for line in exported.split(b"\n")[:-1]]
    calls = [(one["extension"]["cs2"], one["name"], one["severity"]) for one in read]
    assert calls == [
        ("good", "ToolInvocationCompleted", "5"),
        ("bad", "ToolInvocationFailed", "7"),
        *([("refused", "ToolInvocationDenied", "8")] if capture == "asgi" else []),
    ]
    said = run("verify", "--line", tmp_path / "found", "--trail", trail, "--json")
    assert json.loads(said.stdout)["counts"] == {"yes": len(calls)}


@pytest.mark.parametrize(
    "env",
    [
        {"MCP_COMPLIANCE_FORMAT": "splunk"},
        {"MCP_COMPLIANCE_OUTPUT": "out.cef"},
        {"MCP_COMPLIANCE_FORMAT": "cef", "MCP_COMPLIANCE_OUTPUT": "/dev/null/out.cef"},
        {"MCP_COMPLIANCE_FORMAT": "cef", "MCP_COMPLIANCE_OUTPUT": "/dev/null"},
    ],
)
def test_what_cannot_be_exported_refuses_to_start(run: Run, tmp_path: Path, env: dict[str, str]) -> None:
    trail = tmp_path / "t" / "audit.jsonl"
    for command in (
        ["wrap", "--trail", trail, "--", "cat"],
        ["record", "--trail", trail, "--listen", tmp_path / "r.sock"],
    ):
        done = run(*command, **env)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.startswith(b"indelible: MCP_COMPLIANCE_")
        assert done.stderr.count(b"\n") == 1
    assert not trail.exists()
    assert run("log", **env).returncode == run("log").returncode, "who reads looks at none of it"
