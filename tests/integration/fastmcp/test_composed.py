"""Servers in servers: mounted, proxied, called by each other's tools, called from Python. One call, one event."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.exceptions import NotFoundError, ToolError
from fastmcp.server import create_proxy
from fastmcp.server.auth import require_scopes
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.server.middleware import AuthMiddleware
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
from fastmcp.server.middleware.rate_limiting import RateLimitingMiddleware
from fastmcp.server.transforms import Namespace
from mcp.shared.exceptions import MCPError

import indelible
from indelible.capture.recorders import recorder_of
from indelible.fastmcp import AuditMiddleware
from tests.environments import old_python
from tests.integration.fastmcp import connecting, servers
from tests.integration.sdk import wires
from tests.integration.sdk.looking import lines
from tests.integration.sdk.wires import LEGACY, MODERN, request

Events = list[dict[str, Any]]


class Trail:
    """A trail, and what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recorder = indelible.open_trail(path)

    def calls(self) -> Events:
        """Return the operations, each with the one intent that it closes."""
        found = [line for line in lines(self.path) if line["event_type"] == "mcp_operation"]
        begun = [line for line in lines(self.path) if line["event_type"] == "mcp_operation_started"]
        closed = [line["request"]["intent"] for line in found if "intent" in line["request"]]
        assert sorted(closed) == sorted(line["event_id"] for line in begun)
        return found

    def named(self) -> list[tuple[str, str, str]]:
        """Return backend, name and kind of every call."""
        return [
            (each["target"]["backend"], each["target"]["capability_name"], each["outcome"]["kind"])
            for each in self.calls()
        ]


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    found = Trail(tmp_path / "audit.jsonl")
    with contextlib.closing(found.recorder):
        yield found


def child(trail: Any, *, audited: bool = True, name: str = "child") -> FastMCP:
    server = servers.audited(trail, name=name) if audited else servers.shop(name)

    @server.tool
    async def twice(ctx: Context) -> str:
        await ctx.fastmcp.call_tool("ok", {"a": 1})
        return str(indelible.current_request_id())

    return server


@pytest.mark.parametrize("audited", ["both", "parent", "child"])
def test_a_call_of_a_mounted_server_is_one_call(trail: Trail, audited: str) -> None:
    parent: FastMCP = FastMCP("parent")
    if audited != "child":
        parent.add_middleware(AuditMiddleware(trail.recorder))
    parent.mount(child(trail.recorder, audited=audited != "parent"), "sub")

    async def run() -> None:
        async with Client(parent) as client:
            await client.call_tool("sub_ok", {"a": 1})
            with pytest.raises(ToolError):
                await client.call_tool("sub_boom", {})
            await client.read_resource("item://sub/7")
            await client.get_prompt("sub_p", {"q": "x"})

    asyncio.run(run())
    calls = trail.calls()
    names = ["sub_ok", "sub_boom", "item://sub/7", "sub_p"]
    inner = ["ok", "boom", "item://7", "p"]
    asked = inner if audited == "child" else names
    assert [each["target"]["capability_name"] for each in calls] == asked
    assert {each["target"]["backend"] for each in calls} == {"child" if audited == "child" else "parent"}
    if audited == "both":
        assert [each["target"]["original_name"] for each in calls] == inner
    assert [each["outcome"].get("error_type") for each in calls] == [None, "KeyError", None, None]


def test_what_tool_code_calls_is_a_call_of_its_own(trail: Trail) -> None:
    server = child(trail.recorder)
    other = servers.audited(trail.recorder, name="other")

    @server.tool
    async def elsewhere(a: int) -> int:
        await other.call_tool("ok", {"a": a})
        return a

    async def run() -> None:
        async with Client(server) as client:
            assert (await client.call_tool("twice", {})).data
            await client.call_tool("elsewhere", {"a": 2})

    asyncio.run(run())
    assert trail.named() == [
        ("child", "ok", "completed"),
        ("child", "twice", "completed"),
        ("other", "ok", "completed"),
        ("child", "elsewhere", "completed"),
    ]
    first, outer, second, last = trail.calls()
    assert first["metadata"]["within"] == outer["request"]["request_id"]
    assert second["metadata"]["within"] == last["request"]["request_id"]
    assert len({each["request"]["request_id"] for each in (first, outer, second, last)}) == 4
    assert "rpc_id" not in first["request"]
    assert first["source"] == outer["source"]


