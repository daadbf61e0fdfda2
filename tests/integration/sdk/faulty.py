"""Calls into a server while something of ours is broken, for servers of each framework and version.

``python -m tests.integration.sdk.faulty DIRECTORY WAY…`` prints, as JSON, of every hook that was broken what the client
was answered, how often the tool ran, and what was logged; a line each for both modes. The trails have the losses.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from unittest import mock

import indelible

Call = Callable[[str], Awaitable[Any]]
CANARY = "canary-of-a-fault"
ran: list[str] = []

CORE = ("calling.Audited._open", "calling.OpenCall._close", "calling.Call.is_plain", "calling.Call.finish")
FASTMCP = (
    "fastmcp_mw.AuditMiddleware._of",
    "fastmcp_mw.wire_of",
    "fastmcp_mw.incoming_of",
    "fastmcp_mw.peer_of",
    "fastmcp_mw.judge_result",
    "fastmcp_mw.wire_form",
    "fastmcp_mw.listen_once",
    "fastmcp_mw._of_trail",
    "fastmcp_mw._innermost",
    "fastmcp_mw._Server.ask",
    "fastmcp_forms._name_of",
    "fastmcp_forms.dumped",
)
HOOKS = {
    "sdk2": (
        *CORE,
        "sdk2.incoming_of",
        "sdk2.peer_of",
        "sdk2.rpc_id_of",
        "sdk2.listen",
        "sdk2.judge_result",
        "incoming.dumped",
        "sdk2.methods.is_call",
        "sdk2.WireMiddleware._seen",
        "peers.client_of",
    ),
    "fastmcp wire": (*CORE, "fastmcp_mw._Server.judge", *FASTMCP),
    "fastmcp direct": (*CORE, *FASTMCP),
    "sdk1": (
        "sdk1._line",
        "sdk1._with_headers",
        "sdk1.Connection.client",
        "sdk1.Connection.server",
        "sdk1.Tapped.connection",
        "sdk1.Auditor.client",
        "sdk1.Auditor.server",
        "correlate.judge",
    ),
}
RECORDER = ("record", "record_intent", "record_outcome", "arecord", "prepare", "record_or_owe", "refuse")
"""Of the recorder itself."""


def add_tools(add: Callable[[Any], Any]) -> None:
    def ok(a: int) -> str:
        ran.append("ok")
        return f"got {a}"

    def boom() -> str:
        ran.append("boom")
        raise KeyError("the tool's own")

    for tool in (ok, boom):
        add(tool)


def text_of(result: Any) -> str:
    blocks = getattr(result, "content", None) or (result[0] if isinstance(result, tuple) else [])
    return " ".join(getattr(block, "text", "") for block in blocks)


async def told(call: Call, name: str) -> str:
    """Return what a caller is told, whether as a result or as an exception."""
    try:
        return text_of(await call(name))
    except Exception as exc:  # noqa: BLE001 - whatever the framework raises
        return f"{type(exc).__name__}: {exc}"


def arguments(name: str) -> dict[str, Any]:
    return {"a": 1} if name == "ok" else {}


@contextlib.asynccontextmanager
async def served(way: str, recorder: Any) -> AsyncIterator[Call]:
    """Yield how to call a tool of a server that is audited."""
    if way == "sdk2":
        from mcp import Client
        from mcp.server.mcpserver import MCPServer

        modern = MCPServer("shop")
        add_tools(modern.add_tool)
        indelible.attach(modern, recorder)
        async with Client(modern) as client:
            yield lambda name: client.call_tool(name, arguments(name))
    elif way == "sdk1":
        import mcp.server.fastmcp as theirs
        from mcp.shared import memory

        old = theirs.FastMCP("shop")  # type: ignore[attr-defined,unused-ignore]
        add_tools(old.add_tool)
        indelible.attach(old, recorder)
        connect: Any = memory.create_connected_server_and_client_session  # type: ignore[attr-defined,unused-ignore]
        async with connect(old._mcp_server) as session:
            yield lambda name: session.call_tool(name, arguments(name))
    else:
        from fastmcp import Client as FastClient
        from fastmcp import FastMCP

        server: Any = FastMCP("shop")
        add_tools(server.tool)
        server.add_middleware(indelible.fastmcp.AuditMiddleware(recorder))
        if way == "fastmcp direct":
            yield lambda name: server.call_tool(name, arguments(name))
            return
        async with FastClient(server) as connected:
            yield lambda name: connected.call_tool(name, arguments(name), raise_on_error=False)


@contextlib.contextmanager
def broken(hook: str, recorder: Any) -> Any:
    """Let a function of ours raise what nobody expects."""
    where: Any = recorder
    name = hook
    if hook not in RECORDER:
        module, _, rest = hook.partition(".")
        *path, name = rest.split(".")
        where = importlib.import_module(f"indelible.capture.{module}")
        for part in path:
            where = getattr(where, part)
    with mock.patch.object(where, name, side_effect=RuntimeError(CANARY)):
        yield


class Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage() + (str(record.exc_info[1]) if record.exc_info else ""))


async def calls(way: str, path: str, on_failure: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    said = Said()
    own = logging.getLogger("indelible")
    own.addHandler(said)
    own.propagate = False
    with indelible.open_trail(path, on_failure=on_failure) as recorder:
        async with served(way, recorder) as call:
            found["whole"] = [await told(call, name) for name in ("ok", "boom")]
            for hook in (*HOOKS[way], *RECORDER):
                before, since = len(ran), len(said.lines)
                with broken(hook, recorder):
                    answers = [await told(call, name) for name in ("ok", "boom", "ok")]
                found[hook] = {"answers": answers, "ran": len(ran) - before, "said": said.lines[since:]}
                await told(call, "ok")  # what was lost is reported
    own.removeHandler(said)
    own.propagate = True
    return found


if __name__ == "__main__":
    logging.getLogger().addHandler(logging.NullHandler())
    for way in sys.argv[2:]:
        for mode in ("allow", "deny"):
            told_all = asyncio.run(calls(way, f"{sys.argv[1]}/{way} {mode}.jsonl", mode))
            print(json.dumps([way, mode, told_all]))
