"""The one writer of a trail.

What may not move:

- Lines are stamped and written under `_lock`, in the order of their seqs, each with its LF in one write.
- Every line that is not under a checkpoint yet stays in memory (`_pending`), so that it can be written again when the
  disk turns out not to have it.
- After a failed write the file is cut back to its last whole line before anything else is written; after a failed
  sync nothing written since the last good one is believed, and those lines go to a new file (see `switch`).
- `recorded_at` never goes back, whatever the clock does.

At `process` durability an append is one `write` on the caller's own thread. At `disk` it goes through
`commit.GroupCommit`, at `memory` through a queue that the sealer's thread empties.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from indelible import events
from indelible.errors import TrailUnavailable
from indelible.events import Event, EventType, RecorderId, Source
from indelible.trail import durable, intents, switch
from indelible.trail.active import ActiveFile, close_into_segment
from indelible.trail.commit import Done, GroupCommit, Item
from indelible.trail.entry import stamp_line, unstamp
from indelible.trail.housekeeping import Housekeeper
from indelible.trail.sealer import HURRY_BYTES, HURRY_EVENTS, Sealer

if TYPE_CHECKING:
    from indelible.config import AuditSettings
    from indelible.trail.checkpoint import Signer
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.lock import TrailLock
    from indelible.trail.recovery import Resume

log = logging.getLogger("indelible")

MAX_PENDING_EVENTS: Final = 4096
"""The promise: a checkpoint is never further behind. The next append waits for it."""

MAX_PENDING_BYTES: Final = 16 << 20
"""So many bytes of pending lines are kept in memory at the most."""

MAX_QUEUED: Final = 8192
"""At `memory` durability, how many events may wait to be written; the next caller writes them itself."""

RETRY_S: Final = 0.1
"""After a failure, how long until the disk is tried again; appends in between fail at once."""

_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


class Pending(NamedTuple):
    """A moment of the trail that the sealer puts under a checkpoint: all of `lines`, and what was so after them."""

    lines: list[bytes]
    file: ActiveFile
    size: int
    next_seq: int
    intents: dict[str, int]
    pruned: list[tuple[int, int]]


class Writer:
    """A process's hold on a trail, from `start` until `close`. Safe to use from any thread."""

    def __init__(
        self,
        layout: Layout,
        audit: AuditSettings,
        *,
        lock: TrailLock,
        signer: Signer,
        access: Access,
        state: Resume,
        recorder: RecorderId,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.layout = layout
        self.audit = audit
        self.access = access
        self.origin = signer.verifier.name
        self.recorder = recorder
        self._trail_lock = lock
        self._clock = clock
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)

        self._seq = state.size
        self._clock_ns = 0
        self._recorded_at = state.recorded_at.encode()
        self._resume = state
        self._active: ActiveFile
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._queue: list[Item] = []
        self._intents = {str(intent.get("event_id")): int(intent["seq"]) for intent in state.intents}
        self._pruned = list(state.pruned)

        self._failure: OSError | None = None
        self._retry_at = 0.0
        self._stuck = False
        self._closed = False
        self._forked = False
        self._open = False
        self._direct = audit.durability == "process"

        self._group = GroupCommit(self._commit, self._unavailable, audit.write_timeout)
        self._sealer = Sealer(self, signer, state.tree)
        self._housekeeper = Housekeeper(self)
        _writers.add(self)

    # --- appending ------------------------------------------------------------------------------------------

    def append(self, body: bytes, opens: str = "", closes: str = "") -> None:
        """Return when the event is in the trail, as safe as the durability says.

        `body` is a redacted event without the writer's stamps; `opens` the `event_id` of an intent that it is,
        `closes` that of one whose outcome it is. Raises TrailUnavailable when it is not in the trail.
        """
        if self._direct:
            with self._lock:
                if self._write_one(body, opens, closes):
                    return
            raise self._unavailable()
        item = Item(body, opens, closes)
        if self.audit.durability == "disk":
            self._group.append(item)
        else:
            self._enqueue(item)

    def submit(self, items: list[Item], done: Done) -> None:
        """Queue events at `disk` durability and return; `done` is called from another thread. See `GroupCommit`."""
        self._group.submit(items, done)

    def service_event(self, event_type: EventType, metadata: dict[str, Any]) -> Item:
        """Return an event of the trail's own; `metadata` must hold nothing that a caller chose."""
        event = Event(
            timestamp=events.format_time(self._clock()),
            event_type=event_type,
            event_id=events.new_id(),
            source=Source(recorder=self.recorder),
            metadata=metadata,
        )
        return Item(events.encode_body(event))

    def write_service_events(self, items: Sequence[Item]) -> None:
        """Append events of the trail's own, in order. Raises TrailUnavailable."""
        with self._lock:
            if len(self._write(items)) < len(items):
                raise self._unavailable()

    def _unavailable(self) -> TrailUnavailable:
        failure = self._failure
        if self._forked:
            reason = "opened before a fork; open the trail again in the child"
        elif self._closed:
            reason = "the trail is closed"
        elif failure is not None:
            reason = f"cannot write: {failure.strerror or failure}"
        elif not self._open:
            reason = "the trail is being closed"
        else:
            reason = "checkpoints do not keep up; the disk is too slow or does not answer"
        error = TrailUnavailable(f"{self.layout.active}: {reason}")
        error.__cause__ = failure
        return error

    def _enqueue(self, item: Item) -> None:
        """At `memory` durability: queue, and let the sealer's thread write."""
        with self._lock:
            if len(self._queue) >= MAX_QUEUED and self._usable():
                self._drain()
            if isinstance(self._failure, InterruptedError):
                self._repair()
            if len(self._queue) >= MAX_QUEUED or self._failure or not self._open:
                raise self._unavailable()
            self._queue.append(item)
            first = len(self._queue) == 1
        if first:
            self._sealer.wake()

    def drain(self) -> None:
        """Write what is queued at `memory` durability, as much as may be pending."""
        with self._lock:
            self._drain()

    def _drain(self) -> None:
        room = MAX_PENDING_EVENTS - len(self._pending)
        if self._queue and room > 0 and self._failure is None:
            written = self._write(self._queue[:room])
            del self._queue[: len(written)]

    # --- writing: all of it under _lock ------------------------------------------------------------------------

    def _write_one(self, body: bytes, opens: str, closes: str) -> bool:
        """Do what `_write` does, for one event that fits the active file: the hot path, in one piece."""
        pending = self._pending
        count = len(pending)
        if self._failure is not None or count >= MAX_PENDING_EVENTS or not self._open:
            return self._usable() and bool(self._write((Item(body, opens, closes),)))
        seq = self._seq
        line = stamp_line(seq, self._tick(), body)
        active = self._active
        size, pending_bytes = active.size, self._pending_bytes
        if size + len(line) > self.audit.max_size or pending_bytes >= MAX_PENDING_BYTES:
            return self._usable() and bool(self._write((Item(body, opens, closes),)))
        try:
            active.put(line)
            self._seq = seq + 1
            pending.append(line)
            self._pending_bytes = pending_bytes + len(line)
            if count in (0, HURRY_EVENTS - 1) or self._pending_bytes >= HURRY_BYTES:
                self._sealer.note(count + 1, 1, self._pending_bytes)
        except BaseException as exc:
            self._undo(exc, active, size, seq, count)
            if isinstance(exc, OSError):
                return False
            raise
        if opens:
            self._intents[opens] = seq
        elif closes:
            self._intents.pop(closes, None)
        return True

    def _write(self, items: Sequence[Item]) -> list[int]:
        """Stamp and write items in order; return the seqs of those that are in the file. The rest is not."""
        seqs: list[int] = []
        if not self._open or (self._failure is not None and not self._repair()):
            return seqs
        before = (self._active, self._active.size, self._seq, len(self._pending))
        try:
            while len(seqs) < len(items):
                before = (self._active, self._active.size, self._seq, len(self._pending))
                lines, size = self._stamp_some(items, len(seqs))
                if not lines:
                    self._rotate()
                    continue
                self._active.put(b"".join(lines))
                self._account(items[len(seqs) : len(seqs) + len(lines)], lines, size, seqs)
        except OSError as exc:
            self._fail(exc)
        except BaseException as exc:
            self._undo(exc, *before)
            raise
        return seqs

    def _undo(self, exc: BaseException, active: ActiveFile, size: int, seq: int, count: int) -> None:
        """Take back an append that an exception cut short: nothing was written, and the next one cuts the file.

        Any exception: a signal's handler (Ctrl-C, an alarm) raises between the write and its accounting too.
        """
        if isinstance(exc, OSError):
            self._fail(exc)
        else:
            self._failure, self._retry_at = InterruptedError(errno.EINTR, os.strerror(errno.EINTR)), 0.0
        if active is not self._active:
            return  # cut short after a rotation: the new file's first line counts
        active.size, self._seq = size, seq
        del self._pending[count:]
        self._pending_bytes = sum(map(len, self._pending))

    def _usable(self) -> bool:
        """Wait for the sealer when it is too far behind; tell whether to go on."""
        if self._open and self._behind():
            self._sealer.hurry()
            if not self._stuck:  # who has waited in vain is the last to wait, until a checkpoint is made again
                self._stuck = not self._room.wait_for(
                    lambda: not self._behind() or not self._open, self.audit.write_timeout
                )
        return self._open and not self._behind()

    def _stamp_some(self, items: Sequence[Item], start: int) -> tuple[list[bytes], int]:
        """Stamp items from `start` on, as many as the active file takes; none means: rotate first."""
        recorded_at = self._tick()
        seq, active = self._seq, self._active
        room = self.audit.max_size - active.size
        has_events = seq > active.first_seq + 1  # beyond its own first line
        lines: list[bytes] = []
        size = 0
        for index in range(start, len(items)):
            line = stamp_line(seq, recorded_at, items[index].body)
            if size + len(line) > room and (has_events or lines):
                break
            size += len(line)
            lines.append(line)
            seq += 1
        return lines, size

    def _tick(self) -> bytes:
        """Return the time for the next line: the clock's, but never earlier than the line before."""
        now = self._clock()
        if now > self._clock_ns:
            self._clock_ns = now
            recorded_at = events.format_time(now).encode()
            self._recorded_at = max(self._recorded_at, recorded_at)
        return self._recorded_at

    def _account(self, items: Sequence[Item], lines: list[bytes], size: int, seqs: list[int]) -> None:
        for item in items:
            if item.opens:
                self._intents[item.opens] = self._seq
            elif item.closes:
                self._intents.pop(item.closes, None)
            seqs.append(self._seq)
            self._seq += 1
        self._pending += lines
        self._pending_bytes += size
        self._sealer.note(len(self._pending), len(lines), self._pending_bytes)

    def _behind(self) -> bool:
        return len(self._pending) >= MAX_PENDING_EVENTS or self._pending_bytes >= MAX_PENDING_BYTES

    def _commit(self, items: list[Item]) -> int:
        """Write and sync a batch (`disk`); return how many of its items are safe."""
        with self._lock:
            seqs = self._write(items) if self._usable() else []
            active, size, next_seq = self._active, self._active.size, self._seq
        if not seqs:
            return 0
        try:
            active.sync(size, next_seq)
        except OSError as exc:
            with self._lock:
                return self._after_failed_commit(exc, active, seqs)
        return len(seqs)

    # --- files -------------------------------------------------------------------------------------------------

    def _file_opened(self, first_seq: int, extra: dict[str, Any]) -> bytes:
        """Return the line that every file begins with."""
        metadata = {
            "origin": self.origin,
            "first_seq": first_seq,
            "schema": events.SCHEMA,
            "pruned": self._pruned,
            **extra,
        }
        body = self.service_event("file_opened", metadata).body
        return stamp_line(first_seq, self._tick(), body)

    def _create_active(self, extra: dict[str, Any] | None = None) -> None:
        """Make the active file with its first line."""
        line = self._file_opened(self._seq, extra or {})
        self._active = ActiveFile.create(self.layout, self._seq, line, self.access)
        self._account((Item(line),), [line], len(line), [])

    def _rotate(self) -> None:
        """Close the active file under its first seq, and begin the next."""
        old = self._active
        old.sync(old.size, self._seq)
        if not old.in_place():
            self._switch()  # somebody removed it: what no checkpoint covers is written again
            return
        close_into_segment(self.layout, old.first_seq, self.access)
        durable.sync_directory(self.layout.segments)
        self._create_active()
        old.close()
        self._housekeeper.rotated()

    # --- failures ----------------------------------------------------------------------------------------------

    def _fail(self, exc: OSError) -> None:
        if self._failure is None:
            log.error("%s: cannot write: %s", self.layout.active, exc.strerror or exc)
        self._failure = exc
        self._retry_at = time.monotonic() + RETRY_S

    def _repair(self) -> bool:
        """Try to make the active file writable again; tell whether it is."""
        if time.monotonic() < self._retry_at:
            return False
        try:
            if self._active.is_at(self.layout.segment(self._active.first_seq)):
                self._create_active()  # a rotation had closed this file and not made the next
            elif self._active.doubtful or not self._active.in_place():
                self._switch()
            else:
                self._active.cut_back()
        except OSError as exc:
            self._fail(exc)
            return False
        if not isinstance(self._failure, InterruptedError):
            log.warning("%s: can be written again", self.layout.active)
        self._failure = None
        return True

    def failed_sync(self, exc: OSError, file: ActiveFile) -> None:
        """The sealer could not bring the active file to the disk, or found another in its place."""
        with self._lock:
            if file is self._active:
                self._active.doubtful = True
                self._fail(exc)
                self._retry_at = 0.0
                self._repair()

    def _after_failed_commit(self, exc: OSError, file: ActiveFile, seqs: list[int]) -> int:
        """A batch whose sync failed: save it in a new file now, or see that it does not come back later."""
        if file is not self._active:  # rotated since, and synced by that, or switched, and written again
            return len(seqs)
        file.doubtful = True
        self._fail(exc)
        self._retry_at = 0.0
        if self._repair():
            return len(seqs)
        keep = max(file.synced_seq, seqs[0])
        lost = self._seq - keep
        for line in self._pending[len(self._pending) - lost :]:
            self._pending_bytes -= len(line)
        del self._pending[len(self._pending) - lost :]
        self._seq = keep
        return sum(seq < keep for seq in seqs)

    def _switch(self) -> None:
        """Write every line that is not known to be on the disk to a new active file."""
        old = self._active
        removed = not old.in_place()
        first_pending = self._seq - len(self._pending)
        start = max(first_pending, old.first_seq if removed else old.synced_seq)
        at = start - first_pending
        again = self._pending[at:]
        if start == old.first_seq:
            again = again[1:]  # the old file's own first line; the new file has its own
        reason = "the file was removed" if removed else "the disk failed"
        first = self._file_opened(start, {"reason": reason})
        if again:  # it stands before lines that are older than it
            first = stamp_line(start, unstamp(again[0])[0], unstamp(first)[1])
        lines = [first]
        lines += [stamp_line(start + 1 + index, *unstamp(line)) for index, line in enumerate(again)]
        self._active = switch.switch(self.layout, old, lines, start, self.access, removed=removed)
        shift = start + len(lines) - self._seq
        for event_id, seq in self._intents.items():
            if seq >= start:
                self._intents[event_id] = seq + shift
        self._seq = start + len(lines)
        self._pending = self._pending[:at] + lines
        self._pending_bytes = sum(map(len, self._pending))
        self._sealer.note(len(self._pending), len(self._pending), self._pending_bytes)

    # --- between writer, sealer and housekeeper -----------------------------------------------------------------

    def take_pending(self) -> Pending | None:
        """Return everything that waits for a checkpoint, or None; repairs first what has failed."""
        with self._lock:
            if self._failure is not None and not self._repair():
                raise self._unavailable()
            self._drain()
            if self._failure is not None:
                raise self._unavailable()
            if not self._pending:
                return None
            return Pending(
                list(self._pending),
                self._active,
                self._active.size,
                self._seq,
                dict(self._intents),
                list(self._pruned),
            )

    def is_active(self, file: ActiveFile) -> bool:
        """Tell whether lines go to this file, or have gone on to another."""
        with self._lock:
            return file is self._active

    def still_pending(self, pending: Pending) -> bool:
        """Tell whether the lines are still those that wait: a switch in between has written them anew."""
        with self._lock:
            return self._pending[: len(pending.lines)] == pending.lines

    def sealed_now(self, pending: Pending) -> None:
        """The lines are under a checkpoint: let go of them."""
        with self._lock:
            del self._pending[: len(pending.lines)]
            self._pending_bytes = sum(map(len, self._pending))
            self._stuck = False
            self._room.notify_all()
            if (
                self._pending or self._queue
            ):  # what came meanwhile was not the first, and did not wake the sealer
                self._sealer.wake()
        self._housekeeper.sealed()

    @property
    def sealed(self) -> int:
        """How many lines the newest checkpoint covers."""
        return self._sealer.size

    @property
    def pruned(self) -> list[tuple[int, int]]:
        """The ranges of seqs whose files were deleted."""
        return list(self._pruned)

    def note_pruned(self, first: int, last: int) -> list[tuple[int, int]]:
        """Remember that the file with these seqs is deleted; return what was deleted before."""
        with self._lock:
            before, self._pruned = self._pruned, intents.merge_ranges([*self._pruned, (first, last)])
            return before

    def restore_pruned(self, before: list[tuple[int, int]]) -> None:
        """Forget what was noted since: the file is still there."""
        with self._lock:
            self._pruned = before

    def seal(self) -> None:
        """Put everything written so far under a checkpoint. Raises OSError or TrailUnavailable."""
        self._sealer.seal()

    def beat(self) -> None:
        """Record that the trail is alive though nothing happens."""
        item = self.service_event("audit_heartbeat", {"size": self._seq})
        with self._lock:
            self._write((item,))

    # --- life --------------------------------------------------------------------------------------------------

    def start(self, extra: dict[str, Any] | None = None) -> None:
        """Open the active file, or make it (`extra` goes into its first event's metadata); start sealing."""
        state = self._resume
        with self._lock:
            if state.active_first_seq is None:
                self._create_active(extra)
            else:
                self._active = ActiveFile.open(
                    self.layout, state.active_first_seq, state.active_bytes, state.size
                )
            self._open = True
        self._sealer.start()
        if not self.layout.checkpoint.exists():
            self._sealer.hurry()  # a reader may come at once, and a trail without a checkpoint is suspect
        self._housekeeper.rotated()

    def try_again(self) -> None:
        """Let the next append try the disk at once, though it has just failed."""
        self._retry_at = 0.0

    def close(self, metadata: dict[str, Any] | None = None, *, good_bye: bool = True) -> None:
        """Write and seal everything that is queued, then `audit_stopped`, and give the trail back.

        Without a `good_bye` the next start looks for open calls, as after a crash.
        """
        if self._forked or self._closed:
            return
        self._group.close()
        try:
            self._housekeeper.close()
            self.try_again()
            with self._lock:
                while self._queue and self._usable() and self._failure is None:
                    self._drain()
                self._usable()
                if good_bye:
                    self._write((self.service_event("audit_stopped", metadata or {}),))
                self._open = False  # nothing is accepted after it that no seal would wait for
                self._room.notify_all()
            self.seal()
        except (OSError, TrailUnavailable) as exc:
            log.error("%s: closed without a last checkpoint: %s", self.layout.active, exc)  # noqa: TRY400
        finally:
            with self._lock:
                self._closed, self._open = True, False
                self._room.notify_all()
            self._sealer.stop()
            self._active.close()
            self._trail_lock.release()

    def abandon(self) -> None:
        """In a forked child: the trail stays the parent's."""
        self._forked, self._open = True, False
        self._lock = threading.Lock()  # the parent's other threads may have held it
        self._group = GroupCommit(lambda _: 0, self._unavailable, 0.0)
        self._trail_lock.abandon()


def _abandon_all() -> None:
    for writer in list(_writers):
        writer.abandon()


os.register_at_fork(after_in_child=_abandon_all)
