"""A connection to a receiver: TCP, and TLS over it.

The rules that live here:

- What was written is with the receiver's system when none of it is unacknowledged (SIOCOUTQ, tcp(7)): `settle`. That
  the receiver has *read* it shows in one way only: we end our half first, and it ends its own, in good order:
  `finish`. A system whose program closes a connection, or dies, with something unread in it resets the connection.
- A receiver that ends the connection by itself (`Ended`) says nothing by that: it may have said so (shutdown(2)) and
  read no more.
- What the receiver says is read, and thrown away unless somebody listens (`listen`), since a connection that is closed
  with something unread is reset. TLS alerts are in it: a receiver that refuses our certificate says so after the
  handshake (RFC 8446, section 4.4.2.4).

It waits nowhere but in `Waits`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from indelible.sinks.base import SinkUnavailable

if TYPE_CHECKING:
    import ssl

    from indelible.sinks.waits import Waits

CAN_SETTLE: Final = sys.platform == "linux"
"""Whether the system says what is not acknowledged yet."""

KEEPALIVE_S: Final = 30
"""A receiver that went without a word is noticed after this, and three tries ten seconds apart."""

MAX_UNASKED: Final = 1 << 20
"""Bytes: so much of what a receiver says is kept while it is still being written to."""

_READ: Final = 65_536
_READS: Final = 16
_PAUSES: Final = (0.0002, 0.05)
"""Seconds: how soon, and at the latest how often, it is looked whether all is acknowledged."""


class Ended(OSError):  # noqa: N818 - a state, and it passes
    """The receiver has ended the connection, and we had not."""


class Connection:
    """What `connect` returns."""

    def __init__(self, sock: socket.socket, waits: Waits) -> None:
        self._sock = sock
        self._waits = waits
        self._tls: ssl.SSLObject | None = None
        self._shaken = True
        """Not while hands are shaken: what comes then is not to be thrown away."""
        self._heard: bytearray | None = None
        """What the receiver has said and nobody has read yet, when somebody listens."""

    def listen(self) -> None:
        """Keep what the receiver says from now on, for `read`."""
        self._heard = bytearray()

    def read(self) -> bytes:
        """Return what the receiver has said, as soon as there is something; empty when it has ended. Raises OSError."""
        deadline = self._waits.deadline()
        while not self._heard:
            if not self._waits.ready(self._sock.fileno(), select.POLLIN, deadline):
                raise TimeoutError(f"it does not answer within {self._waits.timeout:g} s")
            try:
                self.look()
            except Ended:
                break
            except OSError:
                if not self._heard:
                    raise
        return self.heard()

    def heard(self) -> bytes:
        """Return what the receiver has said and nobody has read yet. It waits for nothing."""
        data = bytes(self._heard or b"")
        self._heard = bytearray()
        return data

    def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """Shake hands. Raises OSError, of which ssl.SSLError is one."""
        import ssl

        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self._in, self._out, server_hostname=server_name)
        deadline = self._waits.deadline()
        self._shaken = False
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush(self._out.read())
                if not self._waits.ready(self._sock.fileno(), select.POLLIN, deadline):
                    raise TimeoutError("it does not answer the TLS handshake") from None
                self._in.write(self._received() or b"")
            except ssl.SSLError:
                with contextlib.suppress(OSError, SinkUnavailable):  # what it should know: why
                    self._flush(self._out.read())
                raise
        self._flush(self._out.read())
        self._tls, self._shaken = tls, True

    def write(self, data: bytes) -> None:
        """Hand data to the system. Raises OSError; TimeoutError when nothing of it went for too long."""
        if self._tls is None:
            self._flush(data)
            return
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        self._flush(self._out.read())

    def settle(self) -> None:
        """Wait until the receiver's system has everything. Raises as `write` does."""
        if not CAN_SETTLE:
            return
        pause, most = _PAUSES
        deadline, before = self._waits.deadline(), -1
        while left := _unacknowledged(self._sock):
            if left != before:
                deadline, before = self._waits.deadline(), left
            elif time.monotonic() >= deadline:
                raise TimeoutError(f"it has taken nothing for {self._waits.timeout:g} s")
            if self._waits.ready(self._sock.fileno(), select.POLLIN, min(deadline, time.monotonic() + pause)):
                self.look()
            pause = min(pause * 2, most)
        self.look()

    def look(self) -> None:
        """Read what the receiver says. Raises Ended or another OSError when it is over."""
        for _ in range(_READS):
            data = self._received()
            if data is None:
                return
            self._understand(data)
            if self._heard is not None and len(self._heard) > MAX_UNASKED:
                raise OSError(errno.EMSGSIZE, "it says more than anybody asked for")

    def finish(self) -> None:
        """End it, and wait until the receiver does: then it has read everything.

        Raises OSError when it has not; Ended when it has ended it before we did.
        """
        self.look()
        self._flush(self._last())
        self._sock.shutdown(socket.SHUT_WR)
        deadline = self._waits.deadline()
        with contextlib.suppress(Ended):
            while self._waits.ready(self._sock.fileno(), select.POLLIN, deadline):
                self.look()
            raise TimeoutError(f"it has not read what it was sent, for {self._waits.timeout:g} s")

    def close(self) -> None:
        """Let go of it; what was written is still delivered."""
        with contextlib.suppress(OSError):
            self._sock.send(self._last())
        self._sock.close()

    def abort(self) -> None:
        """Let go of it, and of what is on its way: it is sent again, and must not come twice by that."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def _last(self) -> bytes:
        """Return what is to be said before a connection ends: close_notify (RFC 5425, section 4.4)."""
        if self._tls is None:
            return b""
        import ssl

        with contextlib.suppress(ssl.SSLError):  # it wants to read the receiver's, too; or has said it already
            self._tls.unwrap()
        return self._out.read()

    def _flush(self, data: bytes) -> None:
        view = memoryview(data)
        awaited = select.POLLOUT | (select.POLLIN if self._shaken else 0)
        deadline = self._waits.deadline()
        while view:
            events = self._waits.ready(self._sock.fileno(), awaited, deadline)
            if not events:
                raise TimeoutError(f"it has taken nothing for {self._waits.timeout:g} s")
            if events & select.POLLIN:
                self.look()
            if events & ~select.POLLIN:
                view = view[self._send(view) :]
                deadline = self._waits.deadline()

    def _send(self, data: memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            if self._shaken:
                with contextlib.suppress(ConnectionError, Ended):  # but not its last words: a TLS alert
                    self.look()
            if exc.errno == errno.EPIPE:  # it had ended it before: a reset that comes first is ECONNRESET
                raise Ended from exc
            raise

    def _received(self) -> bytes | None:
        """Return what has come, None when nothing has. Raises Ended."""
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return None
        if not data:
            raise Ended
        return data

    def _understand(self, data: bytes) -> None:
        """Let TLS have what came, and whoever listens what it said. Raises ssl.SSLError for an alert."""
        if self._tls is None:
            self._hear(data)
            return
        import ssl

        self._in.write(data)
        try:
            while said := self._tls.read(_READ):
                self._hear(said)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass  # close_notify: the end of the connection follows

    def _hear(self, said: bytes) -> None:
        if self._heard is not None:
            self._heard += said


def _unacknowledged(sock: socket.socket) -> int:
    """Return how many bytes the receiver's system has not acknowledged."""
    import fcntl
    import termios

    count = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    return int.from_bytes(count, sys.byteorder)


