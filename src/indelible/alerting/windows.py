"""What is counted in a window that slides. Pure.

The rules that live here. A window slides in steps of a sixtieth of its length: at a time it has the events of the step
that the time is in, and of the 59 steps before. The window before it has the 60 steps before those. So what is kept of
one subject is bounded, whatever its rate; all sums are of integers, so that what leaves takes away exactly what came.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final, NamedTuple

STEPS: Final = 60
"""Of one window."""

MAX_DISTINCT: Final = 1_000
"""So many different actors, or tools, are told apart in one window; of more it is known that they are as many."""


class Counts(NamedTuple):
    """What a window has."""

    events: int = 0
    errors: int = 0
    denied: int = 0
    destructive: int = 0
    latency_us: int = 0
    """Of all together."""
    cost: int = 0
    """In hundredths of a cent."""


class _Step:
    """What one step has."""

    __slots__ = ("counts", "earliest", "index", "slowest")

    def __init__(self, index: int, counts: list[int], slowest: int, earliest: str) -> None:
        self.index = index
        self.counts = counts
        self.slowest = slowest
        self.earliest = earliest
        """The first time at which one of these events was received."""


class Window:
    """The window of one subject, and the one before it."""

    __slots__ = ("_actors", "_before", "_now", "_old", "_recent", "_tools")

    def __init__(self) -> None:
        self._recent: deque[_Step] = deque()
        self._old: deque[_Step] = deque()
        self._now = [0] * len(Counts._fields)
        self._before = [0] * len(Counts._fields)
        self._actors: OrderedDict[str, int] = OrderedDict()
        self._tools: OrderedDict[str, int] = OrderedDict()

    def add(self, index: int, counts: Counts, received: str) -> None:
        """Count an event of a step; no later one was counted before."""
        self.roll(index)
        last = self._recent[-1] if self._recent else None
        if last is None or last.index != index:
            last = _Step(index, [0] * len(counts), 0, received)
            self._recent.append(last)
        own, now = last.counts, self._now
        for at, value in enumerate(counts):
            if value:
                own[at] += value
                now[at] += value
        last.slowest = max(last.slowest, counts.latency_us)
        last.earliest = min(last.earliest, received)

    def roll(self, index: int) -> None:
        """Let the window end with a step."""
        recent, old = self._recent, self._old
        while recent and recent[0].index <= index - STEPS:
            step = recent.popleft()
            old.append(step)
            for at, value in enumerate(step.counts):
                self._now[at] -= value
                self._before[at] += value
        while old and old[0].index <= index - 2 * STEPS:
            for at, value in enumerate(old.popleft().counts):
                self._before[at] -= value

    def tell_apart(self, index: int, actor: str, tool: str) -> None:
        """Remember who called what in a step."""
        for known, key in ((self._actors, actor), (self._tools, tool)):
            known[key] = index
            known.move_to_end(key)
            if len(known) > MAX_DISTINCT:
                known.popitem(last=False)

    def distinct(self, index: int) -> tuple[int, int]:
        """Return how many actors and tools there are; see `MAX_DISTINCT`."""
        _forget(self._actors, index)
        _forget(self._tools, index)
        return len(self._actors), len(self._tools)

    @property
    def now(self) -> Counts:
        """What the window has."""
        return Counts(*self._now)

    @property
    def before(self) -> Counts:
        """What the window before has."""
        return Counts(*self._before)

    @property
    def slowest(self) -> int:
        """The longest latency in the window, in microseconds."""
        return max((step.slowest for step in self._recent), default=0)

    @property
    def earliest(self) -> str:
        """When the first of the window's events was received; empty when it has none."""
        return min((step.earliest for step in self._recent), default="")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is counted, nor was in the window before."""
        return not self._recent and not self._old

    def kept(self) -> list[Any]:
        """Return what is to be kept of it, as JSON has it."""
        steps = [
            [step.index, *step.counts, step.slowest, step.earliest] for step in (*self._old, *self._recent)
        ]
        return [steps, self._actors, self._tools]

    @classmethod
    def restored(cls, kept: Any) -> Window:
        """Return what `kept` said. Raises ValueError, TypeError, KeyError for what it never said."""
        found = cls()
        steps, actors, tools = kept
        found._actors, found._tools = OrderedDict(actors), OrderedDict(tools)
        width = len(Counts._fields)
        for index, *values in steps:
            counts, (slowest, earliest) = [int(value) for value in values[:width]], values[width:]
            found._recent.append(_Step(int(index), counts, int(slowest), str(earliest)))
            for at, value in enumerate(counts):
                found._now[at] += value
        if found._recent:
            found.roll(found._recent[-1].index)
        return found


def _forget(known: OrderedDict[str, int], index: int) -> None:
    """Forget those that have left the window: they stand in front, in the order in which they were seen last."""
    while known and next(iter(known.values())) <= index - STEPS:
        known.popitem(last=False)
