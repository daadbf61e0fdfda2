"""Receivers of syslog in this process: what they do wrong is chosen, what they have read can be asked."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable


def octet_counted(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the messages of RFC 6587's octet counting, and what is left; independent of what is tested."""
    found = []
    while match := re.match(rb"([1-9][0-9]*) ", data):
        end = match.end() + int(match[1])
        if end > len(data):
            break
        found.append(data[match.end() : end])
        data = data[end:]
    return found, data


def by_lines(data: bytes) -> tuple[list[bytes], bytes]:
    *found, rest = data.split(b"\n")
    return found, rest


class Receiver:
    """Accepts connections on a port of its own and reads what comes, until it is told otherwise."""

    def __init__(
        self,
        *,
        framing: Callable[[bytes], tuple[list[bytes], bytes]] = octet_counted,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._framing = framing
        self._tls = tls
        self.messages: list[bytes] = []
        self.by_connection: list[list[bytes]] = []
        """The same, of each connection, in the order in which they were accepted."""
        self.connections = 0
        self.reads = threading.Event()
        """Cleared: it accepts, and reads nothing."""
        self.reads.set()
        self.close_after: int | None = None
        """A connection is closed in good order once so many messages came on it."""
        self.reset_after: int | None = None
        """The same without reading the rest, so that the system resets it."""
        self.greeting = b""
        self.ended_by: list[str] = []
        """How TLS connections ended: with close_notify, or without."""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self.port = 0
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        self._run(self._accept, self._listening)

    def stop(self) -> None:
        """Close everything at once, with whatever is unread in it; nobody listens any more."""
        listening, self._listening = self._listening, None
        if listening is not None:
            while any(select.select([listening], [], [], 0)):  # who is not accepted yet would be reset
                os.sched_yield()
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        self.reads.set()
        self.hang_up()
        for thread in self._threads:
            thread.join(60)
        self._threads.clear()

    def hang_up(self) -> None:
        """Close every connection in good order; others may come."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            came: list[bytes] = []
            self.by_connection.append(came)
            with self._lock:
                self._open.add(connection)
            self._run(self._serve, connection, came)

    def _serve(self, connection: socket.socket, came: list[bytes]) -> None:
        try:
            self._read(connection, came)
        except OSError as exc:
            self.ended_by.append(str(getattr(exc, "reason", exc)))
        finally:
            connection.close()
            with self._lock:
                self._open.discard(connection)

    def _read(self, connection: socket.socket, came: list[bytes]) -> None:
        if self._tls is not None:
            connection.settimeout(60)
            connection = self._tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        with connection:
            connection.sendall(self.greeting)
            rest, here = b"", 0
            while True:
                self.reads.wait(120)
                if self.reset_after is not None and here >= self.reset_after:
                    self.reset_after = None
                    return
                data = connection.recv(4096)
                if not data:
                    self.ended_by.append("in good order")
                    return
                found, rest = self._framing(rest + data)
                self.messages += found
                came += found
                here += len(found)
                if self.close_after is not None and here >= self.close_after and not rest:
                    self.close_after = None
                    return
