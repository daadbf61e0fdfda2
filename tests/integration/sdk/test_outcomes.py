"""Every cause of the table really happens in a server of the official SDK, and leaves the one event that it says."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.capture.causes import TABLE
from tests.integration.sdk import servers, wires
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

HERE = itertools.product(["sdk2", "mcpserver"], ["memory", "http"], [LEGACY, MODERN])
OLD = itertools.product(["sdk1-fastmcp", "sdk1-lowlevel"], ["stdio", "http"], [LEGACY])
WAYS = [*HERE, ("sdk2", "stdio", LEGACY), ("mcpserver", "stdio", MODERN)]
OLD_WAYS = [way for way in OLD if way[:2] != ("sdk1-lowlevel", "http")]  # it has no app of its own


@contextlib.asynccontextmanager
async def connected(kind: str, transport: str, era: str, trail: Path) -> AsyncIterator[Wire]:
    if kind.startswith("sdk1"):
        async with wires.old(kind.partition("-")[2], transport, trail) as wire:
            yield wire
        return
    if transport == "stdio":
        async with wires.stdio(*wires.command(kind, trail), era=era) as wire:
            yield wire
        return
    server = servers.built(kind)
    recorder = indelible.open_trail(trail, on_failure="deny")
    indelible.attach(server, recorder)
    indelible.attach(server, recorder)  # a second time changes nothing
    opened: Any = wires.memory(server, era) if transport == "memory" else wires.http(server, era)
    async with opened as wire:
        yield wire
    recorder.close()


@pytest.mark.parametrize(("kind", "transport", "era"), [*WAYS, *OLD_WAYS])
def test_every_cause_leaves_its_one_event(kind: str, transport: str, era: str, tmp_path: Path) -> None:
    trail, release = tmp_path / "audit.jsonl", tmp_path / "release"
    happened = set(STRAIGHT)

    async def run() -> None:
        async with connected(kind, transport, era, trail) as wire:
            for number, (cause, (method, params)) in enumerate(STRAIGHT.items()):
                await wire.send(request(number, method, params, era, cause))
                await wire.answer(number)
            if (transport, era) != ("http", MODERN):  # there, closing the stream is how a call is cancelled
                happened.add("cancelled")
                await cancelled(wire, trail, era, release)
            if era == MODERN:
                happened.update(("input_required", "continued"))
                await asked(wire)
            went = "disconnected_http_session" if (transport, era) == ("http", LEGACY) else "disconnected"
            happened.add(went)
            await wire.send(call(60, "hang", went, era, until=str(release)))
            await wait_until(lambda: of(trail, went, "mcp_operation_started"))
            await wire.close()
            if went == "disconnected_http_session":
                release.touch()
            await wait_until(lambda: of(trail, went))

    asyncio.run(run())
    column = TABLE[kind.partition("-")[0]]
    events = {cause: check(trail, cause, column[cause]) for cause in happened}
    assert len([line for line in lines(trail) if line["event_type"] == "mcp_operation"]) == len(events)
    if era == MODERN:
        assert events["continued"]["request"]["continues"] == "input_required"
    event = events["returned"]
    assert event["target"]["server_version"] == "3.1" or kind == "sdk1-fastmcp"  # it names the SDK's
    check_returned(event, transport, era)
    assert indelible.verify(trail).ok