def test_what_a_call_leaves_behind_calls_on_its_own(trail: Trail) -> None:
    """A task that outlives its call is no request of the client's, though it runs in the context of one."""
    server = child(trail.recorder)
    left: list[asyncio.Task[Any]] = []
    over = asyncio.Event()

    @server.tool
    async def later() -> str:
        async def call() -> None:
            await over.wait()
            await server.call_tool("ok", {"a": 1})

        left.append(asyncio.ensure_future(call()))
        return "begun"

    async def end() -> None:
        over.set()
        await left.pop()
        over.clear()

    async def run() -> None:
        async with Client(server) as client:
            for _ in range(2):
                await client.call_tool("later", {})
                await end()
        await server.call_tool("later", {})
        await end()

    asyncio.run(run())
    calls = trail.calls()
    assert [each["target"]["capability_name"] for each in calls] == ["later", "ok"] * 3
    for outer, inner in zip(calls[::2], calls[1::2], strict=True):
        assert inner["metadata"] == {"within": outer["request"]["request_id"]}
        assert inner["source"] == outer["source"]
        assert "rpc_id" not in inner["request"]


def test_each_server_on_the_way_of_a_proxied_call_has_its_own_event_with_one_id(trail: Trail) -> None:
    backend = child(trail.recorder, name="backend")
    proxy = create_proxy(backend, name="proxy")
    proxy.add_middleware(AuditMiddleware(trail.recorder))

    async def run() -> None:
        async with Client(proxy) as client:
            await client.call_tool("ok", {"a": 1})
            with pytest.raises(ToolError):
                await client.call_tool("boom", {})

    asyncio.run(run())
    assert trail.named() == [
        ("backend", "ok", "completed"),
        ("proxy", "ok", "completed"),
        ("backend", "boom", "tool_error"),
        ("proxy", "boom", "tool_error"),
    ]
    ids = [each["request"]["request_id"] for each in trail.calls()]
    assert (ids[0], ids[2]) == (ids[1], ids[3])
    assert len(set(ids)) == 2


def test_a_proxied_server_that_dies_is_told_from_a_tool_that_fails(trail: Trail, tmp_path: Path) -> None:
    (tmp_path / "mortal.py").write_text(
        "import os\nfrom fastmcp import FastMCP\nmortal = FastMCP('mortal')\n"
        "@mortal.tool\ndef die() -> None:\n    os._exit(3)\n"
        "@mortal.tool\ndef fail() -> None:\n    raise KeyError\n"
        "mortal.run('stdio', show_banner=False, log_level='CRITICAL')\n"
    )
    started = {"command": sys.executable, "args": [str(tmp_path / "mortal.py")]}
    proxy = create_proxy({"mcpServers": {"mortal": started}}, name="proxy")
    proxy.add_middleware(AuditMiddleware(trail.recorder))

    async def run() -> None:
        async with Client(proxy) as client:
            for name in ("fail", "die"):
                with pytest.raises(ToolError):
                    await client.call_tool(name, {})

    asyncio.run(run())
    assert trail.named() == [("proxy", "fail", "tool_error"), ("proxy", "die", "backend_unavailable")]


def test_direct_calls_from_python_are_recorded(trail: Trail) -> None:
    server = child(trail.recorder)

    async def run() -> None:
        await server.call_tool("ok", {"a": 1})
        await server.read_resource("r://a")
        await server.render_prompt("p", {"q": "x"})
        with pytest.raises(ToolError):
            await server.call_tool("boom", {})
        with trail.recorder.operation("tools/call", "job"):
            await server.call_tool("ok", {"a": 2})

    asyncio.run(run())
    calls = trail.calls()
    assert [each["outcome"]["kind"] for each in calls[:4]] == ["completed"] * 3 + ["tool_error"]
    assert {each["source"]["caller"] for each in calls} == {"library"}
    assert [each["request"].get("args") for each in calls[:3]] == [{"a": 1}, {"uri": "r://a"}, {"q": "x"}]
    assert len(calls) == 6


def test_a_direct_call_of_a_mounted_server_is_one_call(trail: Trail) -> None:
    parent: FastMCP = FastMCP("parent")
    parent.add_middleware(AuditMiddleware(trail.recorder))
    parent.mount(child(trail.recorder), "sub")
    asyncio.run(parent.call_tool("sub_ok", {"a": 1}))
    asyncio.run(parent.call_tool("sub_twice", {}))
    assert trail.named() == [
        ("parent", "sub_ok", "completed"),
        ("child", "ok", "completed"),
        ("parent", "sub_twice", "completed"),
    ]
    assert [each["target"].get("original_name") for each in trail.calls()] == ["ok", None, "twice"]