class NotPermitted(OSError):  # noqa: N818 - a state, as Ended
    """No address of a name is one that may be connected to."""


def connect(
    host: str, port: int, waits: Waits, forbidden: Callable[[str], str] = lambda _address: ""
) -> Connection:
    """Connect to the first address of a name that answers.

    `forbidden` returns why an address may not be connected to, or an empty text: it is asked for each address that the
    name was resolved to, and those that it lets through are connected to as they are, so that the name cannot mean
    something else a moment later. Raises OSError; SinkUnavailable when it is stopped.
    """
    found = waits.call(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    reasons = [forbidden(str(address[0])) for *_, address in found]
    addresses = [one for one, why in zip(found, reasons, strict=True) if not why]
    failure: OSError = OSError(errno.ENOENT, "the name has no address")
    if found and not addresses:
        raise NotPermitted(reasons[0])
    deadline = waits.deadline()
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - index)
        sock = socket.socket(family, kind, protocol)
        try:
            _establish(sock, address, waits, time.monotonic() + share)
            return Connection(sock, waits)
        except OSError as exc:
            failure = exc
            sock.close()
        except BaseException:
            sock.close()
            raise
    raise failure


def _establish(sock: socket.socket, address: object, waits: Waits, deadline: float) -> None:
    sock.settimeout(0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    code = sock.connect_ex(address)  # type: ignore[arg-type]  # what getaddrinfo returned
    if code == errno.EINPROGRESS:
        if not waits.ready(sock.fileno(), select.POLLOUT, deadline):
            raise TimeoutError(f"it does not answer within {waits.timeout:g} s")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
