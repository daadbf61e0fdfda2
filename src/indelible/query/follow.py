"""Follow a trail as it grows, through rotation: every line once, in the order of the seqs.

The rules that live here. Only what ends in LF is a line; the place in the file is always the beginning of a line, so
that a torn end which the next writer cuts off is never shown, nor glued to what follows. A path that names another
file than the one that is open means rotation: then the old file is read to its end once more, and every file between
it and the new active one after it. A seq that was seen is not shown again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from indelible.events import MAX_LINE_BYTES
from indelible.query.filters import Filter, Row, parse_row
from indelible.query.search import Corrupt, Hit, TrailSearch
from indelible.trail.entry import line_seq
from indelible.trail.layout import Layout
from indelible.trail.reader import (
    CHUNK_BYTES,
    Lines,
    Snapshot,
    TrailFile,
    blocks_backward,
    end_of_lines,
    open_plain,
)

POLL_S: Final = 0.1
"""How often a follower looks."""


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
        self._origin: bytes | None = None

    def start(self, limit: int) -> list[Hit]:
        """Return the newest matches (0: all of them), and begin to follow after them."""
        self._origin = self._read_origin()
        if not self._open():
            return []
        self._position, self._next_seq = self._end()
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
            return self.layout.origin.read_bytes()
        except OSError:
            return None

    def _in_place(self) -> bool:
        """Tell whether the path still names the open file, or nothing yet (a rotation under way)."""
        try:
            return os.path.samestat(self.layout.active.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return True

    def _end(self) -> tuple[int, int]:
        """Return the offset after the last whole line, and the seq that comes next; 0 when no line has one."""
        whole = end_of_lines(self._fd)
        for _, lines in blocks_backward(self._fd, whole):
            for line in reversed(lines):
                seq = line_seq(line)
                if seq is not None:
                    return whole, seq + 1
        return whole, 0

    def _read_on(self, hits: list[Hit]) -> None:
        """Take every whole line from the present place to the file's end."""
        size = os.fstat(self._fd).st_size
        if size < self._position:  # cut back by a writer that could not sync it
            self._position = min(self._position, self._end()[0])
        while data := os.pread(self._fd, CHUNK_BYTES, self._position):
            whole = data.rfind(b"\n") + 1
            if not whole and len(data) < CHUNK_BYTES:
                return
            self._position += whole or len(data)  # a piece of a line without end is passed over
            self._take(data[:whole].split(b"\n")[:-1], hits)

    def _take(self, lines: list[bytes], hits: list[Hit]) -> None:
        for line in lines:
            row = parse_row(line)
            if row is None:
                self._note_corrupt(line)
            else:
                self._take_row(line, row, hits)

    def _take_row(self, line: bytes, row: Row, hits: list[Hit]) -> None:
        if row.seq < self._next_seq:
            return
        self._next_seq = row.seq + 1
        if self._matches(row):
            hits.append(Hit(line, row))

    def _note_corrupt(self, line: bytes) -> None:
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
                self._origin, self._next_seq = origin, 0
            files = snapshot.files
            if not files or files[-1].named_seq is not None:
                return  # between two files: the next look finds the new one
            starts = [_first_seq(file) for file in files]
            if starts[-1] is None and not files[-1].path.stat().st_size:
                return  # its first line is about to be written
            for file, end in zip(files, starts[1:], strict=False):
                if end is None or end > self._next_seq:
                    self._read_closed(file, hits)
            self._switch_to(files[-1])
        self._read_on(hits)

    def _read_closed(self, file: TrailFile, hits: list[Hit]) -> None:
        try:
            with file.open() as stream:
                for lines, _ in Lines(stream):
                    self._take(lines, hits)
        except FileNotFoundError:
            return  # deleted by the writer's retention

    def _switch_to(self, file: TrailFile) -> None:
        """Follow the newest file from its beginning; lines that were seen are passed over."""
        self.close()
        with file.open() as stream:
            self._fd = os.dup(stream.fileno())
        self._position = 0


def _first_seq(file: TrailFile) -> int | None:
    """Return a file's first seq: from its name, or its first line."""
    if file.named_seq is not None:
        return file.named_seq
    with file.open() as stream:
        return line_seq(os.pread(stream.fileno(), MAX_LINE_BYTES + 1, 0).split(b"\n", 1)[0])
