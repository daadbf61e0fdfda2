"""The calls around incidents: those before, those under way, and what was unusual. Pure: lines in, windows out.

The rules that live here:

- **An incident is about what its sign names**: calls of its backend, and of its session where it has one (a wrapped
  server is a process of one session); of a recorder, calls of its trail; else all calls. Errors in a burst are looked
  for in all sessions of the backend.
- *Before* are the outcomes recorded in the window up to `at`. The *baseline* of a tool are the outcomes recorded in the
  `BASELINE_S` before `at`, up to where the window begins.
- *In flight* were calls that had begun by `at`, and had not ended: by the time that the outcome says (when it began,
  how long it took), whether there was an intent or not; and those whose intent has no outcome at all and was recorded
  in the `BASELINE_S` before: how many lines are older is said, what is open in them is not looked for. Where the server
  of a session died, also the calls of that session that ended as `backend_unavailable` just before: its end ended them,
  and its wrapper says so before it says that it failed. Of a dead recorder they are those that were recorded as
  interrupted for it (`indelible.query.incidents.signs`).
- Each trail's lines are taken in its order. No line is kept but of calls that were under way or are shown: memory does
  not grow with the calls, but with tools, sizes (see `measures`) and incidents.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Final

from indelible.query.incidents.calls import (
    INTENT,
    OUTCOME,
    Call,
    Line,
    Tool,
    call_of,
    metadata_of,
    micros,
    parse,
    recorder_of,
    shifted,
    size,
    time_of,
    took,
    word,
)
from indelible.query.incidents.measures import (
    LEAST_SAMPLE,
    Burst,
    Measure,
    Sample,
    Tally,
    Unusual,
    burst,
    joined,
    unusual,
)
from indelible.query.incidents.signs import MAX_IN_FLIGHT, Incident

BASELINE_S: Final = 30 * 86_400
"""How far a tool's baseline reaches back."""

REACH_S: Final = 86_400
"""How long after an incident outcomes of calls that were under way are looked for; what had an intent is known then."""

ENDING_S: Final = 60
"""So long before a server is said to have failed its end may have ended its calls."""

MAX_OPEN_BYTES: Final = 64 << 20
"""So many bytes of intents without an outcome are followed at the same time; the oldest is let go then, and counted."""

MAX_TOOLS: Final = 5_000
"""Tools that are measured; what goes beyond is counted."""


class Window:
    """One incident and the calls around it."""

    def __init__(self, incident: Incident, seconds: float, keep: int, backend: str | None) -> None:
        """`seconds` are looked at before it, `keep` calls shown of each list; `backend` is all that is asked about."""
        self.incident = incident
        self.backend = backend or incident.backend
        at = incident.at
        self.since = shifted(at, -seconds)
        self.baseline_since = shifted(at, -BASELINE_S)
        self.until = shifted(at, REACH_S)
        self.near = min(self.since, shifted(at, -ENDING_S))
        self.before: deque[Call] = deque(maxlen=keep)
        self.before_count = 0
        self.in_flight: list[Call] = []
        self.in_flight_count = 0
        self.tallies: dict[Tool, Tally] = {}
        self.intents: dict[str, str] = {}
        """By trail, of which calls an intent was recorded then, as the start before it says."""
        self.older_lines = 0
        """At most so many lines of the trails that it is about were recorded before `baseline_since`."""
        self._keep = keep
        self._moment = micros(at)
        for call in incident.interrupted:
            if self._is_wanted(call):
                self._fly(call)
        self.in_flight_count += incident.interrupted_count - len(incident.interrupted)

    def _is_wanted(self, call: Call) -> bool:
        return not self.backend or call.backend == self.backend

    def is_about_trail(self, trail: str) -> bool:
        """Tell whether a trail may have calls that the incident is about."""
        return self.incident.kind not in ("recorder", "gap") or trail == self.incident.trail

    def is_about(self, call: Call) -> bool:
        """Tell whether a call is one of those that the incident is about."""
        incident = self.incident
        if not self._is_wanted(call) or not self.is_about_trail(call.trail):
            return False
        if incident.kind == "recorder":
            return incident.recorder is None or call.recorder == incident.recorder
        return incident.kind == "gap" or not incident.session or call.session == incident.session

    def _is_beside(self, call: Call) -> bool:
        """Tell whether a call may be part of a burst of errors, in whatever session."""
        return self.incident.kind not in ("recorder", "gap") and self._is_wanted(call)

    def take_before(self, call: Call) -> None:
        """Take an outcome that was recorded by `at`, and not long before."""
        about = self.is_about(call)
        if about and self._was_ended(call):
            self._fly(call)
            return
        if call.recorded_at < self.since or not (about or self._is_beside(call)):
            return
        if self.incident.kind == "recorder" and call.kind == "interrupted":
            return  # it ended nobody knows when
        tally = self.tallies.get(call.tool)
        if tally is None:
            if len(self.tallies) == MAX_TOOLS:
                return
            tally = self.tallies[call.tool] = Tally(self._keep)
        tally.count(call)
        if about:
            tally.measure(call)
            self.before.append(call)
            self.before_count += 1

    def take_after(self, call: Call) -> None:
        """Take an outcome that was recorded after `at`, of a call that had begun by then."""
        if self.incident.kind == "recorder" or not self.is_about(call):
            return
        if call.recorded_at > self.until and not call.intent:
            return  # whether the lines so late are read is a matter of other incidents
        end = call.end()
        if self._was_ended(call) or end is None or self._moment is None or end > self._moment:
            self._fly(call)

    def take_open(self, call: Call) -> None:
        """Take an intent without an outcome."""
        incident = self.incident
        if incident.kind == "recorder" and incident.noticed:
            return  # what it left was recorded as interrupted; what is open has a recorder that lives
        if call.recorded_at < self.baseline_since:
            return  # whether lines so old are read is a matter of other incidents, too
        if call.began <= incident.at and call.recorded_at <= incident.at and self.is_about(call):
            self._fly(call)

    def measure_flying(self) -> None:
        """Note how large the calls were that were under way: one of them may be why."""
        for call in self.in_flight:
            self.tallies.setdefault(call.tool, Tally(self._keep)).measure(call)

    def _was_ended(self, call: Call) -> bool:
        """Tell whether the end of the server of a session has ended a call."""
        incident = self.incident
        return (
            incident.kind == "server"
            and bool(incident.session)
            and call.kind == "backend_unavailable"
            and call.recorder == incident.recorder
        )

    def _fly(self, call: Call) -> None:
        self.in_flight_count += 1
        if len(self.in_flight) < MAX_IN_FLIGHT:
            self.in_flight.append(call)


