"""FastMCP, 4 and 3: a middleware of its own kind, and on 4 the official SDK's beneath it.

Two tiers see a call. FastMCP's middleware knows what was raised, which mounted server it went to and whether a
component was hidden from the caller; the SDK's (`sdk2.WireMiddleware`) sees the wire: what never reaches a middleware
of FastMCP, and the answer that really goes out. Here they are put together:

- `add_middleware` does not tell a middleware its server. The first message does, and then the SDK's is put beneath it;
  that one message is recorded by this tier alone. FastMCP 3 has no lower tier: there it always is this one.
- A call goes through this middleware once for the server that was asked, once more for each mounted server that has it
  as well (*delegation*: the same call, under the name that it has there), and once for whatever tool code calls by
  itself (*nested*: a call of its own, ``metadata.within`` says in which). Who called `call_tool` tells them apart.
- A component that its own authorization hides is answered for as one that is not there. Who reads the trail is told the
  truth (``denied``), the client is not.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import sys
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastmcp.server.middleware import Middleware

from indelible import context as current_call
from indelible.capture import attach, methods
from indelible.capture.asking import listen_once
from indelible.capture.calling import (
    LIST_S,
    REFUSED,
    WITHHELD,
    Audited,
    Incoming,
    OpenCall,
    Trail,
    Wire,
    inside,
    recorder_of,
)
from indelible.capture.fastmcp_forms import (
    admits,
    incoming_of,
    inherited,
    listed,
    name_of,
    open_here,
    own_component,
    peer_of,
    wire_form,
    wire_of,
)
from indelible.capture.fastmcp_tasks import Follower
from indelible.capture.faults import Faults, given_up
from indelible.capture.incoming import Outside
from indelible.capture.outcomes import INTERNAL_ERROR, Verdict, judge_exception, judge_result
from indelible.capture.peers import LastPeer
from indelible.capture.sdk2 import AGAIN_S, FAILED_S, WireMiddleware
from indelible.capture.tasks import Tasks
from indelible.context import Named
from indelible.errors import TrailUnavailable
from indelible.recorder import Recorder

log = logging.getLogger("indelible")

MAX_FRAMES: Final = 200
"""How far the stack is looked up for who made a call."""

_QUESTIONS: Final = {
    "tools/call": ("get_tool",),
    "resources/read": ("get_resource", "get_resource_template"),
    "prompts/get": ("get_prompt",),
}
"""What a provider of FastMCP is asked for a component with, by the method that calls it."""

_ENTRIES: Final = frozenset({"call_tool", "read_resource", "render_prompt"})
"""`FastMCP`'s methods that run its middleware."""


class _Scope:
    """The call that this middleware has seen begin in this context."""

    __slots__ = ("before", "by", "call", "listens", "message", "raised", "wire")

    def __init__(self, call: OpenCall, message: object, wire: Wire | None, by: AuditMiddleware) -> None:
        self.call = call
        self.message = message
        self.by = by
        self.wire = wire
        """The call itself forgets it at its end, and its context outlives that: a task that it has left behind."""
        self.before = _scope.get()
        """What this context was in before: a call within which this one is, or the same one in another trail."""
        self.listens = False
        """What its server asks the client is seen here, and nowhere else."""
        self.raised: BaseException | None = None

    def is_over(self, wire: Wire | None) -> bool:
        """Tell whether its call has ended, and what comes with this wire can only be from what it left behind."""
        if not self.call.closed:
            return False
        mine = self.wire
        if mine is None or wire is None:
            return mine is wire
        return mine[0] is wire[0] and mine[1] == wire[1]


_scope: contextvars.ContextVar[_Scope | None] = contextvars.ContextVar("indelible_fastmcp", default=None)


