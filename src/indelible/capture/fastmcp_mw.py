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
import sys
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from fastmcp.server.middleware import Middleware

from indelible import context as current_call
from indelible.capture import attach, meta, methods, peers
from indelible.capture.calling import (
    LIST_S,
    REFUSED,
    WITHHELD,
    Audited,
    Incoming,
    OpenCall,
    Peer,
    Trail,
    Wire,
    inside,
    recorder_of,
)
from indelible.capture.frames import bounded
from indelible.capture.incoming import dumped
from indelible.capture.outcomes import INTERNAL_ERROR, Verdict, judge_exception, judge_result
from indelible.capture.sdk2 import AGAIN_S, FAILED_S, WireMiddleware
from indelible.errors import TrailUnavailable

MAX_FRAMES: Final = 200
"""How far the stack is looked up for who made a call."""

_ENTRIES: Final = frozenset({"call_tool", "read_resource", "render_prompt"})
"""`FastMCP`'s methods that run its middleware."""


class _Scope:
    """The call that this middleware has seen begin in this context."""

    __slots__ = ("call", "message", "raised")

    def __init__(self, call: OpenCall, message: object) -> None:
        self.call = call
        self.message = message
        self.raised: BaseException | None = None


_scope: contextvars.ContextVar[_Scope | None] = contextvars.ContextVar("indelible_fastmcp", default=None)


class AuditMiddleware(Middleware):
    """Records every call of the FastMCP servers that it is added to: ``mcp.add_middleware(AuditMiddleware())``.

    Add it before other middleware: what refuses a call before it is not seen (FastMCP 3), or only by its answer (4).
    """

    def __init__(self, trail: Trail = None, *, backend: str | None = None) -> None:
        """`trail` is an open recorder, a path, or None for the configured trail.

        `backend` is the server's name in the trail, by default its own. Raises what opening a trail does.
        """
        recorder_of(trail)()  # a mistake shows now
        self._trail, self._backend = trail, backend
        self._servers: weakref.WeakKeyDictionary[Any, _Server] = weakref.WeakKeyDictionary()

    def attach(self, server: Any) -> None:
        """Go beneath a server before its first message, so that not even that one is seen by one tier only."""
        self._of(server)

    async def __call__(self, context: Any, call_next: Any) -> Any:
        """Take a message on its way through one server's middleware."""
        about = context.fastmcp_context
        if about is None:
            return await call_next(context)
        server = self._of(about.fastmcp)
        method = context.method or ""
        if context.type == "notification" or not methods.is_call(method, has_id=True):
            result = await call_next(context)
            if method == "tools/list" and not server.beneath:
                server.audited.list_tools(_listed(result))
            return result
        wire = _wire_of(about.request_context)
        if wire is not None and server.tapped:
            return await call_next(context)
        scope = _scope.get()
        outer = server.audited.joined(wire) if wire is not None else _direct(server, scope)
        if outer is None:
            return await self._begin(server, context, call_next, wire)
        if outer.audited is server.audited and (scope is None or scope.call is not outer):
            return await self._join(server, outer, context, call_next)
        if scope is not None and scope.message is context.message:  # added twice
            return await call_next(context)
        if outer.audited is not server.audited and _delegated():
            name = _name_of(method, context.message)
            if name is not None and name != outer.incoming.name:
                outer.learn(original_name=name)
            return await self._join(server, outer, context, call_next)
        return await self._begin(server, context, call_next, wire, within=outer)

    def _of(self, fastmcp: Any) -> _Server:
        server = self._servers.get(fastmcp)
        if server is None:
            server = self._servers[fastmcp] = _Server(fastmcp, self._trail, self._backend)
        return server

    async def _join(self, server: _Server, call: OpenCall, context: Any, call_next: Any) -> Any:
        """Go along with a call that is recorded already, for what is only known here."""
        outer = _scope.get()
        scope = outer if outer is not None and outer.call is call else _Scope(call, context.message)
        token = _scope.set(scope)
        try:
            return await call_next(context)
        except Exception as exc:
            if scope.raised is not exc:  # a mounted server knows better than the one in front of it
                scope.raised = exc
                call.learn(verdict=await server.judge(exc, context))
            raise
        finally:
            _scope.reset(token)

    async def _begin(
        self, server: _Server, context: Any, call_next: Any, wire: Wire | None, within: OpenCall | None = None
    ) -> Any:
        incoming = _incoming(context, wire, within)
        peer = _peer_of(context.fastmcp_context) if within is None else within.peer
        try:
            await server.know(incoming)
        except BaseException:  # cancelled meanwhile: a call all the same
            with contextlib.suppress(TrailUnavailable):
                server.audited.begin(incoming, peer).cancelled()
            raise
        try:
            call = await server.audited.abegin(incoming, peer)
        except TrailUnavailable:
            raise _refusal(REFUSED) from None
        token = _scope.set(_Scope(call, context.message))
        try:
            with inside(call):
                result = await call_next(context)
        except BaseException as exc:
            await _failed(server, call, context, exc)
            raise
        finally:
            _scope.reset(token)
        await _released(call, judge_result(_wire_form(result, context)))
        return result


