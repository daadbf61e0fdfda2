"""Search a trail as `indelible.query.search` does, by its twins where that is quicker.

The rules that live here:

- The hits are the same, in the same order: each is a line that was read from the trail and that the filter itself has
  judged. Where a twin names a line that is not there, or that is not meant, lines are read one by one from there on.
- Twins are asked only for few among many: without a filter on values, of a small trail, or where the newest lines have
  enough of them, reading is quicker than starting DuckDB is. Without it nothing is different but the time.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from indelible.errors import IndelibleError
from indelible.query.filters import CALLS, Filter, Row, parse_row
from indelible.query.search import Corrupt, Hit, TooFarError, TrailSearch
from indelible.trail.layout import Layout
from indelible.trail.packed import content_size
from indelible.trail.reader import names_in
from indelible.trail.twins import has_duckdb

if TYPE_CHECKING:
    from indelible.query.engine.twinned import Rows
    from indelible.query.kept import Kept, Opened

LEAST_BYTES: Final = 16 << 20
"""Of fewer bytes of lines reading takes less than a fifth of a second."""

READ_BYTES: Final = 32 << 20
"""Of more bytes without a twin DuckDB counts quicker."""

NEAR_BYTES: Final = 2 << 20
"""So much of the end is read first when the newest are asked for."""

SECONDS: Final = 3600.0
"""A search has no time limit of its own."""

_VALUES: Final = (
    "tool", "resource", "prompt", "name", "type", "status", "kind", "policy", "user", "session", "backend",
    "caller_type", "request_id",
)  # fmt: skip


def open_search(
    path: Path, wanted: Filter, corrupt: Corrupt, *, with_twins: bool = True, kept: Kept | None = None
) -> TrailSearch:
    """Return a search of a trail; a context manager. Raises TrailError when there is none, or it may not be read."""
    if with_twins and is_selective(wanted) and may_help(path):
        return QuickSearch(path, wanted, corrupt, kept)
    return TrailSearch(path, wanted, corrupt)


def may_help(path: Path) -> bool:
    """Tell whether a trail has twins at all, and there is what asks them."""
    try:
        return bool(names_in(Layout(path).twins)) and has_duckdb()
    except OSError:
        return False


def is_selective(wanted: Filter) -> bool:
    """Tell whether a filter may well mean few events of many."""
    rare = wanted.events is not None and not wanted.events & {*CALLS, "mcp_operation_started"}
    return rare or any(getattr(wanted, name) for name in _VALUES)


def is_large(search: TrailSearch) -> bool:
    """Tell whether there is so much to read that asking twins is quicker."""
    first, offset = search.start()
    total = -offset
    for file in reversed(search.files[first:]):
        with contextlib.suppress(OSError):
            total += (content_size(file.path) or 0) if file.compressed else file.path.stat().st_size
        if total >= LEAST_BYTES:
            return True
    return False


def count(paths: Sequence[Path], wanted: Filter, corrupt: Corrupt, kept: Kept | None = None) -> int | None:
    """Return how many events match; None where so much has no twin that SQL over the lines is quicker.

    Raises TrailError when there is no trail, or it may not be read.
    """
    with contextlib.ExitStack() as stack:
        searches = [stack.enter_context(QuickSearch(path, wanted, corrupt, kept)) for path in paths]
        if not any(may_help(path) for path in paths) or not any(map(is_large, searches)):
            return sum(1 for search in searches for _ in TrailSearch.all(search))
        units = [unit for search in searches for unit in search.units(stack)]
        if sum(unit.size for unit in units if isinstance(unit, _Read)) > READ_BYTES:
            return None
        read = sum(unit.count() for unit in units if isinstance(unit, _Read))  # while DuckDB is started
        return read + _count_of_twins(units, wanted, kept)


def _count_of_twins(units: Sequence[_Read | _Asked], wanted: Filter, kept: Kept | None) -> int:
    """Count by one question to all twins; where it cannot be answered, one by one."""
    from indelible.query.engine import twinned
    from indelible.query.engine.relations import condition

    asked = [unit for unit in units if isinstance(unit, _Asked)]
    if not asked:
        return 0
    with contextlib.suppress(IndelibleError), _opened(asked, kept) as opened:
        is_known = opened.newer is not None
        number, *told = _told(opened, twinned.counted(opened.twins, condition(wanted), checked=is_known))
        _believe(opened, *told)
        for unit in asked:
            unit.newer = opened.newer or {}
            unit.note()
        return int(number)
    return sum(unit.count() for unit in asked)


def _told(opened: Opened, query: str) -> tuple[Any, ...]:
    """Return the one row of a query of ours. Raises IndelibleError when it fails on what a twin has in it."""
    found = opened.connection.trial(query)
    if found is None:
        raise IndelibleError
    return found


def _believe(opened: Opened, is_whole: bool, newer: int) -> None:  # noqa: FBT001 - as the query has them
    """Take what the first answer says of the twins. Raises IndelibleError where they are not to be believed."""
    from indelible.query.engine import twinned

    if not is_whole:
        raise IndelibleError
    if opened.newer is None:
        opened.newer = twinned.newer_of(opened.twins, opened.connection) if newer else {}


class QuickSearch(TrailSearch):
    """One trail at one moment; a context manager."""

    def __init__(self, path: Path, wanted: Filter, corrupt: Corrupt, kept: Kept | None = None) -> None:
        """Raises TrailError when there is no trail, or it may not be read."""
        super().__init__(path, wanted, corrupt)
        self._wanted = wanted
        self._kept = kept

    def __enter__(self) -> Self:
        return self

    def all(self) -> Iterator[Hit]:
        """Yield every match, oldest first."""
        if not is_large(self):
            yield from super().all()
            return
        with contextlib.ExitStack() as stack:
            for unit in _connect(self.units(stack), self._wanted, stack, self._kept):
                yield from unit.all()

    def newest(self, limit: int) -> list[Hit]:
        """Return the newest `limit` matches, oldest first."""
        if not is_large(self):
            return super().newest(limit)
        near = self._near(limit)
        if near is not None:
            return near
        found: deque[Hit] = deque()
        with contextlib.ExitStack() as stack:
            for unit in reversed(_connect(self.units(stack), self._wanted, stack, self._kept)):
                found.extendleft(reversed(unit.newest(limit - len(found))))
                if len(found) >= limit:
                    break
        return list(found)

    def _near(self, limit: int) -> list[Hit] | None:
        """Return what the last of the lines give, when that is enough."""
        corrupt, self._corrupt = self._corrupt, Corrupt()
        is_enough = False
        found: deque[Hit] = deque()
        last = len(self.files) - 1
        try:
            if self.files[last].compressed:
                return None
            self._newest_of_plain(last, self.files[last], limit, found, NEAR_BYTES)
        except TooFarError:
            return None
        else:
            if len(found) < limit:
                return None
            corrupt.take(self._corrupt)
            is_enough = True
            return list(found)
        finally:
            self._corrupt = corrupt
            if not is_enough:
                self.continuity.forget()

    def units(self, stack: contextlib.ExitStack) -> list[_Read | _Asked]:
        """Return what is read and what is asked, in the order of the trail."""
        from indelible.query.engine import twinned
        from indelible.query.engine.bounds import make_room

        # DuckDB is started by the first twin that fits: where none does, lines are read, and nobody needs it.
        cover = twinned.Cover(self)
        make_room(len(self.files) + len(cover) * (1 if self._kept is None else 2))
        units: list[_Read | _Asked] = []
        first, offset = self.start()
        for order in range(first, len(self.files)):
            pieces = cover.pieces(order)
            stack.callback(twinned.close, pieces)
            for piece in pieces:
                after = offset if order == first else 0
                if isinstance(piece, twinned.Rows):
                    if piece.twin.stop > after:
                        if self._kept is None or not self._kept.is_open:
                            _begin()
                        _join(self, units, piece)
                elif piece.stop is None or piece.stop > after:
                    units.append(_Read(self, order, max(piece.begin, after), piece.stop))
        return units

    def hits_of(self, order: int, begin: int, stop: int | None) -> Iterator[Hit]:
        """Yield the matches of a range of a file's bytes, read one by one."""
        return self._hits_of(order, self.files[order], begin, stop)

    def _rows(self, stream: BinaryIO, offset: int, lines: list[bytes], data: bytes) -> Iterable[Row | None]:
        rows = None if self._kept is None else self._kept.rows(stream, offset, lines, data)
        return super()._rows(stream, offset, lines, data) if rows is None else rows

    def judge(self, line: bytes | None) -> Hit | None:
        """Return a line as a hit, if it is one."""
        row = None if line is None else parse_row(line)
        if line is None or row is None or not self._matches(row):
            return None
        return Hit(line, row, self.origin)


