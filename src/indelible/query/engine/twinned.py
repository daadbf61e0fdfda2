"""Which twins stand for which lines of a trail's files at one moment, and what is left to be read.

The rules that live here:

- A file is pieces in the order of its lines: twins that fit, each by its descriptor, and ranges that are to be read. No
  line is in two of them, and none in none.
- What the rows of a twin mean is `columns`: when the flat columns, or what one of them says, change, there are no twins
  any more, until they are made anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from indelible.errors import TrailCorrupt, TrailError
from indelible.events import SCHEMA
from indelible.query.columns import EVENT_COLUMNS
from indelible.query.continuity import Span
from indelible.query.engine.connection import Connection
from indelible.query.engine.parts import DESCRIPTORS, Range
from indelible.query.engine.relations import RECEIVED, Source, literal, rows
from indelible.query.search import TrailSearch
from indelible.trail import twins
from indelible.trail.layout import Layout
from indelible.trail.reader import TrailFile
from indelible.trail.twins import Twin

MEANING: Final = 1
"""Raised when a column comes to say another thing while the SQL that makes it stays."""

NAMES: Final = (*(column.name for column in EVENT_COLUMNS), RECEIVED)
"""The columns of a twin."""


def columns() -> str:
    """Return what stands for the columns of twins as they are made now."""
    made = rows(Source(()), "", None)
    return f"{MEANING}-{sha256(made.encode()).hexdigest()[:16]}"


class Rows(NamedTuple):
    """A twin that fits, opened."""

    twin: Twin
    file: TrailFile
    order: int
    fd: int

    @property
    def path(self) -> str:
        """What DuckDB reads it by."""
        return str(DESCRIPTORS / str(self.fd))


Piece = Rows | Range


class Cover:
    """The twins of one trail, and which of them fit the files that a search has found."""

    def __init__(self, search: TrailSearch, layout: Layout | None = None) -> None:
        self._search = search
        self._layout = layout or Layout(search.path)
        try:
            self._known = twins.known(self._layout, search.origin, columns())
        except OSError:  # whoever may not look reads the lines
            self._known = []
        self._by_first: dict[int, list[Twin]] = {}
        for twin in self._known:
            self._by_first.setdefault(twin.first, []).append(twin)

    def __len__(self) -> int:
        """Return how many there are at all."""
        return len(self._known)

    def fitting(self, order: int) -> list[Twin]:
        """Return the twins of a file that fit it and are whole, and notes without rows, in the order of its lines."""
        file, after = self._search.files[order], self.end_of(order)
        try:
            first = file.first_seq()
            whole = self._whole(file, first, after)
            return [whole] if whole is not None else list(self._ranges(file, first, after))
        except (OSError, TrailError, TrailCorrupt):
            return []

    def end_of(self, order: int) -> int | None:
        """Return the seq at which the next file begins."""
        return self._search.end(order)

    def _whole(self, file: TrailFile, first: int | None, after: int | None) -> Twin | None:
        if file.named_seq is None or first is None or after is None:
            return None
        candidates = [twin for twin in self._by_first.get(first, ()) if twin.ends is None and twin.end == after]
        return next(
            (
                one
                for one in candidates
                if twins.fits_closed(one, after, file.path.lstat()) and twins.is_whole(self._layout, one)
            ),
            None,
        )

    def _ranges(self, file: TrailFile, first: int | None, after: int | None) -> Iterator[Twin]:
        at, offset = first, 0
        if file.compressed or at is None or at not in self._by_first:
            return
        with file.open() as stream:
            if file.compressed:
                return
            while at is not None:
                found = [
                    twin
                    for twin in self._by_first.get(at, ())
                    if twin.begin == offset
                    and (after is None or twin.end <= after)
                    and twins.fits_range(twin, stream.fileno())
                    and twins.is_whole(self._layout, twin)
                ]
                if not found:
                    return
                yield found[0]
                at, offset = found[0].end, found[0].stop

    def pieces(self, order: int) -> list[Piece]:
        """Return the pieces of a file. The descriptors are the caller's to close."""
        file = self._search.files[order]
        found: list[Piece] = []
        begin = offset = 0
        for twin in self.fitting(order):
            fd = twins.open_rows(self._layout, twin)
            offset = twin.stop
            if fd is not None:
                if begin < twin.begin:
                    found.append(Range(begin, twin.begin))
                found.append(Rows(twin, file, order, fd))
                begin = offset
            elif twin.ends is None:
                return [Range()]
        if found and found[-1:] and isinstance(found[-1], Rows) and found[-1].twin.ends is None:
            return found
        return [*found, Range(begin)]


