"""The one writer of a trail.

What may not move:

- Lines are stamped and written under `_lock`, in the order of their seqs, each with its LF in one write.
- At most `PROMISED_EVENTS` of them wait for a checkpoint, however many come at once; the next append waits for it.
- `recorded_at` never goes back, whatever the clock does (see `clock`), and no `timestamp` is later (`entry.in_time`).

What waits for a checkpoint, and what becomes of it when the disk fails, is in `unsealed`; what the trail says of
itself, and when there is no room for others' events, in `watched`. This builds on both.

At `process` durability an append is one `write` on the caller's own thread. At `disk` it goes through
`commit.GroupCommit`, at `memory` through a queue that the sealer's thread empties.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from indelible import events
from indelible.errors import TrailLocked, TrailUnavailable
from indelible.events import RecorderId
from indelible.trail import durable
from indelible.trail.active import ActiveFile, close_into_segment
from indelible.trail.anchors.handout import HandOut
from indelible.trail.commit import Done, GroupCommit, Item, Late, OwnWord
from indelible.trail.entry import TIME, in_time, stamp_line
from indelible.trail.proofs import ownwords
from indelible.trail.sealer import HURRY_BYTES, HURRY_EVENTS, Sealer
from indelible.trail.turn import Turn
from indelible.trail.unsealed import MAX_PENDING_BYTES, MAX_PENDING_EVENTS
from indelible.trail.upkeep.housekeeping import Housekeeper
from indelible.trail.watched import Watched

if TYPE_CHECKING:
    from indelible.config import AuditSettings
    from indelible.trail.clock import TrailClock
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.proofs.checkpoint import Signer
    from indelible.trail.start.holder import Phase
    from indelible.trail.start.keyring import Keyring
    from indelible.trail.start.lock import TrailLock
    from indelible.trail.start.recovery import Resume
    from indelible.trail.unsealed import Pending

log = logging.getLogger("indelible")

RETRY_S: Final = 0.1
"""After a failure, how long until the disk is tried again; appends in between fail at once."""

_HURRIES: Final = HURRY_EVENTS - 1
"""So many lines are pending before the one that makes a checkpoint due at once."""

_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


class Writer(Watched):
    """A process's hold on a trail, from `start` until `close`. Safe to use from any thread."""

    def __init__(
        self,
        layout: Layout,
        audit: AuditSettings,
        *,
        lock: TrailLock,
        keyring: Keyring,
        access: Access,
        state: Resume,
        recorder: RecorderId,
        clock: TrailClock,
    ) -> None:
        super().__init__(layout, audit, access, state, recorder=recorder, clock=clock)
        self.origin = keyring.signer.verifier.name
        self._keyring = keyring
        self._trail_lock = lock
        self._resume = state
        self._direct = audit.durability == "process"

        self._group = GroupCommit(self._commit, self._unavailable, audit.write_timeout)
        self._sealer = Sealer(self, keyring, state.tree)
        self._housekeeper = Housekeeper(self, state.pruned)
        self._handout = HandOut(layout, audit.anchors, lambda: keyring.signer.verifiers, access)
        self.on_sealed: Callable[[], None] = lambda: None
        """Called after each checkpoint, from the thread that made it."""
        _writers.add(self)

    # --- appending ------------------------------------------------------------------------------------------

    def append(self, body: bytes, opens: str = "", closes: str = "") -> None:
        """Return when the event is in the trail, as safe as the durability says.

        `body` is a redacted event without the writer's stamps; `opens` the `event_id` of an intent that it is,
        `closes` that of one whose outcome it is. Raises TrailUnavailable when it is not in the trail.
        """
        if self._inline:
            lock, turn = self._lock, self._turn
            with turn if lock.locked() or turn.hung else lock:  # since whoever has it may be stuck in a write
                if self._write_one(body, opens, closes):
                    return
            raise self._unavailable()
        item = Item(body, opens, closes)
        if self._speaker:
            self._append_last(item)
        elif self.audit.durability == "disk":
            self._group.append(item)
        else:
            self._enqueue(item)

    def append_all(self, items: Sequence[Item]) -> tuple[int, TrailUnavailable | None]:
        """Append events in order; return how many are in the trail, and why not all."""
        if not self._direct:
            for at, item in enumerate(items):
                try:
                    if self.audit.durability == "disk" or self._speaker == threading.get_ident():
                        self.append(*item)
                    else:  # of other processes, too, while this one says its last words
                        self._enqueue(item)
                except TrailUnavailable as exc:
                    return at, exc
            return len(items), None
        lock, turn = self._lock, self._turn
        try:
            with turn if lock.locked() or turn.hung else lock:  # as in `append`
                if len(items) == 1:  # what a recorder sends that waits for each of its events
                    written = int(self._write_one(*items[0]))
                else:
                    written = len(self._write_all(items))
                return written, None if written == len(items) else self._unavailable()
        except TrailUnavailable as exc:
            return 0, exc

    def tell_late(self, on_late: Late) -> None:
        """Let `on_late` be told what became of events that were not recorded in time (NotInTime), from any thread."""
        self._group.on_late = on_late

    def submit(self, items: list[Item], done: Done) -> None:
        """Queue events at `disk` durability and return; `done` is called from another thread. See `GroupCommit`."""
        self._group.submit(items, done)

    def _enqueue(self, item: Item) -> None:
        """At `memory` durability: queue, and let the sealer's thread write."""
        with self._turn:
            size = len(item.body)
            self._let_go()
            if isinstance(self._failure, InterruptedError):
                self._repair()
            if not self._queue.has_room(size) and self._usable():
                self._drain()
            queue = self._queue
            if not queue.has_room(size) or self._failure or not self._open or self._is_last:
                raise self._unavailable()
            queue.put(item)
            first = len(queue.items) == 1
        if first:
            self._sealer.wake()

    def drain(self) -> None:
        """Write what is queued at `memory` durability, as much as may be pending."""
        with self._lock:
            self._drain()

    def _drain(self) -> None:
        self._let_go()  # the last one may have been interrupted
        queue = self._queue
        if queue.items and not self._behind() and self._failure is None:
            self._write(queue.items, queue.seqs)
            self._let_go()

    # --- writing: all of it under _lock ------------------------------------------------------------------------

    def _write_one(self, body: bytes, opens: str, closes: str) -> bool:
        """Do what `_write` does, for one event that fits the active file: the hot path, in one piece."""
        pending = self._pending
        count = len(pending)
        if self._failure is not None or count >= MAX_PENDING_EVENTS or not self._open:
            return self._usable() and bool(self._write((Item(body, opens, closes),)))
        seq, recorded_at = self._seq, self._tick()
        if body[TIME] > recorded_at:
            body = in_time(body, recorded_at)
        line = stamp_line(seq, recorded_at, body)
        active = self._active
        size, pending_bytes = active.size, self._pending_bytes
        if size + len(line) > self.audit.max_size or pending_bytes >= MAX_PENDING_BYTES or self._steps:
            return self._usable() and bool(self._write((Item(body, opens, closes),)))
        try:
            active.put(line)
            self._seq = seq + 1
            pending.append(line)
            self._pending_bytes = pending_bytes + len(line)
            if not count or count == _HURRIES or self._pending_bytes >= HURRY_BYTES:
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

    def _write(self, items: Sequence[Item], seqs: list[int] | None = None) -> list[int]:
        """Stamp and write items in order, the first at least, and as many as may be pending.

        Return the seqs of those that are in the file, in `seqs` if that is given. The rest is not. What the trail has
        to say stands before them.
        """
        seqs = [] if seqs is None else seqs
        if not self._open or (self._failure is not None and not self._repair()):
            return seqs
        self._tick()
        said = self._to_say()
        before: list[int] = []
        if said:
            try:
                self._put_all(said, before)
            finally:
                del self._unsaid[: len(before)]
        if len(before) == len(said):
            self._put_all(items, seqs)
        return seqs

    def _put_all(self, items: Sequence[Item], seqs: list[int]) -> None:
        """Stamp and write items, adding their seqs to `seqs`: what `_write` does, without a look at anything else."""
        before = (self._active, self._active.size, self._seq, len(self._pending))
        try:
            while len(seqs) < len(items) and not (seqs and self._behind()):
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

    def _write_all(self, items: Sequence[Item]) -> list[int]:
        """Do what `_write` does, and wait for a checkpoint whenever as many are pending as may be."""
        seqs: list[int] = []
        while len(seqs) < len(items) and self._usable():
            written = self._write(items[len(seqs) :])
            if not written:
                break
            seqs += written
        return seqs

    def _stamp_some(self, items: Sequence[Item], start: int) -> tuple[list[bytes], int]:
        """Stamp items from `start` on, one at least, as many as the active file takes and as may be pending.

        None means: rotate first.
        """
        recorded_at = self._tick()
        seq, active = self._seq, self._active
        room = self.audit.max_size - active.size
        has_events = seq > active.first_seq + 1  # beyond its own first line
        most = start + max(1, MAX_PENDING_EVENTS - len(self._pending))
        lines: list[bytes] = []
        size = 0
        for item in items[start:most]:
            body = item.body if item.body[TIME] <= recorded_at else in_time(item.body, recorded_at)
            if type(item) is OwnWord:
                body = ownwords.sign(self.signer, seq, body)
            line = stamp_line(seq, recorded_at, body)
            if size + len(line) > room and (has_events or lines):
                break
            if lines and self._pending_bytes + size >= MAX_PENDING_BYTES:
                break
            size += len(line)
            lines.append(line)
            seq += 1
        return lines, size

    def _commit(self, items: list[Item]) -> int:
        """Write and sync a batch (`disk`); return how many of its items are safe."""
        with self._lock:
            closing = {item.closes: at for item in items if (at := self._intents.get(item.closes)) is not None}
            if len(items) == 1:  # of a lone caller, who waits for no other
                seqs = [self._seq - 1] if self._write_one(*items[0]) else []
            else:
                seqs = self._write_all(items)
            active, size, next_seq = self._active, self._active.size, self._seq
        if not seqs:
            return 0
        try:
            active.sync(size, next_seq)
        except OSError as exc:
            with self._lock:
                return self._after_failed_commit(exc, active, items, seqs, closing)
        return len(seqs)

    # --- files -------------------------------------------------------------------------------------------------

    def _file_opened(self, first_seq: int, extra: dict[str, Any]) -> bytes:
        """Return the line that every file begins with."""
        metadata = {
            "origin": self.origin,
            "first_seq": first_seq,
            "schema": events.SCHEMA,
            "pruned": self._housekeeper.pruned,
            **({"holds": holds} if (holds := self._housekeeper.holds.name()) else {}),
            **extra,
        }
        body = self.service_event("file_opened", metadata).body
        return stamp_line(first_seq, self._tick(), ownwords.sign(self.signer, first_seq, body))

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

    def rotate(self) -> None:
        """Close the active file, when it holds more than its first line. Raises TrailUnavailable."""
        with self._lock, self._own_words():  # an erasure asks for it, on a full disk too
            if not self._usable() or (self._failure is not None and not self._repair()):
                raise self._unavailable()
            before = (self._active, self._active.size, self._seq, len(self._pending))
            try:
                if self._seq > self._active.first_seq + 1:
                    self._rotate()
            except BaseException as exc:
                self._undo(exc, *before)
                if isinstance(exc, OSError):
                    raise self._unavailable() from exc
                raise

    def forget_twin(self) -> None:
        """Remove what a crash may have left of the making of a file: a second name of it. Raises OSError."""
        with self._lock:
            ActiveFile.forget_twin(self.layout)

    def moment(self) -> tuple[int, frozenset[str]]:
        """Return how many lines there are, and the `event_id` of the intents among them that are open."""
        with self._lock:
            return self._seq, frozenset(self._intents)

    def _pause_s(self) -> float:
        return RETRY_S

    # --- sealing -----------------------------------------------------------------------------------------------

    def sealed_now(self, pending: Pending) -> None:
        """The lines are under a checkpoint: let go of them."""
        super().sealed_now(pending)
        if self._queue.items:
            self._sealer.wake()
        self.on_sealed()

    def ensure_hold(self) -> None:
        """Make sure that nobody else can write the trail; raises TrailUnavailable, now and from then on."""
        if not self.lost:
            try:
                self._trail_lock.ensure()
            except TrailLocked as exc:
                self._housekeeper.stop()
                self._handout.stop()
                self.lose(exc)
        if self.lost:
            raise self._unavailable()

    def say(self, phase: Phase) -> None:
        """Let whoever finds the trail locked know what its holder is at."""
        self._trail_lock.say(phase)

    def keys_stay(self) -> AbstractContextManager[object]:
        """Keep one key from handing over to the next, and checkpoints from being made, as long as it is entered."""
        return self._sealer.pause()

    @property
    def signer(self) -> Signer:
        """Who signs now."""
        return self._keyring.signer

    @property
    def size(self) -> int:
        """How many lines there are."""
        return self._seq

    @property
    def active_size(self) -> tuple[int, int]:
        """The first seq of the active file, and how many bytes it has."""
        active = self._active
        return active.first_seq, active.size

    @property
    def sealed(self) -> int:
        """How many lines the newest checkpoint covers."""
        return self._sealer.size

    def seal(self) -> None:
        """Put everything written so far under a checkpoint. Raises OSError or TrailUnavailable."""
        self._sealer.seal()

    @property
    def housekeeper(self) -> Housekeeper:
        """Who looks after the closed files, and carries out orders."""
        return self._housekeeper

    def published(self, note: bytes) -> None:
        """A checkpoint is in its place: those that it is handed to may have it. Returns at once."""
        self._handout.published(note)

    def hand_over(self, keyring: Keyring) -> None:
        """Let the next signing key take over, once the trail says so. What cannot be written is tried again later."""
        while keyring.look():
            about = keyring.hand_over(self.sealed)
            if not keyring.is_recorded(about["to"], self._resume.rotated):
                item = self.service_event("key_rotated", about)
                with self._lock, self._own_words():
                    if not self._write((item,)):
                        return
            with self._lock:  # who writes a word of the trail's own signs it by the one or by the other
                keyring.handed_over()

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
            self._clock.begin(self.layout)
            self._recheck()
        self._handout.start()
        self._sealer.start()
        if not self.layout.checkpoint.exists():
            self._sealer.hurry()  # a reader may come at once, and a trail without a checkpoint is suspect
        self._housekeeper.rotated()

    def try_again(self) -> None:
        """Let the next append try the disk at once, though it has just failed."""
        self._retry_at = 0.0

    def close(
        self,
        metadata: dict[str, Any] | None = None,
        *,
        good_bye: bool = True,
        still_open: frozenset[str] = frozenset(),
    ) -> None:
        """Write and seal everything that is queued, then `audit_stopped`, and give the trail back.

        Without a `good_bye` the next start looks for open calls, as after a crash; with one, for `still_open` only,
        which are other processes'.
        """
        if self._ended:
            return
        self._group.close()
        try:
            self._housekeeper.close()
            self.last_words()
            with self._lock:
                self._is_last = True
                self._drain_all()
                self._usable()
                self._give_queue_up()
                if good_bye:
                    self._intents = {key: seq for key, seq in self._intents.items() if key in still_open}
                    self._write_own((self.service_event("audit_stopped", metadata or {}),))
                self._open = False  # nothing is accepted after it that no seal would wait for
                self._room.notify_all()
            self.seal()
        except (OSError, TrailUnavailable) as exc:
            if not self.lost:
                log.error("%s: closed without a last checkpoint: %s", self.layout.active, exc)  # noqa: TRY400
        finally:
            with self._lock:
                self._ended, self._open = "the trail is closed", False
                self._room.notify_all()
                self._notice.say(at_once=True)  # there is no later
            self._sealer.stop()
            self._space.settle()
            self._handout.close()
            self._active.close()
            self._trail_lock.release()

    def abandon(self) -> None:
        """In a forked child: the trail stays the parent's."""
        self._ended, self._open = "opened before a fork; open the trail again in the child", False
        self._lock = threading.Lock()  # the parent's other threads may have held it
        self._turn = Turn(self._lock, self.audit.write_timeout, str(self.layout.active))
        self._group.abandon()
        self._group = GroupCommit(lambda _: 0, self._unavailable, 0.0, served=False)
        self._trail_lock.abandon()
        self._housekeeper.twins.abandon()


def _abandon_all() -> None:
    for writer in list(_writers):
        writer.abandon()


os.register_at_fork(after_in_child=_abandon_all)