class Found:
    """What came of one window, beside its calls."""

    def __init__(self, window: Window, baseline: Baseline) -> None:
        """Judge what was gathered."""
        window.in_flight.sort(key=lambda call: (call.began, call.trail, call.seq))
        self.window = window
        self.unusual: list[Unusual] = []
        self.bursts: list[Burst] = []
        self.unjudged: list[tuple[Tool, int]] = []
        """Tools with too few calls before, and how many there were."""
        window.measure_flying()
        self.p99: dict[Tool, dict[Measure, int | None]] = {}
        """Of each tool that is shown."""
        for tool in sorted(window.tallies):
            before = baseline.of(tool, window)
            tally = window.tallies[tool]
            self.p99[tool] = {measure: values.p99() for measure, values in before.values.items()}
            self.unusual += unusual(tool, tally, before)
            found = burst(tool, tally, before)
            if found is not None:
                self.bursts.append(found)
            if before.calls < LEAST_SAMPLE:
                self.unjudged.append((tool, before.calls))


class Baseline:
    """The calls of each tool, by the stretches of time that the windows cut."""

    def __init__(self, windows: Sequence[Window]) -> None:
        """Prepare for these."""
        cuts = {time for window in windows for time in (window.baseline_since, window.near, window.since)}
        self.cuts = sorted({*cuts, *(window.incident.at + "\0" for window in windows)})
        """Where stretches begin; one more than `at` is the first that is after it."""
        self._samples: list[dict[Tool, Sample]] = [{} for _ in range(len(self.cuts) + 1)]
        self.active: list[list[Window]] = [[] for _ in self._samples]
        """The windows to which an outcome of each stretch is a call before."""
        self.counted: list[bool] = [False for _ in self._samples]
        """Whether a stretch is part of anybody's baseline."""
        for window in windows:
            begin, end = self._between(window.near, window.incident.at + "\0")
            for number in range(begin, end):
                self.active[number].append(window)
            begin, end = self._between(window.baseline_since, window.since)
            self.counted[begin:end] = [True] * (end - begin)
        backends = {window.backend for window in windows}
        self._backends = None if "" in backends else backends
        """Those whose tools are asked about; None: all."""
        self.tools: set[Tool] = set()
        self.unmeasured = 0
        """Calls of tools that are not measured, since there are too many."""

    def _between(self, since: str, until: str) -> tuple[int, int]:
        return bisect_right(self.cuts, since), bisect_right(self.cuts, until)

    def count(self, stretch: int, line: Line) -> None:
        """Count an outcome."""
        target, outcome = line.target, line.outcome
        backend = word(target.backend)
        if self._backends is not None and backend not in self._backends:
            return
        tool = (backend, word(target.capability_name) or word(target.method))
        samples = self._samples[stretch]
        sample = samples.get(tool)
        if sample is None:
            if tool not in self.tools:
                if len(self.tools) == MAX_TOOLS:
                    self.unmeasured += 1
                    return
                self.tools.add(tool)
            sample = samples[tool] = Sample()
        sample.add(outcome.status, size(line.request.args_bytes), took(outcome.latency_ms))

    def of(self, tool: Tool, window: Window) -> Sample:
        """Return what is known of a tool before a window."""
        begin, end = self._between(window.baseline_since, window.since)
        return joined(samples[tool] for samples in self._samples[begin:end] if tool in samples)


