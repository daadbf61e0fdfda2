"""How long a start waits for a process that has the trail and does not let it in, and what for.

The rule that lives here: nobody fails because another one's start is slow. Whoever takes the lock says in it that it is
starting, and says so until others can write through it, or it has let go; one that closes the trail says that it is
ending (`start.lock`). As long as that process lives and is not suspended it is waited for, up to `audit.open_timeout`.
The lock of one that is killed is free at once, and the next attempt takes it.

Of a holder that says nothing of the kind, or whose word cannot be found, it is not known that waiting helps: it has
`START_S`.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Final

from indelible.errors import TrailLocked
from indelible.trail.start.holder import ENDING, Holder, who_comes_or_goes

if TYPE_CHECKING:
    from indelible.trail.layout import Layout

log = logging.getLogger("indelible")

START_S: Final = 4.0
"""How long a start waits for a holder of whom it is not known that he is only starting, or ending."""

STOPPED_S: Final = 2.0
"""How long for one that is suspended meanwhile: a debugger may only be looking at it."""

TOLD_S: Final = 60.0
"""After so long the log says for whom this process waits."""

RETRY_S: Final = 0.02
"""About how long between two attempts to take the trail over, or to connect to who did."""

SLOW_RETRY_S: Final = 0.25
"""The same at the most, while a start goes on that must not be held up by those who wait for it."""


class Patience:
    """Of one start, from its first attempt on."""

    def __init__(self, layout: Layout, limit_s: float) -> None:
        """`limit_s` is how long it waits at the most for those who are starting, or ending."""
        self._layout = layout
        self._limit_s = limit_s
        self._begun = time.monotonic()
        self._hopeless: float | None = None
        """Since when it is not known that waiting helps. An attempt may take long, and its holder die meanwhile."""
        self._stopped: float | None = None
        self._pause_s = RETRY_S
        self._told = False

    def wait(self, held: TrailLocked) -> None:
        """Wait a moment, before the next attempt; raises TrailLocked (`held`, or what is known better) at the end."""
        holder, now = who_comes_or_goes(self._layout.lock), time.monotonic()
        if holder is None:
            self._hopeless = now if self._hopeless is None else self._hopeless
            if now - self._hopeless >= START_S:
                raise held
            self._stopped, self._pause_s = None, RETRY_S
        else:
            self._hopeless = None
            self._look_at(holder, now)
            self._pause_s = min(SLOW_RETRY_S, 1.5 * self._pause_s)
        time.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come at once

    def _look_at(self, holder: Holder, now: float) -> None:
        """Raise TrailLocked when this one is not to be waited for any longer."""
        self._stopped = (self._stopped or now) if holder.is_stopped else None
        waited, what = now - self._begun, describe(holder)
        if self._stopped is not None and now - self._stopped >= STOPPED_S:
            msg = f"{self._layout.active}: {what}, and is suspended"
            raise TrailLocked(msg, str(holder))
        if waited >= self._limit_s:
            msg = f"{self._layout.active}: {what}, for longer than audit.open_timeout ({self._limit_s:g} s)"
            raise TrailLocked(msg, str(holder))
        if waited >= TOLD_S and not self._told:
            self._told = True
            log.warning("%s: waits for %s", self._layout.active, what)


def describe(holder: Holder) -> str:
    """Return who somebody is, and what he is at: ``process 123 (…), is just opening the trail``."""
    return f"{holder} is just {'closing' if holder.phase == ENDING else 'opening'} the trail"