class _Server:
    """One server that the middleware was added to."""

    def __init__(self, fastmcp: Any, trail: Trail, backend: str | None) -> None:
        self._ref = weakref.ref(fastmcp)
        self._ask_at = 0.0
        inner = getattr(fastmcp, "_mcp_server", None)  # private: without it, this tier records alone
        chain = getattr(inner, "middleware", None)
        found = [each for each in chain if isinstance(each, WireMiddleware)] if isinstance(chain, list) else []
        if found:
            self.audited: Audited = found[0].audited
        else:
            name = backend or getattr(fastmcp, "name", None) or attach.program()
            version = getattr(inner, "version", None) or getattr(fastmcp, "version", None)
            self.audited = attach.audited(trail, str(name), version)
            if isinstance(chain, list):
                chain.insert(0, _Beneath(self.audited))
        self.beneath = isinstance(chain, list)
        """The SDK's middleware is there as well, and learns what the server says of its tools."""
        self._inner = inner

    @property
    def tapped(self) -> bool:
        """Tell whether `attach` has put a tap into a FastMCP 3: it sees all of the wire, so it alone records that."""
        return hasattr(getattr(self._inner, "run", None), "indelible")

    async def know(self, incoming: Incoming) -> None:
        """Ask the server for its tools, before the first call of one that is not known."""
        import anyio

        fastmcp = self._ref()
        unknown = incoming.method == "tools/call" and not self.audited.knows(incoming.name or "")
        if not unknown or fastmcp is None or time.monotonic() < self._ask_at:
            return
        self._ask_at = time.monotonic() + FAILED_S
        with anyio.move_on_after(LIST_S), contextlib.suppress(Exception):
            self.audited.list_tools(_listed(await fastmcp.list_tools(run_middleware=False)))
            self._ask_at = time.monotonic() + AGAIN_S

    async def judge(self, exc: BaseException, context: Any) -> Verdict:
        """Return what an exception means; one that says "there is no such thing" may hide a refusal."""
        verdict = judge_exception(exc, method=context.method)
        if verdict.error_type == "NotFoundError":
            with contextlib.suppress(Exception):  # the components' own code may be asked
                if await self._is_hidden(context.method, _name_of(context.method, context.message)):
                    verdict.kind = "denied"
        return verdict

    async def _is_hidden(self, method: str, name: str | None) -> bool:
        """Tell whether the server itself has such a component, with an authorization of its own.

        Only what is in the server's memory is asked: any other provider may be at the end of a network.
        """
        asked = {
            "tools/call": ("get_tool",),
            "resources/read": ("get_resource", "get_resource_template"),
            "prompts/get": ("get_prompt",),
        }.get(method, ())
        for provider in getattr(self._ref(), "providers", ()):
            if type(provider).__name__ != "LocalProvider":
                continue
            for question in asked:
                component = await getattr(provider, question)(name)
                if component is not None and getattr(component, "auth", None) is not None:
                    return True
        return False


class _Beneath(WireMiddleware):
    """The SDK's tier beneath; a call that comes over a wire in the same process keeps the id that it had before."""

    async def _call(self, ctx: Any, call_next: Any, incoming: Incoming) -> Any:
        if incoming.request_id is None:
            incoming.request_id = _inherited(incoming.wire)
        return await super()._call(ctx, call_next, incoming)


def _open_here() -> OpenCall | None:
    call = current_call.current.get()
    return call if isinstance(call, OpenCall) and not call.closed else None


def _direct(server: _Server, scope: _Scope | None) -> OpenCall | None:
    """Return the open call that one is part of which came over no wire."""
    call = _open_here()
    if call is None or scope is None or scope.call is not call:
        return None
    return call if call.audited.recorder is server.audited.recorder else None


def _inherited(wire: Wire | None) -> str | None:
    """Return the request id of the call of another server that this one is a hop of: a proxy in the same process."""
    call = _open_here()
    return None if call is None or wire is None or call.is_of(wire) else call.request_id


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


# --- what a call is, and who makes it ---


def _wire_of(request: Any) -> Wire | None:
    rpc_id = getattr(request, "request_id", None)
    return None if rpc_id is None else (request.session, str(rpc_id))


