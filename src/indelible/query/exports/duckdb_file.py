"""A DuckDB file with the tables `logs` and `events`, and Parquet: both made by DuckDB, from rows that Python has read.

The rules that live here:

- What a column says is what `indelible.query.columns` says of it: DuckDB gets each value in its type, by a file of JSON
  in between whose columns are declared, and guesses nothing. A value that it would not take ends the export.
- A batch is in that file, and then in the table: neither memory nor disk holds all of them twice.
- The connection is ours alone, and nothing that a user wrote is run on it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from indelible.errors import ConfigError, TrailError
from indelible.events import MAX_LINE_BYTES
from indelible.query.columns import COLUMNS, view_columns
from indelible.query.engine.relations import literal, logs
from indelible.query.engine.starting import MISSING, load
from indelible.query.engine.waiting import interruptible
from indelible.query.exports.writers import CALL, FileWriter, Row
from indelible.trail.durable import Access, create_file, write_all

if TYPE_CHECKING:
    import duckdb

MEMORY_MB: Final = 192
"""What DuckDB may use while it writes, in MB of 1,048,576 bytes."""

STAGED_BYTES: Final = 32 << 20
"""So much lies in the file in between before the table takes it."""

MAX_OBJECT: Final = 8 * MAX_LINE_BYTES
"""Bytes of a row there: what was escaped in a line is escaped once more, and names are longer."""

STORAGE: Final = "v1.0.0"
"""The DuckDB from which on the file can be opened."""

_STAGED_TYPES: Final = {"JSON": "VARCHAR", "TIMESTAMPTZ": "VARCHAR"}


class DuckdbWriter(FileWriter):
    """What writes by DuckDB: a database in the room, and rows on their way into it."""

    option = "--export-duckdb"
    database = "export"
    """The name of the database in the room."""

    def begin(self) -> None:
        """See `Writer`."""
        duckdb = load_for(self.option)
        if "?" in str(
            self.target.path
        ):  # it takes what follows for parameters, and writes its journal elsewhere
            raise ConfigError(
                f"{self.option}: {self.target.said}: DuckDB writes to no path with a question mark"
            )
        self._error: type[Exception] = duckdb.Error
        super().begin()
        self._staging = create_file(self.room.directory / "rows", Access())
        self._open.callback(os.close, self._staging)
        self._staged_bytes = 0
        with self.translated():
            self.connection = self._connected(duckdb)
            self.make_tables()

    def _connected(self, module: Any) -> duckdb.DuckDBPyConnection:
        config = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{MEMORY_MB}MiB",
            "temp_directory": self.room.spelled("spilt"),
            "storage_compatibility_version": STORAGE,
        }
        connection: duckdb.DuckDBPyConnection = module.connect(self.room.spelled(self.database), config=config)
        self._open.callback(connection.close)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "SET enable_progress_bar = false"
        )  # it goes to standard output, and ours is of all of it
        return connection

    def write(self, rows: list[Row]) -> None:
        """See `Writer`."""
        data = b"".join(map(staged, rows))
        write_all(self._staging, data)
        self._staged_bytes += len(data)
        if self._staged_bytes >= STAGED_BYTES:
            self.take()

    def take(self) -> None:
        """Put what is staged into the tables."""
        if self._staged_bytes:
            self.fill(_staged_rows(self.room.spelled("rows")))
            os.ftruncate(self._staging, 0)
            self._staged_bytes = 0

    def do(self, statement: str) -> None:
        """Have DuckDB do something of ours; Ctrl-C ends it."""
        interruptible(self.connection, lambda: self.connection.execute(statement))

    def make_tables(self) -> None:
        """Make the tables."""
        raise NotImplementedError

    def fill(self, rows: str) -> None:
        """Put the rows of a relation, with the columns of `events`, into the tables."""
        raise NotImplementedError

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """See `Writer`."""
        with super().translated():
            try:
                yield
            except TrailError:
                raise
            except Exception as exc:
                if not isinstance(exc, getattr(self, "_error", ())):
                    raise
                why = " ".join(str(exc).split("\n\n", maxsplit=1)[0].split())
                raise TrailError(f"{self.target.said}: cannot be written: {why}") from exc


class DuckdbFile(DuckdbWriter):
    """A database: `events` with every row, `logs` with the calls of them."""

    journals = (".wal",)

    def begin(self) -> None:
        """See `Writer`."""
        self._calls = 0
        super().begin()

    def make_tables(self) -> None:
        """See `DuckdbWriter`."""
        for view in ("logs", "events"):
            self.do(_create(view))

    def takes(self, row: Row, *, listed: bool) -> bool:
        """See `Writer`."""
        self._calls += row["event_type"] == CALL
        return True

    def fill(self, rows: str) -> None:
        """See `DuckdbWriter`."""
        self.do(f"INSERT INTO events {rows}")

    def end(self) -> None:
        """See `Writer`."""
        self.take()
        calls = f"{logs('events')} WHERE event_type = {literal(CALL)}"
        self.do(f"INSERT INTO logs {calls}")
        self.do("CHECKPOINT")
        self.connection.close()
        self.room.settle()

    def summary(self) -> str:
        """See `Writer`."""
        calls, events = self._calls, self.written
        return f"{calls} call{'s' * (calls != 1)} in logs, {events} event{'s' * (events != 1)} in events"


class ParquetFile(DuckdbWriter):
    """A Parquet file with the columns of `logs`."""

    option = "--export-parquet"
    database = "staged"

    def make_tables(self) -> None:
        """See `DuckdbWriter`."""
        self.do(_create("logs"))

    def fill(self, rows: str) -> None:
        """See `DuckdbWriter`."""
        self.do(f"INSERT INTO logs {logs(f'({rows})')}")

    def end(self) -> None:
        """See `Writer`."""
        self.take()
        path = literal(self.room.spelled("export"))
        self.do(f"COPY (FROM logs) TO {path} (FORMAT parquet, COMPRESSION zstd)")
        self.connection.close()
        self.room.settle()


def load_for(option: str) -> Any:
    """Import DuckDB for an option. Raises TrailError when it is not there."""
    try:
        return load()
    except TrailError as exc:
        if isinstance(exc.__cause__, ModuleNotFoundError):
            raise TrailError(f"{option} {MISSING}") from exc
        raise


def staged(row: Row) -> bytes:
    """Return the line of a row in the file in between; what is not known is left out."""
    known = {name: value for name, value in row.items() if value is not None}
    return orjson.dumps(known, option=orjson.OPT_APPEND_NEWLINE)


def _create(view: Any) -> str:
    columns = ", ".join(f'"{name}" {type_}' for name, type_ in view_columns(view))
    return f"CREATE TABLE {view} ({columns})"


def _staged_rows(path: str) -> str:
    """Return a relation of the columns of `events` for what is in the file."""
    types = ", ".join(
        f'"{one.name}": {literal(_STAGED_TYPES.get(one.sql_type, one.sql_type))}' for one in COLUMNS
    )
    how = f"format='newline_delimited', maximum_object_size={MAX_OBJECT}"
    fields = ", ".join(f'CAST("{one.name}" AS {one.sql_type}) AS "{one.name}"' for one in COLUMNS)
    return f"SELECT {fields} FROM read_json({literal(path)}, {how}, columns={{{types}}})"
