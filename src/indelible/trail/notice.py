"""What the log says of a state that comes and goes, such as a disk that flaps.

A change is said at once, but each of the two sides at most once in `EVERY_S`. What could not be said in time is owed:
whoever holds the notice asks `owed_s` and calls `say` when it is due, so that a state that lasts is always said, and
the last word in the log is true.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger("indelible")

EVERY_S: Final = 10.0
"""How long neither side is repeated: a disk that flaps ten times a second makes two lines in this time, not 200."""


class Notice:
    """One thing that is well or not. Not thread-safe: its owner's lock covers it."""

    def __init__(self, good: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`good` is what is said when it is well again; empty for nothing."""
        self._good = good
        self._clock = clock
        self._bad = ""
        """What is wrong now; empty when it is well."""
        self._said_bad = False
        self._said_at: dict[bool, float] = {}

    def bad(self, message: str) -> None:
        """It is not well, for this reason."""
        self._bad = message
        self.say()

    def well(self) -> None:
        """It is well, again or still."""
        self._bad = ""
        self.say()

    def owed_s(self) -> float | None:
        """Return in how many seconds `say` is due, or None when the log's last word is true."""
        if bool(self._bad) == self._said_bad:
            return None
        said_at = self._said_at.get(bool(self._bad))
        return 0.0 if said_at is None else max(0.0, said_at + EVERY_S - self._clock())

    def say(self, *, at_once: bool = False) -> None:
        """Say what is so, unless the log has it already, or had it a moment ago."""
        owed = self.owed_s()
        if owed is None or (owed > 0 and not at_once):
            return
        self._said_bad = bool(self._bad)
        self._said_at[self._said_bad] = self._clock()
        if self._bad:
            log.error("%s", self._bad)
        elif self._good:
            log.warning("%s", self._good)
