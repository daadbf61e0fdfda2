"""Events of one event loop on their way to the disk.

Whatever comes during one sync goes with the next, in one hand-over: a hand-over to the committer's thread and back
costs as much as a hundred appends; one per event would be most of the price of recording from asyncio.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from indelible.errors import TrailUnavailable

if TYPE_CHECKING:
    from indelible.trail.commit import Item
    from indelible.trail.shared import SharedWriter


_batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakKeyDictionary[SharedWriter, Batcher]] = (
    WeakKeyDictionary()
)


class Batcher:
    """Collects the events of one loop for one writer. Used on the loop's thread only."""

    def __init__(self, writer: SharedWriter, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._loop = loop
        self._items: list[Item] = []
        self._futures: list[asyncio.Future[None]] = []
        self._busy = False

    @classmethod
    def of(cls, writer: SharedWriter) -> Batcher:
        """Return the running loop's own for a writer."""
        loop = asyncio.get_running_loop()
        own = _batchers.setdefault(loop, WeakKeyDictionary())
        batcher = own.get(writer)
        if batcher is None:
            batcher = own[writer] = cls(writer, loop)
        return batcher

    def add(self, item: Item) -> asyncio.Future[None]:
        """Return a future that is done when the event is on the disk, or fails with TrailUnavailable."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._items.append(item)
        self._futures.append(future)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        items, self._items = self._items, []
        futures, self._futures = self._futures, []

        def done(safe: int, error: TrailUnavailable | None) -> None:
            try:
                self._loop.call_soon_threadsafe(self._deliver, futures, safe, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        try:
            self._writer.submit(items, done)
        except TrailUnavailable as exc:
            self._deliver(futures, 0, exc)

    def _deliver(self, futures: list[asyncio.Future[None]], safe: int, error: TrailUnavailable | None) -> None:
        for index, future in enumerate(futures):
            if future.done():  # its task was cancelled; the event is in the trail all the same
                continue
            if index < safe or error is None:
                future.set_result(None)
            else:
                future.set_exception(TrailUnavailable(str(error)))
        if self._items:
            self._hand_over()
        else:
            self._busy = False
