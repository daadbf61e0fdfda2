"""Who comes in at a trail's doors, and what each user is owed and kept from: the part of the hub that keeps accounts.

What may not move:

- Everybody who knocks is let in or told why not, and all that wait are looked at: who knocks often keeps nobody out.
- What is done for a user is put on his account when it is done, whatever came of it; while he is over a quota, nothing
  of his is read.

What is read and written is for `hub` to say, which builds on this.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import selectors
import socket
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from indelible.errors import TrailUnavailable
from indelible.trail.sharing import wire
from indelible.trail.sharing.doors import Door, Service
from indelible.trail.sharing.intake import Intake
from indelible.trail.sharing.peer import Peer
from indelible.trail.sharing.quotas import Account
from indelible.trail.sharing.sockets import credentials, has_ended

if TYPE_CHECKING:
    from indelible.trail.start.opening import OpenTrail

log = logging.getLogger("indelible")

NO_ROOM_S: Final = 0.05
"""Pause when a connection cannot be taken for want of descriptors or memory: it goes on waiting."""

TURNED_AWAY_S: Final = 1.0
"""How long a connection stays open that was one too many: whoever made it is to hear why."""

SPARE_CONNECTIONS: Final = 8
"""For those that only ask, or have not said hello yet."""

ACCEPTED: Final = 64
"""So many connections are let in at once before others are served: what the kernel queues."""


class Porter(Intake):
    """Lets in, and keeps accounts. Used by the hub's thread."""

    def __init__(self, opened: OpenTrail, recent: Callable[[], Iterable[str]], service: Service | None) -> None:
        """Begin with nobody; with a `service`, others than the trail's own user are let in by its door."""
        super().__init__(opened, recent)
        self._service = service
        self._selector = selectors.DefaultSelector()
        self._turned_away: collections.deque[tuple[socket.socket, float]] = collections.deque()
        """Connections that were one too many, and when."""

    @abstractmethod
    def _make_room(self) -> None:
        """End a connection over which nobody has said hello."""

    @abstractmethod
    def _serve(self, peer: Peer, events: int) -> bool:
        """Read from a connection, or write to it."""

    def _accept(self, door: Door) -> None:
        """Let in those who wait: all that the kernel queues, or one user's many would keep others out of the queue."""
        for _ in range(ACCEPTED):
            try:
                sock, _ = door.listener.accept()
            except OSError as exc:
                if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    time.sleep(NO_ROOM_S)
                return
            self._let_in(sock, door)

    def _let_in(self, sock: socket.socket, door: Door) -> None:
        try:
            sock.settimeout(0)
            pid, uid = credentials(sock)
        except OSError:
            sock.close()
            return
        if not door.admits(uid):
            log.warning("%s: process %d of user %d was not let in", self._writer.layout.socket, pid, uid)
            sock.close()
            return
        peer = Peer(sock, pid, uid, door)
        if not self._is_within_quota(peer):
            return
        if len(self._peers) >= wire.MAX_RECORDERS + SPARE_CONNECTIONS:
            self._make_room()
        self._peers[sock] = peer
        if peer.account is not None:
            peer.account.connections += 1
        self._watch(peer)
        if peer.account is None:  # others wait for their turn
            self._serve(peer, selectors.EVENT_READ)

    def _is_within_quota(self, peer: Peer) -> bool:
        """Tell whether a user may have one more connection; else say so to him, and close it."""
        account, accounts = peer.account, peer.door.accounts
        if account is None or accounts is None or accounts.may_connect(account, lambda: self._ended(account)):
            return True
        most = accounts.quotas.connections
        with contextlib.suppress(OSError):
            peer.sock.send(
                wire.pack(wire.Refused(f"user {peer.uid} has {most} connections, and may have no more"))
            )
        self._turned_away.append((peer.sock, time.monotonic()))
        self._close_turned_away(time.monotonic() - TURNED_AWAY_S)
        return False

    def _close_turned_away(self, until: float) -> None:
        """Hang up on those who were told before `until`: not at once, since who still says hello would not hear why."""
        away = self._turned_away
        while away and (away[0][1] <= until or len(away) > wire.MAX_RECORDERS):
            away.popleft()[0].close()

    def _ended(self, account: Account) -> int:
        """Return how many of a user's connections have been closed at the other end."""
        return sum(peer.account is account and has_ended(peer.sock) for peer in self._peers.values())

    def _no_place(self, peer: Peer) -> str | None:
        """Say why there is no place for one more recorder."""
        recorders = sum(bool(other.recorder) for other in self._peers.values())
        if peer.account is not None and peer.door.accounts is not None:
            return peer.door.accounts.refuses(peer.account, recorders)
        full = recorders >= wire.MAX_RECORDERS
        return f"{wire.MAX_RECORDERS} recorders are connected already" if full else None

    def _watch(self, peer: Peer) -> None:
        """Be woken for what is wanted of a connection: nothing is read from who is over a quota."""
        held = peer.account is not None and peer.account.held
        wanted = (0 if held else selectors.EVENT_READ) | (selectors.EVENT_WRITE if peer.out else 0)
        if wanted == peer.watched:
            return
        if not peer.watched:
            self._selector.register(peer.sock, wanted)
        elif not wanted:
            self._selector.unregister(peer.sock)
        else:
            self._selector.modify(peer.sock, wanted)
        peer.watched = wanted

    def _hold_back(self, account: Account) -> None:
        """Read nothing more from a user while he is over a quota."""
        now = time.monotonic()
        if account.held or account.wait_s(now) == 0:
            return
        account.hold_back(now)
        for peer in self._peers.values():
            if peer.account is account:
                self._watch(peer)

    def _charge(self, peer: Peer, seconds: float) -> None:
        """Put what a turn took on its user's account."""
        account, accounts = peer.account, peer.door.accounts
        if account is None or accounts is None:
            return
        account.work(seconds, accounts.users, time.monotonic())
        if peer.sock in self._peers:
            self._hold_back(account)

    def _keep_accounts(self, *, closing: bool = False) -> None:
        """Read again from whom that may be, and put into the record what was kept from whom."""
        if self._service is None:
            return
        accounts, now = self._service.accounts, time.monotonic()
        self._close_turned_away(now if closing else now - TURNED_AWAY_S)
        free = accounts.released(now)
        for peer in self._peers.values() if free else ():
            if peer.account in free:
                self._watch(peer)
        for account in accounts.due(now, all_of_them=closing):
            try:
                news = {"over_quota": account.news()}
                self._writer.write_service_events([self._writer.service_event("alert", news)])
            except TrailUnavailable:  # they are counted on
                account.postpone(now)
                return
            account.noted(now)

    def _user_state(self, account: Account) -> wire.UserState:
        count, size = self._open_of(account.uid)
        return wire.UserState(
            account.uid, account.connections, account.waiting, account.held, **account.counts,
            recorders=account.recorders, busy_s=round(account.busy_s, 3), open_calls=count, open_bytes=size,
        )  # fmt: skip