def close(pieces: list[Piece]) -> None:
    """Let go of the twins among them."""
    for piece in pieces:
        if isinstance(piece, Rows):
            with contextlib.suppress(OSError):
                os.close(piece.fd)


def twin_rows(found: list[Rows], origin: str) -> str:
    """Return a query for the rows of twins of one trail, as `relations.rows` gives those of a file."""
    said = f"{literal(origin) if origin else 'NULL::VARCHAR'} AS origin"
    return f"SELECT {said}, {', '.join(map(_quoted, NAMES))} FROM {_read(found)}"


def seqs(found: list[Rows], condition: str) -> str:
    """Return a query for the seqs of the rows of twins of which a condition is true, in their order."""
    return f"SELECT seq FROM {_read(found)} WHERE {condition}"


def checked(found: list[Rows]) -> str:
    """Return a query that tells whether twins have as many rows as their notes say, and of how many a newer schema is.

    Where the notes say the second, no row is read.
    """
    if len(_unknown(found)) == len(found):  # one pass over all files instead of two
        return f"SELECT count(*) = {_lines(found)}, count(*) FILTER (schema > {SCHEMA}) FROM {_read(found)}"
    return f"SELECT {_is_whole(found)}, {_newer(found)}"


def counted(found: list[Rows], condition: str, *, checked: bool = False) -> str:
    """Return a query that tells of how many rows of twins a condition is true, and what the query of `checked` does.

    With `checked` that was told before.
    """
    told = "true, NULL" if checked else f"{_is_whole(found)}, {_newer(found)}"
    return f"SELECT count(*), {told} FROM {_read(found)} WHERE {condition}"


def _is_whole(found: list[Rows]) -> str:
    return f"(SELECT count(*) = {_lines(found)} FROM {_read(found)})"


def _lines(found: list[Rows]) -> int:
    return sum(one.twin.end - one.twin.first for one in found)


def _newer(found: list[Rows]) -> str:
    """Return what gives how many lines a newer version wrote: what the notes say, and the others' rows."""
    known, unknown = sum(one.twin.newer or 0 for one in found), _unknown(found)
    return (
        f"({known} + (SELECT count(*) FROM {_read(unknown)} WHERE schema > {SCHEMA}))"
        if unknown
        else str(known)
    )


def _unknown(found: list[Rows]) -> list[Rows]:
    return [one for one in found if one.twin.newer is None]


def newer_of(found: list[Rows], connection: Connection) -> dict[int, int]:
    """Return how many lines a newer version wrote, of those twins that have any, by their descriptors.

    Not by their seqs, which each trail has. Raises SqlError, TrailError.
    """
    of_path, unknown = dict[str, int](), _unknown(found)
    if unknown:
        read = _read(unknown, "filename=true")
        query = f"SELECT filename, count(*) FROM {read} WHERE schema > {SCHEMA} GROUP BY filename"
        of_path = dict(connection.run(query).rows)
    newer = {one.fd: one.twin.newer or of_path.get(one.path, 0) for one in found}
    return {fd: count for fd, count in newer.items() if count}


def span(search: TrailSearch, one: Rows, newer: dict[int, int]) -> Span:
    """Return what is to be told of the lines that a twin stands for: it is made of such as follow each other."""
    twin = one.twin
    found = search.span(one.order, twin.begin).fill(twin.first, twin.end, newer.get(one.fd, 0))
    found.stop = None if twin.ends is None else twin.stop
    return found


def _read(found: list[Rows], *how: str) -> str:
    return f"read_parquet({', '.join([_paths(found), *how])})"


def _paths(found: list[Rows]) -> str:
    return f"[{', '.join(literal(one.path) for one in found)}]"


def _quoted(name: str) -> str:
    return f'"{name}"'
