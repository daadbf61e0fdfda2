"""Which line stands for which leaf, when lines were taken out, put in, moved or changed. Pure.

Positions are the leaves of the tree; lines come in the order of the files. A line is *genuine* when its hash is the
leaf that its own seq claims. Genuine lines are fixed points: what lies between two of them is a run of strangers on
the one side and of unfilled positions on the other, and `assign` says which stranger took whose place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from indelible.trail.entry import line_seq
from indelible.trail.erased import erased_leaf

MAX_RUN: Final = 4_096
"""So many lines that nothing vouches for are held in memory at once; then they are taken in order."""


class Line(NamedTuple):
    """A line and where it stands. `seq` is what it claims, `leaf` what it weighs in the tree."""

    data: bytes
    leaf: bytes
    seq: int | None
    file: str
    number: int
    erased: bool = False


def weigh(data: bytes, leaf: bytes, file: str, number: int) -> Line:
    """Make a `Line`; an erased one carries its leaf, every other one is given its own (`leaf`)."""
    kept = erased_leaf(data)
    return Line(data, kept or leaf, line_seq(data), file, number, erased=kept is not None)


class Step(NamedTuple):
    """One decision: `line` took the place of `seq`.

    Without a line, the positions from `seq` up to, without, `end` are missing; without a seq, the line is extra.
    """

    seq: int | None
    line: Line | None
    end: int = 0


def assign(first: int, end: int, run: Sequence[Line]) -> list[Step]:
    """Match the positions from `first` up to, without, `end` with a run of lines that are not genuine.

    As many lines as positions: each took one, in order. Otherwise the claims that rise within the range are
    believed, and what is left between two of them is matched in order.
    """
    if len(run) == end - first:
        return [Step(first + index, line) for index, line in enumerate(run)]
    steps: list[Step] = []
    position, waiting = first, []
    for line in run:
        if line.seq is None or not position <= line.seq < end:
            waiting.append(line)
            continue
        steps += _match(position, line.seq, waiting)
        steps.append(Step(line.seq, line))
        position, waiting = line.seq + 1, []
    return steps + _match(position, end, waiting)


def _match(first: int, end: int, lines: list[Line]) -> list[Step]:
    paired = min(end - first, len(lines))
    steps = [Step(first + index, line) for index, line in enumerate(lines[:paired])]
    if first + paired < end:
        steps.append(Step(first + paired, None, end))
    return steps + [Step(None, line) for line in lines[paired:]]


class Absent:
    """Ranges of positions that no line filled when their turn came, and lines that came before their turn.

    Bounded: beyond `limit` nothing more is remembered, and a line that turns up late counts as a duplicate.
    """

    def __init__(self, limit: int = 1_000) -> None:
        self._limit = limit
        self._early: set[int] = set()
        self._missing: dict[int, tuple[int, int]] = {}

    def came_early(self, seq: int) -> None:
        """A genuine line stands before its turn."""
        if len(self._early) < self._limit:
            self._early.add(seq)

    def without_early(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the parts (first, end) of a range that no early line fills."""
        parts, start = [], first
        for seq in sorted(seq for seq in self._early if first <= seq < end):
            self._early.discard(seq)
            if seq > start:
                parts.append((start, seq))
            start = seq + 1
        return [*parts, (start, end)] if start < end else parts

    def miss(self, first: int, end: int, key: int) -> None:
        """Remember that a range is missing, under the number of what was said about it."""
        if len(self._missing) < self._limit:
            self._missing[key] = (first, end)

    def late(self, seq: int) -> int | None:
        """Return the key of the missing range that a late line belongs to."""
        return next((key for key, (first, end) in self._missing.items() if first <= seq < end), None)
