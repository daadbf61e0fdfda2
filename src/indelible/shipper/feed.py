"""The sealed lines of one trail, in the order of their seqs, from any of them on.

The rules that live here. Only lines below the size of a checkpoint that was read before the files were looked at are
handed out, and no byte of a later one is kept: a writer may take those back and give their seqs to others. A file's
lines count up to the first seq of the file after it: what follows there was written again. Before each look the name of
the file is compared with what is open: a file that was rotated, compressed, or rewritten by an erasure is looked up
anew by seq, so that nothing is handed out that has been erased by then. What a deletion or damage leaves out is told as
a gap.

A line that was altered bears any seq. One that no checkpoint covers yet stands behind all that one does, so a seq that
is too high before a line that belongs here is damage, and holds nothing up. Of those below it most are as they were
written, and rise: where they do not, what breaks the longest row of rising ones is the damage, so that one altered line
costs itself and no other.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from indelible.errors import TrailCorrupt
from indelible.events import MAX_LINE_BYTES
from indelible.trail import files
from indelible.trail.entry import line_seq
from indelible.trail.files import looking_again
from indelible.trail.layout import Layout
from indelible.trail.reader import Snapshot

CHUNK_BYTES: Final = 1 << 21
"""How much is read at once, unless a batch is more; more than the longest line."""

LOOK_AHEAD: Final = 16
"""Before a step to a later seq is believed, so many lines after it are looked at, if there are as many."""


class Gap(NamedTuple):
    """Events from `first` up to `end`, without it, that could not be read."""

    first: int
    end: int
    damaged: bool
    """Something stands in their place that is no entry; else their files were deleted."""


class Piece(NamedTuple):
    """What comes next in a trail."""

    lines: list[tuple[int, bytes]]
    """Seqs and lines, without LF."""
    next: int
    """The seq after the last of them, or after the last gap."""
    gaps: list[Gap]


class _Stream(Protocol):
    """An open file of a trail, read from the front."""

    def peek(self, count: int) -> bytes:
        """Return what comes next: so much, and a whole line at least, or less up to the end."""

    def advance(self, count: int) -> None:
        """Go on by so many bytes."""

    def close(self) -> None:
        """Let go of it."""


class Feed:
    """One trail that is read, from `read` to `read`. Of one thread."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._stream: _Stream | None = None
        self._path: Path = layout.active
        self._id = (0, 0)
        self._end: int | None = None
        """The first seq of the file after the open one; None while it is the newest."""
        self._at = 0
        """The seq that comes next in the open file."""
        self._unread = 0
        self._begun = False
        """Whether a line of the open file was taken."""

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def read(self, seq: int, size: int, max_count: int, max_bytes: int) -> Piece:
        """Return what comes from `seq` on, below `size`: up to `max_count` lines, and `max_bytes` and a line.

        Empty when nothing can be read just now. Raises OSError.
        """
        piece = Piece([], seq, [])
        while piece.next < size and not piece.lines:
            if not self.is_current(piece.next):
                self.close()
                opened = looking_again(lambda: self._open(piece.next))  # noqa: B023 - called at once
                if opened is None:
                    return piece
                if opened > piece.next:
                    piece = Piece(
                        [], min(opened, size), [*piece.gaps, Gap(piece.next, min(opened, size), damaged=False)]
                    )
                    continue
            piece, used = self._take(piece, size, max_count, max_bytes)
            if not piece.lines and not used and self._end is None:
                return piece
        return piece

    def is_current(self, seq: int) -> bool:
        """Tell whether the open file is the one with `seq`, which comes next there, as it stands in its place now."""
        if self._stream is None or seq != self._at:
            return False
        if seq >= self._end if self._end is not None else self._path != self._layout.active:
            return False  # the next file; or one was closed, and the new one had no line yet
        try:
            about = self._path.stat()
        except FileNotFoundError:
            return False
        return (about.st_dev, about.st_ino) == self._id

    def _open(self, seq: int) -> int | None:
        """Open the file that has, or should have, `seq`; return the first seq to be had from there.

        None when no file can be read yet. Raises FileNotFoundError when it went meanwhile.
        """
        with Snapshot(self._layout) as snapshot:
            starts = [file.first_seq() for file in snapshot.files]
            known = [
                (start, file) for start, file in zip(starts, snapshot.files, strict=True) if start is not None
            ]
            if not known:
                return None
            at = max((at for at, (start, _) in enumerate(known) if start <= seq), default=-1)
            if at < 0:
                return known[0][0]
            self._end = known[at + 1][0] if at + 1 < len(known) else None
            file = known[at][1]
            about = file.path.stat()
            self._path, self._id = file.path, (about.st_dev, about.st_ino)
            stream = file.open()
            if file.path != self._path:  # compressed between the two
                stream.close()
                raise FileNotFoundError(2, os.strerror(2), str(self._path))
            if file.compressed:
                self._stream = _Packed(stream)
            else:
                self._stream = _Plain(stream, _begin(stream, seq))
            self._at, self._unread, self._begun = seq, 0, False
        return seq

    def _take(self, piece: Piece, size: int, max_count: int, max_bytes: int) -> tuple[Piece, int]:
        """Go on with the open file's next part, and return by how many bytes, too; the piece has no lines yet."""
        stream = self._stream
        if stream is None:
            return piece, 0
        limit = size if self._end is None else min(size, self._end)
        asked = max(CHUNK_BYTES, max_bytes)
        try:
            data = stream.peek(asked)
        except TrailCorrupt:  # what comes after this file is shipped all the same
            data, self._unread = b"", 1
        ahead, is_all = data, len(data) < asked
        if len(data) > max_bytes:
            data = data[: data.find(b"\n", max_bytes - 1) + 1] or data
        *found, rest = data.split(b"\n")
        count = min(len(found), limit - piece.next, max_count)
        if _are_in_a_row(found, piece.next, count):
            self._unread, self._begun = 0, True
            used = len(data) - len(rest) if count == len(found) else sum(map(len, found[:count])) + count
            following = piece.next + count
            piece = Piece(list(zip(range(piece.next, following), found, strict=False)), following, piece.gaps)
        else:
            seqs = [line_seq(line) for line in ahead.split(b"\n")[:-1]]
            sure = len(seqs) if is_all else len(seqs) - LOOK_AHEAD
            piece, used = self._pick(
                piece,
                list(zip(found, seqs, strict=False)),
                _rising(seqs, piece.next, limit),
                _Bounds(limit, max_count, sure),
            )
        stream.advance(used)
        if not used and self._end is not None and piece.next < limit:  # this file has no more
            gap = Gap(piece.next, limit, damaged=self._unread > 0 or bool(data))
            piece = Piece([], limit, [*piece.gaps, gap])
        self._at = piece.next
        return piece, used

    def _pick(
        self, piece: Piece, found: Sequence[tuple[bytes, int | None]], rising: Collection[int], bounds: _Bounds
    ) -> tuple[Piece, int]:
        """Return those of some lines that come next, and how many bytes were gone through for them.

        `rising` are the places of those that belong here, of all that can be seen from there on.
        """
        lines, following, gaps = piece
        used, last = 0, max(rising, default=-1)
        for at, (line, seq) in enumerate(found):
            if seq is not None and (len(lines) >= bounds.most or (seq >= bounds.limit and at > last)):
                break
            if seq is not None and at in rising:
                if seq > following:
                    if used and at >= bounds.sure:
                        break  # the next look sees more
                    gaps = [*gaps, Gap(following, seq, damaged=self._unread > 0)]
                lines.append((seq, line))
                following, self._unread, self._begun = seq + 1, 0, True
            elif seq is None or seq >= following or self._begun:
                self._unread += 1
            used += len(line) + 1
        return Piece(lines, following, gaps), used


