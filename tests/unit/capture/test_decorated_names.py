"""`@audited`: functions of one name, each of whose calls is one event; and the names of arguments that do not fit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.capture.calling import Audited, Incoming, Peer, inside
from indelible.capture.outcomes import Verdict
from indelible.recorder import Recorder


def calls(path: Path) -> list[dict[str, Any]]:
    """Return the calls' outcomes; the innermost is the first."""
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [event for event in found if event["event_type"] == "mcp_operation"]


def recursive(trail: Recorder) -> list[Callable[[int], object]]:
    """Return functions of each kind that call themselves, once less than they are told."""

    @indelible.audited(trail=trail, name="walk")
    def plain(depth: int) -> None:
        if depth:
            plain(depth - 1)

    @indelible.audited(trail=trail, name="walk")
    async def coroutine(depth: int) -> None:
        if depth:
            await coroutine(depth - 1)

    @indelible.audited(trail=trail, name="walk")
    def generator(depth: int) -> Iterator[int]:
        yield depth
        if depth:
            yield from generator(depth - 1)

    @indelible.audited(trail=trail, name="walk")
    async def async_generator(depth: int) -> AsyncIterator[int]:
        yield depth
        if depth:
            async for item in async_generator(depth - 1):
                yield item

    async def all_of(depth: int) -> list[int]:
        return [item async for item in async_generator(depth)]

    return [
        plain,
        lambda depth: asyncio.run(coroutine(depth)),
        lambda depth: list(generator(depth)),
        lambda depth: asyncio.run(all_of(depth)),
    ]


@pytest.mark.parametrize("kind", range(4))
def test_a_function_that_calls_itself_is_as_many_calls(kind: int, trail: Recorder, path: Path) -> None:
    recursive(trail)[kind](3)
    found = calls(path)
    assert sorted(event["request"]["args"]["depth"] for event in found) == [0, 1, 2, 3]
    ids = {event["request"]["args"]["depth"]: event["request"]["request_id"] for event in found}
    for event in found:
        depth = event["request"]["args"]["depth"]
        assert event.get("metadata", {}).get("within") == ids.get(depth + 1)


@pytest.mark.parametrize("kind", range(4))
def test_the_tool_of_an_open_call_may_call_itself(kind: int, trail: Recorder, path: Path) -> None:
    """The first is the capture's call, and the capture records it; each of the others is recorded by itself."""
    opened = Audited(trail, backend="shop").begin(
        Incoming(method="tools/call", name="walk"), Peer(caller="http")
    )
    with inside(opened):
        recursive(trail)[kind](3)
    opened.finish(Verdict("completed"))
    found = calls(path)
    assert len(found) == 4
    assert [event["target"]["backend"] for event in found].count("shop") == 1


def test_a_method_may_call_its_namesake(trail: Recorder, path: Path) -> None:
    class Store:
        @indelible.audited(trail=trail)
        def get(self, key: str) -> str:
            return key

    class Cached(Store):
        @indelible.audited(trail=trail)
        def get(self, key: str) -> str:
            return super().get(f"cached {key}")

    assert Cached().get("a") == "cached a"
    assert [event["request"]["args"]["key"] for event in calls(path)] == ["cached a", "a"]


@pytest.mark.parametrize(
    ("args", "kwargs", "kept"),
    [
        (("ada", "canary", "x"), {}, {"user": "ada", "password": "[REDACTED]", "args": ["x"]}),
        (("ada", "canary"), {"password": "canary"}, {"user": "ada", "password": "[REDACTED]"}),
        (("ada", "canary"), {"colour": "red"}, {"user": "ada", "password": "[REDACTED]", "colour": "red"}),
        (("ada",), {"user": "eve"}, {"user": ["ada", "eve"]}),
        ((), {"password": "canary"}, {"password": "[REDACTED]"}),
        ((), {}, {}),
    ],
)
def test_arguments_that_do_not_fit_are_known_by_their_names_all_the_same(
    args: tuple[str, ...], kwargs: dict[str, str], kept: object, trail: Recorder, path: Path
) -> None:
    class Door:
        @indelible.audited(trail=trail)
        def login(self, user: str, password: str) -> None: ...

    with pytest.raises(TypeError):
        Door().login(*args, **kwargs)
    [event] = calls(path)
    assert event["outcome"]["kind"] == "protocol_error"
    assert event["request"]["args"] == kept
    assert b"canary" not in path.read_bytes()


def test_what_there_is_no_parameter_for_stands_beside_a_parameter_called_args(
    trail: Recorder, path: Path
) -> None:
    @indelible.audited(trail=trail)
    def run(args: str) -> None: ...

    with pytest.raises(TypeError):
        run("a", "b")  # type: ignore[call-arg]
    assert calls(path)[0]["request"]["args"] == {"args": ["a", ["b"]]}