class AuditMiddleware(Middleware):
    """Records every call of the FastMCP servers that it is added to: ``mcp.add_middleware(AuditMiddleware())``.

    Add it before other middleware: what refuses a call before it is not seen (FastMCP 3), or only by its answer (4).
    """

    def __init__(self, trail: Trail = None, *, backend: str | None = None) -> None:
        """`trail` is an open recorder, a path, or None for the configured trail.

        `backend` is the server's name in the trail, by default its own. Raises what opening a trail does.
        """
        recorder = recorder_of(trail)
        self._faults = Faults(recorder, _refusal)  # opens the trail: a mistake shows now
        self._trail, self._backend = trail, backend
        self._servers: weakref.WeakKeyDictionary[Any, _Server] = weakref.WeakKeyDictionary()

    def attach(self, server: Any) -> None:
        """Go beneath a server before its first message, so that not even that one is seen by one tier only."""
        self._of(server)

    async def __call__(self, context: Any, call_next: Any) -> Any:
        """Take a message on its way through one server's middleware."""
        scope = _scope.get()
        if scope is not None and scope.message is context.message and scope.by is self:
            return await call_next(context)  # FastMCP 4 comes by once more, further in
        try:
            go = self._way(context, scope)
        except TrailUnavailable:
            raise _refusal(REFUSED) from None
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not end somebody's call
            if _on_record():
                self._faults.noted(exc)
            else:
                self._faults.lost(exc, REFUSED)
            go = None
        return await (call_next(context) if go is None else go(context, call_next))

    def _way(self, context: Any, scope: _Scope | None) -> Callable[[Any, Any], Awaitable[Any]] | None:
        """Return what is done with a message; None when there is nothing to do."""
        about = context.fastmcp_context
        if about is None:
            return None
        server = self._servers.get(about.fastmcp)
        first = server is None  # the tier beneath is there from the next message on
        if server is None:
            server = self._of(about.fastmcp)
        scope = _of_trail(server, scope)
        if scope is not None and scope.message is context.message:
            return None  # another one of us has it
        method = context.method or ""
        if context.type == "notification" or not methods.is_call(method, has_id=True):
            lists = method == "tools/list" and (first or not server.beneath)
            return functools.partial(self._learn, server) if lists else None
        wire = wire_of(about.request_context)
        if wire is not None and (server.tapped or given_up.get() is wire[0]):
            return None
        outer = server.audited.joined(wire)
        if outer is None and scope is not None and not scope.call.closed:
            outer = scope.call if wire is None or scope.call.is_of(wire) else None
        if outer is None:
            left = scope is not None and scope.is_over(wire)
            return functools.partial(self._begin, server, wire, scope.call if scope and left else None)
        outermost = scope is None or scope.call is not outer
        if outermost and (outer.audited is server.audited or outer.from_outside):
            return functools.partial(self._join, server, wire, outer)
        if outer.audited is not server.audited and _delegated():
            name = name_of(method, context.message)
            if name is not None and name != outer.incoming.name:
                outer.learn(original_name=name)
            return functools.partial(self._join, server, wire, outer)
        return functools.partial(self._begin, server, wire, outer)

    def _of(self, fastmcp: Any) -> _Server:
        server = self._servers.get(fastmcp)
        if server is None:
            server = self._servers[fastmcp] = _Server(fastmcp, self._trail, self._backend)
        return server

    async def _learn(self, server: _Server, context: Any, call_next: Any) -> Any:
        """Learn what a server says of its tools, where the tier beneath does not."""
        result = await call_next(context)
        with self._faults.minor():
            server.audited.list_tools(listed(result))
        return result

    async def _join(
        self, server: _Server, wire: Wire | None, call: OpenCall, context: Any, call_next: Any
    ) -> Any:
        """Go along with a call that is recorded already, for what is only known here."""
        scope = _scope.get()
        if scope is None or scope.call is not call:
            scope = _Scope(call, context.message, wire, self)
        token = _scope.set(scope)
        try:
            return await call_next(context)
        except Exception as exc:
            if scope.raised is not exc:  # a mounted server knows better than the one in front of it
                scope.raised = exc
                with self._faults.minor():
                    call.learn(verdict=await server.judge(exc, context))
            raise
        finally:
            _scope.reset(token)

    async def _begin(
        self, server: _Server, wire: Wire | None, within: OpenCall | None, context: Any, call_next: Any
    ) -> Any:
        try:
            call = await self._begun(server, wire, within, context)
        except TrailUnavailable:
            raise _refusal(REFUSED) from None
        except Exception as exc:  # noqa: BLE001
            self._faults.lost(exc, REFUSED)
            return await call_next(context)
        scope = _Scope(call, context.message, wire, self)
        if wire is not None and not server.beneath and (within is None or not _seen_outside(server, wire)):
            with self._faults.minor():
                listen_once(context.fastmcp_context.request_context.session, _asking, self._faults)
            scope.listens = True
        token = _scope.set(scope)
        try:
            with inside(call):
                result = await call_next(context)
        except Exception as exc:
            await self._released(server, call, context, raised=exc)
            raise
        except BaseException as exc:
            call.broken_off(exc)
            raise
        finally:
            _scope.reset(token)
        await self._released(server, call, context, result)
        return result

    async def _begun(
        self, server: _Server, wire: Wire | None, within: OpenCall | None, context: Any
    ) -> OpenCall:
        """Let a call begin, with what its server says of it. Raises TrailUnavailable: it must not be made."""
        incoming = incoming_of(context, wire, _innermost(server, within))
        same = _scope.get()
        if same is not None and same.message is context.message:  # the very call, as another trail has it
            incoming.request_id = same.call.request_id
            incoming.metadata = incoming.metadata if within is not None else None
        if within is not None:
            peer = within.peer
        else:
            peer = peer_of(context.fastmcp_context, server.audited.trusted, server.piped)
        if incoming.method == "tools/call" and not server.audited.knows(incoming.name or ""):
            try:
                with self._faults.minor():
                    await server.ask()
            except BaseException:  # cancelled meanwhile: a call all the same
                server.audited.begin_cancelled(incoming, peer)
                raise
        return await server.audited.abegin(incoming, peer)

    async def _released(
        self,
        server: _Server,
        call: OpenCall,
        context: Any,
        result: Any = None,
        raised: Exception | None = None,
    ) -> None:
        """Record the outcome; then the answer may go on, and else an error goes on in its place."""
        try:
            if raised is None:
                verdict = judge_result(wire_form(result, context))
            else:
                verdict = await server.judge(raised, context)
            await call.afinish(verdict)
            if server.tasks is not None and server.tasks.concerns(call, verdict):
                await server.tasks.answered(call, verdict)
        except TrailUnavailable:
            raise _refusal(WITHHELD) from None
        except Exception as exc:  # noqa: BLE001
            self._faults.lost(exc, WITHHELD)


