"""The official SDK, 1.x, which has no middleware: a tap on the streams of `Server.run`.

Every transport hands its messages to `Server.run`, so what goes through its streams is what client and server say to
each other, malformed parameters and unknown methods included, which no handler ever sees. Lines are made of the
messages and given to the same correlator that reads a wrapped server's pipes, one for each run.

Nothing of the server's class is changed: the tap is an attribute of the one server object. Private names of the SDK are
used only to tell tool code its request id, and only when they are there.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from indelible import events
from indelible.capture import changes, meta, methods, peers, proxies
from indelible.capture.audit import Auditor
from indelible.capture.calling import LIST_S, REFUSED, WITHHELD, Peer
from indelible.capture.calls import Session
from indelible.capture.correlate import Correlator, error_reply
from indelible.capture.faults import Faults
from indelible.capture.incoming import Handled, dumped, rpc_id_of
from indelible.capture.task_ends import Executions
from indelible.context import Inside
from indelible.definitions import Tool
from indelible.events import Target
from indelible.recorder import Recorder

_ITSELF: Final = Peer(caller="library")
"""Who asks a server for its tools before anybody has called one."""

_HEADERS: Final = ("x-request-id", "traceparent")
_PLAIN: Final = frozenset({"tools/call", "resources/read", "prompts/get"})
"""Methods whose ``_meta`` is no part of what is recorded as their arguments."""


class Tapped:
    """One server and its runs."""

    def __init__(
        self, server: Any, recorder: Callable[[], Recorder], *, backend: str, version: str | None
    ) -> None:
        """Open the trail, so that a mistake shows now; `server` is only asked for its tools."""
        self._server = server
        self._recorder = recorder
        self.faults = Faults(recorder, _RefusedError)
        self.backend, self.version = backend, version
        self._tools = recorder().recall(backend)
        self.executions = Executions()
        """Tasks: over HTTP they outlive the session, or the one request, that they were begun in."""
        self._listed = False

    async def connection(self, request: Any) -> Connection:
        """Return the audit of a new connection, whose first message came with `request` (None but for HTTP)."""
        recorder = self._recorder()
        if not self._listed:
            self._listed = True
            await self._list(recorder)
        return Connection(self, recorder, self._tools, request)

    def seen_outside(self, request: Any) -> bool:
        """Tell whether a capture in front of the server records all that comes this way into the same trail."""
        outside = peers.outside_of(request)
        return outside is not None and outside.goes_into(self._recorder())

    async def _list(self, recorder: Recorder) -> None:
        """Ask the server's own handler, in process: what definitions say holds from the first call on."""
        import anyio

        try:
            with anyio.move_on_after(LIST_S):
                for kind, handler in tuple(self._server.request_handlers.items()):
                    if kind.__name__ == "ListToolsRequest":
                        result = dumped(await handler(kind(method="tools/list")))
                        self._learn(recorder, result.get("tools"))
        except Exception:  # noqa: BLE001 - a server that cannot list its tools can be called all the same
            return

    def _learn(self, recorder: Recorder, listed: Any) -> None:
        new, pairs = changes.learned(self._tools, listed, recorder.word)
        self._tools.update((tool.name, tool) for tool in new)
        for old, tool in pairs:
            recorder.record_or_owe(
                changes.changed(old, tool, _ITSELF.source(), self._target(tool), events.now())
            )
        recorder.learn(self.backend, tuple(self._tools.values()))

    def _target(self, tool: Tool) -> Target:
        return Target(
            backend=self.backend,
            type="tool",
            capability_name=tool.name,
            effects=tool.effects,
            server_version=self.version,
            tool_sha256=tool.sha256,
        )


class _RefusedError(Exception):
    """Under ``deny``: what a fault of ours makes of a message."""


