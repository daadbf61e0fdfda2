"""The lanes of one trail, and the lock by which there is one shipper a trail."""

from __future__ import annotations

import os
import socket
import time
import weakref
from typing import TYPE_CHECKING, Final

from indelible.anchor_settings import FACILITIES
from indelible.errors import TrailError, TrailLocked
from indelible.formats.record import Options
from indelible.shipper.lane import Lane, Parts
from indelible.trail import durable
from indelible.trail.start.holder import current_holder
from indelible.trail.start.lock import TrailLock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indelible.shipper.route import Sealed
    from indelible.sink_settings import SinkSettings
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.start.holder import Holder

LOCK: Final = "lock"

GRACE_S: Final = 2.0
"""How long the end waits for a destination that is being sent something, before it is cut off."""


class Shipper:
    """Ships one trail, from `start` until `close`."""

    def __init__(self, layout: Layout, access: Access, parts: Parts, *, rests: bool = False) -> None:
        """Take the trail's shipping over; one that `rests` gives way to who records beside it.

        Raises TrailError when another process has it, naming that one.
        """
        self._layout = layout
        self._access = access
        self._parts = parts
        self._rests = rests
        self.lanes: list[Lane] = []
        try:
            durable.make_directory(layout.cursors, access)
            self._lock = TrailLock(layout.cursors / LOCK, access)
        except TrailLocked as exc:
            raise TrailError(f"{layout.active}: is being shipped by {exc.holder or 'another process'}") from exc
        except OSError as exc:
            raise TrailError(f"{exc.filename or layout.cursors}: cannot ship: {exc.strerror}") from exc
        _close_in_children(self._lock)

    def start(self, sinks: Sequence[SinkSettings], goal: Sealed | None = None) -> None:
        """Begin; with a `goal`, every lane is `done` when it has everything up to it."""
        self.lanes = [Lane(self._layout, settings, self._parts, self._access) for settings in sinks]
        for lane in self.lanes:
            lane.start(os.getpid(), goal, rests=self._rests)

    def reload(self, sinks: Sequence[SinkSettings]) -> None:
        """Go on with these sinks: one that is as it was goes on untouched, every other one ends or begins.

        A sink keeps its place by its name.
        """
        stay = [lane for lane in self.lanes if lane.settings in sinks]
        self._end([lane for lane in self.lanes if lane not in stay])
        same = {lane.name for lane in stay}
        begun = [
            Lane(self._layout, settings, self._parts, self._access)
            for settings in sinks
            if settings.name not in same
        ]
        for lane in begun:
            lane.start(os.getpid(), rests=self._rests)
        self.lanes = [*stay, *begun]

    def failing_for(self) -> tuple[Lane, float] | None:
        """Return the lane that has failed for longest, and for how many seconds; None when none does."""
        now = time.monotonic()
        failing = [
            (lane, now - since)
            for lane in self.lanes
            if not lane.done.is_set() and (since := lane.standing.failing_since) is not None
        ]
        return max(failing, key=lambda one: one[1], default=None)

    def hurry(self) -> None:
        """Have nothing wait for more to be sent with it."""
        for lane in self.lanes:
            lane.hurry()

    def close(self) -> None:
        """End: what is under way is finished, as far as the destinations let it, and each place kept."""
        self._end(self.lanes)
        self._lock.release()

    def _end(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            lane.stop()
        deadline = time.monotonic() + GRACE_S
        for lane in lanes:
            if not lane.join(max(0.0, deadline - time.monotonic())):
                lane.cut_off()
        for lane in lanes:
            lane.join(GRACE_S)


def current_shipper(layout: Layout) -> Holder | None:
    """Return who ships a trail, or None when nobody does."""
    return current_holder(layout.cursors / LOCK)


def _close_in_children(lock: TrailLock) -> None:
    """See to it that a forked child does not hold the lock: it has none of our threads."""
    kept = weakref.ref(lock)

    def forget() -> None:
        held = kept()
        if held is not None:
            held.abandon()

    os.register_at_fork(after_in_child=forget)


def options_of(settings: SinkSettings, version: str) -> Options:
    """Return what a sink's format is made with."""
    return Options(
        vendor=settings.vendor,
        product=settings.product,
        version=version,
        dialect=settings.dialect,
        host=socket.gethostname(),
        app_name=settings.app_name,
        facility=FACILITIES.index(settings.facility),
        enterprise=settings.enterprise,
        max_bytes=settings.max_bytes,
    )
