"""A small MCP server, to be wrapped: ``indelible wrap --name weather -- python examples/own_server.py``."""

from fastmcp import FastMCP

weather: FastMCP = FastMCP("weather", version="1.0.0")


@weather.tool(annotations={"readOnlyHint": True})
def forecast(city: str) -> str:
    """Tell tomorrow's weather."""
    return f"Tomorrow it rains in {city}."


@weather.tool
def subscribe(email: str, city: str) -> str:
    """Send the forecast by mail, every morning."""
    return f"{email} will hear about {city}."


if __name__ == "__main__":
    weather.run("stdio", show_banner=False, log_level="WARNING")
