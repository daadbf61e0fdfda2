"""Search a trail, newest first or from its start, without holding more of it than what is asked for.

The rules that live here. Files are in the order of `recorded_at`, which never goes back; `timestamp`, which the
time filters mean, is when a call was *received*, and so not later than `recorded_at`, but for the slack of clocks;
where it is, nobody finds the line by a time between them (`filters.Filter.since`). Everything before the first line
with ``recorded_at >= since`` can be left out. Nothing can be left out after ``until``: a long call is recorded
whenever it ends, an interrupted one at the next start. A line that cannot be read is counted and never ends a search; a
time that was tampered with must not either, so no decision rests on a single line.

After a failed sync lines may stand in two files (`indelible.trail.switch`): what stands in the later one is the trail,
and of the earlier one what is below the later one's first seq.
"""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from indelible.errors import TrailCorrupt
from indelible.events import MAX_LINE_BYTES
from indelible.query.continuity import Continuity, Missing, Span, sealed_seq, total
from indelible.query.filters import Filter, Row, earlier, parse_row
from indelible.trail.entry import line_recorded_at
from indelible.trail.files import CHUNK_BYTES, blocks_backward
from indelible.trail.layout import Layout
from indelible.trail.reader import Lines, TrailFile, open_snapshot, origin_of, reading

PROBE_LINES: Final = 5
"""A probe of the bisection looks at so many lines and believes the latest."""

LAST_LINES: Final = 64
"""Of a block of a compressed file, which cannot be bisected, so many are looked at: none is recorded after the last."""


class Hit(NamedTuple):
    """A line that was asked for."""

    line: bytes
    row: Row
    origin: str = ""
    """The trail that it is of; empty when nothing beside it says which."""
    format: str = ""
    """Of what was read back from elsewhere, the format of its record; `line` is then what could be made of it."""
    record: bytes = b""
    """That record, as it stood there."""


class Corrupt:
    """Lines that could not be read: how many, and where the first stands; and what is missing between the others."""

    def __init__(self, *, complete: bool = True) -> None:
        """Unless the lines are `complete`, whoever chose them tells what is missing and newer."""
        self.count = 0
        self._complete = complete
        self._read: list[Continuity] = []
        self._gone = Missing()
        self.newer_followed = 0
        """Of lines that are read as they come, how many a newer version wrote."""
        self.misfit: Path | None = None
        """A file that was changed beside its twin, and read in the twin's place."""
        self._first: tuple[str, int, Path, int | None, int | None] | None = None

    def add(self, trail: str, order: int, file: TrailFile, *, offset: int | None, number: int | None) -> None:
        """Note a line, by its offset in a plain file or its number."""
        self.count += 1
        self._keep((trail, order, file.path, offset, number))

    def _keep(self, place: tuple[str, int, Path, int | None, int | None]) -> None:
        def key(item: tuple[str, int, Path, int | None, int | None]) -> tuple[str, int, int]:
            return item[0], item[1], item[3] if item[3] is not None else item[4] or 0

        if self._first is None or key(place) < key(self._first):
            self._first = place

    def forget(self) -> None:
        """Begin anew."""
        self.count, self._first = 0, None
        self._read.clear()
        self._gone, self.newer_followed, self.misfit = Missing(), 0, None

    def watch(self, one: Continuity) -> Continuity:
        """Tell from now on what is missing of a trail; return what is to be told of the lines that are read of it."""
        if self._complete:
            self._read.append(one)
        return one

    @property
    def newer(self) -> int:
        """How many lines a newer version wrote, which were read as if this one had."""
        return sum(one.newer for one in self._read) + self.newer_followed

    def missing(self) -> Missing:
        """Return what is missing between the lines that were read."""
        return total([*(one.missing() for one in self._read), self._gone])

    def miss(self, gone: Missing) -> None:
        """Note what is missing of lines that are read as they come."""
        self._gone = total([self._gone, gone])

    def take(self, other: Corrupt) -> None:
        """Note what another one has."""
        self.count += other.count
        self._read += other._read
        self.miss(other._gone)
        self.newer_followed += other.newer_followed
        self.misfit = self.misfit or other.misfit
        if other._first is not None:
            self._keep(other._first)

    def first(self) -> str:
        """Return ``FILE, line N`` of the first."""
        if self._first is None:
            return ""
        _, _, path, offset, number = self._first
        if number is None and offset is not None:
            number = _line_number(path, offset)
        return f"{path}, line {number}" if number else str(path)


