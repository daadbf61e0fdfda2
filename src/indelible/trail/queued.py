"""Events that were accepted at `memory` durability and wait to be written.

What may not move: an event is in the queue or written, whatever a signal's handler interrupts. So the queue notes which
of its first events are written (`seqs`), in the same breath in which the writer does, and takes back with it what is
undone; who comes next goes on with the `rest`, another object, which takes its place in one step.
"""

from __future__ import annotations

from collections.abc import Sequence

from indelible.trail.commit import MAX_QUEUED, MAX_QUEUED_BYTES, Item


class Queue:
    """What waits, in order, bounded by events and by bytes. Its owner's lock covers it."""

    __slots__ = ("items", "seqs", "size")

    def __init__(self, items: Sequence[Item] = ()) -> None:
        """Start with `items`."""
        self.items = list(items)
        self.size = sum(len(item.body) for item in self.items)
        self.seqs: list[int] = []
        """Those of the first items, which are written."""

    def has_room(self, size: int) -> bool:
        """Tell whether one more event, of so many bytes, may wait."""
        return len(self.items) < MAX_QUEUED and self.size + size <= MAX_QUEUED_BYTES

    def put(self, item: Item) -> None:
        """Add an event."""
        self.size += len(item.body)
        self.items.append(item)

    def take_back(self, seq: int) -> None:
        """What was written from `seq` on is not any more."""
        if self.seqs:
            self.seqs[:] = [at for at in self.seqs if at < seq]

    def rest(self) -> Queue:
        """Return what is not written."""
        return Queue(self.items[len(self.seqs) :])
