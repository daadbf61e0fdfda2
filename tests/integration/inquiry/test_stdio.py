"""`indelible mcp` with real clients: what it answers, what of it is recorded, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import psutil
import pytest
from mcp.shared.exceptions import MCPError

import indelible
from indelible.inquiry.tools import BY_NAME
from indelible.query.engine import making
from indelible.trail import twins
from indelible.trail.durable import Access
from tests.integration.inquiry.conftest import LIMIT_S, Connect, Raw, command
from tests.trails import VKEY, Maker, erased, erasure, operation


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def own(path: Path) -> list[dict[str, Any]]:
    """Return the outcomes that are recorded of the server's own calls."""
    operations = [line for line in lines(path) if line["event_type"] == "mcp_operation"]
    return [line for line in operations if line["target"]["backend"] == "indelible-mcp"]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_the_sdks_client_asks_everything(mode: str, connect: Connect, trail: Path, tmp_path: Path) -> None:
    audit = tmp_path / "asked.jsonl"
    before = {path: path.read_bytes() for path in trail.parent.rglob("*") if path.is_file()}
    questions: list[tuple[str, dict[str, Any]]] = [
        ("search", {"session": ["s2"]}),
        ("timeline", {"session": "s1", "limit": 3}),
        ("statistics", {"group_by": ["kind"]}),
        ("explain", {"seq": 122}),
        ("verify", {}),
        ("prove", {"seq": 5}),
        ("sql", {"query": "SELECT count(*) FROM logs"}),
    ]

    async def asking() -> dict[str, Any]:
        found = {}
        asked = ("--trail", trail, "--audit-trail", audit, "--role", "auditor", "--vkey", VKEY)
        async with connect(*asked, mode=mode) as client:
            tools = (await client.list_tools()).tools
            assert [tool.name for tool in tools] == list(BY_NAME)
            for tool in tools:
                assert tool.annotations is not None
                assert tool.annotations.read_only_hint
                assert tool.output_schema is not None
            for name, arguments in questions:
                result = await client.call_tool(name, arguments)
                assert not result.is_error, result.content
                jsonschema.validate(result.structured_content, BY_NAME[name].answer)
                assert json.loads(result.content[1].text) == result.structured_content  # type: ignore[union-attr]
                found[name] = result.structured_content
        return found

    found = anyio.run(asking)
    assert [event["kind"] for event in found["search"]["events"]] == ["tool_error"]
    assert len(found["timeline"]["items"]) == 3
    assert found["statistics"]["rows"] == [["completed", 140], ["tool_error", 1]]
    assert found["explain"]["event"]["seq"] == 122
    assert found["explain"]["proof"]["state"] == "proven"
    assert found["verify"]["ok"]
    assert found["verify"]["trails"][0]["key_pinned"]
    assert found["sql"]["rows"] == [[141]]
    proven = indelible.search(trail, events="all", session="s1")
    text = next(event for event in proven if event["seq"] == 5)
    raw = json.dumps(text, separators=(",", ":"), ensure_ascii=False)
    assert indelible.verify_proof(found["prove"]["proof"].encode(), raw, VKEY).seq == 5
    assert {path: path.read_bytes() for path in trail.parent.rglob("*") if path.is_file()} == before
    recorded = own(audit)
    assert [event["target"]["capability_name"] for event in recorded] == [name for name, _ in questions]
    for event, (_, arguments) in zip(recorded, questions, strict=True):
        assert event["request"]["args"] == arguments
        assert event["metadata"]["indelible"]["role"] == "auditor"
        assert event["outcome"]["kind"] == "completed"
        assert "result" not in event["outcome"]
        assert event["outcome"]["result_bytes"] > 100
    assert indelible.verify(audit).ok


def test_fastmcps_client_asks(env: dict[str, str], trail: Path, tmp_path: Path) -> None:
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport

    program, *args = command("--trail", trail, "--no-audit")

    async def asking() -> Any:
        async with Client(StdioTransport(program, args, env=env, cwd=str(tmp_path))) as client:
            return await client.call_tool("statistics", {"group_by": ["kind"]})

    assert anyio.run(asking).structured_content["rows"] == [["completed", 140], ["tool_error", 1]]