def _line_number(path: Path, offset: int) -> int | None:
    try:
        with path.open("rb", buffering=0) as file:
            number = 1
            while offset > 0 and (chunk := file.read(min(CHUNK_BYTES, offset))):
                number += chunk.count(b"\n")
                offset -= len(chunk)
            return number
    except OSError:
        return None


class TooFarError(Exception):
    """More would have to be read than was meant to be."""


class TrailSearch:
    """One trail at one moment; a context manager."""

    def __init__(
        self,
        path: Path,
        wanted: Filter,
        corrupt: Corrupt,
        progress: Callable[[int], None] | None = None,
        *,
        recorded_until: str | None = None,
    ) -> None:
        """`progress` is told of bytes of lines that are done with.

        `recorded_until` is a time in the trail's form, for who goes on with a search: later lines are left out. Raises
        TrailError when there is no trail, or it may not be read.
        """
        self.path = path
        self._progress = progress or (lambda _bytes: None)
        self._matches = _until(wanted.predicate(), recorded_until)
        self._corrupt = corrupt
        self._earliest = None if wanted.since is None else earlier(wanted.since)
        with reading(path):
            self.origin = origin_of(Layout(path))
            sealed = sealed_seq(Layout(path), self.origin)
            self._snapshot = open_snapshot(path)
        self.files = self._snapshot.files
        self.continuity = corrupt.watch(Continuity(path, sealed, len(self.files)))
        """What was read of it, and so what is missing."""
        self.strangers = self._snapshot.strangers
        self._ends: dict[int, int | None] = {}

    def end(self, order: int) -> int | None:
        """Return the first seq of the next file, from which on a file's lines do not count; None: no bound."""
        if order not in self._ends:
            self._ends[order] = self.files[order + 1].first_seq() if order + 1 < len(self.files) else None
        return self._ends[order]

    def _accepted(self, order: int) -> Callable[[Row], bool]:
        """Return what tells whether a line of a file is the trail's, and asked for."""
        end, matches = self.end(order), self._matches
        return matches if end is None else lambda row: row.seq < end and matches(row)

    def span(self, order: int, begin: int = 0) -> Span:
        """Return what is to be told of the lines that are read of a file, from a byte on."""
        return Span(order, self.files[order], self.end(order), begin)

    def __enter__(self) -> TrailSearch:
        return self

    def __exit__(self, *args: object) -> None:
        self._snapshot.__exit__(*args)

    # --- from the end -------------------------------------------------------------------------------------

    def newest(self, limit: int) -> list[Hit]:
        """Return the newest `limit` matches, oldest first."""
        found: deque[Hit] = deque()
        for order in range(len(self.files) - 1, -1, -1):
            file = self.files[order]
            done = self._newest_of(order, file, limit, found)
            if done or len(found) >= limit:
                break
        return list(found)

    def _newest_of(self, order: int, file: TrailFile, limit: int, found: deque[Hit]) -> bool:
        """Add matches in front of `found`; tell whether everything before is too old."""
        if not file.compressed:
            return self._newest_of_plain(order, file, limit, found)
        self._newest_of_compressed(order, file, limit, found)
        return self._starts_early(file, self._earliest)

    def newest_of(self, order: int, limit: int) -> list[Hit]:
        """Return the newest `limit` matches of one file, oldest first."""
        found: deque[Hit] = deque()
        self._newest_of(order, self.files[order], limit, found)
        return list(found)

    def _newest_of_plain(
        self, order: int, file: TrailFile, limit: int, found: deque[Hit], most: int | None = None
    ) -> bool:
        """Add matches in front of `found`; tell whether everything before is too old.

        Raises TooFarError when more than `most` bytes have been read, and there may be more.
        """
        matches, span = self._accepted(order), self.span(order)
        span.stop = None
        self.continuity.add(span)
        with _opened(file) as stream:
            fd = stream.fileno()
            size = os.fstat(fd).st_size
            for offset, lines in blocks_backward(fd, size):
                if most is not None and size - offset > most:
                    raise TooFarError
                at = offset + sum(map(len, lines)) + len(lines)
                looked_at = deque[Row | None]()
                for line in reversed(lines):
                    at -= len(line) + 1
                    row = parse_row(line)
                    looked_at.appendleft(row)
                    if row is None:
                        self._corrupt.add(str(self.path), order, file, offset=at, number=None)
                    elif matches(row):
                        found.appendleft(Hit(line, row, self.origin))
                        if len(found) >= limit:
                            break
                span.precede(looked_at, file, at)
                if len(found) >= limit:
                    return True
                self._progress(sum(map(len, lines)) + len(lines))
                if self._all_early(lines):
                    return True
        return False

    def _all_early(self, lines: list[bytes]) -> bool:
        """Tell whether a whole block was recorded before what is asked for."""
        if self._earliest is None:
            return False
        times = [time for line in lines if (time := line_recorded_at(line)) is not None]
        return len(times) >= min(PROBE_LINES, len(lines)) and bool(times) and max(times) < self._earliest

    def _newest_of_compressed(self, order: int, file: TrailFile, limit: int, found: deque[Hit]) -> None:
        """A compressed file can only be read from its front: keep the newest that there is room for."""
        kept = deque(self._hits_of(order, file, 0), maxlen=limit - len(found))
        found.extendleft(reversed(kept))

    def _starts_early(self, file: TrailFile, earliest: str | None) -> bool:
        """Tell whether a file's first lines are before a time, so that no earlier file matters."""
        if earliest is None:
            return False
        with _opened(file) as stream:
            try:
                first = stream.read(CHUNK_BYTES)
            except TrailCorrupt:  # when it began nobody knows; what can be read of it is searched
                return False
            return _probe(first.split(b"\n")) < earliest

    # --- from the start -----------------------------------------------------------------------------------

    def all(self) -> Iterator[Hit]:
        """Yield every match, oldest first."""
        start, offset = self.start()
        self._progress(sum(file.size() for file in self.files[:start]) + offset)
        for order in range(start, len(self.files)):
            yield from self._hits_of(order, self.files[order], offset)
            offset = 0

    def start(self) -> tuple[int, int]:
        """Return the file, by its place in `files`, and the offset in it before which everything is too old."""
        return self._start(self._earliest)

    def start_at(self, since: str | None) -> tuple[int, int]:
        """Return the same for what was received since a time, whatever the filter asks for."""
        return self._start(None if since is None else earlier(since))

    def _start(self, earliest: str | None) -> tuple[int, int]:
        first = self._first_file(earliest)
        if earliest is None or not self.files or self.files[first].compressed:
            return first, 0
        with _opened(self.files[first]) as stream:
            return first, bisect_time(stream, earliest)

    def _first_file(self, earliest: str | None) -> int:
        """Return the index of the last file that begins before a time; 0 when none does."""
        if earliest is not None:
            for order in range(len(self.files) - 1, 0, -1):
                if self._starts_early(self.files[order], earliest):
                    return order
        return 0

    def _rows(self, _stream: BinaryIO, _offset: int, lines: list[bytes], _data: bytes) -> Iterable[Row | None]:
        """Return the row of each line of a block, which was read from a byte of a file on, and `_data` begins with."""
        return map(parse_row, lines)

    def _hits_of(self, order: int, file: TrailFile, offset: int, stop: int | None = None) -> Iterator[Hit]:
        """Yield the matches of a file from a byte of its content on, which is the beginning of a line, to another."""
        trail, matches = str(self.path), self._accepted(order)
        number = 1 if not offset else None
        may_be_early = file.compressed and self._earliest is not None
        span = self.span(order, offset)
        take = span.take
        with _opened(file) as stream:
            if offset:
                _go_to(stream, offset)
            lines = Lines(stream)
            try:
                for some, data in lines:
                    if may_be_early and self._all_early(some[-LAST_LINES:]):
                        size = sum(map(len, some)) + len(some)
                        offset, number = offset + size, None if number is None else number + len(some)
                        span = self.span(order, offset)
                        take = span.take
                        self._progress(size)
                        continue
                    may_be_early = False
                    for line, row in zip(some, self._rows(stream, offset, some, data), strict=True):
                        if stop is not None and offset >= stop:
                            return
                        take(row)
                        if row is None:
                            self._corrupt.add(trail, order, file, offset=offset, number=number)
                        elif matches(row):
                            yield Hit(line, row, self.origin)
                        offset += len(line) + 1
                        number = None if number is None else number + 1
                    self._progress(sum(map(len, some)) + len(some))
            except TrailCorrupt:
                lines.rest = b"damaged"
            finally:
                span.stop = offset
                self.continuity.add(span)
            if lines.rest:
                row = parse_row(lines.rest)
                span.take(row)
                if row is None:
                    self._corrupt.add(trail, order, file, offset=offset, number=number)
                elif matches(row):
                    yield Hit(lines.rest, row, self.origin)
            span.stop = None


