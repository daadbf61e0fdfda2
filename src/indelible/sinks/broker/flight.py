"""Records that were handed to a client, until they count as taken. Pure.

The rules that live here. A record is handed over once: one that is under way stays so while the sink is closed and
opened again, since to send it anew would make two of it. What the client has given back is handed over again, in its
old place. While the client still has some, nobody knows which ones are there: then none counts as taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from indelible.sinks.base import NOTHING, Delivery, Shipment, delivered


class Flight:
    """Records have numbers that never come again, in the order in which they are to arrive."""

    def __init__(self) -> None:
        self._shipments: list[Shipment] = []
        self.first = 0
        """The number of the first of them."""
        self._waiting: Sequence[int] = ()
        self._refused: dict[int, str] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._shipments)

    def begin(self, shipments: Sequence[Shipment]) -> bool:
        """Add records; those that are under way come first, and are not added. False: others are under way."""
        known = min(len(self._shipments), len(shipments))
        if any(one != other for one, other in zip(self._shipments, islice(shipments, known), strict=False)):
            return False
        added = range(self.first + len(self._shipments), self.first + len(shipments))
        self._waiting = [*self._waiting, *added] if self._waiting else added
        self._shipments += shipments[known:]
        return True

    @property
    def waiting(self) -> bool:
        """Whether some are to be handed over."""
        return bool(self._waiting)

    def hand_over(self) -> tuple[Sequence[int], Sequence[Shipment]]:
        """Return the numbers of what is to be handed over, in order, and what it is; it is under way now."""
        numbers, self._waiting = self._waiting, ()
        if not numbers:
            return (), ()
        begin, end = numbers[0] - self.first, numbers[-1] + 1 - self.first
        if end - begin == len(numbers):  # nearly always
            return numbers, self._shipments[begin:end]
        return numbers, [self._shipments[number - self.first] for number in numbers]

    def size(self, number: int) -> int:
        """Return how long a record is."""
        return len(self._shipments[number - self.first].record)

    def give_back(self, numbers: Iterable[int]) -> None:
        """Have records handed over again."""
        self._waiting = sorted({*self._waiting, *numbers})

    def refuse(self, number: int, reason: str) -> None:
        """Note that a record will never be taken."""
        self._refused[number] = reason
        if number in self._waiting:
            self._waiting = [other for other in self._waiting if other != number]

    @property
    def refused(self) -> int:
        """How many of them will never be taken, as far as it is said."""
        return len(self._refused)

    def disbelieve(self) -> str:
        """Have what was refused handed over again; return the reason of the first."""
        reason = self._refused[min(self._refused)]
        self.give_back(self._refused)
        self._refused = {}
        return reason

    def take(self, most: int, *, settled: bool) -> Delivery:
        """Return what became of the first records, at most so many, and forget those.

        `settled`: the client has none any more.
        """
        if not settled:
            return NOTHING
        count = min(most, (self._waiting[0] - self.first) if self._waiting else len(self._shipments))
        last = self.first + count
        found = [(number - self.first, why) for number, why in sorted(self._refused.items()) if number < last]
        self._refused = {number: why for number, why in self._refused.items() if number >= last}
        del self._shipments[:count]
        self.first = last
        return delivered(count, found)
