"""Every cause of the table really happens in a FastMCP server, and leaves the one event that it says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.capture.causes import TABLE
from tests.integration.fastmcp import connecting, servers
from tests.integration.sdk.looking import (
    STRAIGHT,
    asked,
    call,
    cancelled,
    check,
    check_returned,
    lines,
    of,
    wait_until,
)
from tests.integration.sdk.wires import LEGACY, MODERN, Wire, request

WAYS = [
    ("fastmcp4", "memory", LEGACY),
    ("fastmcp4", "memory", MODERN),
    ("fastmcp4", "http", LEGACY),
    ("fastmcp4", "http", MODERN),
    ("fastmcp4", "stdio", LEGACY),
    ("fastmcp3", "stdio", LEGACY),
    ("fastmcp3", "http", LEGACY),
]


@contextlib.asynccontextmanager
async def connected(kind: str, transport: str, era: str, trail: Path) -> AsyncIterator[Wire]:
    if kind == "fastmcp3" or transport == "stdio":
        async with connecting.program(kind, transport, era, trail) as wire:
            yield wire
        return
    recorder = indelible.open_trail(trail, on_failure="deny")
    server = servers.audited(recorder)
    opened: Any = connecting.memory if transport == "memory" else connecting.http
    async with opened(server, era) as wire:
        yield wire
    recorder.close()


@pytest.mark.parametrize(("kind", "transport", "era"), WAYS)
def test_every_cause_leaves_its_one_event(kind: str, transport: str, era: str, tmp_path: Path) -> None:
    trail, release = tmp_path / "audit.jsonl", tmp_path / "release"
    column, straight = TABLE[kind], {**STRAIGHT, "rpc_error": ("resources/read", {"uri": "r://rpcerr"})}
    if transport == "stdio":  # where FastMCP trusts whoever started it
        del straight["denied"]
    happened = set(straight)
    went = "disconnected_http_session" if (transport, era) == ("http", LEGACY) else "disconnected"

    async def run() -> None:
        async with connected(kind, transport, era, trail) as wire:
            for number, (cause, (method, params)) in enumerate(straight.items()):
                await wire.send(request(number, method, params, era, cause))
                await wire.answer(number)
            if (transport, era) != ("http", MODERN):  # there, closing the stream is how a call is cancelled
                happened.add("cancelled")
                await cancelled(wire, trail, era, release)
            if era == MODERN:
                happened.update(("input_required", "continued"))
                await asked(wire)
            happened.add(went)
            await wire.send(call(60, "hang", went, era, until=str(release)))
            await wait_until(lambda: of(trail, went, "mcp_operation_started"))
            closing = asyncio.ensure_future(wire.close())
            await asyncio.sleep(0)  # it has begun
            if column[went].kind == "completed":
                release.touch()
            await closing
            await wait_until(lambda: of(trail, went))

    asyncio.run(run())
    blank = {cause for cause in happened if column[cause].kind is None}
    assert not any(of(trail, cause) for cause in blank)
    events = {cause: check(trail, cause, column[cause]) for cause in happened - blank}
    assert len([line for line in lines(trail) if line["event_type"] == "mcp_operation"]) == len(events)
    if era == MODERN:
        assert events["continued"]["request"]["continues"] == "input_required"
    event = events["returned"]
    assert event["target"]["server_version"] == "3.1"
    check_returned(event, transport, era)
    assert indelible.verify(trail).ok