def test_what_the_role_may_not_is_denied_and_on_record(connect: Connect, trail: Path, tmp_path: Path) -> None:
    audit = tmp_path / "asked.jsonl"

    async def asking() -> list[int]:
        codes = []
        async with connect("--trail", trail, "--audit-trail", audit) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {
                "search", "timeline", "statistics", "explain", "verify",
            }  # fmt: skip
            for name, arguments in (
                ("sql", {"query": "FROM logs"}),
                ("search", {"user": ["ada"]}),
                ("statistics", {"group_by": ["user_id"]}),
                ("none", {}),
            ):
                with pytest.raises(MCPError) as caught:
                    await client.call_tool(name, arguments)
                codes.append(caught.value.code)
            wrong = await client.call_tool("search", {"limt": 3})
            assert wrong.is_error
            found = await client.call_tool("search", {"limit": 3})
            assert '"ada"' not in str(found)
        return codes

    assert anyio.run(asking) == [-32003, -32003, -32003, -32602]
    kinds = [event["outcome"]["kind"] for event in own(audit)]
    assert kinds == ["denied", "denied", "denied", "protocol_error", "tool_error", "completed"]


def test_it_is_asked_about_the_trail_that_it_writes(connect: Connect, tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"

    async def asking() -> list[int]:
        counts = []
        async with connect("--trail", trail, "--role", "auditor") as client:
            for _ in range(4):
                found = await client.call_tool("statistics", {"backend": ["indelible-mcp"]})
                counts.append(found.structured_content["rows"][0][0])
        return counts

    assert anyio.run(asking) == [0, 1, 2, 3]
    assert len(own(trail)) == 4
    assert lines(trail)[-1]["event_type"] == "audit_stopped"
    assert indelible.verify(trail).ok


# --- how it ends ------------------------------------------------------------------------------------------------


def test_it_ends_when_the_client_closes(raw: Callable[..., Raw], tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    server = raw("--trail", trail)
    server.begin()
    assert server.ask("search")["result"]["structuredContent"]["events"] == []
    assert server.end() == 0
    assert lines(trail)[-1]["event_type"] == "audit_stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(number: signal.Signals, raw: Callable[..., Raw], tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    server = raw("--trail", trail)
    server.begin()
    server.ask("search")
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children
    os.kill(server.process.pid, number)
    assert server.process.wait(LIMIT_S) == 0
    gone, alive = psutil.wait_procs(children, LIMIT_S)
    assert not alive
    assert gone
    assert lines(trail)[-1]["event_type"] == "audit_stopped"
    assert indelible.verify(trail).ok


def test_nothing_is_left_when_it_is_killed(raw: Callable[..., Raw], trail: Path) -> None:
    server = raw("--trail", trail, "--no-audit", "--role", "auditor")
    server.begin()
    server.ask("search")
    server.call("tools/call", name="sql", arguments={"query": ENDLESS})
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children
    server.process.kill()
    server.process.wait(LIMIT_S)
    _, alive = psutil.wait_procs(children, LIMIT_S)
    assert not alive


ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(10000) b WHERE a.range * b.range % 7 = 3"


def test_garbage_on_stdin_is_survived(raw: Callable[..., Raw], trail: Path) -> None:
    server = raw("--trail", trail, "--no-audit")
    for garbage in (
        b"\n",
        b"not json\n",
        b"\xff\xfe\x00\n",
        b"[]\n",
        b'{"jsonrpc":"2.0"}\n',
        b"1\n",
        b'"' + b"x" * 200_000 + b'"\n',
    ):
        server.send(garbage)
    server.begin()
    server.send(b'{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"search","arguments":3}}\n')
    assert "error" in server.answer(77)
    assert "result" in server.ask("search", limit=1)
    assert server.end() == 0


def test_a_question_is_ended_by_its_client_and_others_go_on(
    raw: Callable[..., Raw], trail: Path, tmp_path: Path
) -> None:
    audit = tmp_path / "asked.jsonl"
    server = raw("--trail", trail, "--audit-trail", audit, "--role", "auditor")
    server.begin()
    server.ask("search")
    endless = server.call("tools/call", name="sql", arguments={"query": ENDLESS})
    assert "result" in server.ask("search", limit=1)  # beside it
    server.tell("notifications/cancelled", requestId=endless)
    for _ in range(3):
        assert "result" in server.ask("statistics", group_by=["kind"])
    assert server.end() == 0
    kinds = [event["outcome"]["kind"] for event in own(audit)]
    assert kinds.count("cancelled") == 1
    assert kinds.count("completed") == 5


@pytest.fixture
def large(tmp_path: Path) -> Maker:
    """A trail that is worth asking twins of, which it has, but for its newest lines."""
    maker = Maker(tmp_path / "trails" / "audit.jsonl")
    text = "x" * 50_000
    for _ in range(2):
        maker.add_many(180, lambda seq: operation(seq, request__args={"text": text})).rotate()
    maker.add_many(5).seal()
    made = making.make(maker.layout.active, Access())
    assert len(made.made) == 2
    return maker.add_many(5)


@pytest.mark.slow
def test_a_process_that_answers_again_sees_what_became_of_the_trail(
    raw: Callable[..., Raw], large: Maker
) -> None:
    path = large.layout.active
    server = raw("--trail", path, "--no-audit", "--role", "auditor")
    server.begin()

    def counted() -> int:
        said = server.ask("statistics", user=["ada"], status=["success"])["result"]["structuredContent"]
        assert not any(said[name] for name in ("unreadable_lines", "missing_lines", "newer_lines"))
        return int(said["rows"][0][0])

    assert counted() == counted() == 370
    [worker] = psutil.Process(server.process.pid).children()
    held = [one.path for one in worker.open_files() if one.path.endswith(".parquet")]
    assert sorted(held) == sorted(map(str, large.layout.twins.glob("*.parquet")))
    large.add_many(3)
    assert counted() == 373
    closed = large.layout.segment(0)
    lines = closed.read_bytes().splitlines(keepends=True)
    large.add(erasure(large, 4))
    large.seal()
    with twins.alone(large.layout, Access()):
        twins.forget(large.layout, [(4, 4)])
    until = time.monotonic() + LIMIT_S
    while any("twins" in name for name in opened(worker.pid)):
        assert time.monotonic() < until
        time.sleep(0.01)
    lines[4] = erased(lines[4][:-1], 4) + b"\n"
    closed.with_name("new").write_bytes(b"".join(lines))
    closed.with_name("new").replace(closed)
    assert counted() == 372
    large.rotate()
    large.add_many(2)
    assert counted() == counted() == 374
    assert psutil.Process(server.process.pid).children() == [worker]
    assert server.end() == 0


def opened(pid: int) -> list[str]:
    """Return what a process has open, also what was removed."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(fd.readlink()))
    return found


def test_a_question_without_end_is_ended(raw: Callable[..., Raw], trail: Path, tmp_path: Path) -> None:
    (tmp_path / "indelible.yaml").write_text("mcp: {timeout: 1s, at_once: 1}\n")
    server = raw("--trail", trail, "--no-audit", "--role", "auditor")
    server.begin()
    began = time.monotonic()
    said = server.ask("sql", query=ENDLESS)["result"]
    assert said["isError"]
    assert "took longer than 1 s" in said["content"][0]["text"]
    assert time.monotonic() - began < LIMIT_S
    huge = server.ask("sql", query="SELECT repeat('x', 4000000000)")["result"]
    assert huge["isError"]
    assert server.ask("sql", query="SELECT 1 AS one")["result"]["structuredContent"]["rows"] == [[1]]
    assert server.end() == 0


def test_a_module_beside_the_client_is_not_run(trail: Path, tmp_path: Path) -> None:
    """A client starts it in somebody's project: what lies there is not imported by the processes that answer."""
    for name in ("anyio", "pickle", "indelible"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('from the directory of the client')\n")
    program = Raw(
        [str(Path(sys.executable).parent / "indelible"), "mcp", "--trail", str(trail), "--no-audit"],
        {"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        tmp_path,
    )
    program.begin()
    assert "result" in program.ask("search", limit=1)
    assert program.end() == 0
    for pipe in (program.process.stdout, program.process.stderr):
        assert pipe is not None
        pipe.close()
