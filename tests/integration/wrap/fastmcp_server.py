"""A FastMCP server for the tests, with a tool of each kind."""

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError

mcp: FastMCP = FastMCP("fixture")


@mcp.tool(annotations={"readOnlyHint": True})
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp.tool
def fail(why: str) -> str:
    """Fail."""
    raise ToolError(why)


@mcp.resource("data://greeting")
def greeting() -> str:
    """Return a greeting."""
    return "hello"


@mcp.prompt
def ask(topic: str) -> str:
    """Ask about a topic."""
    return f"What is {topic}?"


if __name__ == "__main__":
    mcp.run(show_banner=False)