class _Bounds(NamedTuple):
    limit: int
    """From this seq on lines do not belong here."""
    most: int
    """At most so many are wanted."""
    sure: int
    """Up to this place enough can be seen behind a line."""


def _begin(file: BinaryIO, seq: int) -> int:
    """Return from where on a plain file is to be read for a seq: its beginning, if the next line casts a doubt."""
    found = files.find_seq(file, seq)
    if found is None:
        return 0
    after = os.pread(file.fileno(), 2 * MAX_LINE_BYTES, found).split(b"\n", 2)[1:2]
    return found if not after or line_seq(after[0]) in (None, seq + 1) else 0


def _rising(seqs: Sequence[int | None], first: int, limit: int) -> set[int]:
    """Return the places of the longest row of seqs from `first` up to `limit` that rise: of equal ones the last."""
    ends: list[
        int
    ] = []  # of the rows of each length that there are so far, the lowest end, and where it stands
    places: list[int] = []
    before: dict[int, int] = {}
    for at, seq in enumerate(seqs):
        if seq is None or not first <= seq < limit:
            continue
        length = bisect_left(ends, seq)
        ends[length : length + 1] = [seq]
        places[length : length + 1] = [at]
        before[at] = places[length - 1] if length else -1
    found: set[int] = set()
    at = places[-1] if places else -1
    while at >= 0:
        found.add(at)
        at = before[at]
    return found


def _are_in_a_row(lines: list[bytes], seq: int, count: int) -> bool:
    """Tell whether so many lines have this seq and those after it: nearly always, and so it is told of all at once."""
    if count <= 0:
        return False
    beginnings = ('{"seq":' + ',\n{"seq":'.join(map(str, range(seq, seq + count))) + ",").encode().split(b"\n")
    return all(map(bytes.startswith, lines, beginnings))


class _Plain:
    """A plain file: nothing of it is kept between two looks."""

    def __init__(self, file: BinaryIO, position: int) -> None:
        self._file = file
        self._position = position

    def peek(self, count: int) -> bytes:
        while True:
            data = os.pread(self._file.fileno(), count, self._position)
            if b"\n" in data or len(data) < count:
                return data
            self._position += len(data)  # a piece of a line without end is no entry

    def advance(self, count: int) -> None:
        self._position += count

    def close(self) -> None:
        self._file.close()


class _Packed:
    """A compressed file: closed, and sealed as a whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = b""
        self._damage: TrailCorrupt | None = None

    def peek(self, count: int) -> bytes:
        while (len(self._rest) < count or b"\n" not in self._rest) and (data := self._more(count)):
            endless = len(self._rest) > CHUNK_BYTES and b"\n" not in self._rest
            self._rest = data if endless else self._rest + data
        if b"\n" in self._rest:
            return self._rest
        if self._damage is not None:
            raise self._damage
        return b""

    def _more(self, count: int) -> bytes:
        """Read on; what stands before damage is handed out first."""
        if self._damage is None:
            try:
                return self._file.read(max(count - len(self._rest), CHUNK_BYTES))
            except TrailCorrupt as exc:
                self._damage = exc
        return b""

    def advance(self, count: int) -> None:
        self._rest = self._rest[count:]

    def close(self) -> None:
        self._file.close()
