"""Any MCP server's HTTP app with the audit in front of it: `python examples/audited_http.py PORT`."""

import sys

import uvicorn
from mcp.server.mcpserver import MCPServer

import indelible
from indelible.asgi import AuditASGI

weather = MCPServer("weather", version="1.0.0")


@weather.tool()
def forecast(city: str) -> str:
    """Tell tomorrow's weather."""
    return f"Tomorrow it rains in {city} (asked in {indelible.current_request_id()})."


app = AuditASGI(weather.streamable_http_app(), backend="weather")

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
