"""An HTTP receiver in this process, on Python's own server: what it answers is chosen, what it took can be asked."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import socket
import ssl
import struct
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

LIMIT_S = 60


@dataclass
class Asked:
    """A request, as the receiver read it."""

    path: str
    headers: Message
    raw: bytes
    """The body as it came over the wire."""
    method: str = "POST"

    @property
    def body(self) -> bytes:
        return gzip.decompress(self.raw) if self.headers["Content-Encoding"] == "gzip" else self.raw


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Instead of all this: what goes over the wire, and then the end of the connection."""
    then: str = ""
    """``reset`` the connection instead of an answer, ``hang``, or ``drip`` an answer that never ends."""


def said(status: int, value: Any, **headers: str) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


Plan = Callable[[Asked], Reply]


class HttpReceiver:
    """Listens on a port of its own until `stop`."""

    def __init__(self, plan: Plan, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.plan = plan
        self.asked: list[Asked] = []
        """Every request, in order."""
        self.connections = 0
        self.goes_on = threading.Event()
        """Cleared: it reads requests and answers none."""
        self.goes_on.set()
        self.over = threading.Event()
        self.port = 0
        self._host = host
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.start()

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def start(self) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        server = type("Server", (http.server.ThreadingHTTPServer,), {"address_family": family})
        self.over.clear()
        self._server = server((self._host, self.port), type("Bound", (Handler,), {"receiver": self}))
        self._server.daemon_threads = False
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Close everything at once; nobody listens any more."""
        if self.over.is_set():
            return
        self.over.set()
        self.goes_on.set()
        self._server.shutdown()
        self._server.socket.close()
        self.hang_up()
        self._server.server_close()
        self._thread.join(LIMIT_S)

    def hang_up(self) -> None:
        """Close every connection; others may come."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def began(self, connection: socket.socket) -> socket.socket:
        """Note a connection, and shake hands where that is due."""
        self.connections += 1
        if self._tls is not None:
            connection.settimeout(LIMIT_S)
            connection = self._shake_hands(connection, self._tls)
        with self._lock:
            self._open.add(connection)
        return connection

    @staticmethod
    def _shake_hands(connection: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        try:
            return tls.wrap_socket(connection, server_side=True)
        except (
            OSError
        ) as exc:  # of a connection that is reset just then, ssl leaves its own socket open (Python 3.11)
            for frame, _ in traceback.walk_tb(exc.__traceback__):
                own = frame.f_locals.get("self")
                if isinstance(own, ssl.SSLSocket):
                    own.close()
            raise

    def ended(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a receiver."""

    protocol_version = "HTTP/1.1"
    timeout = LIMIT_S
    disable_nagle_algorithm = True
    receiver: HttpReceiver

    def setup(self) -> None:
        self.refused = False
        try:
            self.request = self.receiver.began(self.request)
        except OSError:
            self.refused = True
            return
        super().setup()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            if not self.refused:
                super().handle()

    def finish(self) -> None:
        if not self.refused:
            with contextlib.suppress(OSError):
                super().finish()
        self.receiver.ended(self.request)
        self.request.close()

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        asked = Asked(self.path, self.headers, raw, self.command)
        self.receiver.goes_on.wait(LIMIT_S)
        if self.receiver.over.is_set():
            self.close_connection = True
            return
        reply = self.receiver.plan(asked)
        self.receiver.asked.append(asked)
        if reply.then:
            self._then(reply.then)
        elif reply.raw is not None:
            self.wfile.write(reply.raw)
            self.close_connection = True
        else:
            self._answer(reply)

    def do_GET(self) -> None:
        self.do_POST()

    def do_PUT(self) -> None:
        self.do_POST()

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def _then(self, what: str) -> None:
        self.close_connection = True
        if what == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()
        elif what == "hang":
            self.receiver.over.wait(LIMIT_S)
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not self.receiver.over.wait(0.05):
                self.wfile.write(b"x")

    def log_message(self, *_: object) -> None:
        pass


def sink_keys(url: str, **keys: Any) -> dict[str, Any]:
    """Return the keys of an http sink to a receiver here."""
    return {"type": "http", "url": url, "allow_private": True, "start": "beginning", **keys}
