"""What became of the records of one `send`, in order; and whether a receiver that refuses a record means that record.

The rule that lives here: a refusal that is not sure (a bare 400) may be about anything: a wrong path, a proxy, a server
that was set up wrongly. It counts as soon as the receiver takes another record after it; and where none follows, of a
receiver that has taken some before, for at most `CREDIT` records in a row. Until then the record is not settled, and is
sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from indelible.sinks.base import Delivery, delivered
from indelible.sinks.web.answers import Verdict

MAX_DOUBTS: Final = 64
"""So many records in a row are tried alone; then the receiver takes nothing, as far as anybody can tell."""

CREDIT: Final = 3
"""So many refusals in a row, with nothing taken after them, are believed of a receiver that takes records."""


class Part(NamedTuple):
    """A record as it stands in a request."""

    at: int
    """The record's place among those that are to be sent."""
    data: bytes


class DisbelievedError(Exception):
    """The receiver refuses everything: that need not be the records' fault."""


class Progress:
    """Of one `send`."""

    def __init__(
        self, count: int, unfit: Sequence[tuple[int, str]], credit: int, clean: Callable[[str], str]
    ) -> None:
        """Of `count` records those that are `unfit` are not sent; `credit` is what the `send` before left.

        `clean` takes out of a receiver's words what no message may show.
        """
        self._clean = clean
        self.credit = credit
        self._count = count
        self._refused = list(unfit)
        self._settled = 0
        self._doubtful: list[tuple[int, str]] = []

    def took(self, parts: Sequence[Part], verdict: Verdict) -> None:
        """Note what an answer says of some records. Raises DisbelievedError."""
        refused = {one.at: one for one in verdict.refused}
        for at, part in enumerate(parts[: verdict.settled]):
            if (one := refused.get(at)) is not None:
                self.refuse(part, one.reason, sure=one.sure)
                continue
            self.credit = CREDIT
            self._refused += self._doubtful
            self._doubtful.clear()
            self._settled = part.at + 1

    def refuse(self, part: Part, reason: str, *, sure: bool) -> None:
        """Note that a record is refused. Raises DisbelievedError."""
        self._settled = part.at + 1
        if sure:
            self._refused.append((part.at, self._clean(reason)))
            return
        self._doubtful.append((part.at, self._clean(reason)))
        if len(self._doubtful) >= MAX_DOUBTS:
            self._disbelieve()

    def end(self) -> Delivery:
        """Return what became of all records, now that all were sent. Raises DisbelievedError."""
        if len(self._doubtful) > self.credit:
            self._disbelieve()
        self.credit -= len(self._doubtful)
        self._refused += self._doubtful
        self._doubtful.clear()
        return delivered(self._count, sorted(self._refused))

    def delivery(self) -> Delivery:
        """Return what is settled when not all of it could be sent."""
        settled = self._doubtful[0][0] if self._doubtful else self._settled
        return delivered(settled, sorted(self._refused))

    def _disbelieve(self) -> None:
        count = len(self._doubtful)
        which = "the record" if count == 1 else f"each of {count} records"
        raise DisbelievedError(f"it refuses {which}, and takes no other: {self._doubtful[0][1]}")


def ranges(parts: Sequence[Part], lines: int, size: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield from where to where parts go into one request: at most so many, of so many bytes, or a larger one alone.

    `start` is the first of them.
    """
    total = 0
    for at, part in enumerate(parts[start:], start):
        if at > start and (at - start >= lines or total + len(part.data) > size):
            yield start, at
            start, total = at, 0
        total += len(part.data)
    if start < len(parts):
        yield start, len(parts)


def fewer(start: int, stop: int, first: int | None) -> list[tuple[int, int]]:
    """Return what to send instead of parts that were refused together, the last of it first.

    `first` is which of them is refused, where the receiver says that: then it is sent alone, and what is before it.
    """
    if first is not None and 0 <= first < stop - start:
        bad = start + first
        cuts = [(start, bad), (bad, bad + 1), (bad + 1, stop)]
    else:
        middle = (start + stop) // 2
        cuts = [(start, middle), (middle, stop)]
    return [(one, other) for one, other in reversed(cuts) if one < other]