def _begin() -> None:
    from indelible.query.engine.starting import begin

    begin()


def _join(search: QuickSearch, units: list[_Read | _Asked], piece: Rows) -> None:
    if units and isinstance(units[-1], _Asked):
        units[-1].twins.append(piece)
    else:
        units.append(_Asked(search, [piece]))


def _connect(
    units: list[_Read | _Asked], wanted: Filter, stack: contextlib.ExitStack, kept: Kept | None
) -> list[_Read | _Asked]:
    """Let those that are asked be asked; return all."""
    from indelible.query.engine import twinned
    from indelible.query.engine.relations import condition

    asked = [unit for unit in units if isinstance(unit, _Asked)]
    if not asked:
        return units
    with contextlib.suppress(IndelibleError), contextlib.ExitStack() as meanwhile:
        opened = meanwhile.enter_context(_opened(asked, kept))
        if opened.newer is None:
            _believe(opened, *_told(opened, twinned.checked(opened.twins)))
        for unit in asked:
            unit.connection, unit.condition = opened.connection, condition(wanted)
            unit.newer = opened.newer or {}
        stack.push(meanwhile.pop_all())
    return units


@contextlib.contextmanager
def _opened(asked: Sequence[_Asked], kept: Kept | None) -> Iterator[Opened]:
    """Have the twins of all of these open, those that are kept in the place of theirs. Raises TrailError."""
    from indelible.query.kept import opened

    every = [one for unit in asked for one in unit.twins]
    with opened(every) if kept is None else kept.opened(every) as found:
        own = iter(zip(found.twins, every, strict=True))
        for unit in asked:
            unit.twins = [
                mine._replace(file=one.file, order=one.order)
                for mine, one in itertools.islice(own, len(unit.twins))
            ]
        yield found