class _Server:
    """One server that the middleware was added to."""

    def __init__(self, fastmcp: Any, trail: Trail, backend: str | None) -> None:
        self._ref = weakref.ref(fastmcp)
        self._ask_at = 0.0
        self.piped = LastPeer()
        inner = getattr(fastmcp, "_mcp_server", None)  # private: without it, this tier records alone
        chain = getattr(inner, "middleware", None)
        found = [each for each in chain if isinstance(each, WireMiddleware)] if isinstance(chain, list) else []
        if found:
            _check_is_one_trail(recorder_of(trail)(), found[0].audited)
            self.audited: Audited = found[0].audited
            self.tasks: Tasks | None = found[0].tasks
        else:
            name = backend or getattr(fastmcp, "name", None) or attach.program()
            version = getattr(inner, "version", None) or getattr(fastmcp, "version", None)
            self.audited = attach.audited(trail, str(name), version)
            self.tasks = None
            if isinstance(chain, list):
                beneath = _Beneath(self.audited)
                chain.insert(0, beneath)
                self.tasks = beneath.tasks
        if self.tasks is not None and self.tasks.follow is None:
            self.tasks.follow = Follower(fastmcp, self.tasks)
        self.beneath = isinstance(chain, list)
        """The SDK's middleware is there as well, and learns what the server says of its tools."""
        self._inner = inner

    @property
    def tapped(self) -> bool:
        """Tell whether `attach` has put a tap into a FastMCP 3: it sees all of the wire, so it alone records that."""
        return hasattr(getattr(self._inner, "run", None), "indelible")

    async def ask(self) -> None:
        """Ask the server for its tools, before the first call of one that is not known."""
        import anyio

        fastmcp = self._ref()
        if fastmcp is None or time.monotonic() < self._ask_at:
            return
        self._ask_at = time.monotonic() + FAILED_S
        with anyio.move_on_after(LIST_S), contextlib.suppress(Exception):
            self.audited.list_tools(listed(await fastmcp.list_tools(run_middleware=False)))
            self._ask_at = time.monotonic() + AGAIN_S

    async def judge(self, exc: BaseException, context: Any) -> Verdict:
        """Return what an exception means; one that says "there is no such thing" may hide a refusal."""
        verdict = judge_exception(exc, method=context.method)
        if verdict.error_type == "NotFoundError":
            with contextlib.suppress(Exception):  # the components' own code may be asked
                if await self._is_hidden(context.method, name_of(context.method, context.message)):
                    verdict.kind = "denied"
        return verdict

    async def _is_hidden(self, method: str, name: str | None) -> bool:
        """Tell whether the server itself has such a component, whose own authorization says no to this caller.

        Only what is in the server's memory is asked: any other provider may be at the end of a network.
        """
        for question in _QUESTIONS.get(method, ()):
            component = await own_component(self._ref(), question, name)
            if component is not None and not await admits(component):
                return True
        return False


