"""The holder's side of `writer.sock`: takes other processes' events into the trail.

What may not move:

- An event is acknowledged when it is in the trail, as safe as the trail's durability says, and not before.
- A recorder's events are written in the order of their numbers, each once: one that is sent again after a holder died
  is looked for among the newest events first.
- Only processes of the same user are let in, and each is who the kernel says it is (SO_PEERCRED, unix(7)).
- When a recorder is gone, its open calls are recorded as interrupted; when it only changed its holder, they are not
  (see `calls`).

One thread serves all recorders. It never waits for one of them: a recorder that does not read its acknowledgements is
cut off when these fill `peer.MAX_UNREAD`.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from indelible.errors import TrailError, TrailUnavailable, WireError
from indelible.trail import duties, keys, wire
from indelible.trail.calls import OpenCalls
from indelible.trail.commit import Item
from indelible.trail.orderdesk import OrderDesk
from indelible.trail.peer import MAX_READS, Batch, Peer
from indelible.trail.sockets import credentials, listen
from indelible.trail.suspects import Suspects

if TYPE_CHECKING:
    from indelible.trail.opening import OpenTrail

log = logging.getLogger("indelible")

NO_ROOM_S: Final = 0.05
"""Pause when a connection cannot be taken for want of descriptors or memory: it goes on waiting."""

SPARE_CONNECTIONS: Final = 8
"""For those that only ask, or have not said hello yet."""


class Hub:
    """Serves the recorders of one trail, on a thread of its own, from `start` until `close`."""

    def __init__(self, opened: OpenTrail, recent: Callable[[], Iterable[str]]) -> None:
        """`recent` returns the ids of the newest events from before: those that may be sent again."""
        self._writer = opened.writer
        self._secret = opened.digest_secret
        self._recent = recent
        self._earlier: frozenset[str] | None = None
        """What `recent` has returned, asked when the first event comes again."""
        self._known: collections.OrderedDict[str, None] = collections.OrderedDict()
        """The ids of the newest events that came here."""
        self._calls = OpenCalls(opened.writer, opened.spared)
        self.suspects = Suspects(opened.writer)
        self._desk = OrderDesk(opened.writer.housekeeper, self._wake)
        self._on_disk = opened.writer.audit.durability == "disk"
        self._peers: dict[socket.socket, Peer] = {}
        self._left: list[Peer] = []
        """Those that were connected when this closed."""
        self._lingering: list[Peer] = []
        """Those that are gone, while what they sent is on its way to the disk."""
        self._committed: collections.deque[tuple[Peer, Batch, int, TrailUnavailable | None]] = (
            collections.deque()
        )
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = socket.socketpair()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="indelible-hub", daemon=True)

    def start(self) -> None:
        """Begin to listen. Raises OSError."""
        try:
            self._listener = listen(self._writer.layout.socket)
        except OSError:
            for sock in (self._wake_out, self._wake_in):
                sock.close()
            self._selector.close()
            raise
        for sock in (self._listener, self._wake_out, self._wake_in):
            sock.settimeout(0)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
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
    def open_calls(self) -> frozenset[str]:
        """The `event_id` of every open call that is another process's. Known when closed, too."""
        return self._calls.ids.union(*(peer.open for peer in self._left))

    def abandon(self) -> None:
        """In a forked child: close what was inherited, and nothing more."""
        for sock in (self._listener, self._wake_out, self._wake_in, *self._peers):
            sock.close()
        self._selector.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_in.send(b"\0")

    # --- the loop ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing or self._desk.busy:
            for key, events in self._selector.select(self._calls.look_in_s):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_out:
                    with contextlib.suppress(OSError):
                        self._wake_out.recv(4096)
                else:
                    self._serve(self._peers[key.fileobj], events)  # type: ignore[index]  # ours are all sockets
            self._answer_committed()
            self._answer_orders()
            self._calls.settle()
        self._say_good_bye()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
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
        if uid not in (os.getuid(), 0):
            log.warning("%s: process %d of user %d was not let in", self._writer.layout.socket, pid, uid)
            sock.close()
            return
        if len(self._peers) >= wire.MAX_RECORDERS + SPARE_CONNECTIONS:
            self._make_room()
        peer = self._peers[sock] = Peer(sock, pid, uid)
        self._selector.register(sock, selectors.EVENT_READ)
        self._serve(peer, selectors.EVENT_READ)

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
            if events & selectors.EVENT_READ:
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

    def _read(self, peer: Peer) -> None:
        puts: list[wire.Put] = []
        for message in peer.received():
            if isinstance(message, wire.Put):
                puts.append(message)
            elif isinstance(message, wire.Hello):
                self._greet(peer, message)
            elif isinstance(message, wire.Ask):
                self._send(peer, wire.HolderState(self._states(), orders=duties.known()))
            elif isinstance(message, wire.Order):
                self._desk.take(peer, message)
            else:
                self._take(peer, puts)
                peer.ended = True
                raise ConnectionResetError
        if puts:
            self._take(peer, puts)

    # --- greeting ----------------------------------------------------------------------------------------------

    def _greet(self, peer: Peer, hello: wire.Hello) -> None:
        error = None
        if hello.v != wire.VERSION:
            error = f"this holder speaks version {wire.VERSION} of the protocol, not {hello.v}"
        elif hello.pid != peer.pid:
            error = f"the process is {peer.pid}, not {hello.pid}"
        elif sum(bool(other.recorder) for other in self._peers.values()) >= wire.MAX_RECORDERS:
            error = f"{wire.MAX_RECORDERS} recorders are connected already"
        elif peer.recorder or not hello.recorder or len(hello.recorder) > wire.MAX_RECORDER_CHARS:
            error = "the recorder's name is empty, too long, or the second one"
        if error is not None:
            self._send(peer, wire.Refused(error))
            raise WireError(error)
        self._settle_earlier(peer, hello.recorder)
        peer.recorder = hello.recorder
        peer.open = self._calls.adopt(peer.recorder, peer.pid)
        key, key_id = keys.derive_digest_key(self._secret, hello.recorder)
        audit = self._writer.audit
        self._send(
            peer,
            wire.Welcome(wire.VERSION, self._writer.origin, audit.durability, wire.WINDOW, key.hex(), key_id),
        )

    def _settle_earlier(self, peer: Peer, recorder: str) -> None:
        """What a recorder sent on an earlier connection comes before what it sends again on this one.

        Raises ConnectionResetError while that is on its way to the disk: it is to come back later.
        """
        for other in [other for other in self._peers.values() if other.is_again(recorder, peer.pid)]:
            self._read_out(other)
        if any(other.is_again(recorder, peer.pid) for other in self._lingering):
            raise ConnectionResetError

    def _states(self) -> list[wire.RecorderState]:
        return [
            wire.RecorderState(peer.recorder, peer.pid, peer.uid, peer.recorded, peer.waiting, len(peer.open))
            for peer in self._peers.values()
            if peer.recorder
        ]

    # --- events ------------------------------------------------------------------------------------------------

    def _take(self, peer: Peer, puts: list[wire.Put]) -> None:
        """Write a recorder's events in order, and answer."""
        if peer.waiting + len(puts) > wire.WINDOW:
            msg = f"more than {wire.WINDOW} events came without waiting for their acknowledgement"
            raise WireError(msg)
        fit: list[wire.Put] = []
        for put in puts:
            error = wire.check_body(put, peer.recorder, peer.uid, peer.pid)
            if error is None and not put.deaths:
                fit.append(put)
                continue
            self._write(peer, fit)  # what stood before it
            fit = []
            if error is None:
                self._try(peer, put)
            else:
                self._answer(peer, [put], 0, error)
        self._write(peer, fit)

    def _try(self, peer: Peer, put: wire.Put) -> None:
        """Write an event that may have killed an earlier holder, and nothing beside it."""
        error: TrailUnavailable | str | None = None
        if not self._is_there(put):
            body = bytes(put.body)
            if self.suspects.is_guilty(put.id, put.deaths):
                error = self.suspects.set_aside(body, peer.recorder, peer.pid, put.deaths)
            else:
                with self.suspects.trying(put.id):
                    _, error = self._writer.append_all([Item(body, put.opens, put.closes)])
        self._answer(peer, [put], int(error is None), error)

    def _is_there(self, put: wire.Put) -> bool:
        """Tell whether an event that is sent again is in the trail. Raises WireError when that cannot be known."""
        if not put.again and not put.deaths:
            return False
        if self._earlier is None:
            try:
                self._earlier = frozenset(self._recent())
            except (OSError, TrailError) as exc:
                msg = f"it sent an event again, and the trail cannot be read: {exc}"
                raise WireError(msg) from exc
        return put.id in self._known or put.id in self._earlier

    def _write(self, peer: Peer, puts: list[wire.Put]) -> None:
        if self._writer.lost:
            msg = "this process holds the trail no more; another may"
            raise WireError(msg)
        new = [put for put in puts if not self._is_there(put)]
        if not new:
            self._answer(peer, puts, len(puts), None)
            return
        items = [Item(bytes(put.body), put.opens, put.closes) for put in new]
        if not self._on_disk:
            safe, error = self._writer.append_all(items)
            self._answer(peer, puts, len(puts) if error is None else _position(puts, new, safe), error)
            return

        batch = Batch(puts)

        def done(safe: int, error: TrailUnavailable | None) -> None:
            at = len(puts) if error is None else _position(puts, new, safe)
            self._committed.append((peer, batch, at, error))
            self._wake()

        try:
            self._writer.submit(items, done)
        except TrailUnavailable as exc:
            self._answer(peer, puts, _position(puts, new, 0), exc)
        else:
            peer.expect(batch)

    def _answer_committed(self) -> None:
        while self._committed:
            peer, batch, safe, error = self._committed.popleft()
            batch.settle(safe, error)
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

    def _answer_orders(self) -> None:
        for peer, answer in self._desk.answers():
            try:
                self._send(peer, answer)
            except WireError as exc:
                self._cut_off(peer, str(exc))
            self._serve(peer, 0)

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
            for put in puts[:safe]:
                self._note(peer, put)
            if safe:
                peer.recorded += safe
                self._send(peer, wire.Ack(puts[safe - 1].n))
            for put in puts[safe:]:
                self._send(peer, wire.Nack(put.n, str(batch.error)))

    def _note(self, peer: Peer, put: wire.Put) -> None:
        self._known[put.id] = None
        if len(self._known) > wire.REMEMBERED:
            self._known.popitem(last=False)
        if put.opens:
            peer.open[put.opens] = bytes(put.body)
        elif put.closes:
            peer.open.pop(put.closes, None)
            self._calls.closed(put.closes)

    # --- connections -------------------------------------------------------------------------------------------

    def _send(self, peer: Peer, message: wire.ToRecorder) -> None:
        if peer.sock in self._peers:
            peer.say(message)

    def _flush(self, peer: Peer) -> None:
        try:
            peer.flush()
        finally:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.out else 0)
            if peer.sock in self._peers and self._selector.get_key(peer.sock).events != wanted:
                self._selector.modify(peer.sock, wanted)

    def _cut_off(self, peer: Peer, why: str) -> None:
        if peer.sock in self._peers:
            log.warning(
                "%s: a recorder (process %d) was cut off: %s", self._writer.layout.socket, peer.pid, why
            )
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
            if other.is_again(peer.recorder, peer.pid):
                other.open |= self._calls.adopt(peer.recorder, peer.pid)

    def _let_go(self, peer: Peer) -> None:
        del self._peers[peer.sock]
        self._selector.unregister(peer.sock)
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
        self._calls.settle()
        for peer in list(self._peers.values()):
            with contextlib.suppress(OSError, WireError):
                self._send(peer, wire.Bye())
                peer.sock.send(peer.out)
            peer.out.clear()
            self._let_go(peer)
            self._left.append(peer)  # it lives: whoever holds the trail next hears from it
        self._listener.close()
        self._selector.close()


def _position(puts: list[wire.Put], new: list[wire.Put], safe: int) -> int:
    """Return how many of `puts` are in the trail when the first `safe` of `new`, which are among them, are."""
    if safe >= len(new):
        return len(puts)
    return puts.index(new[safe])
