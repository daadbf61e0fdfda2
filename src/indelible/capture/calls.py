"""What a correlator keeps: the session, the peers' words about themselves, and each call until its outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, Raw

from indelible.capture import frames, meta
from indelible.capture.frames import ABSENT, DoubtfulMessage, Message, Params, bounded
from indelible.capture.meta import Meta
from indelible.capture.methods import Method
from indelible.capture.outcomes import Verdict
from indelible.config import IntentMode
from indelible.definitions import Tool
from indelible.events import (
    STATUS_OF_KIND,
    AuthMethod,
    Caller,
    CallerType,
    Effects,
    Event,
    EventType,
    Outcome,
    Request,
    Source,
    Target,
    new_id,
)

MAX_ROUNDS: Final = 1024
"""Calls that asked for input and whose retry is waited for; the oldest are forgotten."""

MAX_ASKED: Final = 16 * 1024
"""Bytes of what a call asks for that are kept until its retry."""

MAX_STATE: Final = 256
"""Characters of a `requestState` that are kept as they are; longer ones as a digest."""

MAX_TARGETS: Final = 1024
"""Targets that are remembered, to make each only once."""

SMALL_FRAME: Final = 64 * 1024
"""Bytes; arguments out of a longer line are copied, so that they do not keep the line in memory."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for every event of one session."""

    caller: Caller
    backend: str
    session_id: str | None = None
    user_id: str | None = None
    caller_type: CallerType | None = None
    auth_method: AuthMethod | None = None
    server_version: str | None = None
    """Used until the server has named its own."""
    intent: IntentMode = "writes"
    trust_annotations: bool = True


class Exchange(msgspec.Struct, eq=False):
    """A request that waits for its answer and is not a call."""

    rpc_id: bytes
    """As it was written."""
    method: str

    def __repr__(self) -> str:
        """Show no more than the method: what a call was made with is nobody's in a log."""
        return f"<{type(self).__name__} {self.method}>"


class Call(Exchange, eq=False):
    """A call from its request to its outcome."""

    name: str | None
    source: Source
    target: Target
    timestamp: str
    mono: int
    """Both are the instant at which the request was received; this one in nanoseconds of the monotonic clock."""
    event_type: EventType = "mcp_operation"
    has_id: bool = True
    request_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    continues: str | None = None
    args: Any = None
    args_bytes: int | None = None
    intent: str | None = None
    outcome_id: str = ""
    metadata: dict[str, Any] | None = None
    kept: int = 0
    """Bytes of the arguments that it keeps in memory."""

    def needs_intent(self, mode: IntentMode) -> bool:
        """Tell whether `audit.intent` asks for an intent before this call."""
        return mode == "all" or (mode == "writes" and self.target.effects != "read_only")

    def hold_args(self, args: Raw | None, text: bytes) -> None:
        """Take the arguments out of the line `text`."""
        if args is not None and len(text) > SMALL_FRAME:
            args = Raw(bytes(args))
        self.args = args
        self.kept = memoryview(args).nbytes if args is not None else 0

    def drop_args(self) -> None:
        """Keep no more than their size: they stand in the intent."""
        self.args, self.args_bytes, self.kept = None, self.kept, 0

    def note(self, message: DoubtfulMessage) -> None:
        """Write down what was doubtful about a message of this call."""
        if message.ambiguous:
            known = self.metadata.get("ambiguous", []) if self.metadata else []
            self.add_metadata({"ambiguous": [*known, *(key for key in message.ambiguous if key not in known)]})
        if message.unparsed:
            self.add_metadata({"unparsed": message.unparsed})

    def add_metadata(self, more: Mapping[str, Any]) -> None:
        """Add to the metadata of the outcome, and of the intent when that is still to come."""
        self.metadata = {**(self.metadata or {}), **more}

    def start(self) -> Event:
        """Return the intent."""
        self.intent = event_id = new_id()
        return Event(
            timestamp=self.timestamp,
            event_type="mcp_operation_started",
            event_id=event_id,
            source=self.source,
            target=self.target,
            request=self._request(None),
            metadata=self.metadata,
        )

    def finish(self, verdict: Verdict, mono: int, event_id: str | None = None) -> Event:
        """Return the outcome; `mono` is the instant at which it was known, `event_id` of one in whose place this is."""
        self.outcome_id = event_id = event_id or new_id()
        if verdict.metadata:
            self.add_metadata(verdict.metadata)
        kind = verdict.kind
        return Event(
            timestamp=self.timestamp,
            event_type=self.event_type,
            event_id=event_id,
            source=self.source,
            target=self.target,
            request=self._request(self.intent),
            outcome=Outcome(
                status=STATUS_OF_KIND[kind],
                kind=kind,
                latency_ms=self.latency_ms(mono),
                error=verdict.error,
                error_type=verdict.error_type,
                error_code=verdict.error_code,
                result=verdict.result,
            ),
            metadata=self.metadata,
        )

    def latency_ms(self, mono: int) -> float:
        """Return the milliseconds until an instant, to the microsecond."""
        return max(0, mono - self.mono) // 1000 / 1000

    def is_plain(self, verdict: Verdict) -> bool:
        """Tell whether there is nothing to say of it but what `redact.ordinary.Told` has."""
        return (
            verdict.error is None
            and verdict.metadata is None
            and verdict.error_type is None
            and verdict.error_code is None
            and self.event_type == "mcp_operation"
            and self.begins_plain()
        )

    def begins_plain(self) -> bool:
        """Tell whether there is nothing to say at its beginning but what `redact.ordinary.Told` has."""
        return (
            self.metadata is None
            and self.trace_id is None
            and self.span_id is None
            and self.continues is None
            and self.args_bytes is None
        )

    def named(self) -> str:
        """Return the `request_id`, made now when the client gave none."""
        if self.request_id is None:
            self.request_id = new_id()
        return self.request_id

    def _request(self, intent: str | None) -> Request:
        return Request(
            request_id=self.named(),
            intent=intent,
            rpc_id=bounded(self.rpc_id.decode("utf-8", "replace")) if self.has_id else None,
            trace_id=self.trace_id,
            span_id=self.span_id,
            continues=self.continues,
            args=self.args,
            args_bytes=self.args_bytes,
        )


