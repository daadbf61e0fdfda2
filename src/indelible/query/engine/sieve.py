"""A condition in SQL on lines that come one after the other: which of them it holds for.

The rules that live here:

- What is said of a line is what `log --where` says of it when it is there: the same columns, made of the same plain
  form, by the same database. `tests/unit/query/test_sieve.py` asks both.
- A condition that asks other events besides is refused: what comes later would answer it otherwise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from indelible.query.columns import plain_line
from indelible.query.engine.asking import Asked
from indelible.query.engine.connection import Caps, Connection
from indelible.query.engine.guard import SqlError, where
from indelible.query.engine.parts import DESCRIPTORS
from indelible.query.engine.relations import Source, logs, rows_with_lines
from indelible.query.filters import Filter
from indelible.query.search import Corrupt, Hit

OTHERS: Final = (
    "it asks other events besides, which is for what is there; with --follow it is about each new event"
)


class Sieve:
    """Lets through what a condition holds for. Of one thread."""

    def __init__(self, sql: str, caps: Caps, *, with_twins: bool = True) -> None:
        """Raises SqlError for what is no condition on one event, TrailError without DuckDB."""
        self._sql = sql
        self._caps = caps
        self._with_twins = with_twins
        with Asked([], Filter(events=None), caps) as asked:
            if asked.check_condition(sql):
                raise SqlError(OTHERS)

    def stored(self, path: Path, wanted: Filter, limit: int) -> tuple[list[Hit], Corrupt]:
        """Return the newest matches that a trail has, oldest first, and what could not be read; with `limit` 0, all.

        Raises SqlError, TrailError.
        """
        with Asked([path], wanted, self._caps, with_twins=self._with_twins) as asked:
            [trail] = asked.trails(self._sql)
            return trail.newest(limit) if limit else list(trail.all()), asked.corrupt

    def passing(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return those of some lines that it holds for, in their order. Raises SqlError, TrailError."""
        passed = {origin: self._passing(hits, origin) for origin in {hit.origin for hit in hits}}
        return [hit for hit in hits if hit.line in passed[hit.origin]]

    def _passing(self, hits: Sequence[Hit], origin: str) -> set[bytes]:
        with tempfile.TemporaryFile() as file:
            for hit in hits:
                plain = plain_line(hit.line) if hit.origin == origin else None
                if plain is not None:
                    file.write(plain + b"\n")
            file.flush()
            source = Source((str(DESCRIPTORS / str(file.fileno())),))
            rows = logs(f"({rows_with_lines(source, origin, None, inside=True)})", "_line")
            head = f"SELECT _line FROM ({rows})"
            with Connection(source.paths, self._caps, threads=1) as connection:
                return {text.encode() for (text,) in connection.run(head + where(self._sql), self._sql).rows}