class Connection:
    """The audit of one run: lines in, and what goes on instead of them."""

    def __init__(self, tapped: Tapped, recorder: Recorder, tools: dict[str, Tool], request: Any) -> None:
        """`request` tells the transport."""
        self._recorder = recorder
        self._trusted = proxies.trusted(recorder.settings.identity)
        self._peer = self._peer_of(request)
        audit = recorder.settings.audit
        session = Session(
            caller=self._peer.caller,
            backend=tapped.backend,
            server_version=tapped.version,
            intent=audit.intent,
            trust_annotations=audit.trust_annotations,
        )
        source = self._peer.source()
        outliving = None if request is None else tapped.executions
        self._correlator = Correlator(session, tools, recorder.prepare, recorder.word, outliving)
        self._correlator.caller(source, self._peer.protocol_version)
        self._auditor = Auditor(recorder, self._correlator, session, source, recorder.on_failure, child=False)
        self._lock: Any = None

    def _peer_of(self, request: Any) -> Peer:
        if request is None:
            return peers.local_peer("stdio")
        return peers.peer_of_request(request, peers.token_of(request), trusted=self._trusted)

    async def client(self, item: Any) -> bytes | None:
        """Take a message from the client; returns what to answer instead of handing it on, None to hand it on."""
        request = getattr(item.metadata, "request_context", None)
        if request is not None:
            peer = self._peer_of(request)
            if peer != self._peer:
                self._peer = peer
                self._correlator.caller(peer.source(), peer.protocol_version)
        return await self._take(self._auditor.client, _with_headers(_line(item), request))

    async def server(self, item: Any) -> bytes | None:
        """Take a message from the server; returns what goes out instead of it, None for nothing else."""
        action = self._auditor.server
        if _field(item, "method") in methods.SERVER_CALLS:
            action = functools.partial(self._asks, self._asking(item))
        return await self._take(action, _line(item))

    def _asking(self, item: Any) -> str | None:
        """Return the request id of the call whose tool asks: as the tool says, else as its context does."""
        related = getattr(item.metadata, "related_request_id", None)
        here = None if related is None else self.handled(related)
        here = here or _handled.get()
        return here.request_id if here is not None and here.by is self else None

    def _asks(self, within: str | None, line: bytes, now: int, mono: int) -> bytes | None:
        self._correlator.asks_within = within
        try:
            return self._auditor.server(line, now, mono)
        finally:
            self._correlator.asks_within = None

    async def _take(self, action: Callable[[bytes, int, int], bytes | None], line: bytes) -> bytes | None:
        now, mono = time.time_ns(), time.monotonic_ns()
        if not self._recorder.waits:
            return action(line, now, mono)
        import anyio
        import anyio.to_thread

        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:  # a disk is waited for, and the loop goes on meanwhile
            return await anyio.to_thread.run_sync(action, line, now, mono)

    def handled(self, rpc_id: Any) -> Handled | None:
        """Return a call under way, as its handler knows it."""
        call = self._correlator.waiting(msgspec.json.encode(rpc_id))
        return None if call is None else Handled(call, self._peer, self._recorder, self)

    def forget(self, rpc_id: Any) -> None:
        """Wait no longer for the end of a call that is counted as lost."""
        self._correlator.forget(rpc_id_of(rpc_id))

    def end(self) -> None:
        """Nobody is there any more."""
        self._auditor.client_gone("the client went away")


