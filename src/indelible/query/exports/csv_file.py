"""CSV as RFC 4180 has it: a header, the columns of `logs`, CRLF, UTF-8; see `cells` for what a cell may not be."""

from __future__ import annotations

import csv
import io
import os
import sys
from typing import Final

from indelible.query.columns import log_of, view_columns
from indelible.query.exports.cells import CELLS, Cell
from indelible.query.exports.place import STDOUT, Target
from indelible.query.exports.writers import FileWriter, Row, Writer
from indelible.trail.durable import Access, create_file, write_all

COLUMNS: Final = view_columns("logs")

_CELLS: Final = {name: CELLS[type_] for name, type_ in COLUMNS}


def cells_of(row: Row) -> list[Cell]:
    """Return the cells of a row of `events`; what is not known is an empty one."""
    return [None if value is None else _CELLS[name](value) for name, value in log_of(row).items()]


class _Lines:
    """Makes the bytes of rows."""

    def __init__(self) -> None:
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")

    def header(self) -> bytes:
        self._writer.writerow([name for name, _ in COLUMNS])
        return self._taken()

    def rows(self, rows: list[Row]) -> bytes:
        self._writer.writerows(map(cells_of, rows))
        return self._taken()

    def _taken(self) -> bytes:
        data = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return data


class _CsvWriter(Writer):
    """Writes to a descriptor, whatever that is of."""

    def _begin_at(self, fd: int) -> None:
        self._fd = fd
        self._lines = _Lines()
        write_all(fd, self._lines.header())

    def write(self, rows: list[Row]) -> None:
        """See `Writer`."""
        write_all(self._fd, self._lines.rows(rows))


class CsvFile(_CsvWriter, FileWriter):
    """A file."""

    def begin(self) -> None:
        """See `Writer`."""
        super().begin()
        fd = create_file(self.room.file, Access())
        self._open.callback(os.close, fd)
        self._begin_at(fd)

    def end(self) -> None:
        """See `Writer`."""
        self.room.settle()


class CsvStream(_CsvWriter):
    """A pipe, a device, or standard output: what was written cannot be taken back."""

    def begin(self) -> None:
        """See `Writer`."""
        sys.stdout.flush()
        if str(self.target.path) == STDOUT:
            self._begin_at(sys.stdout.fileno())
            return
        fd = os.open(self.target.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
        self._open.callback(os.close, fd)
        self._begin_at(fd)

    def end(self) -> None:
        """See `Writer`: there is nothing to be done."""

    def name(self) -> None:
        """See `Writer`: there is nothing to be named."""


def csv_writer(target: Target) -> Writer:
    """Return the writer for a target."""
    return CsvStream(target) if target.is_stream else CsvFile(target)