def _until(matches: Callable[[Row], bool], time: str | None) -> Callable[[Row], bool]:
    return matches if time is None else lambda row: row.recorded_at <= time and matches(row)


def _go_to(stream: BinaryIO, offset: int) -> None:
    """Go to a byte; of what can only be read from its front, through all that is before it."""
    if stream.seekable():
        stream.seek(offset)
        return
    while offset > 0 and (data := stream.read(min(CHUNK_BYTES, offset))):
        offset -= len(data)


def _opened(file: TrailFile) -> BinaryIO:
    try:
        return file.open()
    except FileNotFoundError:  # deleted by the writer's retention since the files were listed
        return open(os.devnull, "rb", buffering=0)  # noqa: PTH123 - nothing to read, with a descriptor


# --- time ---------------------------------------------------------------------------------------------------


def _probe(lines: list[bytes]) -> str:
    """Return the latest `recorded_at` of the first few lines that have one."""
    times = []
    for line in lines:
        time = line_recorded_at(line)
        if time is not None:
            times.append(time)
            if len(times) == PROBE_LINES:
                break
    return max(times, default="")


def bisect_time(file: BinaryIO, time: str) -> int:
    """Return an offset in a plain file before which every line was recorded before `time`.

    It is the beginning of a line, and not far before the first one recorded at or after `time`.
    """
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > 4 * MAX_LINE_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        data = file.read(2 * MAX_LINE_BYTES)
        begin = data.find(b"\n") + 1
        probe = _probe(data[begin:].split(b"\n")[:-1]) if begin else ""
        if begin and probe and probe < time:
            low = middle + begin
        else:
            high = middle
    return low


# --- several trails -------------------------------------------------------------------------------------------


class Finds(Protocol):
    """What finds a trail's lines, however it is asked."""

    def newest(self, limit: int) -> list[Hit]:
        """Return the newest `limit` matches, oldest first."""

    def all(self) -> Iterator[Hit]:
        """Yield every match, oldest first."""


def newest(searches: Sequence[Finds], limit: int) -> list[Hit]:
    """Return the newest `limit` matches of all trails together, in the order in which they were recorded."""
    if len(searches) == 1:
        return searches[0].newest(limit)
    merged = heapq.merge(*(search.newest(limit) for search in searches), key=recorded_at)
    return list(deque(merged, maxlen=limit))


def everything(searches: Sequence[Finds]) -> Iterator[Hit]:
    """Yield all matches of all trails together, in the order in which they were recorded."""
    if len(searches) == 1:
        return searches[0].all()
    return heapq.merge(*(search.all() for search in searches), key=recorded_at)


def recorded_at(hit: Hit) -> str:
    """Return the writer's time of a line: what the lines of several trails are ordered by."""
    return hit.row.recorded_at
