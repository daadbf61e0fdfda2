"""The files of a trail as DuckDB reads them: what both read alike as it stands, the rest written anew.

The rules that live here:

- **Every file is looked through before it is asked.** Where DuckDB's reader of JSON and Python's would see different
  things (a key that stands twice, half a surrogate pair, a line that is torn or altered, blanks, a trailing comma, a
  number that is too large), the file is written anew from Python's view, into a file without a name that vanishes with
  this process. So every answer is the one that a plain loop over the lines gives, at the price of time in files that
  nobody has written as our writer does.
- What cannot be read is counted as in every other search.
- Files are read by their descriptors, opened when the trail was looked at: no rename, no other file under an old name,
  no wildcard in a path changes what is read. What is appended afterwards is left out by its seq.
- Where only a range of a file's bytes is asked for, that is copied to a file without a name, and read there.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from indelible.errors import TrailCorrupt
from indelible.events import MAX_LINE_BYTES, SCHEMA
from indelible.query.columns import plain_line
from indelible.query.engine.connection import Connection
from indelible.query.engine.relations import DEEP, KEYS, SUSPECT, Source, literal, rows, rows_with_lines
from indelible.query.filters import parse_row, reads_alike
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail import packed
from indelible.trail.entry import SEQ_PREFIX
from indelible.trail.files import CHUNK_BYTES
from indelible.trail.reader import Lines, TrailFile, open_plain

DESCRIPTORS: Final = Path("/proc/self/fd") if Path("/proc/self/fd").is_dir() else Path("/dev/fd")

MAX_SUSPECTS: Final = 2_000
"""So many lines of a file are looked at one by one; of more, the whole file is written anew."""

LISTED_BYTES: Final = 4 << 20
"""Of no more the seqs are counted here, which is quicker than to have them counted there, where many are."""

LOOKS: Final = 3
"""How often a file that grows meanwhile is looked through again."""


def copied(content: io.RawIOBase, span: Range) -> int:
    """Return a descriptor of a file without a name that has a range of another's content."""
    left = sys.maxsize if span.stop is None else span.stop - span.begin
    with _nameless() as copy:
        if content.seekable():
            content.seek(span.begin)
        else:
            _skip(content, span.begin)
        while left > 0 and (data := content.read(min(CHUNK_BYTES, left))):
            copy.write(data)
            left -= len(data)
        copy.flush()
        return os.dup(copy.fileno())


def _nameless() -> IO[bytes]:
    """Return a file without a name."""
    import tempfile  # which loads every kind of compression that there is

    return cast("IO[bytes]", tempfile.TemporaryFile())


def _skip(content: io.RawIOBase, count: int) -> None:
    while count > 0 and (data := content.read(min(CHUNK_BYTES, count))):
        count -= len(data)


class Seen(NamedTuple):
    """What a look through a file has found: how many lines, one more than the greatest seq, and what else there is."""

    lines: int
    end: int
    first: int = 0
    """The least seq."""
    seqs: int = 0
    """How many different ones there are."""
    newer: int = 0
    """How many lines a newer version wrote."""

    @property
    def is_dense(self) -> bool:
        """Whether there is one line for each seq between the least and the greatest."""
        return self.lines == self.seqs == self.end - self.first


class Range(NamedTuple):
    """Bytes of a file's content, from the beginning of one line to that of another, or to the file's end."""

    begin: int = 0
    stop: int | None = None


WHOLE: Final = Range()


