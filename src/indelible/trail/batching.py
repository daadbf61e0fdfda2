"""Events of one event loop on their way to the disk.

Whatever comes during one sync goes with the next, in one hand-over: a hand-over to the committer's thread and back
costs as much as a hundred appends; one per event would be most of the price of recording from asyncio.

A task that is cancelled waits no longer, and its event goes on. If that is not recorded, somebody has to be told all
the same (`Batcher.forsake`): clients give up just when a disk hangs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from indelible.errors import NotInTime, TrailUnavailable
from indelible.trail.commit import Partly, id_of

if TYPE_CHECKING:
    from indelible.trail.commit import Item
    from indelible.trail.sharing.shared import SharedWriter


Tell = Callable[[TrailUnavailable], None]
"""Told why an event is not in the trail, or that it is not in time; from any thread."""


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

    def each(
        self, safe: int, error: TrailUnavailable | None
    ) -> Iterator[tuple[Item, asyncio.Future[None], TrailUnavailable | None]]:
        """Yield each event with its future, and why it is not in the trail, as `Done` is told."""
        for index, (item, future) in enumerate(zip(self.items, self.futures, strict=True)):
            own = error if index >= safe else None
            yield item, future, own.errors.get(index) if isinstance(own, Partly) else own


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
        self._forsaken: dict[asyncio.Future[None], Tell] = {}
        self._unheard: WeakKeyDictionary[asyncio.Future[None], TrailUnavailable | None] = WeakKeyDictionary()
        """What became of events whose task is cancelled, and has not noticed it yet."""

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

    def forsake(self, future: asyncio.Future[None], tell: Tell) -> None:
        """A task waits no longer: let `tell` be told if its event is not in the trail, or not in time."""
        error: BaseException | None = None
        if future in self._unheard:
            error = self._unheard.pop(future)
        elif future.cancelled() or not future.done():
            self._forsaken[future] = tell
        else:
            error = future.exception()
        if isinstance(error, TrailUnavailable):
            tell(error)

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
            except RuntimeError:
                self._end(batch, safe, error)

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
            self._settle(future, TrailUnavailable(str(error)))
        self._items, self._futures = [], []

    def _deliver(self, batch: _Batch, safe: int, error: TrailUnavailable | None) -> None:
        batch.timer.cancel()
        self._under_way = None
        self.hung = False
        if batch.late:
            self._tell_late(batch, safe, error)
        elif error is None and not self._forsaken:
            for future in batch.futures:  # as nearly always: what `_settle` does, without a call for each
                if not future.done():
                    future.set_result(None)
                elif future.cancelled():
                    self._unheard[future] = None
        else:
            for _, future, own in batch.each(safe, error):
                self._settle(future, own)
        if self._items:
            self._hand_over()
        else:
            self._busy = False

    def _end(self, batch: _Batch, safe: int, error: TrailUnavailable | None) -> None:
        """The loop is closed: nobody waits any more, and what waits for its turn is not recorded."""
        self._under_way = None
        self._tell_late(batch, safe, error)
        queued, self._items, self._futures = self._futures, [], []
        for future in queued:
            if future in self._forsaken:
                self._settle(future, self._writer.too_late())

    def _settle(self, future: asyncio.Future[None], error: TrailUnavailable | None) -> None:
        """Tell whoever waits for an event what became of it, or who is told instead."""
        tell = self._forsaken.pop(future, None) if self._forsaken else None
        if tell is not None:
            if error is not None:
                tell(error)
        elif future.cancelled():
            self._unheard[future] = error
        elif error is not None:
            _fail(future, type(error)(str(error)))
        elif not future.done():
            future.set_result(None)

    def _tell_late(self, batch: _Batch, safe: int, error: TrailUnavailable | None) -> None:
        """Say what became of events for which nobody waits any longer; from any thread."""
        for item, future, own in batch.each(safe, error):
            if future.cancelled() or future in self._forsaken:
                self._settle(future, own)
            elif batch.late and not isinstance(own, NotInTime):  # else it is not known yet
                self._writer.came_late(id_of(item.body), own is None)


def _fail(future: asyncio.Future[None], error: TrailUnavailable) -> None:
    if not future.done():
        future.set_exception(error)
