"""Between the tap and the trail: what a correlator says is recorded before a line goes on, or the line does not."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

from indelible import loglines
from indelible.capture.calls import Call, Session, Step
from indelible.capture.correlate import Correlator
from indelible.capture.lanes import CutLine
from indelible.config import OnFailure
from indelible.definitions import Tool
from indelible.errors import NotInTime, TrailUnavailable
from indelible.events import Event, Source, State, Target, format_time, new_id
from indelible.operation import WHY_REFUSED

log = logging.getLogger("indelible")


class Records(Protocol):
    """The part of `indelible.recorder.Recorder` that is used here."""

    def record(self, event: Event) -> None:
        """Record one event; raises TrailUnavailable under ``deny``."""

    def prepare(self, args: Any, target: Target | None, source: Source | None) -> Any:
        """Redact arguments ahead of their events; what is returned stands for them there."""

    def refuse(self, event: Event) -> None:
        """Remember an event until it can be recorded."""

    def lost(self, why: str) -> None:
        """Count an event that was lost by a fault of ours."""

    def learn(self, backend: str, tools: Sequence[Tool]) -> None:
        """Take in a server's tools."""


class Auditor:
    """The audit of one session; see `stdio.Audit` for what its methods return."""

    def __init__(
        self,
        recorder: Records,
        correlator: Correlator,
        session: Session,
        source: Source,
        on_failure: OnFailure,
        *,
        child: bool = True,
    ) -> None:
        """`source` is who stands behind the child's changes of phase; without a `child` there are none."""
        self._recorder = recorder
        self._correlator = correlator
        self._session = session
        self._source = source
        self._denies = on_failure == "deny"
        self._phase = "Pending" if child else "Ready"
        self._fresh: list[Call] = []
        self._ends: tuple[int, str] | None = None
        self._gone = False
        """Whether the server went first."""
        self._complained = False

    @property
    def outstanding(self) -> int:
        """How many calls wait for their answer."""
        return self._correlator.outstanding

    # --- lines ---

    def client(self, line: bytes, now: int, mono: int) -> bytes | None:
        """Take a line from the client."""
        step = self._correlator.from_client(line, now, mono)
        if step.events:
            return self._record_calls(step)
        self._fresh = step.calls
        return None

    def ahead(self) -> None:
        """Do, while the server works, what the outcomes of calls that were just forwarded will need."""
        if self._fresh:
            for call in self._fresh:
                if call.args is not None:
                    call.args = self._recorder.prepare(call.args, call.target, call.source)
            self._fresh = []

    def client_cut(self, line: CutLine, now: int, mono: int) -> bytes | None:
        """Take the end of a long line from the client."""
        return self._record_calls(self._correlator.from_client_cut(line.head, line.tail, now, mono))

    def server(self, line: bytes, now: int, mono: int) -> bytes | None:
        """Take a line from the server."""
        step = self._correlator.from_server(line, now, mono)
        instead = None
        if step.events or step.learned:
            instead = self._record_answers(step)
        if self._phase != "Ready":
            self._look_at_phase(now)
        return instead

    def server_cut(self, line: CutLine, now: int, mono: int) -> bytes | None:
        """Take the end of a long line from the server."""
        return self._record_answers(self._correlator.from_server_cut(line.head, line.tail, now, mono))

    def _record_calls(self, step: Step) -> bytes | None:
        recorded = self._record_all(step.events)
        if recorded is None:
            return None
        if not step.calls:  # only outcomes of earlier calls (a cancellation): owed, but nothing to refuse
            self._owe(event for event in step.events if event.event_id not in recorded)
            return None
        reply, events = self._correlator.refuse(step, recorded, time.monotonic_ns(), WHY_REFUSED)
        self._owe(events)
        return reply

    def _record_answers(self, step: Step) -> bytes | None:
        if step.learned is not None:
            self._learn(step, step.learned)
        recorded = self._record_all(step.events)
        if recorded is None:
            return None
        if not step.answers and not step.ended:
            self._owe(event for event in step.events if event.event_id not in recorded)
            return None
        reply, events = self._correlator.withhold(step, recorded, time.monotonic_ns(), WHY_REFUSED)
        self._owe(events)
        return reply

    def _learn(self, step: Step, tools: Sequence[Tool]) -> None:
        """Record what changed, then remember it: who dies in between says it twice, not never."""
        told = [event for event in step.events if event.event_type == "tool_definition_changed"]
        step.events = [event for event in step.events if event.event_type != "tool_definition_changed"]
        recorded = self._record_all(told)
        if recorded is not None:
            self._owe(event for event in told if event.event_id not in recorded)
        self._guard(lambda: self._recorder.learn(self._session.backend, tools))

    def _record_all(self, events: Sequence[Event]) -> list[str] | None:
        """Record events in order; None when that is done, else the ids of those that were recorded.

        An intent that was not recorded in time is among them: it may come yet, and is closed like one that has come.
        """
        for index, event in enumerate(events):
            try:
                self._recorder.record(event)
            except TrailUnavailable as exc:
                late = isinstance(exc, NotInTime) and event.event_type == "mcp_operation_started"
                return [done.event_id for done in events[: index + late]]
            except Exception as exc:  # noqa: BLE001 - a fault of ours must not end somebody's session
                self._complain(exc)
                if self._denies:
                    return [done.event_id for done in events[:index]]
                name = type(exc).__name__
                self._guard(lambda name=name: self._recorder.lost(f"a fault in Indelible: {name}"))  # type: ignore[misc]
        return None

    def _owe(self, events: Iterable[Event]) -> None:
        for event in events:
            self._guard(lambda event=event: self._recorder.refuse(event))  # type: ignore[misc]

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as exc:  # noqa: BLE001
            self._complain(exc)

    def _complain(self, exc: Exception) -> None:
        if not self._complained:
            self._complained = True
            print(loglines.line(f"an event was not recorded: {type(exc).__name__}"), file=sys.stderr)  # noqa: T201

    # --- the child's phases ---

    def started(self, now: int) -> None:
        """The child was started."""
        self._change("Initializing", "started", now)

    def closing(self, why: str) -> None:
        """The session ends in an orderly way; said once, when all is known (see `ended`).

        A client that leaves because its server has gone ends nothing.
        """
        if self._ends is None and not self._gone:
            self._ends = (time.time_ns(), why)
            self._correlator.parting = True

    def _look_at_phase(self, now: int) -> None:
        if self._correlator.answered:
            self._change("Ready", "answered", now)
        elif self._correlator.refused_start is not None and self._phase != "Failed":
            self._change("Failed", self._correlator.refused_start, now)

    def client_gone(self, why: str) -> None:
        """No answer reaches the client any more."""
        self._end_calls("cancelled", why)

    def server_gone(self, why: str, *, crashed: bool) -> None:
        """No answer comes any more; unless it `crashed`, that is because the session had been ended before."""
        if crashed or self._ends is None:
            self._gone = self._gone or self._ends is None
            self._end_calls("backend_unavailable", why)
        else:
            self._end_calls("cancelled", self._ends[1])

    def _end_calls(self, kind: Literal["cancelled", "backend_unavailable"], why: str) -> None:
        events = self._correlator.end(kind, why, time.monotonic_ns())
        recorded = self._record_all(events)
        if recorded is not None:
            self._owe(event for event in events if event.event_id not in recorded)

    def ended(self, how: str) -> None:
        """The child has ended: the last change of phase, with what was not understood in the session."""
        if self._ends is not None:
            self._change("ShuttingDown", f"{self._ends[1]}; {how}", self._ends[0], last=True)
        else:
            self._change("Failed", how, time.time_ns(), last=True)

    def _change(self, phase: str, reason: str, now: int, *, last: bool = False) -> None:
        event = Event(
            timestamp=format_time(now),
            event_type="mcp_server_state_changed",
            event_id=new_id(),
            source=self._source,
            target=Target(backend=self._session.backend),
            state=State(from_=self._phase, to=phase, reason=reason),
            metadata=dict(self._correlator.counts) or None if last else None,
        )
        self._phase = phase
        if self._record_all([event]) is not None:
            self._owe([event])
