"""Numbers of calls, and what is unusual among them: sizes above the 99th percentile, errors in a burst. Pure.

The rules that live here:

- A percentile is by nearest rank: the smallest value that at least 99 of 100 of the sample do not exceed.
- Values are counted, not kept, so that memory does not grow with the calls. Up to `EXACT` each value is counted as
  itself; above, values whose first ten binary digits are the same are counted as one, a step of at most 0.2 %. What is
  *above* a percentile is above the whole step that it lies in.
- Nothing is said on a sample of fewer than `LEAST_SAMPLE` calls: of fewer the 99th percentile is the largest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import heappush, heapreplace
from typing import Final, Literal, NamedTuple

from indelible.query.incidents.calls import Call, Tool

DIGITS: Final = 10
"""Binary digits that are kept of a value."""

EXACT: Final = (1 << DIGITS) - 1
"""Values up to this one are counted as themselves."""

LEAST_SAMPLE: Final = 100
"""Calls of a tool from which on it has a 99th percentile, and an error rate."""

LEAST_ERRORS: Final = 5
"""Fewer errors are no burst."""

LEAST_RATE: Final = 0.1
"""Nor is it one when fewer calls than this share fail."""

TIMES_BASELINE: Final = 5
"""A burst has an error rate that many times the tool's own."""

UNKNOWN_RATE: Final = 0.5
"""The error rate of a burst of a tool whose own is not known, for want of calls."""

Measure = Literal["args_bytes", "latency_us"]
MEASURES: Final[tuple[Measure, ...]] = ("args_bytes", "latency_us")


def value_of(call: Call, measure: Measure) -> int | None:
    """Return what a call has of a measure; None when its line does not say."""
    return call.args_bytes if measure == "args_bytes" else call.took


class Histogram:
    """How many values of each size there were."""

    def __init__(self) -> None:
        """Begin with none."""
        self.counts: dict[int, int] = {}

    def add(self, value: int) -> None:
        """Count a value, which is not negative."""
        step = floor(value)
        self.counts[step] = self.counts.get(step, 0) + 1

    def join(self, other: Histogram) -> None:
        """Count all of another one's values."""
        for step, count in other.counts.items():
            self.counts[step] = self.counts.get(step, 0) + count

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts.values())

    def p99(self) -> int | None:
        """Return the largest value of the step in which the 99th percentile lies; None of too small a sample."""
        total = self.total
        if total < LEAST_SAMPLE:
            return None
        rank = (99 * total + 99) // 100
        for step in sorted(self.counts):
            rank -= self.counts[step]
            if rank <= 0:
                return ceiling(step)
        return None

    def above(self, limit: int) -> int:
        """Return how many values are above the largest one of a step."""
        return sum(count for step, count in self.counts.items() if step > limit)


def floor(value: int) -> int:
    """Return the smallest value that is counted as this one."""
    shift = value.bit_length() - DIGITS
    return value if shift <= 0 else value >> shift << shift


def ceiling(value: int) -> int:
    """Return the largest value that is counted as this one."""
    shift = value.bit_length() - DIGITS
    return value if shift <= 0 else ((value >> shift) + 1 << shift) - 1


class Sample:
    """What is known of a tool's calls in some stretch of time."""

    def __init__(self) -> None:
        """Begin with no call."""
        self.calls = 0
        self.errors = 0
        self.values: dict[Measure, Histogram] = {measure: Histogram() for measure in MEASURES}

    def add(self, status: object, args_bytes: int | None, took: int | None) -> None:
        """Count a call."""
        self.calls += 1
        self.errors += status == "error"
        if args_bytes is not None:
            self.values["args_bytes"].add(args_bytes)
        if took is not None:
            self.values["latency_us"].add(took)

    def join(self, other: Sample) -> None:
        """Count all of another one's calls."""
        self.calls += other.calls
        self.errors += other.errors
        for measure, values in other.values.items():
            self.values[measure].join(values)


class Tally:
    """What a tool's calls were like just before something went wrong."""

    def __init__(self, keep: int) -> None:
        """Of each measure the `keep` calls with the largest values are kept."""
        self._keep = keep
        self.calls = 0
        self.errors = 0
        self.kinds: Counter[str] = Counter()
        self.values: dict[Measure, Histogram] = {measure: Histogram() for measure in MEASURES}
        self._largest: dict[Measure, list[tuple[int, str, int, Call]]] = {measure: [] for measure in MEASURES}

    def count(self, call: Call) -> None:
        """Count a call and how it ended."""
        self.calls += 1
        if call.status == "error":
            self.errors += 1
            self.kinds[call.kind] += 1

    def measure(self, call: Call) -> None:
        """Note how large it was."""
        for measure in MEASURES:
            value = value_of(call, measure)
            if value is None:
                continue
            self.values[measure].add(value)
            largest = self._largest[measure]
            item = (value, call.trail, -call.seq, call)
            if len(largest) < self._keep:
                heappush(largest, item)
            elif item[:3] > largest[0][:3]:
                heapreplace(largest, item)

    def largest(self, measure: Measure) -> list[Call]:
        """Return the calls with the largest values, the largest first; of equal ones the first."""
        return [item[3] for item in sorted(self._largest[measure], key=lambda item: item[:3], reverse=True)]


class Unusual(NamedTuple):
    """Calls of a tool whose arguments were larger, or that took longer, than 99 % of its calls before."""

    tool: Tool
    measure: Measure
    p99: int
    sample: int
    """How many calls the percentile is of."""
    above: int
    """How many calls were above it."""
    calls: list[Call]
    """The largest of them."""


class Burst(NamedTuple):
    """Errors of a tool, more than it has."""

    tool: Tool
    errors: int
    calls: int
    rate: float | None
    """Of the tool before; None where there were too few calls."""
    sample: int
    kinds: dict[str, int]


def unusual(tool: Tool, tally: Tally, before: Sample) -> list[Unusual]:
    """Return by which measures some calls were unusual."""
    found = []
    for measure in MEASURES:
        p99 = before.values[measure].p99()
        above = 0 if p99 is None else tally.values[measure].above(p99)
        if p99 is not None and above:
            calls = [call for call in tally.largest(measure) if (value_of(call, measure) or 0) > p99]
            found.append(Unusual(tool, measure, p99, before.values[measure].total, above, calls))
    return found


def burst(tool: Tool, tally: Tally, before: Sample) -> Burst | None:
    """Return the burst of errors, when it is one."""
    if tally.errors < LEAST_ERRORS:
        return None
    known = before.calls >= LEAST_SAMPLE
    rate = before.errors / before.calls if known else None
    least = UNKNOWN_RATE if rate is None else max(LEAST_RATE, TIMES_BASELINE * rate)
    if tally.errors < least * tally.calls:
        return None
    kinds = dict(sorted(tally.kinds.items(), key=lambda item: (-item[1], item[0])))
    return Burst(tool, tally.errors, tally.calls, rate, before.calls, kinds)


def joined(samples: Iterable[Sample]) -> Sample:
    """Return several samples as one."""
    whole = Sample()
    for sample in samples:
        whole.join(sample)
    return whole