def test_the_middleware_is_counted_once_however_often_it_is_added(trail: Trail) -> None:
    server = servers.audited(trail.recorder)
    server.add_middleware(AuditMiddleware(trail.recorder))

    async def run() -> None:
        async with Client(server) as client:
            await client.call_tool("ok", {"a": 1})
            await client.call_tool("ok", {"a": 2})
        await server.call_tool("ok", {"a": 3})

    asyncio.run(run())
    assert [each["request"]["args"]["a"] for each in trail.calls()] == [1, 2, 3]


@pytest.mark.parametrize("how", ["mounted", "twice"])
def test_a_trail_that_was_opened_twice_has_each_call_once(trail: Trail, how: str) -> None:
    """By code and by its name: these are two recorders."""
    server = servers.audited(trail.path, name="child")
    if how == "twice":
        server.add_middleware(AuditMiddleware(trail.recorder))
    else:
        server, mounted = FastMCP("parent"), server
        server.add_middleware(AuditMiddleware(trail.recorder))
        server.mount(mounted)

    async def run() -> None:
        async with Client(server) as client:
            for number in range(2):
                await client.call_tool("ok", {"a": number})

    with contextlib.closing(recorder_of(trail.path)()):
        asyncio.run(run())
    assert trail.named() == [(server.name, "ok", "completed")] * 2


def test_trails_of_a_server_and_of_one_in_it_know_a_call_by_one_id(trail: Trail, tmp_path: Path) -> None:
    inner = Trail(tmp_path / "inner.jsonl")
    parent: FastMCP = FastMCP("parent")
    parent.add_middleware(AuditMiddleware(trail.recorder))
    parent.mount(child(inner.recorder), "sub")

    async def run() -> None:
        async with Client(parent) as client:
            for _ in range(2):
                await client.call_tool("sub_twice", {})

    with contextlib.closing(inner.recorder):
        asyncio.run(run())
        assert inner.named() == [("child", "ok", "completed"), ("child", "twice", "completed")] * 2
    assert trail.named() == [("parent", "sub_twice", "completed")] * 2
    ids = [each["request"]["request_id"] for each in trail.calls()]
    assert [each["request"]["request_id"] for each in inner.calls()[1::2]] == ids


@pytest.mark.parametrize("policy", ["allow", "deny"])
def test_a_second_trail_of_one_server_is_said_to_get_nothing(
    trail: Trail, tmp_path: Path, caplog: pytest.LogCaptureFixture, policy: Any
) -> None:
    server = servers.audited(trail.recorder)
    second = indelible.open_trail(tmp_path / "second.jsonl", on_failure=policy)
    server.add_middleware(AuditMiddleware(second))

    async def run() -> None:
        async with Client(server, mode="legacy") as client:
            await client.call_tool("ok", {"a": 1})

    with contextlib.closing(second), caplog.at_level("ERROR"):
        if policy == "deny":
            with pytest.raises(MCPError, match="refused"):
                asyncio.run(run())
        else:
            asyncio.run(run())
            assert trail.named() == [("shop", "ok", "completed")]
    assert "shop: its calls are recorded into another trail" in caplog.text


def test_what_authorization_hides_under_another_name_is_denied(trail: Trail) -> None:
    server = servers.audited(trail.recorder)
    server.add_transform(Namespace("far"))

    async def run() -> None:
        async with Client(server) as client:
            for name in ("far_ok", "far_denied", "denied"):
                with contextlib.suppress(ToolError):
                    await client.call_tool(name, {"a": 1} if name == "far_ok" else {})

    asyncio.run(run())
    assert [(name, kind) for _, name, kind in trail.named()] == [
        ("far_ok", "completed"),
        ("far_denied", "denied"),
        ("denied", "protocol_error"),
    ]


def test_what_other_middleware_answers_or_refuses_is_recorded(trail: Trail) -> None:
    server: FastMCP = FastMCP("shop")
    ran: list[int] = []

    @server.tool(annotations={"readOnlyHint": True})
    def ok(a: int) -> int:
        ran.append(a)
        return a

    server.add_middleware(AuditMiddleware(trail.recorder))
    server.add_middleware(ResponseCachingMiddleware())
    server.add_middleware(AuthMiddleware(auth=require_scopes("buyer")))
    limited: FastMCP = servers.audited(trail.recorder, name="limited")
    limited.add_middleware(RateLimitingMiddleware(max_requests_per_second=0.001, burst_capacity=4))

    async def run() -> None:
        async with Client(server) as client:
            with pytest.raises(ToolError):
                await client.call_tool("ok", {"a": 1})
        async with connecting.memory(limited, LEGACY) as wire:
            for number in range(6):
                await wire.send(request(number, "tools/call", {"name": "ok", "arguments": {"a": 1}}, LEGACY))
                await wire.answer(number)

    asyncio.run(run())
    assert not ran
    assert trail.named()[0] == ("shop", "ok", "denied")
    kinds = [kind for backend, _, kind in trail.named() if backend == "limited"]
    assert len(kinds) == 6
    assert set(kinds) == {"completed", "denied"}