class _Read:
    """A range of a file that is read."""

    def __init__(self, search: QuickSearch, order: int, begin: int, stop: int | None) -> None:
        self._search = search
        self._range = (order, begin, stop)

    @property
    def size(self) -> int:
        """How many bytes of lines it has."""
        order, begin, stop = self._range
        return (self._search.files[order].size() if stop is None else stop) - begin

    def count(self) -> int:
        """Return how many matches there are."""
        return sum(1 for _ in self.all())

    def all(self) -> Iterator[Hit]:
        """Yield its matches."""
        return self._search.hits_of(*self._range)

    def newest(self, limit: int) -> list[Hit]:
        """Return its newest matches."""
        order, begin, stop = self._range
        if begin or stop is not None:
            return list(deque(self.all(), maxlen=limit))
        return self._search.newest_of(order, limit)


class _Asked:
    """Twins that follow each other, which are asked."""

    def __init__(self, search: QuickSearch, twins: list[Rows]) -> None:
        self.twins = twins
        self.connection: Any = None
        self.condition = ""
        self.newer: dict[int, int] = {}
        """Of twins with lines of a newer version, by their descriptors, how many."""
        self._search = search

    def note(self) -> None:
        """Note that all of the lines were looked at."""
        from indelible.query.engine import twinned

        for one in self.twins:
            self._search.continuity.add(twinned.span(self._search, one, self.newer))

    def count(self) -> int:
        """Return how many matches there are, of the lines themselves."""
        return sum(1 for _ in self._read(-1))

    def all(self) -> Iterator[Hit]:
        """Yield their matches."""
        try:
            seqs = self._seqs("")
        except IndelibleError:
            return self._read(-1)
        return self._fetched(seqs)

    def newest(self, limit: int) -> list[Hit]:
        """Return their newest matches."""
        try:
            seqs = sorted(self._seqs(f" ORDER BY seq DESC LIMIT {limit}"))
            return list(self._believed(iter(seqs)))
        except IndelibleError:
            return list(deque(self._read(-1), maxlen=limit))

    def _seqs(self, order: str) -> Iterator[int]:
        """Yield the seqs of their matches. Raises SqlError, TrailError."""
        from indelible.query.engine import twinned

        if self.connection is None:
            raise IndelibleError
        self.note()
        query = twinned.seqs(self.twins, self.condition) + order
        return (seq for (seq,) in self.connection.run(query).rows)

    def _fetched(self, seqs: Iterator[int]) -> Iterator[Hit]:
        """Yield the lines; from the first on that is not as its twin says all are read."""
        last = -1
        try:
            for hit in self._believed(seqs):
                yield hit
                last = hit.row.seq
        except IndelibleError:
            yield from self._read(last)

    def _believed(self, seqs: Iterator[int]) -> Iterator[Hit]:
        from indelible.query.fetch import lines_of

        for number, some in itertools.groupby(seqs, self._number):
            twin = self.twins[number]
            for _, line in lines_of(twin.file, twin.file.first_seq() or 0, some):
                hit = self._search.judge(line)
                if hit is None:
                    raise IndelibleError
                yield hit

    def _number(self, seq: int) -> int:
        for number, one in enumerate(self.twins):
            if one.twin.first <= seq < one.twin.end:
                return number
        raise IndelibleError

    def _read(self, last: int) -> Iterator[Hit]:
        """Yield the matches after a seq, read one by one."""
        for one in self.twins:
            if one.twin.end > last + 1:
                for hit in self._search.hits_of(one.order, one.twin.begin, one.twin.stop):
                    if hit.row.seq > last:
                        yield hit