class Gatherer:
    """Takes the lines of one trail, in its order, for all windows."""

    def __init__(self, trail: str, windows: Sequence[Window], baseline: Baseline, oldest: int = 0) -> None:
        """`baseline` is that of all trails, `oldest` the seq of the first line that this one has."""
        self._trail = trail
        self._oldest = self._following = oldest
        self._windows = sorted(windows, key=lambda window: window.incident.at)
        self._moments = [window.incident.at for window in self._windows]
        self._entered, self._next = 0, min((window.baseline_since for window in windows), default="~")
        """Of how many incidents the days before have begun, and when those of the next one begin."""
        self._baseline = baseline
        self._open: dict[str, bytes] = {}
        self._open_bytes = 0
        self._low, self._high, self._stretch = "~", "", 0
        """The stretch of the last line."""
        self._passed, self._newest = 0, ""
        """How many incidents were before it, and when the last of them was."""
        self.let_go = 0
        """Intents that were no longer followed."""

    def take(self, raw: bytes) -> Line | None:
        """Take a line, and return what was looked at; None when it cannot be read."""
        line = parse(raw)
        if line is None:
            return None
        recorded, kind = line.recorded_at, line.event_type
        if isinstance(recorded, str) and recorded >= self._next:
            self._enter(recorded, line.seq)
        self._following = line.seq + 1
        if kind == OUTCOME:
            self._outcome(line)
        elif kind == INTENT:
            self._follow(word(line.event_id), raw)
        elif kind == "audit_stopped":
            self._stopped(line)
        elif kind == "audit_started":
            self._started(line, raw)
        return line

    def _outcome(self, line: Line) -> None:
        intent = line.request.intent
        if isinstance(intent, str) and intent in self._open:
            self._open_bytes -= len(self._open.pop(intent))
        recorded, began = line.recorded_at, line.timestamp
        if not isinstance(recorded, str):
            return
        if not self._low <= recorded < self._high:
            self._move(recorded)
        baseline, stretch = self._baseline, self._stretch
        if baseline.counted[stretch]:
            baseline.count(stretch, line)
        active = baseline.active[stretch]
        late = isinstance(began, str) and began <= self._newest
        if active or late:
            call = call_of(self._trail, line)
            for window in active:
                window.take_before(call)
            if late:
                for window in self._windows[bisect_left(self._moments, began) : self._passed]:
                    window.take_after(call)

    def _enter(self, recorded: str, seq: int) -> None:
        """A line is in the days before the next incident: what stands before it is not."""
        windows = self._windows
        while self._entered < len(windows) and windows[self._entered].baseline_since <= recorded:
            window = windows[self._entered]
            if window.is_about_trail(self._trail):
                window.older_lines += max(0, seq - self._oldest)
            self._entered += 1
        self._next = windows[self._entered].baseline_since if self._entered < len(windows) else "~"

    def _move(self, recorded: str) -> None:
        cuts = self._baseline.cuts
        at = self._stretch = bisect_right(cuts, recorded)
        self._low = cuts[at - 1] if at else ""
        self._high = cuts[at] if at < len(cuts) else "\U0010ffff"
        self._passed = bisect_left(self._moments, recorded)
        self._newest = self._moments[self._passed - 1] if self._passed else ""

    def _started(self, line: Line, raw: bytes) -> None:
        intents = word(metadata_of(raw).get("intent"))
        for window in self._windows[bisect_left(self._moments, time_of(line.recorded_at)) :]:
            window.intents[self._trail] = intents

    # --- intents ------------------------------------------------------------------------------------------------

    def _follow(self, event_id: str, raw: bytes) -> None:
        if event_id in self._open:
            return
        self._open[event_id] = raw
        self._open_bytes += len(raw)
        while self._open_bytes > MAX_OPEN_BYTES:
            self._open_bytes -= len(self._open.pop(next(iter(self._open))))
            self.let_go += 1

    def _stopped(self, line: Line) -> None:
        """A recorder said good-bye: of the calls that it left open nobody will hear."""
        who, when = recorder_of(line), time_of(line.recorded_at)
        for event_id, raw in list(self._open.items()):
            intent = parse(raw)
            if intent is not None and recorder_of(intent) == who:
                self._open_bytes -= len(self._open.pop(event_id))
                self._left(intent, bisect_left(self._moments, when))

    def end(self) -> None:
        """The trail ends: what is open has no outcome."""
        self._enter("~", self._following)
        for raw in self._open.values():
            intent = parse(raw)
            if intent is not None:
                self._left(intent, len(self._windows))

    def _left(self, intent: Line, until: int) -> None:
        call = call_of(self._trail, intent)
        for window in self._windows[bisect_left(self._moments, call.began) : until]:
            window.take_open(call)
