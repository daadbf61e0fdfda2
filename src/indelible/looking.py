"""Waiting for what is expected at once: looked for awhile, before going to sleep.

Waking up costs a thread, and the interpreter with it, more than all that the tap does for most lines, on both ways of a
call, and more than the way of an event to another process. So where the last wait was short, the next one looks for a
moment (`LOOK_NS`) without sleeping.

What may not move: this must never cost anybody else. On a single processor whoever looks keeps the others from what he
looks for, so nothing is looked for there. Who is interrupted while he looks has company on his processor: he sleeps as
everybody does for `MIN_PAUSE_NS`, twice as long the next time, and so on. What is looked for in vain costs a moment
once, and then of every sixteenth wait until one is short again. Threads of the same process wait for the interpreter as
long as one of them looks: whoever looks is alone in his process, or sees to it that he is.

Standard library only: see `child`.
"""

from __future__ import annotations

import os
import resource
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    Poll = Callable[[int | None], list[tuple[int, int]]]

LOOK_NS: Final = 100_000
"""A wait that is shorter is worth looking: two wake-ups of a processor that sleeps, and a quick tool."""

PROBE: Final = 16
"""After so many long waits one looks all the same: asleep, both sides take longer than either would awake."""

MIN_PAUSE_NS: Final = 20_000_000
MAX_PAUSE_NS: Final = 5_000_000_000
_CALMER: Final = 6
"""Each look that nobody interrupts makes the next pause shorter by one part in two to this power."""

_WHOSE: Final = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


def processors() -> int:
    """Return on how many processors this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def interruptions() -> int:
    """Return how often somebody else was given the processor that this thread was using."""
    return resource.getrusage(_WHOSE).ru_nivcsw


class Looking:
    """The waits of one loop, each after one of so many kinds of events."""

    def __init__(
        self,
        poll: Poll,
        kinds: int,
        *,
        processors: int,
        look_ns: int = LOOK_NS,
        clock: Callable[[], int] = time.monotonic_ns,
        interrupted: Callable[[], int] = interruptions,
    ) -> None:
        """`poll` takes milliseconds, or None, and returns what has happened; a wait below `look_ns` is a short one."""
        self.poll = poll
        self._look_ns = look_ns
        self._long = [1] * kinds
        """How many waits in a row were long."""
        self._clock = clock
        self._interrupted = interrupted
        self._pause = MIN_PAUSE_NS
        self._from = 0 if processors > 1 else None
        """Looks from this time on; None: never."""

    def wait(self, timeout: int | None, after: int) -> list[tuple[int, int]]:
        """Return what has happened, at the latest after so many milliseconds; `after` is what did last."""
        if self._from is None:
            return self.poll(timeout)
        began = self._clock()
        looks = self._long[after] % PROBE == 0  # also the first after a short one
        if looks and began >= self._from and (events := self._look(began)):
            self._long[after] = 0
            return events
        events = self.poll(timeout)
        self._long[after] = 0 if self._clock() - began < self._look_ns else self._long[after] + 1
        return events

    def _look(self, began: int) -> list[tuple[int, int]]:
        """Look for events without going to sleep; none when there are none in time."""
        poll, clock, end = self.poll, self._clock, began + self._look_ns
        before = self._interrupted()
        while not (events := poll(0)) and clock() < end:
            pass
        if self._interrupted() != before:
            self._from = clock() + self._pause
            self._pause = min(2 * self._pause, MAX_PAUSE_NS)
        elif self._pause > MIN_PAUSE_NS:
            self._pause -= self._pause >> _CALMER
        return events
