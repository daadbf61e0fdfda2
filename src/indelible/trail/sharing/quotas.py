"""What one user may ask of a service, and what was kept from whom. Pure: whoever asks brings the time.

What may not move:

- A quota is a user's, not a connection's: opening more connections, or opening one again, gives nothing more.
- Nothing is dropped. Who is over a rate is not read from until it is repaid; who has too many connections is told so.
- Each time is counted, and every count gets into the record, at the latest when the service ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

REPORT_S: Final = 60.0
"""How often at most one user's counts go into the record; the first time at once."""

RETRY_S: Final = 1.0
"""How long until counts that could not be recorded are tried again."""

SAY_S: Final = 10.0
"""How often at most the log is told what one user's processes did wrong."""

MAX_OPEN_CALLS: Final = 4096
"""Calls of one user that may be open: their intents are kept in memory until the outcome comes."""

BURST_S: Final = 1.0
"""Whoever was silent may bring what he might have brought in this time, at once."""


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one user. A rate of 0 is none."""

    connections: int = 16
    events_per_second: float = 10_000
    bytes_per_second: float = 16_777_216
    outstanding: int = 2048
    """Events that came and are not acknowledged, of all his connections together."""


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
        self.waiting = 0
        """Events of his that are not answered yet."""
        self.held = False
        """His connections are not read from just now."""
        self.counts = {"turned_away": 0, "held_back": 0, "refused": 0}
        """Connections that were one too many; times that he was not read from; events that were none. Ever."""
        self._quotas = quotas
        self._events = _Bucket(quotas.events_per_second, now)
        self._bytes = _Bucket(quotas.bytes_per_second, now)
        self._reported = dict(self.counts)
        self._reported_at = -REPORT_S
        self._said_at = -SAY_S

    def spend(self, events: int, size: int, now: float) -> None:
        """So much came from him."""
        self._events.spend(events, now)
        self._bytes.spend(size, now)

    def wait_s(self, now: float) -> float | None:
        """Return in how many seconds more may be read; 0: now; None: when something of his is acknowledged."""
        if self.waiting >= self._quotas.outstanding:
            return None
        return max(self._events.wait_s(now), self._bytes.wait_s(now))

    def hold_back(self) -> None:
        """He is not read from any more, for now."""
        self.held = True
        self.counts["held_back"] += 1

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
        full = self._events.is_full(now) and self._bytes.is_full(now)
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
