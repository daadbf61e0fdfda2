"""Group commit: many callers, one sync.

The window is the previous sync, never a timer: whoever comes while nobody syncs becomes the leader and commits at
once, on its own thread (a hand-over to another thread costs 90 µs and would be a third of a fast sync). Whoever
comes meanwhile waits in the queue, and all of them go with the next sync. Callers that do not wait (`submit`) are
served by a committer thread, started when the first of them comes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from indelible.errors import TrailUnavailable

MAX_QUEUED: Final = 8192
"""How many events may wait to be written; the next caller waits for room."""

MAX_QUEUED_BYTES: Final = 32 << 20
"""So many bytes of them: 8,192 of the longest lines would be half a gigabyte."""

MAX_BATCH_BYTES: Final = 4 << 20
"""How much one sync takes along: beyond this, the first in the batch would wait for the last."""

MAX_BATCH_EVENTS: Final = 2048
"""So many events: half of those that may wait for a checkpoint, so that one half is written while another is sealed."""

T = TypeVar("T")


class Item(NamedTuple):
    """A body on its way, and which intent it opens or closes (an `event_id`)."""

    body: bytes
    opens: str = ""
    closes: str = ""


Done = Callable[[int, TrailUnavailable | None], None]
"""Told how many of the submitted items are safe, from the first on, and what became of the others."""

Commit = Callable[[list[Item]], int]
"""Writes and syncs items in order; returns how many of them are safe. Those after are not in the trail."""


class _Job:
    """Items that somebody waits for together."""

    __slots__ = ("done", "error", "finished", "items", "size")

    def __init__(self, items: list[Item], done: Done | None = None) -> None:
        self.items = items
        self.size = sum(len(item.body) for item in items)
        self.done = done
        self.finished = False
        self.error: TrailUnavailable | None = None

    def finish(self, safe: int, error: TrailUnavailable | None) -> None:
        self.error = error
        self.finished = True
        if self.done is not None:
            self.done(safe, error)


class Backlog(Generic[T]):
    """What waits, in order, bounded by events and by bytes. Its owner's lock covers it."""

    __slots__ = ("count", "items", "size")

    def __init__(self) -> None:
        self.items: list[T] = []
        self.count = 0
        self.size = 0

    def has_room(self, count: int, size: int) -> bool:
        """Tell whether so many more events, of so many bytes, may wait."""
        return self.count + count <= MAX_QUEUED and self.size + size <= MAX_QUEUED_BYTES

    def put(self, item: T, count: int, size: int) -> None:
        """Add an item of so many events and bytes."""
        self.items.append(item)
        self.count += count
        self.size += size

    def take(self, number: int, count: int, size: int) -> list[T]:
        """Remove the first `number` items, which are so many events and bytes together."""
        taken = self.items[:number]
        del self.items[:number]
        self.count -= count
        self.size -= size
        return taken


class GroupCommit:
    """Serialises commits; `append` and `submit` may be called from any thread."""

    def __init__(self, commit: Commit, why: Callable[[], TrailUnavailable], timeout: float) -> None:
        """`why` returns the reason for the items that `commit` did not take."""
        self._commit = commit
        self._why = why
        self._timeout = timeout
        self._lock = threading.Lock()  # taken itself: a signal's handler may raise in a Condition's `__exit__`
        self._changed = threading.Condition(self._lock)
        self._queue: Backlog[_Job] = Backlog()
        self._leading = 0  # the thread that leads
        self._committer: threading.Thread | None = None
        self._closing = False

    def append(self, item: Item) -> None:
        """Return when `item` is on the disk; raises TrailUnavailable when it is not."""
        job = _Job([item])
        leading = False
        try:
            with self._lock:
                self._enqueue(job)
                self._forget_own_lead()
                while not job.finished and self._leading:
                    self._changed.wait()
                leading = not job.finished
                if leading:
                    self._leading = threading.get_ident()
            while not job.finished:  # the queue may hold more than one batch before ours
                self._lead()
        finally:  # also when a signal's handler raises: the others must not wait for a leader that has gone
            if leading:
                self._step_down()
        if job.error is not None:
            raise TrailUnavailable(str(job.error)) from job.error

    def submit(self, items: list[Item], done: Done) -> None:
        """Queue `items` and return; `done` is called once, maybe from another thread.

        Waits for room in the queue; raises TrailUnavailable when there is none within the time-out.
        """
        with self._lock:
            if self._closing:  # nobody would serve it
                msg = "the trail is closed"
                raise TrailUnavailable(msg)
            self._enqueue(_Job(items, done))
            if self._committer is None:
                self._committer = threading.Thread(target=self._serve, name="indelible-committer", daemon=True)
                self._committer.start()
            elif len(self._queue.items) == 1:
                self._changed.notify_all()

    def close(self) -> None:
        """Commit what is queued, and end the committer."""
        with self._lock:
            self._closing = True
            self._forget_own_lead()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._leading)
            self._leading = threading.get_ident()
        try:
            while self._queue.items:
                self._lead()
        finally:
            self._step_down()
        if self._committer is not None:
            self._committer.join()

    def _enqueue(self, job: _Job) -> None:
        queue, count = self._queue, len(job.items)
        if queue.items and not queue.has_room(count, job.size):
            room = self._changed.wait_for(
                lambda: not queue.items or queue.has_room(count, job.size), self._timeout
            )
            if not room:
                msg = f"{queue.count} events wait for the disk already"
                raise TrailUnavailable(msg)
        queue.put(job, count, job.size)

    def _serve(self) -> None:
        """Lead whenever there is something queued and nobody else does (the committer's life)."""
        while True:
            with self._lock:
                self._changed.wait_for(lambda: (self._queue.items and not self._leading) or self._closing)
                if not self._queue.items or self._leading:
                    if self._closing:
                        return
                    continue
                self._leading = threading.get_ident()
            try:
                self._lead()
            finally:
                self._step_down()

    def _forget_own_lead(self) -> None:
        """Who comes and leads already was interrupted while it stepped down."""
        if self._leading == threading.get_ident():
            self._leading = 0

    def _step_down(self) -> None:
        with self._lock:
            self._leading = 0
            self._changed.notify_all()

    def _lead(self) -> None:
        """Commit one batch from the front of the queue."""
        with self._lock:
            batch = self._take()
        items = [item for job in batch for item in job.items]
        try:
            safe = self._commit(items) if items else 0
        except BaseException:
            for job in batch:
                job.finish(0, TrailUnavailable("interrupted while waiting for the disk"))
            raise
        error = self._why() if safe < len(items) else None
        for job in batch:
            own = min(safe, len(job.items))
            safe -= own
            job.finish(own, error if own < len(job.items) else None)
        with self._lock:
            self._changed.notify_all()

    def _take(self) -> list[_Job]:
        """Take the next batch off the queue: one job at least, since a job is committed in one piece."""
        jobs = events = size = 0
        for job in self._queue.items:
            more, larger = events + len(job.items), size + job.size
            if jobs and (more > MAX_BATCH_EVENTS or larger > MAX_BATCH_BYTES):
                break
            jobs, events, size = jobs + 1, more, larger
        return self._queue.take(jobs, events, size)