class Part:
    """One file of one trail, or a range of it; `settle` says how it is to be read."""

    def __init__(
        self, search: TrailSearch, order: int, file: TrailFile, end: int | None, span: Range = WHOLE
    ) -> None:
        """`end` is the first seq of what is after it; None of the last. Raises FileNotFoundError, TrailError."""
        self.end = end
        self.origin = search.origin
        self.first = file.named_seq
        self.size = (file.size() if span.stop is None else span.stop) - span.begin
        self._search = search
        self._trail = str(search.path)
        self._order = order
        self._stop = span.stop
        self._file = file
        with file.open() as stream:  # a file that was compressed meanwhile has another name from here on
            self.compressed = file.compressed
            self._fd = open_plain(file.path) if self.compressed else os.dup(stream.fileno())
        self._begin = 0
        self._copied = self._take(span)
        if self._copied:
            self.size = os.fstat(self._fd).st_size
        self._anew = _nameless()
        self._is_anew = False
        self._settled = False
        self._seen: Seen | None = None
        self._kept = ""
        self.lines = 0
        """How many lines it has that can be read; 0 before it is settled."""

    def _take(self, span: Range) -> bool:
        """Go on with a copy of a range, unless that is everything; tell whether."""
        if span == WHOLE:
            return False
        raw = os.fdopen(self._fd, "rb", buffering=0)
        with packed.unpack(raw) if self.compressed else raw as content:  # compressed since it was looked at
            self._fd, self._begin, self.compressed = copied(content, span), span.begin, False
        return True

    @property
    def grows(self) -> bool:
        """Whether a writer may add to what is read here."""
        return self._file.named_seq is None and not self._copied

    def close(self) -> None:
        """Let go of the files."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._anew.close()

    @property
    def is_plain(self) -> bool:
        """Whether, once settled, DuckDB reads the lines as they stand."""
        return self._settled and not self._is_anew

    @property
    def newer(self) -> int:
        """How many of its lines a newer version wrote, as is known once it is settled and plain."""
        return 0 if self._seen is None else self._seen.newer

    def paths(self) -> list[str]:
        """Return every path that DuckDB may be told to read of it."""
        return [str(DESCRIPTORS / str(fd)) for fd in (self._fd, self._anew.fileno())]

    @property
    def is_anew(self) -> bool:
        """Whether it is read from what was written anew, as is known once it is settled."""
        return self._is_anew

    @property
    def _stored(self) -> Source:
        return Source((self.paths()[0],), self.compressed)

    @property
    def source(self) -> Source:
        """What its rows are read from, as is known once it is settled."""
        return Source((self.paths()[1],)) if self._is_anew else self._stored

    @property
    def form(self) -> tuple[bool, bool] | None:
        """What it has to have in common with others that are read by one query; None when it is to be read alone.

        Then it grows, has lines that the file after it has again, is held in memory, or nobody has looked through it.
        """
        is_whole = self._seen is not None and self.end is not None and self._seen.end <= self.end
        if self._kept or self.grows or not is_whole:
            return None
        return self.source.compressed, self._is_anew

    def rows(self) -> str:
        """Return the query for its rows."""
        return f"SELECT * FROM {self._kept}" if self._kept else rows(self.source, self.origin, self.end)

    def keep(self, connection: Connection, name: str) -> None:
        """Hold its rows, once it is settled, in memory under a name, if there is room: then it is read no more."""
        if connection.keep(name, self.rows()):
            self._kept = name

    def rows_with_lines(self) -> str:
        """Return the query for its rows and the line of each."""
        return rows_with_lines(self.source, self.origin, self.end, inside=self._is_anew)

    # --- looking through it -------------------------------------------------------------------------------

    def settle(self, connection: Connection, corrupt: Corrupt) -> None:
        """Look through it, once; lines that cannot be read go to `corrupt`. Raises TrailError."""
        if self._settled:
            return
        self._settled = True
        seen = None
        for _ in range(LOOKS if self.grows else 1):
            seen = self._look(connection)
            if seen is not None:
                break
        if seen is None:
            self._write_anew(corrupt)
            self._is_anew = True
            seen = self._counted(connection)
        else:
            self._note(seen)
        self._seen = seen
        self.lines = 0 if seen is None else seen.lines
        if self.end is None and seen is not None:
            self.end = seen.end  # nothing after it was looked through

    def _note(self, seen: Seen) -> None:
        """Note which seqs there are; where they do not follow each other, the lines are gone through once more."""
        span = self._search.span(self._order, self._begin)
        span.stop = self._stop
        if seen.lines and seen.is_dense and (span.limit is None or seen.end <= span.limit):
            span.fill(seen.first, seen.end, seen.newer)
        else:
            for line in self._lines():
                span.take(None if line is None else parse_row(line))
        self._search.continuity.add(span)

    def take_anew(self, corrupt: Corrupt) -> None:
        """Go on with what is written anew: the file was renamed since it was opened."""
        self._write_anew(corrupt)
        self._is_anew = True

    def _look(self, connection: Connection) -> Seen | None:
        """Return what is in the file; None when not every line is as a writer leaves it."""
        size, closed = self._size()
        if size is None:
            return None
        seen = self._counted(connection)
        if seen is None:
            return None
        found = connection.trial(_LOOK + self._stored.objects())
        if found is None:
            return None
        lines, length, strange, suspects = found
        if (lines, length + lines - (not closed), strange) != (seen.lines, size, 0):
            return None
        if suspects is not None and len(suspects) > MAX_SUSPECTS:
            return None
        return seen if all(reads_alike(text.encode()) for text in suspects or ()) else None

    def _size(self) -> tuple[int | None, bool]:
        """Return how long the content is, if that can be told, and whether it ends with a line's end."""
        if self.compressed:
            return self._compressed_size(), True
        size = os.fstat(self._fd).st_size
        return size, size == 0 or os.pread(self._fd, 1, size - 1) == b"\n"

    def _compressed_size(self) -> int | None:
        try:
            return packed.content_size(Path(self.paths()[0]))
        except OSError:
            return None

    def _counted(self, connection: Connection) -> Seen | None:
        """Return how many lines there are; None when one is no entry, has a key twice, or a part that is none."""
        is_small = 0 < self.size <= LISTED_BYTES
        found = connection.trial(_ALL + (_EACH if is_small else _TOLD) + _KEYS + self.source.typed(strict=True))
        if found is None or found[0] != found[1]:
            return None
        lines, _, last, first, seqs, newer, *_ = found
        if is_small:
            each = {seq for seq in last or () if seq is not None}
            last, first, seqs = max(each, default=None), min(each, default=None), len(each)
        if newer:
            [newer] = connection.trial(_NEWER + self._stored.typed()) or (0,)
        return Seen(lines, (last if last is not None else -1) + 1, first or 0, seqs, newer)

    # --- writing it anew ----------------------------------------------------------------------------------

    def _write_anew(self, corrupt: Corrupt) -> None:
        """Write every line that Python reads, as both read it; count the others."""
        at, span = self._begin, self._search.span(self._order, self._begin)
        span.stop = self._stop
        self._search.continuity.add(span)
        for number, line in enumerate(self._lines(), 1):
            plain = plain_line(line) if line is not None else None
            if plain is None and self._begin:
                corrupt.add(self._trail, self._order, self._file, offset=at, number=None)
            elif plain is None:
                corrupt.add(self._trail, self._order, self._file, offset=None, number=number)
            else:
                self._anew.write(plain + b"\n")
            span.take(None if line is None or plain is None else parse_row(line))
            at += len(line or b"") + 1
        self._anew.flush()

    def _lines(self) -> Iterator[bytes | None]:
        """Yield the lines; None for the damage that ends the file before its end."""
        fd = os.dup(self._fd)
        os.lseek(fd, 0, os.SEEK_SET)
        raw = os.fdopen(fd, "rb", buffering=0)
        with packed.unpack(raw) if self.compressed else raw as stream:
            lines = Lines(stream)  # type: ignore[arg-type] # raw, as a trail's files are
            try:
                for some, _ in lines:
                    yield from some
            except TrailCorrupt:
                yield None
                return
            if lines.rest:
                yield lines.rest


