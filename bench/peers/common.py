"""What the processes of the peers share: the call, the causes, how a cost is measured. Runs in every environment.

A peer's process prints one JSON object (`told`): what it recorded of each cause that can be made to happen in it, and
what its audit costs a call that takes no time. It says nothing of a cause that it cannot have.

After each cause a call of the tool `marker` follows, and its record is waited for. What stands before that record and
after the last one is what became of the cause; so "nothing" means that what happened later has been recorded.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from bench import called

CAUSES = {
    "returned": "the tool returned",
    "flag": "a result with `isError: true`",
    "raised": "the tool raised",
    "wire": "a JSON-RPC error",
    "unknown": "no tool has this name",
    "invalid": "arguments that do not fit the schema",
    "denied": "its own policy or authorization said no",
    "late": "a time limit passed",
    "cancelled": "the client cancelled",
    "died": "the server behind it died",
}
SECRET = "Tr0ub4dor-and-3-more"
ARGUMENTS: dict[str, Any] = {
    "path": "/srv/projects/indelible/README.md",
    "query": "lorem ipsum " * 8,
    "password": SECRET,
    "count": 3,
}
PATIENCE = 60.0
"""Seconds until a record that does not come is given up."""
ROUNDS, CALLS, DUMPS = 40, 40, 100
EVENT = {"timestamp": "2026-11-21T19:00:00.000000Z", "args": ARGUMENTS, "text": [called.TEXT] * 4}
EVENT |= {f"field_{number}": "a value" for number in range(8)}

Reads = Callable[[], list[Any]]
Happens = Callable[[], Awaitable[object]]
Prepares = Callable[[int], Awaitable[Happens]]
"""Makes a turn of so many calls."""
Costs = dict[str, dict[str, float]]
"""Of each kind of call: `thread_us` and `process_us`, the same in `json.dumps`, and what that took."""


async def until(what: Callable[[], bool], why: str) -> None:
    """Wait for something that another thread or process does."""
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain: {why}")
        await asyncio.sleep(0.01)


def is_marker(record: Any) -> bool:
    """Tell whether a record is of the call that follows a cause."""
    return '"marker"' in json.dumps(record)


async def witnessed(records: Reads, marker: Happens, causes: Mapping[str, Happens]) -> dict[str, list[Any]]:
    """Let each cause happen; return the records it left."""
    found = {}
    for cause, happens in causes.items():
        before = records()
        await happens()
        await marker()
        marks = sum(map(is_marker, before))
        await until(lambda marks=marks: sum(map(is_marker, records())) > marks, f"the record after {cause}")  # type: ignore[misc]
        found[cause] = [record for record in records()[len(before) :] if not is_marker(record)]
    return found


def password_in(records: list[Any]) -> str:
    """Return what became of the password in some records: `clear`, `hidden`, or `absent` when no argument is there."""
    text = json.dumps(records)
    if SECRET in text:
        return "clear"
    return "hidden" if "password" in text else "absent"


async def costs(
    ways: Mapping[str, Prepares], pairs: Mapping[str, tuple[str, str]], calls: int = CALLS, rounds: int = ROUNDS
) -> Costs:
    """Return what each pair (bare, audited) says that an audit adds to a call: in CPU µs, and in `json.dumps`.

    The ways take turns of a few milliseconds and with them the `json.dumps` of one event, so that what else the machine
    does meets all of them alike; each figure is the median over the rounds.
    """
    for prepare in ways.values():
        await (await prepare(calls))()
    gc.collect()
    gc.freeze()
    found: dict[str, dict[str, list[float]]] = {what: {} for what in pairs}
    for number in range(rounds):
        shift = number % len(ways)
        spent = {}
        for way in (*list(ways)[shift:], *list(ways)[:shift]):
            turn = await ways[way](calls)
            started = time.thread_time(), time.process_time()
            await turn()
            spent[way] = (time.thread_time() - started[0]) / calls, (time.process_time() - started[1]) / calls
        unit = dumps()
        for what, (bare, audited) in pairs.items():
            thread, process = (mine - its for mine, its in zip(spent[audited], spent[bare], strict=True))
            figures = {"thread_us": 1e6 * thread, "process_us": 1e6 * process}
            figures |= {"thread": thread / unit, "process": process / unit, "dumps_us": 1e6 * unit}
            for name, figure in figures.items():
                found[what].setdefault(name, []).append(figure)
    return {what: {name: statistics.median(all_) for name, all_ in by.items()} for what, by in found.items()}


def dumps() -> float:
    """Return the CPU seconds of one `json.dumps` of an event of 600 bytes, just now."""
    started = time.thread_time()
    for _ in range(DUMPS):
        json.dumps(EVENT)
    return (time.thread_time() - started) / DUMPS


class Wire(called.Client):
    """A client's end of a server's streams, which tells answers from what else a server says."""

    async def said(self, tool: str, arguments: Mapping[str, Any] = ARGUMENTS) -> dict[str, Any]:
        """Call a tool; return the answer as it stands on the wire."""
        await self._to.send(self._request("tools/call", {"name": tool, "arguments": dict(arguments)}))
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """Return the answer to the last request."""
        while True:
            frame = json.loads((await self._from.receive()).message.model_dump_json(by_alias=True))
            if frame.get("id") == self._number:
                return dict(frame)

    async def cancelled(self, tool: str, arrived: Path) -> None:
        """Call a tool and cancel it as soon as `arrived` says that it has begun."""
        await self._to.send(self._request("tools/call", {"name": tool, "arguments": dict(ARGUMENTS)}))
        await until(arrived.exists, f"{tool} is called")
        params = {"requestId": self._number, "reason": "the user pressed Esc"}
        await self._to.send(
            called._message({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
        )

    def preparing(self, tool: str) -> Prepares:
        """Return what prepares a turn: the messages are made before it."""

        async def prepare(calls: int) -> Happens:
            params = {"name": tool, "arguments": ARGUMENTS}
            messages = [self._request("tools/call", params) for _ in range(calls)]

            async def turn() -> None:
                for message in messages:
                    await self._to.send(message)
                    await self._from.receive()

            return turn

        return prepare


def lines(path: Path) -> list[Any]:
    """Return a file's JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def tell(name: str, distribution: str, said: Mapping[str, list[str]], password: str, costs: Costs) -> None:
    """Print what is told of a peer; `said` is, for each cause, what each of its records calls it."""
    version = importlib.metadata.version(distribution)
    print(json.dumps({"name": name, "version": version, "said": said, "password": password, "costs": costs}))
