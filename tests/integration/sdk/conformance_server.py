"""The server that the official conformance suite asks for: ``python -m …conformance_server PORT [TRAIL]``.

Names and answers are those of the suite's scenarios; without a trail nothing listens to it.
"""

from __future__ import annotations

import base64
import sys
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

import indelible

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 32).decode()
WAV = base64.b64encode(b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 28).decode()
server = MCPServer("conformance", version="1")


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, text: str) -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, text=text, mime_type="text/plain")
    return types.EmbeddedResource(type="resource", resource=resource)


@server.tool()
def test_simple_text() -> str:
    """Answer with a text."""
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> types.CallToolResult:
    """Answer with an image."""
    return types.CallToolResult(content=[image()])


@server.tool()
def test_audio_content() -> types.CallToolResult:
    """Answer with a sound."""
    return types.CallToolResult(content=[types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")])


@server.tool()
def test_embedded_resource() -> types.CallToolResult:
    """Answer with a resource."""
    return types.CallToolResult(content=[embedded("test://embedded-resource", "This is an embedded resource.")])


@server.tool()
def test_multiple_content_types() -> types.CallToolResult:
    """Answer with one of each."""
    text = types.TextContent(type="text", text="Multiple content types test:")
    return types.CallToolResult(
        content=[text, image(), embedded("test://mixed-content-resource", '{"test":"data"}')]
    )


@server.tool()
async def test_tool_with_progress(ctx: Context[Any, Any]) -> str:
    """Tell how far it is."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
    return "done"


@server.tool()
def test_error_handling() -> str:
    """Fail."""
    raise ValueError("This tool intentionally returns an error for testing")


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    return base64.b64decode(PNG)


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:  # noqa: A002 - the suite's name
    return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'


@server.prompt()
def test_simple_prompt() -> str:
    """A prompt."""
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


def main() -> None:
    if sys.argv[2:]:
        indelible.attach(server, sys.argv[2])
    uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")


if __name__ == "__main__":
    main()
