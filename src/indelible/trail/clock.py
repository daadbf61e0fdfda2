"""The writer's clock: what `recorded_at` is, and whether the clock was set.

The rules that live here:

- `recorded_at` never goes back.
- It is not before any time that the clock has shown since the trail was opened, so that an event's `timestamp`, which
  is when it was received, is never after it, though the clock is set back in between: searches leave out what was
  recorded before the time that they ask for, and depend on that. So when the clock goes back, `recorded_at` goes on to
  what the clock would show had nobody touched it, and stays there until the clock has come as far.
- That a clock was set is seen by comparing it with one that nobody sets and that counts while the machine sleeps
  (CLOCK_BOOTTIME): a laptop that slept is no step. A step is noted once, before the first event that it concerns.

Two steps, forward and back again, between two looks (an event, and the sealer's thread every few seconds) are not
seen; nor is a step back to within 10 ms after the last event, before the next look. A clock that runs a little fast or
slow, as NTP does to it, never steps.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from indelible import events
from indelible.errors import TrailError
from indelible.events import EventType
from indelible.trail import files
from indelible.trail.entry import line_recorded_at, parse_line
from indelible.trail.layout import Layout

STEP_NS: Final = 2_000_000_000
"""What the clock may differ from one look to the next before it counts as set; NTP steps at 0.128 s and slews less."""

TRUSTED_NS: Final = 10_000_000
"""For so long after a look the clock is believed: a busy trail need not read two clocks for each event."""

LOOK_BACK_BYTES: Final = 8 << 20
"""At a start, so much of the trail's end is looked at for a step that is on record already."""

_CLOSE_NS: Final = 50_000_000
"""Two readings so near each other belong together: a process that is stopped in between has not seen a step."""

_CLOSER_LOOKS: Final = 20

