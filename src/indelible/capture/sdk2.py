"""The official SDK, 2.x: a middleware of `Server.middleware`, which sees every message before anything can refuse it.

What it sees is the wire's form of both sides, before the parameters are validated and after the result is made; what
the transport refuses on its own (a bad header, a rejected credential) never gets here. The SDK calls this interface
provisional: this file is the only one that knows it.

- An answer goes on as the very object that came.
- Which tools the server has is asked before the first call of one that is not known: what a definition says about
  secrets holds from the first call on. The question goes through the server's own middleware, as a client's would.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from indelible.capture import meta, methods, peers
from indelible.capture.asking import listen
from indelible.capture.calling import LIST_S, REFUSED, WITHHELD, Audited, Incoming, OpenCall, Peer, inside
from indelible.capture.faults import Faults, given_up
from indelible.capture.frames import bounded
from indelible.capture.incoming import as_sent, rpc_id_of
from indelible.capture.outcomes import INTERNAL_ERROR, Verdict, judge_exception, judge_result, notified
from indelible.capture.proxies import Trusted
from indelible.capture.tasks import Tasks
from indelible.errors import TrailUnavailable

CallNext = Callable[[Any], Awaitable[Any]]

MAX_PAGES: Final = 100

AGAIN_S: Final = 1.0
"""Seconds after which a call of an unknown tool makes us ask again: tools may be added at any time."""

FAILED_S: Final = 60.0
"""The same for a server that did not answer."""


class WireMiddleware:
    """One server's middleware; see `attach.attach` and `indelible.mcp.AuditMiddleware`."""

    def __init__(self, audited: Audited) -> None:
        """`audited` makes the events."""
        self.audited = audited
        self.tasks = Tasks(audited)
        self.faults = Faults(lambda: audited.recorder, refusal)
        self._ask_at = 0.0
        self._listing: Any = None
        self._piped = peers.LastPeer()

    async def __call__(self, ctx: Any, call_next: CallNext) -> Any:
        """Take one message of the client on its way to the server's handler."""
        try:
            incoming = self._seen(ctx)
            peer = self._peer_of(ctx) if incoming is not None else None
        except TrailUnavailable:
            raise refusal(REFUSED) from None
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not end somebody's call
            self.faults.lost(exc, REFUSED)
            return await _unrecorded(ctx, call_next)
        if incoming is None or peer is None:
            outer = self._outside(ctx)
            if outer is not None:
                return await self._join(outer, ctx, call_next)
            result = await call_next(ctx)
            await self._heard(ctx, result)
            return result
        if incoming.method == "tools/call" and incoming.name and not self.audited.knows(incoming.name):
            await self._know(ctx, call_next, incoming, peer)
        if incoming.wire is None:
            return await self._notified(ctx, call_next, incoming, peer)
        try:
            call = await self.audited.abegin(incoming, peer)
        except TrailUnavailable:
            raise refusal(REFUSED) from None
        except Exception as exc:  # noqa: BLE001
            self.faults.lost(exc, REFUSED)
            return await _unrecorded(ctx, call_next)
        return await self._call(ctx, call_next, call)

    def _seen(self, ctx: Any) -> Incoming | None:
        """Return the call that a message is; None when it is none, or one that is recorded already."""
        if not methods.is_call(ctx.method, has_id=ctx.request_id is not None):
            return None
        incoming = incoming_of(ctx)
        return None if self.audited.joined(incoming.wire) is not None else incoming  # attached twice

    def _outside(self, ctx: Any) -> OpenCall | None:
        """Return the call that a capture in front of the server has recorded, of whose message this is."""
        call = None
        with self.faults.minor():
            call = self.audited.joined(peers.wire_of(ctx.request, ctx.session, ctx.request_id))
        return call if call is not None and call.from_outside else None

    async def _join(self, outer: OpenCall, ctx: Any, call_next: CallNext) -> Any:
        """Go along with a call that is recorded already, for what is only known here."""
        try:
            with inside(outer):
                return await call_next(ctx)
        except Exception as exc:
            with self.faults.minor():
                outer.learn(verdict=judge_exception(exc, method=outer.incoming.method))
            raise

    async def _call(self, ctx: Any, call_next: CallNext, call: OpenCall) -> Any:
        try:
            listen(ctx.session, call, self.faults)
        except Exception as exc:  # noqa: BLE001
            self.faults.noted(exc)
        try:
            with inside(call):
                result = await call_next(ctx)
        except BaseException as exc:
            await self._failed(call, exc)
            raise
        await self._released(call, judge_result, as_sent(result))
        return result

    def _peer_of(self, ctx: Any) -> Peer:
        """Return who sent a message; over a pipe, the one who sent the last one, as long as nothing else is said."""
        if ctx.request is not None:
            return peer_of(ctx, self.audited.trusted)
        params = ctx.params
        fields = None if type(params) is dict and "_meta" not in params else peers.meta_of(params)
        info = fields.get(meta.CLIENT_INFO) if fields else None
        said, version = getattr(ctx.session, "client_params", None), ctx.protocol_version
        # What a client has said as it began came over one transport; who says it with each message may be at any.
        claimed = None if said is not None else _transport()
        more = (version, claimed, info)
        return self._piped.get(said, more) or self._piped.put(said, more, peer_of(ctx, self.audited.trusted))

    async def _released(self, call: OpenCall, judge: Callable[[Any], Verdict], became: Any) -> None:
        """Record the outcome; then the answer may go out, and else an error goes out in its place."""
        try:
            verdict = judge(became)
            await call.afinish(verdict)
            if self.tasks.concerns(call, verdict):
                await self.tasks.answered(call, verdict)
        except TrailUnavailable:
            raise refusal(WITHHELD) from None
        except Exception as exc:  # noqa: BLE001
            self.faults.lost(exc, WITHHELD)

    async def _know(self, ctx: Any, call_next: CallNext, incoming: Incoming, peer: Peer) -> None:
        """Learn what the server says of its tools, before the first call of one."""
        try:
            await self._list(ctx, call_next)
        except BaseException:  # cancelled meanwhile: a call all the same
            self.audited.begin_cancelled(incoming, peer)
            raise

    async def _failed(self, call: OpenCall, exc: BaseException) -> None:
        if isinstance(exc, Exception):
            await self._released(call, partial(judge_exception, method=call.incoming.method), exc)
            return
        call.broken_off(exc)

    async def _notified(self, ctx: Any, call_next: CallNext, incoming: Incoming, peer: Peer) -> Any:
        """Record a call that nobody waits for: a server that is lax about ids may carry it out."""
        try:
            call = await self.audited.abegin(incoming, peer)
            await call.afinish(notified())
        except TrailUnavailable:  # not handed on, and there is nobody to tell
            return None
        except Exception as exc:  # noqa: BLE001
            self.faults.lost(exc, REFUSED)
        return await call_next(ctx)

    async def _heard(self, ctx: Any, result: Any) -> None:
        """Take an answer that ends no call: what a server says of itself, or of a task's end."""
        try:
            form = as_sent(result) if ctx.method in methods.HOUSEKEEPING else None
            if form is None:
                return
            self._learn(ctx.method, ctx, form)
            if ctx.method.startswith("tasks/"):
                await self.tasks.heard(ctx.method, ctx.params, form)
        except TrailUnavailable:
            raise refusal(WITHHELD) from None
        except Exception as exc:  # noqa: BLE001
            self.faults.noted(exc)

    # --- what the server says of itself ---

    def _learn(self, method: str, ctx: Any, form: Any) -> None:
        if not isinstance(form, Mapping):
            return
        if method == "tools/list" and isinstance(form.get("tools"), list):
            self.audited.list_tools(form["tools"], peer_of(ctx, self.audited.trusted))
        elif method in ("initialize", "server/discover"):
            self.audited.named(meta.server_version(form))

    async def _list(self, ctx: Any, call_next: CallNext) -> None:
        """Ask the server for its tools; others who need to know wait for the same answer."""
        import anyio

        if self._listing is not None:
            with anyio.move_on_after(LIST_S):
                await self._listing.wait()
        elif time.monotonic() >= self._ask_at:
            self._listing = anyio.Event()
            self._ask_at = time.monotonic() + FAILED_S
            try:
                with anyio.move_on_after(LIST_S):
                    await self._pages(ctx, call_next)
                    self._ask_at = time.monotonic() + AGAIN_S
            except Exception:  # noqa: BLE001 - a server that cannot list its tools can be called all the same
                return
            finally:
                self._listing.set()
                self._listing = None

    async def _pages(self, ctx: Any, call_next: CallNext) -> None:
        fields = peers.meta_of(ctx.params)
        params: dict[str, Any] = {} if fields is None else {"_meta": fields}
        for _ in range(MAX_PAGES):
            asked = dataclasses.replace(ctx, method="tools/list", params=params)
            result = as_sent(await call_next(asked))
            self._learn("tools/list", ctx, result)
            cursor = result.get("nextCursor") if isinstance(result, Mapping) else None
            if not cursor:
                return
            params = {**params, "cursor": cursor}