def _check_is_one_trail(mine: Recorder, audited: Audited) -> None:
    """Say that a server's calls go into another trail. Raises TrailUnavailable: none must be missing from this one."""
    if not mine.shares(audited.recorder):
        why = f"{audited.backend}: its calls are recorded into another trail, and a server has only one"
        log.error("%s: nothing of it goes into %s", why, mine.path or "this one")
        if mine.on_failure == "deny":
            raise TrailUnavailable(why)


class _Beneath(WireMiddleware):
    """The SDK's tier beneath; a call that comes over a wire in the same process keeps the id that it had before."""

    def _seen(self, ctx: Any) -> Incoming | None:
        incoming = super()._seen(ctx)
        if incoming is not None and incoming.request_id is None:
            incoming.request_id = inherited(incoming.wire)
        return incoming


def _on_record() -> bool:
    """Tell whether the tier beneath has recorded the call that is on its way to us."""
    with contextlib.suppress(Exception):
        call, scope = open_here(), _scope.get()
        return call is not None and call.wire is not None and (scope is None or scope.call is not call)
    return False


def _of_trail(server: _Server, scope: _Scope | None) -> _Scope | None:
    """Return the innermost scope whose call goes into the server's trail: another one's are not its business."""
    while scope is not None and not server.audited.keeps(scope.call):
        scope = scope.before
    return scope


def _innermost(server: _Server, within: OpenCall | None) -> Named | None:
    """Return what a nested call was made in: `within`, or the operation, or a function's call, that this code is in."""
    here = current_call.current.get()
    other = here is None or (isinstance(here, OpenCall) and not server.audited.keeps(here))
    return within if within is None or other else here


def _seen_outside(server: _Server, wire: Wire) -> bool:
    """Tell whether a capture in front of the server records what comes this way into the same trail."""
    return isinstance(wire[0], Outside) and wire[0].goes_into(server.audited.recorder)


def _asking() -> OpenCall | None:
    """Return the call in which its server asks the client for something, when nobody else sees that."""
    scope = _scope.get()
    return scope.call if scope is not None and scope.listens else None


def _delegated() -> bool:
    """Tell whether a mounted server was called by FastMCP's mounting, and not by somebody's code."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to look at the stack
    for _ in range(MAX_FRAMES):
        back = frame.f_back
        if back is None:
            return False
        if frame.f_code.co_name in _ENTRIES and frame.f_globals.get("__name__") == "fastmcp.server.server":
            return back.f_globals.get("__name__") == "fastmcp.server.providers.fastmcp_provider"
        frame = back
    return False


def _refusal(why: str) -> Exception:
    import mcp.shared.exceptions as theirs

    made: Exception
    new = getattr(theirs, "MCPError", None)
    if new is not None:
        made = new(code=INTERNAL_ERROR, message=why)
    else:
        from mcp.types import ErrorData

        made = getattr(theirs, "McpError")(ErrorData(code=INTERNAL_ERROR, message=why))  # noqa: B009 - of SDK 1.x
    return made
