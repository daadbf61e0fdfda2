"""mcp-hangar, a gateway, through its documented facade (`Hangar.invoke`): ``python -m bench.peers.hangar``.

What became of a call is read from its JSON-lines export (``MCP_COMPLIANCE_FORMAT``), what became of the arguments from
its audit store too, which keeps each request. For the cost, the server behind it is one that answers at once, in the
same thread, and bare is the same gateway with the handlers of both taken off its event bus. A call changes threads in
it, so only the process's CPU says something.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

from bench import called
from bench.peers import common

CONFIG = """\
rate_limit: {{rps: 1000000, burst: 1000000}}
mcp_servers:
  shop: &shop
    mode: subprocess
    command: [{python}, {backend}, {arrived}]
    tools: {{deny_list: [denied]}}
  doomed: *shop
"""
BACKEND = Path(__file__).with_name("backend.py")
LIMIT = 1.0
"""Seconds that a call may take in it."""


def own(module: str) -> Any:
    """Return a module of the peer's, which only its environment has."""
    return importlib.import_module(f"mcp_hangar.{module}")


class Instant:
    """Stands for the connection to a server that answers at once."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def call(self, method: str, params: Any, timeout: float = 15.0, **_: Any) -> dict[str, Any]:
        content = [{"type": "text", "text": called.TEXT}]
        return {"jsonrpc": "2.0", "id": "1", "result": {"content": content, "isError": False}}


async def said(hangar: Any, tool: str, arguments: Any = common.ARGUMENTS, server: str = "shop") -> None:
    """Call a tool; what is raised is its answer."""
    with contextlib.suppress(Exception):
        await hangar.invoke(server, tool, dict(arguments), timeout_s=LIMIT if tool == "hang" else 30.0)


async def cancelled(hangar: Any, arrived: Path) -> None:
    """Cancel a call that has begun, and wait until what goes on without it must have ended."""
    arrived.unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else runs
    task = asyncio.ensure_future(said(hangar, "hang"))
    await common.until(arrived.exists, "hang is called")
    task.cancel()
    await asyncio.wait([task])
    await said(hangar, "hang")  # whose own limit begins later


def is_call(record: Any) -> bool:
    """Tell whether a record is of a call."""
    return bool(record.get("tool_name"))


async def recorded(directory: Path, hangar: Any, export: Path) -> dict[str, list[Any]]:
    """Return what it recorded of each cause."""
    tools = {
        "returned": "answer",
        "flag": "flag",
        "wire": "wire",
        "unknown": "no_such_tool",
        "denied": "denied",
    }
    tools["late"] = "hang"
    causes = {cause: functools.partial(said, hangar, tool) for cause, tool in tools.items()}
    causes["invalid"] = functools.partial(said, hangar, "answer", {**common.ARGUMENTS, "count": "many"})
    causes["cancelled"] = functools.partial(cancelled, hangar, directory / "arrived")
    causes["died"] = functools.partial(said, hangar, "die", server="doomed")
    marker = functools.partial(said, hangar, "marker")
    found = await common.witnessed(lambda: list(filter(is_call, common.lines(export))), marker, causes)
    found["cancelled"] = found["cancelled"][:-1]  # the second call is what was waited with
    return found


def preparing(hangar: Any, bus: Any, handlers: Any) -> common.Prepares:
    """Return what prepares turns with these handlers on the event bus."""

    async def prepare(calls: int) -> common.Happens:
        async def turn() -> None:
            for _ in range(calls):
                await hangar.invoke("shop", "answer", common.ARGUMENTS)

        bus._handlers = handlers
        return turn

    return prepare


async def measured(hangar: Any) -> common.Costs:
    """Return what its audit adds."""
    server = hangar._get_mcp_server("shop")
    server._client = Instant(server._client)
    bus = hangar._context.runtime.event_bus
    audits = ("AuditEventHandler", "OTLPAuditEventHandler")
    bare = {
        event: [
            (what, kind)
            for what, kind in handlers
            if type(getattr(what, "__self__", None)).__name__ not in audits
        ]
        for event, handlers in bus._handlers.items()
    }
    assert sum(map(len, bare.values())) < sum(map(len, bus._handlers.values()))
    ways = {"bare": preparing(hangar, bus, bare), "audited": preparing(hangar, bus, bus._handlers)}
    return await common.costs(ways, {"any tool": ("bare", "audited")}, calls=10, rounds=20)


async def work(directory: Path) -> None:
    export = directory / "export.jsonl"
    os.environ |= {"MCP_COMPLIANCE_FORMAT": "jsonlines", "MCP_COMPLIANCE_OUTPUT": str(export)}
    words = {"python": sys.executable, "backend": BACKEND, "arrived": directory / "arrived"}
    (directory / "config.yaml").write_text(CONFIG.format(**words))
    async with own("facade").Hangar.from_config(directory / "config.yaml") as hangar:
        found = await recorded(directory, hangar, export)
        store = own("application.event_handlers.audit_handler").get_audit_handler().store
        kept = [str(record.to_dict()) for record in store.query(limit=10_000)]
        figures = await measured(hangar)
    for costs in figures.values():  # the thread that waits says nothing
        del costs["thread"], costs["thread_us"]
    outcomes = {cause: [event["status"] for event in events] for cause, events in found.items()}
    common.tell("mcp-hangar", "mcp-hangar", outcomes, common.password_in([found, kept]), figures)


def main() -> int:
    """Tell of it."""
    own("logging_config").setup_logging("ERROR")
    logging.disable(logging.ERROR)
    with called.somewhere() as directory:
        os.chdir(directory)
        asyncio.run(work(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
