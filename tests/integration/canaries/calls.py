"""Calls from Python that hold the canaries in everything that can be said of a call, or come out of one.

Each function takes an open recorder and the canaries, and returns how many calls it has made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import indelible
from indelible.recorder import Recorder
from tests.canaries import CLASSES, Canary

Choice = dict[str, Any]


class RefusedError(Exception):
    """Says what it was told, in its text, its notes and its causes."""

    def __init__(self, text: str) -> None:
        super().__init__(text, {text: [text]})
        self.add_note(text)


def fail(text: str) -> None:
    """Raise with a canary in the exception, in its cause, and in the lines of the traceback's frames."""
    try:
        raise ValueError(text)
    except ValueError as exc:
        raise RefusedError(text) from exc


def about(number: int, text: str) -> Choice:
    """Return one way of saying something of a call: all classes come to all ways in turn."""
    choices: list[Choice] = [
        {"args": {"note": text}},
        {"args": {"a": [{"b": text}], text: {text: 1}}},
        {"args": {"x": "a " * 240 + text + " z" * 300}},
        {"session_id": text, "request_id": text, "rpc_id": text},
        {"client": text, "client_ip": text},
        {"metadata": {"a": {text: [text]}}},
        {"backend": text, "original_name": text},
        {"args": text.encode()},
        {"server_version": text, "protocol_version": text},
        {"trace_id": text, "span_id": text},
        {"args": RefusedError(text)},
    ]
    return choices[(number // len(CLASSES) + number) % len(choices)]


def operations(recorder: Recorder, secrets: list[Canary]) -> int:
    """Make a call of each canary with `Recorder.operation`."""
    for number, canary in enumerate(secrets):
        text = canary.value
        with (
            contextlib.suppress(RefusedError),
            recorder.operation("tools/call", text, **about(number, text)) as call,
        ):
            call.result({"content": [{"type": "text", "text": text}]})
            if number % 3:
                fail(text)
    return len(secrets)


def functions(recorder: Recorder) -> list[Callable[[str], Any]]:
    """Return functions of every kind, of which each says what it is told."""
    audited = indelible.audited(trail=recorder, backend="canary")

    @audited
    def returns(text: str, *more: Any, **named: Any) -> Any:
        return {"content": [{"type": "text", "text": text}], text: more, "named": named, "isError": True}

    @audited
    def raises(text: str, *_more: Any, **_named: Any) -> None:
        fail(text)

    @audited
    async def awaits(text: str, *more: Any, **_named: Any) -> Any:
        await asyncio.sleep(0)
        if len(text) % 2:
            fail(text)
        return [text, *more]

    @audited
    def yields(text: str, *_more: Any, **_named: Any) -> Generator[str, None, str]:
        yield text
        if len(text) % 2:
            fail(text)
        return text

    @audited
    async def streams(text: str, *_more: Any, **_named: Any) -> AsyncIterator[str]:
        yield text
        fail(text)

    return [returns, raises, awaits, yields, streams]


async def spent(items: AsyncIterator[str]) -> None:
    """Ask for everything that there is."""
    async for _ in items:
        pass


def call(function: Callable[..., Any], number: int, text: str) -> None:
    """Call one of them, with the canary in another place each time."""
    ways: list[tuple[tuple[Any, ...], Choice]] = [
        ((text,), {}),
        ((text, [text], {text: text}), {}),
        ((text, "a " * 240 + text), {"note": {"deep": [text]}}),
        ((text,), {text: text}),
        ((text, RefusedError(text), text.encode()), {"data": text.encode()}),
    ]
    args, named = ways[(number // len(CLASSES)) % len(ways)]
    with contextlib.suppress(RefusedError):
        made = function(*args, **named)
        if hasattr(made, "__aiter__"):
            asyncio.run(spent(made))
        elif hasattr(made, "__await__"):
            asyncio.run(made)
        elif hasattr(made, "__next__"):
            list(made)


def audited(recorder: Recorder, secrets: list[Canary]) -> int:
    """Make a call of each canary of a function that is `@audited`; of its name, too, there is a canary."""
    plain = functions(recorder)
    for number, canary in enumerate(secrets):
        text = canary.value
        function = plain[(number // len(CLASSES) + number) % len(plain)]
        if number % 7 == 0:
            with contextlib.suppress(RefusedError):
                indelible.audited(name=text, trail=recorder, backend=text)(fail)(text)
        else:
            call(function, number, text)
    return len(secrets)
