"""HTTP/1.1 to one origin: one connection that is kept, one request at a time; h11 speaks the protocol.

The rules that live here:

- A request and its answer take no longer than the time-out, all in all: resolving, connecting, TLS, writing, and an
  answer that comes drop by drop. `stop` ends any of it (`Waits`).
- Nothing that a receiver says is kept beyond a bound: neither headers, nor a body, nor interim answers.
- A redirection is followed when it keeps the method and the body (307, 308) and stays at the same scheme, host and
  port. No other one is, since credentials and records would go where nobody configured them. No proxy is asked.
- What a receiver answers before it has read the request counts: it may say why it will not, and close.
- A kept connection that the receiver closed is made anew, once. The request may be seen twice by that: whoever sends
  records must bear that anyway.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import h11

from indelible.sinks.connection import Connection, Ended, connect

if TYPE_CHECKING:
    import ssl

    from indelible.sinks.waits import Waits

MAX_HEAD_BYTES: Final = 64 << 10
"""Of an answer's status line and headers."""

MAX_INTERIM: Final = 8
"""Answers of class 1xx before the one that counts."""

MAX_IDLE_S: Final = 30.0
"""A connection that nobody has used for longer is made anew: somebody on the way may have forgotten it."""

MAX_REDIRECTIONS: Final = 3
FOLLOWED: Final = (307, 308)
"""They keep method and body (RFC 9110, sections 15.4.8 and 15.4.9)."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_TARGET = re.compile(r"/[!-~]*")
"""What may stand in a request line (RFC 9112, section 3.2.1)."""

Headers = Sequence[tuple[str, str]]


class NoHttpError(OSError):
    """What the receiver says is no HTTP, or more than we take."""


class Answer(NamedTuple):
    """What a receiver answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of a repeated one the first."""
    body: bytes
    is_whole: bool = True
    """Not when the body is longer than was asked for: then it is the beginning."""


class Origin(NamedTuple):
    """Whom we speak to (RFC 6454)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}")