class Shape(NamedTuple):
    """What is the same in every call of one outline (`frames.outline_of`), as long as the peers say nothing new."""

    method: str
    name: str
    source: Source
    target: Target


class Step:
    """What is to be done before a line is forwarded: record `events` in order, learn `learned`."""

    __slots__ = ("answers", "begun", "calls", "ended", "events", "learned", "others")

    def __init__(self) -> None:
        """Start with nothing to do."""
        self.events: list[Event] = []
        self.learned: tuple[Tool, ...] | None = None
        """All tools known of the server, when the line changed that."""
        self.calls: list[Call] = []
        """The calls that the line made."""
        self.answers: list[Call] = []
        """The calls that the line answered."""
        self.others: list[Exchange] = []
        """The other requests that stood in the line beside calls."""
        self.begun: list[Call] = []
        """The executions of tasks that begin with the line."""
        self.ended: list[tuple[Exchange, Call]] = []
        """Those that end with it, and who had asked."""


class Round(NamedTuple):
    """A call that was answered with ``input_required``."""

    request_id: str
    asked: Raw | None
    """Its ``inputRequests``; None when they are too large to be kept."""
    mono: int
    """When it was answered."""


class _Asked(msgspec.Struct, gc=False):
    requests: Raw = msgspec.field(default=ABSENT, name="inputRequests")


