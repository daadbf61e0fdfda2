"""Asking trails with SQL: their files, the views over them, and queries on these.

`TrailQuery` finds the lines of one trail, as `indelible.query.search.TrailSearch` does, under a condition besides.

The rule that lives here: an answer is the one that the lines give. Where a twin turns out not to have the rows that its
note says, or cannot be read, or where a question has other answers because a line is not as its twin says, all is asked
once more without twins.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from indelible.errors import TrailError
from indelible.query.engine import twinned
from indelible.query.engine.bounds import make_room
from indelible.query.engine.connection import FETCHED, Caps, Connection, FilesMovedError, Result
from indelible.query.engine.guard import SqlError, where
from indelible.query.engine.parts import Part
from indelible.query.engine.pieces import DESCRIPTORS_PER_FILE, Group, MisfitError, Pieces, Twins
from indelible.query.engine.relations import RECEIVED, condition, literal, logs, no_rows, seen
from indelible.query.filters import Filter, parse_row
from indelible.query.search import Corrupt, Hit, TrailSearch, everything, newest

ALL: Final = Filter(events=None)

CALLS: Final = Filter()


VIEWS: Final = ("events", "logs")

CHOSEN: Final = "_chosen"
"""The view that filters and conditions are on: the columns of `logs`, of all that is wanted."""

T = TypeVar("T")

TRIES: Final = 5
"""How often files are opened anew that were renamed while they were opened."""

_DAMAGE: Final = re.compile(r"parquet|corrupt|TProtocol|too small|magic bytes|schema mismatch", re.IGNORECASE)
"""What DuckDB says of a twin that cannot be read, and never of a query."""


class Sight(NamedTuple):
    """What whoever asks does not see: columns of `events`, and those of `logs` that show something of them."""

    events: Collection[str] = ()
    logs: Collection[str] = ()


class Page(NamedTuple):
    """Which of the matches are wanted, newest first."""

    limit: int
    until: str | None = None
    """Recorded at this time of the trail's or before; of an unknown time, if empty."""
    skip: int = 0


