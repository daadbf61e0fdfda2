"""Search what is held elsewhere: records of any format, from files and topics, as `indelible log` searches a trail.

The rules that live here:

- A filter is answered by what a record says, or not at all: a record whose format has no room for what is asked is left
  out and counted, and never taken for one that does not match.
- One event is listed once, whatever repeats its record: the same trail, seq and leaf hash are the same event. Two
  records that agree in seq and say different things are both listed, and counted: which is true only a trail can tell.
- What cannot be read is counted, with the place of the first, and hides nothing. So is what is missing within a trail's
  own file, known by its name or what lies beside it; what a sink was sent has gaps wherever it is not to have an event.
- Of each trail records are listed by seq; those of several trails by the time that they have.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import orjson

from indelible.events import MAX_LINE_BYTES
from indelible.formats.back import EXPOSED_NAMES_ONLY, Back, read_back
from indelible.formats.back_parts import NAMES
from indelible.formats.found import read_found
from indelible.query.continuity import Missing, Span, has_directory, is_newer, of_file, total
from indelible.query.filters import Filter, Row, parse_row
from indelible.query.search import Hit
from indelible.query.sources.base import LIMIT, Block, Source, place
from indelible.query.spool import Item, Spool
from indelible.trail.layout import segment_first_seq
from indelible.trail.proofs.elsewhere import leaf_of
from indelible.trail.reader import TrailFile, origin_in

MAX_TRAILS: Final = 10_000
"""Trails whose names are remembered; a forger's millionth one is of the trail without a name."""
NAMELESS: Final = ""


class Seen(NamedTuple):
    """A record that could be read."""

    hit: Hit
    leaf: bytes
    says: frozenset[str] | None
    """The filters that it can answer; None for a line of a trail, which answers all."""


class Readback:
    """One search through sources; counts what it has met."""

    def __init__(
        self,
        sources: Sequence[Source],
        wanted: Filter,
        progress: Callable[[int], None] | None = None,
        *,
        of_lines: Sequence[str] = (),
    ) -> None:
        """`of_lines` names what is asked besides that only a line of a trail can answer."""
        self._sources = sources
        self._matches = wanted.predicate()
        self._asked = _asked(wanted) | frozenset(of_lines)
        self._progress = progress or (lambda _count: None)
        self._trails: dict[str, int] = {}
        self._names: list[str] = []
        self.read = 0
        """Records that could be read."""
        self.unreadable = 0
        self.first_unreadable = ""
        """Where the first of them stands."""
        self.newer = 0
        """Lines that a newer version wrote, which were read as if this one had."""
        self._of_trails: list[Span] = []
        self.repeated = 0
        self.contradicting = 0
        """Records with the seq of another one of the same trail, that say something else."""
        self.unanswered: Counter[tuple[str, tuple[str, ...]]] = Counter()
        """Records that were left out, by format and by the filters that it has no answer for."""
        self.exposed_only: set[str] = set()
        """Formats that were asked for a name, and know only the one that a capability is exposed under."""

    def newest(self, limit: int) -> Iterator[Hit]:
        """Yield the newest `limit` matches, oldest first: of each trail those with the highest seq."""
        kept: dict[int, _Newest] = {}
        for trail, seq, record in self._matching():
            kept.setdefault(trail, _Newest(limit)).add(seq, record)
        merged = self._merged([newest.items(trail) for trail, newest in sorted(kept.items())])
        yield from deque(merged, maxlen=limit)

    def all(self) -> Iterator[Hit]:
        """Yield every match. Raises OSError when there is no room on the disk to sort them."""
        spool = Spool()
        try:
            for trail, seq, record in self._matching():
                spool.add(trail, seq, record)
            yield from self._merged(spool.groups())
        finally:
            spool.close()

    def _merged(self, groups: list[Iterator[Item]]) -> Iterator[Hit]:
        return heapq.merge(*map(self._once, groups), key=_time)

    def _matching(self) -> Iterator[tuple[int, int, bytes]]:
        for source in self._sources:
            opened: tuple[str, str] = "", NAMELESS
            span: Span | None = None
            for block in source.blocks():
                self._progress(block.size)
                for index, data in enumerate(block.records):
                    record = data.removesuffix(b"\r")
                    if not record:
                        continue
                    if block.where != opened[0]:
                        opened = block.where, NAMELESS
                        span = self._span(block.where)
                    if b'"file_opened"' in record[:200]:
                        opened = block.where, origin_in(record) or opened[1]
                    origin = block.origins[index] if block.origins is not None else opened[1]
                    seen = read_record(record, origin)
                    self._note_line(seen, span)
                    if seen is None:
                        self._note_unreadable(block, index)
                    elif self._wants(seen):
                        yield self._number(seen.hit.origin), seen.hit.row.seq, record

    def _span(self, where: str) -> Span | None:
        """Return what is to be told of the lines of a trail's own file; a sink leaves out what it is not to have."""
        path = Path(where)
        first = segment_first_seq(path.name.removesuffix(".gz"))
        if first is None and not has_directory(path):
            return None
        span = Span(1, TrailFile(path, first), None)
        self._of_trails.append(span)
        return span

    def _note_line(self, seen: Seen | None, span: Span | None) -> None:
        if seen is not None and seen.says is None:
            self.newer += is_newer(seen.hit.row.schema)
        if span is not None:
            span.take(None if seen is None else seen.hit.row)

    def missing(self) -> Missing:
        """Return what is missing within the files of trails that were read, which have every line."""
        return total(map(of_file, self._of_trails))

    def _note_unreadable(self, block: Block, index: int) -> None:
        self.unreadable += 1
        if not self.first_unreadable:
            cut = ", which has no end" if block.torn and index == len(block.records) - 1 else ""
            self.first_unreadable = place(block, index) + cut

    def _wants(self, seen: Seen) -> bool:
        self.read += 1
        if seen.says is not None:
            unsaid = self._asked - seen.says
            if unsaid:
                self.unanswered[seen.hit.format, tuple(sorted(unsaid))] += 1
                return False
            if seen.hit.format in EXPOSED_NAMES_ONLY and self._asked & (NAMES | {"name"}):
                self.exposed_only.add(seen.hit.format)
        return self._matches(seen.hit.row)

    def _number(self, origin: str) -> int:
        number = self._trails.get(origin)
        if number is None:
            if len(self._names) >= MAX_TRAILS:
                origin = NAMELESS
            number = self._trails.setdefault(origin, len(self._names))
            if number == len(self._names):
                self._names.append(origin)
        return number

    def _once(self, items: Iterator[Item]) -> Iterator[Hit]:
        """Yield each event once; `items` are sorted by trail and seq."""
        last: tuple[int, int] = -1, -1
        known: dict[tuple[bytes, str], bytes] = {}
        for item in items:
            seen = read_record(item.record, self._names[item.trail])
            if seen is None:
                continue
            if (item.trail, item.seq) != last:
                last, known = (item.trail, item.seq), {}
            if self._is_repeated(seen, sha256(item.record).digest(), known):
                self.repeated += 1
            else:
                yield seen.hit

    def _is_repeated(self, seen: Seen, digest: bytes, known: dict[tuple[bytes, str], bytes]) -> bool:
        """Tell whether a record says what one of the same seq has said; `known` are these."""
        leaves = {leaf for leaf, _ in known}
        before = known.setdefault((seen.leaf, seen.hit.format), digest)
        if before == digest and (not leaves or seen.leaf in leaves):
            return bool(leaves)
        self.contradicting += 1
        return False


