"""Records in an order that they did not come in, however many there are.

The rules that live here:

- Of one trail they are handed out by seq, those with the same seq in the order in which they came.
- No more than `HELD_BYTES` of them are held in memory: what is beyond is sorted into runs in a file that has no name,
  of which nothing is left behind, whatever ends the process, and the runs are merged when they are read.
"""

from __future__ import annotations

import heapq
import os
import struct
import tempfile
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

HELD_BYTES: Final = 64 << 20
ITEM_BYTES: Final = 200
"""What an item takes beside its record, about."""
READ_BYTES: Final = 1 << 16
MAX_GROUPS: Final = 256
"""Trails that are kept apart; of more, which nobody has, the rest is one group."""

_HEAD = struct.Struct("<IQQI")


class Item(NamedTuple):
    """One record: which trail (a number), its seq, when it came, and itself."""

    trail: int
    seq: int
    order: int
    record: bytes


class _Run(NamedTuple):
    """Sorted items of one group in the file."""

    start: int
    end: int


class Spool:
    """Takes records, and hands them out by group."""

    def __init__(self, held_bytes: int = HELD_BYTES) -> None:
        self._limit = held_bytes
        self._held: list[Item] = []
        self._size = 0
        self._count = 0
        self._file: IO[bytes] | None = None
        self._runs: dict[int, list[_Run]] = {}

    def add(self, trail: int, seq: int, record: bytes) -> None:
        """Take one. Raises OSError when there is no room on the disk for what memory is not for."""
        self._held.append(Item(trail, seq, self._count, record))
        self._count += 1
        self._size += len(record) + ITEM_BYTES
        if self._size > self._limit:
            self._write_out()

    def groups(self) -> list[Iterator[Item]]:
        """Return the records of each group, sorted."""
        self._held.sort()
        groups = sorted({*self._runs, *(min(item.trail, MAX_GROUPS) for item in self._held)})
        return [
            heapq.merge(
                *map(self._read, self._runs.get(group, ())),
                [item for item in self._held if min(item.trail, MAX_GROUPS) == group],
            )
            for group in groups
        ]

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _write_out(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="indelible-")  # noqa: SIM115 - as long as this lives
        file = self._file
        self._held.sort()
        at, group = file.seek(0, os.SEEK_END), -1
        for item in self._held:
            if min(item.trail, MAX_GROUPS) != group:
                self._end_run(group, at, file.tell())
                at, group = file.tell(), min(item.trail, MAX_GROUPS)
            file.write(_HEAD.pack(item.trail, item.seq, item.order, len(item.record)))
            file.write(item.record)
        file.flush()
        self._end_run(group, at, file.tell())
        self._held, self._size = [], 0

    def _end_run(self, group: int, start: int, end: int) -> None:
        if end > start:
            self._runs.setdefault(group, []).append(_Run(start, end))

    def _read(self, run: _Run) -> Iterator[Item]:
        fd, at, data = -1 if self._file is None else self._file.fileno(), run.start, b""
        while True:
            while len(data) >= _HEAD.size:
                trail, seq, order, size = _HEAD.unpack_from(data)
                end = _HEAD.size + size
                if len(data) < end:
                    break
                yield Item(trail, seq, order, data[_HEAD.size : end])
                data = data[end:]
            if at >= run.end:
                return
            more = os.pread(fd, min(READ_BYTES, run.end - at), at)
            at += len(more)
            data += more
