"""For FastMCP servers, 4 and 3: ``mcp.add_middleware(AuditMiddleware())``."""

from __future__ import annotations

try:
    from indelible.capture.fastmcp_mw import AuditMiddleware
except ModuleNotFoundError as exc:
    if exc.name is None or exc.name.partition(".")[0] != "fastmcp":
        raise
    msg = "indelible.fastmcp needs FastMCP, which is not installed: pip install 'indelible[fastmcp]'"
    raise ModuleNotFoundError(msg, name=exc.name) from None

__all__ = ["AuditMiddleware"]
