"""Whether the lines of a trail follow each other: which seqs stand nowhere, and which lines a newer version wrote.

The rules that live here:

- **Missing** is a seq that no line has that was read, between two that were: within a file, between files, before the
  first file of a trail, and after its last line up to the seq that the checkpoint covers. What a filter leaves out was
  read; what a search passes over (`since`, the newest few) was not, and nothing is said of it.
- Seqs are a set: lines that changed places or stand twice are not missing. A line of a closed file counts below the
  first seq of the file after it; one beyond the end of the trail, as its last lines tell it, counts for nothing.
- A line that cannot be read is told as that, and not once more as a missing one: so many of them as stand between two
  lines take the place of as many seqs between these two.
- Seqs whose files were deleted on record are not missing. That record is believed here, as the checkpoint is: cheaply,
  without a signature. What was taken out, and whether the rest is what was sealed, `indelible verify` says.
- **Newer** is a line whose schema is greater than this version knows. It is read as if this version had written it.

What was read is kept as runs of seqs, so that a trail that is whole costs one of them for each file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain as chained
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from indelible.errors import NoteError, TrailCorrupt, TrailError
from indelible.events import MAX_LINE_BYTES, SCHEMA
from indelible.trail import files
from indelible.trail.entry import parse_line, pruned_in
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import parse, split_note
from indelible.trail.reader import TrailFile, open_snapshot, origin_in, read_small

MAX_RUNS: Final = 200_000
"""Of one file so many pieces are told apart, which takes some megabytes; of more it is said that there are."""

LAST_LINES: Final = 5
"""Where a trail ends the greatest seq of so many last lines tells, so that no single altered one does."""

MAX_SCHEMA: Final = 2**63
"""A greater number is none that a version would give: columns do not show it, either."""


def is_newer(schema: object) -> bool:
    """Tell whether a line's schema is one that this version does not know yet."""
    return type(schema) is int and SCHEMA < schema < MAX_SCHEMA


class Missing(NamedTuple):
    """How many seqs stand nowhere, and where the first of them belong."""

    lines: int = 0
    gaps: int = 1
    """In how many places."""
    after: int | None = None
    """The seq before the first gap; None when nothing is before it."""
    before: int | None = None
    """The seq after it; None when nothing is after it."""
    path: Path | None = None
    """The file in which that line stands, or the trail's last one."""
    at_least: bool = False
    """Whether there are more than could be told apart."""

    def place(self) -> str:
        """Return ``between seq A and B of FILE``, or what there is of it; empty when nothing is missing."""
        if not self.lines:
            return ""
        if self.after is None and self.before is None:
            return f"of {self.path}"
        if self.after is None:
            where = f"before seq {self.before}"
        elif self.before is None:
            where = f"after seq {self.after}"
        else:
            where = f"between seq {self.after} and {self.before}"
        return f"{where} of {self.path}"


if TYPE_CHECKING:

    class Numbered(Protocol):
        """What is looked at in a line."""

        @property
        def seq(self) -> int:
            """Its number."""

        @property
        def schema(self) -> Any:
            """The version of what it means."""


class Run:
    """Lines whose seqs follow each other, from `first` up to and without `end`."""

    __slots__ = ("end", "first", "torn")

    def __init__(self, torn: int, first: int, end: int) -> None:
        """`torn` is how many lines directly before it cannot be read."""
        self.torn = torn
        self.first = first
        self.end = end


class Span:
    """What was read of one file in one go, from one byte of its content to another, in the order of its lines."""

    def __init__(self, order: int, file: TrailFile, limit: int | None, begin: int = 0) -> None:
        """`limit` is the first seq of the file after it."""
        self.order = order
        self.path = file.path
        self.named = file.named_seq
        self.limit = limit
        self.begin = begin
        self.stop: int | None = begin
        """Where reading ended; None at the file's end."""
        self.runs: deque[Run] = deque()
        self.torn = 0
        """How many lines after the last run cannot be read."""
        self.newer = 0
        self.is_cut = False
        """Whether there were more runs than are told apart."""
        self._last = _NO_RUN

    def take(self, row: Numbered | None) -> None:
        """Go on with a line; None is one that cannot be read."""
        if row is None:
            self.torn += 1
            self._last = _NO_RUN
            return
        last, seq = self._last, row.seq
        if seq == last.end:
            last.end += 1
        else:
            self._turn(seq)
        if row.schema != SCHEMA and is_newer(row.schema) and (self.limit is None or seq < self.limit):
            self.newer += 1

    def _turn(self, seq: int) -> None:
        if len(self.runs) >= MAX_RUNS:
            self.is_cut, last = True, self.runs[-1]
            last.end = max(last.end, seq + 1)
            return
        self._last = Run(self.torn, seq, seq + 1)
        self.torn = 0
        self.runs.append(self._last)

    def fill(self, first: int, end: int, newer: int = 0) -> Span:
        """Go on with lines of which it is known that their seqs are all of these; return itself."""
        self._last = Run(self.torn, first, end)
        self.torn = 0
        self.runs.append(self._last)
        self.newer += newer
        return self

    def precede(self, rows: Iterable[Numbered | None], file: TrailFile, begin: int) -> None:
        """Put lines in front, in their order, which begin at a byte; None is one that cannot be read."""
        front = Span(self.order, file, self.limit, begin)
        for row in rows:
            front.take(row)
        self.begin = begin
        self.newer += front.newer
        self.is_cut |= front.is_cut or len(self.runs) > MAX_RUNS
        if not self.runs:
            self.runs, self.torn = front.runs, self.torn + front.torn
            return
        self.runs[0].torn += front.torn
        if front.runs and (len(self.runs) > MAX_RUNS or _follow(front.runs[-1], self.runs[0])):
            self.runs[0].torn, self.runs[0].first = front.runs[-1].torn, front.runs[-1].first
            front.runs.pop()
        if len(self.runs) <= MAX_RUNS:
            self.runs.extendleft(reversed(front.runs))


