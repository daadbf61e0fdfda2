"""An SQLite file with the table `audit_log` (see `audit_log` for what stands in it)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from indelible.errors import TrailError
from indelible.query.exports import audit_log
from indelible.query.exports.writers import CALL, FileWriter, Row
from indelible.trail.durable import Access, close, create_file

STRICT_SINCE: Final = (3, 37, 0)
"""The SQLite that knows tables whose columns keep to their types."""

_PRAGMAS: Final = (
    "PRAGMA journal_mode = OFF",  # the file has no name until it is whole, and is synced then
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA encoding = 'UTF-8'",
)


class SqliteFile(FileWriter):
    """Calls only: other events are none of its rows."""

    journals = ("-wal", "-shm", "-journal")

    def begin(self) -> None:
        """See `Writer`."""
        super().begin()
        close(create_file(self.room.file, Access()))
        self._connection = sqlite3.connect(self.room.file, isolation_level=None)
        self._open.callback(self._connection.close)
        for statement in (*_PRAGMAS, "BEGIN"):
            self._connection.execute(statement)
        self._connection.execute(audit_log.create_table(strict=sqlite3.sqlite_version_info >= STRICT_SINCE))

    def takes(self, row: Row, *, listed: bool) -> bool:
        """See `Writer`."""
        if listed and row["event_type"] != CALL:
            self.passed_over += 1
        return listed and row["event_type"] == CALL

    def write(self, rows: list[Row]) -> None:
        """See `Writer`."""
        self._connection.executemany(audit_log.insert(), map(audit_log.values_of, rows))

    def end(self) -> None:
        """See `Writer`."""
        for statement in (*audit_log.create_indexes(), "COMMIT"):
            self._connection.execute(statement)
        self._connection.close()
        self.room.settle()

    def summary(self) -> str:
        """See `Writer`."""
        return f"{self.written} call{'s' * (self.written != 1)}"

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """See `Writer`."""
        with super().translated():
            try:
                yield
            except sqlite3.Error as exc:
                raise TrailError(f"{self.target.said}: cannot be written: {exc}") from exc
