"""Events of one event loop on their way to the disk.

Whatever comes during one sync goes with the next, in one hand-over: a hand-over to the committer's thread and back
costs as much as a hundred appends; one per event would be most of the price of recording from asyncio.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from indelible.errors import NotInTime, TrailUnavailable
from indelible.trail.commit import Partly, id_of

if TYPE_CHECKING:
    from indelible.trail.commit import Item
    from indelible.trail.sharing.shared import SharedWriter


_batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakKeyDictionary[SharedWriter, Batcher]] = (
    WeakKeyDictionary()
)


class _Batch:
    """Events that were handed over together."""

    __slots__ = ("futures", "items", "late")

    def __init__(self, items: list[Item], futures: list[asyncio.Future[None]]) -> None:
        self.items = items
        self.futures = futures
        self.late = False
        """Whoever waited for them was told that they are not in time."""


class Batcher:
    """Collects the events of one loop for one writer. Used on the loop's thread only."""

    def __init__(self, writer: SharedWriter, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._loop = loop
        self._items: list[Item] = []
        self._futures: list[asyncio.Future[None]] = []
        self._busy = False
        self.hung = False
        """What was handed over took too long, and has not been answered since."""
        self._under_way: _Batch
        self._timer: asyncio.TimerHandle

    @classmethod
    def of(cls, writer: SharedWriter) -> Batcher:
        """Return the running loop's own for a writer."""
        loop = asyncio.get_running_loop()
        own = _batchers.get(
            loop
        )  # no `setdefault`: making what is seldom wanted took a tenth of an event's time
        if own is None:
            own = _batchers[loop] = WeakKeyDictionary()
        batcher = own.get(writer)
        if batcher is None:
            batcher = own[writer] = cls(writer, loop)
        return batcher

    def add(self, item: Item) -> asyncio.Future[None]:
        """Return a future that is done when the event is on the disk, or fails with TrailUnavailable, in time."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self.hung:
            future.set_exception(self._writer.too_late())
            return future
        self._items.append(item)
        self._futures.append(future)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        batch = self._under_way = _Batch(self._items, self._futures)
        self._items, self._futures = [], []
        self._timer = self._loop.call_later(self._writer.audit.write_timeout, self._give_up)

        def done(safe: int, error: TrailUnavailable | None) -> None:
            try:
                self._loop.call_soon_threadsafe(self._deliver, batch, safe, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        try:
            self._writer.submit(batch.items, done)
        except TrailUnavailable as exc:
            self._deliver(batch, 0, exc)

    def _give_up(self) -> None:
        """It takes too long: let nobody wait any longer, and nobody begin to, until the answer comes."""
        self.hung = True
        error = self._writer.too_late()
        for future in self._under_way.futures:
            _fail(future, NotInTime(str(error)))
        self._under_way.late = True
        for future in self._futures:
            _fail(future, TrailUnavailable(str(error)))
        self._items, self._futures = [], []

    def _deliver(self, batch: _Batch, safe: int, error: TrailUnavailable | None) -> None:
        self._timer.cancel()
        self.hung = False
        for index, (item, future) in enumerate(zip(batch.items, batch.futures, strict=True)):
            own = error if index >= safe else None
            if isinstance(own, Partly):
                own = own.errors.get(index)
            if batch.late:
                if not isinstance(own, NotInTime) and not future.cancelled():  # else not known yet, or nobody's
                    self._writer.came_late(id_of(item.body), own is None)
            elif own is not None:
                _fail(future, type(own)(str(own)))
            elif not future.done():  # else its task was cancelled; the event is in the trail all the same
                future.set_result(None)
        if self._items:
            self._hand_over()
        else:
            self._busy = False


def _fail(future: asyncio.Future[None], error: TrailUnavailable) -> None:
    if not future.done():
        future.set_exception(error)
