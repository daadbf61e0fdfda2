"""Signs in a trail's lines that something died or went wrong. Pure: lines in the trail's order in, incidents out.

What is a sign:

===========  =========================================================================================================
kind         sign
===========  =========================================================================================================
`server`     `mcp_server_state_changed` to Degraded or Failed
`recorder`   `audit_recovered`; or `audit_started` right after a line that no writer ends with; or calls of one process
             that were recorded as interrupted by another one
`gap`        `audit_gap`: events that could not be recorded
`noted`      `indelible incident add`: what somebody saw from outside
===========  =========================================================================================================

The rules that live here:

- When a server failed its event says. When a recorder died nobody saw: after the last line before, which is `at`, and
  before that was noticed. Of one that wrote through another process `at` is when it was noticed, soon after: all that
  it has recorded stands before.
- The outcomes that a start writes right after `audit_recovered` are the calls that were under way then: a start writes
  them in one go, before anything else (`indelible.trail.start.opening`).
- Incidents that are alike but for their numbers, none more than `GROUP_GAP_S` after the one before, are one group: a
  crash loop is one incident with a count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from indelible.query.incidents.calls import (
    OUTCOME,
    Call,
    Line,
    Recorder,
    call_of,
    interrupted,
    metadata_of,
    micros,
    parse,
    part_of,
    recorder_of,
    time_of,
    word,
)

GROUP_GAP_S: Final = 600
"""How long after an incident the next one like it still is of the same group."""

PROCESS_GAP_S: Final = 60
"""Interrupted calls of one process belong together when they are recorded within so long of each other."""

MAX_IN_FLIGHT: Final = 1_000
"""So many calls that were under way are kept of an incident; all are counted."""

MAX_GROUPS: Final = 1_000
"""So many groups more than are asked for are held while others may still grow."""

WENT_WRONG: Final = ("Degraded", "Failed")

PATTERN: Final = (
    rb'"event_type":"(?:mcp_server_state_changed|audit_recovered|audit_started|audit_gap|alert)"'
    rb'|"kind":"interrupted"'
)
"""What a line with a sign has in it, as every writer writes it; also for RE2."""

_FIRST_WORDS: Final = frozenset({"file_opened", "clock_stepped"})
"""What a start may write before it says how it found the trail."""

_NEAR: Final = 16
"""It writes no more of them."""

Kind = Literal["server", "recorder", "gap", "noted", "moment"]


class Incident(msgspec.Struct, kw_only=True):
    """One incident, or several that are alike: then what is said is said of the first."""

    kind: Kind
    at: str
    """When it was; see above for a recorder's."""
    noticed: str
    """When it was recorded; empty while it is not."""
    trail: str
    seq: int | None = None
    event_id: str = ""
    backend: str = ""
    session: str = ""
    recorder: Recorder | None = None
    """Who died, where that is known; of other kinds who recorded it."""
    was: str = ""
    became: str = ""
    """Phases of a server."""
    why: str = ""
    """The reason that its event gives, or the note."""
    lost: int = 0
    """Of a gap: events."""
    torn: int = 0
    """Of a recorder: pieces of lines that it left."""
    interrupted: list[Call] = []
    """Of a recorder: the calls that were under way; the first `MAX_IN_FLIGHT`."""
    interrupted_count: int = 0
    count: int = 1
    last_at: str = ""
    """When the last of the group was; empty of a single one."""

    @property
    def alike(self) -> tuple[str, ...]:
        """What incidents of one group share."""
        who = "" if self.recorder is None or self.kind != "recorder" else self.recorder.id
        return self.kind, self.trail, self.backend, self.became, who, _NUMBER.sub("#", self.why)


_NUMBER: Final = re.compile(r"[0-9]+")