class Asked:
    """Trails at one moment, to be asked with SQL; a context manager."""

    def __init__(
        self,
        paths: Sequence[Path],
        wanted: Filter,
        caps: Caps | None = None,
        progress: Callable[[int], None] | None = None,
        *,
        sight: Sight | None = None,
        with_twins: bool = True,
        complete: bool = True,
    ) -> None:
        """`wanted` are the filters that hold for everything; with a `sight`, for who must not look behind them.

        `progress` is told of bytes of lines that are done with. `trails` and `sorted` give whole lines, and are not for
        who has a sight. Without `with_twins` the lines themselves are read; see `Corrupt` for `complete`. Raises
        TrailError: no trail, no DuckDB.
        """
        self._progress = progress or (lambda _bytes: None)
        self._sight = sight
        self._paths = list(paths)
        self._caps = caps or Caps()
        self._wanted = wanted
        self.corrupt = Corrupt(complete=complete)
        self._open(with_twins=with_twins)

    def _open(self, *, with_twins: bool) -> None:
        self._with_twins = with_twins
        self._stack = contextlib.ExitStack()
        self._is_settled = False
        self._asked_before = self._is_kept = False
        self._defined = frozenset[str]()
        with self._stack:
            searches = [
                self._stack.enter_context(TrailSearch(path, self._wanted, self.corrupt)) for path in self._paths
            ]
            make_room(sum(DESCRIPTORS_PER_FILE * len(search.files) for search in searches))
            self._trails = [Pieces(search, with_twins, self._stack) for search in searches]
            allowed = [path for trail in self._trails for path in trail.paths()]
            self._connection = self._stack.enter_context(Connection(allowed, self._caps))
            self._stack = self._stack.pop_all()

    @property
    def _has_twins(self) -> bool:
        return any(trail.twins for trail in self._trails)

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *args: object) -> None:
        self._stack.close()

    def _without_twins(self, misfit: MisfitError | None = None) -> None:
        """Go on with the lines alone: a twin cannot be read, does not have the rows that it should, or is a misfit."""
        self._reopen(with_twins=False)
        if misfit is not None:
            self.corrupt.misfit = misfit.path

    def _reopen(self, *, with_twins: bool) -> None:
        self._stack.close()
        self.corrupt.forget()
        self._open(with_twins=with_twins)

    # --- queries ------------------------------------------------------------------------------------------

    def check_condition(self, sql: str) -> bool:
        """Raise SqlError for what is no condition on the columns of `logs`; tell whether it asks the views besides."""
        asks_others = self._connection.check_condition(sql)
        head = "SELECT 1 FROM _chosen"
        self._defined = frozenset()
        self._define(no_rows(), (*VIEWS, CHOSEN))
        for _ in self._connection.run(head + where(sql), sql, head + where("").removesuffix("\n)")).rows:
            pass
        return asks_others

    def query(self, sql: str) -> Result:
        """Return what a query on the views `events` and `logs` gives. Raises SqlError, TrailError."""
        self._connection.check(sql)
        views = [name for name in VIEWS if name in sql.casefold()]
        return self._run(lambda: sql, views, sql)

    def _run(self, make: Callable[[], str], views: Sequence[str], said: str = "") -> Result:
        """Run a query that asks some of the views, once more where files were renamed meanwhile, as a rotation does."""
        return self._again(lambda: self._run_once(make, views, said))

    def _again(self, act: Callable[[], T]) -> T:
        for _ in range(TRIES):
            try:
                return act()
            except FilesMovedError:
                self._reopen(with_twins=self._with_twins)
        return act()

    def _run_once(self, make: Callable[[], str], views: Sequence[str], said: str) -> Result:
        """Run it; where a twin turns out to be damaged, once more over the lines."""
        self.settle(views)
        self._asked_before = True
        try:
            return self._connection.run(make(), said)
        except (SqlError, TrailError) as exc:
            if not self._has_twins or not _DAMAGE.search(str(exc)):
                raise
        self._without_twins()
        self.settle(views)
        return self._connection.run(make(), said)

    def settle(self, views: Sequence[str] = ()) -> None:
        """Look through every file that is to be read, and put these views over all. Raises TrailError."""
        if not self._is_settled:
            self._check_twins()
            for trail in self._trails:
                trail.settle(self._connection, self.corrupt)
            self._is_settled = True
        elif self._asked_before and not self._is_kept:
            self._keep()
        missing = [name for name in views if name not in self._defined]
        if missing:
            self._define(self._every(), missing)
            self._defined |= frozenset(missing)

    def _keep(self) -> None:
        """Hold what was read for the last question: for the next ones it need not be read again."""
        self._is_kept = True
        kept = [trail.keep(self._connection, f"_read_{number}") for number, trail in enumerate(self._trails)]
        if any(kept):
            self._defined = frozenset()

    def _every(self) -> str:
        return " UNION ALL ".join(query for trail in self._trails for query in trail.rows()) or no_rows()

    def _check_twins(self) -> None:
        if self._is_settled:
            return
        found = [one for trail in self._trails for one in trail.twins]
        told = self._connection.trial(twinned.checked(found)) if found else (True, 0)
        if told is None or not told[0]:
            self._without_twins()
        elif told[1]:
            for trail in self._trails:
                trail.newer = twinned.newer_of(trail.twins, self._connection) if trail.twins else {}

    def _define(self, everything: str, views: Sequence[str]) -> None:
        """Put views over rows.

        Each has all in it: a view over a view is gone through twice, file by file. But nobody with a sight looks behind
        the one that all others are over.
        """
        sight, where_ = self._sight or Sight(), condition(self._wanted)
        wanted = f"({everything}) WHERE {where_}"
        if self._sight is not None:
            self._connection.define("_every", everything)
            self._connection.define("_wanted", seen("_every", where_, sight.events))
            wanted = "_wanted WHERE true"
        if "events" in views:
            self._connection.define("events", without(wanted, [RECEIVED, *sight.events]))
        if "logs" in views:
            calls = logs(f"{wanted} AND {condition(CALLS)}")
            self._connection.define("logs", _shown(calls, sight.logs))
        if CHOSEN in views:
            self._connection.define(CHOSEN, _shown(logs(wanted), sight.logs))

    def summary(
        self,
        sql: str | None,
        group_by: Sequence[str],
        sum_of: str | None,
        sort: tuple[str, bool] | None,
        limit: int,
    ) -> Result:
        """Return how many events there are, or what a column adds up to, by columns or of all.

        The names are those of columns, `sort` may be ``count`` or ``sum_COLUMN``, and whether the greatest comes first;
        without it most come first. `limit` 0 is all.
        """
        views = self._asked(sql)
        summed = f"sum_{sum_of}"
        chosen = [*(f'"{name}"' for name in group_by), "count(*) AS count"]
        chosen += [] if sum_of is None else [f'sum("{sum_of}") AS "{summed}"']
        rest = "" if sql is None else where(sql)
        if group_by:
            first = sort or (("count", True) if sum_of is None else (summed, True))
            order = [_order(*first), *(f'"{name}"' for name in group_by)]
            rest += f" GROUP BY {', '.join(chosen[: len(group_by)])} ORDER BY {', '.join(order)}"
            rest += f" LIMIT {limit}" if limit else ""
        return self._run(lambda: f"SELECT {', '.join(chosen)} FROM {CHOSEN}{rest}", [CHOSEN, *views])

    def newest(self, sql: str | None, columns: Sequence[str], page: Page) -> Result:
        """Return columns of the matches, the newest first. Raises SqlError, TrailError.

        The condition sees what `sight` leaves, as everything else does.
        """
        if sql is not None:
            self.check_condition(sql)
        views = [CHOSEN, *self._asked(sql)]
        rows = CHOSEN
        if page.until is not None:
            known = f"recorded_at <= TIMESTAMPTZ {literal(page.until)} OR " if page.until else ""
            rows = f"(SELECT * FROM {CHOSEN} WHERE {known}recorded_at IS NULL)"
        chosen = ", ".join(f'"{name}"' for name in columns)
        query = f"SELECT {chosen} FROM {rows}{'' if sql is None else where(sql)}"
        query += " ORDER BY recorded_at DESC NULLS LAST, seq DESC NULLS LAST, origin"
        return self._run(lambda: f"{query} LIMIT {page.limit} OFFSET {page.skip}", views, sql or "")

    def sorted(self, sql: str | None, sort: tuple[str, bool], limit: int) -> Iterator[Hit]:
        """Yield the matches in the order of a column, the first `limit` of them; 0 is all."""
        views = self._asked(sql)
        found = self._lines(self._run(lambda: self._sorted(sql, sort, limit), views).rows)
        try:
            first = next(found, None)  # and with it the lines of many more
        except MisfitError as misfit:
            self._without_twins(misfit)
            found = self._lines(self._run(lambda: self._sorted(sql, sort, limit), views).rows)
            first = next(found, None)
        if first is not None:
            yield first
        yield from found

    def _asked(self, sql: str | None) -> Sequence[str]:
        """Return the views that a condition asks besides. Raises SqlError."""
        return VIEWS if sql is not None and self._connection.check_condition(sql) else ()

    def _sorted(self, sql: str | None, sort: tuple[str, bool], limit: int) -> str:
        every = [query for number, trail in enumerate(self._trails) for query in trail.rows_with_lines(number)]
        wanted = f"(SELECT * FROM ({' UNION ALL '.join(every)}) WHERE {condition(self._wanted)})"
        rows = f"SELECT * FROM ({logs(wanted, '_line', '_trail')}){'' if sql is None else where(sql)}"
        query = f"SELECT origin, _line, _trail, seq FROM ({rows}) ORDER BY {_order(*sort)}, recorded_at, seq"
        return query + (f" LIMIT {limit}" if limit else "") if every else f"SELECT * FROM ({no_rows()})"

    def _lines(self, rows: Iterator[tuple[Any, ...]]) -> Iterator[Hit]:
        """Yield the lines of rows; those that a twin has found are fetched from their files, many at once."""
        while some := list(itertools.islice(rows, FETCHED)):
            asked: dict[int, list[int]] = {}
            for _, text, number, seq in some:
                if text is None:
                    asked.setdefault(number, []).append(seq)
            lines = {number: self._trails[number].fetch(seqs) for number, seqs in asked.items()}
            for origin, text, number, seq in some:
                hit = _hit(lines[number][seq] if text is None else text.encode(), origin or "")
                if hit is not None:
                    yield hit

    def matches(self, sql: str | None, limit: int) -> Iterable[Hit]:
        """Return the newest `limit` matches of all trails together, or all of them, 0; oldest first.

        Nothing is given before it is certain that twins answer as the lines do, where a condition asks others besides.
        Raises SqlError, TrailError.
        """
        trails = self.trails(sql)
        try:
            if limit:
                return newest(trails, limit)
            for trail in trails:
                trail.check_lines()
        except MisfitError as misfit:
            self._without_twins(misfit)
            trails = self.trails(sql)
        return newest(trails, limit) if limit else everything(trails)

    def trails(self, sql: str | None) -> list[TrailQuery]:
        """Return each trail as something that finds lines, under a condition. Raises SqlError, TrailError."""
        views = self._asked(sql)
        self._again(lambda: self.settle(views) if views else self._check_twins())
        return [self._trail(trail, sql, asks_views=bool(views)) for trail in self._trails]

    def _trail(self, trail: Pieces, sql: str | None, *, asks_views: bool) -> TrailQuery:
        return TrailQuery(
            trail, self._wanted, sql, self._connection, self.corrupt, self._progress, asks_views=asks_views
        )


