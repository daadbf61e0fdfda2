"""A small MCP server on the official SDK that records its own calls; no `indelible wrap` is needed in front of it."""

from mcp.server.mcpserver import MCPServer

import indelible

weather = MCPServer("weather", version="1.0.0")
indelible.attach(weather)


@weather.tool()
def forecast(city: str) -> str:
    """Tell tomorrow's weather."""
    return f"Tomorrow it rains in {city} (asked in {indelible.current_request_id()})."


if __name__ == "__main__":
    weather.run("stdio")
