"""Which events that are sent again are in the trail already.

The window is bounded: all that may be on their way to a holder when it dies (`wire.REMEMBERED`). Who sends an event
again says where the trail ended when he sent it first; what may stand before the window is not written a second time.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable

from indelible.errors import TrailError, WireError
from indelible.trail.sharing import wire


class Known:
    """The newest events by their marks: those that came here, and those that were there before."""

    def __init__(self, recent: Callable[[], Iterable[str]], size: int) -> None:
        """`recent` returns those from before, of a trail of `size`; it is asked when the first event comes again."""
        self.first = max(0, size - wire.REMEMBERED)
        """All events from this seq on that came from others are known."""
        self._recent = recent
        self._earlier: frozenset[str] | None = None
        self._came: collections.deque[tuple[int, list[str]]] = collections.deque()
        """As they came together, with the size of the trail when that was noted."""
        self._count = 0
        self._marks: set[str] | None = None
        """All of them, once one was looked for: that is seldom, and a set costs each event what a list does not."""

    def add(self, marks: list[str], size: int) -> None:
        """Events are in the trail now, which has `size` lines."""
        came = self._came
        came.append((size, marks))
        self._count += len(marks)
        if self._marks is not None:
            self._marks.update(marks)
        while self._count - len(came[0][1]) >= wire.REMEMBERED:
            size, forgotten = came.popleft()
            self._count -= len(forgotten)
            self.first = max(self.first, size)
            self._marks = None

    def has(self, mark: str) -> bool:
        """Tell whether an event is in the trail. Raises WireError when that cannot be known."""
        if self._earlier is None:
            try:
                self._earlier = frozenset(self._recent())
            except (OSError, TrailError) as exc:
                msg = f"it sent an event again, and the trail cannot be read: {exc}"
                raise WireError(msg) from exc
        if self._marks is None:
            self._marks = {mark for _, marks in self._came for mark in marks}
        return mark in self._marks or mark in self._earlier
