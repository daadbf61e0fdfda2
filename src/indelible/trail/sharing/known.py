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
        self._came: collections.OrderedDict[str, int] = collections.OrderedDict()
        """With the size of the trail when that was noted."""

    def add(self, marks: Iterable[str], size: int) -> None:
        """Events are in the trail now, which has `size` lines."""
        came = self._came
        for mark in marks:
            came[mark] = size
        while len(came) > wire.REMEMBERED:
            self.first = max(self.first, came.popitem(last=False)[1])

    def has(self, mark: str) -> bool:
        """Tell whether an event is in the trail. Raises WireError when that cannot be known."""
        if self._earlier is None:
            try:
                self._earlier = frozenset(self._recent())
            except (OSError, TrailError) as exc:
                msg = f"it sent an event again, and the trail cannot be read: {exc}"
                raise WireError(msg) from exc
        return mark in self._came or mark in self._earlier
