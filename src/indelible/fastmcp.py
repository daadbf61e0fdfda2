"""For FastMCP servers, 4 and 3: ``mcp.add_middleware(AuditMiddleware())``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indelible.capture.fastmcp_mw import AuditMiddleware

__all__ = ["AuditMiddleware"]


def __getattr__(name: str) -> Any:
    """Make the class when it is asked for: it is one of FastMCP's, which may not be installed."""
    if name != "AuditMiddleware":
        msg = f"module 'indelible.fastmcp' has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        from indelible.capture.fastmcp_mw import AuditMiddleware
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "fastmcp":
            raise
        msg = "indelible.fastmcp needs FastMCP, which is not installed: pip install 'indelible[fastmcp]'"
        raise ModuleNotFoundError(msg, name=exc.name) from None
    return AuditMiddleware
