"""Follow a trail as it grows, through rotation: every line once, in the order of the seqs.

The rules that live here. Only what ends in LF is a line; the place in the file is always the beginning of a line, so
that a torn end which the next writer cuts off is never shown, nor glued to what follows. A path that names another
file than the one that is open means rotation: then the old file is read to its end once more, and every file between
it and the new active one after it. A seq that was seen is not shown again.

Where a disk fails, a writer takes lines back that nobody was told are in the trail, and gives their seqs to others: so
before each look the last lines that were read are compared with what stands in their places now. After a failed sync
it writes lines again, in a new file and under higher seqs; the file's first line says which (`rewritten`, `shift`), and
of those only what was not seen under its old seq is shown.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Final, NamedTuple

from indelible.errors import TrailCorrupt
from indelible.events import MAX_LINE_BYTES, SCHEMA
from indelible.query.continuity import Chain, Missing, deleted, gaps, is_newer
from indelible.query.filters import Filter, Row, parse_event, parse_row
from indelible.query.search import Corrupt, Hit, TrailSearch
from indelible.trail.entry import line_seq
from indelible.trail.files import CHUNK_BYTES, blocks_backward, end_of_lines
from indelible.trail.layout import Layout
from indelible.trail.reader import (
    Lines,
    Snapshot,
    TrailFile,
    open_plain,
    origin_in,
    origin_of,
    read_small,
)

POLL_S: Final = 0.1
"""How often a follower looks."""

MAX_RECENT: Final = 4096
"""So many lines may be without a checkpoint, and only those are ever taken back."""


class _Read(NamedTuple):
    """A line that was read from the open file: where it ends, its length and hash, and the seq that came next then."""

    end: int
    length: int
    digest: int
    next_seq: int


class Follower:
    """One trail that is being followed; it need not be there yet."""

    def __init__(self, path: Path, wanted: Filter, corrupt: Corrupt) -> None:
        self.layout = Layout(path)
        self._wanted = wanted
        self._matches = wanted.predicate()
        self._corrupt = corrupt
        self._fd = -1
        self._position = 0
        self._next_seq = 0
        self._seen = 0
        """The seq after the highest that was seen, while lines are cut off and none has come in their place; else 0."""
        self._recent: deque[_Read] = deque(maxlen=MAX_RECENT)
        self._entered = b""
        """The first line of the newest file that was begun: rotation and compression change names, not this."""
        self._origin: bytes | None = None
        self._named = ""
        """The trail that the lines are of: as the newest file that was begun says."""
        self.missed = 0
        """Events that the writer had deleted, on record, before they could be read; whoever says so sets it back."""
        self._unread = 0
        """Lines since the last one with a seq that could not be read."""

    @property
    def next_seq(self) -> int:
        """The first seq that was not seen: what is there before it is not shown by `poll`."""
        return self._next_seq

    def start(self, limit: int) -> list[Hit]:
        """Return the newest matches (0: all of them), and begin to follow after them."""
        self._origin = self._read_origin()
        if not self._open():
            return []
        self._entered = self._first_line()
        self._named = origin_in(self._entered) or origin_of(self.layout)
        self._go_to_end()
        with TrailSearch(self.layout.active, self._wanted, self._corrupt) as search:
            hits = search.newest(limit) if limit else list(search.all())
        if not self._next_seq:  # the file was made just now; what is in the trail is in its segments
            self._next_seq = 1 + max((hit.row.seq for hit in hits), default=-1)
        return [hit for hit in hits if hit.row.seq < self._next_seq]

    def poll(self) -> list[Hit]:
        """Return the matches that were appended since the last look."""
        hits: list[Hit] = []
        if self._fd >= 0:
            self._read_on(hits)
            if self._in_place():
                return hits
            self._read_on(hits)  # what was written between the look and the renaming
        self._change_file(hits)
        return hits

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # --- the open file ------------------------------------------------------------------------------------

    def _open(self) -> bool:
        try:
            self._fd = open_plain(self.layout.active, follow=True)
        except FileNotFoundError:
            return False
        return True

    def _read_origin(self) -> bytes | None:
        try:
            return read_small(self.layout.origin)
        except OSError:
            return None

    def _first_line(self) -> bytes:
        """Return the open file's first line; empty when it is not whole yet."""
        line, feed, _ = os.pread(self._fd, MAX_LINE_BYTES + 1, 0).partition(b"\n")
        return line if feed else b""

    def _in_place(self) -> bool:
        """Tell whether the path still names the open file, or nothing yet (a rotation under way)."""
        try:
            return os.path.samestat(self.layout.active.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return True

    def _go_to_end(self) -> None:
        """Go on after the last whole line, with the seq that comes next; 0 when no line has one."""
        end = end_of_lines(self._fd)
        next_seq, last = 0, None
        for _, lines in blocks_backward(self._fd, end):
            last = lines[-1] if lines and last is None else last
            next_seq = next((seq + 1 for line in reversed(lines) if (seq := line_seq(line)) is not None), 0)
            if next_seq:
                break
        self._position, self._next_seq = end, next_seq
        self._recent.clear()
        if last is not None and len(last) <= MAX_LINE_BYTES:
            self._recent.append(_Read(end, len(last), hash(last), next_seq))

    def _read_on(self, hits: list[Hit]) -> None:
        """Take every whole line from the present place to the file's end."""
        self._step_back()
        while data := os.pread(self._fd, CHUNK_BYTES, self._position):
            whole = data.rfind(b"\n") + 1
            if not whole and len(data) < CHUNK_BYTES:
                return
            lines = data[:whole].split(b"\n")[:-1]
            if not self._position and lines:
                self._enter(lines[0], hits)
            for line in lines:
                self._take(line, hits)
                self._position += len(line) + 1
                self._recent.append(_Read(self._position, len(line), hash(line), self._next_seq))
            if not whole:
                self._position += len(data)  # a piece of a line without end is passed over

    def _step_back(self) -> None:
        """Return to the end of the last line that is still there: a writer cut off what it could not keep."""
        before, recent = len(self._recent), self._recent
        while recent and not self._is_there(recent[-1]):
            recent.pop()
        if len(recent) == before and os.fstat(self._fd).st_size >= self._position:
            return
        self._seen = max(self._seen, self._next_seq)
        if recent:
            self._position, self._next_seq = recent[-1].end, recent[-1].next_seq
        else:  # more than a writer ever takes back
            self._go_to_end()

    def _is_there(self, read: _Read) -> bool:
        """Tell whether a line still stands where it was read; the beginning of the file is always there."""
        if not read.end:
            return True
        data = os.pread(self._fd, read.length + 1, read.end - read.length - 1)
        return data[-1:] == b"\n" and hash(data[:-1]) == read.digest

    def _enter(self, line: bytes, hits: list[Hit]) -> None:
        """Begin with a file whose first line this is.

        What was seen under its seq and higher ones has been taken back, or stands in this file again.
        """
        if line == self._entered:
            return
        self._entered = line
        self._named = origin_in(line) or origin_of(self.layout)
        seen, self._seen = max(self._seen, self._next_seq), 0
        row = parse_row(line)
        if row is None or row.seq >= seen:
            return
        self._next_seq = row.seq
        self._take_row(line, row, hits)
        last, shift = _rewritten(line)
        self._next_seq = max(self._next_seq, min(seen + shift, last + 1))

    def _take(self, line: bytes, hits: list[Hit]) -> None:
        row = parse_row(line)
        if row is None:
            self._note_corrupt()
        else:
            self._take_row(line, row, hits)

    def _take_row(self, line: bytes, row: Row, hits: list[Hit]) -> None:
        if row.seq < self._next_seq:
            return
        if row.seq > self._next_seq + self._unread:
            self._skip(row.seq)
        self._next_seq, self._seen, self._unread = row.seq + 1, 0, 0
        if row.schema != SCHEMA and is_newer(row.schema):
            self._corrupt.newer_followed += 1
        if self._matches(row):
            hits.append(Hit(line, row, self._named))

    def _skip(self, seq: int) -> None:
        """Note what is not there before a line: deleted on record, or missing."""
        chain = Chain([], self._unread, self._next_seq, seq)
        found = gaps(chain)
        before = sum(gap.count for gap in found)
        for ranges in deleted(self.layout.active):
            found = gaps(chain, ranges)
            if not found:
                break
        self.missed += before - sum(gap.count for gap in found)
        for gap in found:
            self._corrupt.miss(Missing(gap.count, 1, gap.first - 1, gap.end, self.layout.active))

    def _note_corrupt(self) -> None:
        self._unread += 1
        file = TrailFile(self.layout.active, None)
        self._corrupt.add(str(self.layout.active), 0, file, offset=None, number=None)

    # --- rotation -----------------------------------------------------------------------------------------

    def _change_file(self, hits: list[Hit]) -> None:
        """Go on with the files that came after the one that was open."""
        try:
            snapshot = Snapshot(self.layout)
        except FileNotFoundError:
            return
        with snapshot:
            origin = self._read_origin()
            if origin != self._origin:  # the trail was set aside, and a new one begun
                self._origin, self._next_seq, self._seen = origin, 0, 0
            files = snapshot.files
            if not files or files[-1].named_seq is not None:
                return  # between two files: the next look finds the new one
            starts = [file.first_seq() for file in files]
            if starts[-1] is None and not _size(files[-1]):
                return  # its first line is about to be written
            begun = line_seq(self._entered)
            for file, end in zip(files, starts[1:], strict=False):
                if end is None or end > (self._next_seq if begun is None else min(begun, self._next_seq)):
                    self._read_closed(file, end, hits)
            self._switch_to(files[-1])
        self._read_on(hits)

    def _read_closed(self, file: TrailFile, end: int | None, hits: list[Hit]) -> None:
        """Take what was not seen of a closed file, whose lines are below `end`."""
        begun = False
        try:
            with file.open() as stream:
                for lines, _ in Lines(stream):
                    if not begun and lines[0] == self._entered and end is not None and end <= self._next_seq:
                        return  # the one that was open: all of it was seen
                    if not begun:
                        self._enter(lines[0], hits)
                    begun = True
                    for line in lines:
                        self._take(line, hits)
        except FileNotFoundError:
            return  # deleted by the writer's retention
        except TrailCorrupt:  # what follows it is shown all the same
            self._note_corrupt()

    def _switch_to(self, file: TrailFile) -> None:
        """Follow the newest file from its beginning; lines that were seen are passed over."""
        self.close()
        with file.open() as stream:
            self._fd = os.dup(stream.fileno())
        self._position = 0
        self._recent.clear()
        self._recent.append(_Read(0, 0, 0, self._next_seq))


def _size(file: TrailFile) -> int:
    with file.open() as stream:
        return os.fstat(stream.fileno()).st_size


def _rewritten(line: bytes) -> tuple[int, int]:
    """Return what a file's first line says of lines that stood in an older file too: the last one's seq, and the shift.

    (-1, 0) when it says nothing of the kind, in the form that a writer gives it.
    """
    event = parse_event(line) or {}
    metadata = event.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    ends, shift = about.get("rewritten"), about.get("shift")
    if not isinstance(ends, list) or len(ends) != 2 or type(shift) is not int or shift not in (0, 1):
        return -1, 0
    first, last = ends
    if type(first) is not int or type(last) is not int or not event["seq"] < first <= last:
        return -1, 0
    return last, shift
