"""One sink's way: what comes next in the trail, chosen, rendered, sent, and then its cursor moved. On its own thread.

The rules that live here. Of what was read and not taken nothing is kept: after a failure the same events are read
again, so that what was erased meanwhile is not shipped. While a sink waits for its destination the next batch is read
and rendered, where more than that waits; it is sent only if the one before was taken whole, and its file still stands
as it was read. Memory holds one batch, or these two, whatever the backlog. Dead letters are on the disk before the
cursor passes their events.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from indelible.errors import FOREIGN, IndelibleError
from indelible.shipper.batch import BATCH_EVENTS, Batch, Renderer, accepted, fault, refusals
from indelible.shipper.feed import Gap, Piece
from indelible.shipper.place import Place
from indelible.shipper.seals import Seals
from indelible.shipper.standing import Standing
from indelible.sinks.base import NOTHING, Delivery, Idling, Sealing, Shipment, Sink, SinkUnavailable
from indelible.trail.shipping import letters, request

if TYPE_CHECKING:
    from indelible.formats.record import Format
    from indelible.shipper.choice import Check
    from indelible.shipper.route import Sealed
    from indelible.sink_settings import SinkSettings
    from indelible.sink_settings.parts import BatchSettings
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

log = logging.getLogger("indelible")

REST: Final = 1.0
"""A lane beside a recorder rests for so many times the processor time that a batch took. A lower priority alone does
not do: a recorder at full speed has two threads at work, and each waits for the other whenever that waits for a
processor."""

POLL_S: Final = 0.2
"""How often a lane that has everything looks for a new checkpoint; the trail makes one a second at the most."""


class Parts(NamedTuple):
    """What makes a sink's format and the sink; both raise ConfigError."""

    make_format: Callable[[SinkSettings], Format]
    make_sink: Callable[[SinkSettings], Sink]
    make_check: Callable[[SinkSettings], Check | None] = lambda _: None
    """What else is asked of an event before a sink gets it."""


class Ahead(NamedTuple):
    """What was read while the batch before it was under way."""

    trail: Sealed
    piece: Piece
    batch: Batch


