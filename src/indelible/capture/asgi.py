"""``AuditASGI(app)``: the audit of an MCP server of any framework, in front of its HTTP app.

Messages are read beside the bytes that go by, which are never changed; the one exception is what must not go out.

- A request's last piece is handed to the app when the intents of its calls are on record; an answer's last piece goes
  out when its outcome is.
- Nothing is held back but that last piece, and in front of an answer in one piece its headers. Last is the piece with
  which an answer is complete, whether or not an empty one follows.
- Nothing is kept without bound: see `kept`.
- What cannot be recorded under ``deny`` is refused before the app has read it all, which is told that the client
  went away; an answer is replaced where nothing of it is out yet, and else its end never goes out.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import parse_qs

from indelible import context
from indelible.capture import asgi_exchange, attach, peers
from indelible.capture.asgi_request import Seen
from indelible.capture.calling import Trail
from indelible.capture.faults import Faults
from indelible.capture.http_sessions import Session, Sessions
from indelible.capture.incoming import Outside
from indelible.capture.peers import LastPeer
from indelible.capture.rejections import DEFAULT_RATE, Rejections
from indelible.capture.tasks import Tasks
from indelible.errors import TrailUnavailable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SESSION_PARAMETERS: Final = ("session_id", "sessionId")
"""In the query of the old transport's message endpoint; what the Python and the TypeScript SDK call it."""


class AuditASGI:
    """Records every MCP request that goes by: Streamable HTTP of all revisions, and the HTTP+SSE of 2024-11-05."""

    def __init__(
        self,
        app: Any,
        trail: Trail = None,
        *,
        backend: str | None = None,
        path: str | None = None,
        rejections_per_second: int = DEFAULT_RATE,
    ) -> None:
        """`app` is any ASGI 3 application; what is not MCP goes through untouched.

        `trail` is an open recorder, a path, or None for the configured trail; `backend` the server's name in the
        trail, by default the program's. With a `path` only requests to it, and to what is below it, are looked at, and
        they are all taken for MCP; without one, what has MCP's headers or a JSON-RPC body. Of refusals before any
        session `rejections_per_second` are recorded one by one, and of more only the number.
        Raises what opening a trail does.
        """
        self.app: App = app
        self.audited = attach.audited(trail, backend or attach.program())
        self.sessions = Sessions()
        self.tasks = Tasks(self.audited)
        self.last_peer = LastPeer()
        """Of the requests of no session that is known."""
        self.rejections = Rejections(self.audited, rejections_per_second)
        self.faults = Faults(lambda: self.audited.recorder, TrailUnavailable)
        self._path = None if path is None else "/" + path.strip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection."""
        if scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                self.sessions.end("the server was stopped")
                self.rejections.flush()
            return
        if scope["type"] != "http" or not self._concerns(scope):
            await self.app(scope, receive, send)
            return
        exchange = asgi_exchange.HttpExchange(self, scope, receive, send, certain=self._path is not None)
        await exchange.run()

    def _concerns(self, scope: Scope) -> bool:
        if scope["method"] not in ("POST", "GET", "DELETE") or not self.audited.recorder.enabled:
            return False
        outer = scope.get(Outside.KEY)
        if isinstance(outer, Outside) and outer.goes_into(self.audited.recorder):
            return False  # there is another AuditASGI in front of this one
        if self._path is None:
            return True
        path = str(scope["path"])
        root = str(scope.get("root_path") or "")
        for asked in (path, path.removeprefix(root) if root else path):
            if asked.rstrip("/") == self._path.rstrip("/") or asked.startswith(self._path.rstrip("/") + "/"):
                return True
        return False

    def session(self) -> Session:
        """Return a session of which nothing is known yet."""
        return Session(self.audited, self.tasks)

    def session_of(self, named: str | None, scope: Scope) -> Session | None:
        """Return the session that a request says it is of, by its header or its query, when it is known."""
        if named:
            return self.sessions.get("id " + named)
        return self.sessions.get(query_key(scope.get("query_string", b"")))

    def began(self, session: Session, session_id: str) -> None:
        """Know a session that the server has opened."""
        session.session_id = session_id
        self.sessions.add("id " + session_id, session)

    def began_at(self, session: Session, endpoint: str) -> None:
        """Know a session of the old transport, by the address that the server gave for its messages."""
        query = endpoint.partition("#")[0].partition("?")[2]
        key = query_key(query.encode("utf-8", "replace"))
        if key is not None and session.key is None:
            session.session_id = key.partition(" ")[2]
            self.sessions.add(key, session)


def query_key(query: bytes) -> str | None:
    """Return under which key the session of a message endpoint's query is known; None for no session."""
    if not query:
        return None
    text = query.decode("latin-1")
    with contextlib.suppress(ValueError):
        fields = parse_qs(text, max_num_fields=64)
        for name in SESSION_PARAMETERS:
            if fields.get(name):
                return "query " + fields[name][0]
    return "query " + text


def _of_old_sdk() -> context.Named | None:
    """Return the call that a handler of SDK 1.x runs for: its context is not the request's."""
    variable = getattr(sys.modules.get("mcp.server.lowlevel.server"), "request_ctx", None)
    about = variable.get(None) if isinstance(variable, ContextVar) else None
    outside = peers.outside_of(getattr(about, "request", None))
    if not isinstance(outside, Seen):
        return None
    return outside.open_call(str(getattr(about, "request_id", "")))


context.resolvers.append(_of_old_sdk)
