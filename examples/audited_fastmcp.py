"""A small FastMCP server that records its own calls: one line, and no `indelible wrap` in front of it."""

from fastmcp import FastMCP

from indelible.fastmcp import AuditMiddleware

weather: FastMCP = FastMCP("weather", version="1.0.0")
weather.add_middleware(AuditMiddleware())


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
