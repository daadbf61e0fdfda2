"""One call, from Python: a context manager that leaves exactly one `mcp_operation`, whatever happens in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, TypeVar, Unpack

from indelible import context, events
from indelible.errors import EventError, NotInTime, TrailUnavailable, message_of
from indelible.events import (
    AuthMethod,
    Caller,
    CallerType,
    Effects,
    Event,
    Kind,
    Outcome,
    Policy,
    Request,
    Source,
    Target,
)

if TYPE_CHECKING:
    from types import TracebackType

    from indelible.recorder import Recorder

TYPE_OF_METHOD = {"tools": "tool", "resources": "resource", "prompts": "prompt"}
"""Family of a method to the type of its target; other families are types of their own."""


def target_type(method: str) -> str:
    """Return ``tool``, ``resource``, ``prompt``, or the family of another method."""
    family = method.partition("/")[0]
    return TYPE_OF_METHOD.get(family, family)


def needs_intent(mode: str, effects: Effects | None) -> bool:
    """Tell whether `audit.intent` asks for an intent before a call with these effects."""
    return mode == "all" or (mode == "writes" and effects != "read_only")


WHY_REFUSED: Final = "the call could not be recorded in the audit trail"
"""Stands in the outcome that is owed, and in what a capture tells a client."""


class About(TypedDict, total=False):
    """What may be said of a call beside its method, name and arguments; the fields of the event have these names."""

    backend: str | None
    effects: Effects | None
    user_id: str | None
    caller_type: CallerType | None
    session_id: str | None
    auth_method: AuthMethod | None
    roles: list[str] | None
    tenant: str | None
    client: str | None
    client_ip: str | None
    request_id: str | None
    rpc_id: str | None
    trace_id: str | None
    span_id: str | None
    original_name: str | None
    server_version: str | None
    protocol_version: str | None
    metadata: dict[str, Any] | None


_KNOWN: Final = frozenset(About.__annotations__)
_OF_SOURCE: Final = (
    "session_id", "client_ip", "client", "user_id", "caller_type", "tenant", "auth_method", "roles",
)  # fmt: skip
_OF_TARGET: Final = ("backend", "effects", "original_name", "server_version", "protocol_version")

MAX_PARTS: Final = 1024
"""Sources, and targets, that are remembered; those with odd values or long names are made anew each time."""

MAX_KEPT: Final = 1024
"""Characters of the values of one that is remembered."""

_sources: dict[tuple[Any, ...], Source] = {}
_targets: dict[tuple[Any, ...], Target] = {}
"""Made once and used again, as in a capture: the redactor knows them by identity, which is half of its speed."""


def _source(caller: Caller, about: Mapping[str, Any]) -> Source:
    roles = about.get("roles")
    spread = ("", *roles) if type(roles) is list else (roles,)
    key = (caller, *(about.get(name) for name in _OF_SOURCE[:-1]), *spread)
    known = _sources.get(key) if _is_plain(key) else None
    if known is None:
        fields = {name: about.get(name) for name in _OF_SOURCE}
        if type(roles) is list:
            fields["roles"] = [*roles]  # the caller's own may change
        known = _kept(_sources, key, Source(caller=caller, **fields))
    return known


def _target(method: str, name: str | None, about: Mapping[str, Any]) -> Target:
    key = (method, name, *(about.get(each) for each in _OF_TARGET))
    known = _targets.get(key) if _is_plain(key) else None
    if known is None:
        fields = {each: about.get(each) for each in _OF_TARGET}
        made = Target(method=method, type=target_type(method), capability_name=name, **fields)
        known = _kept(_targets, key, made)
    return known


P = TypeVar("P", Source, Target)


def _kept(known: dict[tuple[Any, ...], P], key: tuple[Any, ...], made: P) -> P:
    if _is_plain(key) and sum(map(len, filter(None, key))) <= MAX_KEPT:
        if len(known) >= MAX_PARTS:
            known.clear()
        known[key] = made
    return made


def _is_plain(key: tuple[Any, ...]) -> bool:
    """Tell whether there are only texts in a key: `1`, `True` and `1.0` would be taken for each other."""
    return all(value is None or type(value) is str for value in key)


class Operation:
    """A call under way; `with` or `async with`. Made by `Recorder.operation`.

    Entering records the intent where `audit.intent` asks for one (raising TrailUnavailable under ``deny``, so that
    the call is not made). Leaving records the outcome: ``completed``, or what `finish` said, or what an exception
    means; the exception goes on. Within, it is the current call: `indelible.current_request_id` gives its id.
    """

    def __init__(
        self,
        recorder: Recorder,
        method: str,
        name: str | None = None,
        *,
        args: Any = None,
        **about: Unpack[About],
    ) -> None:
        if not about.keys() <= _KNOWN:
            msg = f"operation() got an unexpected keyword argument {min(about.keys() - _KNOWN)!r}"
            raise TypeError(msg)
        self._recorder = recorder
        self._inside = context.Inside(self)
        self._wire = (about.get("rpc_id"), about.get("trace_id"), about.get("span_id"))
        self.request_id = about.get("request_id") or events.new_id()
        """Correlates everything of this call."""
        self._source = _source(recorder.caller, about)
        self._target = _target(method, name, about)
        self._args = args
        self._metadata = about.get("metadata")
        self._timestamp = events.now()
        self._started = time.perf_counter()
        self._entered = False
        self._intent: str | None = None
        self._outcome_id: str | None = None
        """Of the outcome, and of the one that is owed in its place: a call has one."""
        self._outcome: Outcome | None = None
        self._result: Any = None
        self.policy: Policy | None = None
        """What was decided about the call, to be recorded with it."""

    def result(self, value: Any) -> Any:
        """Note what the call returned (any JSON value), and return it."""
        self._result = value
        return value

    def finish(
        self,
        kind: Kind,
        *,
        error: str | None = None,
        error_type: str | None = None,
        error_code: int | None = None,
    ) -> None:
        """Say what became of the call; the last word counts, and wins over an exception. Raises EventError."""
        try:
            self._outcome = events.outcome(kind, error=error, error_type=error_type, error_code=error_code)
        except (KeyError, TypeError):
            known = ", ".join(events.STATUS_OF_KIND)
            msg = f"finish: no outcome is of the kind {kind!r:.60}; there are {known}"
            raise EventError(msg) from None

    def _event(
        self, event_type: events.EventType, outcome: Outcome | None, event_id: str | None = None
    ) -> Event:
        rpc_id, trace_id, span_id = self._wire
        return Event(
            timestamp=self._timestamp,
            event_type=event_type,
            event_id=event_id or events.new_id(),
            source=self._source,
            target=self._target,
            request=Request(
                request_id=self.request_id,
                intent=self._intent,
                rpc_id=rpc_id,
                trace_id=trace_id,
                span_id=span_id,
                args=self._args,
            ),
            policy=self.policy,
            outcome=outcome,
            metadata=self._metadata,
        )

    def _intention(self) -> Event | None:
        if self._entered:  # the second outcome would have the first one's id
            raise EventError(
                "an operation is one call, and this one was entered before; make one for each call"
            )
        self._entered = True
        if not needs_intent(self._recorder.settings.audit.intent, self._target.effects):
            return None
        intent = self._event("mcp_operation_started", None)
        self._intent = intent.event_id
        return intent

    def _conclusion(self, exc: BaseException | None) -> Event:
        outcome = self._outcome or outcome_of(exc)
        outcome = Outcome(
            status=outcome.status,
            kind=outcome.kind,
            latency_ms=round((time.perf_counter() - self._started) * 1000, 3),
            error=outcome.error,
            error_type=outcome.error_type,
            error_code=outcome.error_code,
            result=self._result,
        )
        event = self._event("mcp_operation", outcome, self._outcome_id)
        self._outcome_id = event.event_id
        return event

    def _refused(self, why: TrailUnavailable) -> None:
        """Owe the outcome of a call that was not made: its intent could not be recorded, or not in time."""
        if not isinstance(why, NotInTime):  # else it may come yet, and this closes it
            self._intent = None
        self._owe()

    def _withheld(self) -> None:
        """Owe the outcome of a call that was made, and whose result nobody gets."""
        self._metadata = {**(self._metadata or {}), "answer_withheld": True}
        self._owe()

    def _owe(self) -> None:
        self._result = None
        self._outcome = events.outcome("denied", error=WHY_REFUSED, error_type="audit_unavailable")
        self._recorder.refuse(self._conclusion(None))

    def __enter__(self) -> Self:
        intent = self._intention()
        if intent is not None:
            try:
                self._recorder.record(intent)
            except TrailUnavailable as exc:
                self._refused(exc)
                raise
        self._inside.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.__exit__(kind, exc, trace)
        try:
            self._recorder.record(self._conclusion(exc))
        except TrailUnavailable:
            self._withheld()
            raise

    async def __aenter__(self) -> Self:
        intent = self._intention()
        if intent is not None:
            try:
                await self._recorder.arecord(intent)
            except TrailUnavailable as exc:
                self._refused(exc)
                raise
            except BaseException as exc:  # cancelled before the call was made
                self._recorder.record_or_owe(self._conclusion(exc))
                raise
        self._inside.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.__exit__(kind, exc, trace)
        event = self._conclusion(exc)
        try:
            if exc is not None and not isinstance(exc, Exception):
                self._recorder.record(event)  # cancelled: whoever awaits anything now may never come back
            else:  # on its way before the first suspension: who cancels here loses the answer, not the record
                await self._recorder.arecord(event)
        except TrailUnavailable:
            self._withheld()
            raise


def outcome_of(exc: BaseException | None) -> Outcome:
    """Return what an exception means for a call; None means that it returned."""
    if exc is None:
        return events.outcome("completed")
    while isinstance(exc, BaseExceptionGroup):  # of a task group: what its first task ended with
        exc = exc.exceptions[0]
    kind: Kind = "tool_error"
    if isinstance(exc, TimeoutError):
        kind = "timed_out"
    elif isinstance(exc, KeyboardInterrupt | GeneratorExit) or _is_cancellation(exc):
        kind = "cancelled"
    return events.outcome(kind, error=message_of(exc) or None, error_type=type(exc).__qualname__)


def _is_cancellation(exc: BaseException) -> bool:
    """Tell whether it is asyncio's; where that was never imported, which takes memory and time, there is none."""
    asyncio = sys.modules.get("asyncio.exceptions")
    return asyncio is not None and isinstance(exc, asyncio.CancelledError)
