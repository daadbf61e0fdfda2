"""What a writer says of itself, and when it takes no events of others.

The rules that live here:

- That the clock was set or the disk fills up stands before the next event, or is written by the sealer's thread.
- While callers' events are withheld for want of room (see `space`), the trail's own words still are written: alerts,
  heartbeats, deletions, `audit_stopped`. Where they find no space, the reserve goes.
- Who closes the trail has the last word: refusals as far as there is room without the reserve, then the gap, with it.
"""

from __future__ import annotations

import logging
import os
import threading
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from indelible import events
from indelible.errors import TrailUnavailable
from indelible.trail import gapfile, space
from indelible.trail.commit import Item
from indelible.trail.entry import TIME
from indelible.trail.gapfile import Count
from indelible.trail.queued import Queue
from indelible.trail.service import service_event
from indelible.trail.space import Space
from indelible.trail.unsealed import MAX_PENDING_EVENTS, Unsealed

if TYPE_CHECKING:
    from indelible.config import AuditSettings
    from indelible.events import EventType, RecorderId
    from indelible.trail.clock import TrailClock
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.start.recovery import Resume

log = logging.getLogger("indelible")

_GAP: Final = b'"event_type":"audit_gap"'

GAP_WITHIN: Final = 80
"""An event's type stands in so many of its first bytes, after its `timestamp`."""


