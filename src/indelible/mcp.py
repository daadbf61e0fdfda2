"""For servers of the official MCP SDK: ``middleware.append(AuditMiddleware())``, or `indelible.attach(server)`."""

from __future__ import annotations

from indelible.capture.attach import audited, program
from indelible.capture.calling import Trail
from indelible.capture.sdk2 import WireMiddleware

__all__ = ["AuditMiddleware"]


class AuditMiddleware(WireMiddleware):
    """Records every call of one server of the official SDK, 2.x; put it first in `Server.middleware`."""

    def __init__(self, trail: Trail = None, *, backend: str | None = None) -> None:
        """`trail` is an open recorder, a path, or None for the configured trail.

        `backend` is the server's name in the trail, by default the program's. Raises what opening a trail does.
        """
        super().__init__(audited(trail, backend or program()))
