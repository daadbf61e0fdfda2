"""How a sink is: in its state beside the trail, in the log, and for whoever waits for it.

A cause is said once, and again only after it was well in between, or after `AGAIN_S`: a destination that is away for a
day and fails in two ways by turns makes a handful of lines.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Final

from indelible.shipper import pace
from indelible.trail.notice import Notice
from indelible.trail.shipping import state

if TYPE_CHECKING:
    from indelible.shipper.feed import Gap
    from indelible.sink_settings import SinkSettings
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.shipping.state import Phase

log = logging.getLogger("indelible")

STATE_S: Final = 1.0
"""How often a state is written while events flow."""

AGAIN_S: Final = 3600.0
MAX_CAUSES: Final = 8
"""So many causes are told apart."""


class Standing:
    """The state of one sink. Of one thread."""

    def __init__(self, layout: Layout, settings: SinkSettings, access: Access) -> None:
        self._layout = layout
        self._access = access
        self._settings = settings
        self._notice = Notice(good=f"sink {settings.name}: events are shipped again")
        self._causes: dict[str, float] = {}
        self._show_at = 0.0
        self.state = state.read(layout, settings.name)
        self.state.sink = settings.name
        self.state.type, self.state.format, self.state.to = settings.type, settings.format, settings.target
        self.failing_since: float | None = None
        """By the monotonic clock; None while it is well."""

    def begins(self, pid: int) -> None:
        """It is shipped to by this process from now on, as whoever asks can see at once."""
        self.state.pid, self.state.state = pid, "running"
        self.show(at_once=True)

    def took(self, taken: int, refused: int) -> None:
        """It has taken so many events, and refused so many for good."""
        if taken:
            state.took(self.state, taken)
        self.state.refused += refused

    def lost(self, origin: str, gap: Gap) -> None:
        """Events cannot be shipped any more."""
        self.state.lost += gap.end - gap.first
        why = "are damaged in the trail" if gap.damaged else "were deleted before it had them"
        log.error("sink %s: events %d to %d of %s %s", self.state.sink, gap.first, gap.end - 1, origin, why)

    def well(self, phase: Phase) -> None:
        """It is well, and running or waiting."""
        fresh = self.state.state != phase or self.state.error is not None
        self.failing_since = None
        self._notice.well()
        self._causes.clear()
        self.state.state = phase
        self.state.failures, self.state.error, self.state.failed_at = 0, None, None
        self.show(at_once=fresh)

    def failed(self, why: str, asked: float | None) -> float:
        """Say what went wrong; return when to try again."""
        now = time.monotonic()
        if self.failing_since is None:
            self.failing_since = now
        state.failed(self.state, why)
        self._say(f"sink {self.state.sink} ({self._settings.target}): {why}", now)
        self.show(at_once=True)
        return pace.pause(self.state.failures, random.random(), asked)  # noqa: S311 - spreads, hides nothing

    def _say(self, about: str, now: float) -> None:
        if about in self._causes and now - self._causes[about] < AGAIN_S:
            self._notice.say()  # what flapped too fast to be said at once
            return
        first = not self._causes
        if len(self._causes) < MAX_CAUSES:
            self._causes[about] = now
            if first:
                self._notice.bad(about)
            else:
                log.error("%s", about)

    def show(self, *, at_once: bool = False) -> None:
        """Write the state, when it is due."""
        if not at_once and time.monotonic() < self._show_at:
            return
        self._show_at = time.monotonic() + STATE_S
        try:
            state.write(self._layout, self.state, self._access)
        except OSError:  # `status` has the one before
            pass

    def ended(self) -> None:
        """Nothing more is shipped."""
        self._notice.say(at_once=True)
        self.state.state = "stopped"
        self.show(at_once=True)
