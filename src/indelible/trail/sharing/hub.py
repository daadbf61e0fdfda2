"""The holder's side of the trail's sockets: takes other processes' events into the trail.

What may not move:

- Each process is who the kernel says it is (SO_PEERCRED, unix(7)); who is let in, and what of what he sends may become
  a line, is for the door to say that he came in by (see `doors`).
- Where there are quotas, all connections of a user together are read once in a round, and not at all while he is over
  one: nobody waits for more than one reading from everybody else.
- When a recorder is gone, its open calls are recorded as interrupted; when it only changed its holder, they are not
  (see `calls`).

What becomes of the events themselves is in `intake`, on which this builds.

One thread serves all recorders, by all doors. It never waits for one of them: a recorder that does not read its
acknowledgements is cut off when these fill `peer.MAX_UNREAD`.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from indelible.errors import TrailUnavailable, WireError
from indelible.trail.sharing import wire
from indelible.trail.sharing.doors import LIFE, Door, Family, Service
from indelible.trail.sharing.intake import Intake
from indelible.trail.sharing.peer import MAX_READS, Peer, Who
from indelible.trail.sharing.quotas import Account
from indelible.trail.sharing.sockets import credentials, has_ended, listen
from indelible.trail.upkeep import duties
from indelible.trail.upkeep.orderdesk import OrderDesk

if TYPE_CHECKING:
    from indelible.trail.start.opening import OpenTrail

log = logging.getLogger("indelible")

NO_ROOM_S: Final = 0.05
"""Pause when a connection cannot be taken for want of descriptors or memory: it goes on waiting."""

TURNED_AWAY_S: Final = 1.0
"""How long a connection stays open that was one too many: whoever made it is to hear why."""

SPARE_CONNECTIONS: Final = 8
"""For those that only ask, or have not said hello yet."""


class Hub(Intake):
    """Serves the recorders of one trail, on a thread of its own, from `start` until `close`."""

    def __init__(
        self, opened: OpenTrail, recent: Callable[[], Iterable[str]], service: Service | None = None
    ) -> None:
        """`recent` returns the marks (see `doors`) of the newest events from before: those that may be sent again.

        With a `service`, others than the trail's own user are let in by its door.
        """
        super().__init__(opened, recent)
        self._secret = opened.digest_secret
        self._service = service
        self._doors: dict[socket.socket, Door] = {} if service is None else {service.listener: service}
        self._turn = 0
        self.turns = 0
        """How often this thread has looked around: it stands still when the thread does."""
        self._desk = OrderDesk(opened.writer.housekeeper, self._wake)
        self._told = 0
        """How many lines there were when recorders were told last."""
        self._left: list[Peer] = []
        """Those that were connected when this closed."""
        self._turned_away: collections.deque[tuple[socket.socket, float]] = collections.deque()
        """Connections that were one too many, and when."""
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = socket.socketpair()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="indelible-hub", daemon=True)

    def start(self) -> None:
        """Begin to listen. Raises OSError."""
        try:
            listener = listen(self._writer.layout.socket)
        except OSError:
            for sock in (self._wake_out, self._wake_in):
                sock.close()
            self._selector.close()
            raise
        self._doors[listener] = Family(listener)
        for sock in (*self._doors, self._wake_out, self._wake_in):
            sock.settimeout(0)
        for sock in (*self._doors, self._wake_out):
            self._selector.register(sock, selectors.EVENT_READ)
        self._writer.on_sealed = self._sealed
        self._thread.start()

    def close(self) -> None:
        """Take what has come, acknowledge it, say good-bye and stop listening; an order that was begun is finished."""
        self._writer.housekeeper.stop()
        self._closing = True
        self._wake()
        self._thread.join()
        self._wake_out.close()
        self._wake_in.close()
        if not self._writer.lost:  # else the path may be another holder's
            with contextlib.suppress(OSError):
                self._writer.layout.socket.unlink()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def open_calls(self) -> frozenset[str]:
        """The `event_id` of every open call that is another process's. Known when closed, too."""
        return self._calls.ids.union(*(peer.open for peer in self._left))

    def abandon(self) -> None:
        """In a forked child: close what was inherited, and nothing more."""
        for sock in (*self._doors, self._wake_out, self._wake_in, *self._peers):
            sock.close()
        self._selector.close()

    def look_around(self) -> None:
        """Let the thread make a turn, if it can."""
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_in.send(b"\0")

    # --- the loop ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing or self._desk.busy:
            ready: list[tuple[Peer, int]] = []
            for key, events in self._selector.select(self._look_in_s()):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)  # noqa: S101 - nothing else is registered
                if sock in self._doors:
                    self._accept(self._doors[sock])
                elif sock is self._wake_out:
                    with contextlib.suppress(OSError):
                        self._wake_out.recv(4096)
                elif sock in self._peers:  # what came before it in this round may have ended it
                    ready.append((self._peers[sock], events))
            for peer, events in self._in_turn(ready):
                self._serve(peer, events)
            self._answer_committed()
            self._answer_orders()
            self._calls.settle()
            self._keep_accounts()
            self._tell_size()
            self.turns += 1
        self._say_good_bye()

    def _tell_size(self) -> None:
        """Let those hear how long the trail is who have not sent anything for long."""
        if self._writer.size - self._told < wire.TOLD_EVERY:
            return
        self._told = self._writer.size
        for peer in [peer for peer in self._peers.values() if peer.recorder and not peer.waiting]:
            if size := self._news(peer):
                try:
                    self._send(peer, wire.Ack(peer.acknowledged, size))
                except WireError as exc:
                    self._cut_off(peer, str(exc))
                self._serve(peer, 0)

    def _sealed(self) -> None:
        if self._writer.size - self._told >= wire.TOLD_EVERY:
            self._wake()

    def _look_in_s(self) -> float | None:
        """In how many seconds there is something to do though nothing comes; None: not before something does."""
        waits = [self._calls.look_in_s]
        if self._service is not None:
            waits.append(self._service.accounts.look_in_s(time.monotonic()))
        return min((wait for wait in waits if wait is not None), default=None)

    def _in_turn(self, ready: list[tuple[Peer, int]]) -> list[tuple[Peer, int]]:
        """Return whom to serve in this round: of each user with an account, the one read from longest ago."""
        chosen: dict[int, Peer] = {}
        for peer, _ in ready:
            if peer.account is not None:
                first = chosen.setdefault(peer.uid, peer)
                chosen[peer.uid] = peer if peer.turn < first.turn else first
        if not chosen:
            return ready
        self._turn += 1
        for peer in chosen.values():
            peer.turn = self._turn
        return [
            (peer, events if peer.account is None or chosen[peer.uid] is peer else selectors.EVENT_WRITE)
            for peer, events in ready
        ]

    def _accept(self, door: Door) -> None:
        try:
            sock, _ = door.listener.accept()
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                time.sleep(NO_ROOM_S)
            return
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

    def _hold_back(self, account: Account) -> None:
        """Read nothing more from a user while he is over a quota."""
        if account.held or account.wait_s(time.monotonic()) == 0:
            return
        account.hold_back()
        for peer in self._peers.values():
            if peer.account is account:
                self._watch(peer)

    def _make_room(self) -> None:
        """Cut off whoever is connected for longest without having said hello; there is one, for want of recorders."""
        for peer in self._peers.values():
            if not peer.recorder and not self._desk.waits(peer):
                self._cut_off(peer, "it did not say hello, and others wait")
                return

    def _serve(self, peer: Peer, events: int) -> bool:
        """Read from a recorder, or write to it; whatever it does wrong costs only itself the connection.

        Tells whether there may be more to read.
        """
        if peer.sock not in self._peers:
            return False
        try:
            if events & selectors.EVENT_READ and not (peer.account and peer.account.held and not self._closing):
                self._read(peer)
            if peer.out:
                self._flush(peer)
        except BlockingIOError:
            return False
        except WireError as exc:
            self._cut_off(peer, str(exc))
        except OSError:
            self._drop(peer)
        except Exception:  # a fault of ours costs one connection, not everybody's
            log.exception("%s: a recorder (process %d) was cut off", self._writer.layout.socket, peer.pid)
            self._drop(peer)
        return peer.sock in self._peers

    def _read_out(self, peer: Peer) -> None:
        """Take everything that a connection holds."""
        for _ in range(MAX_READS):
            if not self._serve(peer, selectors.EVENT_READ):
                return
            if peer.account is not None and peer.account.held and not self._closing:
                return

    def _read(self, peer: Peer) -> None:
        puts: list[wire.Put] = []
        for message in peer.received():
            if isinstance(message, wire.Put):
                puts.append(message)
            elif isinstance(message, wire.Hello):
                self._greet(peer, message)
            elif isinstance(message, wire.Ask):
                self._send(peer, self._state(peer))
            elif isinstance(message, wire.Order):
                self._desk.take(peer, message)
            else:
                self._take(peer, puts)
                peer.ended = True
                raise ConnectionResetError
        if puts:
            self._take(peer, puts)
        if peer.account is not None:
            peer.account.spend(len(puts), 0, time.monotonic())
            self._hold_back(peer.account)

    # --- greeting ----------------------------------------------------------------------------------------------

    def _greet(self, peer: Peer, hello: wire.Hello) -> None:
        error = None
        if hello.v != wire.VERSION:
            error = f"this holder speaks version {wire.VERSION} of the protocol, not {hello.v}"
        elif (wrong := peer.door.refuses(peer, hello)) is not None:
            error = wrong
        elif sum(bool(other.recorder) for other in self._peers.values()) >= wire.MAX_RECORDERS:
            error = f"{wire.MAX_RECORDERS} recorders are connected already"
        elif peer.recorder or not hello.recorder or len(hello.recorder) > wire.MAX_RECORDER_CHARS:
            error = "the recorder's name is empty, too long, or the second one"
        if error is not None:
            self._send(peer, wire.Refused(error))
            raise WireError(error)
        self._settle_earlier((hello.recorder, peer.uid, peer.pid))
        peer.recorder = hello.recorder
        peer.open = self._calls.adopt(peer.who)
        key, key_id = peer.door.key_for(peer, self._secret)
        peer.told = self._writer.size
        self._send(
            peer,
            wire.Welcome(
                wire.VERSION, self._writer.origin, self._writer.audit.durability, wire.WINDOW, key.hex(), key_id,
                service=peer.door.service, uid=peer.uid, pid=peer.pid, life=LIFE, size=peer.told,
            ),
        )  # fmt: skip

    def _settle_earlier(self, who: Who) -> None:
        """What a recorder sent on an earlier connection comes before what it sends again on this one.

        Raises ConnectionResetError while that is on its way to the disk: it is to come back later.
        """
        for other in [other for other in self._peers.values() if other.who == who]:
            if other.account is None or has_ended(other.sock):  # a stranger that lives would fill it meanwhile
                self._read_out(other)
        if any(other.who == who for other in self._lingering):
            raise ConnectionResetError

    def _state(self, asking: Peer) -> wire.HolderState:
        """Return how it is. A service's client is told of its own user only."""
        accounts = None if self._service is None else self._service.accounts
        states = [
            wire.RecorderState(peer.recorder, peer.pid, peer.uid, peer.recorded, peer.waiting, len(peer.open))
            for peer in self._peers.values()
            if peer.recorder and (asking.account is None or peer.uid == asking.uid)
        ]
        users = [
            wire.UserState(account.uid, account.connections, account.waiting, account.held, **account.counts)
            for account in accounts or ()
            if asking.account is None or account is asking.account
        ]
        orders = duties.known() if asking.account is None else []
        return wire.HolderState(states, orders=orders, users=users)

    def _answer_orders(self) -> None:
        for peer, answer in self._desk.answers():
            try:
                self._send(peer, answer)
            except WireError as exc:
                self._cut_off(peer, str(exc))
            self._serve(peer, 0)

    # --- connections -------------------------------------------------------------------------------------------

    def _send(self, peer: Peer, message: wire.ToRecorder) -> None:
        if peer.sock in self._peers:
            peer.say(message)

    def _flush(self, peer: Peer) -> None:
        try:
            peer.flush()
        finally:
            if peer.sock in self._peers:
                self._watch(peer)

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

    def _cut_off(self, peer: Peer, why: str) -> None:
        if peer.sock not in self._peers:
            return
        if peer.account is None or peer.account.may_say(time.monotonic()):
            log.warning(
                "%s: a recorder (process %d of user %d) was cut off: %s",
                self._writer.layout.socket, peer.pid, peer.uid, why,
            )  # fmt: skip
        self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        """A connection is gone; what came over it is written all the same."""
        if peer.sock not in self._peers:
            return
        if peer.out:
            with contextlib.suppress(OSError):
                peer.sock.send(peer.out)
        self._let_go(peer)
        self._desk.leave(peer)
        if peer.waiting:
            self._lingering.append(peer)
        else:
            self._leave(peer)

    def _leave(self, peer: Peer) -> None:
        """Its open calls are nobody's, unless the same recorder is connected a second time."""
        self._calls.leave(peer.open.values(), ended=peer.ended)
        for other in self._peers.values():
            if other.who == peer.who:
                other.open |= self._calls.adopt(peer.who)

    def _let_go(self, peer: Peer) -> None:
        del self._peers[peer.sock]
        if peer.watched:
            self._selector.unregister(peer.sock)
            peer.watched = 0
        if peer.account is not None:
            peer.account.connections -= 1
        peer.sock.close()

    def _say_good_bye(self) -> None:
        """Read what has come already, acknowledge it, and let go of everybody."""
        for peer in list(self._peers.values()):
            self._read_out(peer)
        deadline = time.monotonic() + self._writer.audit.write_timeout
        self._wake_out.settimeout(0.05)
        while self._lingering or any(peer.waiting for peer in self._peers.values()):
            self._answer_committed()
            if time.monotonic() >= deadline:
                break
            with contextlib.suppress(OSError):
                self._wake_out.recv(4096)
        for peer in self._lingering:
            self._leave(peer)
        self._calls.settle(all_of_them=True)
        self._keep_accounts(closing=True)
        for peer in list(self._peers.values()):
            with contextlib.suppress(OSError, WireError):
                self._send(peer, wire.Bye())
                peer.sock.send(peer.out)
            peer.out.clear()
            self._let_go(peer)
            self._left.append(peer)  # it lives: whoever holds the trail next hears from it
        for listener in self._doors:
            listener.close()
        self._selector.close()
