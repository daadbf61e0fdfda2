"""Why a receiver cannot be reached or understood, in a few words."""

from __future__ import annotations

import socket
import ssl

from indelible.sinks import tls
from indelible.sinks.connection import Ended


def of(exc: OSError) -> str:
    """Return the reason that stands behind a destination's name in a message."""
    if isinstance(exc, ssl.SSLError):
        return tls.reason(exc)
    match exc:
        case Ended():
            return "it closed the connection without an answer"
        case socket.gaierror():
            return f"the name cannot be resolved: {exc.strerror}"
        case TimeoutError():
            return str(exc) or "the name is not resolved in time"
        case ConnectionRefusedError():
            return "nothing listens there"
        case ConnectionError():
            return "it broke the connection off"
    return exc.strerror or str(exc)
