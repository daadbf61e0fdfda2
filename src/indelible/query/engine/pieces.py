"""One trail at one moment as DuckDB reads it: twins of the lines where they fit, the lines themselves elsewhere.

The rules that live here:

- Groups are in the order of the trail: twins that follow each other are one group, each file or range that is read is
  another.
- What DuckDB plans for one query over 60 columns takes megabytes, however little there is to be read: neighbours that
  can be read by one query are, and an answer without an order of its own comes in the trail's. Of very many queries
  those that are alike become one, wherever they stand.
- What is printed of a line is the line, fetched from its file by its seq; never what a twin says of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from indelible.errors import TrailError
from indelible.query.engine import twinned
from indelible.query.engine.connection import Connection
from indelible.query.engine.parts import Part, Range
from indelible.query.engine.relations import Source, rows, rows_with_lines
from indelible.query.engine.twinned import Cover, Piece, Rows
from indelible.query.fetch import lines_of
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail.reader import TrailFile

COPIED_BYTES: Final = 32 << 20
"""Of a plain file without twins, more than this is read from its beginning: a copy would cost as much."""

KEPT_BYTES: Final = 8 << 20
"""Of lines without twins that are asked again and again: so many are held as rows, which take about as much."""

MANY: Final = 16
"""More queries for rows than this are not asked at once."""

DESCRIPTORS_PER_FILE: Final = 3
"""What a file that is read needs, and one more."""


class MisfitError(TrailError):
    """A line is not what a twin says of it: the file was changed between the two ends by which it is known."""

    def __init__(self, path: Path, seq: int) -> None:
        super().__init__(
            f"{path}: has no line of seq {seq}, which its twin names: 'indelible verify' says more, 'indelible twins "
            "--rebuild' makes twins anew, --no-twins asks the lines"
        )
        self.path = path


class Twins:
    """Twins of one trail that follow each other."""

    def __init__(self, rows: list[Rows], origin: str) -> None:
        self.twins = rows
        self.origin = origin

    @property
    def size(self) -> int:
        """How many bytes of lines they stand for."""
        return sum(one.twin.stop - one.twin.begin for one in self.twins)

    def rows(self) -> str:
        """Return the query for their rows."""
        return twinned.twin_rows(self.twins, self.origin)

    def fetch(self, seqs: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield each seq, which rise, with its line. Raises MisfitError when a line is not there."""
        for index, some in groupby(seqs, self._index):
            twin = self.twins[index]
            for seq, line in lines_of(twin.file, twin.file.first_seq() or 0, some):
                if line is None:
                    raise MisfitError(twin.file.path, seq)
                yield seq, line

    def _index(self, seq: int) -> int:
        return next(index for index, one in enumerate(self.twins) if one.twin.first <= seq < one.twin.end)


class Files:
    """What is read of several files of one form."""

    def __init__(self, parts: Sequence[Part]) -> None:
        first = parts[0]
        paths = tuple(path for part in parts for path in part.source.paths)
        self._source = Source(paths, first.source.compressed)
        self._origin = first.origin
        self._inside = first.is_anew

    def rows(self) -> str:
        """Return the query for their rows."""
        return rows(self._source, self._origin, None)

    def rows_with_lines(self) -> str:
        """Return the query for their rows and the line of each."""
        return rows_with_lines(self._source, self._origin, None, inside=self._inside)


Group = Twins | Part


def joined(groups: Sequence[Group]) -> list[Group | Files]:
    """Return what is asked for the rows of groups, by as few queries as their order allows, or fewer."""
    runs = [list(run) for _, run in groupby(groups, _form)]
    if len(runs) > MANY:
        alike: dict[object, list[Group]] = {}
        for group in groups:
            alike.setdefault(_form(group), []).append(group)
        runs = list(alike.values())
    return [run[0] if len(run) == 1 else _one(run) for run in runs]


def _form(group: Group) -> object:
    return Twins if isinstance(group, Twins) else group.form or group


def _one(run: Sequence[Group]) -> Group | Files:
    parts = [group for group in run if isinstance(group, Part)]
    twins = [group for group in run if isinstance(group, Twins)]
    return Files(parts) if parts else Twins([one for some in twins for one in some.twins], twins[0].origin)


