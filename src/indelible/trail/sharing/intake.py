"""What a trail's holder does with the events that others send: checks them, writes them, answers.

What may not move:

- An event is acknowledged when it is in the trail, as safe as the trail's durability says, and not before.
- A recorder's events are written in the order of their numbers, each once: one that is sent again after a holder died
  is looked for among the newest events first.
- Nobody opens or closes a call that somebody else has open.

A batch on the disk is acknowledged by the thread that committed it, where nothing earlier is to be said: on a busy
machine the hub's own would be waited for. What else there is to note it notes before it reads anything more. Users with
quotas wait for it, since what waits is on their account until then.

Who is connected, and what becomes of a connection, is for `hub` to say, which builds on this.
"""

from __future__ import annotations

import collections
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from indelible.errors import TrailUnavailable, WireError
from indelible.trail.commit import Item
from indelible.trail.sharing import wire
from indelible.trail.sharing.calls import OpenCalls
from indelible.trail.sharing.known import Known
from indelible.trail.sharing.peer import Batch, Peer
from indelible.trail.sharing.quotas import MAX_OPEN_BYTES, MAX_OPEN_CALLS
from indelible.trail.sharing.suspects import MAX_DEATHS, Suspects

if TYPE_CHECKING:
    import socket

    from indelible.trail.start.opening import OpenTrail


