"""The holder's side of the trail's sockets: takes other processes' events into the trail.

What may not move:

- Each process is who the kernel says it is (SO_PEERCRED, unix(7)); who is let in, and what of what he sends may become
  a line, is for the door to say that he came in by (see `doors`).
- Where there are quotas, all connections of a user together have one turn in a round, and none while he is over a
  quota; a turn is over after `quotas.TURN_S` when there are other users, or with the event that exceeds it: nobody
  waits for more than that from everybody else.
- When a recorder is gone, its open calls are recorded as interrupted; when it only changed its holder, they are not
  (see `calls`).

What becomes of the events themselves is in `intake`, who is let in, and how much of each user, in `porter`: on both
this builds.

One thread serves all recorders, by all doors. It never waits for one of them: a recorder that does not read its
acknowledgements is cut off when these fill `peer.MAX_UNREAD`.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from indelible.errors import WireError
from indelible.trail.sharing import wire
from indelible.trail.sharing.doors import LIFE, Door, Family, Service
from indelible.trail.sharing.peer import MAX_READS, Peer, Who
from indelible.trail.sharing.porter import Porter
from indelible.trail.sharing.quotas import TURN_S
from indelible.trail.sharing.sockets import has_ended, listen
from indelible.trail.upkeep import duties
from indelible.trail.upkeep.orderdesk import OrderDesk

if TYPE_CHECKING:
    from indelible.trail.start.opening import OpenTrail

log = logging.getLogger("indelible")

CLOSING_S: Final = 1.0
"""CPU time that a service's end spends on what one user has sent and nobody has read yet."""


