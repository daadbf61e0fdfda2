"""DuckDB as what asks a trail may use it: in memory, alone, and locked.

The rules that live here:

- A connection reads the files that it was given, by their descriptors, and nothing else; it writes nothing, not even
  what does not fit the memory; it loads nothing; and none of that can be changed again (``lock_configuration``).
- A query ends when its time is over, or when Ctrl-C is pressed; what was asked next finds the connection as before.
- What DuckDB raises becomes an error of ours here: one line that says what is wrong, and where in the query.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from indelible.errors import TrailError
from indelible.query.columns import view_columns
from indelible.query.engine.guard import SqlError, Tree, check_condition, check_query, place
from indelible.query.engine.relations import literal
from indelible.query.engine.starting import database, load
from indelible.query.engine.waiting import interruptible
from indelible.values import closest

SECONDS: Final = 60.0
"""A query's time unless somebody says otherwise."""

MEMORY_MB: Final = 400
"""A query's memory unless somebody says otherwise, in MB of 1,048,576 bytes; the process needs about 80 more."""

GRACE: Final = 10.0
"""Seconds after a query's time is over; by then it is interrupted, unless it is in the midst of one huge value."""

FETCHED: Final = 2_000
"""Rows that are taken over at once."""

TRY: Final = "; TRY_CAST(… AS …) gives NULL for a value that is no such"

ARROW: Final = (
    "'->' reads JSON here, and makes no function: write 'lambda x: …', as in "
    "list_transform(roles, lambda x: lower(x))"
)
"""In place of DuckDB's advice to change a setting, which nobody can here."""

_PLACE = re.compile(r"\n+LINE (\d+): (.*)\n( *)\^", re.DOTALL)
_COLUMN = re.compile(r'(?:Referenced column|Table "\w+" does not have a column named|column) "([^"]*)"')


class FilesMovedError(TrailError):
    """A file has another name than it had, or none: DuckDB asks for names, also of what it reads by a descriptor."""


class Caps(NamedTuple):
    """What one query may use."""

    seconds: float = SECONDS
    memory_mb: int = MEMORY_MB
    stuck: Callable[[float], None] | None = None
    """Called with its time when DuckDB does not end `GRACE` seconds after it was told to."""
    more_time: str = "give it more with --timeout"
    more_memory: str = "give it more with --memory"
    """What whoever asks can do when it was not enough."""
    total: bool = False
    """Whether the time is for all of its rows together; else for each batch of them, since somebody looks at it."""


class Result(NamedTuple):
    """What a query gave: its columns, and its rows, which are read while they are iterated over."""

    names: list[str]
    types: list[str]
    rows: Iterator[tuple[Any, ...]]