class Watched(Unsealed):
    """Watches clock and disk for `Writer`, and keeps its own words apart. All that begins with ``_``: under `_lock`."""

    def __init__(
        self,
        layout: Layout,
        audit: AuditSettings,
        access: Access,
        state: Resume,
        *,
        recorder: RecorderId,
        clock: TrailClock,
    ) -> None:
        super().__init__(layout, audit, access, state)
        self.recorder = recorder
        self._clock = clock
        self._tick = clock.tick
        self._steps = clock.steps
        self._space = Space(layout, audit.disk_thresholds, access)
        self._queue = Queue()
        """What waits at `memory` durability."""
        self._is_last = False
        """The queue is emptied for the last time: nothing more is accepted that nobody would write."""
        self._unsaid: list[Item] = []
        """What the trail has to say of itself before the next event."""
        self._inline = audit.durability == "process"
        """An append is one write on the caller's thread."""
        self._speaker = 0
        """The thread that closes the trail: its events are the last words."""

    @abstractmethod
    def _write(self, items: Sequence[Item]) -> list[int]:
        """Stamp and write items in order, the first at least; return the seqs of those that are in the file."""

    @abstractmethod
    def try_again(self) -> None:
        """Let the next append try the disk at once, though it has just failed."""

    # --- the trail's own words ---------------------------------------------------------------------------------

    def service_event(self, event_type: EventType, metadata: dict[str, Any]) -> Item:
        """Return an event of the trail's own; `metadata` must hold nothing that a caller chose."""
        return service_event(self.recorder, events.format_time(self._clock.wall()), event_type, metadata)

    def write_service_events(self, items: Sequence[Item]) -> None:
        """Append events of the trail's own, in order, also when callers' are withheld. Raises TrailUnavailable."""
        with self._turn:
            if len(self._write_own(items)) < len(items):
                raise self._unavailable()

    def _write_own(self, items: Sequence[Item], *, reserve: bool = True) -> list[int]:
        """Do what `_write_all` does with events of the trail's own; they may use the `reserve` of space, or not."""
        seqs: list[int] = []
        while len(seqs) < len(items) and (reserve or self._space.whole) and self._usable():
            with self._own_words():
                written = self._write(items[len(seqs) :])
            if not written and not (reserve and self._release(self._failure)):
                break
            seqs += written
        return seqs

    def _to_say(self) -> list[Item]:
        """Return what the trail has to say of itself, as far as there is room for it beside an event."""
        while self._steps:
            about = self._steps[0].metadata()
            log.warning("%s: the clock was set by %g s", self.layout.active, about["step_s"])
            self._unsaid.append(self.service_event("clock_stepped", about))
            del self._steps[0]
        return self._unsaid[: max(0, MAX_PENDING_EVENTS - 1 - len(self._pending))] if self._unsaid else []

    def beat(self) -> None:
        """Record that the trail is alive though nothing happens."""
        item = self.service_event("audit_heartbeat", {"size": self._seq})
        with self._lock:
            if not self._behind():
                self._write_own((item,))

    # --- room and time -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """See how much room there is, and whether the clock was set; record what is to be said of that."""
        with self._lock:
            if self._lost or not self._open:
                return
            self._clock.look()
            self._recheck()
            say = self._to_say()
            if say and not self._behind():
                self._say(say)
            if not self._unsaid:
                self._space.remember()

    def _say(self, items: list[Item]) -> None:
        """Write what is to be said now; what cannot be is said before the next event."""
        self._unsaid = []
        written = 0
        try:
            written = len(self._write_own(items))
        finally:
            self._unsaid = items[written:] + self._unsaid

    def _recheck(self) -> None:
        for about in self._space.look():
            log.warning("%s: %s", self.layout.active, space.describe(about))
            self._unsaid.append(self.service_event("alert", about))
        self._withhold(self._space.full)

    def _release(self, failure: BaseException | None) -> bool:
        """Let go of the reserve when `failure` is for want of space; tell whether another attempt is worth it."""
        if not self._space.release(failure):
            return False
        self._withhold(self._space.full)
        self._retry_at = 0.0
        return True

    def make_room(self, failure: OSError | TrailUnavailable) -> bool:
        """The same for the sealer, whose checkpoint could not be made."""
        with self._lock:
            return self._release(failure if isinstance(failure, OSError) else failure.__cause__)

    # --- the last words ----------------------------------------------------------------------------------------

    def last_words(self) -> None:
        """The calling thread closes the trail next: its events may use what is left of the disk, without a pause.

        An `audit_gap` may use the reserve as well.
        """
        self.try_again()
        with self._lock:
            if self._open and not self._lost:
                self._recheck()
        self.try_again()
        self._speaker, self._inline = threading.get_ident(), False

    def _append_last(self, item: Item) -> None:
        if self._speaker != threading.get_ident():
            msg = f"{self.layout.active}: the trail is being closed"
            raise TrailUnavailable(msg)
        with self._turn:
            self._drain_all()
            if not self._write_own((item,), reserve=_GAP in item.body[:GAP_WITHIN]):
                raise self._unavailable()

    def _let_go(self) -> None:
        """Take off the queue what is written."""
        if self._queue.seqs:
            self._queue = self._queue.rest()

    def _drop(self, seq: int, count: int) -> None:
        super()._drop(seq, count)
        self._queue.take_back(seq)

    def _drain_all(self) -> None:
        """Write what is queued, at the end: it was accepted, and is not withheld as long as the reserve is whole."""
        while self._queue.items and self._space.whole and self._usable():
            with self._own_words():
                if self._failure is not None and not self._repair():
                    break
                self._drain()
                if self._failure is not None:
                    break

    def _give_queue_up(self) -> None:
        """Let go of what is queued and finds no room at the end; a gap says so, or the next recorder does."""
        self._let_go()
        lost = len(self._queue.items)
        if not lost:
            return
        reason = str(self._unavailable())
        log.error("%d queued events are lost: %s", lost, reason)
        first, last = self._queue.items[0].body, self._queue.items[-1].body
        self._queue = Queue()
        since, until = (body[TIME].decode("ascii", "replace") for body in (first, last))
        about = {"lost": lost, "reason": reason, "since": since, "until": until}
        if not self._write_own((self.service_event("audit_gap", about),)):
            count = Count(self.recorder.id, os.getpid(), lost, reason=reason, since=since, until=until)
            gapfile.leave(self.layout, self.access, count)