class Signs:
    """Takes the lines of one trail, in its order, and gives out incidents."""

    def __init__(self, trail: str) -> None:
        """`trail` is what is said of each incident."""
        self._trail = trail
        self._recovered: Incident | None = None
        self._dying: dict[Recorder | None, Incident] = {}
        """Processes whose calls were recorded as interrupted, by others."""

    def take(self, raw: bytes, before: bytes | None) -> Iterator[Incident]:
        """Take a line and the one before it that a start does not write first (None when that is not known)."""
        line = parse(raw)
        if line is None:
            return
        if interrupted(line):
            yield from self._interrupted(line)
            return
        kind = line.event_type
        if kind in (OUTCOME, "mcp_operation_started"):
            return
        yield from self._settled()
        if kind == "audit_started":
            yield from self._started(line, before)
        elif kind == "audit_recovered":
            if self._recovered is not None:  # that start died, too, before it had said that it began
                yield self._recovered
            self._recovered = self._recovery(raw, line, before)
        else:
            found = self._told(raw, line)
            if found is not None:
                yield found

    def end(self) -> Iterator[Incident]:
        """Give out what was still growing."""
        yield from self._settled()
        if self._recovered is not None:
            yield self._recovered
            self._recovered = None

    def gone(self, newest: bytes) -> Iterator[Incident]:
        """Give out the death of a recorder that nobody has noticed: nobody holds the trail whose last line this is."""
        line = parse(newest)
        at = "" if line is None else time_of(line.recorded_at)
        if at and not _may_end(newest):
            yield Incident(kind="recorder", at=at, noticed="", trail=self._trail)

    # --- recorders ----------------------------------------------------------------------------------------------

    def _interrupted(self, line: Line) -> Iterator[Incident]:
        call = call_of(self._trail, line)
        if self._recovered is not None:
            _attach(self._recovered, call)
            return
        incident = self._dying.get(call.recorder)
        if incident is not None and _apart(incident.noticed, call.recorded_at) > PROCESS_GAP_S:
            yield self._dying.pop(call.recorder)
            incident = None
        if incident is None:
            incident = self._dying[call.recorder] = Incident(
                kind="recorder", at=call.recorded_at, noticed=call.recorded_at, trail=self._trail, seq=line.seq,
                event_id=call.event_id, recorder=call.recorder,
            )  # fmt: skip
        _attach(incident, call)

    def _settled(self) -> Iterator[Incident]:
        dying, self._dying = self._dying, {}
        yield from dying.values()

    def _recovery(self, raw: bytes, line: Line, before: bytes | None) -> Incident:
        metadata = metadata_of(raw)
        torn = metadata.get("torn")
        return self._death(line, before, torn=len(torn) if isinstance(torn, list) else 0)

    def _death(self, line: Line, before: bytes | None, torn: int = 0) -> Incident:
        noticed = time_of(line.recorded_at)
        last = None if before is None else parse(before)
        return Incident(
            kind="recorder",
            at=(time_of(last.recorded_at) if last is not None else "") or noticed,
            noticed=noticed,
            trail=self._trail,
            seq=line.seq,
            event_id=word(line.event_id),
            torn=torn,
        )

    def _started(self, line: Line, before: bytes | None) -> Iterator[Incident]:
        if self._recovered is not None:
            yield self._recovered
        elif before is not None and not _may_end(before):
            yield self._death(line, before)
        self._recovered = None

    # --- what is told -------------------------------------------------------------------------------------------

    def _told(self, raw: bytes, line: Line) -> Incident | None:
        if line.event_type == "mcp_server_state_changed":
            return self._changed(raw, line)
        if line.event_type == "audit_gap":
            return self._gap(raw, line)
        noted = metadata_of(raw).get("incident") if line.event_type == "alert" else None
        if isinstance(noted, dict):
            return self._found(line, kind="noted", why=word(noted.get("note")))
        return None

    def _changed(self, raw: bytes, line: Line) -> Incident | None:
        state = part_of(raw, "state")
        if state.get("to") not in WENT_WRONG:
            return None
        was, why = word(state.get("from")), word(state.get("reason"))
        return self._found(line, kind="server", was=was, became=word(state["to"]), why=why)

    def _gap(self, raw: bytes, line: Line) -> Incident:
        said = metadata_of(raw)
        lost = said.get("lost")
        found = self._found(
            line, kind="gap", why=word(said.get("reason")), lost=lost if type(lost) is int else 0
        )
        found.at = time_of(said.get("since")) or found.at
        return found

    def _found(self, line: Line, **more: Any) -> Incident:
        noticed = time_of(line.recorded_at)
        return Incident(
            at=time_of(line.timestamp) or noticed,
            noticed=noticed,
            trail=self._trail,
            seq=line.seq,
            event_id=word(line.event_id),
            backend=word(line.target.backend),
            session=word(line.source.session_id),
            recorder=recorder_of(line),
            **more,
        )


def _attach(incident: Incident, call: Call) -> None:
    incident.interrupted_count += 1
    if len(incident.interrupted) < MAX_IN_FLIGHT:
        incident.interrupted.append(call)


def line_before(lines: Sequence[bytes], number: int, earlier: bytes | None) -> bytes | None:
    """Return the line before the one with this number that a start does not write first.

    `earlier` is the one before all of them.
    """
    for line in reversed(lines[:number] if number <= _NEAR else lines[number - _NEAR : number]):
        found = parse(line)
        if found is None or found.event_type not in _FIRST_WORDS:
            return line
    return earlier if number <= _NEAR else None


def _may_end(before: bytes) -> bool:
    """Tell whether a line may stand right before a start that found all in order; also one that nobody can read."""
    line = parse(before)
    return line is None or line.event_type == "audit_stopped" or interrupted(line)


# --- groups -----------------------------------------------------------------------------------------------------


def grouped(incidents: Iterable[Incident], most: int | None) -> list[Incident]:
    """Return incidents, those that are alike and in a row as one; the newest `most`, all with None, oldest first."""
    growing: dict[tuple[str, ...], Incident] = {}
    done: list[Incident] = []
    for incident in incidents:
        group = growing.get(incident.alike)
        if group is not None and _apart(last(group), incident.at) <= GROUP_GAP_S:
            group.count += 1
            group.last_at = max(last(group), incident.at)
            continue
        if group is not None:
            done.append(group)
        growing[incident.alike] = incident
        if most is not None and len(growing) + len(done) > most + MAX_GROUPS:
            growing, done = {}, newest([*done, *growing.values()], most)
    return newest([*done, *growing.values()], most)


def last(group: Incident) -> str:
    """Return when the last of a group was."""
    return group.last_at or group.at


def newest(groups: list[Incident], most: int | None) -> list[Incident]:
    """Return the newest groups, by when their last was, in the order in which they began."""
    kept = sorted(groups, key=last)[-most:] if most else groups
    return sorted(kept, key=lambda group: (group.at, group.noticed))


def _apart(one: str, other: str) -> float:
    """Return how many seconds lie between two times; far apart where one is not known."""
    a, b = micros(one), micros(other)
    return float("inf") if a is None or b is None else abs(b - a) / 1_000_000
