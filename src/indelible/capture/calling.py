"""From "a call began" and "it ended with X" to its events: what every capture inside a server shares.

The rules that live here:

- one wire request makes one ``mcp_operation``: a capture that meets a call which another one has open *joins* it
  (`Audited.joined`, `OpenCall.learn`) and records nothing of its own;
- the intent is recorded before `begin` returns, the outcome before `finish` does; the first verdict counts;
- what cannot be recorded under ``deny`` is owed (`Recorder.refuse`) before the capture is told so: `begin` raises
  TrailUnavailable when the call must not be made, `finish` when its answer must be withheld;
- a cancelled call is recorded without awaiting anything: whoever awaits in a task that is being cancelled may never
  come back, and the outcome would be lost;
- sources and targets are made once and used again: the redactor knows them by identity, which is half of its speed.

No framework is imported here.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import orjson
from msgspec import Raw

from indelible import context
from indelible.capture import changes, inputs, methods
from indelible.capture.calls import Call, Round, Rounds
from indelible.capture.correlate import KEEP_ARGS
from indelible.capture.frames import bounded
from indelible.capture.incoming import Incoming, Outside, Peer, Wire
from indelible.capture.outcomes import Verdict, judge_exception
from indelible.capture.recorders import Trail, default_recorder, recorder_of
from indelible.context import Inside as inside  # noqa: N813 - reads as a word: `with inside(call):`
from indelible.definitions import Tool
from indelible.errors import IndelibleError, NotInTime, TrailUnavailable
from indelible.events import Effects, Event, Source, Target, format_time, new_id
from indelible.operation import WHY_REFUSED
from indelible.recorder import Recorder
from indelible.redact.plain import not_finite

if TYPE_CHECKING:
    from indelible.capture.proxies import Trusted

__all__ = [
    "LIST_S", "REFUSED", "WITHHELD", "Audited", "Incoming", "OpenCall", "Peer", "Trail", "Wire",
    "default_recorder", "inside", "recorder_of",
]  # fmt: skip

log = logging.getLogger("indelible")

MAX_PEERS: Final = 256
"""Callers whose source is remembered; as many as the redactor knows pairs of a source and a target."""

MAX_TARGETS: Final = 1024
"""Targets that are remembered, of all callers together."""

MAX_KEPT_NAME: Final = 1024
"""Characters; a target with a longer name is made anew each time."""

REFUSED: Final = f"refused: {WHY_REFUSED}"
WITHHELD: Final = f"carried out, but its result is withheld: {WHY_REFUSED}"
"""What a capture tells a client of a call that was not made, and of one whose answer does not go out."""

LIST_S: Final = 2.0
"""Seconds that a server has to say which tools it has; a call, or a session, is not held up longer."""


_ONCE: Final = [True]


class OpenCall(msgspec.Struct, eq=False):
    """A call under way. `finish` may come from any thread, and counts once."""

    audited: Audited
    """Who records it."""
    _call: Call
    incoming: Incoming
    peer: Peer
    closed: bool = False
    """Its outcome is known."""
    _hint: Verdict | None = None
    _once: list[bool] = msgspec.field(default_factory=_ONCE.copy)
    """Whoever takes what is in it ends the call: that is one step, for threads too."""

    def __repr__(self) -> str:
        """Show no more than the call does."""
        return f"<OpenCall of {self._call!r}>"

    @property
    def request_id(self) -> str:
        """Correlates everything of this call."""
        return self._call.named()

    @property
    def wire(self) -> Wire | None:
        """The request on the wire that it is."""
        return self.incoming.wire

    @property
    def target(self) -> Target:
        """What is called."""
        return self._call.target

    @property
    def from_outside(self) -> bool:
        """Tell whether a capture in front of the server recorded it."""
        wire = self.incoming.wire
        return wire is not None and isinstance(wire[0], Outside)

    def is_of(self, wire: Wire | None) -> bool:
        """Tell whether it is the call of this wire request."""
        mine = self.incoming.wire
        return mine is not None and wire is not None and mine[0] is wire[0] and mine[1] == wire[1]

    def learn(self, *, original_name: str | None = None, verdict: Verdict | None = None) -> None:
        """Take what an inner capture knows better than the wire.

        A `verdict` is a hint: its kind, code and `error_type` count when the answer turns out to be an error.
        """
        if original_name is not None:
            self._call.target = self.audited.target_behind(self._call.target, original_name)
        if verdict is not None:
            self._hint = verdict

    def finish(self, verdict: Verdict) -> None:
        """Record the outcome. Raises TrailUnavailable (``deny``): the answer must be withheld."""
        self._record(self.audited.recorder, verdict)

    def _record(self, recorder: Recorder, verdict: Verdict) -> None:
        if not self._close(verdict):
            return
        call, mono = self._call, time.monotonic_ns()
        if self._hint is not None:
            verdict = _with_hint(verdict, self._hint)
        try:
            if call.is_plain(verdict):
                if call.request_id is None:
                    call.request_id = new_id()
                if recorder.record_outcome(call, verdict.kind, call.latency_ms(mono), verdict.result):
                    return
            recorder.record(call.finish(verdict, mono))
        except TrailUnavailable:
            self._withhold()
            raise

    async def afinish(self, verdict: Verdict) -> None:
        """Like `finish`; other tasks run while a disk is waited for. A cancelled call awaits nothing."""
        recorder = self.audited.recorder
        if not recorder.waits or verdict.kind == "cancelled" or not _on_asyncio():
            self._record(recorder, verdict)
            return
        event = self._conclude(verdict)
        if event is not None:
            try:  # on its way before the first suspension: who cancels here loses the answer, not the record
                await recorder.arecord(event)
            except TrailUnavailable:
                self._withhold()
                raise

    def finish_unasked(self, verdict: Verdict) -> None:
        """Record the outcome of what nobody waits for: when that cannot be done now, it is owed as it is."""
        event = self._conclude(verdict)
        if event is not None:
            self.audited.recorder.record_or_owe(event)

    def cancelled(self, why: str | None = None) -> None:
        """Record that nobody waits for an answer any more; never raises."""
        with contextlib.suppress(TrailUnavailable):
            self.finish(Verdict("cancelled", error=why))

    def broken_off(self, exc: BaseException) -> None:
        """Record that a call ended with an exception that is no `Exception`; awaits nothing, and never raises.

        It was cancelled, or the process is about to end: who awaits now may never come back.
        """
        with contextlib.suppress(Exception):
            verdict = judge_exception(exc, method=self.incoming.method)
            self.finish(Verdict("cancelled") if verdict.kind == "cancelled" else verdict)

    def _conclude(self, verdict: Verdict) -> Event | None:
        """Return the outcome; None when there was one."""
        if not self._close(verdict):
            return None
        return self._call.finish(_with_hint(verdict, self._hint), time.monotonic_ns())

    def _close(self, verdict: Verdict) -> bool:
        """Let this verdict be the one that counts; False when there was one."""
        try:
            self._once.pop()
        except IndexError:
            return False
        self.closed = True
        self.incoming.wire = None  # or session and call would hold each other until the collector comes by
        if verdict.kind == "input_required":
            self.audited.round_opened(self._call, verdict, self.peer)
        return True

    def _withhold(self) -> None:
        """Owe the outcome that says so."""
        self._call.add_metadata({"answer_withheld": True})
        self._owe()

    def refused(self, why: TrailUnavailable) -> None:
        """Owe the outcome of a call that must not be made, since its intent could not be recorded, or not in time."""
        self._once.clear()
        self.closed = True
        if not isinstance(why, NotInTime):  # else it may come yet, and this closes it
            self._call.intent = None
        self._owe()

    def _owe(self) -> None:
        verdict = Verdict("denied", error=WHY_REFUSED, error_type="audit_unavailable")
        event_id = self._call.outcome_id or None
        self.audited.recorder.refuse(self._call.finish(verdict, time.monotonic_ns(), event_id=event_id))


def _with_hint(verdict: Verdict, hint: Verdict | None) -> Verdict:
    """Return a verdict with what an inner capture knew of an error that the wire shows but vaguely."""
    if hint is None or verdict.kind not in ("tool_error", "protocol_error", "timed_out"):
        return verdict
    return msgspec.structs.replace(
        verdict,
        kind=hint.kind,
        error=verdict.error or hint.error,
        error_code=verdict.error_code if hint.error_code is None else hint.error_code,
        error_type=hint.error_type or verdict.error_type,
    )


class _Known(NamedTuple):
    """What the events of one caller have in common."""

    source: Source
    targets: dict[tuple[str, str | None, Effects | None], Target]


class Audited:
    """The audit of one server: who makes events of its calls. Safe to use from any thread; one per attached server."""

    def __init__(
        self, recorder: Recorder | Callable[[], Recorder], *, backend: str, server_version: str | None = None
    ) -> None:
        """`recorder` may be a function (`recorder_of`, `default_recorder`): it is asked again after a fork.

        Raises what opening a trail does: ConfigError or TrailError.
        """
        self.backend = backend
        self.server_version = server_version
        """Until the server has named its own."""
        self._ask = recorder if not isinstance(recorder, Recorder) else None
        self._recorder = recorder() if not isinstance(recorder, Recorder) else recorder
        self._audit = self._recorder.settings.audit
        self._tools: dict[str, Tool] = self._recorder.recall(backend)
        self._callers: dict[Peer, _Known] = {}
        self._made = 0
        self._behind: dict[tuple[int, str], tuple[Target, Target]] = {}
        self._rounds = Rounds()
        self._lock = threading.Lock()

    @functools.cached_property
    def trusted(self) -> Trusted:
        """Whose word counts about where a request came from."""
        from indelible.capture import proxies

        return proxies.trusted(self._recorder.settings.identity)

    @property
    def recorder(self) -> Recorder:
        """Who appends the events."""
        if self._ask is None:
            return self._recorder
        try:
            recorder = self._ask()
        except IndelibleError as exc:  # only after a fork: the first was opened when the server was attached
            if self._recorder.on_failure == "deny":
                raise TrailUnavailable(str(exc)) from exc
            log.error("the trail cannot be opened in this process: %s", exc)  # noqa: TRY400 - one line says it
            return self._recorder
        if recorder is not self._recorder:
            self._recorder, self._audit = recorder, recorder.settings.audit
            recorder.recall(self.backend)
        return recorder

    # --- calls ---

    def begin(self, incoming: Incoming, peer: Peer) -> OpenCall:
        """Let a call begin: its intent is on record. Raises TrailUnavailable: the call must not be made."""
        return self._begin(self.recorder, incoming, peer)

    def _begin(self, recorder: Recorder, incoming: Incoming, peer: Peer) -> OpenCall:
        opened, call = self._open(recorder, incoming, peer)
        if call is not None:
            try:
                call.named()
                if not (call.begins_plain() and recorder.record_intent(call)):
                    recorder.record(call.start())
            except TrailUnavailable as exc:
                opened.refused(exc)
                raise
            self._intended(opened)
        return opened

    async def abegin(self, incoming: Incoming, peer: Peer) -> OpenCall:
        """Like `begin`; other tasks run while a disk is waited for."""
        recorder = self.recorder
        if not recorder.waits or not _on_asyncio():
            return self._begin(recorder, incoming, peer)
        opened, call = self._open(recorder, incoming, peer)
        if call is not None:
            try:
                await recorder.arecord(call.start())
            except TrailUnavailable as exc:
                opened.refused(exc)
                raise
            except BaseException:
                opened.cancelled("cancelled before the call was made")
                raise
            self._intended(opened)
        return opened

    def begin_cancelled(self, incoming: Incoming, peer: Peer) -> None:
        """Record a call that was cancelled before it could be made; never raises."""
        with contextlib.suppress(Exception):
            self.begin(incoming, peer).cancelled()

    def joined(self, wire: Wire | None) -> OpenCall | None:
        """Return the open call of this context when it is of this wire request, and goes into the same trail.

        One that was recorded in front of the server (`Outside`) is that request's only one, whatever became of it.
        """
        if wire is not None and isinstance(wire[0], Outside):
            seen = wire[0].open_call(wire[1])
            if isinstance(seen, OpenCall) and self.keeps(seen):
                return seen
        call = context.current.get()
        if isinstance(call, OpenCall) and not call.closed and call.is_of(wire) and self.keeps(call):
            return call
        return None

    def keeps(self, call: OpenCall) -> bool:
        """Tell whether a call goes into this trail."""
        return call.audited is self or self.recorder.shares(call.audited.recorder)

    def _open(self, recorder: Recorder, incoming: Incoming, peer: Peer) -> tuple[OpenCall, Call | None]:
        """Return a call that begins, and, when its intent must be recorded first, what makes its events."""
        now, mono = time.time_ns(), time.monotonic_ns()
        source, target = self._parts(incoming.method, incoming.name, peer, incoming.effects)
        rpc_id = incoming.rpc_id
        call = Call(rpc_id or b"null", incoming.method, incoming.name, source, target, format_time(now), mono)
        if rpc_id is None:
            call.has_id = False
        call.args = _encoded(incoming.args)
        call.request_id, call.trace_id, call.span_id = incoming.request_id, incoming.trace_id, incoming.span_id
        call.continues = incoming.continues
        if incoming.request_state is not None or incoming.answers_input:
            before = self._continued(incoming, peer)
            if before is not None:
                call.continues = before.request_id
                at = inputs.Moment(now, mono)
                for event in inputs.answers(before, incoming.input_responses, source, target, at):
                    recorder.record_or_owe(event)
        if incoming.metadata:
            call.add_metadata(incoming.metadata)
        opened = OpenCall(self, call, incoming, peer)
        if not call.needs_intent(self._audit.intent):
            return opened, None
        if type(call.args) is Raw:  # redacted once for both events
            call.kept = memoryview(call.args).nbytes
            call.args = recorder.prepare(call.args, target, source)
        return opened, call

    @staticmethod
    def _intended(opened: OpenCall) -> None:
        """Keep no large arguments until the outcome: they stand in the intent."""
        if opened._call.kept > KEEP_ARGS:  # noqa: SLF001 - its own
            opened._call.drop_args()  # noqa: SLF001

    def _continued(self, incoming: Incoming, peer: Peer) -> Round | None:
        with self._lock:
            return self._rounds.continued(
                incoming.method,
                incoming.name,
                incoming.request_state,
                answers=incoming.answers_input,
                who=peer.who,
            )

    def round_opened(self, call: Call, verdict: Verdict, peer: Peer) -> None:
        """Remember a call that asked for input: its retry will say that it continues this one."""
        with self._lock:
            self._rounds.open(call, verdict, time.monotonic_ns(), peer.who)

    # --- what stands in every event ---

    def _parts(self, method: str, name: str | None, peer: Peer, said: Effects | None) -> tuple[Source, Target]:
        """Return caller and target as parts of an event: the same objects for the same two."""
        known = self._callers.get(peer)
        if known is None:
            if len(self._callers) >= MAX_PEERS:
                self._callers.clear()
            known = self._callers[peer] = _Known(peer.source(), {})
        target = known.targets.get((method, name, said))
        if target is None:
            target = self._make_target(method, name, peer, said)
            if name is None or len(name) <= MAX_KEPT_NAME:
                self._made += 1
                if self._made > MAX_TARGETS:
                    self._forget_targets()
                known.targets[method, name, said] = target
        return known.source, target

    def source(self, peer: Peer) -> Source:
        """Return a caller as a part of an event, as its calls have it."""
        known = self._callers.get(peer)
        return peer.source() if known is None else known.source

    def _make_target(self, method: str, name: str | None, peer: Peer, said: Effects | None) -> Target:
        how = methods.describe(method)
        tool = self._tools.get(name) if name is not None and how.type == "tool" else None
        effects: Effects | None = how.effects
        if how.type == "tool":
            effects = said or (tool.effects if tool is not None else "unknown")
            if not self._audit.trust_annotations and said is None:
                effects = "write"
        return Target(
            backend=self.backend,
            method=bounded(method),
            type=bounded(how.type),
            capability_name=None if name is None else bounded(name),
            effects=effects,
            server_version=self.server_version,
            protocol_version=peer.protocol_version,
            tool_sha256=None if tool is None else tool.sha256,
        )

    def target_behind(self, target: Target, original_name: str) -> Target:
        """Return a target with its name behind it; the same object for the same two."""
        key = (id(target), original_name)
        known = self._behind.get(key)
        if known is None or known[0] is not target:  # an id may be used again
            if len(self._behind) >= MAX_TARGETS:
                self._behind.clear()
            behind = msgspec.structs.replace(target, original_name=bounded(original_name))
            known = self._behind[key] = (target, behind)
        return known[1]

    # --- what the server says of itself ---

    def knows(self, tool: str) -> bool:
        """Tell whether a tool's definition is known: its marks hold, its effects count."""
        return tool in self._tools

    def named(self, version: str | None) -> None:
        """Take the server's own word about its version."""
        if version and version != self.server_version:
            self.server_version = bounded(version)
            self._forget_targets()

    def list_tools(self, tools: Iterable[object], peer: Peer | None = None) -> None:
        """Learn definitions: entries of a ``tools/list`` result in their wire form, or a page of them.

        One that changed since it was known, in this process or an earlier one, is recorded; `peer` is who asked.
        """
        peer = peer or Peer(caller="library")
        with self._lock:
            recorder = self.recorder
            new, pairs = changes.learned(self._tools, tools, recorder.word)
            if not new:
                return
            self._tools = {**self._tools, **{tool.name: tool for tool in new}}
            self._forget_targets()
            known = tuple(self._tools.values())
        for old, tool in pairs:
            target = self._make_target("tools/call", tool.name, peer, None)
            recorder.record_or_owe(
                changes.changed(old, tool, peer.source(), target, format_time(time.time_ns()))
            )
        recorder.learn(self.backend, known)  # last: who dies before says it twice, not never

    def _forget_targets(self) -> None:
        self._made = 0
        self._callers.clear()
        self._behind.clear()


def _encoded(args: Any) -> Any:
    """Return arguments as JSON, so that nobody can change them between the two events of their call.

    What has no JSON form is left as it is: the redactor says in the event what it made of it.
    """
    if args is None or type(args) is Raw:
        return args
    try:
        encoded = orjson.dumps(args)
    except (TypeError, ValueError):
        return args
    return args if encoded.find(b"null") >= 0 and not_finite(args) else Raw(encoded)


def _on_asyncio() -> bool:
    """Tell whether this runs in an asyncio loop: in any other, a disk is waited for in place."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
