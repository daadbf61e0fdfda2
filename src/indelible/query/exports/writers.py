"""What every export is to the pass that feeds it: it takes the rows of `events`, and is whole when it has finished.

The rules that live here:

- Nothing holds more than a batch of rows. A row is given once, and is in every export that asks for it.
- What a library raises becomes one line that says which file could not be written, and why.
- No export changes what was there before `publish`; of several, all are whole before the first gets its name.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

from indelible.errors import TrailError
from indelible.query.exports.place import Target, Workroom

BATCH: Final = 1_000
"""Rows; about half a megabyte of lines, and never more than 64 MB of them."""

CALL: Final = "mcp_operation"

Row = Mapping[str, Any]


class Writer(ABC):
    """One export, from its first row to its name; a context manager that leaves nothing unless it was published."""

    def __init__(self, target: Target) -> None:
        """Raises ConfigError when something is in the way, TrailError when it cannot be written."""
        self.target = target
        self.written = 0
        """Rows."""
        self.passed_over = 0
        """Events that were asked for and for which it has no place."""
        self._waiting: list[Row] = []
        self._open = contextlib.ExitStack()
        with self.translated(), self._open:
            self.begin()
            self._open = self._open.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, row: Row, *, listed: bool) -> None:
        """Take a row of `events`; `listed`, whether the filters ask for it. Raises TrailError."""
        if not self.takes(row, listed=listed):
            return
        self._waiting.append(row)
        if len(self._waiting) >= BATCH:
            self.flush()

    def takes(self, row: Row, *, listed: bool) -> bool:
        """Tell whether it has a place for a row."""
        return listed

    def flush(self) -> None:
        """Write what was taken. Raises TrailError."""
        with self.translated():
            self.write(self._waiting)
            self.written += len(self._waiting)
            self._waiting = []

    def finish(self) -> None:
        """Write the rest, and bring all of it to the disk. Raises TrailError."""
        self.flush()
        with self.translated():
            self.end()

    def publish(self) -> None:
        """Give it its name. Raises TrailError."""
        with self.translated():
            self.name()

    def summary(self) -> str:
        """Return what is in it, in a few words."""
        return f"{self.written} event{'s' * (self.written != 1)}"

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what goes wrong with the file into a TrailError that names it."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise TrailError(f"{self.target.said}: cannot be written: {exc.strerror or exc}") from exc

    @abstractmethod
    def begin(self) -> None:
        """Open what is written to; what has to be closed goes onto `self._open`."""

    @abstractmethod
    def write(self, rows: list[Row]) -> None:
        """Write rows."""

    @abstractmethod
    def end(self) -> None:
        """Make it whole."""

    @abstractmethod
    def name(self) -> None:
        """Give it its name."""


class FileWriter(Writer):
    """An export that is a file, made in a room of its own."""

    journals: tuple[str, ...] = ()
    """See `Workroom.publish`."""

    room: Workroom

    def begin(self) -> None:
        """See `Writer`."""
        self.room = self._open.enter_context(Workroom(self.target))

    def name(self) -> None:
        """See `Writer`."""
        self.room.publish(self.journals)