class _Newest:
    """The records with the highest seqs of one trail."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seqs: list[int] = []
        self._records: dict[int, list[bytes]] = {}

    def add(self, seq: int, record: bytes) -> None:
        held = self._records.get(seq)
        if held is not None:
            held.append(record) if len(held) < self._limit else None
            return
        if len(self._seqs) < self._limit:
            heapq.heappush(self._seqs, seq)
        elif seq < self._seqs[0]:
            return
        else:
            del self._records[heapq.heapreplace(self._seqs, seq)]
        self._records[seq] = [record]

    def items(self, trail: int) -> Iterator[Item]:
        for seq in sorted(self._seqs):
            for order, record in enumerate(self._records[seq]):
                yield Item(trail, seq, order, record)


def _asked(wanted: Filter) -> frozenset[str]:
    """Return the names of the filters that are set."""
    fields = msgspec.structs.asdict(wanted)
    return frozenset(
        name for name, value in fields.items() if (value is not None if name == "events" else value)
    )


def _time(hit: Hit) -> str:
    return hit.row.recorded_at or hit.row.timestamp


def read_record(record: bytes, origin: str = NAMELESS) -> Seen | None:
    """Return what a record says: a line of a trail, or one in any format of ours; None for what is neither.

    `origin` is the trail that a line is of; other records say it themselves.
    """
    row = parse_row(record)
    if row is not None:
        return Seen(Hit(record, row, origin), leaf_of(record)[0], None)
    found = read_found(record) if len(record) <= LIMIT else None
    if found is None:
        return None
    back = read_back(found)
    line, row = _as_line(back)
    if row is None:
        return None
    return Seen(Hit(line, row, found.origin, back.format, record), found.leaf, back.says)


def _as_line(back: Back) -> tuple[bytes, Row | None]:
    """Return a record's event in the shape of a line, for who reads such; without its values, if they are too long."""
    event = back.event
    line = _dumped(event)
    if len(line) > MAX_LINE_BYTES:
        kept = (
            "seq",
            "event_id",
            "timestamp",
            "recorded_at",
            "event_type",
            "source",
            "target",
            "policy",
            "outcome",
        )
        line = _dumped({key: event[key] for key in kept if key in event})
    return line, parse_row(line)


def _dumped(event: object) -> bytes:
    try:
        return orjson.dumps(event)
    except TypeError:  # half a surrogate pair; an integer beyond 64 bits
        import json

        return json.dumps(event, separators=(",", ":")).encode()