class TrailQuery:
    """One trail; see `indelible.query.search.TrailSearch`, whose methods these are."""

    def __init__(
        self, trail: Pieces, wanted: Filter, sql: str | None, connection: Connection, corrupt: Corrupt,
        progress: Callable[[int], None] = lambda _bytes: None, *, asks_views: bool = False,
    ) -> None:  # fmt: skip
        self._asks_views = asks_views
        self._progress = progress
        self._trail = trail
        self._wanted = condition(wanted)
        self._sql = sql
        self._connection = connection
        self._corrupt = corrupt

    def newest(self, limit: int) -> list[Hit]:
        """Return the newest `limit` matches, oldest first. Raises SqlError, TrailError."""
        found: deque[Hit] = deque()
        for group in reversed(self._trail.groups):
            left = limit - len(found)
            kept = deque(self._hits(group, f" ORDER BY seq DESC LIMIT {left}"), maxlen=left)
            found.extendleft(reversed(kept))
            if len(found) >= limit:
                break
        return list(found)

    def all(self) -> Iterator[Hit]:
        """Yield every match, oldest first. Raises SqlError, TrailError."""
        for group in self._trail.groups:
            yield from self._hits(group, "")

    def check_lines(self) -> None:
        """Look for each line that a twin finds, if the condition asks others besides: these are asked of twins, too.

        Raises MisfitError when one is not there; SqlError, TrailError.
        """
        for group in self._trail.groups if self._asks_views else ():
            if isinstance(group, Twins):
                for _ in group.fetch(seq for (seq,) in self._run("seq", group.rows(), "")):
                    pass

    def _hits(self, group: Group, order: str) -> Iterator[Hit]:
        yield from self._of_part(group) if isinstance(group, Part) else self._of_twins(group, order)
        self._progress(group.size)

    def _of_part(self, part: Part) -> Iterator[Hit]:
        part.settle(self._connection, self._corrupt)
        with contextlib.ExitStack() as stack:
            connection = self._connection
            if (
                part.is_anew and not self._asks_views
            ):  # lines within lines: several threads would need too much memory
                connection = stack.enter_context(connection.frugal(part.paths()))
            try:
                rows = self._run("_line", part.rows_with_lines(), "", connection)
            except FilesMovedError:
                part.take_anew(self._corrupt)
                connection = stack.enter_context(self._connection.frugal(part.paths()))
                rows = self._run("_line", part.rows_with_lines(), "", connection)
            for (text,) in rows:
                hit = _hit(text.encode(), part.origin)
                if hit is not None:
                    yield hit

    def _of_twins(self, group: Twins, order: str) -> Iterator[Hit]:
        """Yield the lines of the rows; from the first on that is not as its twin says all are read."""
        self._trail.note(group)
        last = -1
        seqs = (seq for (seq,) in self._run("seq", group.rows(), order))
        try:
            for seq, line in group.fetch(sorted(seqs) if "DESC" in order else seqs):
                hit = _hit(line, group.origin)
                if hit is not None:
                    yield hit
                last = seq
        except MisfitError as misfit:
            if self._asks_views:  # these are over the twins, too
                raise
            self._corrupt.misfit = misfit.path
            yield from self._instead(group, last)

    def _instead(self, group: Twins, last: int) -> Iterator[Hit]:
        """Yield the matches after a seq of what twins stand for, read line by line."""
        for part in self._trail.unread(group, last):
            with contextlib.closing(part), self._connection.frugal(part.paths()) as connection:
                part.settle(connection, self._corrupt)
                for (text,) in self._run("_line", part.rows_with_lines(), "", connection):
                    hit = _hit(text.encode(), part.origin)
                    if hit is not None and hit.row.seq > last:
                        yield hit

    def _run(
        self, column: str, every: str, order: str, connection: Connection | None = None
    ) -> Iterator[tuple[Any, ...]]:
        more = () if column == "seq" else (column,)
        rows = logs(f"(SELECT * FROM ({every}) WHERE {self._wanted})", *more)
        head = f"SELECT {column} FROM ({rows})"
        sql = head if self._sql is None else head + where(self._sql)
        return (connection or self._connection).run(sql + order).rows


def _hit(line: bytes, origin: str) -> Hit | None:
    row = parse_row(line)
    return None if row is None else Hit(line, row, origin)


def without(relation: str, names: Collection[str]) -> str:
    """Return a query for a relation without some of its columns."""
    unwanted = ", ".join(f'"{name}"' for name in names)
    return f"SELECT *{f' EXCLUDE ({unwanted})' if unwanted else ''} FROM {relation}"


def _shown(query: str, hidden: Collection[str]) -> str:
    return without(f"({query})", hidden) if hidden else query


def _order(column: str, descending: bool) -> str:  # noqa: FBT001 - the two parts of what was asked
    return f'"{column}" {"DESC" if descending else "ASC"} NULLS LAST'
