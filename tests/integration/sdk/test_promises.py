"""What is promised of calls to servers of the official SDK, beside their outcomes: order, ids, principals, numbers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl

import indelible
from indelible.capture import sdk2
from indelible.capture.calling import Audited, OpenCall
from indelible.capture.causes import TABLE
from indelible.errors import ConfigError
from indelible.mcp import AuditMiddleware
from tests.integration.sdk import servers, wires
from tests.integration.sdk.looking import (
    call,
    check,
    check_refused_and_withheld,
    lines,
    of,
    refused_and_withheld,
    wait_until,
)
from tests.integration.sdk.wires import LEGACY, MODERN
from tests.recording import full_disk


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.mark.parametrize("durability", ["process", "disk"])
@pytest.mark.parametrize("kind", ["sdk2", "mcpserver"])
def test_what_cannot_be_recorded_is_refused_or_withheld(
    kind: str, durability: str, trail: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        server = servers.built(kind)
        with indelible.open_trail(trail, on_failure="deny", durability=durability) as recorder:
            indelible.attach(server, recorder)
            async with wires.memory(server, LEGACY) as wire:
                await refused_and_withheld(wire, trail, tmp_path / "release", full_disk)

    asyncio.run(run())
    check_refused_and_withheld(trail, TABLE[kind])
    assert indelible.verify(trail).ok


@pytest.mark.parametrize("kind", ["fastmcp", "lowlevel"])
def test_what_cannot_be_recorded_is_refused_or_withheld_by_the_tap_too(
    kind: str, trail: Path, tmp_path: Path
) -> None:
    full = tmp_path / "audit.jsonl.full"

    @contextlib.contextmanager
    def full_elsewhere() -> Iterator[None]:
        full.touch()
        try:
            yield
        finally:
            full.unlink()

    async def run() -> None:
        async with wires.old(kind, "stdio", trail) as wire:
            await refused_and_withheld(wire, trail, tmp_path / "release", full_elsewhere)
            await wire.send(call(4, "whoami", "named"))
            assert (await wire.answer(4))["result"]["content"][0]["text"] == "named"

    asyncio.run(run())
    check_refused_and_withheld(trail, TABLE["sdk1"])
    assert indelible.verify(trail).ok


def command(kind: str, trail: Path) -> tuple[str, ...]:
    return wires.old_command("fastmcp", trail, "stdio") if kind == "sdk1" else wires.command(kind, trail)


@pytest.mark.parametrize("kind", ["sdk2", "mcpserver", "sdk1"])
def test_a_server_that_is_killed_leaves_its_calls_interrupted(kind: str, trail: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with wires.stdio(*command(kind, trail), era=LEGACY) as wire:
            await wire.send(call(1, "hang", "killed", until=str(tmp_path / "never")))
            await wait_until(lambda: of(trail, "killed", "mcp_operation_started"))
            wire.process.kill()
            await wire.process.wait()

    asyncio.run(run())
    indelible.open_trail(trail).close()
    [event] = of(trail, "killed")
    assert event["outcome"]["kind"] == TABLE[kind]["killed"].kind
    assert event["request"]["intent"] == of(trail, "killed", "mcp_operation_started")[0]["event_id"]
    assert indelible.verify(trail).ok


def test_a_thousand_calls_at_once_are_a_thousand_operations(trail: Path) -> None:
    async def run() -> None:
        server = servers.mcpserver()
        with indelible.open_trail(trail, on_failure="deny") as recorder:
            indelible.attach(server, recorder)
            async with wires.memory(server, LEGACY) as wire:
                for number in range(1000):
                    await wire.send(
                        call(number, ("ok", "boom", "whoami")[number % 3], f"call-{number}", a=number)
                    )
                await asyncio.gather(*(wire.answer(number) for number in range(1000)))

    servers.seen.clear()
    asyncio.run(run())
    outcomes = [line for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert Counter(line["request"]["request_id"] for line in outcomes) == Counter(
        f"call-{number}" for number in range(1000)
    )
    assert Counter(line["outcome"]["kind"] for line in outcomes) == {"completed": 667, "tool_error": 333}
    assert sorted(filter(None, servers.seen)) == sorted(f"call-{number}" for number in range(2, 1000, 3))


@pytest.mark.parametrize("kind", ["sdk2", "mcpserver"])
@pytest.mark.parametrize("era", [LEGACY, MODERN])
def test_the_request_id_is_known_to_tools_their_threads_and_logs(kind: str, era: str, trail: Path) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(indelible.RequestIdFilter())
    handler.setFormatter(logging.Formatter("%(request_id)s %(message)s"))
    said = []

    async def run() -> None:
        server = servers.built(kind)
        with indelible.open_trail(trail) as recorder:
            indelible.attach(server, recorder)
            async with wires.http(server, era) as wire:
                await wire.send(call(1, "whoami", "mine-1", era))
                said.append((await wire.answer(1))["result"]["content"][0]["text"])
                await wire.send(call(2, "whoami", "not good: a space", era))
                said.append((await wire.answer(2))["result"]["content"][0]["text"])

    servers.log.addHandler(handler)
    try:
        asyncio.run(run())
    finally:
        servers.log.removeHandler(handler)
    made = [line["request"]["request_id"] for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert made[0] == "mine-1"
    assert len(made[1]) == 36
    assert said == made
    assert stream.getvalue().splitlines() == [f"{request_id} asked who I am" for request_id in made]


class Verifier:
    async def verify_token(self, token: str) -> AccessToken | None:
        if token != "good.jwt.token":
            return None
        claims = {"iss": "https://issuer.example", "roles": ["clerk"], "act": {"sub": "agent-7"}}
        return AccessToken(token=token, client_id="app", scopes=["buy"], subject="ada", claims=claims)


@pytest.mark.parametrize("era", [LEGACY, MODERN])
def test_a_principal_stands_in_the_event_and_a_bad_credential_never_gets_there(era: str, trail: Path) -> None:
    auth = AuthSettings(
        issuer_url=AnyHttpUrl("https://issuer.example"),
        resource_server_url=AnyHttpUrl("http://127.0.0.1/mcp"),
        validate_token_resource=False,
    )
    server = MCPServer("shop", token_verifier=Verifier(), auth=auth)
    server.tool()(servers.whoami)

    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            indelible.attach(server, recorder)
            async with wires.listening(server.streamable_http_app()) as url:
                async with httpx2.AsyncClient() as client:
                    frame = call(9, "whoami", "rejected_credential", era)
                    denied = await client.post(url, json=frame, headers={"authorization": "Bearer bad"})
                    assert denied.status_code == 401
                wire = wires.Http(
                    url, era, {"authorization": "Bearer good.jwt.token", "x-request-id": "from-header"}
                )
                await wires.greet(wire, era)
                frame = call(1, "whoami", "", era)
                await wire.send(frame)
                assert "result" in await wire.answer(1)
                await wire.close()

    asyncio.run(run())
    assert TABLE["mcpserver"]["rejected_credential"].kind is None
    [event] = [line for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert event["request"]["request_id"] == "from-header"
    source = event["source"]
    about = {key: source[key] for key in ("user_id", "roles", "issuer", "on_behalf_of", "auth_method")}
    assert about == {
        "user_id": "ada",
        "roles": ["clerk"],
        "issuer": "https://issuer.example",
        "on_behalf_of": ["agent-7"],
        "auth_method": "jwt",
    }
    assert len(source["auth_key_id"]) == 8
    assert b"good.jwt" not in trail.read_bytes()


def test_a_middleware_in_the_servers_own_list_records_too(trail: Path) -> None:
    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            server = MCPServer("x", middleware=[AuditMiddleware(recorder, backend="till")])
            server.tool(annotations=servers.READ_ONLY)(servers.whoami)
            async with wires.memory(server, LEGACY) as wire:
                await wire.send(call(1, "whoami", "one"))
                await wire.answer(1)

    asyncio.run(run())
    [event] = of(trail, "one")
    assert (event["target"]["backend"], event["target"]["effects"]) == ("till", "read_only")
    assert "tool_sha256" in event["target"]


def serving(pages: list[list[types.Tool]], asked: list[str]) -> Server[Any]:
    """Return a server that lists its tools on several pages, and whose tools all return."""

    async def listed(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        cursor = params.cursor if params is not None and params.cursor else "0"
        asked.append(cursor)
        if not pages:
            raise RuntimeError("out of order")
        after = str(int(cursor) + 1) if int(cursor) + 1 < len(pages) else None
        return types.ListToolsResult(tools=pages[int(cursor)], next_cursor=after)

    async def called(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        said = {"word": "canary", "other": "kept"}
        return types.CallToolResult(
            content=[types.TextContent(type="text", text="a canary")], structured_content=said
        )

    return Server("shop", on_list_tools=listed, on_call_tool=called)


def tool(name: str) -> types.Tool:
    schema = {"type": "object", "properties": {"word": {"type": "string", "x-sensitive": True}}}
    return types.Tool(name=name, input_schema=schema, output_schema=schema)


def test_what_definitions_say_holds_from_the_first_call(trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whichever page they stand, and for tools that come later; of arguments and of results."""
    monkeypatch.setattr(sdk2, "AGAIN_S", 0.0)
    pages, asked = [[tool("a")], [tool("b")]], list[str]()
    config = trail.with_name("results.yaml")
    config.write_text("audit: {record_results: full}\n")

    async def run() -> None:
        server = serving(pages, asked)
        with indelible.open_trail(trail) as recorder:
            indelible.attach(server, recorder)
            async with wires.memory(server, LEGACY) as wire:
                for number, name in enumerate("bab"):
                    await wire.send(call(number, name, f"call-{number}", word="canary", other="kept"))
                    await wire.answer(number)
                pages.append([tool("late")])
                await wire.send(call(9, "late", "call-9", word="canary", other="kept"))
                await wire.answer(9)

    asyncio.run(run())
    assert asked == ["0", "1", "0", "1", "2"]
    for mark in ("call-0", "call-1", "call-2", "call-9"):
        assert of(trail, mark)[0]["request"]["args"] == {"word": "[REDACTED]", "other": "kept"}
    assert b"canary" not in trail.read_bytes()


