"""Group commit: many callers, one sync.

The window is the previous sync, never a timer: whoever comes while nobody syncs becomes the leader and commits at
once, on its own thread (a hand-over to another thread costs 90 µs and would be a third of a fast sync). Whoever
comes meanwhile waits in the queue, and all of them go with the next sync. Callers that do not wait (`submit`) are
served by a committer thread, started when the first of them comes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from indelible.errors import TrailUnavailable

MAX_QUEUED: Final = 8192
"""How many events may wait for the disk; the next caller waits for room. Bounds memory with the cap of a line."""

MAX_BATCH_BYTES: Final = 4 << 20
"""How much one sync takes along: beyond this, the first in the batch would wait for the last."""


class Item(NamedTuple):
    """A body on its way, and which intent it opens or closes (an `event_id`)."""

    body: bytes
    opens: str = ""
    closes: str = ""


Done = Callable[[TrailUnavailable | None], None]
Commit = Callable[[list[Item]], int]
"""Writes and syncs items in order; returns how many of them are safe. Those after are not in the trail."""


class _Waiter:
    """An item and the one who waits for it."""

    __slots__ = ("done", "error", "finished", "item")

    def __init__(self, item: Item, done: Done | None = None) -> None:
        self.item = item
        self.done = done
        self.finished = False
        self.error: TrailUnavailable | None = None


class GroupCommit:
    """Serialises commits; `append` and `submit` may be called from any thread."""

    def __init__(self, commit: Commit, why: Callable[[], TrailUnavailable], timeout: float) -> None:
        """`why` returns the reason for the items that `commit` did not take."""
        self._commit = commit
        self._why = why
        self._timeout = timeout
        self._changed = threading.Condition(threading.Lock())
        self._queue: list[_Waiter] = []
        self._leading = False
        self._committer: threading.Thread | None = None
        self._closing = False

    def append(self, item: Item) -> None:
        """Return when `item` is on the disk; raises TrailUnavailable when it is not."""
        waiter = _Waiter(item)
        with self._changed:
            self._enqueue(waiter)
            while not waiter.finished and self._leading:
                self._changed.wait()
            if waiter.finished:
                return self._raise(waiter)
            self._leading = True
        while not waiter.finished:  # the queue may hold more than one batch before ours
            self._lead()
        with self._changed:
            self._leading = False
            self._changed.notify_all()
        return self._raise(waiter)

    def submit(self, item: Item, done: Done) -> None:
        """Queue `item` and return; `done` is called from another thread with None or the reason of failure.

        Waits for room in the queue; raises TrailUnavailable when there is none within the time-out.
        """
        with self._changed:
            self._enqueue(_Waiter(item, done))
            if self._committer is None:
                self._committer = threading.Thread(
                    target=self._serve, name="indelible-committer", daemon=True
                )
                self._committer.start()
            elif len(self._queue) == 1:
                self._changed.notify_all()

    def close(self) -> None:
        """Commit what is queued, and end the committer."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while self._queue or self._leading:
                if self._leading:
                    self._changed.wait()
                else:
                    self._leading = True
                    self._changed.release()
                    try:
                        self._lead()
                    finally:
                        self._changed.acquire()
                        self._leading = False
        if self._committer is not None:
            self._committer.join()

    def _enqueue(self, waiter: _Waiter) -> None:
        room = self._changed.wait_for(lambda: len(self._queue) < MAX_QUEUED, self._timeout)
        if not room:
            msg = f"{MAX_QUEUED} events wait for the disk already"
            raise TrailUnavailable(msg)
        self._queue.append(waiter)

    def _serve(self) -> None:
        """Lead whenever there is something queued and nobody else does (the committer's life)."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: (self._queue and not self._leading) or self._closing)
                if not self._queue:
                    return
                if self._leading:
                    continue
                self._leading = True
            self._lead()
            with self._changed:
                self._leading = False
                self._changed.notify_all()

    def _lead(self) -> None:
        """Commit one batch from the front of the queue."""
        with self._changed:
            batch = self._take()
        if not batch:
            return
        safe = self._commit([waiter.item for waiter in batch])
        error = self._why() if safe < len(batch) else None
        for waiter in batch[safe:]:
            waiter.error = error
        for waiter in batch:
            waiter.finished = True
            if waiter.done is not None:
                waiter.done(waiter.error)
        with self._changed:
            self._changed.notify_all()

    def _take(self) -> list[_Waiter]:
        size = 0
        for count, waiter in enumerate(self._queue):
            size += len(waiter.item.body)
            if size > MAX_BATCH_BYTES and count:
                batch, self._queue = self._queue[:count], self._queue[count:]
                return batch
        batch, self._queue = self._queue, []
        return batch

    @staticmethod
    def _raise(waiter: _Waiter) -> None:
        if waiter.error is not None:
            raise TrailUnavailable(str(waiter.error)) from waiter.error