def _follow(one: Run, other: Run) -> bool:
    return one.end == other.first and not other.torn


_NO_RUN: Final = Run(0, 0, -(2**64))
"""Which no seq follows that a line may have."""


# --- what is missing ---------------------------------------------------------------------------------------------


class Gap:
    """Seqs from `first` up to and without `end` that no line has; `torn` of them may be lines that cannot be read."""

    __slots__ = ("end", "first", "torn")

    def __init__(self, first: int, end: int) -> None:
        self.first = first
        self.end = end
        self.torn = 0

    @property
    def count(self) -> int:
        """How many of them are missing."""
        return self.end - self.first - self.torn


class Chain:
    """Runs of lines that were read one after the other, in the order of the files; within these bounds."""

    def __init__(self, runs: list[Run], torn: int, begin: int, end: int) -> None:
        """`torn` is how many lines after the last run cannot be read."""
        self.runs = runs
        self.torn = torn
        self.begin = begin
        self.end = end


def gaps(chain: Chain, deleted: Sequence[tuple[int, int]] = ()) -> list[Gap]:
    """Return what is missing of a chain, in the order of the seqs; `deleted` are ranges (first, last) on record."""
    found = _between(chain, deleted)
    starts = [gap.first for gap in found]
    before = chain.begin - 1
    for torn, first, end in (
        *((run.torn, run.first, run.end) for run in chain.runs),
        (chain.torn, chain.end, 0),
    ):
        if torn:
            _cover(found, starts, torn, before, min(first, chain.end))
        before = end - 1
    return [gap for gap in found if gap.count]


def _between(chain: Chain, deleted: Sequence[tuple[int, int]]) -> list[Gap]:
    """Return what no run has, and no deletion."""
    at, found = chain.begin, list[Gap]()
    ranges = [*((run.first, run.end) for run in chain.runs), *((first, last + 1) for first, last in deleted)]
    for first, end in (*sorted(ranges), (chain.end, chain.end)):
        if at < min(first, chain.end):
            found.append(Gap(at, min(first, chain.end)))
        at = max(at, end)
    return found


def _cover(found: list[Gap], starts: list[int], torn: int, after: int, before: int) -> None:
    """Let lines that cannot be read, and stand between these two seqs, take the place of missing ones."""
    for index in range(bisect_left(starts, after), len(found)):
        gap = found[index]
        if not torn or gap.first >= before:
            return
        taken = min(torn, gap.count)
        gap.torn += taken
        torn -= taken


def of_file(span: Span) -> Missing:
    """Return what is missing within a file of a trail that is read for itself, to its end."""
    one = Continuity(span.path, 0, 1)
    span.stop = None
    one.add(span)
    return one.missing()