class Intake(ABC):
    """The part of a hub that events go through. Used by the hub's thread."""

    def __init__(self, opened: OpenTrail, recent: Callable[[], Iterable[str]]) -> None:
        """`recent` returns the marks (see `doors`) of the newest events from before: those that may be sent again."""
        self._writer = opened.writer
        self._known = Known(recent, opened.writer.size)
        self._calls = OpenCalls(opened.writer, opened.spared)
        self.suspects = Suspects(opened.writer)
        self._aside: dict[str, str] = {}
        """What was said of suspects that were set aside, by mark."""
        self._on_disk = opened.writer.audit.durability == "disk"
        self._at_once = True
        """Whether the trail's own user hears of a batch from the thread that committed it."""
        self._peers: dict[socket.socket, Peer] = {}
        self._lingering: list[Peer] = []
        """Those that are gone, while what they sent is on its way to the disk."""
        self._committed: collections.deque[tuple[Peer, Batch, int, TrailUnavailable | None]] = (
            collections.deque()
        )

    @abstractmethod
    def _wake(self) -> None:
        """Let the hub's thread look around; from any thread."""

    @abstractmethod
    def _send(self, peer: Peer, message: wire.ToRecorder) -> None:
        """Say something, if there is still somebody to hear it. Raises WireError."""

    @abstractmethod
    def _flush(self, peer: Peer) -> None:
        """Send what was said. Raises OSError."""

    @abstractmethod
    def _cut_off(self, peer: Peer, why: str) -> None:
        """End a connection for what was done over it."""

    @abstractmethod
    def _drop(self, peer: Peer) -> None:
        """A connection has ended."""

    @abstractmethod
    def _leave(self, peer: Peer) -> None:
        """Nothing of a connection is on its way any more."""

    def _check(self, peer: Peer, put: wire.Put) -> wire.Put | str:
        """Return an event as it may be written, or why it may not. This is what takes time."""
        checked = peer.door.check(peer, put)
        if isinstance(checked, str) or not (checked.opens or checked.closes):
            return checked
        if self._is_anothers(peer, checked):
            return "it opens or closes a call of another recorder"
        return self._are_too_many(peer, checked) or checked

    def _take(self, peer: Peer, puts: list[tuple[wire.Put, wire.Put | str]]) -> None:
        """Write a recorder's events in order, and answer; each with what `_check` says of it."""
        if len(puts) == 1 and not peer.waiting and self._take_lone(peer, puts[0][1]):
            return
        fit: list[wire.Put] = []
        for put, found in puts:
            if not isinstance(found, str) and not (found.again or found.deaths):  # as nearly all are
                fit.append(found)
                continue
            checked = found
            if not isinstance(found, str) and self._is_forgotten(peer, found):
                checked = "it was sent so long ago that it cannot be known any more whether it is recorded"
            if not isinstance(checked, str) and not checked.deaths:
                fit.append(checked)
                continue
            if fit:
                self._write(peer, fit)  # what stood before it
                fit = []
            if not isinstance(checked, str):
                self._try(peer, checked)
                continue
            if peer.account is not None:
                peer.account.counts["refused"] += 1
            self._answer(peer, [put], 0, checked)
        if fit:
            self._write(peer, fit)

    def _take_lone(self, peer: Peer, put: wire.Put | str) -> bool:
        """Do for one event, whose recorder waits for nothing else, what `_take` does; tell whether it was done.

        It is what somebody sends who waits for each of his events: the way is short, and whatever is not plain is not
        for it.
        """
        if isinstance(put, str) or peer.account is not None or self._on_disk or self._writer.lost:
            return False
        if put.again or put.deaths:
            return False
        _, error = self._writer.append_all((Item(bytes(put.body), put.opens, put.closes),))
        if error is None:
            self._note(peer, (put,))
            peer.recorded += 1
            peer.acknowledged = put.n
            self._send(peer, wire.Ack(put.n, self._news(peer)))
        else:
            self._send(peer, wire.Nack(put.n, str(error)))
        return True

    def _is_anothers(self, peer: Peer, put: wire.Put) -> bool:
        """Tell whether an event opens or closes a call that somebody else has open."""
        event_id = put.opens or put.closes
        if not event_id or event_id in peer.open:
            return False
        owner = self._calls.owner(event_id)
        others = (other.who for other in (*self._peers.values(), *self._lingering) if event_id in other.open)
        owner = owner or next(others, None)
        return owner is not None and owner != peer.who

    def _are_too_many(self, peer: Peer, put: wire.Put) -> str | None:
        """Say why an event may not open a call: its user may have no more of them, or none so large."""
        if peer.account is None or not put.opens or put.opens in peer.open:
            return None
        count, size = self._open_of(peer.uid)
        if count >= MAX_OPEN_CALLS:
            return f"user {peer.uid} has {MAX_OPEN_CALLS} open calls, and may have no more"
        if size + len(bytes(put.body)) > MAX_OPEN_BYTES:
            return (
                f"the intents of user {peer.uid}'s {count} open calls hold {size} bytes, and may not hold more than"
                f" {MAX_OPEN_BYTES} with this one"
            )
        return None

    def _open_of(self, uid: int) -> tuple[int, int]:
        """Return how many open calls a user has, and how many bytes their intents are."""
        count, size = self._calls.of(uid)
        for other in (*self._peers.values(), *self._lingering):
            if other.uid == uid:
                count, size = count + len(other.open), size + other.open.size
        return count, size

    def _try(self, peer: Peer, put: wire.Put) -> None:
        """Write an event that may have killed an earlier holder, and nothing beside it."""
        error: TrailUnavailable | str | None = None
        if not self._is_there(peer, put):
            body = bytes(put.body)
            # Who is not of the family is not believed that many died of it: only what the last holder noted counts.
            deaths = put.deaths if peer.account is None else min(put.deaths, MAX_DEATHS)
            if self.suspects.is_guilty(put.id, deaths):
                mark = peer.door.mark(peer, put.id)
                if mark not in self._aside or peer.account is None:  # else he is told the same again
                    self._aside[mark] = self.suspects.set_aside(body, peer.recorder, peer.pid, deaths)
                error = self._aside[mark]
            else:
                with self.suspects.trying(put.id):
                    _, error = self._writer.append_all([Item(body, put.opens, put.closes)])
        self._answer(peer, [put], int(error is None), error)

    def _is_there(self, peer: Peer, put: wire.Put) -> bool:
        """Tell whether an event that is sent again is in the trail. Raises WireError when that cannot be known."""
        return bool(put.again or put.deaths) and self._known.has(peer.door.mark(peer, put.id))

    def _is_forgotten(self, peer: Peer, put: wire.Put) -> bool:
        """Tell whether an event that is sent again may stand where nobody looks any more."""
        return (
            0 <= put.since < self._known.first
            and (put.again or put.deaths > 0)
            and not self._is_there(peer, put)
        )

    def _write(self, peer: Peer, puts: list[wire.Put]) -> None:
        if self._writer.lost:
            msg = "this process holds the trail no more; another may"
            raise WireError(msg)
        new = [put for put in puts if not (put.again and self._is_there(peer, put))]
        if not new:
            self._answer(peer, puts, len(puts), None)
            return
        items = [Item(bytes(put.body), put.opens, put.closes) for put in new]
        if not self._on_disk:
            safe, error = self._writer.append_all(items)
            self._answer(peer, puts, len(puts) if error is None else _position(puts, new, safe), error)
            return

        batch = Batch(puts)
        peer.expect(batch)

        def done(safe: int, error: TrailUnavailable | None) -> None:
            at = len(puts) if error is None else _position(puts, new, safe)

            def note() -> None:
                self._committed.append((peer, batch, at, error))

            if error is not None or peer.account is not None or not self._at_once or self._has_news(peer):
                note()
            elif peer.acknowledge(batch, note):
                return  # the rest is done when the hub's thread wakes next
            self._wake()

        try:
            self._writer.submit(items, done)
        except TrailUnavailable as exc:
            batch.settle(_position(puts, new, 0), exc)
            self._tell(peer)

    def _answer_committed(self) -> None:
        while self._committed:
            peer, batch, safe, error = self._committed.popleft()
            peer.settle(batch, safe, error)
            try:
                self._tell(peer)
                if peer.sock in self._peers:
                    self._flush(peer)
            except BlockingIOError:
                continue
            except WireError as exc:
                self._cut_off(peer, str(exc))
            except OSError:
                self._drop(peer)
            if peer in self._lingering and not peer.waiting:
                self._lingering.remove(peer)
                self._leave(peer)

    def _answer(
        self, peer: Peer, puts: list[wire.Put], safe: int, error: TrailUnavailable | str | None
    ) -> None:
        """Acknowledge the first `safe` events, and say of the others why they are not in the trail.

        Not before what came earlier is answered: an acknowledgement holds for that too.
        """
        batch = Batch(puts)
        batch.settle(safe, error)
        peer.expect(batch)
        self._tell(peer)

    def _tell(self, peer: Peer) -> None:
        """Send the answers that are due, in order."""
        for batch in peer.due():
            puts, safe = batch.puts, batch.safe
            self._note(peer, puts[:safe])
            if safe:
                peer.recorded += safe
                peer.acknowledged = puts[safe - 1].n
                if not batch.acknowledged:
                    self._send(peer, wire.Ack(peer.acknowledged, self._news(peer)))
            for put in puts[safe:]:
                self._send(peer, wire.Nack(put.n, str(batch.error)))

    def _has_news(self, peer: Peer) -> bool:
        """Tell whether it is time that a recorder is told how many lines the trail has; from any thread."""
        return self._writer.size - peer.told >= wire.TOLD_EVERY

    def _news(self, peer: Peer) -> int:
        """Return how many lines the trail has, when it is time that a recorder is told; else 0."""
        if not self._has_news(peer):
            return 0
        peer.told = self._writer.size
        return peer.told

    def _note(self, peer: Peer, puts: Sequence[wire.Put]) -> None:
        """These are in the trail now."""
        if not puts:
            return
        self._known.add(peer.door.marks(peer, puts), self._writer.size)
        for put in puts:
            if put.opens:
                peer.open.put(put.opens, bytes(put.body))
            elif put.closes:
                peer.open.drop(put.closes)
                self._calls.closed(put.closes)


def _position(puts: list[wire.Put], new: list[wire.Put], safe: int) -> int:
    """Return how many of `puts` are in the trail when the first `safe` of `new`, which are among them, are."""
    if safe >= len(new):
        return len(puts)
    return puts.index(new[safe])
