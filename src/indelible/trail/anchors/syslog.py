"""Checkpoints to a syslog receiver: RFC 5424, over UDP (RFC 5426), TCP (RFC 6587), TLS (RFC 5425) or a local socket.

    <134>1 2026-11-21T06:46:33.680131Z host indelible 4711 checkpoint [indelible@32473 origin="…" size="12"] <base64>

The rule that lives here: a checkpoint has several lines, a log record has one. So the whole note travels as one word of
base64, the last of the message, and comes back byte for byte; nothing in it can begin a line of its own.

No receiver says that it has kept a message. Over TCP and TLS it counts as taken when the receiver has closed its side
after ours, or kept it open for a second; over UDP when it was sent; over a local socket when the system took it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible import events
from indelible.anchor_settings import FACILITIES, parse_address
from indelible.errors import AnchorError
from indelible.trail.anchors.tls import context
from indelible.trail.sharing.sockets import connect

if TYPE_CHECKING:
    from indelible.anchor_settings import AnchorSettings
    from indelible.trail.anchors import Handing

INFORMATIONAL: Final = 6
"""Severity (RFC 5424, section 6.2.1)."""

MAX_HOSTNAME: Final = 255
ENTERPRISE: Final = 32473
"""The private enterprise number for documentation (RFC 5612): there is none of our own."""

LINGER_S: Final = 1.0
MSGID: Final = "checkpoint"


def message(handing: Handing, facility: str, hostname: str, pid: int, timestamp: str) -> bytes:
    """Return the record of a checkpoint, without framing (RFC 5424, section 6)."""
    priority = FACILITIES.index(facility) * 8 + INFORMATIONAL
    host = "".join(char for char in hostname if "!" <= char <= "~")[:MAX_HOSTNAME] or "-"
    checkpoint = handing.checkpoint
    origin = "".join(f"\\{char}" if char in '"\\]' else char for char in checkpoint.origin)
    data = f'[indelible@{ENTERPRISE} origin="{origin}" size="{checkpoint.size}"]'
    word = base64.b64encode(handing.note).decode()
    return f"<{priority}>1 {timestamp} {host} indelible {pid} {MSGID} {data} {word}".encode()


class SyslogAnchor:
    """Sends each checkpoint as one record, over a connection of its own."""

    def __init__(self, settings: AnchorSettings) -> None:
        self._settings = settings
        self._network, self._host, self._port = parse_address(settings.address)
        self._facility = str(settings.facility)

    def hand(self, handing: Handing) -> None:
        """See `Anchor`."""
        data = message(handing, self._facility, socket.gethostname(), os.getpid(), events.now())
        if self._network == "udp":
            self._send_datagram(data)
        elif self._network == "unix":
            self._send_local(data)
        else:
            self._send_stream(b"%d %s" % (len(data), data))  # octet counting: RFC 6587, section 3.4.1

    def _send_datagram(self, data: bytes) -> None:
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.connect(address)
            sock.send(data)

    def _send_local(self, data: bytes) -> None:
        """Over /dev/log or its like, which is one of datagrams almost everywhere."""
        path = Path(self._host)
        with connect(path, self._settings.timeout, socket.SocketKind.SOCK_DGRAM) as sock:
            sock.send(data)

    def _send_stream(self, data: bytes) -> None:
        deadline = time.monotonic() + self._settings.timeout
        sock = socket.create_connection((self._host, self._port), self._settings.timeout)
        with contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            if self._network == "tls":
                sock = context(self._settings).wrap_socket(sock, server_hostname=self._host)
                stack.callback(sock.close)
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            sock.sendall(data)
            self._finish(sock, deadline)

    def _finish(self, sock: socket.socket, deadline: float) -> None:
        """Say that no more will come, and wait for the other side to close, too: then it has read everything."""
        import ssl

        sock.settimeout(max(0.001, min(LINGER_S, deadline - time.monotonic())))
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.unwrap()  # sends close_notify (RFC 5425, section 4.4)
                return
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        except (TimeoutError, ssl.SSLError):
            return
        except OSError as exc:
            msg = f"{self._host}: it broke the connection off: {exc.strerror or exc}"
            raise AnchorError(msg) from exc