class Pieces:
    """What there is of one trail, oldest first. What it opens is closed by the stack that it is given."""

    def __init__(self, search: TrailSearch, with_twins: bool, stack: contextlib.ExitStack) -> None:  # noqa: FBT001
        self._search = search
        self.origin = search.origin
        self.groups: list[Group] = []
        self.newer: dict[int, int] = {}
        """Of twins with lines of a newer version, by their descriptors, how many."""
        self._noted = set[Rows]()
        cover = Cover(search) if with_twins else None
        first, offset = search.start()
        for order in range(first, len(search.files)):
            self._add(order, cover, offset if order == first else 0, stack)

    def _add(self, order: int, cover: Cover | None, offset: int, stack: contextlib.ExitStack) -> None:
        """Take a file, of which nothing before a byte matters."""
        file = self._search.files[order]
        pieces: list[Piece] = [Range()] if not cover else cover.pieces(order)
        stack.callback(twinned.close, pieces)
        after = self._search.end(order)
        for piece in pieces:
            if isinstance(piece, Rows):
                if piece.twin.stop > offset:
                    self._join(piece)
                continue
            if piece.stop is not None and piece.stop <= offset:
                continue
            span = self._narrowed(piece, offset, file)
            try:
                part = Part(self._search, order, file, after, span)
            except FileNotFoundError:  # deleted by the writer's retention since the files were listed
                continue
            stack.callback(part.close)
            self.groups.append(part)

    def _join(self, rows: Rows) -> None:
        last = self.groups[-1] if self.groups else None
        if isinstance(last, Twins):
            last.twins.append(rows)
        else:
            self.groups.append(Twins([rows], self.origin))

    @staticmethod
    def _narrowed(piece: Range, offset: int, file: TrailFile) -> Range:
        """Leave out what is before a byte, unless the copy of the rest would cost more."""
        if not offset or (not piece.begin and file.path.stat().st_size - offset > COPIED_BYTES):
            return piece
        return Range(max(piece.begin, offset), piece.stop)

    @property
    def twins(self) -> list[Rows]:
        """All twins that are asked."""
        return [one for group in self.groups if isinstance(group, Twins) for one in group.twins]

    def paths(self) -> list[str]:
        """Return every path that DuckDB may be told to read."""
        parts = [path for group in self.groups if isinstance(group, Part) for path in group.paths()]
        return [*parts, *(one.path for one in self.twins)]

    def settle(self, connection: Connection, corrupt: Corrupt) -> None:
        """Look through what is to be read, once. Raises TrailError."""
        for group in self.groups:
            if isinstance(group, Part):
                group.settle(connection, corrupt)
            else:
                self.note(group)

    def note(self, group: Twins) -> None:
        """Note that the lines of twins were looked at."""
        for one in group.twins:
            if one not in self._noted:
                self._noted.add(one)
                self._search.continuity.add(twinned.span(self._search, one, self.newer))

    def unread(self, group: Twins, after: int) -> Iterator[Part]:
        """Yield what twins stand for, from a seq on, as something to be read; whoever takes it closes it."""
        for one in group.twins:
            if one.twin.end > after + 1:
                span = Range(one.twin.begin, None if one.twin.ends is None else one.twin.stop)
                yield Part(self._search, one.order, one.file, self._search.end(one.order), span)

    def keep(self, connection: Connection, name: str) -> bool:
        """Hold the rows of what is read, where they are few, under names that begin so; tell whether."""
        parts = [group for group in self.groups if isinstance(group, Part)]
        if any(part.compressed for part in parts) or len(parts) > MANY:
            return False
        if not 0 < sum(part.size for part in parts) <= KEPT_BYTES:
            return False
        for number, part in enumerate(parts):
            part.keep(connection, f"{name}_{number}")
        return True

    def rows(self) -> list[str]:
        """Return the queries for the rows of what is settled."""
        return [group.rows() for group in joined(self.groups)]

    def rows_with_lines(self, number: int) -> list[str]:
        """Return the queries for the rows: also the trail's number, ``_trail``, and ``_line``, where it is read."""
        return [
            f"SELECT *, NULL::VARCHAR AS _line, {number} AS _trail FROM ({group.rows()})"
            if isinstance(group, Twins)
            else f"SELECT *, {number} AS _trail FROM ({group.rows_with_lines()})"
            for group in joined(self.groups)
        ]

    def fetch(self, seqs: Iterable[int]) -> dict[int, bytes]:
        """Return the lines that twins have found, by their seqs. Raises TrailError when one is not there."""
        found: dict[int, bytes] = {}
        wanted = sorted(set(seqs))
        for group in self.groups:
            if isinstance(group, Twins):
                low, high = group.twins[0].twin.first, group.twins[-1].twin.end
                found.update(group.fetch(seq for seq in wanted if low <= seq < high))
        return found