class Hub(Porter):
    """Serves the recorders of one trail, on a thread of its own, from `start` until `close`."""

    def __init__(
        self, opened: OpenTrail, recent: Callable[[], Iterable[str]], service: Service | None = None
    ) -> None:
        """`recent` returns the marks (see `doors`) of the newest events from before: those that may be sent again.

        With a `service`, others than the trail's own user are let in by its door.
        """
        super().__init__(opened, recent, service)
        self._secret = opened.digest_secret
        self._doors: dict[socket.socket, Door] = {} if service is None else {service.listener: service}
        self._turn = 0
        self.turns = 0
        """How often this thread has looked around: it stands still when the thread does."""
        self._desk = OrderDesk(opened.writer.housekeeper, self._wake)
        self._told = 0
        """How many lines there were when recorders were told last."""
        self._left: list[Peer] = []
        """Those that were connected when this closed."""
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
            behind = self._behind()
            found = self._selector.select(0 if behind else self._look_in_s())
            self._answer_committed()
            for key, events in found:
                sock = key.fileobj
                assert isinstance(sock, socket.socket)  # noqa: S101 - nothing else is registered
                if sock in self._doors:
                    self._accept(self._doors[sock])
                elif sock is self._wake_out:
                    with contextlib.suppress(OSError):
                        self._wake_out.recv(4096)
                elif sock in self._peers:  # what came before it in this round may have ended it
                    ready.append((self._peers[sock], events))
            ready += ((peer, selectors.EVENT_READ) for peer in behind.difference(peer for peer, _ in ready))
            self._answer_committed()  # once more: what the thread was woken for may have come since
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
        """Wake the thread for what it owes, and for what was acknowledged without it, which it keeps in memory."""
        if self._committed or self._writer.size - self._told >= wire.TOLD_EVERY:
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

    def _behind(self) -> set[Peer]:
        """Return those of whom something was read that may have its turn now."""
        return {
            peer
            for peer in self._peers.values()
            if peer.is_behind and not (peer.account is not None and peer.account.held)
        }

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
        started = time.thread_time()
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
        finally:
            self._charge(peer, time.thread_time() - started)
        return peer.sock in self._peers

    def _read_out(self, peer: Peer) -> None:
        """Take everything that a connection holds."""
        for _ in range(MAX_READS):
            if not self._serve(peer, selectors.EVENT_READ):
                return

    def _read(self, peer: Peer) -> None:
        """Have one turn: a short one, where other users wait for theirs."""
        puts: list[tuple[wire.Put, wire.Put | str]] = []
        accounts = peer.door.accounts
        ends_at = None if accounts is None or accounts.users < 2 else time.thread_time() + TURN_S
        for message in peer.received():
            if isinstance(message, wire.Put):
                if peer.waiting + len(puts) >= wire.WINDOW and not self._has_room(peer, len(puts)):
                    msg = f"more than {wire.WINDOW} events came without waiting for their acknowledgement"
                    raise WireError(msg)
                puts.append((message, self._check(peer, message)))
            elif isinstance(message, wire.Hello):
                if self._is_early(peer, message):
                    peer.put_back(message)
                    break
                self._greet(peer, message)
            elif isinstance(message, wire.Ask):
                self._send(peer, self._state(peer))
            elif isinstance(message, wire.Order):
                self._desk.take(peer, message)
            else:
                self._take(peer, puts)
                peer.ended = True
                raise ConnectionResetError
            if ends_at is not None and time.thread_time() >= ends_at:
                break
        if puts:
            self._take(peer, puts)
        if peer.account is not None:
            peer.account.spend(len(puts), 0, time.monotonic())

    def _has_room(self, peer: Peer, came: int) -> bool:
        """Tell whether so many may be on their way, when all is noted that was acknowledged meanwhile."""
        self._answer_committed()
        if peer.sock not in self._peers:
            raise ConnectionResetError
        return peer.waiting + came < wire.WINDOW

    # --- greeting ----------------------------------------------------------------------------------------------

    def _greet(self, peer: Peer, hello: wire.Hello) -> None:
        error = None
        if hello.v != wire.VERSION:
            error = f"this holder speaks version {wire.VERSION} of the protocol, not {hello.v}"
        elif (wrong := peer.door.refuses(peer, hello) or self._no_place(peer)) is not None:
            error = wrong
        elif peer.recorder or not hello.recorder or len(hello.recorder) > wire.MAX_RECORDER_CHARS:
            error = "the recorder's name is empty, too long, or the second one"
        if error is not None:
            self._send(peer, wire.Refused(error))
            raise WireError(error)
        self._settle_earlier((hello.recorder, peer.uid, peer.pid))
        peer.recorder = hello.recorder
        peer.said = peer.door.said_by(peer, hello)
        if peer.account is not None:
            peer.account.recorders += 1
        self._adopt(peer)
        key, key_id = peer.door.key_for(peer, self._secret)
        peer.told = self._writer.size
        self._send(
            peer,
            wire.Welcome(
                wire.VERSION, self._writer.origin, self._writer.audit.durability, wire.WINDOW, key.hex(), key_id,
                service=peer.door.service, uid=peer.uid, pid=peer.pid, life=LIFE, size=peer.told,
                token_key=peer.door.token_key_for(peer, self._secret).hex(),
            ),
        )  # fmt: skip

    def _adopt(self, peer: Peer) -> None:
        """Give a recorder those open calls that it left behind with an earlier connection."""
        for event_id, body in self._calls.adopt(peer.who).items():
            peer.open.put(event_id, body)

    def _is_early(self, peer: Peer, hello: wire.Hello) -> bool:
        """Tell whether there is something left of a stranger's earlier connection: that comes first, turn by turn."""
        who = (hello.recorder, peer.uid, peer.pid)
        return peer.account is not None and any(
            other.who == who and has_ended(other.sock) for other in self._peers.values()
        )

    def _settle_earlier(self, who: Who) -> None:
        """What a recorder sent on an earlier connection comes before what it sends again on this one.

        Raises ConnectionResetError while that is on its way to the disk: it is to come back later.
        """
        for other in [other for other in self._peers.values() if other.who == who]:
            if (
                other.account is None
            ):  # else nothing is left of it (`_is_early`), or it lives, and would fill it
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
            self._user_state(account)
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
                peer.flush()
        self._let_go(peer)
        self._desk.leave(peer)
        if peer.waiting:
            self._lingering.append(peer)
        else:
            self._leave(peer)

    def _leave(self, peer: Peer) -> None:
        """Its open calls are nobody's, unless the same recorder is connected a second time."""
        self._calls.leave(peer.open.bodies(), ended=peer.ended)
        for other in self._peers.values():
            if other.who == peer.who:
                self._adopt(other)

    def _let_go(self, peer: Peer) -> None:
        del self._peers[peer.sock]
        if peer.watched:
            self._selector.unregister(peer.sock)
            peer.watched = 0
        if peer.account is not None:
            peer.account.connections -= 1
            peer.account.recorders -= bool(peer.recorder)
        peer.close()

    def _say_good_bye(self) -> None:
        """Read what has come already, acknowledge it, and let go of everybody.

        Nobody's takes longer than `CLOSING_S`: what is left then was not acknowledged, and its recorder sends it again.
        """
        accounts = () if self._service is None else self._service.accounts
        ends = {account.uid: account.busy_s + CLOSING_S for account in accounts}
        for peer in list(self._peers.values()):
            if peer.account is None:
                self._read_out(peer)
                continue
            while peer.account.busy_s < ends[peer.uid] and self._serve(peer, selectors.EVENT_READ):
                pass
        deadline = time.monotonic() + self._writer.audit.write_timeout
        self._at_once = False
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
                peer.flush()
            peer.out.clear()
            self._let_go(peer)
            self._left.append(peer)  # it lives: whoever holds the trail next hears from it
        for listener in self._doors:
            listener.close()
        self._selector.close()
