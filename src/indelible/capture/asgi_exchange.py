"""One HTTP request and its response, on their way through `asgi.AuditASGI`.

The states of a response, in order: ``None`` before it starts, then one of

- ``pass``: nothing in it concerns us;
- ``events``: an event stream, whose events are judged as they are completed;
- ``whole``: an answer in one body; a piece with which it may be complete is held until more comes, and the start until
  the first piece goes out, so that an answer in one piece can still be replaced;
- ``refusal``: of a credential; its body is read for the reason;
- ``severed``: its end must not go out, and nothing does any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from indelible import context
from indelible.capture import asgi_body, asgi_headers, bodies, methods, sse
from indelible.capture.asgi_headers import Fields, text_of
from indelible.capture.asgi_request import HttpRequest, Mode, method_of, withheld
from indelible.capture.bodies import Body
from indelible.capture.calling import REFUSED, WITHHELD
from indelible.capture.frames import ABSENT, Parsed
from indelible.capture.http_sessions import GONE, Answer, Session, Waiting
from indelible.capture.outcomes import Verdict, judge
from indelible.errors import TrailUnavailable

if TYPE_CHECKING:
    from indelible.capture.asgi import Message, Receive

LOOK_TURNS: Final = 10
"""Turns of the loop in which the word of a client that has gone comes through the server and the middleware before us.

