"""Which seqs were met, in little memory: what is dense takes none, whatever the trail's length. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

PAGE_BITS: Final = 1 << 16
"""Seqs in a page: 8 kB as long as some of them are missing."""

_RUNS = re.compile(rb"\x00+|\xff+|[^\x00\xff]", re.DOTALL)

Range = tuple[int, int]
"""The first and the last."""


class SeqSet:
    """A set of seqs."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray | None] = {}
        """None is a page in which none is missing."""
        self._counts: dict[int, int] = {}
        self.first: int | None = None
        self.last: int | None = None

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, seq: int) -> bool:
        """Add a seq; tell whether it was not there before."""
        number, bit = divmod(seq, PAGE_BITS)
        page = (
            self._pages.setdefault(number, bytearray(PAGE_BITS // 8))
            if number not in self._pages
            else self._pages[number]
        )
        if page is None or page[bit >> 3] >> (bit & 7) & 1:
            return False
        page[bit >> 3] |= 1 << (bit & 7)
        self._counts[number] = count = self._counts.get(number, 0) + 1
        if count == PAGE_BITS:
            self._pages[number] = None
        if self.first is None or seq < self.first:
            self.first = seq
        if self.last is None or seq > self.last:
            self.last = seq
        return True

    def __contains__(self, seq: int) -> bool:
        number, bit = divmod(seq, PAGE_BITS)
        page = self._pages.get(number, b"")
        return page is None or bool(page and page[bit >> 3] >> (bit & 7) & 1)

    def ranges(self) -> Iterator[Range]:
        """Yield what is there, as ranges, in order."""
        begin = end = -1
        for start, stop in self._runs():
            if start == end:
                end = stop
                continue
            if end > begin:
                yield begin, end - 1
            begin, end = start, stop
        if end > begin:
            yield begin, end - 1

    def gaps(self) -> Iterator[Range]:
        """Yield what is missing between the first and the last, as ranges, in order."""
        before: int | None = None
        for first, last in self.ranges():
            if before is not None:
                yield before + 1, first - 1
            before = last

    def _runs(self) -> Iterator[Range]:
        """Yield (first, one after the last) of runs, that may touch each other."""
        for number in sorted(self._pages):
            base, page = number * PAGE_BITS, self._pages[number]
            if page is None:
                yield base, base + PAGE_BITS
                continue
            for match in _RUNS.finditer(page):
                value, at = match[0][0], base + 8 * match.start()
                if value == 0xFF:
                    yield at, base + 8 * match.end()
                elif value:
                    yield from ((at + bit, at + bit + 1) for bit in range(8) if value >> bit & 1)