class Lane:
    """One sink of one trail, from `start` until it ends."""

    def __init__(self, layout: Layout, settings: SinkSettings, parts: Parts, access: Access) -> None:
        self.settings = settings
        self.name = settings.name
        self.standing = Standing(layout, settings, access)
        self.before = msgspec.structs.replace(self.standing.state)
        """How it was when this lane began."""
        self.done = threading.Event()
        """It has everything up to its goal."""
        self._layout = layout
        self._parts = parts
        self._place = Place(layout, settings, access)
        self._seals = Seals(layout, self._place, settings.name)
        self._stopping = threading.Event()
        self._sink: Sink | None = None
        self._is_open = False
        self._renderer: Renderer
        self._goal: Sealed | None = None
        self._batch = settings.own.batch
        self._rests = False
        self._hurries = False
        self._under_way: Batch | None = None
        """What is being sent; not while dead letters are."""
        self._ahead: Ahead | None = None
        """What was read meanwhile."""
        self._sent_at: float | None = None
        """When a batch was sent last, by the monotonic clock."""
        self._thread = threading.Thread(target=self._run, name=f"indelible-sink-{self.name}", daemon=True)

    def start(self, pid: int, goal: Sealed | None = None, *, rests: bool = False) -> None:
        """Begin; with a `goal`, `done` is set when everything up to it was taken.

        One that `rests` leaves processors to others for a while after each batch, but for the last ones.
        """
        self._goal = goal
        self._rests = rests
        self.standing.begins(pid)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; what is under way is finished, and the place kept."""
        self._stopping.set()

    def hurry(self) -> None:
        """Wait for nothing more to send with what there is, nor rest: the end is near."""
        self._hurries = True

    def cut_off(self) -> None:
        """Do not wait for the destination any longer."""
        if self._sink is not None:
            self._sink.stop()

    def join(self, timeout: float) -> bool:
        """Wait for the end; tell whether it came."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def next_seq(self) -> int | None:
        """The seq of the first event that was not taken; None when nothing is sealed yet."""
        at = self._place.at
        return None if at is None else at.next

    def has(self, goal: Sealed) -> bool:
        """Tell whether everything up to a point of a trail was taken."""
        return self._place.reached(goal)

    # --- its thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                begun = time.thread_time()
                pause = self._once()
                if not pause and self._rests and not self._hurries:
                    pause = REST * (time.thread_time() - begun)
                self._stopping.wait(pause)
            self._send_what_waits()
        finally:
            self._place.save(at_once=True)
            self._let_go()
            if self._sink is not None:
                self._sink.stop()  # what it still has under way, it lets go of now
                self._close(self._sink)
            self.standing.ended()

    def _send_what_waits(self) -> None:
        """At the end, wait for no more: what is there goes now, in one batch, unless the destination is away."""
        if self._batch is not None and self._is_open and self.standing.failing_since is None:
            self._hurries = True
            self._once()

    def _once(self) -> float:
        """Do the next thing; return how long to wait before the one after it."""
        asked: float | None = None
        prepared = False
        try:
            self._prepare()
            prepared = True
            busy = self._carry_out() or self._step()
        except SinkUnavailable as exc:
            why, asked = str(exc), exc.retry_after
        except (OSError, IndelibleError) as exc:
            why = _said(exc)
        except FOREIGN as exc:  # of another package's sink or format
            # What is raised before the first event was seen quotes none.
            why = f"internal error: {fault(exc) if prepared else f'{type(exc).__name__}: {exc}'}"
        else:
            if not busy:
                self._place.save(at_once=True)
            self.standing.well("running" if busy else "waiting")
            if self._goal is not None and self._place.reached(self._goal):
                self.done.set()
            return 0.0 if busy else POLL_S
        self._ahead = None
        self._place.save(at_once=True)
        self._let_go()
        return 0.0 if self._stopping.is_set() else self.standing.failed(why, asked)

    def _prepare(self) -> None:
        """Have sink, format and place. Raises what keeps them away."""
        self._place.load()
        if self._sink is None:
            made, only = self._parts.make_format(self.settings), self._parts.make_check(self.settings)
            self._renderer = Renderer(self.settings, made, only)
            self._sink = self._parts.make_sink(self.settings)
            if isinstance(self._sink, Sealing):
                self._sink.seal_with(self._seals)
            if isinstance(self._sink, Idling):
                self._sink.meanwhile(self._look_ahead)
        if not self._is_open:
            self._sink.open()
            self._is_open = True

    def _step(self) -> bool:
        """Ship a batch; tell whether there was one. Raises what kept it from being taken."""
        ahead, self._ahead = self._ahead, None
        if self._batch is not None and self._waits(self._batch):
            return False
        if ahead is not None and self._place.is_next(ahead.trail, ahead.piece):
            self._ship(ahead.batch, ahead.trail.origin)
            return True
        found = self._place.next(*self._most)
        if found is None:
            return False
        trail, piece = found
        for gap in piece.gaps:
            self.standing.lost(trail.origin, gap)
        self._ship(self._renderer.batch(piece, trail.origin), trail.origin)
        return True

    @property
    def _most(self) -> tuple[int, int]:
        """How many lines, and bytes of them, are sent at once; 0: as `Place.next` has it."""
        batch, times = self._batch, self.settings.own.batches
        return (0, 0) if batch is None else (times * batch.lines, times * batch.bytes)

    def _look_ahead(self) -> None:
        """Read and render what comes after what is under way. What keeps us from it is said when its turn comes."""
        if self._under_way is None or self._stopping.is_set():
            return
        try:
            found = self._place.ahead(self._under_way.next, *self._most)
            if found is not None:
                self._ahead = Ahead(*found, self._renderer.batch(found[1], found[0].origin))
        except FOREIGN:
            self._place.let_go()

    def _waits(self, batch: BatchSettings) -> bool:
        """Tell whether what has come is to wait for more. Raises OSError, TrailError."""
        if self._hurries or self._goal is not None or self._sent_at is None:
            return False
        if time.monotonic() >= self._sent_at + batch.interval:
            return False
        return not self._place.has_batch(batch.lines, batch.bytes)

    def _ship(self, batch: Batch, origin: str) -> None:
        """Send a batch, and move the cursor as far as it was taken. Raises what kept it from being taken."""
        shipments = batch.shipments
        self._under_way = batch
        try:
            delivery, failure = self._send(shipments)
        finally:
            self._under_way = None
        taken = accepted(delivery, len(shipments))
        following = batch.next if taken == len(shipments) else shipments[taken].seq
        refused = list(refusals(self.name, origin, shipments, delivery))
        dead = [*refused, *(one for one in batch.unfit if one.seq < following)]
        if dead:
            letters.add(self._layout, dead)
            self._place.drop_erased(dead)
        self.standing.took(taken - len(refused), len(dead))
        self._place.move(origin, following, _last(shipments[:taken], delivery))
        if failure is not None:
            raise failure
        if shipments and not taken:
            raise SinkUnavailable("it took nothing, and does not say why")

    def _send(self, shipments: Sequence[Shipment]) -> tuple[Delivery, BaseException | None]:
        if self._sink is None or not shipments:
            return NOTHING, None
        self._sent_at = time.monotonic()
        try:
            return self._sink.send(shipments), None
        except SinkUnavailable as exc:
            return exc.delivery, exc
        except FOREIGN as exc:  # of another package's sink
            return NOTHING, exc

    # --- requests ------------------------------------------------------------------------------------------

    def _carry_out(self) -> bool:
        """Do what somebody asked for; tell whether there was anything."""
        asked = request.read(self._layout, self.name)
        if asked is None:
            return False
        if asked.begin is not None:
            self._begin_again(asked.origin, asked.begin)
        if asked.letters:
            self._seals.follows_on = False
            try:
                self._replay()
            finally:
                self._seals.follows_on = True
        request.done(self._layout, self.name)
        return True

    def _begin_again(self, origin: str, asked: int) -> None:
        """Go on from there. What is deleted by now is lost when the sink never had it, and else only not there."""
        before, first = self._place.at, self._place.first_from(origin, asked)
        since = asked if before is None or before.origin != origin else max(asked, before.next)
        if since < first:
            self.standing.lost(origin, Gap(since, first, damaged=False))
        self._place.jump(origin, first)
        deleted = f"; from {asked} on they are deleted" if asked < first else ""
        log.warning("sink %s: begins again at event %d, as it was asked to%s", self.name, first, deleted)

    def _replay(self) -> None:
        """Send the dead letters again, and take out what was taken. Raises SinkUnavailable, OSError.

        Those that are refused again stay, and hold up nothing: a destination that refuses all of them is no outage.
        """
        own = [one for one in letters.read(self._layout) if one.sink == self.name]
        for first in range(0, len(own), BATCH_EVENTS):
            some, shipments = [], []
            for one in own[first : first + BATCH_EVENTS]:
                shipment = self._renderer.again(one, self._place.line(one.origin, one.seq))
                if shipment is not None:
                    some.append(one)
                    shipments.append(shipment)
            if not some:
                continue
            delivery, failure = self._send(shipments)
            count = accepted(delivery, len(some))
            refused = {index for index, _ in delivery.refused}
            taken = {one.key for at, one in enumerate(some[:count]) if at not in refused}
            if taken:
                letters.remove(self._layout, taken)
                self.standing.took(len(taken), 0)
            if isinstance(failure, SinkUnavailable) and failure.refuses:
                log.warning("sink %s: its dead letters are refused again: %s", self.name, failure)
                return
            if failure is not None:
                raise failure
            if not count:
                raise SinkUnavailable("it took nothing, and does not say why")

    def _let_go(self) -> None:
        """Close file and connection: the next attempt opens them anew."""
        self._place.let_go()
        if self._sink is not None and self._is_open:
            self._is_open = False
            self._close(self._sink)

    def _close(self, sink: Sink) -> None:
        try:
            sink.close()
        except FOREIGN as exc:  # of another package's sink
            log.warning("sink %s: while it was closed: %s", self.name, fault(exc))


def _last(taken: Sequence[Shipment], delivery: Delivery) -> int | None:
    """Return the seq of the last of these that the destination has; None when it refused all of them."""
    refused = {index for index, _ in delivery.refused}
    return next((taken[at].seq for at in range(len(taken) - 1, -1, -1) if at not in refused), None)


def _said(exc: Exception) -> str:
    if isinstance(exc, OSError):
        where = f"{exc.filename}: " if exc.filename is not None else ""
        return f"{where}{exc.strerror or exc}"
    return str(exc)
