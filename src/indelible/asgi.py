"""For HTTP servers of any framework: ``app = AuditASGI(app)``."""

from __future__ import annotations

from indelible.capture.asgi import AuditASGI

__all__ = ["AuditASGI"]
