"""What a report is about: which time, and what counts as much. Pure.

Times are in the trail's form (RFC 3339, UTC, microseconds, ``Z``). They and the numbers are all that goes into a query:
nothing that a user or a caller wrote does.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from indelible.query.filters import trail_time

PERIOD: Final = "90d"
"""How far a report goes back unless somebody says otherwise: a quarter."""

PER_HOUR: Final = 500
"""More calls than this within an hour are many."""

ERROR_PERCENT: Final = "5"
"""More errors than this, in percent of a tool's calls, are many."""

MIN_CALLS: Final = 10
"""Of fewer calls a rate says nothing."""

HABIT_DAYS: Final = 30
"""An actor's usual hours are those of so many days before."""

HABIT_LEAST: Final = 5
"""Who called on fewer days of these has no usual hours yet."""

SILENCE_H: Final = 2
"""A recorder that lives writes a line an hour; nothing for so many hours is a silence."""

MOST_BUCKETS: Final = 100
"""So many bars a chart of the period may have, before longer stretches of time are taken together."""


DENIED: Final = "kind IN ('denied', 'unauthenticated') OR policy_decision = 'deny'"
"""Of a call, that somebody said no to it: `indelible.alerting.facts` means the same."""

WARNED: Final = f"policy_decision = 'warn' AND ({DENIED}) IS NOT TRUE"
"""Of a call, that it was let pass with a warning."""


class Scope(NamedTuple):
    """A period, and what counts as much in it."""

    since: str
    until: str
    """Exclusive."""
    per_hour: int = PER_HOUR
    error_percent: str = ERROR_PERCENT
    """A decimal number as it was written, so that no rounding is in the comparison."""
    min_calls: int = MIN_CALLS

    @property
    def last_day(self) -> str:
        """The last 24 hours of the period begin here; not before the period does."""
        return max(self.since, trail_time(moment(self.until) - timedelta(days=1)))

    @property
    def bucket(self) -> str:
        """What a bar of a chart stands for: ``hour``, ``day``, ``week`` or ``month``."""
        hours = (moment(self.until) - moment(self.since)) / timedelta(hours=1)
        for name, long in (("hour", 1), ("day", 24), ("week", 24 * 7)):
            if hours <= long * MOST_BUCKETS:
                return name
        return "month"

    @property
    def error_share(self) -> Fraction:
        """The threshold as a share of the calls."""
        return Fraction(self.error_percent) / 100


def moment(time: str) -> datetime:
    """Return a time of the trail's form as a datetime."""
    return datetime.fromisoformat(time)
