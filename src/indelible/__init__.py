"""The audit trail for MCP."""

from indelible._version import __version__

__all__ = ["__version__"]
