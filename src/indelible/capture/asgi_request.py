"""What `asgi.AuditASGI` does with a request, on its way to the app: its calls begin, or are refused.

The other half of an exchange, the response, is in `asgi_exchange`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from indelible import context
from indelible.capture import asgi_body, meta, methods, peers, sse
from indelible.capture.asgi_body import Body
from indelible.capture.calling import REFUSED, WITHHELD, OpenCall, Peer
from indelible.capture.correlate import error_reply
from indelible.capture.frames import ABSENT, Parsed
from indelible.capture.frames import Message as Rpc
from indelible.capture.http_sessions import Session, Waiting
from indelible.capture.incoming import Outside
from indelible.capture.outcomes import Verdict, notified
from indelible.capture.proxies import client_of
from indelible.errors import TrailUnavailable
from indelible.operation import WHY_REFUSED

if TYPE_CHECKING:
    from indelible.capture.asgi import AuditASGI, Message, Receive, Scope, Send
    from indelible.recorder import Recorder

Mode = Literal["pass", "events", "whole", "refusal", "severed"]
"""See `asgi_exchange`."""


class HttpRequest(Outside):
    """One request that may be MCP."""

    _initializes = _refused = _gone = False
    _asking: asyncio.Task[Message] | None = None
    _listening = 0
    _mode: Mode | None = None
    _status = 0
    _challenge: str | None = None
    _start: Message | None = None
    _held: Message | None = None
    _out = 0
    _answer_body: Body
    """Since the response has started."""
    _events: sse.Parser
    """Since it is a stream of events."""

    def __init__(self, door: AuditASGI, scope: Scope, receive: Receive, send: Send, *, certain: bool) -> None:
        """`certain`: the request is to a path that is MCP's."""
        self._door = door
        self.recorder: Recorder = door.audited.recorder
        self.scope: Scope = {**scope, Outside.KEY: self}
        self._receive, self._send = receive, send
        self._headers = asgi_body.headers_of(scope.get("headers", ()))
        self._certain = certain or self._seems_mcp()
        self._session = door.session_of(self._headers, scope)
        self._known = self._session is not None
        self._body = Body(self._headers.get("content-encoding")) if scope["method"] == "POST" else None
        self._mine: list[Waiting] = []
        self._made: dict[str, OpenCall] = {}
        self._unread: list[Message] = []

    def open_call(self, rpc_id: str) -> OpenCall | None:
        """Return the call of this request with this id; of one that could not be read, its only one."""
        return self._made.get(rpc_id) or self._made.get(_ANY)

    def _seems_mcp(self) -> bool:
        headers = self._headers
        if not _MCPS.isdisjoint(headers):
            return True
        if "text/event-stream" not in headers.get("accept", ""):
            return False
        return self.scope["method"] == "GET" or "json" in headers.get("content-type", "")

    async def receive(self) -> Message:
        """Hand the app the next message of its client."""
        message = await self._next()
        if message["type"] == "http.disconnect":
            self._client_gone()
        elif message["type"] == "http.request" and self._body is not None:
            self._body.add(message.get("body") or b"")
            if not message.get("more_body"):
                body, self._body = self._body, None
                if not await self._arrived(body):
                    return {"type": "http.disconnect"}
        return message

    async def _next(self) -> Message:
        if self._unread:
            return self._unread.pop(0)
        if self._asking is None:
            self._listening += 1
            try:
                return await self._receive()
            finally:
                self._listening -= 1
        asking = self._asking
        await asyncio.wait([asking])  # who is cancelled here leaves it to the next one who asks
        self._asking = None
        return asking.result()

    async def _arrived(self, body: Body) -> bool:
        """Record what a request begins; False when the app must not read it."""
        requests: list[tuple[Rpc, bytes]] = []
        try:
            try:
                requests += self._read(asgi_body.requests_of(body, certainly=self._certain))
                await self._begin_all(requests)
                if body.unread and self._certain:
                    await self._begin_unread(body)
            except TrailUnavailable:
                raise
            except Exception as exc:  # noqa: BLE001 - a fault of ours must not end somebody's call
                self._door.faults.lost(exc, REFUSED)
        except TrailUnavailable:
            await self._refuse(requests)
            return False
        return True

    def _read(self, parsed: Parsed) -> list[tuple[Rpc, bytes]]:
        """Take what is no request, and return the requests."""
        if not parsed:
            return []
        session = self._session = self._session or self._door.session()
        requests = []
        for message, text in parsed:
            if message.method is not msgspec.UNSET:
                if message.id is not ABSENT or message.method in methods.CALLS:
                    requests.append((message, text))
                elif message.method == "notifications/cancelled":
                    session.cancel(text)
            elif message.result is not ABSENT or message.error is not ABSENT:
                session.reply(message)
        return requests

    async def _begin_all(self, requests: list[tuple[Rpc, bytes]]) -> None:
        """Begin each of them, also when one cannot be recorded: then none is made, and of each there is an event."""
        session = self._session
        peer, unrecorded = None, None
        if session is None:
            return
        for message, text in requests:
            if methods.is_call(str(message.method), has_id=message.id is not ABSENT):
                peer = peer or self._peer(session)
                try:
                    await self._begin(session, message, text, peer)
                except TrailUnavailable as exc:
                    unrecorded = exc
            else:
                self._initializes = self._initializes or message.method == "initialize"
                session.other(message, text)
        if unrecorded is not None:
            raise unrecorded
        if len(self._mine) == 1:
            context.current.set(self._mine[0].call)

    async def _begin(self, session: Session, message: Rpc, text: bytes, peer: Peer) -> None:
        rpc_id = bytes(message.id)
        wire = None if message.id is ABSENT else (self, _as_text(rpc_id))
        carried = meta.read(message)
        incoming = asgi_body.incoming_of(message, text, carried, self._headers, wire)
        if carried is not None and (fields := asgi_body.said_of(carried)):
            peer = msgspec.structs.replace(peer, **fields)
        call = await self._door.audited.abegin(incoming, peer)
        if wire is None:
            await call.afinish(notified())
            return
        waiting = Waiting(rpc_id, call)
        self._made[wire[1]] = call
        self._mine.append(waiting)
        session.calls.add(waiting)

    async def _begin_unread(self, body: Body) -> None:
        """Begin what nobody but the server may be able to read: taken for one call, since it may be one."""
        session = self._session = self._session or self._door.session()
        incoming = asgi_body.incoming_unread(body, self._headers, (self, _ANY))
        call = await self._door.audited.abegin(incoming, self._peer(session))
        self._made[_ANY] = call
        waiting = Waiting(b"null", call, unread=True)
        self._mine.append(waiting)
        session.calls.add(waiting)
        context.current.set(call)

    def _peer(self, session: Session) -> Peer:
        """Return who sent the request, as far as the app, too, knows by now: its middleware may have looked at it.

        What the request does not say of its client is known of its `session`.
        """
        scope, headers, trusted = self.scope, self._headers, self._door.audited.trusted
        request = _Request(scope, headers)
        host = scope["client"][0] if scope.get("client") else None
        version = headers.get("mcp-protocol-version")
        token = peers.token_of(request)
        known_of = (session.session_id, session.client, session.protocol_version)
        said = (headers.get("mcp-session-id"), version, host, *known_of)
        simple = token is None and "user" not in scope and not trusted.networks  # said by nothing but these
        known = session.last_peer.get(None, said) if simple else None
        if known is not None:
            return known
        peer = peers.peer_of_request(
            request,
            token,
            session_id=session.session_id,
            client=session.client,
            protocol_version=meta.short(version) or session.protocol_version,
            client_ip=client_of(host, scope.get("headers", ()), trusted),
        )
        if simple:
            return session.last_peer.put(None, said, peer)
        if token is not None:
            return peer
        return msgspec.structs.replace(peer, **peers.principal_of_user(scope.get("user"), scope.get("auth")))

    async def _refuse(self, requests: list[tuple[Rpc, bytes]]) -> None:
        """Answer in the app's place: the calls could not be recorded, and are not made."""
        for waiting in self._take_mine():
            with contextlib.suppress(TrailUnavailable):
                waiting.call.finish(Verdict("denied", error=WHY_REFUSED, error_type="audit_unavailable"))
        replies = [
            error_reply(bytes(message.id), REFUSED) for message, _ in requests if message.id is not ABSENT
        ]
        self._refused = True
        if self._mode is not None:  # the response is on its way, and ends here
            return
        body = line(replies, batch=len(requests) > 1)
        session = self._session
        if session is not None and session.stream is not None:
            if await session.stream.put(body):
                await self._answer(202, b"text/plain; charset=utf-8", b"Accepted")
            else:
                await self._answer(503, b"application/json", body)
        else:
            await self._answer(200 if replies else 503, b"application/json", body)

    async def _answer(self, status: int, kind: bytes, body: bytes) -> None:
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def _take_mine(self) -> list[Waiting]:
        """Return the calls of this request that still wait, which then wait no more."""
        mine, self._mine = self._mine, []
        for waiting in mine:
            if self._session is not None:
                self._session.calls.remove(waiting)
        return [waiting for waiting in mine if not waiting.call.closed]

    async def put(self, data: bytes) -> bool:
        """Put an event of ours into the response; False when that cannot be."""
        raise NotImplementedError

    def _client_gone(self) -> None:
        raise NotImplementedError


_MCPS: Final = frozenset({"mcp-session-id", "mcp-protocol-version", "mcp-method"})


class _Request:
    """What `peers` reads of a request."""

    client = None

    def __init__(self, scope: Scope, headers: dict[str, str]) -> None:
        self.scope, self.headers = scope, headers


_ANY: Final = ""
"""In the place of an id that is not known."""


def method_of(message: Rpc) -> str:
    """Return the method of a message, for one that has none that of no call."""
    return message.method if isinstance(message.method, str) else "ping"


def _as_text(rpc_id: bytes) -> str:
    try:
        return str(msgspec.json.decode(rpc_id))
    except (msgspec.MsgspecError, RecursionError):
        return rpc_id.decode("utf-8", "replace")


def withheld(waiting: Iterable[Waiting], *, batch: bool) -> bytes:
    """Return what goes out in the place of answers whose outcomes could not be recorded."""
    return line([error_reply(each.rpc_id, WITHHELD) for each in waiting], batch=batch)


def line(replies: list[bytes], *, batch: bool) -> bytes:
    """Return answers as one body; empty for none."""
    if batch:
        return b"[" + b",".join(replies) + b"]"
    return replies[0] if replies else b""