_SEQ: Final = "TRY_CAST(seq AS BIGINT)"
_EACH: Final = f"list({_SEQ}), NULL, NULL, "
_TOLD: Final = f"max({_SEQ}), min({_SEQ}), count(DISTINCT {_SEQ}), "

_ALL: Final = "SELECT count(*), count(*) FILTER (json_type(seq) IN ('UBIGINT', 'BIGINT')), "
_KEYS: Final = (
    f"count(*) FILTER (schema <> '{SCHEMA}'), "
    # Every key is asked for: over what nobody asks for the reader passes, and over a second one of the same name.
    + ", ".join(f'count("{key}")' for key in KEYS)
    + " FROM "
)

_IS_WHOLE: Final = "json_type(schema) IN ('UBIGINT', 'BIGINT')"

_NEWER: Final = f"SELECT count(*) FILTER ({_IS_WHOLE} AND TRY_CAST(schema AS BIGINT) > {SCHEMA}) FROM "

_DEEP: Final = (
    f"(strlen(json) > {2 * DEEP} AND "
    f"strlen(json) - strlen(replace(replace(CAST(json AS VARCHAR), '[', ''), '{{', '')) > {DEEP})"
)

_STRANGE: Final = (
    f"json IS NULL OR NOT starts_with(json, {literal(SEQ_PREFIX.decode())}) OR strlen(json) > {MAX_LINE_BYTES}"
)

_LOOK: Final = (
    f"SELECT count(*), coalesce(sum(strlen(json)), 0)::BIGINT, count(*) FILTER ({_STRANGE}), "
    f"(list(CAST(json AS VARCHAR)) FILTER (regexp_matches(json, {literal(SUSPECT)}) OR {_DEEP}))"
    f"[:{MAX_SUSPECTS + 1}] FROM "
)
