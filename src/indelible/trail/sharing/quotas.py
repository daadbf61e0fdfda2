"""What one user may ask of a service, and what was kept from whom. Pure: whoever asks brings the time.

What may not move:

- A quota is a user's, not a connection's: opening more connections, or opening one again, gives nothing more.
- Nothing is dropped. Who is over a rate is not read from until it is repaid; who has too many connections is told so.
- Time is a quota, too: an event of a few kilobytes can be made so that looking through it takes as long as a thousand
  others. A turn is short, so nobody waits for more than one turn and one event of everybody else's; what an event takes
  beyond its user's turn is overtime, of which all users together have a share, as long as there are several.
- Each time is counted, and every count gets into the record, at the latest when the service ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from indelible.trail.sharing import wire

REPORT_S: Final = 60.0
"""How often at most one user's counts go into the record; the first time at once."""

RETRY_S: Final = 1.0
"""How long until counts that could not be recorded are tried again."""

SAY_S: Final = 10.0
"""How often at most the log is told what one user's processes did wrong."""

MAX_OPEN_CALLS: Final = 4096
"""Calls of one user that may be open: their intents are kept in memory until the outcome comes."""

MAX_OPEN_BYTES: Final = 16 << 20
"""What these intents may hold together: the longest 4,096 would be 268 MB."""

MAX_WAITING_BYTES: Final = 8 << 20
"""What one user's events may hold that came and are not acknowledged."""

TURN_S: Final = 0.005
"""CPU time that a user gets in one round, while there are others: some thirty ordinary events."""

RESERVED_PLACES: Final = 16
"""Of the `wire.MAX_RECORDERS` places, so many are only for users with fewer recorders than `ASSURED_PLACES`."""

ASSURED_PLACES: Final = 4

BURST_S: Final = 1.0
"""Whoever was silent may bring what he might have brought in this time, at once."""


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one user. A rate of 0 is none."""

    connections: int = 16
    events_per_second: float = 10_000
    bytes_per_second: float = 16_777_216
    outstanding: int = 2048
    """Events that came and are not acknowledged, of all his connections together."""
    overtime: float = 0.25
    """The share of all time that is for turns which take longer than they may, all users' together; 1: no limit.

    It counts while several users are connected.
    """


class _Bucket:
    """A rate: may be overdrawn by what was read at once, and then is closed until that is repaid."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = rate * BURST_S
        self._at = now

    def spend(self, amount: float, now: float) -> None:
        if self._rate:
            self._left = min(self._rate * BURST_S, self._left + (now - self._at) * self._rate) - amount
            self._at = now

    def wait_s(self, now: float) -> float:
        """Return in how many seconds there is something left; 0: there is."""
        if not self._rate:
            return 0.0
        return max(0.0, -(self._left + (now - self._at) * self._rate) / self._rate)

    def is_full(self, now: float) -> bool:
        return self._left + (now - self._at) * self._rate >= self._rate * BURST_S