def _asked(result: Any) -> Raw | None:
    """Return what a result asks for, whether it is encoded or not."""
    try:
        if type(result) is Raw:
            found = msgspec.json.decode(result, type=_Asked).requests
        else:
            found = Raw(msgspec.json.encode(result.get("inputRequests")))
    except (msgspec.MsgspecError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    return Raw(bytes(found)) if 0 < memoryview(found).nbytes <= MAX_ASKED else None


class Rounds:
    """Calls that were answered with ``input_required`` (2026-07-28), until their retry."""

    def __init__(self) -> None:
        """Start with none."""
        self._open: dict[tuple[str, ...], Round] = {}

    @property
    def any(self) -> bool:
        """Tell whether a retry is waited for."""
        return bool(self._open)

    def open(self, call: Call, verdict: Verdict, mono: int, who: str = "") -> None:
        """Remember that `call` was answered so; its retry will carry the verdict's state, when there was one.

        `who` tells callers apart whose sessions meet here.
        """
        state = verdict.request_state
        key = ("state", who, _short(state)) if state else ("call", who, call.method, call.name or "")
        self._open.pop(key, None)
        self._open[key] = Round(call.named(), _asked(verdict.result), mono)
        if len(self._open) > MAX_ROUNDS:
            del self._open[next(iter(self._open))]

    def find(self, method: str, name: str | None, params: Params, text: bytes) -> Round | None:
        """Return the round that a request continues."""
        if not self._open:
            return None
        state = None if params.request_state is UNSET else params.request_state
        return self.continued(method, name, state, answers=b'"inputResponses"' in text)

    def continued(
        self, method: str, name: str | None, state: str | None, *, answers: bool, who: str = ""
    ) -> Round | None:
        """Return the same, of a request that carries `state`, or `answers` to what was asked for."""
        if state is not None:
            return self._open.get(("state", who, _short(state)))
        return self._open.pop(("call", who, method, name or ""), None) if answers else None


def _short(state: str) -> str:
    if len(state) <= MAX_STATE:
        return state
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()


class Peers:
    """What client and server say of themselves, and the parts of events that follow from it."""

    def __init__(self, session: Session) -> None:
        """Know nothing but the session."""
        self._session = session
        self._client: str | None = None
        self._version: str | None = None
        self._protocol: str | None = None
        self._targets: dict[tuple[str, str | None], Target] = {}
        self._shapes: dict[bytes, Shape] = {}
        self._base: Source | None = None
        self.source = self._make_source()

    def _make_source(self) -> Source:
        session, base = self._session, self._base
        if base is not None:
            return msgspec.structs.replace(base, client=self._client or base.client)
        return Source(
            caller=session.caller,
            session_id=session.session_id,
            client=self._client,
            user_id=session.user_id,
            caller_type=session.caller_type,
            auth_method=session.auth_method,
        )

    def note_source(self, source: Source, protocol: str | None) -> None:
        """Take who calls and by which revision, as the transport knows it."""
        if protocol is not None and self._protocol is None:
            self._note(None, None, protocol)
        if source is not self._base:
            self._base = source
            self.source = self._make_source()
            self._shapes.clear()

    def note_initialize(self, text: bytes) -> None:
        """Take the client's name and the asked-for protocol version from an ``initialize`` request."""
        params = meta.mapping(text).get("params")
        if isinstance(params, dict):
            protocol = meta.short(params.get("protocolVersion"))
            self._note(meta.name_version(params.get("clientInfo")), None, protocol)

    def note_request(self, carried: Meta) -> None:
        """Take the same from a request's ``_meta`` (2026-07-28)."""
        client = None
        if carried.client_info is not ABSENT:
            client = meta.name_version(meta.mapping(carried.client_info))
        protocol = None if carried.protocol_version is UNSET else meta.short(carried.protocol_version)
        if client is not None or protocol is not None:
            self._note(client, None, protocol)

    def note_result(self, message: Message) -> None:
        """Take the server's version and the agreed protocol version from a result, or from its ``_meta``."""
        result = meta.mapping(message.result)
        self._note(None, meta.server_version(result), meta.short(result.get("protocolVersion")))

    def _note(self, client: str | None, version: str | None, protocol: str | None) -> None:
        if client is not None and client != self._client:
            self._client = client
            self.source = self._make_source()
            self._shapes.clear()
        if (version or self._version, protocol or self._protocol) != (self._version, self._protocol):
            self._version, self._protocol = version or self._version, protocol or self._protocol
            self.forget_targets()

    def forget_targets(self) -> None:
        """Make targets anew: something that stands in them has changed."""
        self._targets.clear()
        self._shapes.clear()

    def shape(self, outline: bytes) -> Shape | None:
        """Return what is known of the calls with this outline."""
        return self._shapes.get(outline)

    def know(self, outline: bytes, shape: Shape) -> None:
        """Remember what the calls with this outline are."""
        if len(self._shapes) >= MAX_TARGETS:
            self._shapes.clear()
        if len(outline) <= frames.OUTLINES:
            self._shapes[outline] = shape

    def target(
        self, method: str, name: str | None, how: Method, tools: Mapping[str, Tool], *, certain: bool = True
    ) -> Target:
        """Return the target of a call; when not `certain`, its effects are not believed."""
        key = (method, name)
        target = self._targets.get(key) if certain else None
        if target is None:
            target = self._make_target(method, name, how, tools, certain=certain)
            if certain:
                if len(self._targets) >= MAX_TARGETS:
                    self._targets.clear()
                self._targets[key] = target
        return target

    def _make_target(
        self, method: str, name: str | None, how: Method, tools: Mapping[str, Tool], *, certain: bool
    ) -> Target:
        tool = tools.get(name) if name is not None and how.type == "tool" else None
        effects: Effects | None = how.effects
        if how.type == "tool":
            effects = tool.effects if tool is not None else "unknown"
            if not self._session.trust_annotations:
                effects = "write"
        return Target(
            backend=self._session.backend,
            method=bounded(method),
            type=bounded(how.type),
            capability_name=bounded(name) if name is not None else None,
            effects=effects if certain else "unknown",
            server_version=self._version or self._session.server_version,
            protocol_version=self._protocol,
            tool_sha256=tool.sha256 if tool is not None else None,
        )