class _Stream:
    """A stream of a run, with our eyes on it."""

    def __init__(self, inner: Any, run: _Run) -> None:
        self._inner, self._run = inner, run

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> Any:
        return await self._inner.__aexit__(kind, exc, trace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Reader(_Stream):
    """The one that it reads from."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while True:
            item = await self._inner.__anext__()
            if await self._run.admitted(item):
                return item

    async def receive(self) -> Any:
        while True:
            item = await self._inner.receive()
            if await self._run.admitted(item):
                return item


class _Writer(_Stream):
    """The one that it writes to."""

    async def send(self, item: Any) -> None:
        for each in await self._run.released(item):
            await self._inner.send(each)

    def clone(self) -> _Writer:
        return _Writer(self._inner.clone(), self._run)


class _Run:
    """One call of `Server.run`."""

    def __init__(self, tapped: Tapped, write: Any) -> None:
        self._tapped, self._write = tapped, write
        self.connection: Connection | None = None
        self._given_up: set[Any] = set()
        """Ids of calls that were lost by a fault: their answers cost nothing more."""

    async def admitted(self, item: Any) -> bool:
        """Record what the client's message begins or ends; False when it must not reach the server."""
        if isinstance(item, Exception):  # a line that is no JSON-RPC: the SDK says so itself
            return True
        try:
            if self.connection is None:
                request = getattr(item.metadata, "request_context", None)
                if self._tapped.seen_outside(request):  # what answers it passes there as well
                    return True
                self.connection = await self._tapped.connection(request)
            instead = await self.connection.client(item)
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not end somebody's call
            instead = self._fault(exc, item, REFUSED, is_call=_is_call(item))
            if instead is None and _is_call(item):
                self._given_up.add(_field(item, "id"))
        if instead:
            await self._write.send(_like(item, instead))
        return instead is None

    async def released(self, item: Any) -> list[Any]:
        """Record what the server's message ends; returns what may go out."""
        if self.connection is None or _field(item, "id") in self._given_up:
            self._given_up.discard(_field(item, "id"))
            return [item]
        try:
            instead = await self.connection.server(item)
        except Exception as exc:  # noqa: BLE001
            instead = self._fault(exc, item, WITHHELD, is_call=_field(item, "method") is None)
        if instead is None:
            return [item]
        return [_like(item, instead, item.metadata)] if instead else []

    def _fault(self, exc: Exception, item: Any, why: str, *, is_call: bool) -> bytes | None:
        """Return what goes on instead of a message in which we failed; None for nothing else."""
        faults, rpc_id = self._tapped.faults, _field(item, "id")
        if self.connection is not None and is_call and rpc_id is not None:
            with faults.minor():
                self.connection.forget(rpc_id)
        if not is_call:
            faults.noted(exc)
            return None
        try:
            faults.lost(exc, why)
        except _RefusedError:
            return b"" if rpc_id is None else error_reply(rpc_id_of(rpc_id), why) + b"\n"
        return None

    def end(self) -> None:
        """Nobody is there any more."""
        with self._tapped.faults.minor():
            if self.connection is not None:
                self.connection.end()


def _field(item: Any, name: str) -> Any:
    """Return a field of a message, of whichever of JSON-RPC's classes."""
    return getattr(getattr(item.message, "root", item.message), name, None)


def _is_call(item: Any) -> bool:
    method = _field(item, "method")
    return isinstance(method, str) and methods.is_call(method, has_id=_field(item, "id") is not None)


def tap(server: Any, tapped: Tapped) -> None:
    """Put the tap into a server; `attach.attach` has looked that it is none of ours already."""
    original = server.run
    here: dict[Any, _Run] = {}

    @functools.wraps(original)
    async def run(read_stream: Any, write_stream: Any, *args: Any, **kwargs: Any) -> Any:
        mine = _Run(tapped, write_stream)
        writer = _Writer(write_stream, mine)
        here[writer] = mine
        try:
            return await original(_Reader(read_stream, mine), writer, *args, **kwargs)
        finally:
            del here[writer]
            mine.end()

    run.indelible = tapped  # type: ignore[attr-defined]
    server.run = run
    if hasattr(server, "_handle_request"):
        _tell_request_id(server, here)


def _tell_request_id(server: Any, runs: dict[Any, _Run]) -> None:
    """Set the current call around a handler: it runs in another task than the reader."""
    original = server._handle_request  # noqa: SLF001 - 1.x has no public place; without it only the id is unknown

    @functools.wraps(original)
    async def handle(message: Any, req: Any, session: Any, *args: Any, **kwargs: Any) -> Any:
        mine = runs.get(getattr(session, "_write_stream", None))
        here = None
        if mine is not None and mine.connection is not None:
            with contextlib.suppress(Exception):  # its id is a convenience
                here = mine.connection.handled(message.request_id)
        if here is None:
            return await original(message, req, session, *args, **kwargs)
        _handled.set(here)  # until the end of this task, which is the handler's own
        with Inside(here):
            return await original(message, req, session, *args, **kwargs)

    server._handle_request = handle  # noqa: SLF001


_handled: Final = contextvars.ContextVar[Handled | None]("indelible_sdk1", default=None)
"""The same in the handler's own context: the current call there may be one of an audited function by now."""


def _line(item: Any) -> bytes:
    """Return a message as the line that it was, or will be."""
    text: str = item.message.model_dump_json(by_alias=True, exclude_none=True)
    return text.encode("utf-8", "surrogatepass")


def _like(item: Any, line: bytes, metadata: Any = None) -> Any:
    """Return a line as a message of the same classes."""
    return type(item)(message=type(item.message).model_validate_json(line), metadata=metadata)


def _with_headers(line: bytes, request: Any) -> bytes:
    """Return a call with the ids that only its HTTP headers have, put where the correlator looks for them."""
    found = {
        name: value for name in _HEADERS if request is not None and (value := peers.header_of(request, name))
    }
    message = meta.mapping(line) if found else {}
    params = message.get("params")
    if message.get("method") not in _PLAIN or not isinstance(params, dict):
        return line
    fields = params.get("_meta")
    message["params"] = {**params, "_meta": {**found, **(fields if isinstance(fields, dict) else {})}}
    return msgspec.json.encode(message)