def split_url(url: str) -> tuple[Origin, str]:
    """Return whom a URL names, and its path and query. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("expected http:// or https:// and a host")
    origin = Origin(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class Client:
    """Speaks to one origin. Of one thread; `Waits.stop` may come from any."""

    def __init__(
        self,
        origin: Origin,
        waits: Waits,
        *,
        forbidden: Callable[[str], str],
        tls: Callable[[], ssl.SSLContext],
        server_name: str | None = None,
    ) -> None:
        """`forbidden` as for `connect`; `tls` is called when a connection is made over https."""
        self._origin = origin
        self._waits = waits
        self._forbidden = forbidden
        self._tls = tls
        self._server_name = server_name or origin.host
        self._connection: Connection | None = None
        self._used = 0.0
        self._protocol = h11.Connection(h11.CLIENT)

    def open(self) -> None:
        """Connect, unless that is done. Raises OSError; SinkUnavailable when it is stopped."""
        with self._waits.together():
            self._connected()

    def post(self, target: str, headers: Headers, body: bytes, most: int) -> Answer:
        """Return what is answered to a request; of its body at most so many bytes.

        Raises OSError: NoHttpError for what is none; SinkUnavailable when it is stopped.
        """
        for _ in range(MAX_REDIRECTIONS):
            answer = self.ask("POST", target, headers, body, most)
            elsewhere = self._followed(target, answer)
            if elsewhere is None:
                return answer
            target = elsewhere
        return self.ask("POST", target, headers, body, most)

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """Let go of the connection, and of what is on its way."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _followed(self, target: str, answer: Answer) -> str | None:
        """Return the path at our origin that an answer sends us to, None when it does not."""
        location = answer.headers.get("location", "")
        if answer.status not in FOLLOWED or not location:
            return None
        try:
            origin, path = split_url(urljoin(f"{self._origin}{target}", location))
        except ValueError:
            return None
        return path if origin == self._origin and _TARGET.fullmatch(path) else None

    def ask(self, method: str, target: str, headers: Headers, body: bytes, most: int) -> Answer:
        """Return what is answered to one request of any method; a redirection is an answer. Raises as `post`."""
        with self._waits.together():
            try:
                while True:
                    is_kept = self._is_kept()
                    try:
                        return self._try(method, target, headers, body, most)
                    except (Ended, ConnectionError):
                        if not is_kept:
                            raise
                        self.abort()
            except BaseException:
                self.abort()
                raise

    def _is_kept(self) -> bool:
        """Tell whether there is a connection from before; one that may be closed by now is let go."""
        if self._connection is None:
            return False
        try:
            self._connection.look()
        except OSError:
            self.close()
        if time.monotonic() - self._used > MAX_IDLE_S:
            self.close()
        return self._connection is not None

    def _try(self, method: str, target: str, headers: Headers, body: bytes, most: int) -> Answer:
        connection = self._connected()
        data = self._asked(method, target, headers, body)
        try:
            connection.write(data)
        except OSError as exc:
            with contextlib.suppress(OSError):  # it may have said why it reads no more
                answer = self._answer(connection.heard, most)
                self.abort()
                return answer
            raise exc from None
        answer = self._answer(connection.read, most)
        self._keep(answer)
        return answer

    def _asked(self, method: str, target: str, headers: Headers, body: bytes) -> bytes:
        request = h11.Request(method=method, target=target, headers=list(headers))
        parts = (request, h11.Data(data=body), h11.EndOfMessage())
        return b"".join(self._protocol.send(part) or b"" for part in parts)

    def _answer(self, read: Callable[[], bytes], most: int) -> Answer:
        """Return the answer, as `read` brings it. Raises NoHttpError, Ended, and what `read` raises."""
        protocol = self._protocol
        head: h11.Response | None = None
        body, interim, heard = bytearray(), 0, False
        try:
            while True:
                event = protocol.next_event()
                if event is h11.NEED_DATA:
                    data = read()
                    if not data and head is None:
                        raise (
                            NoHttpError("it closed the connection in the middle of an answer")
                            if heard
                            else Ended
                        )
                    heard = True
                    protocol.receive_data(data)
                elif isinstance(event, h11.InformationalResponse):
                    interim += 1
                    if interim > MAX_INTERIM:
                        raise NoHttpError("it does not come to an answer")
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > most:
                        return _answer(head, bytes(body[:most]), is_whole=False)
                elif isinstance(event, h11.EndOfMessage):
                    return _answer(head, bytes(body), is_whole=True)
                else:
                    raise Ended
        except h11.RemoteProtocolError as exc:
            raise NoHttpError(f"it does not speak HTTP/1.1: {exc}") from None

    def _keep(self, answer: Answer) -> None:
        """Keep the connection for the next request, where that is possible."""
        self._used = time.monotonic()
        try:
            if not answer.is_whole or self._protocol.trailing_data[0]:
                self.abort()
            else:
                self._protocol.start_next_cycle()
        except h11.LocalProtocolError:  # it is to be closed
            self.close()

    def _connected(self) -> Connection:
        if self._connection is None:
            made = connect(self._origin.host, self._origin.port, self._waits, self._forbidden)
            try:
                made.listen()
                if self._origin.scheme == "https":
                    made.start_tls(self._tls(), self._server_name)
            except BaseException:
                made.abort()
                raise
            self._connection, self._used = made, time.monotonic()
            self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        return self._connection


def _answer(head: h11.Response | None, body: bytes, *, is_whole: bool) -> Answer:
    if head is None:
        raise NoHttpError("it answers with a body and no head")
    headers: dict[str, str] = {}
    for name, value in head.headers:
        headers.setdefault(name.decode("ascii"), value.decode("latin-1"))
    return Answer(head.status_code, headers, body, is_whole)
