"""Records to a syslog receiver as datagrams: UDP (RFC 5426), or a local socket such as /dev/log.

The rule that lives here: a datagram that was sent is taken, and nobody says that it arrived. What a network, a full
buffer or a stopped receiver loses is lost. What can be known is used: when the receiver's system answers that nobody
listens (ICMP), the batch that was just sent counts as not taken, as a whole, since the answer does not say which.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from indelible.sink_settings.syslog import SyslogSettings
from indelible.sinks.base import Delivery, Shipment, SinkUnavailable, delivered
from indelible.sinks.waits import Waits

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings

_SAID: Final = {
    errno.ECONNREFUSED: "nobody listens there",
    errno.ENOENT: "there is no such socket",
    errno.EPROTOTYPE: "is a socket of another kind: one of datagrams is needed",
    errno.ENOTSOCK: "is no socket",
    errno.EPIPE: "nobody listens there any more",
}


class DatagramSink:
    """Sends each record as one datagram."""

    def __init__(self, settings: SinkSettings) -> None:
        """`settings.own` is `SyslogSettings`, its protocol udp."""
        self._own = SyslogSettings.of(settings.own)
        self._address = self._own.address
        self._waits = Waits(settings.timeout)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """See `Sink`."""
        self._waits.check()
        try:
            self._connected()
        except OSError as exc:
            raise SinkUnavailable(self._said(exc)) from exc

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        at, refused = 0, []
        try:
            sock = self._connected()
            for at, shipment in enumerate(shipments):
                why = self._put(sock, shipment.record)
                if why:
                    refused.append((at, why))
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
        except SinkUnavailable as exc:
            exc.delivery = delivered(at, refused)
            raise
        except OSError as exc:
            self._let_go()
            raise SinkUnavailable(self._said(exc), delivered(0 if exc.errno in _SAID else at, refused)) from exc
        return delivered(len(shipments), refused)

    def close(self) -> None:
        """See `Sink`."""
        self._let_go()
        self._waits.close()

    def stop(self) -> None:
        """See `Sink`."""
        self._waits.stop()

    def _put(self, sock: socket.socket, record: bytes) -> str:
        """Send a record; return why it never can be, if that is so."""
        if not record:
            return "is empty"
        deadline = self._waits.deadline()
        while True:
            self._waits.check()
            try:
                sock.send(record)
            except BlockingIOError:
                if not self._waits.ready(sock.fileno(), select.POLLOUT, deadline):
                    raise TimeoutError(f"it has taken nothing for {self._waits.timeout:g} s") from None
            except OSError as exc:
                if exc.errno == errno.EMSGSIZE:
                    return (
                        f"{len(record)} bytes are too long for a datagram; set max_bytes, or send it over TCP"
                    )
                raise
            else:
                return ""

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = self._local() if self._own.is_local else self._remote()
        return self._socket

    def _local(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        return _connect(sock, self._address)

    def _remote(self) -> socket.socket:
        host, port = self._own.place
        found = self._waits.call(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM))
        family, kind, protocol, _, address = found[0]
        return _connect(socket.socket(family, kind, protocol), address)

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _said(self, exc: OSError) -> str:
        if isinstance(exc, socket.gaierror):
            return f"{self._address}: the name cannot be resolved: {exc.strerror}"
        if isinstance(exc, TimeoutError):
            return f"{self._address}: {str(exc) or 'the name is not resolved in time'}"
        return f"{self._address}: {_SAID.get(exc.errno or 0) or exc.strerror or exc}"


def _connect(sock: socket.socket, address: object) -> socket.socket:
    try:
        sock.settimeout(0)
        sock.connect(address)  # type: ignore[arg-type]  # what getaddrinfo returned
    except BaseException:
        sock.close()
        raise
    return sock
