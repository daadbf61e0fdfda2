"""What a recorder could not record: events lost (counted), calls refused (kept, up to a limit).

What may not move:

- The count is exact: of events whose `record` has returned, those and only those that are not in the trail. One that
  was not recorded in time and came later is taken off again; while it is not known whether it comes, no `audit_gap` is
  written.
- It outlives the process (see `gapfile`), and stands in the trail once: recorded by the process itself as soon as
  writing works again, or by the next recorder that looks (`gapdead`).
- Its lock is never held while the trail is written: who loses an event waits for no disk.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, Protocol

from indelible.errors import IndelibleError, NotInTime, TrailUnavailable
from indelible.trail import durable, gapfile
from indelible.trail.commit import id_of
from indelible.trail.gapfile import Claim, Count, GapFile
from indelible.trail.gapkeeper import Keeper, try_to_keep
from indelible.trail.notice import Notice
from indelible.trail.reader import shown_size
from indelible.trail.sharing.recent import find_ids
from indelible.trail.turn import Turn

if TYPE_CHECKING:
    from indelible.events import EventType
    from indelible.trail.commit import Item
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

log = logging.getLogger("indelible")

MAX_REFUSED: Final = 1024
"""How many refused calls are remembered until they can be recorded; more are counted in the `audit_gap`."""

WAIT_S: Final = 5.0
"""How long one caller waits for another that records what is owed, and may be stuck in the write, unless told so."""

_gaps: weakref.WeakSet[Gap] = weakref.WeakSet()


class Writes(Protocol):
    """The part of a writer that is used here."""

    def append(self, body: bytes, opens: str, closes: str, /) -> None:
        """Append an event; raises TrailUnavailable."""

    def service_event(self, event_type: EventType, metadata: dict[str, Any]) -> Item:
        """Return an event of this recorder's own."""


