# mypy: ignore-errors
"""A server of the official SDK, 1.x or 2.x, or of FastMCP, that says what it is told, wherever one can say something.

``python server.py lowlevel|high|fastmcp TRAIL|- SEED``: recorded to a trail, or not at all. The descriptions, schemas
and defaults of its tools hold canaries of the seed.
"""

import importlib.metadata
import json
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

# Only what Indelible itself logs reaches stderr; what the SDK logs is the SDK's.
logging.getLogger().addHandler(logging.NullHandler())
own = logging.getLogger("indelible")
own.setLevel(logging.DEBUG)
own.addHandler(logging.StreamHandler())

import anyio  # noqa: E402
from mcp.server.lowlevel import Server  # noqa: E402
from mcp.server.stdio import stdio_server  # noqa: E402

import indelible  # noqa: E402
from tests.canaries import canaries  # noqa: E402

OLD = importlib.metadata.version("mcp").startswith("1.")
if OLD:
    from mcp import types
    from mcp.server.fastmcp import Context
    from mcp.server.fastmcp import FastMCP as High
    from mcp.shared.exceptions import McpError

    def wrong(text: str) -> Exception:
        return McpError(types.ErrorData(code=-32050, message=text, data={"of": text}))
else:
    import mcp_types as types
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver import MCPServer as High
    from mcp.shared.exceptions import MCPError

    def wrong(text: str) -> Exception:
        return MCPError(code=-32050, message=text, data={"of": text})


NAMES = ("tells", "fails", "raises", "errs", "reports", "asks")


def listed(seed: int) -> list[dict[str, Any]]:
    """Return tools with canaries in all of their texts."""
    tools: list[dict[str, Any]] = [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]
    for canary in canaries(seed):
        text = canary.value
        field = {"type": "string", "title": text, "description": text, "default": text, "enum": [text]}
        schema = {
            "type": "object",
            "properties": {"note": field, text: {"type": "string"}},
            "description": text,
        }
        about = {"title": text, "description": text, "annotations": {"title": text}, "_meta": {"x": text}}
        tools.append({"name": f"tells {canary.name}", "inputSchema": schema, **about})
    return tools


async def act(name: str, args: Any, session: Any, rpc_id: Any) -> tuple[str, bool]:
    """Do what the tool's name says; return a text, and whether it is an error's."""
    text = json.dumps(args)
    if name == "raises":
        raise ValueError(text)
    if name == "errs":
        raise wrong(text)
    if name == "reports":
        await session.send_progress_notification("p", 0.5, 1.0, text, str(rpc_id))
        await session.send_log_message("info", text, text)
    if name == "asks":
        schema = {"type": "object", "properties": {"note": {"type": "string", "description": text}}}
        answer = await session.elicit_form(text, schema, rpc_id)
        message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
        sampled = await session.create_message(
            [message], max_tokens=9, system_prompt=text, related_request_id=rpc_id
        )
        text += answer.model_dump_json() + sampled.model_dump_json()
    return text, name == "fails"


def result(text: str, failed: bool) -> Any:
    content = [{"type": "text", "text": text}]
    return types.CallToolResult.model_validate({"content": content, "isError": failed})


def old_lowlevel(seed: int) -> Any:
    server: Any = Server("canary", version="1")

    @server.list_tools()
    async def tools() -> Any:
        return [types.Tool.model_validate(tool) for tool in listed(seed)]

    @server.call_tool(validate_input=False)
    async def call(name: str, args: Any) -> Any:
        context = server.request_context
        return result(*await act(name, args, context.session, context.request_id))

    return server


def new_lowlevel(seed: int) -> Any:
    async def tools(_ctx: Any, _params: Any) -> Any:
        return types.ListToolsResult(tools=[types.Tool.model_validate(tool) for tool in listed(seed)])

    async def call(ctx: Any, params: Any) -> Any:
        return result(*await act(params.name, params.arguments, ctx.session, ctx.request_id))

    return Server("canary", version="1", on_list_tools=tools, on_call_tool=call)


def high(seed: int) -> Any:
    server: Any = High("canary")

    def tool(kind: str) -> Any:
        async def run(ctx: Context, note: Any = "") -> Any:  # type: ignore[type-arg,unused-ignore]
            return result(*await act(kind, note, ctx.session, ctx.request_id))

        return run

    for name in NAMES:
        server.add_tool(tool(name), name=name)
    for canary in canaries(seed):
        server.add_tool(
            tool("tells"), name=f"tells {canary.name}", title=canary.value, description=canary.value
        )
    return server


def fast(seed: int, trail: str) -> Any:
    """Return a server of the package FastMCP, of whichever version, with the middleware."""
    from fastmcp import Context as FastContext
    from fastmcp import FastMCP
    from fastmcp.tools import Tool, ToolResult

    theirs = logging.getLogger("fastmcp")  # what FastMCP logs is FastMCP's
    theirs.handlers[:], theirs.propagate = [logging.NullHandler()], False
    server = FastMCP("canary", version="1")
    server.add_middleware(indelible.fastmcp.AuditMiddleware(trail))

    def add(kind: str, **about: Any) -> None:
        async def run(ctx: FastContext, note: Any = "") -> Any:
            text, failed = await act(kind, note, ctx.session, ctx.request_id)
            return ToolResult(text, is_error=failed)

        run.__annotations__.update(ctx=FastContext, note=Any)
        server.add_tool(Tool.from_function(run, **about))

    for name in NAMES:
        add(name, name=name)
    for canary in canaries(seed):
        text = canary.value
        add("tells", name=f"tells {canary.name}", title=text, description=text, tags={text}, meta={"x": text})
    return server


async def serve(server: Any) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    kind, trail, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "fastmcp":
        fast(seed, trail).run("stdio", show_banner=False)
        sys.exit()
    made = high(seed) if kind == "high" else old_lowlevel(seed) if OLD else new_lowlevel(seed)
    if trail != "-":
        indelible.attach(made, trail)
    anyio.run(serve, getattr(made, "_lowlevel_server", None) or getattr(made, "_mcp_server", made))
