"""How much waits for a sink that takes batches: told without keeping any of it.

What waits is read once, as it comes, and let go; it is read again when it is sent, so that what was erased meanwhile is
not shipped (see `lane`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from indelible.shipper.batch import BATCH_BYTES, BATCH_EVENTS
from indelible.shipper.feed import Feed

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.shipper.route import Sealed


class Gauge:
    """Measures one trail from one place on. Of one thread."""

    def __init__(self) -> None:
        self._feed: Feed | None = None
        self._of: tuple[Path, str, int] | None = None
        """The trail's file and origin, and the seq from which on was measured."""
        self._next = 0
        self._bytes = 0

    def close(self) -> None:
        """Let go of the file; what waits is measured anew."""
        if self._feed is not None:
            self._feed.close()
        self._feed = self._of = None

    def is_full(self, trail: Sealed, first: int, lines: int, size: int) -> bool:
        """Tell whether so many lines, or bytes, wait from a seq on; or a gap, of which somebody is to know.

        Raises OSError.
        """
        feed = self._begin(trail, first)
        while self._next < trail.size and self._next - first < lines and self._bytes < size:
            piece = feed.read(self._next, trail.size, BATCH_EVENTS, BATCH_BYTES)
            if piece.gaps:
                return True
            if piece.next == self._next:
                return False
            self._next = piece.next
            self._bytes += sum(len(line) for _, line in piece.lines)
        return self._next - first >= lines or self._bytes >= size

    def _begin(self, trail: Sealed, first: int) -> Feed:
        of = (trail.layout.active, trail.origin, first)
        if self._feed is None or self._of is None or self._of[:2] != of[:2]:
            self.close()
            self._feed = Feed(trail.layout)
        if self._of != of:
            self._of, self._next, self._bytes = of, first, 0
        return self._feed