async def _unrecorded(ctx: Any, call_next: CallNext) -> Any:
    """Let a call go on that is counted as lost."""
    token = given_up.set(getattr(ctx, "session", None))
    try:
        return await call_next(ctx)
    finally:
        given_up.reset(token)


def refusal(why: str) -> Exception:
    """Return what the SDK answers a client with when a call, or its answer, does not go on."""
    from mcp.shared.exceptions import MCPError

    return MCPError(code=INTERNAL_ERROR, message=why)


def incoming_of(ctx: Any) -> Incoming:
    """Return a request as the middleware is handed it: nothing in it has been validated."""
    method, params, request, rpc_id = ctx.method, ctx.params, ctx.request, ctx.request_id
    incoming = Incoming(method=method, args=params)
    if not peers.is_mapping(params):
        params = _NOTHING
    usual = params.keys() <= _USUAL
    if not usual or request is not None:
        fields = None if usual else peers.meta_of(params)
        incoming.request_id, incoming.trace_id, incoming.span_id = peers.correlation_of(fields, request)
    if rpc_id is not None:
        incoming.rpc_id = rpc_id_of(rpc_id)
        incoming.wire = peers.wire_of(request, ctx.session, rpc_id)
    if params is not _NOTHING:
        how = methods.describe(method)
        incoming.name = _name(params, how)
        if how.args == "arguments":
            incoming.args = params.get("arguments")
    if not usual:
        state = params.get("requestState")
        incoming.request_state = state if isinstance(state, str) else None
        incoming.answers_input = "inputResponses" in params
        incoming.input_responses = params.get("inputResponses")
    return incoming