hypercorn needs one, granian three, each `BaseHTTPMiddleware` of Starlette four more; one is 4 µs.
"""

UNREAD_S: Final = 2.0
"""Seconds that a client has to send the rest of a request that was refused before the app had read it."""


class HttpExchange(HttpRequest):
    """A request, and its response."""

    _settled = -1
    """How many calls there were when the answer was complete, which owes these nothing more."""
    _awaited: Sequence[Waiting] = ()
    """Of other requests, whose client has come back for their answers."""

    async def run(self) -> None:
        """Let the app answer."""
        before = context.current.get()
        try:
            await self._door.app(self.scope, self.receive, self.send)
        except BaseException as exc:
            if isinstance(exc, Exception):
                await self._read_unread()
            self._broken(exc)
            if self._refused and isinstance(exc, Exception):  # of our making: it was told that its client left
                return
            raise
        else:
            if not self._status:
                await self._read_unread()
            if len(self._mine) != self._settled:
                await self._over()
        finally:
            if context.current.get() is not before:
                context.current.set(before)
            if self._asking is not None:
                self._asking.cancel()
            stream_session = self._session
            if stream_session is not None:
                if stream_session.stream is self:
                    self._door.sessions.remove(stream_session, GONE)
                if self._awaited:
                    stream_session.leave(self._awaited)

    # --- the response ---

    async def send(self, message: Message) -> None:
        """Take the next message of the app's response on its way out."""
        mode, kind = self._mode, message["type"]
        if mode == "severed":
            return
        if kind == "http.response.start":
            await self._started(message)
        elif kind == "http.response.body" and mode is not None and mode != "pass":
            await self._piece(message)
        else:
            if kind == "http.response.body" and not message.get("more_body"):
                await self._over()
            await self._release()
            await self._send(message)

    async def _started(self, message: Message) -> None:
        headers = message.get("headers", ())
        if type(headers) is not list and not isinstance(headers, Sequence):  # it may be one that is read once
            headers = tuple(headers)
            message = {**message, "headers": headers}
        fields = asgi_headers.fields_of(headers)
        self._status = status = int(message["status"])
        self._answer_body = bodies.body_of(fields.get(b"content-encoding"))
        if self._told:
            self._tell(taken=status < 400)
        if status >= 400:
            self._challenge = text_of(fields.get(b"www-authenticate"))
            if status in (401, 403) and not self._known and not self._mine and self._certain:
                self._body = None
                self._mode, self._start = "refusal", message
                return
            if self._body is not None and self._certain:
                await self._read_rest()
        self._mode = self._mode_of(fields)
        if status < 300:
            self._accepted(fields)
        if self._mode == "whole" and self._body is None:
            self._start = message
        else:
            await self._send(message)

    def _reads_on(self) -> bool:
        """Tell whether the app answers before it has read all of the request: its calls are not known yet."""
        return self._body is not None and self._certain and self._status < 400

    def _accepted(self, fields: Fields) -> None:
        """Know the session that the server has opened, or that the client has ended."""
        session = self._session
        if session is not None and session.key is None:
            session_id = text_of(fields.get(b"mcp-session-id")) if self._initializes else self._named
            if session_id:
                self._door.began(session, session_id)  # or it was opened before this process knew of sessions
        if self._known and self.scope["method"] == "DELETE":
            self._door.sessions.remove(session, "the client ended the session")

    def _mode_of(self, fields: Fields) -> Mode:
        streams = _is_stream(bytes(fields.get(b"content-type", b"")))
        if self.scope["method"] == "GET" and streams and self._status < 300:
            session = self._session = self._session or self._door.session()
            if b"last-event-id" in self._fields:
                self._awaited = session.come_back()
        elif (self._session is None or not (self._mine or self._session.learns)) and not self._reads_on():
            return "pass"
        elif not streams or self._status >= 400:
            return "whole"
        self._events = sse.Parser()
        return "events"

    async def _read_unread(self) -> None:
        """Read what an app that ends without a response has not read: its calls were made, too."""
        if not self._status and not self._gone and self._body is not None and self._certain:
            with contextlib.suppress(Exception):  # the app's own exception counts, and goes on
                await self._read_rest()

    async def _read_rest(self) -> None:
        """Read what the app has refused without reading it all: its calls were made, and refused.

        Of one that is longer than what is kept, its beginning says what it is; nobody waits for the rest of it.
        """
        body, more = self._body, True
        with contextlib.suppress(
            TimeoutError, RuntimeError
        ):  # not on asyncio: what has come is all that is read
            async with asyncio.timeout(UNREAD_S):
                while body is not None and self._body is body:
                    if not more or body.cut:
                        self._body = None
                        await self._refused_with(body)
                        return
                    message = await self._receive()
                    self._unread = [*self._unread, message]
                    if message["type"] != "http.request":
                        return
                    body.add(bodies.piece_of(message))
                    more = bool(message.get("more_body"))

    async def _refused_with(self, body: Body) -> None:
        try:
            await self._arrived_refused(body)
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not end somebody's response
            with contextlib.suppress(TrailUnavailable):
                self._door.faults.lost(exc, REFUSED)

    async def _arrived_refused(self, body: Body) -> None:
        """Record calls that the app does not make; what cannot be recorded is owed, and there is nothing to refuse."""
        parsed = asgi_body.requests_of(body, certainly=self._certain)
        session = self._session = self._session or self._door.session()
        for message, text in parsed:
            if message.id is not ABSENT and methods.is_call(method_of(message), has_id=True):
                with contextlib.suppress(TrailUnavailable):
                    await self._begin(session, message, text)
        if body.unread:
            with contextlib.suppress(TrailUnavailable):
                await self._begin_unread(body)

    async def _piece(self, message: Message) -> None:
        piece = bodies.piece_of(message)
        last = not message.get("more_body")
        if self._mode == "events":
            await self._event_piece(message, piece, last=last)
            return
        self._answer_body.add(piece)
        if last:
            instead = await self._whole()
            if instead is not None:
                await self._replace(instead)
                return
        elif self._mode == "whole" and self._may_complete(piece):
            if self._held is not None:
                await self._release()
            self._held = message
            return
        await self._release()
        await self._send(message)

    def _may_complete(self, piece: bytes) -> bool:
        """Tell whether an answer may be complete with this piece, and what still comes be nothing or white space."""
        return not self._answer_body.plain or piece.rstrip()[-1:] in (b"}", b"]", b"")

    async def _release(self) -> None:
        """Send what was held."""
        start, held = self._start, self._held
        self._start = self._held = None
        if start is not None:
            await self._send(start)
        if held is not None:
            await self._send(held)

    async def _replace(self, body: bytes) -> None:
        """Send an answer of ours in the place of one whose outcome could not be recorded."""
        if self._start is None:  # part of it is out: the rest is not
            self._mode = "severed"
            return
        self._mode, self._start, self._held = "severed", None, None
        await self._answer(200, b"application/json", body)

    async def _whole(self) -> bytes | None:
        """Judge a response in one body; return what goes out instead of it, None for itself."""
        if self._mode == "refusal":
            self._reject()
            return None
        if not self._uvicorn_knows():
            await self._look_for_client()
        try:
            answers, batch = self._judged()
        except Exception as exc:  # noqa: BLE001
            return self._unjudged() if self._costs(exc) else None
        instead = await self._settle(answers, batch=batch)
        self._settled = len(self._mine)
        return instead

    def _unjudged(self) -> bytes:
        return withheld(self._mine, batch=len(self._mine) > 1)

    def _judged(self) -> tuple[list[Answer], bool]:
        """Return what the response says of each call that it was the last chance of, and whether it is a batch."""
        body = self._answer_body
        parsed = asgi_body.answers_of(body) if body.readable else ()
        general: Verdict | None = None
        answers: list[Answer] = []
        refused = self._status in (401, 403)
        session = self._session or self._door.session()
        for message, text in parsed:
            found = session.answer(message, text, self._mine)
            if found is not None:
                answers.append(self._with_status(found) if refused else found)
            elif message.error is not ABSENT:
                general = judge(message, text)
        if [answer.waiting for answer in answers] != self._mine:  # the same, as nearly always: nothing is owed
            taken = {answer.waiting for answer in answers}
            owed = [waiting for waiting in self._owed_now() if waiting not in taken]
            answers += [Answer(waiting, self._without(waiting, general)) for waiting in owed]
        return answers, len(parsed) > 1

    def _owed_now(self) -> list[Waiting]:
        """Return the calls that this response was the last chance of, which then wait no more."""
        owed = [waiting for waiting in self._mine if not waiting.call.closed]
        if self._status == 202 and self._session is not None and self._session.key is not None:
            owed = [
                waiting for waiting in owed if waiting.unread
            ]  # else, it comes on the old transport's stream
        for waiting in owed:
            if self._session is not None:
                self._session.calls.remove(waiting)
        return owed

    def _with_status(self, answer: Answer) -> Answer:
        """Judge an answer of its own by the response's status too: a refusal is one whatever its code."""
        return Answer(answer.waiting, asgi_body.judge_status(self._status, answer.verdict, None))

    def _without(self, waiting: Waiting, general: Verdict | None) -> Verdict:
        """Judge a call that the response has no answer to; one that was not read may have been a notification."""
        taken = waiting.unread and self._status == 202
        return Verdict("completed") if taken else self._unanswered(general)

    def _unanswered(self, general: Verdict | None) -> Verdict:
        body = self._answer_body
        if self._status < 400 and general is None:
            if body.unread:
                return Verdict("completed", metadata={"unparsed": body.unread})
            return Verdict("protocol_error", error="the response holds no answer to this request")
        reason = asgi_body.reason_of(body, self._challenge)
        return asgi_body.judge_status(self._status, general, reason)

    async def _settle(self, answers: list[Answer], *, batch: bool) -> bytes | None:
        """Record outcomes; return what goes out in the place of the answers when one of them cannot be."""
        owed = False
        for waiting, said in answers:
            verdict = said if waiting.cancelling is None else waiting.due(said)
            if waiting.timer is not None:
                waiting.timer.cancel()
            try:
                if self._gone and not waiting.execution:
                    waiting.call.cancelled(GONE)
                else:
                    await waiting.call.afinish(verdict)
                    if self._door.tasks.concerns(waiting.call, verdict):
                        await self._door.tasks.answered(waiting.call, verdict)
            except TrailUnavailable:
                owed = True
            except Exception as exc:  # noqa: BLE001
                owed = self._costs(exc) or owed
        return withheld((each.waiting for each in answers), batch=batch) if owed else None

    # --- event streams ---

    async def _event_piece(self, message: Message, piece: bytes, *, last: bool) -> None:
        begins, body = self._out, self._answer_body
        self._out += len(piece)
        sent: list[bytes] = []
        at, changed = 0, False
        for part in (piece,) if body.plain else body.parts(piece):
            for event in self._events.feed(part):
                instead = await self._event(event)
                if instead is None:
                    continue
                if event.start < begins or not body.plain:
                    await self._sever(b"".join(sent))
                    return
                sent += [piece[at : event.start - begins], sse.event_of(instead)]
                at, changed = event.end - begins, True
        if last:
            await self._over()
        await self._send({**message, "body": b"".join([*sent, piece[at:]])} if changed else message)

    async def _event(self, event: sse.Event) -> bytes | None:
        """Judge one event; return the data that goes out instead of its own, None for that."""
        session = self._session or self._door.session()
        if self.scope["method"] == "GET" and self._is_none_of_its(session, event):
            return None
        try:
            parsed: Parsed = asgi_body.answers_of(event.data) if event.data.size else ()
            found = [session.answer(message, text, self._mine) for message, text in parsed]
        except Exception as exc:  # noqa: BLE001
            return self._unjudged() if self._costs(exc) else None
        answers = [answer for answer in found if answer is not None]
        return await self._settle(answers, batch=len(parsed) > 1) if answers else None

    def _is_none_of_its(self, session: Session, event: sse.Event) -> bool:
        """Tell whether an event of a stream that was asked for holds no message: the old transport's begins so."""
        if event.name == b"endpoint" and not self._known:
            endpoint = event.data.whole
            if endpoint is not None and session.key is None:
                session.stream = self
                self._door.began_at(session, endpoint.decode("utf-8", "replace"))
            return True
        if session.key is None:
            self._mode = "pass"  # no stream of MCP's
            return True
        return False

    async def _sever(self, before: bytes) -> None:
        """End the stream within an event, which a client then throws away (WHATWG HTML, section 9.2.6)."""
        self._mode = "severed"
        with contextlib.suppress(Exception):  # a server may find the response too short
            await self._send({"type": "http.response.body", "body": before, "more_body": False})

    async def put(self, data: bytes) -> bool:
        """Put an event of ours into the stream; False when it is within another one."""
        if self._mode != "events" or not self._events.between or not self._answer_body.plain:
            return False
        await self._send({"type": "http.response.body", "body": sse.event_of(data), "more_body": True})
        return True

    # --- ends ---

    def _uvicorn_knows(self) -> bool:
        """Take uvicorn's word for whether the client is still there, at a twentieth of what looking for it costs."""
        cycle: Any = getattr(self._receive, "__self__", None)
        if not _is_uvicorns(cycle.__class__):
            return False
        gone = getattr(cycle, "disconnected", None)
        if gone:
            self._gone = True
        return gone is not None

    async def _look_for_client(self) -> None:
        """Look whether the client is still there: an app that answers in one body may never ask."""
        if self._gone or self._body is not None or self._asking is not None or self._listening:
            return
        with contextlib.suppress(RuntimeError):  # not on asyncio: it is not looked for
            asking = self._asking = asyncio.get_running_loop().create_task(_as_task(self._receive))
            for _ in range(LOOK_TURNS):
                await asyncio.sleep(0)
                if asking.done():
                    self._gone = asking.exception() is None and asking.result()["type"] == "http.disconnect"
                    break

    def _client_gone(self) -> None:
        """Nobody reads the response any more; what was answered before has been."""
        self._gone = True
        session = self._session
        if session is None or self._mode in ("pass", "severed"):
            return
        if session.stream is self:  # all answers go out here; an app whose handlers run on does not end yet
            self._door.sessions.remove(session, GONE)
        elif session.stream is None:  # else the answers go out on another connection
            self._leave(session, may_come_back=self._mode == "events" and self._events.resumable)

    def _leave(self, session: Session, *, may_come_back: bool) -> None:
        for waiting in [waiting for waiting in self._mine if not waiting.call.closed]:
            if may_come_back and session.key is not None:
                session.left(waiting)
            else:
                session.give_up(waiting, Verdict("cancelled", error=GONE))

    async def _over(self) -> None:
        """The response is complete, or will never be: what it has not answered is judged by that."""
        session = self._session
        if self._mode == "refusal":
            self._reject()
        if session is None or self._mode == "refusal":
            return
        if self._mode == "events" and session.key is not None and self._events.resumable:
            self._leave(session, may_come_back=True)
            return
        owed = self._owed_now()
        self._settled = len(self._mine)
        if not owed:
            return
        verdict = Verdict("protocol_error", error="the response ended without an answer")
        if self._mode != "events" or not self._answer_body.readable:
            verdict = self._unanswered(None) if self._status else verdict
        await self._settle([Answer(waiting, verdict) for waiting in owed], batch=False)

    def _broken(self, exc: BaseException) -> None:
        """The app has raised; awaits nothing, since it may have been cancelled."""
        for waiting in self._take_mine():
            if self._gone or not isinstance(exc, Exception):
                verdict = Verdict("cancelled", error=GONE if self._gone else None)
            else:
                verdict = Verdict(
                    "protocol_error", error="the server failed", error_type=type(exc).__qualname__
                )
            with contextlib.suppress(TrailUnavailable):
                waiting.call.finish(verdict)

    def _reject(self) -> None:
        """Record that a credential was refused before there was any session."""
        self._mode = "pass"
        request_id = asgi_headers.correlation_of(self._fields)[0]
        reason = asgi_body.reason_of(self._answer_body, self._challenge)
        self._door.rejections.note(self._peer(self._door.session()), self._status, reason, request_id)

    def _costs(self, exc: Exception) -> bool:
        """Take a fault of ours that cost an event; True when nothing may go out without its record."""
        try:
            self._door.faults.lost(exc, WITHHELD)
        except TrailUnavailable:
            return True
        return False


@functools.lru_cache
def _is_uvicorns(kind: type) -> bool:
    """Tell whether this is uvicorn's class (not documented) that notes that a request's client has disconnected."""
    return kind.__module__.startswith("uvicorn.protocols.http.") and kind.__name__ == "RequestResponseCycle"


@functools.lru_cache
def _is_stream(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"text/event-stream"


async def _as_task(receive: Receive) -> Message:
    """Wait for what any awaitable gives: a task takes coroutines only."""
    return await receive()
