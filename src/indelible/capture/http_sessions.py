"""Sessions of MCP over HTTP, and what waits in each: calls, other requests, and what the server asked.

An answer may come on another connection than its request did: on the one stream of the old HTTP+SSE transport, or on
that with which a client resumes a broken one. So what waits belongs to the session; where there is none (2026-07-28,
stateless servers), the one request is a session of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from indelible.capture import asgi_body, meta, methods, task_ends
from indelible.capture.asking import Asked
from indelible.capture.calling import Audited, OpenCall
from indelible.capture.calls import Exchange
from indelible.capture.frames import ABSENT, DoubtfulMessage, Message
from indelible.capture.outcomes import Verdict, judge
from indelible.capture.outstanding import Outstanding, key_of
from indelible.capture.peers import LastPeer
from indelible.capture.tasks import Tasks
from indelible.errors import TrailUnavailable

RESUME_S: Final = 30.0
"""Seconds that a client of a broken stream has to come back for its answer; then the call is `cancelled`."""

GONE: Final = "the client went away"

MAX_SESSIONS: Final = 10_000
"""Sessions that are remembered; of more, those go in which nothing waits and that were silent longest."""

MAX_OTHERS: Final = 256
"""Requests of one session that are no calls, and its server's questions, that wait at once; then all are forgotten."""


class Waiting(msgspec.Struct, eq=False):
    """A call that waits for its answer."""

    rpc_id: bytes
    """As it was written."""
    call: OpenCall
    unread: bool = False
    """The request could not be read; the first answer tells its id."""
    execution: bool = False
    """It is a task's, and the answer one to who asked about that: that is recorded whoever reads it."""
    timer: Any = None
    """An `asyncio.TimerHandle`, which runs while the client may come back for the answer."""
    left: bool = False
    """The stream that the answer was to come on has ended."""
    comers: int = 0
    """Streams that were opened since the call was made, on which the client has come back."""
    cancelling: Verdict | None = None
    """The client has asked for that, or who says to be it: the server may yet refuse to hear it."""

    def due(self, verdict: Verdict) -> Verdict:
        """Return what an end is recorded as: a call that a server has cancelled ends with an error, or no answer."""
        asked = self.cancelling
        return asked if asked is not None and verdict.kind == "protocol_error" else verdict


class _Question:
    """A request of the server that waits for the client's answer."""

    __slots__ = ("asked", "rpc_id")

    def __init__(self, rpc_id: bytes, asked: Asked) -> None:
        self.rpc_id = rpc_id
        self.asked = asked


class Told(NamedTuple):
    """What a request says of others in its session: it counts when the server has not refused the request.

    Else whoever knows a session's id could have its calls recorded as cancelled, and its questions as answered.
    """

    taken: Callable[[], None]
    refused: Callable[[], None] = lambda: None


class Answer(NamedTuple):
    """What a message of the server says of a call."""

    waiting: Waiting
    verdict: Verdict


