"""Group commit: many callers, one sync.

The window is the previous sync, never a timer: whatever comes during one sync waits in the queue and goes with
the next.

What may not move:

- No caller's own thread is in a sync: a disk that hangs holds whoever called it, and nothing can interrupt that. A
  thread of its own commits (the hand-over costs about 60 µs); callers wait for it, and no longer than
  the time-out.
- Who waited in vain is told which it is: an event that was still in the queue goes, and is not in the trail
  (TrailUnavailable); one that was being synced may be (NotInTime), and `on_late` is told as soon as that is known.
- After one has waited in vain nobody else waits, until the disk has answered.

At the end of the process, when no thread can be started any more, or that one has ended, callers commit themselves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from indelible.errors import NotInTime, TrailUnavailable
from indelible.trail.bell import Bell
from indelible.trail.condition import Condition

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


class OwnWord(Item):
    """One that the writer signs when it gives it a seq: see `ownwords`. It goes by no queue."""

    __slots__ = ()


class _Id(msgspec.Struct):
    event_id: str


_decode_id = msgspec.json.Decoder(_Id).decode


def id_of(body: bytes) -> str:
    """Return the `event_id` of a redacted event."""
    return _decode_id(body).event_id


Done = Callable[[int, TrailUnavailable | None], None]
"""Told how many of the submitted items are safe, from the first on, and what became of the others."""

Late = Callable[[str, bool], None]
"""Told, with its `event_id`, whether an event is in the trail of which was said that it is not in time (NotInTime)."""


class Partly(TrailUnavailable):
    """Of events that were submitted together some are in the trail and some are not, in no order."""

    def __init__(self, message: str, errors: dict[int, TrailUnavailable]) -> None:
        super().__init__(message)
        self.errors = errors
        """Why an event is not, by its place; the others are."""


def together(errors: dict[int, TrailUnavailable], count: int) -> tuple[int, TrailUnavailable | None]:
    """Return what `Done` is told of so many events, from the errors of those that are not in the trail."""
    if not errors:
        return count, None
    safe = min(errors)
    first = errors[safe]
    if len(errors) == count - safe and {type(error) for error in errors.values()} == {type(first)}:
        return safe, first
    return safe, Partly(str(first), errors)


Commit = Callable[[list[Item]], int]
"""Writes and syncs items in order; returns how many of them are safe. Those after are not in the trail."""


class _Job:
    """Items that somebody waits for together."""

    __slots__ = ("_gate", "done", "error", "finished", "items", "late", "size")

    def __init__(self, items: list[Item], done: Done | None = None) -> None:
        self._gate = threading.Lock()
        """Taken until it is finished. Itself, and no Condition: a signal's handler that raises finds it waited for or
        not, and nothing in between."""
        self._gate.acquire()
        self.items = items
        self.size = len(items[0].body) if len(items) == 1 else sum(len(item.body) for item in items)
        self.done = done
        self.finished = False
        self.late = False
        """Whoever waited for it does so no more, though it is under way."""
        self.error: TrailUnavailable | None = None

    def settle(self, error: TrailUnavailable | None) -> None:
        """It is known what became of it. Whoever waits is told by `tell`."""
        self.error = error
        self.finished = True

    def tell(self, safe: int) -> None:
        """Let whoever waits go on, of whose events the first `safe` are in the trail. Once, without any lock."""
        self._gate.release()
        if self.done is not None:
            self.done(safe, self.error)

    def wait(self, timeout: float) -> None:
        """Wait until it is finished, or so many seconds. By whoever appended it, and nobody else."""
        self._gate.acquire(timeout=timeout)


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

    def remove(self, item: T, count: int, size: int) -> bool:
        """Take an item of so many events and bytes out again; tell whether it was there."""
        try:
            self.items.remove(item)
        except ValueError:
            return False
        self.count -= count
        self.size -= size
        return True


class GroupCommit:
    """Serialises commits; `append` and `submit` may be called from any thread."""

    def __init__(
        self, commit: Commit, why: Callable[[], TrailUnavailable], timeout: float, *, served: bool = True
    ) -> None:
        """`why` returns the reason for the items that `commit` did not take; `served` is whether a thread commits."""
        self._commit = commit
        self._why = why
        self._timeout = timeout
        self._lock = threading.Lock()  # taken itself: a signal's handler may raise in a Condition's `__exit__`
        self._changed = Condition(self._lock)
        self._watchers = 0
        """How many wait for `_changed`, or were interrupted while they began to."""
        self._bell = Bell()
        self._idle = False
        """The committer waits for the bell, or is about to: whoever has put something into the queue rings it."""
        self.on_late: Late | None = None
        self._hung = False
        """Somebody has waited in vain, and the disk has not answered since."""
        self._queue: Backlog[_Job] = Backlog()
        self._leading = 0  # the thread that leads
        self._committer: threading.Thread | None = None
        self._serving = False
        """The committer has begun, and has not ended."""
        self._closing = False
        self._served = served

    def append(self, item: Item) -> None:
        """Return when `item` is on the disk; raises TrailUnavailable when it is not, NotInTime when it may be yet."""
        job = _Job([item])
        with self._lock:
            self._enqueue(job)
            served = self._is_served()
        if served:
            self._await(job)
        else:
            self._lead_for(job)
        if job.error is not None:
            raise type(job.error)(str(job.error)) from job.error

    def _is_served(self) -> bool:
        """Start the committer, if it does not run; tell whether it does."""
        if self._closing or not self._served:
            return False
        if not self._serving and (self._committer is None or not self._committer.is_alive()):
            # Known before it begins: a signal's handler may raise while it does, and then nobody would end it.
            self._committer = threading.Thread(target=self._serve, name="indelible-committer", daemon=True)
            try:
                self._bell.open()
                self._committer.start()
            except (OSError, RuntimeError):  # no descriptor is left; the interpreter ends
                self._committer = None
                return False
        return True

    def _ring(self) -> None:
        """Wake the committer if it sleeps. It says itself that it does so no more, and then looks into the queue."""
        if self._idle:
            self._bell.ring()

    def _await(self, job: _Job) -> None:
        """Wait for the committer, but not for ever."""
        try:
            self._ring()
            job.wait(self._timeout)
        except BaseException:  # a signal's handler
            with self._lock:
                self._queue.remove(job, 1, job.size)
            raise
        if job.finished:
            return
        with self._lock:
            if job.finished:
                return
            self._hung = bool(self._leading)  # else the committer had no time: nothing waits for the disk
            if self._queue.remove(job, 1, job.size):
                job.error = self._no_answer()
            else:
                job.late = True
                raise NotInTime(str(self._no_answer()))

    def _no_answer(self) -> TrailUnavailable:
        return TrailUnavailable("not recorded in time: the disk does not answer")

    def _lead_for(self, job: _Job) -> None:
        leading = False
        try:
            with self._lock:
                self._forget_own_lead()
                while not job.finished and self._leading:
                    self._watch(None)
                leading = not job.finished
                if leading:
                    self._leading = threading.get_ident()
            while not job.finished:  # the queue may hold more than one batch before ours
                self._lead()
        finally:  # also when a signal's handler raises: the others must not wait for a leader that has gone
            if leading:
                self._step_down()

    def submit(self, items: list[Item], done: Done) -> None:
        """Queue `items` and return; `done` is called once, maybe from another thread.

        Waits for room in the queue; raises TrailUnavailable when there is none within the time-out.
        """
        with self._lock:
            if self._closing:  # nobody would serve it
                msg = "the trail is closed"
                raise TrailUnavailable(msg)
            job = _Job(items, done)
            self._enqueue(job)
            if not self._is_served():
                self._queue.remove(job, len(items), job.size)
                raise self._why()
        self._ring()

    def close(self) -> None:
        """Commit what is queued, and end the committer."""
        with self._lock:
            self._closing = True
            self._forget_own_lead()
            self._ring()
            while self._leading:
                self._watch(None)
            self._leading = threading.get_ident()
        try:
            while self._queue.items:
                self._lead()
        finally:
            self._step_down()
        if self._committer is not None and self._committer.ident is not None:  # one that did begin
            self._committer.join()
        self._bell.close()

    def abandon(self) -> None:
        """In a forked child, which has no committer: let go of what was inherited."""
        self._bell.close()

    def _watch(self, timeout: float | None) -> bool:
        """Wait until something has changed, or so long; tell which. Under the lock."""
        self._watchers += 1
        try:
            return self._changed.wait(timeout)
        finally:
            self._watchers -= 1

    def _enqueue(self, job: _Job) -> None:
        queue, count = self._queue, len(job.items)
        if self._hung:
            raise self._no_answer()
        if queue.items and not queue.has_room(count, job.size):
            deadline = time.monotonic() + self._timeout
            while queue.items and not queue.has_room(count, job.size):
                if not self._watch(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    msg = f"{queue.count} events wait for the disk already"
                    raise TrailUnavailable(msg)
        queue.put(job, count, job.size)

    def _serve(self) -> None:
        """Lead whenever there is something queued and nobody else does (the committer's life)."""
        self._serving = True
        try:
            while True:
                with self._lock:
                    leads = bool(self._queue.items) and not self._leading
                    if leads:
                        self._leading = threading.get_ident()
                    elif self._closing:
                        return
                    self._idle = not leads
                if leads:
                    self._lead_once()
                if self._idle:
                    self._bell.wait()
                    self._idle = False
        finally:
            self._serving = self._idle = False
            self._bell.ring()  # a second one may sleep: a start that a signal's handler cut short was taken for none

    def _lead_once(self) -> None:
        """Commit a batch as the committer, who steps down before he tells: those whom he wakes find him asleep."""
        try:
            self._lead(steps_down=True)
        except BaseException:
            if self._leading == threading.get_ident():  # else another one may lead by now
                self._step_down()
            raise

    def _forget_own_lead(self) -> None:
        """Who comes and leads already was interrupted while it stepped down."""
        if self._leading == threading.get_ident():
            self._leading = 0

    def _step_down(self) -> None:
        with self._lock:
            self._leading = 0
            self._hung = False
            self._changed.notify_all()
            self._ring()

    def _lead(self, *, steps_down: bool = False) -> None:
        """Commit one batch from the front of the queue."""
        with self._lock:
            batch = self._take()
        items = batch[0].items if len(batch) == 1 else [item for job in batch for item in job.items]
        try:
            safe = self._commit(items) if items else 0
        except BaseException:
            self._finish(batch, 0, TrailUnavailable("interrupted while waiting for the disk"))
            raise
        self._finish(batch, safe, self._why() if safe < len(items) else None, steps_down=steps_down)

    def _finish(
        self, batch: list[_Job], safe: int, error: TrailUnavailable | None, *, steps_down: bool = False
    ) -> None:
        """Tell everybody what became of a batch, of which the first `safe` events are in the trail."""
        late = []
        with self._lock:
            left = safe
            for job in batch:
                job.settle(error if left < len(job.items) else None)
                left -= min(left, len(job.items))
                if job.late:
                    late.append(job)
            self._hung = False
            if steps_down:
                self._leading = 0
                self._idle = not self._queue.items and not self._closing
            if self._watchers:
                self._changed.notify_all()
        for job in batch:
            own = min(safe, len(job.items))
            safe -= own
            job.tell(own)
        if late and self.on_late is not None:
            for job in late:
                self.on_late(id_of(job.items[0].body), job.error is None)

    def _take(self) -> list[_Job]:
        """Take the next batch off the queue: one job at least, since a job is committed in one piece."""
        jobs = events = size = 0
        for job in self._queue.items:
            more, larger = events + len(job.items), size + job.size
            if jobs and (more > MAX_BATCH_EVENTS or larger > MAX_BATCH_BYTES):
                break
            jobs, events, size = jobs + 1, more, larger
        return self._queue.take(jobs, events, size)