def _incoming(context: Any, wire: Wire | None, within: OpenCall | None) -> Incoming:
    """Return the call as FastMCP has it: its parameters are validated already."""
    about, message = context.fastmcp_context, context.message
    method: str = context.method
    incoming = Incoming(method=method, name=_name_of(method, message), wire=wire)
    if methods.describe(method).args == "arguments":
        incoming.args = getattr(message, "arguments", None)
    else:
        incoming.args = dumped(message)
    here = within or (_open_here() if wire is None else None)
    if here is not None:
        incoming.metadata = {"within": here.request_id}
    if within is not None or wire is None:
        return incoming
    request = about.request_context
    raw = getattr(request, "_srctx", request)  # FastMCP 4 makes a string of the id
    incoming.rpc_id = msgspec.json.encode(raw.request_id)
    incoming.request_id, incoming.trace_id, incoming.span_id = peers.correlation_of(
        _fields(request), request.request
    )
    incoming.request_id = incoming.request_id or _inherited(wire)
    state = getattr(message, "request_state", None)
    incoming.request_state = state if isinstance(state, str) else None
    incoming.answers_input = getattr(message, "input_responses", None) is not None
    return incoming


def _name_of(method: str, message: Any) -> str | None:
    how = methods.describe(method)
    if how.name is None:
        return None
    value = message.get(how.name) if isinstance(message, Mapping) else getattr(message, how.name, None)
    if how.name == "ref":
        value = getattr(value, "name", None) or getattr(value, "uri", None)
    return None if value is None else bounded(str(value))


def _fields(request: Any) -> Mapping[str, Any] | None:
    """Return a request's ``_meta``: a mapping, or a model that takes any field."""
    fields = dumped(getattr(request, "meta", None))
    return fields if isinstance(fields, Mapping) else None


def _peer_of(about: Any) -> Peer:
    """Return who calls, of FastMCP's `Context`. Its `session_id` may be made up for one request, and is not asked."""
    request = about.request_context
    if request is None:
        return peers.local_peer("library")
    params = getattr(request.session, "client_params", None)
    client = peers.client_of(_fields(request), params)
    asked = getattr(params, "protocol_version", None) or getattr(params, "protocolVersion", None)
    version = meta.short(getattr(request, "protocol_version", None) or asked)
    if request.request is None:
        stdio = getattr(about, "transport", None) == "stdio"
        return peers.local_peer("stdio" if stdio else "library", client=client, protocol_version=version)
    known = getattr(getattr(request.session, "_connection", None), "session_id", None)
    return peers.peer_of_request(
        request.request,
        peers.token_of(request.request),
        session_id=meta.short(known),
        client=client,
        protocol_version=version,
    )


# --- what became of it ---


async def _failed(server: _Server, call: OpenCall, context: Any, exc: BaseException) -> None:
    if isinstance(exc, Exception):
        await _released(call, await server.judge(exc, context))
        return
    verdict = judge_exception(exc, method=context.method)
    if verdict.kind == "cancelled":  # no await from here on
        call.cancelled()
    else:  # the process is about to end
        with contextlib.suppress(TrailUnavailable):
            call.finish(verdict)


async def _released(call: OpenCall, verdict: Verdict) -> None:
    """Record the outcome; then the answer may go on, and else an error goes on in its place."""
    try:
        await call.afinish(verdict)
    except TrailUnavailable:
        raise _refusal(WITHHELD) from None


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


def _wire_form(result: Any, context: Any) -> Any:
    """Return a result as FastMCP will send it, as near as can be had here; None when it has no such form."""
    try:
        asked = getattr(result, "input_required", None)
        if asked is not None:
            return dumped(asked)
        match context.method:
            case "tools/call" if hasattr(result, "to_mcp_result"):
                return _of_tool(result.to_mcp_result())
            case "resources/read" if hasattr(result, "to_mcp_result"):
                return dumped(result.to_mcp_result(context.message.uri))
            case "prompts/get" if hasattr(result, "to_mcp_prompt_result"):
                return dumped(result.to_mcp_prompt_result())
        return dumped(result)
    except Exception:  # noqa: BLE001 - FastMCP will meet it as well, and says so to the client
        return None


def _of_tool(result: Any) -> Any:
    if not isinstance(result, list | tuple):
        return dumped(result)
    blocks, structured = result if isinstance(result, tuple) else (result, None)
    form: dict[str, Any] = {"content": [dumped(block) for block in blocks], "isError": False}
    if structured is not None:
        form["structuredContent"] = structured
    return form


def _listed(tools: Any) -> Iterable[object]:
    """Return FastMCP's tools in their wire form; what has none is left out."""
    for tool in tools if isinstance(tools, list | tuple) else ():
        with contextlib.suppress(Exception):
            yield dumped(tool.to_mcp_tool())