class Gap:
    """What one recorder owes the record. Safe to use from any thread."""

    def __init__(
        self,
        layout: Layout | None = None,
        access: Access | None = None,
        recorder: str = "",
        *,
        timeout: float = WAIT_S,
    ) -> None:
        """Without a `layout` the count is in memory only: nothing is recorded.

        Behind a service there are no files beside the trail: the count is in shared memory only.
        """
        self.open = False
        """Whether something is owed."""
        self.refused: list[Item] = []
        self._layout = layout
        self._access = access or durable.Access()
        self._recorder = recorder
        self._timeout = timeout
        self._closed = False
        self._size = shown_size(layout.active) if layout is not None else 0
        """How many lines the trail has had at least: what is on its way now comes after them."""
        self._reset()
        self._make_file()  # now: a full disk has no room for it
        _gaps.add(self)

    def _make_file(self) -> None:
        self._made = True
        if self._layout is not None:
            self._file = GapFile.create(self._layout, self._access, self._recorder)
            if not self._file.survives:
                log.warning("%s: a count of lost events cannot be kept there", self._layout.gaps)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        what = str(self._layout.active) if self._layout is not None else "the trail"
        self._catching = Turn(threading.Lock(), self._timeout, what)
        self._notice = Notice("events are recorded again")
        self._file = GapFile(Count(self._recorder, os.getpid()), None, None)
        self._unsure: set[str] = set()
        """Counted as lost, and on their way: they may be in the trail yet."""
        self._early: dict[str, bool] = {}
        """What became of events that are about to be counted as such: the answer was faster than who waited for it."""
        self._fates: dict[str, bool | None] = {}
        """Under ``deny``: whether outcomes that were not recorded in time are in the trail; None while nobody knows.
        A refusal that has the same `event_id` is in the place of one of them, and owed only if that is not there."""
        self._keeper: Keeper | None = None
        self._made = False
        self._left = ""
        """The name of what was counted after the end."""

    @property
    def lost(self) -> int:
        """How many events are lost and not reported."""
        return self._file.count.lost

    # --- what happens ------------------------------------------------------------------------------------------

    def lose(self, error: TrailUnavailable, timestamp: str, body: bytes) -> None:
        """Count one event as lost, also after the end."""
        with self._lock:
            if self._closed:
                self._come_back()
            if isinstance(error, NotInTime):
                self._lose_for_now(id_of(body), str(error), timestamp)
            else:
                self._count(str(error), timestamp)

    def doubt(self, event_id: str) -> None:
        """An event was not recorded in time, and its caller is told so: it may come yet. See `refuse`."""
        with self._lock:
            self._fates[event_id] = self._early.pop(event_id, None)
            if len(self._fates) > 2 * MAX_REFUSED:  # no refusal was owed of most of them
                waiting = {id_of(item.body) for item in self.refused}
                del self._fates[next(known for known in self._fates if known not in waiting)]

    def _lose_for_now(self, event_id: str, reason: str, timestamp: str) -> None:
        """Count an event that may come yet, unless it is known that it has come."""
        came = self._early.pop(event_id, None)
        if came is None:
            self._expect(event_id)
        if not came:
            self._count(reason, timestamp)

    def _expect(self, event_id: str) -> None:
        """An event that is counted may be in the trail yet."""
        self._unsure.add(event_id)
        self._file.count.doubt(event_id, self._size)

    def late(self, event_id: str, came: bool) -> None:  # noqa: FBT001 - a callback's two outcomes
        """It turned out what became of an event that was not recorded in time."""
        with self._lock:
            count = self._file.count
            if self._closed:
                return  # whoever finds the count looks for it
            if count.claim is not None and count.claim.event_id == event_id:
                self._settle(came)
            elif event_id in self._fates:
                self._learn_fate(event_id, came)
            elif event_id in self._unsure:
                self._unsure.discard(event_id)
                count.know(event_id)
                count.lost -= came
                self._store()
            else:
                self._early[event_id] = came
                _forget_oldest(self._early)

    def _learn_fate(self, event_id: str, came: bool) -> None:  # noqa: FBT001
        """It is known whether an outcome is in the trail; if so, no refusal is owed in its place."""
        waiting = [item for item in self.refused if id_of(item.body) == event_id]
        if not waiting:
            self._fates[event_id] = came  # the refusal is about to be made
            return
        del self._fates[event_id]
        if came:
            self.refused = [item for item in self.refused if item not in waiting]
        self._file.count.waiting = len(self.refused)
        self._file.count.know(event_id)
        self._store()

    def refuse(self, item: Item, timestamp: str) -> None:
        """Keep a refusal, or count it as lost when too many are kept.

        One that has the `event_id` of an event that was not recorded in time is owed in its place, if that does not
        come: a call has one outcome.
        """
        with self._lock:
            event_id = id_of(item.body)
            if self._fates.get(event_id, True) is not None and self._fates.pop(event_id, False):
                return
            doubtful = event_id in self._fates
            if not self._closed and len(self.refused) < MAX_REFUSED:
                self.refused.append(item)
                self.open = True
                count = self._file.count
                count.since = count.since or timestamp
                count.until, count.waiting = timestamp, len(self.refused)
                if doubtful:
                    count.doubt(event_id, self._size)
                self._store()
                return
            if self._closed:
                self._come_back()
            reason = "the trail is closed" if self._closed else "too many refused calls"
            if doubtful:
                del self._fates[event_id]
                self._lose_for_now(event_id, reason, timestamp)
            else:
                self._count(reason, timestamp)

    def _count(self, reason: str, timestamp: str) -> None:
        count = self._file.count
        self._notice.bad(f"events are not recorded: {reason}")
        if not count.lost and not count.waiting:
            count.since = timestamp
        count.lost += 1
        count.reason, count.until = reason, timestamp
        self.open = True
        self._store()

    def _store(self) -> None:
        if not self._made:
            count = self._file.count
            self._make_file()
            self._file.count = count
        self._file.store()
        if self._layout is None:
            return
        if self._closed:
            self._leave()
        elif self._file.in_memory:
            try:
                self._keeper = self._keeper or Keeper(self._file)
            except RuntimeError:  # no more threads here, or the interpreter ends: shared memory has it
                return
            self._keeper.keep(self._file.snapshot())
        else:
            try_to_keep(self._file)

    def _leave(self) -> None:
        """What is lost after the end is the next recorder's to say at once: this one may live for long."""
        try_to_keep(self._file)
        self._left = self._file.name
        self._file.close()
        self._forget()

    def _come_back(self) -> None:
        """Go on with the count that was left, unless somebody has it."""
        left = gapfile.take(self._layout, self._left) if self._layout is not None and self._left else None
        if left is not None and left.survives:
            self._file, self._made = left, True

    def _forget(self) -> None:
        self._file = GapFile(Count(self._recorder, os.getpid()), None, None)
        self._made = False
        self._unsure = set()
        self.refused = []

    # --- recording it ------------------------------------------------------------------------------------------

    def catch_up(self, writer: Writes, *, last: bool = False) -> None:
        """Record what was refused and how much was lost, in that order, as far as writing works.

        When it is the `last` attempt, refusals that find no room are counted: there may be room for their number.
        Raises TrailUnavailable when another thread is at it, and does not end in time.
        """
        with self._catching:
            try:
                try:
                    self._record_refused(writer, last=last)
                except NotInTime:
                    raise
                except TrailUnavailable as exc:
                    if not last:
                        raise
                    self._count_refused(str(exc))
                self._record_lost(writer)
            except TrailUnavailable:
                return
            with self._lock:
                if not self.refused and not self.lost:
                    self.open = False
                    self._notice.well()

    def _record_refused(self, writer: Writes, *, last: bool) -> None:
        while (item := self._next_refused(last=last)) is not None:
            if not self._came_before(item):
                try:
                    writer.append(*item)
                except NotInTime as exc:
                    self._take_refused(exc)
                    raise
                except TrailUnavailable:
                    with self._lock:
                        self._file.count.know(id_of(item.body))
                        self._store()
                    raise
            self._take_refused()

    def _next_refused(self, *, last: bool) -> Item | None:
        """Return the refusal to be recorded next; None for no more.

        Raises TrailUnavailable while the event in whose place it is owed may come yet. At the `last` attempt it is
        counted then, as such an event is under ``allow``: unless it comes.
        """
        with self._lock:
            while self.refused:
                item = self.refused[0]
                event_id = id_of(item.body)
                if self._fates.get(event_id, True) is not None:
                    return item
                error = NotInTime("it is not known yet whether an event is recorded")
                if not last:
                    raise TrailUnavailable(str(error))
                del self._fates[event_id]
                self._drop_refused(error)
        return None

    def _came_before(self, item: Item) -> bool:
        """Note that a refusal is on its way now; tell whether it came, when an attempt before was interrupted."""
        event_id = id_of(item.body)
        with self._lock:
            count = self._file.count
            if event_id not in count.doubts:
                count.doubt(event_id, self._look())
                self._store()
                return False
            since = count.doubt_size
        if self._layout is None or self._layout.behind_service:
            return False
        try:
            return event_id in find_ids(self._layout, {event_id}, since)
        except (OSError, IndelibleError) as exc:
            msg = f"it cannot be known whether a refusal is recorded: {exc}"
            raise TrailUnavailable(msg) from exc

    def _look(self) -> int:
        """See how many lines the trail has, at least."""
        if self._layout is not None:
            self._size = max(self._size, shown_size(self._layout.active))
        return self._size

    def _count_refused(self, reason: str) -> None:
        with self._lock:
            self._notice.bad(f"events are not recorded: {reason}")
            for event_id in (id_of(item.body) for item in self.refused):
                if self._fates.pop(event_id, True) is None:
                    self._expect(event_id)
            count = self._file.count  # as one change: a death in between would count them twice
            count.lost, count.waiting, count.reason = count.lost + len(self.refused), 0, reason
            self.refused.clear()
            self._store()

    def _take_refused(self, late: NotInTime | None = None) -> None:
        with self._lock:
            self._drop_refused(late)

    def _drop_refused(self, late: NotInTime | None = None) -> None:
        item, count = self.refused.pop(0), self._file.count
        count.waiting = len(self.refused)
        count.know(id_of(item.body))
        if late is not None:
            self._lose_for_now(id_of(item.body), str(late), count.until)
        self._store()

    def _record_lost(self, writer: Writes) -> None:
        with self._lock:
            count = self._file.count
            if not count.lost or count.claim is not None or self._unsure:
                return
            item = writer.service_event("audit_gap", metadata(count, count.lost))
            count.claim = claim_of(item, count.lost, self._look())
            self._store()
        try:
            writer.append(*item)
        except NotInTime:
            raise  # `late` says what became of it
        except TrailUnavailable:
            with self._lock:
                self._settle(came=False)
            raise
        with self._lock:
            self._settle(came=True)

    def _settle(self, came: bool) -> None:  # noqa: FBT001
        """It is known whether the `audit_gap` is in the trail."""
        count = self._file.count
        if came and count.claim is not None:
            count.lost -= count.claim.lost
            count.since = count.until
        count.claim = None
        self._store()

    # --- life --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave no file when nothing is owed; else leave it to the next recorder."""
        with self._lock:
            self._notice.say(at_once=True)
            keeper, self._keeper = self._keeper, None
            if keeper is not None and not keeper.stop():
                return  # the disk hangs: the descriptors end with the process
            if self._file.count.owed:
                self._file.close()
            else:
                self._file.remove()
            self._closed = True
            self._forget()

    def abandon(self) -> None:
        """In a forked child: what was lost before the fork is the parent's to say."""
        self._file.close()
        self.refused = []
        self.open = False
        self._reset()


def _forget_oldest(known: dict[str, Any]) -> None:
    if len(known) > MAX_REFUSED:
        del known[next(iter(known))]


def metadata(count: Count, lost: int) -> dict[str, Any]:
    """Return what the `audit_gap` says."""
    return {"lost": lost, "reason": count.reason, "since": count.since, "until": count.until}


def claim_of(item: Item, lost: int, size: int) -> Claim:
    """Return what is noted of an `audit_gap` before it is written: nobody else says it again once it is there."""
    return Claim(id_of(item.body), lost, size, time.time())


def _abandon_all() -> None:
    for gap in list(_gaps):
        gap.abandon()


os.register_at_fork(after_in_child=_abandon_all)
