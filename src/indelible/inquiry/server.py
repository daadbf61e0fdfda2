"""The MCP server of `indelible mcp`: the official SDK around the questions, over stdin and stdout.

The rules that live here:

- It reads trails and writes none: what it opens for writing is its own audit, which records every call like anybody's.
- A question never runs in this process: it is waited for, cancelled with its call, and ended when its time is over. So
  many run at once, so many wait; beyond, a caller is told to come again.
- Which transport it is stands in `over_stdio` alone.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.to_process
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from indelible._version import __version__
from indelible.capture.calling import Audited, Incoming
from indelible.capture.sdk2 import WireMiddleware
from indelible.inquiry.plain import NOTE
from indelible.inquiry.questions import Bounds, Place, Question
from indelible.inquiry.roles import NotAllowed, Role
from indelible.inquiry.tools import BY_NAME, TOOLS, Tool
from indelible.inquiry.worker import Reply, work
from indelible.inquiry_settings import InquirySettings
from indelible.recorder import Recorder

log = logging.getLogger("indelible")

NAME: Final = "indelible-mcp"
"""What this server is called in its own events: `target.backend`."""

DENIED: Final = -32003
"""The JSON-RPC code of what a role may not."""

GRACE_S: Final = 10.0
"""Beyond a question's time: by then the SQL engine has ended its query by itself, and the process can be used again."""

MAX_WAITING: Final = 32

INSTRUCTIONS: Final = (
    "This server answers questions about an audit trail of MCP: what agents did, when, for whom, how it ended. "
    "It only reads. You ask as the role {role!r}; what that does not see is in no answer. Begin with `statistics` or "
    "`search`, then `explain` single events. {note}"
)


class Desk:
    """Takes questions, and has them answered."""

    def __init__(self, role: Role, place: Place, settings: InquirySettings) -> None:
        self.role = role
        self._place = place
        self._settings = settings
        self._running = anyio.CapacityLimiter(settings.at_once)

    async def ask(self, tool: str, arguments: Any) -> Reply:
        """Return the reply to a question; whoever cancels this ends it."""
        try:
            self.role.check_tool(tool)
        except NotAllowed as exc:
            return Reply(summary=str(exc), denied=True)
        if self._running.statistics().tasks_waiting >= MAX_WAITING:
            return Reply(summary=f"{MAX_WAITING} questions wait already; ask again in a while")
        async with self._running:
            return await self._answered(tool, arguments)

    async def _answered(self, tool: str, arguments: Any) -> Reply:
        settings = self._settings
        seconds = settings.verify_timeout if tool == "verify" else settings.timeout
        bounds = Bounds(seconds, settings.memory_mb, settings.max_answer_kb * 1024)
        question = Question(tool, arguments, self.role, self._place, bounds)
        limiter = anyio.CapacityLimiter(1)  # who may run is decided; its own default is something else
        try:
            with anyio.fail_after(seconds + (GRACE_S if tool in ("sql", "search", "statistics") else 0)):
                reply = await anyio.to_process.run_sync(work, question, cancellable=True, limiter=limiter)
        except TimeoutError:
            return Reply(summary=f"the answer took longer than {seconds:g} s, so it was ended; ask for less")
        except anyio.BrokenWorkerProcess:
            return Reply(
                summary="the process that looked for the answer ended: it may have needed too much memory"
            )
        if reply.fault:
            log.error("%s", reply.fault)
        return reply


class RoleMiddleware(WireMiddleware):
    """The audit of this server's calls, which also says as which role they were made."""

    def __init__(self, audited: Audited, role: str) -> None:
        super().__init__(audited)
        self._metadata = {"indelible": {"role": role}}

    def _seen(self, ctx: Any) -> Incoming | None:
        incoming = super()._seen(ctx)
        if incoming is not None:
            incoming.metadata = self._metadata
        return incoming


def make_server(desk: Desk, recorder: Recorder | None) -> Server[Any]:
    """Return the server, for whichever transport; with a recorder, it is audited."""

    async def on_list_tools(_ctx: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[described(tool) for tool in TOOLS if tool.name in desk.role.tools])

    async def on_call_tool(_ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in BY_NAME:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:100]!r}")
        return result_of(await desk.ask(params.name, params.arguments))

    server: Server[Any] = Server(
        NAME,
        version=__version__,
        title="Audit trail",
        instructions=INSTRUCTIONS.format(role=desk.role.name, note=NOTE),
        on_list_tools=on_list_tools,
        on_call_tool=on_call_tool,
    )
    if recorder is not None:
        audited = Audited(recorder, backend=NAME, server_version=__version__)
        server.middleware.append(RoleMiddleware(audited, desk.role.name))
    return server


def described(tool: Tool) -> types.Tool:
    """Return a tool as a client is told of it."""
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.answer,
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=True,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


def result_of(reply: Reply) -> types.CallToolResult:
    """Return a reply as the protocol has it: structured, the same as text for clients that read only that, one line."""
    if reply.denied:
        raise MCPError(DENIED, reply.summary)
    if reply.body is None:
        return types.CallToolResult(content=[types.TextContent(type="text", text=reply.summary)], is_error=True)
    texts = (f"{reply.summary}. {NOTE}", json.dumps(reply.body, ensure_ascii=False, separators=(",", ":")))
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text) for text in texts], structured_content=reply.body
    )


# --- stdin and stdout ---------------------------------------------------------------------------------------


def over_stdio(desk: Callable[[], Desk], recorder: Recorder | None, close: Callable[[], None]) -> None:
    """Serve until standard input ends, or SIGTERM or Ctrl-C comes; `close` is called before this process ends."""
    os.environ["PYTHONSAFEPATH"] = "1"  # no module of the directory that a client started this in
    vars(sys.modules["__main__"]).pop("__file__", None)  # which whoever answers would run again
    try:
        anyio.run(_serve, desk, recorder, close)
    except BaseExceptionGroup as group:
        gone, others = group.split((BrokenPipeError, ConnectionError))
        if others is not None:
            raise others from None
        del gone  # the client is gone, and nobody is left to tell


async def _serve(desk: Callable[[], Desk], recorder: Recorder | None, close: Callable[[], None]) -> None:
    server, told = make_server(desk(), recorder), anyio.Event()
    async with stdio_server() as (reading, writing):
        async with anyio.create_task_group() as group:
            group.start_soon(_until_told, group.cancel_scope, told)
            await server.run(reading, writing, server.create_initialization_options())
            group.cancel_scope.cancel()
        if told.is_set():
            close()
            os._exit(0)  # a thread that waits for standard input would keep this process


async def _until_told(scope: anyio.CancelScope, told: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for _ in signals:
            told.set()
            scope.cancel()
            return
