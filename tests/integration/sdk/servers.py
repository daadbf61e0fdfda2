"""Servers of the official SDK 2.x in which every cause can be made to happen: the same names in both.

As a program, one of them over stdio: ``python -m tests.integration.sdk.servers sdk2|mcpserver [TRAIL]``; without a
trail nothing in it listens.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import anyio
import anyio.lowlevel
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

import indelible

READ_ONLY = types.ToolAnnotations(read_only_hint=True)
QUESTION = types.ElicitRequest(
    params=types.ElicitRequestFormParams(message="Sure?", requested_schema={"type": "object", "properties": {}})
)
OK_SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ANY_SCHEMA = {"type": "object"}
log = logging.getLogger("shop")
seen: list[str | None] = []
"""The request id that each call of `whoami` saw."""


async def hang(until: str) -> str:
    while not await anyio.Path(until).exists():  # noqa: ASYNC110 - the test may be another process
        await anyio.sleep(0.01)
    return "done"


async def limited() -> str:
    with anyio.fail_after(0.01):
        await anyio.sleep_forever()
    return "never"


async def whoami() -> str:
    await anyio.lowlevel.checkpoint()
    log.warning("asked who I am")
    seen.append(indelible.current_request_id())
    return str(await anyio.to_thread.run_sync(indelible.current_request_id))


def wrong(code: int, text: str) -> MCPError:
    return MCPError(code=code, message=text)


def mcpserver() -> MCPServer:
    server = MCPServer("shop", version="3.1")

    @server.tool(annotations=READ_ONLY)
    def ok(a: int) -> int:
        return a

    @server.tool()
    def flag() -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(type="text", text="no stock")], is_error=True)

    @server.tool()
    def boom() -> int:
        raise KeyError("x")

    @server.tool()
    def rpcerr() -> int:
        raise wrong(-32050, "not now")

    @server.tool()
    def denied() -> int:
        raise wrong(-32003, "not you")

    @server.tool()
    async def ask(ctx: Context[Any, Any]) -> types.CallToolResult | types.InputRequiredResult:
        if ctx.input_responses:
            return types.CallToolResult(content=[])
        return types.InputRequiredResult(input_requests={"q": QUESTION}, request_state="round-1")

    for tool in (hang, limited, whoami):
        server.tool()(tool)

    @server.resource("r://a")
    def r() -> str:
        return "A"

    @server.prompt()
    def p(q: str) -> str:
        return q

    return server


async def _call(
    ctx: Any, params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult:
    name, args = params.name, params.arguments or {}
    text = ""
    match name:
        case "ok":
            if not isinstance(args.get("a"), int):
                raise wrong(-32602, "a must be an integer")
            text = str(args["a"])
        case "flag":
            return types.CallToolResult(
                content=[types.TextContent(type="text", text="no stock")], is_error=True
            )
        case "boom":
            raise KeyError("x")
        case "rpcerr":
            raise wrong(-32050, "not now")
        case "denied":
            raise wrong(-32003, "not you")
        case "hang":
            text = await hang(args["until"])
        case "limited":
            text = await limited()
        case "whoami":
            text = await whoami()
        case "ask":
            if not params.input_responses:
                return types.InputRequiredResult(input_requests={"q": QUESTION}, request_state="round-1")
        case _:
            raise wrong(-32602, "there is no such tool")
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


async def _list(ctx: Any, params: Any) -> types.ListToolsResult:
    names = ("flag", "boom", "rpcerr", "denied", "hang", "limited", "whoami", "ask")
    tools = [types.Tool(name=name, input_schema=ANY_SCHEMA) for name in names]
    return types.ListToolsResult(
        tools=[types.Tool(name="ok", input_schema=OK_SCHEMA, annotations=READ_ONLY), *tools]
    )


async def _read(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    if str(params.uri) != "r://a":
        raise wrong(-32602, "there is no such resource")
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text="A")])


async def _prompt(ctx: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    if params.name != "p":
        raise wrong(-32602, "there is no such prompt")
    return types.GetPromptResult(messages=[])


def lowlevel() -> Server[Any]:
    return Server(
        "shop",
        version="3.1",
        on_list_tools=_list,
        on_call_tool=_call,
        on_read_resource=_read,
        on_get_prompt=_prompt,
    )


def built(kind: str) -> Any:
    return {"mcpserver": mcpserver, "sdk2": lowlevel}[kind]()


async def serve(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    made = built(sys.argv[1])
    if sys.argv[2:]:
        indelible.attach(made, sys.argv[2])
    anyio.run(serve, getattr(made, "_lowlevel_server", made))
