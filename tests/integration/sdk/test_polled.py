"""Tasks of a real server of SDK 1.x, whose ends are heard by asking: attached, in `wrap`, behind `AuditASGI`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import indelible
from tests.environments import old_python
from tests.integration.sdk import wires
from tests.integration.sdk.looking import lines, of
from tests.integration.sdk.wires import LEGACY, Wire, request
from tests.integration.wrap.harness import isolated, wrapped

SERVER = str(Path(__file__).parent / "old" / "tasked.py")


@contextlib.asynccontextmanager
async def connected(way: str, trail: Path) -> AsyncIterator[Wire]:
    if way == "front":
        async with wires.serving(str(old_python()), SERVER, str(trail), way, era=LEGACY) as http:
            yield http
        return
    own = (str(old_python()), SERVER, str(trail), "attached" if way == "attached" else "bare")
    command = own if way == "attached" else wrapped(trail, *own, options=("--name", "tasked"))
    async with wires.stdio(*command, era=LEGACY) as stdio:
        yield stdio


def ends(trail: Path, mark: str) -> list[dict[str, Any]]:
    return [
        line for line in lines(trail) if line.get("request", {}).get("continues") == mark and "outcome" in line
    ]


@pytest.mark.parametrize("way", ["attached", "wrap", "front"])
def test_what_became_of_a_task_is_recorded_before_its_client_hears_of_it(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail, release = tmp_path / "audit.jsonl", tmp_path / "release"
    for name, value in isolated(tmp_path).items():
        monkeypatch.setenv(name, value)

    async def run() -> None:
        async with connected(way, trail) as wire:
            numbers = iter(range(10_000))

            async def ask(method: str, mark: str, **params: Any) -> Any:
                number = next(numbers)
                await wire.send(request(number, method, params, LEGACY, mark))
                return await wire.answer(number)

            for name in ("ok", "boom", "hang"):
                task = (
                    await ask(
                        "tools/call", name, name=name, arguments={"until": str(release)}, task={"ttl": 600_000}
                    )
                )["result"]["task"]
                known = task["taskId"]
                assert of(trail, name)[0]["metadata"]["task"] == known
                if name == "hang":
                    await ask("tasks/cancel", "cancel", taskId=known)
                while (await ask("tasks/get", "poll", taskId=known))["result"]["status"] == "working":
                    assert ends(trail, name) == []
                    await asyncio.sleep(0.05)
                assert len(ends(trail, name)) == 1
            release.touch()  # the SDK says of a task that it was cancelled, and lets it run on

    asyncio.run(run())
    kinds = {name: [end["outcome"]["kind"] for end in ends(trail, name)] for name in ("ok", "boom", "hang")}
    assert kinds == {"ok": ["completed"], "boom": ["tool_error"], "hang": ["cancelled"]}, json.dumps(kinds)
    for name in kinds:
        [opening], [end] = of(trail, name), ends(trail, name)
        assert opening["outcome"]["kind"] == "completed"
        assert end["target"] == opening["target"]
        assert end["metadata"] == {"task": opening["metadata"]["task"]}
        assert "intent" in end["request"]
    assert indelible.verify(trail).ok