_NOTHING: Final[dict[str, Any]] = {}
_USUAL: Final = frozenset({"name", "arguments", "uri"})
"""Of the parameters of most calls, all: with nothing else there is no ``_meta``, and no answer to an earlier round."""


def _name(params: Mapping[str, Any], how: methods.Method) -> str | None:
    if how.name is None:
        return None
    name = params.get(how.name)
    if how.name == "ref" and isinstance(name, Mapping):
        name = name.get("name", name.get("uri"))
    return bounded(name) if isinstance(name, str) else None


def peer_of(ctx: Any, trusted: Trusted) -> Peer:
    """Return who sent the message of a `ServerRequestContext`."""
    session = ctx.session
    client = peers.client_of(peers.meta_of(ctx.params), getattr(session, "client_params", None))
    version = meta.short(ctx.protocol_version)
    if ctx.request is None:
        return peers.local_peer(_transport(), client=client, protocol_version=version)
    return peers.peer_in_session(ctx.request, session, trusted, client=client, protocol_version=version)


def _transport() -> Any:
    """Tell the standard streams from a client in the same process: the SDK notes who has claimed them (private)."""
    claims = getattr(sys.modules.get("mcp.server.stdio"), "_claims", None)
    return "library" if isinstance(claims, dict) and not claims else "stdio"