class Account:
    """One user at a service."""

    def __init__(self, uid: int, quotas: Quotas, now: float) -> None:
        self.uid = uid
        self.connections = 0
        self.recorders = 0
        """How many of them have said hello."""
        self.waiting = 0
        """Events of his that are not answered yet."""
        self.waiting_bytes = 0
        self.busy_s = 0.0
        """CPU time that was spent on him, ever."""
        self.held = False
        """His connections are not read from just now."""
        self.counts = {"turned_away": 0, "held_back": 0, "overtime": 0, "refused": 0}
        """Connections and recorders that were one too many; times that he was not read from, and how many of them for
        the time that his events took; events that were none. Ever."""
        self._quotas = quotas
        self._events = _Bucket(quotas.events_per_second, now)
        self._bytes = _Bucket(quotas.bytes_per_second, now)
        self._overtime = _Bucket(quotas.overtime if quotas.overtime < 1 else 0, now)
        self._reported = dict(self.counts)
        self._reported_at = -REPORT_S
        self._said_at = -SAY_S

    def spend(self, events: int, size: int, now: float) -> None:
        """So much came from him."""
        self._events.spend(events, now)
        self._bytes.spend(size, now)

    def work(self, seconds: float, users: int, now: float) -> None:
        """A turn of his took so much CPU time, while so many users were connected."""
        self.busy_s += seconds
        if seconds > TURN_S and users > 1:
            self._overtime.spend((seconds - TURN_S) * (users - 1), now)

    def wait_s(self, now: float) -> float | None:
        """Return in how many seconds more may be read; 0: now; None: when something of his is acknowledged."""
        if self.waiting >= self._quotas.outstanding or self.waiting_bytes >= MAX_WAITING_BYTES:
            return None
        return max(self._events.wait_s(now), self._bytes.wait_s(now), self._overtime.wait_s(now))

    def hold_back(self, now: float) -> None:
        """He is not read from any more, for now."""
        self.held = True
        self.counts["held_back"] += 1
        self.counts["overtime"] += self._overtime.wait_s(now) > 0

    def may_say(self, now: float) -> bool:
        """Tell whether the log is told: once in a while, whatever he does."""
        if now - self._said_at < SAY_S:
            return False
        self._said_at = now
        return True

    def due_s(self, now: float) -> float | None:
        """Return in how many seconds `report` has something to say, if anything."""
        if self.counts == self._reported:
            return None
        return max(0.0, self._reported_at + REPORT_S - now)

    def news(self) -> dict[str, Any]:
        """Return what was counted since it was `noted`."""
        new = {key: count - self._reported[key] for key, count in self.counts.items()}
        return {"uid": self.uid, **{key: count for key, count in new.items() if count}}

    def noted(self, now: float) -> None:
        """The news are in the record."""
        self._reported = dict(self.counts)
        self._reported_at = now

    def postpone(self, now: float) -> None:
        """They cannot be put there now: a disk that fails is not asked again at once."""
        self._reported_at = now + RETRY_S - REPORT_S

    def is_idle(self, now: float) -> bool:
        """Tell whether nothing would be lost with it."""
        full = all(bucket.is_full(now) for bucket in (self._events, self._bytes, self._overtime))
        return not self.connections and not self.waiting and full and now - self._reported_at >= REPORT_S


class Accounts:
    """Those of all users."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self._by_uid: dict[int, Account] = {}

    def of(self, uid: int, now: float) -> Account:
        """Return a user's."""
        account = self._by_uid.get(uid)
        if account is None:
            account = self._by_uid[uid] = Account(uid, self.quotas, now)
        return account

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_uid.values())

    def may_connect(self, account: Account, ended: Callable[[], int]) -> bool:
        """Tell whether one more connection is within the quota; when it is not, that is counted.

        `ended` returns how many of his connections have been closed, though not everything was read that came over
        them: whoever comes again at once is not turned away for them, unless they are as many once more.
        """
        most = self.quotas.connections
        if account.connections < most or (
            account.connections < 2 * most and account.connections - ended() < most
        ):
            return True
        account.counts["turned_away"] += 1
        return False

    def refuses(self, account: Account, recorders: int) -> str | None:
        """Say why a user may have no further recorder, when there are `recorders` in all; that is counted."""
        free = wire.MAX_RECORDERS - recorders
        if free > RESERVED_PLACES or (free > 0 and account.recorders < ASSURED_PLACES):
            return None
        account.counts["turned_away"] += 1
        if free <= 0:
            return f"{wire.MAX_RECORDERS} recorders are connected already"
        return (
            f"user {account.uid} has {account.recorders} recorders, and the last {RESERVED_PLACES} places of"
            f" {wire.MAX_RECORDERS} are for users with fewer than {ASSURED_PLACES}"
        )

    @property
    def users(self) -> int:
        """How many users are connected."""
        return sum(account.connections > 0 for account in self)

    def released(self, now: float) -> list[Account]:
        """Return those that may be read from again."""
        free = [account for account in self if account.held and account.wait_s(now) == 0]
        for account in free:
            account.held = False
        return free

    def due(self, now: float, *, all_of_them: bool = False) -> list[Account]:
        """Return those with something for the record; forget those of whom nothing is left to know."""
        due = [
            account
            for account in self
            if (wait := account.due_s(now)) is not None and (all_of_them or not wait)
        ]
        for uid in [account.uid for account in self if account.due_s(now) is None and account.is_idle(now)]:
            del self._by_uid[uid]
        return due

    def look_in_s(self, now: float) -> float | None:
        """Return in how many seconds there is something to do, if that is known."""
        waits = [account.wait_s(now) for account in self if account.held]
        waits += [account.due_s(now) for account in self]
        return min((wait for wait in waits if wait is not None), default=None)
