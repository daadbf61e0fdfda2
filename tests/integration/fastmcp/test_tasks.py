"""Background tasks (``fastmcp[tasks]``): accepting one is a call, and carrying it out another, however it ends.

The worker is docket's own, with its store in memory. Nobody asks about a task unless the test says so.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path
from typing import Any

import pytest
from fastmcp import FastMCP
from fastmcp_tasks import TasksExtension

import indelible
from indelible.fastmcp import AuditMiddleware
from tests.integration.fastmcp import connecting
from tests.integration.fastmcp.tasked import audited, shop
from tests.integration.sdk import wires
from tests.integration.sdk.looking import lines, of, wait_until
from tests.integration.sdk.wires import MODERN, Frame, request
from tests.recording import full_disk

CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
TASKS: Frame = {"elicitation": {"form": {}}, "extensions": {"io.modelcontextprotocol/tasks": {}}}


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def tasked(rpc_id: Any, method: str, mark: str, **params: Any) -> Frame:
    """Return a request of a client that takes tasks."""
    frame = request(rpc_id, method, params, MODERN, mark)
    frame["params"]["_meta"][CAPABILITIES] = TASKS
    return frame


def call(name: str, **arguments: Any) -> Frame:
    return tasked(name, "tools/call", name, name=name, arguments=arguments)


def ends(path: Path, mark: str) -> list[dict[str, Any]]:
    """Return how the task of a call ended, as often as that is recorded."""
    return [
        line
        for line in lines(path)
        if line["event_type"] == "mcp_operation" and line["request"].get("continues") == mark
    ]


async def accepted(wire: Any, name: str, **arguments: Any) -> str:
    await wire.send(call(name, **arguments))
    result = (await wire.answer(name))["result"]
    assert (result["resultType"], result["status"]) == ("task", "working")
    return str(result["taskId"])


async def get(wire: Any, task: str, mark: str) -> Frame:
    await wire.send(tasked(mark, "tasks/get", mark, taskId=task))
    answer: Frame = await wire.answer(mark)
    return answer


async def one_of_each(wire: Any, path: Path, never: Path) -> dict[str, str]:
    tasks = {
        "quick": await accepted(wire, "quick", a=5),
        "boom": await accepted(wire, "boom"),
        "wrong": await accepted(wire, "wrong"),
        "nothing": await accepted(wire, "nothing"),
        "hang": await accepted(wire, "hang", until=str(never)),
        "ask": await accepted(wire, "ask"),
    }
    await wire.send(tasked("cancel", "tasks/cancel", "cancel", taskId=tasks["hang"]))
    assert "result" in await wire.answer("cancel")
    asked: Frame = {}
    for number in range(1000):
        asked = (await get(wire, tasks["ask"], f"poll {number}"))["result"]
        if asked["status"] == "input_required":
            break
        await asyncio.sleep(0.01)
    answers = {key: {"action": "accept", "content": {}} for key in asked["inputRequests"]}
    update = tasked("update", "tasks/update", "update", taskId=tasks["ask"], inputResponses=answers)
    assert not ends(path, "ask")
    await wire.send(update)
    assert "result" in await wire.answer("update")
    return tasks


def test_how_each_task_ended_is_recorded_though_nobody_asks(trail: Path, tmp_path: Path) -> None:
    tasks: dict[str, str] = {}

    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            async with connecting.memory(audited(recorder), MODERN) as wire:
                tasks.update(await one_of_each(wire, trail, tmp_path / "never"))
                for mark in tasks:
                    await wait_until(functools.partial(ends, trail, mark))
                assert (await get(wire, tasks["quick"], "late"))["result"]["status"] == "completed"

    asyncio.run(run())
    expected = {
        "quick": ("completed", None),
        "boom": ("tool_error", None),
        "wrong": ("protocol_error", -32050),
        "nothing": ("completed", None),
        "hang": ("cancelled", None),
        "ask": ("completed", None),
    }
    for mark, (kind, code) in expected.items():
        [opening], [end] = of(trail, mark), ends(trail, mark)
        assert opening["outcome"]["kind"] == "completed"
        assert opening["metadata"] == end["metadata"] == {"task": tasks[mark]}
        assert (end["outcome"]["kind"], end["outcome"].get("error_code")) == (kind, code), mark
        assert end["target"] == opening["target"]
        assert end["source"] == opening["source"]
        assert end["request"]["request_id"] != mark
    assert ends(trail, "quick")[0]["outcome"]["result_hmac"] != of(trail, "quick")[0]["outcome"]["result_hmac"]
    intents = [line for line in lines(trail) if line["event_type"] == "mcp_operation_started"]
    closed = [line["request"].get("intent") for line in lines(trail) if line["event_type"] == "mcp_operation"]
    assert {intent["event_id"] for intent in intents} <= set(closed)
    assert indelible.verify(trail).ok


def test_what_the_client_is_told_of_a_task_is_recorded_before(trail: Path) -> None:
    """With the wire's tier alone, as in any server of the SDK: nobody follows the worker."""

    async def run() -> None:
        with indelible.open_trail(trail, on_failure="deny") as recorder:
            server = shop()
            indelible.attach(server, recorder)
            [beneath] = [each for each in server._mcp_server.middleware if hasattr(each, "tasks")]
            beneath.tasks.follow = None
            async with connecting.memory(server, MODERN) as wire:
                for mark in ("quick", "boom"):
                    task = await accepted(wire, mark, **({"a": 1} if mark == "quick" else {}))
                    for number in range(1000):
                        assert not ends(trail, mark)
                        answer = await get(wire, task, f"{mark} {number}")
                        if answer["result"]["status"] == "completed":
                            break
                        await asyncio.sleep(0.01)
                    assert len(ends(trail, mark)) == 1
                    await get(wire, task, f"{mark} again")
                task, answer = await accepted(wire, "nothing"), {}
                with full_disk():
                    for number in range(1000):
                        answer = await get(wire, task, f"full {number}")
                        if "error" in answer:
                            break
                        assert answer["result"]["status"] == "working"
                        await asyncio.sleep(0.01)
                assert "withheld" in answer["error"]["message"]
                with full_disk():
                    await wire.send(call("wrong"))
                    assert "refused" in (await wire.answer("wrong"))["error"]["message"]

    asyncio.run(run())
    [quick], [boom] = ends(trail, "quick"), ends(trail, "boom")
    assert (quick["outcome"]["kind"], boom["outcome"]["kind"]) == ("completed", "tool_error")
    [owed] = ends(trail, "nothing")
    assert owed["outcome"]["error_type"] == "audit_unavailable"
    assert not ends(trail, "wrong")


