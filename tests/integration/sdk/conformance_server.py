"""The server that the official conformance suite asks for: ``python -m …conformance_server WITHIN FRONT``.

Three of the same on as many ports, which it prints: nothing listens to the first; the second is audited from within,
into the trail WITHIN; in front of the third is `AuditASGI`, with the trail FRONT. Names and answers are those of the
suite's scenarios.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import sys
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

import indelible
from indelible.asgi import AuditASGI

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 32).decode()
WAV = base64.b64encode(b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 28).decode()


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, text: str) -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, text=text, mime_type="text/plain")
    return types.EmbeddedResource(type="resource", resource=resource)


def test_simple_text() -> str:
    """Answer with a text."""
    return "This is a simple text response for testing."


def test_image_content() -> types.CallToolResult:
    """Answer with an image."""
    return types.CallToolResult(content=[image()])


def test_audio_content() -> types.CallToolResult:
    """Answer with a sound."""
    return types.CallToolResult(content=[types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")])


def test_embedded_resource() -> types.CallToolResult:
    """Answer with a resource."""
    return types.CallToolResult(content=[embedded("test://embedded-resource", "This is an embedded resource.")])


def test_multiple_content_types() -> types.CallToolResult:
    """Answer with one of each."""
    text = types.TextContent(type="text", text="Multiple content types test:")
    return types.CallToolResult(
        content=[text, image(), embedded("test://mixed-content-resource", '{"test":"data"}')]
    )


async def test_tool_with_progress(ctx: Context[Any, Any]) -> str:
    """Tell how far it is."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
    return "done"


def test_error_handling() -> str:
    """Fail."""
    raise ValueError("This tool intentionally returns an error for testing")


def static_text() -> str:
    return "This is the content of the static text resource."


def static_binary() -> bytes:
    return base64.b64decode(PNG)


def template(id: str) -> str:  # noqa: A002 - the suite's name
    return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'


def test_simple_prompt() -> str:
    """A prompt."""
    return "This is a simple prompt for testing."


def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


TOOLS = (
    test_simple_text, test_image_content, test_audio_content, test_embedded_resource, test_multiple_content_types,
    test_tool_with_progress, test_error_handling,
)  # fmt: skip
RESOURCES = (
    (static_text, "test://static-text", "text/plain"),
    (static_binary, "test://static-binary", "image/png"),
    (template, "test://template/{id}/data", "application/json"),
)


def built() -> MCPServer:
    server = MCPServer("conformance", version="1")
    for tool in TOOLS:
        server.tool()(tool)
    for resource, uri, mime_type in RESOURCES:
        server.resource(uri, mime_type=mime_type)(resource)
    for prompt in (test_simple_prompt, test_prompt_with_arguments):
        server.prompt()(prompt)
    return server


def apps(within: str, front: str) -> tuple[Any, ...]:
    audited = built()
    indelible.attach(audited, within)
    in_front = AuditASGI(built().streamable_http_app(), front)
    return built().streamable_http_app(), audited.streamable_http_app(), in_front


async def main() -> None:
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    print(*(each.getsockname()[1] for each in listening), flush=True)
    configs = [uvicorn.Config(app, log_level="error") for app in apps(*sys.argv[1:])]
    servers = [uvicorn.Server(config) for config in configs]
    await asyncio.gather(*(server.serve([mine]) for server, mine in zip(servers, listening, strict=True)))


if __name__ == "__main__":
    asyncio.run(main())