class Connection:
    """One database in memory; a context manager."""

    def __init__(self, paths: Sequence[str], caps: Caps, threads: int | None = None) -> None:
        """`paths` are the only files that it can read; `threads` as many as there are processors, unless it is said.

        Raises TrailError when DuckDB is not there.
        """
        self._duckdb = load()
        self._caps = caps
        self._main = database()
        self._main.execute(f"SET memory_limit = '{caps.memory_mb}MiB'")
        if threads is not None:
            self._main.execute(f"SET threads = {threads}")
        with contextlib.suppress(
            self._duckdb.Error
        ):  # built into DuckDB; without it files are looked into twice
            for statement in _REMEMBER:
                self._main.execute(statement)
        self._defined: set[str] = set()
        self._names: list[str] | None = None
        if paths:
            self._main.execute(f"SET allowed_paths = {list(paths)!r}")
        for statement in _LOCK:
            self._main.execute(statement)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._main.close()

    def _taken(self) -> list[str]:
        """The views and tables that were there before any of ours."""
        if self._names is None:
            found = self._main.execute(_TAKEN).fetchall()
            self._names = [name for (name,) in found if name not in self._defined]
        return self._names

    def keep(self, name: str, query: str) -> bool:
        """Hold the rows of a query of ours in memory, under a name; tell whether they were read, and there is room."""
        self._defined.add(name)
        statement = f"CREATE OR REPLACE TABLE {name} AS {query}"
        with self._limited(self._main):
            try:
                interruptible(self._main, lambda: self._main.execute(statement))
            except self._duckdb.InterruptException:
                raise
            except self._duckdb.Error:
                return False
        return True

    def define(self, name: str, query: str) -> None:
        """Give a query of ours a name."""
        self._defined.add(name)
        with self._translated("", ""):
            self._main.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")

    def check(self, sql: str) -> None:
        """Raise SqlError for what is not one query that only reads the views."""
        check_query(sql, self._serialize, self._taken)

    def check_condition(self, sql: str) -> bool:
        """Raise SqlError for what is not one condition on their columns; tell whether it asks the views besides."""
        return check_condition(sql, self._serialize, self._taken)

    def _serialize(self, sql: str) -> Tree:
        try:
            with self._limited(self._main):
                found = self._one("SELECT json_serialize_sql(?)", [sql])
        except self._duckdb.Error as exc:
            raise SqlError(_one_line(str(exc))) from exc
        tree: Tree = orjson.loads(found[0]) if found else {}
        return tree

    def trial(self, sql: str) -> tuple[Any, ...] | None:
        """Return the one row of a query of ours; None when it fails on what a file has in it. Raises TrailError."""
        with self._limited(self._main):
            try:
                return self._one(sql)
            except self._duckdb.InterruptException:
                raise
            except (self._duckdb.OutOfMemoryException, self._duckdb.Error):
                return None

    def _one(self, sql: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        return interruptible(self._main, lambda: self._main.execute(sql, values or None).fetchone())

    def copy(self, sql: str, path: str, group_rows: int) -> None:
        """Write what a query of ours gives as Parquet, in its order, to a path that is allowed. Raises TrailError."""
        how = f"FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, ROW_GROUP_SIZE {group_rows}"
        with self._limited(self._main), self._translated("", ""):
            statement = f"COPY ({sql}) TO {literal(path)} ({how}, USE_TMP_FILE false)"
            interruptible(self._main, lambda: self._main.execute(statement))

    def frugal(self, paths: Sequence[str]) -> Connection:
        """Return a database of its own over some of the files, without views: for what takes much memory a thread."""
        return Connection(paths, self._caps, threads=1)

    def interrupt(self) -> None:
        """End what is under way in another thread, as Ctrl-C does."""
        self._main.interrupt()

    def run(self, sql: str, said: str = "", head: str = "") -> Result:
        """Run a query that was checked. `said` is what the user wrote of it, and stands behind `head`.

        Each batch of its rows has the time anew, unless that is for all of them. What the reader takes does not count.
        Raises SqlError, TrailError; both are raised by the rows, too.
        """
        cursor = self._main.cursor()
        began = time.monotonic()
        with self._limited(cursor), self._translated(said, head):
            rows = interruptible(cursor, lambda: cursor.execute(sql).fetchmany(FETCHED))
            columns = cursor.description or []
        spent = time.monotonic() - began
        names, types = [str(column[0]) for column in columns], [str(column[1]) for column in columns]
        return Result(names, types, self._rows(cursor, rows, spent, (said, head)))

    def _rows(
        self, cursor: Any, rows: list[Any], spent: float, words: tuple[str, str]
    ) -> Iterator[tuple[Any, ...]]:
        with contextlib.closing(cursor):
            while rows:
                yield from rows
                began = time.monotonic()
                with self._limited(cursor, spent if self._caps.total else 0.0), self._translated(*words):
                    rows = interruptible(cursor, lambda: cursor.fetchmany(FETCHED))
                spent += time.monotonic() - began

    @contextlib.contextmanager
    def _limited(self, cursor: Any, spent: float = 0.0) -> Iterator[None]:
        if spent >= self._caps.seconds:
            raise TrailError(_late(self._caps))
        over, done = threading.Event(), threading.Event()

        def end() -> None:
            over.set()
            cursor.interrupt()
            if self._caps.stuck is not None and not done.wait(GRACE):
                self._caps.stuck(self._caps.seconds)

        timer = threading.Timer(self._caps.seconds - spent, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except self._duckdb.InterruptException as exc:
            if over.is_set():
                raise TrailError(_late(self._caps)) from exc
            raise KeyboardInterrupt from exc
        finally:
            done.set()
            timer.cancel()
            timer.join()  # it knows the cursor (see `waiting`)

    @contextlib.contextmanager
    def _translated(self, said: str, head: str) -> Iterator[None]:
        try:
            yield
        except self._duckdb.InterruptException:
            raise
        except self._duckdb.OutOfMemoryException as exc:
            raise TrailError(_large(self._caps)) from exc
        except self._duckdb.PermissionException as exc:
            if "/fd/" in str(exc):
                raise FilesMovedError("a file of the trail was renamed while it was asked; ask again") from exc
            raise SqlError(_explained(str(exc), said, head)) from exc
        except (self._duckdb.IOException, self._duckdb.InternalException, self._duckdb.FatalException) as exc:
            raise TrailError(_one_line(str(exc))) from exc
        except self._duckdb.Error as exc:
            hint = TRY if isinstance(exc, self._duckdb.ConversionException) else ""
            raise SqlError(_explained(str(exc), said, head) + hint) from exc


_TAKEN: Final = "SELECT view_name FROM duckdb_views() UNION SELECT table_name FROM duckdb_tables()"

_LOCK: Final = (
    "SET TimeZone = 'UTC'",
    "SET enable_progress_bar = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)

_REMEMBER: Final = ("LOAD parquet", "SET parquet_metadata_cache = true")
"""What Parquet files say of themselves is read once."""


def _late(caps: Caps) -> str:
    return f"the query took longer than {caps.seconds:g} s and was ended; ask for less, or {caps.more_time}"


def _large(caps: Caps) -> str:
    return f"the query needs more than {caps.memory_mb} MB of memory; ask for less, or {caps.more_memory}"


def _one_line(message: str) -> str:
    """Return DuckDB's message without the name of its class, its advice about itself, and the query."""
    text = (
        message.split("\n\nLINE ", maxsplit=1)[0].split("\nLINE ", maxsplit=1)[0].split("\n\n", maxsplit=1)[0]
    )
    text = re.sub(r"^(?:[A-Z][A-Za-z]* )+(?:Error|Exception): ", "", text)
    return " ".join(text.split()).rstrip(".!")


def _explained(message: str, said: str, head: str) -> str:
    """Return one line: what is wrong, where in what the user wrote, and which name may have been meant."""
    text = _one_line(message)
    at = _place_in(message, said, head)
    if "lambda_syntax" in text:
        text = ARROW
    named = _COLUMN.search(text)
    if named is None:
        return f"{text} {at}".rstrip()
    known = sorted({name for view in ("logs", "events") for name, _ in view_columns(view)})
    close = closest(named[1].lower(), known)
    if named[1].lower() in known:
        return (
            f"no column '{named[1]}' {at}".rstrip()
            + "; whoever asks does not see it, or it is not of this view"
        )
    hint = f"did you mean '{close}'?" if close else "'indelible sql --columns' lists them"
    if f'"{named[1]}"' in said:
        hint += f"{'' if close else ';'} a text stands in single quotes"
    return f"no column '{named[1]}' {at}".rstrip() + f"; {hint}"


def _place_in(message: str, said: str, head: str) -> str:
    """Return where in what the user wrote DuckDB's caret points; empty where it shows a part of it only."""
    found = _PLACE.search(message)
    if found is None or not said:
        return ""
    number, shown, spaces = int(found[1]), found[2], found[3]
    at = len(spaces) - len(f"LINE {number}: ")
    lines = (head + said).split("\n")
    if not 0 < number <= len(lines) or at < 0:
        return ""
    line = lines[number - 1]
    if shown.startswith("..."):
        start = line.find(shown[3:].removesuffix("..."))
        if start < 0 or line.find(shown[3:].removesuffix("..."), start + 1) >= 0:
            return ""
        at += start - 3
    position = sum(len(one) + 1 for one in lines[: number - 1]) + at - len(head)
    return place(said, len(said[:position].encode())) if 0 <= position <= len(said) else ""