def test_a_cached_answer_is_a_call(trail: Trail) -> None:
    server = servers.audited(trail.recorder)
    server.add_middleware(ResponseCachingMiddleware())

    async def run() -> None:
        async with Client(server) as client:
            for _ in range(2):
                await client.call_tool("whoami", {})

    asyncio.run(run())
    first, second = trail.calls()
    assert first["outcome"]["result_hmac"] == second["outcome"]["result_hmac"]
    assert first["request"]["request_id"] != second["request"]["request_id"]


@pytest.mark.parametrize("era", [LEGACY, MODERN])
def test_who_called_over_http(trail: Trail, era: str) -> None:
    claims = {"client_id": "cl", "sub": "alice", "scopes": ["read"], "roles": ["buyer"]}
    server = servers.audited(trail.recorder, auth=StaticTokenVerifier({"good": claims}))

    async def run() -> None:
        async with wires.listening(server.http_app()) as url:
            trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            headers = {"authorization": "Bearer good", "traceparent": trace, "x-request-id": "from-a-header"}
            wire = wires.Http(url, era, headers)
            await wires.greet(wire, era)
            for number, name in enumerate(("whoami", "denied")):
                await wire.send(request(number, "tools/call", {"name": name, "arguments": {}}, era))
                result = (await wire.answer(number))["result"]
                if name == "whoami":
                    assert result["content"][0]["text"] == "from-a-header"
            await wire.close()

    asyncio.run(run())
    assert [kind for _, _, kind in trail.named()] == ["completed", "denied"]
    for event in trail.calls():
        source = event["source"]
        assert (source["user_id"], source["roles"]) == ("alice", ["buyer"])
        assert (source["client"], source["client_ip"]) == ("tester/9", "127.0.0.1")
        assert event["request"]["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert b"good" not in trail.path.read_bytes()


def test_only_what_is_hidden_from_the_caller_is_denied(trail: Trail) -> None:
    """What nobody may call is not there, and a tool that was called may say itself that something is not."""
    claims = {"client_id": "cl", "sub": "alice", "scopes": ["read"]}
    server = servers.audited(trail.recorder, auth=StaticTokenVerifier({"good": claims}))

    @server.tool(auth=require_scopes("read"))
    def lookup() -> None:
        raise NotFoundError("there is no such ticket")

    @server.tool(auth=require_scopes("read"))
    def old() -> None:
        pass

    server.disable(names={"old"})

    async def run() -> None:
        async with wires.listening(server.http_app()) as url:
            wire = wires.Http(url, LEGACY, {"authorization": "Bearer good"})
            await wires.greet(wire, LEGACY)
            for number, name in enumerate(("lookup", "old", "denied")):
                await wire.send(request(number, "tools/call", {"name": name, "arguments": {}}, LEGACY))
                await wire.answer(number)
            await wire.close()

    asyncio.run(run())
    assert [(name, kind) for _, name, kind in trail.named()] == [
        ("lookup", "protocol_error"),
        ("old", "protocol_error"),
        ("denied", "denied"),
    ]


def test_with_fastmcp_3_each_call_is_one_call_too(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    program = [str(old_python()), "-m", "tests.integration.fastmcp.composed", str(path)]
    subprocess.run(program, cwd=wires.ROOT, check=True, capture_output=True, timeout=120)
    calls = [line for line in lines(path) if line["event_type"] == "mcp_operation"]
    assert [
        (each["target"]["backend"], each["target"]["capability_name"], each["target"].get("original_name"))
        for each in calls
    ] == [
        ("parent", "sub_ok", "ok"),
        ("parent", "sub_boom", "boom"),
        ("parent", "item://sub/7", "item://7"),
        ("parent", "sub_p", "p"),
        ("child", "ok", None),
        ("parent", "sub_twice", "twice"),
        ("parent", "sub_ok", "ok"),
    ]
    assert calls[1]["outcome"]["error_type"] == "KeyError"
    assert calls[4]["metadata"] == {"within": calls[5]["request"]["request_id"]}
    assert indelible.verify(path).ok