_SECOND: Final = 1_000_000_000
_MILLIS: Final = tuple(map(str.encode, events.MILLIS))
_MICROS: Final = tuple(map(str.encode, events.MICROS))
_TO_THE_SECOND: Final = len("2026-11-21T05:38:34.")

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""macOS: CLOCK_MONOTONIC counts while the machine sleeps."""

_OWN: Final[frozenset[EventType]] = frozenset(
    {
        "audit_started",
        "audit_stopped",
        "audit_heartbeat",
        "audit_recovered",
        "alert",
        "clock_stepped",
        "file_opened",
    }
)
"""Events of the writer's own: their `timestamp` is the clock at the time, and nobody else's."""


steady_ns: Final[Callable[[], int]] = functools.partial(time.clock_gettime_ns, _STEADY)
"""Nanoseconds of a clock that nobody sets and that counts while the machine sleeps."""


class Step(NamedTuple):
    """The clock was set: what it would have shown, and what it showed, in nanoseconds since the epoch."""

    expected: int
    found: int
    between_runs: bool = False

    def metadata(self) -> dict[str, Any]:
        """Return what `clock_stepped` says."""
        about: dict[str, Any] = {
            "from": events.format_time(self.expected),
            "to": events.format_time(self.found),
            "step_s": round((self.found - self.expected) / 1e9, 3),
        }
        return {**about, "between_runs": True} if self.between_runs else about


class TrailClock:
    """One writer's clock. Not thread-safe: the writer's lock covers it."""

    def __init__(
        self, recorded_at: str, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = steady_ns
    ) -> None:
        """`recorded_at` is the last line's; both clocks give nanoseconds."""
        self.steps: list[Step] = []
        """Those that are not on record yet. The list stays the same one."""
        self.wall = wall
        self._steady = steady
        self._recorded_at = recorded_at.encode()
        self._latest = self._trusted = 0
        self._second = (-_SECOND, b"")
        """The newest second: its first nanosecond, and how it is written."""
        now, steady_now = self._read()
        self._offset = now - steady_now

    def tick(self) -> bytes:
        """Return `recorded_at` for the next line; note a step."""
        now = self.wall()
        if now >= self._trusted or now < self._latest:
            now = self._compare(now)
        if now > self._latest:
            self._latest = now
            start, text = self._second
            rest = now - start
            if not 0 <= rest < _SECOND:
                rest = now % _SECOND
                text = self._begin_second(now - rest)
            shown = text + _MILLIS[rest // 1_000_000] + _MICROS[rest // 1000 % 1000]
            if shown > self._recorded_at:  # noqa: PLR1730 - `max` costs a call for every event
                self._recorded_at = shown
        return self._recorded_at

    def _begin_second(self, start: int) -> bytes:
        """Return how a second is written, and remember it."""
        text = events.format_time(start).encode()[:_TO_THE_SECOND]
        self._second = (start, text)
        return text

    def look(self) -> None:
        """Compare the clocks, however short a time ago that was done."""
        self._trusted = 0
        self.tick()

    def _compare(self, now: int) -> int:
        """Compare a time that the clock shows with the other clock; return one that is before none of those shown."""
        drift = now - self._steady() - self._offset
        if not -STEP_NS <= drift <= STEP_NS:
            now, drift = self._stepped()
        self._offset += drift
        self._trusted = now + TRUSTED_NS
        return now - drift if drift < 0 else now

    def _stepped(self) -> tuple[int, int]:
        """Look closely at what seems to be a step; return the clock and by how much it is off, as `tick` has them."""
        now, steady = self._read()
        drift = now - steady - self._offset
        if abs(drift) > STEP_NS:
            self.steps.append(Step(now - drift, now))
        return now, drift

    def _read(self) -> tuple[int, int]:
        """Read both clocks at nearly one moment."""
        left = _CLOSER_LOOKS
        while True:
            steady, now = self._steady(), self.wall()
            left -= 1
            if not left or self._steady() - steady < _CLOSE_NS:
                return now, steady

    def begin(self, layout: Layout) -> None:
        """Note a step back since the last run."""
        now = self.wall()
        try:
            if self._recorded_at and now < _nanoseconds(self._recorded_at.decode()) - STEP_NS:
                seen = _nanoseconds(last_seen(layout, self._recorded_at.decode()))
                if now < seen - STEP_NS:
                    self.steps.append(Step(seen, now, between_runs=True))
        except ValueError:  # no writer's time: nothing can be said
            return


def _nanoseconds(text: str) -> int:
    """Return nanoseconds since the epoch for a time in the trail's form. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return int(moment.timestamp() * 1_000_000) * 1000


def last_seen(layout: Layout, recorded_at: str) -> str:
    """Return the clock's last time that the trail knows of, when its last line has this `recorded_at`.

    That is `recorded_at`, unless it stands still since a step back that is on record: then what that says, or a later
    event of the writer's own. Reads the end of the active file; call it only when the clock is behind `recorded_at`.
    """
    try:
        with layout.active.open("rb", buffering=0) as file:
            return _last_seen(file.fileno(), recorded_at)
    except (OSError, TrailError):
        return recorded_at


def _last_seen(fd: int, recorded_at: str) -> str:
    latest, left = "", LOOK_BACK_BYTES
    for _, lines in files.blocks_backward(fd, files.end_of_lines(fd)):
        for line in reversed(lines):
            if line_recorded_at(line) != recorded_at:
                return recorded_at  # the clock ran until here: no step is on record
            entry = parse_line(line) or {}
            kind = entry.get("event_type")
            if kind in _OWN:
                latest = max(latest, str(entry.get("timestamp") or ""))
            if kind == "clock_stepped":
                about = entry.get("metadata")
                return max(latest, str(about.get("to") or "") if isinstance(about, dict) else "")
        left -= sum(map(len, lines))
        if left <= 0:  # so many events at one microsecond: it has stood still for long
            return latest
    return latest  # the file began after the step, with an event of the writer's own
