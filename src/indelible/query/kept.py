"""What is kept between one question and the next, by whoever answers many: `indelible mcp`.

The rules that live here:

- **Nothing that is kept is believed for being kept.** Which files there are and which twins fit them is found out for
  each question, as if it were the first; so every line is looked for where it stands now. What is saved is what comes
  after: DuckDB is started and has looked into just these twins, the same files, unchanged; and of lines that were read
  again, and have the same bytes as before, the rows are at hand.
- It holds what lines say. When one of its twins is removed, as an erasure does, or when nobody has asked for a while,
  it is let go of at once, and not at the next question.
- One question at a time. After one that failed nothing is kept.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

from indelible.query.filters import Row, parse_row
from indelible.query.quick import SECONDS

if TYPE_CHECKING:
    from indelible.query.engine.connection import Connection
    from indelible.query.engine.twinned import Rows

IDLE_S: Final = 60.0
"""So long after a question everything is let go of."""

LINES_BYTES: Final = 8 << 20
"""Of so many bytes of lines the rows are kept, which take about twice as much again: the active file's newest, of which
there is no twin yet, are fewer."""

Place = tuple[int, int, int]
"""Device, inode and byte at which a block of lines begins."""


class Opened:
    """Twins, and DuckDB that may read them."""

    def __init__(self, twins: Sequence[Rows], connection: Connection) -> None:
        self.twins = list(twins)
        """By the descriptors that it reads them by."""
        self.connection = connection
        self.newer: dict[int, int] | None = None
        """Of twins with lines of a newer version, by their descriptors, how many; None until it was looked whether the
        twins have as many rows as their notes say."""


class Block:
    """Lines that were read, and their rows."""

    __slots__ = ("data", "rows")

    def __init__(self, data: bytes, rows: list[Row | None]) -> None:
        self.data = data
        self.rows = rows


class Kept:
    """What is kept. A question is asked within `question`; `look` is for another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._is_lent = False
        self._blocks: dict[Place, Block] = {}
        self._before: dict[Place, Block] = {}
        """Of the question before: what this one does not read again is kept no longer."""
        self._size = 0
        self._used_at = 0.0

    @contextlib.contextmanager
    def question(self) -> Iterator[Kept]:
        """Answer one question meanwhile; if it fails, begin anew with the next."""
        with self._lock:
            self._before, self._blocks, self._size = self._blocks, {}, 0
            try:
                yield self
            except BaseException:
                self._forget()
                raise
            finally:
                self._before = {}
                self._used_at = time.monotonic()

    def look(self) -> None:
        """Let go of everything if a twin is gone, or nobody has asked for long. Waits for no question."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._used_at >= IDLE_S or self._is_outdated():
                self._forget()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._forget()

    @property
    def is_open(self) -> bool:
        """Whether DuckDB is started."""
        return self._opened is not None

    def _is_outdated(self) -> bool:
        return self._opened is not None and any(os.fstat(one.fd).st_nlink == 0 for one in self._opened.twins)

    def _forget(self) -> None:
        self._blocks, self._before, self._size = {}, {}, 0
        self._release()

    # --- twins ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def opened(self, every: Sequence[Rows]) -> Iterator[Opened]:
        """Lend what has DuckDB and these twins, which were found to fit just now; when that fails, it is kept no more.

        Raises TrailError without DuckDB.
        """
        found = None if self._is_lent else self._with(every)
        if found is None:
            with opened(every) as other:
                yield other
            return
        self._is_lent = True
        try:
            yield found
        except BaseException:
            self._release()
            raise
        finally:
            self._is_lent = False

    def _with(self, every: Sequence[Rows]) -> Opened | None:
        """Return what is open, if it is these, or open them; None without descriptors to spare. Raises TrailError."""
        if self._opened is None or not _are_same(self._opened.twins, every):
            self._release()
            with contextlib.suppress(OSError):
                self._opened = _open(every)
        return self._opened

    def _release(self) -> None:
        found, self._opened = self._opened, None
        if found is not None:
            found.connection.__exit__()
            _close(found.twins)

    # --- lines ----------------------------------------------------------------------------------------------

    def rows(self, stream: BinaryIO, offset: int, lines: list[bytes], data: bytes) -> list[Row | None] | None:
        """Return the row of each line of a block, which `data` begins with; None where they are not to be kept.

        The block was read just now, from a byte of a file on.
        """
        if not isinstance(stream, io.FileIO) or self._size + len(data) > LINES_BYTES:
            return None
        about = os.fstat(stream.fileno())
        place = (about.st_dev, about.st_ino, offset)
        known = self._blocks.get(place) or self._before.get(place)
        rows = known.rows if known is not None and data.startswith(known.data) else []
        if len(rows) < len(lines):
            rows = [*rows, *map(parse_row, lines[len(rows) :])]
        self._blocks[place] = Block(data[: data.rfind(b"\n") + 1], rows)
        self._size += len(data)
        return rows


@contextlib.contextmanager
def opened(every: Sequence[Rows]) -> Iterator[Opened]:
    """Have DuckDB and these twins for a while. Raises TrailError without it."""
    with _connection(every) as connection:
        yield Opened(every, connection)


def _open(every: Sequence[Rows]) -> Opened:
    """Open DuckDB over descriptors of its own: those of a question are closed with it."""
    own: list[Rows] = []
    try:
        own.extend(one._replace(fd=os.dup(one.fd)) for one in every)
        return Opened(own, _connection(own))
    except BaseException:
        _close(own)
        raise


def _connection(every: Sequence[Rows]) -> Connection:
    from indelible.query.engine.connection import Caps, Connection

    return Connection([one.path for one in every], Caps(seconds=SECONDS))


def _close(twins: Sequence[Rows]) -> None:
    for one in twins:
        with contextlib.suppress(OSError):
            os.close(one.fd)


def _are_same(known: Sequence[Rows], every: Sequence[Rows]) -> bool:
    """Tell whether twins are the same files, of which the same is said; the latter were found as they were left."""
    return len(known) == len(every) and all(
        one.twin == other.twin and os.path.samestat(os.fstat(one.fd), os.fstat(other.fd))
        for one, other in zip(known, every, strict=True)
    )