def test_a_server_that_cannot_list_its_tools_is_asked_once_and_called_all_the_same(trail: Path) -> None:
    asked = list[str]()

    async def run() -> None:
        server = serving([], asked)
        with indelible.open_trail(trail) as recorder:
            indelible.attach(server, recorder)
            async with wires.memory(server, LEGACY) as wire:
                for number in range(3):
                    await wire.send(call(number, "a", f"call-{number}"))
                    assert "result" in await wire.answer(number)

    asyncio.run(run())
    assert asked == ["0"]
    assert [len(of(trail, f"call-{number}")) for number in range(3)] == [1, 1, 1]


def test_a_call_that_is_cancelled_while_the_server_lists_its_tools_is_a_call(
    trail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = asyncio.Event()

    async def listed(ctx: Any, params: Any) -> types.ListToolsResult:
        listing.set()
        await asyncio.sleep(60)
        raise AssertionError

    async def run() -> None:
        server = Server[Any]("shop", on_list_tools=listed)
        with indelible.open_trail(trail) as recorder:
            indelible.attach(server, recorder)
            async with wires.memory(server, LEGACY) as wire:
                await wire.send(call(1, "a", "cancelled"))
                await listing.wait()
                cancel = {"requestId": 1}
                await wire.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
                await wait_until(lambda: of(trail, "cancelled"))

    monkeypatch.setattr(sdk2, "LIST_S", 30.0)
    asyncio.run(run())
    check(trail, "cancelled", TABLE["sdk2"]["cancelled"])


@pytest.mark.parametrize("where", ["_open", "_close"])
@pytest.mark.parametrize("on_failure", ["allow", "deny"])
def test_a_fault_of_ours_ends_no_call_unless_nothing_may_go_on_unrecorded(
    where: str, on_failure: Any, trail: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("canary")

    async def run() -> dict[str, Any]:
        server = servers.lowlevel()
        with indelible.open_trail(trail, on_failure=on_failure) as recorder:
            indelible.attach(server, recorder)
            async with wires.memory(server, LEGACY) as wire:
                monkeypatch.setattr(Audited if where == "_open" else OpenCall, where, fail)
                await wire.send(call(1, "ok", "one", a=1))
                return await wire.answer(1)

    answer = asyncio.run(run())
    assert ("result" in answer) == (on_failure == "allow")
    [said] = [
        message for message in caplog.messages if message.startswith("a fault in Indelible: RuntimeError at ")
    ]
    assert "calling.py" in said
    assert "canary" not in caplog.text + str(answer)


def test_what_is_no_server_is_named() -> None:
    with pytest.raises(ConfigError, match="AuditASGI"):
        indelible.attach(lambda scope: None)
    with pytest.raises(ConfigError, match="this is a dict"):
        indelible.attach({})
