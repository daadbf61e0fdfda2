"""Events of one event loop on their way to the disk.

Whatever comes during one sync goes with the next, in one hand-over: a hand-over to the committer's thread and back
costs as much as a hundred appends; one per event would be most of the price of recording from asyncio.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from indelible.errors import NotInTime, TrailUnavailable
from indelible.trail.commit import Partly, id_of

if TYPE_CHECKING:
    from indelible.trail.commit import Item
    from indelible.trail.sharing.shared import SharedWriter


class _Batch:
    """Events that were handed over together."""

    __slots__ = ("futures", "items", "late", "timer")

    def __init__(
        self, items: list[Item], futures: list[asyncio.Future[None]], timer: asyncio.TimerHandle
    ) -> None:
        self.items = items
        self.futures = futures
        self.timer = timer
        self.late = False
        """Whoever waited for them was told that they are not in time."""


class Batchers:
    """A writer's batchers, one for each event loop that records through it."""

    def __init__(self, writer: SharedWriter) -> None:
        self._writer = writer
        self._all: WeakKeyDictionary[asyncio.AbstractEventLoop, Batcher] = WeakKeyDictionary()
        self._latest: tuple[ref[asyncio.AbstractEventLoop], Batcher] | None = None

    def here(self) -> Batcher:
        """Return the running loop's own."""
        loop, latest = asyncio.get_running_loop(), self._latest
        if latest is not None and latest[0]() is loop:  # to look it up takes ten times as long
            return latest[1]
        batcher = self._all.get(loop)
        if batcher is None:
            batcher = self._all[loop] = Batcher(self._writer, loop)
        self._latest = ref(loop), batcher
        return batcher


class Batcher:
    """Collects the events of one loop for one writer. Used on the loop's thread only."""

    def __init__(self, writer: SharedWriter, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._loop = ref(loop)  # who keeps this must not keep a loop that is closed
        self._items: list[Item] = []
        self._futures: list[asyncio.Future[None]] = []
        self._busy = False
        self.hung = False
        """What was handed over took too long, and has not been answered since."""
        self._under_way: _Batch | None = None

    def add(self, item: Item) -> asyncio.Future[None]:
        """Return a future that is done when the event is on the disk, or fails with TrailUnavailable, in time."""
        loop = self._here()
        future: asyncio.Future[None] = loop.create_future()
        if self.hung:
            future.set_exception(self._writer.too_late())
            return future
        self._items.append(item)
        self._futures.append(future)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._hand_over)
        return future

    def _here(self) -> asyncio.AbstractEventLoop:
        loop = self._loop()
        assert loop is not None  # noqa: S101 - it runs
        return loop

    def _hand_over(self) -> None:
        loop = self._here()
        timer = loop.call_later(self._writer.audit.write_timeout, self._give_up)
        batch = self._under_way = _Batch(self._items, self._futures, timer)
        self._items, self._futures = [], []

        def done(safe: int, error: TrailUnavailable | None) -> None:
            try:
                loop.call_soon_threadsafe(self._deliver, batch, safe, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._under_way = None

        try:
            self._writer.submit(batch.items, done)
        except TrailUnavailable as exc:
            self._deliver(batch, 0, exc)

    def _give_up(self) -> None:
        """It takes too long: let nobody wait any longer, and nobody begin to, until the answer comes."""
        self.hung = True
        error = self._writer.too_late()
        if self._under_way is not None:
            for future in self._under_way.futures:
                _fail(future, NotInTime(str(error)))
            self._under_way.late = True
        for future in self._futures:
            _fail(future, TrailUnavailable(str(error)))
        self._items, self._futures = [], []

    def _deliver(self, batch: _Batch, safe: int, error: TrailUnavailable | None) -> None:
        batch.timer.cancel()
        self._under_way = None
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