def test_a_server_that_stops_waits_for_its_tasks_and_so_do_we(trail: Path, tmp_path: Path) -> None:
    release = tmp_path / "release"

    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            async with connecting.memory(audited(recorder), MODERN) as wire:
                await accepted(wire, "hang", until=str(release))
                release.touch()
            await wait_until(lambda: ends(trail, "hang"))

    asyncio.run(run())
    assert len(ends(trail, "hang")) == 1


def test_a_loop_that_ends_leaves_no_task_without_an_end(trail: Path, tmp_path: Path) -> None:
    async def run() -> None:
        server = audited(recorder)
        opened = connecting.memory(server, MODERN)
        wire = await opened.__aenter__()
        await accepted(wire, "hang", until=str(tmp_path / "never"))

    with indelible.open_trail(trail) as recorder:
        asyncio.run(run())
    [end] = ends(trail, "hang")
    assert end["outcome"]["kind"] == "interrupted"


def test_a_task_of_a_mounted_server_has_its_name_there_too(trail: Path) -> None:
    async def run() -> None:
        with indelible.open_trail(trail) as recorder:
            parent: FastMCP = FastMCP("parent")
            parent.add_extension(TasksExtension(url="memory://parent"))
            parent.add_middleware(AuditMiddleware(recorder))
            parent.mount(audited(recorder), "sub")
            async with connecting.memory(parent, MODERN) as wire:
                await accepted(wire, "sub_quick", a=3)
                await wait_until(lambda: ends(trail, "sub_quick"))

    asyncio.run(run())
    [opening], [end] = of(trail, "sub_quick"), ends(trail, "sub_quick")
    assert opening["target"] == end["target"]
    assert (end["target"]["backend"], end["outcome"]["kind"]) == ("parent", "completed")


def test_a_task_of_a_server_that_is_killed_was_interrupted(trail: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "tests.integration.fastmcp.tasked", str(trail))

    async def run() -> None:
        async with wires.stdio(*command, era=MODERN) as wire:
            await accepted(wire, "hang", until=str(tmp_path / "never"))
            wire.process.kill()
            await wire.process.wait()

    asyncio.run(run())
    assert not ends(trail, "hang")
    with indelible.open_trail(trail):
        pass
    [opening], [end] = of(trail, "hang"), ends(trail, "hang")
    assert (opening["outcome"]["kind"], end["outcome"]["kind"]) == ("completed", "interrupted")
    assert indelible.verify(trail).ok
