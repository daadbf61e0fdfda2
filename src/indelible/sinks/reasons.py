"""Why a receiver cannot be reached or understood, in a few words."""

from __future__ import annotations

import socket
import ssl

from indelible.sinks import tls
from indelible.sinks.connection import Ended


def of(exc: Exception, ended: str = "it closed the connection") -> str:
    """Return the reason that stands behind a destination's name; `ended` is what an end by the other side is called."""
    if isinstance(exc, ssl.SSLError):
        return tls.reason(exc)
    match exc:
        case Ended():
            return ended
        case socket.gaierror():
            return f"the name cannot be resolved: {exc.strerror}"
        case TimeoutError():
            return str(exc) or "the name is not resolved in time"
        case ConnectionRefusedError():
            return "nothing listens there"
        case ConnectionResetError() | BrokenPipeError():
            return "it broke the connection off"
        case OSError():
            return exc.strerror or str(exc)
    return str(exc)
