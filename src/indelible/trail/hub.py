"""The holder's side of `writer.sock`: takes other processes' events into the trail.

What may not move:

- An event is acknowledged when it is in the trail, as safe as the trail's durability says, and not before.
- A recorder's events are written in the order of their numbers, each once: one that is sent again after a holder died
  is looked for among the newest events first.
- Only processes of the same user are let in, and each is who the kernel says it is (SO_PEERCRED, unix(7)).
- When a recorder is gone, its open calls are recorded as interrupted; when it only changed its holder, they are not.

One thread serves all recorders. It never waits for one of them: a recorder that does not read its acknowledgements is
cut off when these fill `MAX_UNREAD`.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import orjson

from indelible.errors import TrailUnavailable, WireError
from indelible.trail import durable, keys, wire
from indelible.trail.commit import Item
from indelible.trail.intents import recorder_of
from indelible.trail.opening import interrupted
from indelible.trail.sockets import listen

if TYPE_CHECKING:
    from indelible.trail.opening import OpenTrail

log = logging.getLogger("indelible")

GRACE_S: Final = 10.0
"""How long a new holder waits for the recorders whose calls are open before it calls these interrupted."""

READ_BYTES: Final = 256 * 1024
MAX_UNREAD: Final = 1 << 20
MAX_DEATHS: Final = 1
"""An event on its way while so many holders died is taken; one more, and it is set aside: it may be what kills them."""

SPARE_CONNECTIONS: Final = 8
"""For those that only ask, or have not said hello yet."""


class Peer:
    """One connection."""

    def __init__(self, sock: socket.socket, pid: int, uid: int) -> None:
        self.sock = sock
        self.pid = pid
        self.uid = uid
        self.recorder = ""
        """Empty until it has said hello."""
        self.messages = wire.Messages()
        self.out = bytearray()
        self.last = 0
        """The number of the last event that came."""
        self.recorded = 0
        self.waiting = 0
        self.open: dict[str, bytes] = {}
        """Its open calls: the bodies of their intents by `event_id`."""


class Hub:
    """Serves the recorders of one trail, on a thread of its own, from `start` until `close`."""

    def __init__(self, opened: OpenTrail, known: Iterable[str] = ()) -> None:
        """`known` are the ids of the newest events in the trail: those that may be sent again."""
        self._writer = opened.writer
        self._secret = opened.digest_secret
        self._known = collections.OrderedDict.fromkeys(known)
        self._orphans = {str(intent.get("event_id")): intent for intent in opened.spared}
        self._grace_ends = time.monotonic() + GRACE_S if self._orphans else None
        self._on_disk = opened.writer.audit.durability == "disk"
        self._peers: dict[socket.socket, Peer] = {}
        self._left: list[Peer] = []
        """Those that were connected when this closed."""
        self._answers: collections.deque[tuple[Peer, list[wire.Put], int, TrailUnavailable | None]] = (
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
            raise
        for sock in (self._listener, self._wake_out, self._wake_in):
            sock.settimeout(0)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._thread.start()

    def close(self) -> None:
        """Take what has come, acknowledge it, say good-bye and stop listening."""
        self._closing = True
        self._wake()
        self._thread.join()
        self._wake_out.close()
        self._wake_in.close()
        with contextlib.suppress(OSError):
            self._writer.layout.socket.unlink()

    @property
    def open_calls(self) -> frozenset[str]:
        """The `event_id` of every open call that is another process's. Known when closed, too."""
        return frozenset(self._orphans).union(*(peer.open for peer in self._left))

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
        while not self._closing:
            timeout = None if self._grace_ends is None else max(0.0, self._grace_ends - time.monotonic())
            for key, events in self._selector.select(timeout):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_out:
                    with contextlib.suppress(OSError):
                        self._wake_out.recv(4096)
                else:
                    self._serve(self._peers[key.fileobj], events)  # type: ignore[index]  # ours are all sockets
            self._answer_committed()
            if self._grace_ends is not None and time.monotonic() >= self._grace_ends:
                self._grace_ends = None
                self._interrupt(list(self._orphans.values()))
                self._orphans.clear()
        self._say_good_bye()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.settimeout(0)
        pid, uid = _credentials(sock)
        if uid not in (os.getuid(), 0) or len(self._peers) >= wire.MAX_RECORDERS + SPARE_CONNECTIONS:
            sock.close()
            return
        peer = self._peers[sock] = Peer(sock, pid, uid)
        self._selector.register(sock, selectors.EVENT_READ)
        self._serve(peer, selectors.EVENT_READ)

    def _serve(self, peer: Peer, events: int) -> None:
        """Read from a recorder, or write to it; whatever it does wrong costs only itself the connection."""
        if peer.sock not in self._peers:
            return
        try:
            if events & selectors.EVENT_READ:
                self._read(peer)
            if peer.out:
                self._flush(peer)
        except BlockingIOError:
            return
        except WireError as exc:
            log.warning(
                "%s: a recorder (process %d) was cut off: %s", self._writer.layout.socket, peer.pid, exc
            )
            self._drop(peer)
        except OSError:
            self._drop(peer)
        except Exception:  # a fault of ours costs one connection, not everybody's
            log.exception("%s: a recorder (process %d) was cut off", self._writer.layout.socket, peer.pid)
            self._drop(peer)

    def _read(self, peer: Peer) -> None:
        data = peer.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError
        puts: list[wire.Put] = []
        for raw in peer.messages.feed(data):
            try:
                message = wire.decode_to_holder(raw)
            except (ValueError, RecursionError) as exc:
                msg = "it sent what is no message"
                raise WireError(msg) from exc
            if isinstance(message, wire.Put):
                if not peer.recorder or message.n != peer.last + 1:
                    msg = "its events are not numbered one by one" if peer.recorder else "it did not say hello"
                    raise WireError(msg)
                peer.last = message.n
                puts.append(message)
            elif isinstance(message, wire.Hello):
                self._greet(peer, message)
            elif isinstance(message, wire.Ask):
                self._send(peer, wire.HolderState(self._states()))
            else:
                self._take(peer, puts)
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
            raise ConnectionResetError
        peer.recorder = hello.recorder
        self._adopt(peer)
        key, key_id = keys.derive_digest_key(self._secret, hello.recorder)
        audit = self._writer.audit
        self._send(
            peer,
            wire.Welcome(wire.VERSION, self._writer.origin, audit.durability, wire.WINDOW, key.hex(), key_id),
        )

    def _adopt(self, peer: Peer) -> None:
        """Give a recorder the open calls back that it had under an earlier holder."""
        for event_id, intent in list(self._orphans.items()):
            if recorder_of(intent) == (peer.recorder, peer.pid):
                peer.open[event_id] = orjson.dumps(intent)
                del self._orphans[event_id]

    def _states(self) -> list[wire.RecorderState]:
        return [
            wire.RecorderState(peer.recorder, peer.pid, peer.uid, peer.recorded, peer.waiting, len(peer.open))
            for peer in self._peers.values()
            if peer.recorder
        ]

    # --- events ------------------------------------------------------------------------------------------------

    def _take(self, peer: Peer, puts: list[wire.Put]) -> None:
        """Write a recorder's events in order, and answer."""
        peer.waiting += len(puts)
        if peer.waiting > wire.WINDOW:
            msg = f"more than {wire.WINDOW} events came without waiting for their acknowledgement"
            raise WireError(msg)
        fit: list[wire.Put] = []
        for put in puts:
            error = self._why_not(peer, put)
            if error is None:
                fit.append(put)
                continue
            self._write(peer, fit)  # what stood before it
            fit = []
            self._answer(peer, [put], 0, error)
        self._write(peer, fit)

    def _why_not(self, peer: Peer, put: wire.Put) -> str | None:
        error = wire.check_body(put, peer.recorder, peer.uid, peer.pid)
        if error is None and put.deaths > MAX_DEATHS and put.id not in self._known:
            error = self.set_aside(bytes(put.body), peer.recorder, peer.pid, put.deaths)
        return error

    def _write(self, peer: Peer, puts: list[wire.Put]) -> None:
        new = [put for put in puts if not (put.again and put.id in self._known)]
        if not new:
            self._answer(peer, puts, len(puts), None)
            return
        items = [Item(bytes(put.body), put.opens, put.closes) for put in new]
        if not self._on_disk:
            safe, error = self._writer.append_all(items)
            self._answer(peer, puts, len(puts) if error is None else _position(puts, new, safe), error)
            return

        def done(safe: int, error: TrailUnavailable | None) -> None:
            at = len(puts) if error is None else _position(puts, new, safe)
            self._answers.append((peer, puts, at, error))
            self._wake()

        try:
            self._writer.submit(items, done)
        except TrailUnavailable as exc:
            self._answer(peer, puts, _position(puts, new, 0), exc)

    def _answer_committed(self) -> None:
        while self._answers:
            peer, puts, safe, error = self._answers.popleft()
            try:
                self._answer(peer, puts, safe, error)
                self._flush(peer)
            except BlockingIOError:
                continue
            except (OSError, WireError):
                self._drop(peer)

    def _answer(
        self, peer: Peer, puts: list[wire.Put], safe: int, error: TrailUnavailable | str | None
    ) -> None:
        """Acknowledge the first `safe` events, and say of the others why they are not in the trail."""
        peer.waiting -= len(puts)
        for put in puts[:safe]:
            self._note(peer, put)
        if safe:
            peer.recorded += safe
            self._send(peer, wire.Ack(puts[safe - 1].n))
        for put in puts[safe:]:
            self._send(peer, wire.Nack(put.n, str(error)))

    def _note(self, peer: Peer, put: wire.Put) -> None:
        self._known[put.id] = None
        if len(self._known) > wire.REMEMBERED:
            self._known.popitem(last=False)
        if put.opens:
            peer.open[put.opens] = bytes(put.body)
        elif put.closes:
            peer.open.pop(put.closes, None)
            self._orphans.pop(put.closes, None)

    def set_aside(self, body: bytes, recorder: str, pid: int, deaths: int) -> str:
        """Keep an event that may kill whoever writes it, say so in the record, and return what to say of it."""
        layout, access = self._writer.layout, self._writer.access
        name = f"event-{pid}-{time.time_ns()}.json"
        try:
            durable.make_directory(layout.quarantine, access)
            durable.replace_file(layout.quarantine / name, body + b"\n", access)
            about = {"quarantined": f"quarantine/{name}", "recorder": recorder, "pid": pid, "deaths": deaths}
            self._writer.write_service_events([self._writer.service_event("alert", about)])
        except (OSError, TrailUnavailable) as exc:
            log.error("%s: an event could not be set aside: %s", layout.quarantine, exc)  # noqa: TRY400
        return f"set aside in quarantine/{name}: {deaths} processes died while they were writing it"

    def _interrupt(self, intents: list[dict[str, Any]]) -> None:
        """Record open calls as interrupted: their recorder is gone."""
        if not intents:
            return
        try:
            self._writer.write_service_events([interrupted(intent) for intent in intents])
        except TrailUnavailable as exc:
            log.error("%s: interrupted calls were not recorded: %s", self._writer.layout.active, exc)  # noqa: TRY400

    # --- connections -------------------------------------------------------------------------------------------

    def _send(self, peer: Peer, message: wire.ToRecorder) -> None:
        peer.out += wire.pack(message)
        if len(peer.out) > MAX_UNREAD:
            msg = "it does not read its acknowledgements"
            raise WireError(msg)

    def _flush(self, peer: Peer) -> None:
        try:
            if peer.out:
                sent = peer.sock.send(peer.out)
                del peer.out[:sent]
        finally:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.out else 0)
            if peer.sock in self._peers and self._selector.get_key(peer.sock).events != wanted:
                self._selector.modify(peer.sock, wanted)

    def _drop(self, peer: Peer) -> None:
        """A recorder is gone."""
        if peer.sock in self._peers:
            if peer.out:
                with contextlib.suppress(OSError):
                    peer.sock.send(peer.out)
            self._let_go(peer)
            self._interrupt([orjson.loads(body) for body in peer.open.values()])

    def _let_go(self, peer: Peer) -> None:
        del self._peers[peer.sock]
        self._selector.unregister(peer.sock)
        peer.sock.close()

    def _say_good_bye(self) -> None:
        """Read what has come already, acknowledge it, and let go of everybody."""
        for peer in list(self._peers.values()):
            self._serve(peer, selectors.EVENT_READ)
        deadline = time.monotonic() + self._writer.audit.write_timeout
        while any(peer.waiting for peer in self._peers.values()) and time.monotonic() < deadline:
            self._selector.select(0.05)
            self._answer_committed()
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


def _credentials(sock: socket.socket) -> tuple[int, int]:
    """Return the pid and uid of the process at the other end, as the kernel has them."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid
    import ctypes  # macOS: getpeereid(3) and LOCAL_PEERPID  # pragma: no cover

    uid, gid = ctypes.c_uint32(), ctypes.c_uint32()  # pragma: no cover
    ctypes.CDLL(None).getpeereid(sock.fileno(), ctypes.byref(uid), ctypes.byref(gid))  # pragma: no cover
    pid = struct.unpack("i", sock.getsockopt(0, 2, 4))[0]  # pragma: no cover
    return pid, uid.value  # pragma: no cover