class Session:
    """One session, or one request where there are none."""

    def __init__(self, audited: Audited, tasks: Tasks) -> None:
        """Nothing is known of it yet; `tasks` are those of the server."""
        self._audited = audited
        self._tasks = tasks
        self.key: str | None = None
        """Under which it is found again; None when it is not."""
        self.session_id: str | None = None
        self.client: str | None = None
        self.last_peer = LastPeer()
        self.protocol_version: str | None = None
        self.stream: Any = None
        """Of the old transport: the one on which all answers go out."""
        self.calls: Outstanding[Waiting] = Outstanding()
        self._others: Outstanding[Exchange] = Outstanding()
        self._asked: Outstanding[_Question] = Outstanding()

    @property
    def busy(self) -> bool:
        """Tell whether a call waits in it."""
        return len(self.calls) > 0

    # --- the client's messages ---

    def other(self, message: Message, text: bytes) -> Told | None:
        """Take a message that is no call: a request's answer may say something about the server."""
        if message.method is UNSET:
            answers = message.result is not ABSENT or message.error is not ABSENT
            return Told(functools.partial(self._replied, message)) if answers else None
        if message.id is ABSENT:
            return self._cancel(text) if message.method == "notifications/cancelled" else None
        if len(self._others) >= MAX_OTHERS:
            self._others.drain()
        self._others.add(task_ends.asking(bytes(message.id), message.method, text))
        if message.method != "initialize":
            return None
        if self.key is not None:
            return Told(functools.partial(self._introduced, text))
        self._introduced(text)  # a session of this request's alone
        return None

    def _introduced(self, text: bytes) -> None:
        params = meta.mapping(meta.raw_params(text) or ABSENT)
        self.client = meta.name_version(params.get("clientInfo")) or self.client
        self.protocol_version = self.protocol_version or meta.short(params.get("protocolVersion"))

    def _cancel(self, text: bytes) -> Told | None:
        rpc_id, reason = meta.cancelled(text)
        found = None if rpc_id is None else self.calls.find(rpc_id)
        if found is None:
            return None
        verdict = found.cancelling = Verdict("cancelled", error=reason)
        return Told(
            functools.partial(self._cancelled, found, verdict), functools.partial(_spared, found, verdict)
        )

    def _cancelled(self, waiting: Waiting, verdict: Verdict) -> None:
        if self.calls.remove(waiting):  # else it was answered meanwhile
            self.give_up(waiting, verdict)

    def _replied(self, message: Message) -> None:
        """Take the client's answer to what the server asked."""
        found = self._asked.take(bytes(message.id))
        if found is None:
            return
        error = meta.mapping(message.error) if message.error is not ABSENT else None
        if error:
            found.asked.refused(error.get("code"), error.get("message"))
        else:
            found.asked.answered(meta.mapping(message.result))

    # --- the server's messages ---

    def answer(self, message: Message, text: bytes, mine: list[Waiting]) -> Answer | None:
        """Take a message of the server: of an answer to a call, what became of it; `mine` are first in line."""
        if message.result is ABSENT and message.error is ABSENT:
            if message.id is not ABSENT and message.method in methods.SERVER_CALLS:
                self._ask(message, text, mine)
            return None
        waiting = self._take(bytes(message.id), mine)
        if waiting is not None:
            verdict = judge(message, text)
            if isinstance(message, DoubtfulMessage):
                verdict.metadata = {**(verdict.metadata or {}), **(asgi_body.doubts(message) or {})}
            return Answer(waiting, verdict)
        other = self._others.take(bytes(message.id))
        if other is None or message.result is ABSENT:
            return None
        self._learn(other.method, message)
        told = task_ends.told_by(other, message)
        execution = None if told is None else self._tasks.take(told[0])
        if told is None or execution is None:
            return None
        return Answer(Waiting(other.rpc_id, execution, execution=True), told[1])

    def _take(self, rpc_id: bytes, mine: list[Waiting]) -> Waiting | None:
        for waiting in mine:
            same = waiting.rpc_id == rpc_id or key_of(waiting.rpc_id) == key_of(rpc_id)
            if same and self.calls.remove(waiting):
                return waiting
        found = self.calls.take(rpc_id)
        if found is None and mine and mine[0].unread and self.calls.remove(mine[0]):
            found = mine[0]
            found.rpc_id = rpc_id
        return found

    def _ask(self, message: Message, text: bytes, mine: list[Waiting]) -> None:
        """Note what the server asks: from within the request whose stream it comes on, or else the only one."""
        open_ = [waiting for waiting in mine or self.calls if not waiting.call.closed]
        if len(open_) != 1:  # of several nobody can tell which one asks
            return
        params = meta.raw_params(text)
        if len(self._asked) >= MAX_OTHERS:
            self._asked.drain()
        asked = Asked(open_[0].call, str(message.method), params)
        self._asked.add(_Question(bytes(message.id), asked))

    def _learn(self, method: str, message: Message) -> None:
        if method == "tools/list":
            self._audited.list_tools(meta.tools_of(message.result))
        if method in ("initialize", "server/discover"):
            result = meta.mapping(message.result)
            self._audited.named(meta.server_version(result))
            self.protocol_version = meta.short(result.get("protocolVersion")) or self.protocol_version

    @property
    def learns(self) -> bool:
        """Tell whether an answer is waited for that says something about the server."""
        return len(self._others) > 0

    # --- a client that comes back ---

    def left(self, waiting: Waiting) -> None:
        """Wait a while for the client to come back for an answer, unless it has."""
        waiting.left = True
        if waiting.timer is not None or waiting.comers:
            return
        with contextlib.suppress(RuntimeError):  # not on asyncio: as long as the session is known
            loop = asyncio.get_running_loop()
            waiting.timer = loop.call_later(RESUME_S, self.give_up, waiting, Verdict("cancelled", error=GONE))

    def come_back(self) -> Sequence[Waiting]:
        """Note that the client has: any of these answers may come now. Which, only the server can tell."""
        awaited = tuple(self.calls)
        for waiting in awaited:
            waiting.comers += 1
            if waiting.timer is not None:
                waiting.timer.cancel()
                waiting.timer = None
        return awaited

    def leave(self, awaited: Sequence[Waiting]) -> None:
        """Note that it has left again, in the same way."""
        for waiting in awaited:
            waiting.comers -= 1
            if waiting.left and not waiting.call.closed:
                self.left(waiting)

    # --- ends ---

    def give_up(self, waiting: Waiting, verdict: Verdict) -> None:
        """No answer to a call comes any more, or nobody waits for it; never raises."""
        self.calls.remove(waiting)
        if waiting.timer is not None:
            waiting.timer.cancel()
        try:
            waiting.call.finish(verdict)
        except TrailUnavailable:
            return  # owed, and there is no answer to withhold

    def end(self, why: str) -> None:
        """The session is over: nobody waits for what is still open in it."""
        for waiting in self.calls.drain():
            self.give_up(waiting, Verdict("cancelled", error=why))
        self._asked.drain()
        self._others.drain()


def _spared(waiting: Waiting, verdict: Verdict) -> None:
    if waiting.cancelling is verdict:  # nobody else has asked since
        waiting.cancelling = None


class Sessions:
    """The sessions of one app, found by what their requests carry."""

    def __init__(self) -> None:
        """Know none."""
        self._known: OrderedDict[str, Session] = OrderedDict()

    def get(self, key: str | None) -> Session | None:
        """Return a session that is known."""
        found = None if key is None else self._known.get(key)
        if found is not None and key is not None:
            self._known.move_to_end(key)
        return found

    def add(self, key: str, session: Session) -> None:
        """Know a session from now on; a key that is used again is another session's."""
        self.remove(self._known.get(key), "its id was given to another session")
        session.key = key
        self._known[key] = session
        if len(self._known) > MAX_SESSIONS:
            self._forget()

    def _forget(self) -> None:
        """Forget one in which nothing waits; where calls wait in all, know more than the limit."""
        idle = next((session for session in self._known.values() if not session.busy), None)
        if idle is not None and idle.key is not None:
            del self._known[idle.key]

    def remove(self, session: Session | None, why: str) -> None:
        """End a session."""
        if session is not None:
            session.end(why)
            if session.key is not None and self._known.get(session.key) is session:
                del self._known[session.key]

    def end(self, why: str) -> None:
        """End all of them."""
        for session in tuple(self._known.values()):
            self.remove(session, why)
