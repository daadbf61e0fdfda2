"""The hub's side of orders: what was taken from whom, and what is to be answered.

A hub's thread waits for nothing: it hands an order to the housekeeper, and the answer comes back through its wake-up.
Orders are taken from the holder's own user and from root. One whose giver is gone before it was begun is dropped; one
that was begun is finished.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from indelible.errors import IndelibleError, WireError
from indelible.trail.sharing import wire
from indelible.trail.upkeep import orders
from indelible.trail.upkeep.orders import Asker

if TYPE_CHECKING:
    from indelible.trail.sharing.peer import Peer
    from indelible.trail.upkeep.housekeeping import Housekeeper, Task


Result = wire.Done | wire.Refused | wire.Bye


class OrderDesk:
    """Takes the orders of one hub's peers. All of it on the hub's thread, but for what the housekeeper calls."""

    def __init__(self, housekeeper: Housekeeper, wake: Callable[[], None]) -> None:
        self._housekeeper = housekeeper
        self._wake = wake
        self._tasks: dict[Peer, Task] = {}
        self._answers: collections.deque[tuple[Peer, Result]] = collections.deque()

    @property
    def busy(self) -> bool:
        """Whether an answer is owed."""
        return bool(self._tasks)

    def waits(self, peer: Peer) -> bool:
        """Tell whether this peer has given an order, and has no answer yet."""
        return peer in self._tasks

    def take(self, peer: Peer, message: wire.Order) -> None:
        """Hand an order to the housekeeper; `answers` has what comes of it, now or later. Raises WireError."""
        if peer in self._tasks:
            msg = "it gave an order before the last one was answered"
            raise WireError(msg)
        try:
            self._tasks[peer] = self._accept(peer, message)
        except IndelibleError as exc:
            self._answers.append((peer, refused(exc)))

    def _accept(self, peer: Peer, message: wire.Order) -> Task:
        if peer.uid not in (os.getuid(), 0):
            msg = "orders are taken from the user who writes the trail, and from root"
            raise orders.NotTaken(msg)
        order = orders.decode(message.order)

        def done(result: dict[str, Any] | IndelibleError) -> None:
            if isinstance(result, IndelibleError):
                self._answers.append((peer, refused(result)))
            else:
                self._answers.append((peer, wire.Done(orders.encode_result(result))))
            self._wake()

        return self._housekeeper.execute(order, Asker(peer.uid, peer.pid), done)

    def answers(self) -> Iterator[tuple[Peer, Result]]:
        """Yield what is to be said now, and to whom."""
        while self._answers:
            peer, answer = self._answers.popleft()
            self._tasks.pop(peer, None)
            yield peer, answer

    def leave(self, peer: Peer) -> None:
        """A connection is gone: what it had ordered is dropped, unless it was begun."""
        task = self._tasks.get(peer)
        if task is not None and self._housekeeper.withdraw(task):
            del self._tasks[peer]


def refused(exc: IndelibleError) -> wire.Refused | wire.Bye:
    """Return what is said of an order that was not carried out; the good-bye tells the giver to look for another."""
    if isinstance(exc, orders.Ending):
        return wire.Bye()
    return wire.Refused(str(exc), exc.exit_code)
