"""Every cause of the table really happens behind `AuditASGI`, and leaves the one event that it says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import indelible
from indelible.capture.causes import TABLE
from tests.integration.asgi import connecting
from tests.integration.asgi.connecting import REFUSED_HEADER
from tests.integration.sdk import wires
from tests.integration.sdk.looking import STRAIGHT, check, lines, of, wait_until
from tests.integration.sdk.wires import LEGACY, MODERN, request
from tests.recording import full_disk


@contextlib.asynccontextmanager
async def connected(column: str, era: str, trail: Path, **about: Any) -> AsyncIterator[Any]:
    if column == "asgi-sse":
        async with connecting.old_sse(trail) as wire:
            yield wire
        return
    with indelible.open_trail(trail, on_failure="deny") as recorder:
        async with wires.listening(connecting.audited("mcpserver", recorder, **about)) as url:
            http = wires.Http(url, era)
            try:
                await wires.greet(http, era)
                yield http
            finally:
                await http.close()


class Happening:
    """Makes the causes of one column happen, each under its own name as request id."""

    def __init__(self, column: str, era: str, trail: Path) -> None:
        self.column, self.era, self.trail = column, era, trail
        self.release, self.full = trail.with_name("release"), trail.with_name("audit.jsonl.full")
        self.causes = set(STRAIGHT)

    def hang(self, rpc_id: int, mark: str) -> wires.Frame:
        params = {"name": "hang", "arguments": {"until": str(self.release)}}
        return request(rpc_id, "tools/call", params, self.era, mark)

    @contextlib.contextmanager
    def unwritable(self) -> Iterator[None]:
        self.full.touch()
        with full_disk():  # the one of the other process is full while there is the file
            yield
        self.full.unlink()

    async def begun(self, wire: Any, rpc_id: int, mark: str) -> None:
        self.causes.add(mark)
        await wire.send(self.hang(rpc_id, mark))
        await wait_until(lambda: of(self.trail, mark, "mcp_operation_started"))

    async def all(self, *, json: bool) -> None:
        async with connected(self.column, self.era, self.trail, json_response=json) as wire:
            for number, (cause, (method, params)) in enumerate(STRAIGHT.items()):
                await wire.send(request(number, method, params, self.era, cause))
                await wire.answer(number)
            await (self.asked(wire) if self.era == MODERN else self.cancelled(wire))
            await self.unrecorded(wire)
            went = "disconnected_http_session" if self.column == "asgi-2025" else "disconnected"
            await self.begun(wire, 60, went)
            await wire.close()
            if json:  # the app does not look whether its client is there until it answers
                self.release.touch()
            await wait_until(lambda: of(self.trail, went))
            if isinstance(wire, connecting.Sse):
                await self.killed(wire)

    async def killed(self, wire: connecting.Sse) -> None:
        assert wire.process is not None
        another = connecting.Sse(wire.url)
        await wires.greet(another, self.era)
        await self.begun(another, 1, "killed")
        wire.process.kill()
        await wire.process.wait()
        await another.close()
        indelible.open_trail(self.trail).close()

    async def cancelled(self, wire: Any) -> None:
        await self.begun(wire, 50, "cancelled")
        cancel = {"requestId": 50, "reason": "no more"}
        await wire.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
        await wait_until(lambda: of(self.trail, "cancelled"))
        if isinstance(wire, connecting.Sse):  # a message in a known session that the server does not let in
            assert await wire.post(self.hang(55, "misdirected"), host="elsewhere.example") == 421

    async def asked(self, wire: Any) -> None:
        self.causes.update(("input_required", "continued"))
        params: dict[str, Any] = {"name": "ask", "arguments": {}}
        await wire.send(request(70, "tools/call", params, self.era, "input_required"))
        result = (await wire.answer(70))["result"]
        answers = {"q": {"action": "accept", "content": {}}}
        params |= {"requestState": result["requestState"], "inputResponses": answers}
        await wire.send(request(71, "tools/call", params, self.era, "continued"))
        await wire.answer(71)

    async def unrecorded(self, wire: Any) -> None:
        self.causes.add("refused")
        with self.unwritable():
            await wire.send(self.hang(80, "refused"))
            assert (await wire.answer(80))["error"]["message"].startswith("refused: ")
        await self.begun(wire, 81, "withheld")
        with self.unwritable():
            self.release.touch()
            assert "withheld" in (await wire.answer(81))["error"]["message"]
        self.release.unlink()
        await wire.send(request(82, "tools/call", {"name": "ok", "arguments": {"a": 2}}, self.era, "after"))
        assert "result" in await wire.answer(82)


@pytest.mark.parametrize(
    ("column", "era", "json"),
    [("asgi-2025", LEGACY, False), ("asgi-2025", LEGACY, True), ("asgi-2026", MODERN, False),
     ("asgi-2026", MODERN, True), ("asgi-sse", LEGACY, False)],
)  # fmt: skip
def test_every_cause_leaves_its_one_event(column: str, era: str, *, json: bool, tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    happening = Happening(column, era, trail)
    asyncio.run(happening.all(json=json))
    events = {cause: check(trail, cause, TABLE[column][cause]) for cause in happening.causes}
    operations = [line for line in lines(trail) if line["event_type"] == "mcp_operation"]
    others = {line["request"]["request_id"]: line["outcome"]["kind"] for line in operations}
    assert len(operations) == len(others)
    rest = {mark: kind for mark, kind in others.items() if mark not in events}
    assert rest == {"after": "completed"} | ({"misdirected": "protocol_error"} if column == "asgi-sse" else {})
    event = events["returned"]
    target, source = event["target"], event["source"]
    assert (target["backend"], target["protocol_version"]) == ("shop", era)
    assert (source["caller"], source["client"], source["client_ip"]) == ("http", "tester/9", "127.0.0.1")
    assert ("session_id" in source) == (era == LEGACY)
    assert event["request"]["args"] == {"a": 1}
    if era == MODERN:
        assert events["continued"]["request"]["continues"] == "input_required"
    else:
        assert "server_version" in target
        assert events["cancelled"]["outcome"]["error"] == "no more"
    assert events["withheld"]["metadata"]["answer_withheld"] is True
    assert indelible.verify(trail).ok


@pytest.mark.parametrize("era", [LEGACY, MODERN])
def test_a_rejected_credential(era: str, tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    column = TABLE["asgi-2025" if era == LEGACY else "asgi-2026"]

    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            async with wires.listening(connecting.audited("mcpserver", recorder)) as url:
                good = wires.Http(url, era)
                await wires.greet(good, era)
                frame = request(
                    1, "tools/call", {"name": "ok", "arguments": {"a": 1}}, era, "rejected_credential"
                )
                async with httpx2.AsyncClient() as client:
                    headers = {
                        **good._headers(frame),
                        REFUSED_HEADER: "401",
                        "authorization": "Bearer s3cr3t-s3cr3t",
                    }
                    assert (await client.post(url, json=frame, headers=headers)).status_code == 401
                    headers.pop("mcp-session-id", None)
                    assert (await client.post(url, json=frame, headers=headers)).status_code == 401
                await good.close()

    asyncio.run(run())
    cell = column["rejected_credential"]
    rejected = [line for line in lines(trail) if line["event_type"] == "auth_rejected"]
    assert len(rejected) == (1 if era == LEGACY else 2)
    assert rejected[0]["outcome"]["kind"] == "unauthenticated"
    assert rejected[0]["outcome"]["error"] == "invalid_token"
    if cell.kind is None:
        assert of(trail, "rejected_credential") == []
    else:
        check(trail, "rejected_credential", cell)
    assert b"s3cr3t" not in trail.read_bytes()


def test_a_killed_process(tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    hang = {"name": "hang", "arguments": {"until": "/no"}}

    async def run() -> None:
        async with connecting.process(*connecting.command(trail)) as ([port], running):
            both = []
            for number, era in enumerate((LEGACY, MODERN)):
                wire = wires.Http(f"http://127.0.0.1:{port}/mcp", era)
                both.append(wire)
                await wires.greet(wire, era)
                await wire.send(request(number, "tools/call", hang, era, era))
                await wait_until(lambda era=era: of(trail, era, "mcp_operation_started"))  # type: ignore[misc]
            running.kill()
            await running.wait()
            for wire in both:
                await wire.close()

    asyncio.run(run())
    indelible.open_trail(trail).close()
    check(trail, LEGACY, TABLE["asgi-2025"]["killed"])
    check(trail, MODERN, TABLE["asgi-2026"]["killed"])
    assert indelible.verify(trail).ok
