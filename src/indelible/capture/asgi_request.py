"""What `asgi.AuditASGI` does with a request, on its way to the app: its calls begin, or are refused.

The other half of an exchange, the response, is in `asgi_exchange`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import UNSET

from indelible import context
from indelible.capture import asgi_body, asgi_headers, bodies, meta, methods, peers, sse
from indelible.capture.asgi_headers import text_of
from indelible.capture.bodies import Body
from indelible.capture.calling import REFUSED, WITHHELD, OpenCall, Peer
from indelible.capture.correlate import error_reply
from indelible.capture.frames import ABSENT, Parsed
from indelible.capture.frames import Message as Rpc
from indelible.capture.http_sessions import Session, Told, Waiting
from indelible.capture.incoming import Outside
from indelible.capture.outcomes import Verdict, notified
from indelible.capture.proxies import client_of
from indelible.errors import TrailUnavailable
from indelible.operation import WHY_REFUSED

if TYPE_CHECKING:
    from indelible.capture.asgi import AuditASGI, Message, Receive, Scope, Send
    from indelible.recorder import Recorder

MAX_SAID: Final = 4096
"""Characters of what a request says of its client that are kept to know it again, as long as its session."""

Mode = Literal["pass", "events", "whole", "refusal", "severed"]
"""See `asgi_exchange`."""


class Seen(Outside):
    """The calls of one request, for who meets it further in.

    It knows no request: one that was in its own scope would be there until the collector comes by.
    """

    def __init__(self, recorder: Recorder) -> None:
        """Know none yet; they are recorded by `recorder`."""
        self._recorder = recorder
        self.calls: dict[str, OpenCall] = {}

    def goes_into(self, recorder: Recorder) -> bool:
        """Tell whether they are recorded into the trail of this `recorder`."""
        return self._recorder.shares(recorder)

    def open_call(self, rpc_id: str) -> OpenCall | None:
        """Return the call with this id; of a request that could not be read, its only one."""
        return self.calls.get(rpc_id) or self.calls.get(_ANY)


class HttpRequest:
    """One request that may be MCP."""

    _initializes = _refused = _gone = False
    _body: Body | None = None
    """Until all of it has come."""
    _unread: Sequence[Message] = ()
    """What was read in the app's place."""
    _told: Sequence[Told] = ()
    """Until the server says whether it takes the request."""
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
        self._seen = seen = Seen(door.audited.recorder)
        self.scope: Scope = {**scope, Outside.KEY: seen}
        self._receive, self._send = receive, send
        self._fields = fields = asgi_headers.fields_of(scope.get("headers", ()))
        self._certain = certain or self._seems_mcp()
        self._named = text_of(fields.get(b"mcp-session-id"))
        self._session = door.session_of(self._named, scope)
        self._known = self._session is not None
        if scope["method"] == "POST":
            self._body = bodies.body_of(fields.get(b"content-encoding"))
        self._mine: list[Waiting] = []

    def _seems_mcp(self) -> bool:
        fields = self._fields
        if not _MCPS.isdisjoint(fields):
            return True
        if b"text/event-stream" not in fields.get(b"accept", b""):
            return False
        return self.scope["method"] == "GET" or b"json" in fields.get(b"content-type", b"")

    async def receive(self) -> Message:
        """Hand the app the next message of its client."""
        message = await self._next()
        kind = message["type"]
        if kind == "http.disconnect":
            self._client_gone()
        elif kind == "http.request" and (body := self._body) is not None:
            body.add(bodies.piece_of(message))
            if not message.get("more_body"):
                self._body = None
                if not await self._arrived(body):
                    return {"type": "http.disconnect"}
        return message

    async def _next(self) -> Message:
        if self._unread:
            message, *self._unread = self._unread
            return message
        asking = self._asking
        if asking is None:
            self._listening += 1
            try:
                return await self._receive()
            finally:
                self._listening -= 1
        await asyncio.wait([asking])  # who is cancelled here leaves it to the next one who asks
        self._asking = None
        return asking.result()

    async def _arrived(self, body: Body) -> bool:
        """Record what a request begins; False when the app must not read it."""
        parsed: Parsed = ()
        try:
            try:
                parsed = asgi_body.requests_of(body, certainly=self._certain)
                if parsed:
                    await self._begin_all(parsed)
                elif body.unread and self._certain:
                    await self._begin_unread(body)
            except TrailUnavailable:
                raise
            except Exception as exc:  # noqa: BLE001 - a fault of ours must not end somebody's call
                self._door.faults.lost(exc, REFUSED)
        except TrailUnavailable:
            await self._refuse(parsed)
            return False
        return True

    async def _begin_all(self, parsed: Parsed) -> None:
        """Take the client's messages in their order, and begin each call of them.

        Also when one cannot be recorded: then none is made, and of each there is an event.
        """
        session = self._session
        if session is None:
            session = self._session = self._door.session()
        unrecorded = None
        for message, text in parsed:
            method, has_id = message.method, message.id is not ABSENT
            if method is not UNSET and methods.is_call(method, has_id=has_id):
                try:
                    await self._begin(session, message, text)
                except TrailUnavailable as exc:
                    unrecorded = exc
                continue
            self._initializes = self._initializes or (has_id and method == "initialize")
            told = session.other(message, text)
            if told is not None:
                self._told = [*self._told, told]
        if unrecorded is not None:
            raise unrecorded
        if self._told and self._status:  # the answer has begun already
            self._tell(taken=self._status < 400)
        if len(self._mine) == 1:
            context.current.set(self._mine[0].call)

    async def _begin(self, session: Session, message: Rpc, text: bytes) -> None:
        wire = None if message.id is ABSENT else (self._seen, _as_text(message.id))
        carried = meta.read(message)
        incoming = asgi_body.incoming_of(message, text, carried, self._fields, wire)
        call = await self._door.audited.abegin(incoming, self._peer(session, carried))
        if wire is None:
            await call.afinish(notified())
            return
        waiting = Waiting(incoming.rpc_id or b"", call)
        self._seen.calls[wire[1]] = call
        self._mine.append(waiting)
        session.calls.add(waiting)

    async def _begin_unread(self, body: Body) -> None:
        """Begin what nobody but the server may be able to read: taken for one call, since it may be one."""
        session = self._session = self._session or self._door.session()
        incoming = asgi_body.incoming_unread(body, self._fields, (self._seen, _ANY))
        call = await self._door.audited.abegin(incoming, self._peer(session))
        self._seen.calls[_ANY] = call
        waiting = Waiting(b"null", call, unread=True)
        self._mine.append(waiting)
        session.calls.add(waiting)
        context.current.set(call)

    def _peer(self, session: Session, carried: meta.Meta | None = None) -> Peer:
        """Return who sent the request, as far as the app, too, knows by now: its middleware may have looked at it.

        What neither the request nor the message's `carried` says of its client is known of its `session`.
        """
        scope, fields = self.scope, self._fields
        client, token = scope.get("client"), peers.token_in(scope)
        host = client[0] if client else None
        if token is not None or "user" in scope or self._door.audited.trusted.networks:
            return self._make_peer(session, carried, token, host)
        version = fields.get(b"mcp-protocol-version")
        of_it = None if carried is None else (carried.protocol_version, bytes(carried.client_info))
        of_session = (session.session_id, session.client, session.protocol_version)
        said = (self._named, version, host, of_it, of_session)  # by nothing but these
        last = self._door.last_peer if session.key is None else session.last_peer
        known = last.get(None, said)
        if known is None:
            known = self._make_peer(session, carried, None, host)
            if len(repr(said)) <= MAX_SAID:
                last.put(None, said, known)
        return known

    def _make_peer(self, session: Session, carried: meta.Meta | None, token: Any, host: str | None) -> Peer:
        scope, trusted = self.scope, self._door.audited.trusted
        headers = asgi_headers.texts_of(self._fields)
        version = meta.short(headers.get("mcp-protocol-version")) or session.protocol_version
        about: dict[str, Any] = {"client": session.client, "protocol_version": version}
        if carried is not None:
            about |= asgi_body.said_of(carried)
        address = client_of(host, scope.get("headers", ()), trusted)
        request = _Request(scope, headers)
        return peers.peer_of_request(request, token, session_id=session.session_id, client_ip=address, **about)

    async def _refuse(self, parsed: Parsed) -> None:
        """Answer in the app's place: the calls could not be recorded, and are not made."""
        requests = [message for message, _ in parsed if message.method is not UNSET]
        for waiting in self._take_mine():
            with contextlib.suppress(TrailUnavailable):
                waiting.call.finish(Verdict("denied", error=WHY_REFUSED, error_type="audit_unavailable"))
        asked = [bytes(message.id) for message in requests if message.id is not ABSENT]
        replies = [error_reply(rpc_id, REFUSED) for rpc_id in asked]
        self._refused = True
        self._tell(taken=False)
        begun, self._mode = self._mode is not None, "severed"
        if begun:  # the response is on its way, and ends here
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

    def _tell(self, *, taken: bool) -> None:
        """Let what the request says of others count, or not."""
        told, self._told = self._told, ()
        try:
            for each in told:
                (each.taken if taken else each.refused)()
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not end somebody's response
            with contextlib.suppress(TrailUnavailable):
                self._door.faults.lost(exc, REFUSED)

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


_MCPS: Final = frozenset({b"mcp-session-id", b"mcp-protocol-version", b"mcp-method"})


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


def _as_text(rpc_id: msgspec.Raw) -> str:
    try:
        return str(msgspec.json.decode(rpc_id))
    except (msgspec.MsgspecError, RecursionError):
        return bytes(rpc_id).decode("utf-8", "replace")


def withheld(waiting: Iterable[Waiting], *, batch: bool) -> bytes:
    """Return what goes out in the place of answers whose outcomes could not be recorded."""
    return line([error_reply(each.rpc_id, WITHHELD) for each in waiting], batch=batch)


def line(replies: list[bytes], *, batch: bool) -> bytes:
    """Return answers as one body; empty for none."""
    if batch:
        return b"[" + b",".join(replies) + b"]"
    return replies[0] if replies else b""