class Continuity:
    """What one search has read of one trail."""

    def __init__(self, path: Path, sealed: int, files: int) -> None:
        """`sealed` is how many lines the trail has at the least (`sealed_seq`), in so many files."""
        self._path = path
        self._sealed = sealed
        self._files = files
        self._spans: list[Span] = []
        self._deleted: list[tuple[int, int]] = []
        """What was found to be deleted on record: who asks again need not look again."""

    def add(self, span: Span) -> None:
        """Note what is read; where the same was read before, that counts no more."""
        self._spans.append(span)

    def forget(self) -> None:
        """Begin anew."""
        self._spans.clear()

    @property
    def newer(self) -> int:
        """How many lines a newer version wrote."""
        return sum(span.newer for spans in self._stretches() for span in spans)

    def missing(self) -> Missing:
        """Return what is missing of what was read."""
        every, is_cut = list[Missing](), False
        for spans in self._stretches():
            chain = self._chain(spans)
            found = gaps(chain)
            for ranges in chained([self._deleted], deleted(self._path)) if found else ():
                self._deleted, found = ranges, gaps(chain, ranges)
                if not found:
                    break
            every += [_placed(gap, chain, spans) for gap in found[:1]]
            every += [Missing(gap.count) for gap in found[1:]]
            is_cut |= any(span.is_cut for span in spans)
        return total(every)._replace(at_least=is_cut)

    def _stretches(self) -> list[list[Span]]:
        """Return the spans that follow each other without anything between them."""
        found: list[list[Span]] = []
        latest = sorted(enumerate(self._spans), key=lambda item: (item[1].order, item[1].begin, -item[0]))
        for _, span in latest:
            last = found[-1][-1] if found else None
            if last is not None and last.order == span.order and (last.stop is None or span.begin < last.stop):
                continue  # read twice
            if last is not None and _adjoin(last, span):
                found[-1].append(span)
            else:
                found.append([span])
        return found

    def _chain(self, spans: list[Span]) -> Chain:
        runs, torn = list[Run](), 0
        for span in spans:
            for run in span.runs:
                end = run.end if span.limit is None else min(run.end, span.limit)
                torn += run.torn
                if run.first < end:
                    runs.append(Run(torn, run.first, end))
                    torn = 0
            torn += span.torn
        begin, end = self._begin(spans[0], runs), self._end(spans[-1], runs)
        return _clipped(runs, torn, begin, max(begin, end))

    def _begin(self, span: Span, runs: list[Run]) -> int:
        """Return from which seq on lines belong there."""
        if not span.begin and not span.order and has_directory(self._path):
            return 0
        if not span.begin and span.named is not None:
            return span.named
        return runs[0].first if runs else self._sealed

    def _end(self, span: Span, runs: list[Run]) -> int:
        """Return up to which seq lines belong there."""
        if span.stop is None and span.limit is not None:
            return span.limit
        lines, end = 0, 0
        for run in reversed(runs):
            lines, end = lines + run.end - run.first, max(end, run.end)
            if lines >= LAST_LINES:
                break
        return max(end, self._sealed) if span.stop is None and span.order == self._files - 1 else end


def _adjoin(one: Span, other: Span) -> bool:
    if one.order == other.order:
        return one.stop == other.begin
    return one.order + 1 == other.order and one.stop is None and not other.begin


def _clipped(runs: list[Run], torn: int, begin: int, end: int) -> Chain:
    """Return a chain without what is beyond its bounds."""
    kept, waiting = list[Run](), 0
    for run in runs:
        waiting += run.torn
        first, last = max(run.first, begin), min(run.end, end)
        if first < last:
            kept.append(Run(waiting, first, last))
            waiting = 0
    return Chain(kept, torn + waiting, begin, end)


def _placed(gap: Gap, chain: Chain, spans: list[Span]) -> Missing:
    """Return where a gap is."""
    last = spans[-1].path
    path = next((span.path for span in spans for run in span.runs if run.first == gap.end), last)
    after = gap.first - 1 if any(run.end == gap.first for run in chain.runs) else None
    before = gap.end if any(run.first == gap.end for run in chain.runs) else None
    return Missing(gap.count, 1, after, before, path)


def total(found: Iterable[Missing]) -> Missing:
    """Return what is missing of several trails, with the place in the first of them."""
    each = [one for one in found if one.lines]
    if not each:
        return Missing()
    return each[0]._replace(
        lines=sum(one.lines for one in each),
        gaps=sum(one.gaps for one in each),
        at_least=any(one.at_least for one in each),
    )


# --- what the trail says of itself -------------------------------------------------------------------------------


def has_directory(path: Path) -> bool:
    """Tell whether what belongs to a trail lies beside a file: it is a trail's active one, and no copy of a part."""
    try:
        return Layout(path).directory.is_dir()
    except OSError:  # such as a name that is too long
        return False


def sealed_seq(layout: Layout, origin: str) -> int:
    """Return how many lines a trail has at the least, as its checkpoint says, unchecked; 0 when nothing does.

    It is to be asked before the lines are looked at: they are on the disk before it is.
    """
    try:
        checkpoint = parse(split_note(read_small(layout.checkpoint) or b"")[0])
    except (OSError, NoteError):
        return 0
    return checkpoint.size if not origin or checkpoint.origin == origin else 0


def deleted(path: Path) -> Iterator[list[tuple[int, int]]]:
    """Yield the ranges (first, last) whose files were deleted on record, as the trail's own words say, unchecked.

    Every file begins with what was deleted before it, which costs nothing to look at; all that is said of what was
    deleted since, in the newest file, comes after that.
    """
    found: list[tuple[int, int]] = []
    try:
        with open_snapshot(path) as snapshot:
            for file in reversed(snapshot.files):
                with file.open() as stream:
                    first = stream.read(MAX_LINE_BYTES + 1).partition(b"\n")[0]
                found += pruned_in(parse_line(first))
                yield found
                with file.open() as stream:
                    for line in files.lines_with(stream, _record):
                        found += pruned_in(parse_line(line))
                yield found
                if origin_in(first):
                    return
    except (OSError, TrailError, TrailCorrupt):
        return


def _record(data: bytes, begin: int, end: int) -> int:
    return data.find(b'"pruned"', begin, end)
