"""Asking trails with SQL: their files, the views over them, and queries on these.

`TrailQuery` finds the lines of one trail, as `indelible.query.search.TrailSearch` does, under a condition besides.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from indelible.query.engine.connection import Caps, Connection, Result
from indelible.query.engine.guard import where
from indelible.query.engine.parts import Part
from indelible.query.engine.relations import RECEIVED, condition, logs, no_rows
from indelible.query.filters import Filter, parse_row
from indelible.query.search import Corrupt, Hit, TrailSearch

ALL: Final = Filter(events=None)

CALLS: Final = Filter()


class Asked:
    """Trails at one moment, to be asked with SQL; a context manager."""

    def __init__(self, paths: Sequence[Path], wanted: Filter, caps: Caps | None = None) -> None:
        """`wanted` are the filters that hold for everything. Raises TrailError: no trail, no DuckDB."""
        self.corrupt = Corrupt()
        self._wanted = wanted
        self._stack = contextlib.ExitStack()
        with self._stack:
            searches = [self._stack.enter_context(TrailSearch(path, wanted, self.corrupt)) for path in paths]
            self._parts = [self._open(search) for search in searches]
            allowed = [path for part in self._every_part() for path in part.paths()]
            self._connection = self._stack.enter_context(Connection(allowed, caps or Caps()))
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *args: object) -> None:
        self._stack.close()

    def _open(self, search: TrailSearch) -> list[Part]:
        """Open the files of a trail that what is wanted may be in, oldest first."""
        first, _ = search.start()
        parts = []
        for order in range(first, len(search.files)):
            file = search.files[order]
            try:
                part = Part(search, order, file, search.end(order))
            except FileNotFoundError:  # deleted by the writer's retention since the files were listed
                continue
            self._stack.callback(part.close)
            parts.append(part)
        return parts

    def _every_part(self) -> list[Part]:
        return [part for parts in self._parts for part in parts]

    # --- queries ------------------------------------------------------------------------------------------

    def check_condition(self, sql: str) -> None:
        """Raise SqlError for what is not one condition on the columns of `logs`."""
        self._connection.check_condition(sql)
        head = "SELECT 1 FROM _chosen"
        self._define(no_rows())
        for _ in self._connection.run(head + where(sql), sql, head + where("").removesuffix("\n)")).rows:
            pass

    def query(self, sql: str) -> Result:
        """Return what a query on the views `events` and `logs` gives. Raises SqlError, TrailError."""
        self._connection.check(sql)
        self.settle()
        return self._connection.run(sql, sql)

    def settle(self) -> None:
        """Look through every file, and put the views over them, once. Raises TrailError."""
        for part in self._every_part():
            part.settle(self._connection, self.corrupt)
        every = [part.rows() for part in self._every_part()]
        self._define(" UNION ALL ".join(every) or no_rows())

    def _define(self, everything: str) -> None:
        wanted = condition(self._wanted)
        self._connection.define("_every", everything)
        self._connection.define("_wanted", f"SELECT * FROM _every WHERE {wanted}")
        self._connection.define("events", f"SELECT * EXCLUDE ({RECEIVED}) FROM _wanted")
        self._connection.define("logs", logs(f"(SELECT * FROM _wanted WHERE {condition(CALLS)})"))
        self._connection.define("_chosen", logs("_wanted"))

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
        if sql is not None:
            self._connection.check_condition(sql)
        self.settle()
        summed = f"sum_{sum_of}"
        chosen = [*(f'"{name}"' for name in group_by), "count(*) AS count"]
        chosen += [] if sum_of is None else [f'sum("{sum_of}") AS "{summed}"']
        query = f"SELECT {', '.join(chosen)} FROM _chosen{'' if sql is None else where(sql)}"
        if group_by:
            first = sort or (("count", True) if sum_of is None else (summed, True))
            order = [_order(*first), *(f'"{name}"' for name in group_by)]
            query += f" GROUP BY {', '.join(chosen[: len(group_by)])} ORDER BY {', '.join(order)}"
            query += f" LIMIT {limit}" if limit else ""
        return self._connection.run(query)

    def sorted(self, sql: str | None, sort: tuple[str, bool], limit: int) -> Iterator[Hit]:
        """Yield the matches in the order of a column, the first `limit` of them; 0 is all."""
        if sql is not None:
            self._connection.check_condition(sql)
        self.settle()
        every = [part.rows_with_lines() for part in self._every_part()]
        wanted = f"(SELECT * FROM ({' UNION ALL '.join(every)}) WHERE {condition(self._wanted)})"
        rows = f"SELECT * FROM ({logs(wanted, '_line')}){'' if sql is None else where(sql)}"
        query = f"SELECT origin, _line FROM ({rows}) ORDER BY {_order(*sort)}, recorded_at, seq"
        found = self._connection.run(query + (f" LIMIT {limit}" if limit else "")).rows if every else ()
        for origin, text in found:
            hit = _hit(text, origin or "")
            if hit is not None:
                yield hit

    def trails(self, sql: str | None) -> list[TrailQuery]:
        """Return each trail as something that finds lines, under a condition. Raises SqlError, TrailError."""
        if sql is not None and self._connection.check_condition(sql):
            self.settle()
        return [TrailQuery(parts, self._wanted, sql, self._connection, self.corrupt) for parts in self._parts]


class TrailQuery:
    """One trail; see `indelible.query.search.TrailSearch`, whose methods these are."""

    def __init__(
        self, parts: list[Part], wanted: Filter, sql: str | None, connection: Connection, corrupt: Corrupt
    ) -> None:
        self._parts = parts
        self._wanted = condition(wanted)
        self._sql = sql
        self._connection = connection
        self._corrupt = corrupt

    def newest(self, limit: int) -> list[Hit]:
        """Return the newest `limit` matches, oldest first. Raises SqlError, TrailError."""
        found: deque[Hit] = deque()
        for part in reversed(self._parts):
            kept = deque(self._hits(part), maxlen=limit - len(found))
            found.extendleft(reversed(kept))
            if len(found) >= limit:
                break
        return list(found)

    def all(self) -> Iterator[Hit]:
        """Yield every match, oldest first. Raises SqlError, TrailError."""
        for part in self._parts:
            yield from self._hits(part)

    def _hits(self, part: Part) -> Iterator[Hit]:
        part.settle(self._connection, self._corrupt)
        rows = logs(f"(SELECT * FROM ({part.rows_with_lines()}) WHERE {self._wanted})", "_line")
        head = f"SELECT _line FROM ({rows})"
        sql = head if self._sql is None else head + where(self._sql)
        for (text,) in self._connection.run(sql).rows:
            hit = _hit(text, part.origin)
            if hit is not None:
                yield hit


def _hit(text: str, origin: str) -> Hit | None:
    line = text.encode()
    row = parse_row(line)
    return None if row is None else Hit(line, row, origin)


def _order(column: str, descending: bool) -> str:  # noqa: FBT001 - the two parts of what was asked
    return f'"{column}" {"DESC" if descending else "ASC"} NULLS LAST'
