"""One connection to a trail's holder, as the holder has it: what came over it, and what is owed to it.

The rule that lives here: answers go out in the order of the events' numbers. An acknowledgement holds for everything
before it, so none is sent while it is not known what became of an earlier event.
"""

from __future__ import annotations

import collections
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from indelible.errors import TrailUnavailable, WireError
from indelible.trail.sharing import wire
from indelible.trail.sharing.doors import SERVICE_READ_BYTES, Checker, Door

READ_BYTES: Final = 256 * 1024
MAX_UNREAD: Final = 1 << 20
MAX_READS: Final = 2 * wire.WINDOW * wire.MAX_MESSAGE // READ_BYTES
"""So often a connection is read to get at all that it holds: more cannot be on its way."""


Who = tuple[str, int, int]
"""A recorder: its name, its user's id, its process's."""


class Batch:
    """Events that came together, and what became of them."""

    __slots__ = ("acknowledged", "error", "puts", "safe", "size")

    def __init__(self, puts: list[wire.Put]) -> None:
        self.puts = puts
        self.size = 0
        """Bytes of their bodies, where there are quotas."""
        self.safe = -1
        """How many of them, from the first on, are in the trail; below 0 while that is not known."""
        self.error: TrailUnavailable | str | None = None
        self.acknowledged = False
        """Whether that was said by whoever committed them."""

    def settle(self, safe: int, error: TrailUnavailable | str | None) -> None:
        """It is known now: the first `safe` are in the trail, the others are not, because of `error`."""
        self.safe, self.error = safe, error


class Intents:
    """The intents of open calls, by `event_id`; how many bytes they are is always known."""

    __slots__ = ("_bodies", "size")

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}
        self.size = 0
        """Bytes of them all."""

    def put(self, event_id: str, body: bytes) -> None:
        """A call is open."""
        self.drop(event_id)
        self._bodies[event_id] = body
        self.size += len(body)

    def drop(self, event_id: str) -> None:
        """It is not any more."""
        self.size -= len(self._bodies.pop(event_id, b""))

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._bodies

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def __len__(self) -> int:
        return len(self._bodies)

    def bodies(self) -> Iterable[bytes]:
        """Return them all."""
        return self._bodies.values()


class Peer:
    """One connection. What is sent stays in `out` until `flush`."""

    def __init__(self, sock: socket.socket, pid: int, uid: int, door: Door) -> None:
        self.sock = sock
        self.pid = pid
        self.uid = uid
        self.door = door
        """The way that it came in."""
        self.account = door.account(uid)
        """Its user's, where there are quotas."""
        self.checker: Checker | None = None
        """Looks at its events, where they are checked again."""
        self.said = b""
        """What stands in each of its events that its process has encoded as this one does; empty: they are parsed."""
        self.watched = 0
        """What the hub's selector looks for at it."""
        self.turn = 0
        """When it was last read from, in turns."""
        self._read_bytes = SERVICE_READ_BYTES if door.service else READ_BYTES
        self.recorder = ""
        """Empty until it has said hello."""
        self.out = bytearray()
        self.recorded = 0
        self.acknowledged = 0
        """The number of the last event that was."""
        self.told = 0
        """How many lines the trail had when it was told so."""
        self.waiting = 0
        """How many events came and are not answered yet."""
        self.ended = False
        """It has said good-bye."""
        self.open = Intents()
        """Its open calls."""
        self._messages = wire.Messages()
        self._came: collections.deque[bytes] = collections.deque()
        """Messages that were read, and had no turn yet."""
        self._batches: collections.deque[Batch] = collections.deque()
        self._last = 0
        """The number of the last event that came."""
        self._sending = threading.Lock()
        """Covers `out` and what is sent, and the socket's end: its number may be another connection's after that."""
        self._closed = False

    @property
    def who(self) -> Who:
        """The recorder: its name, its user, its process."""
        return self.recorder, self.uid, self.pid

    @property
    def is_behind(self) -> bool:
        """Whether messages were read that had no turn yet."""
        return bool(self._came)

    def received(self) -> Iterator[wire.ToHolder]:
        """Yield the messages that are whole and had no turn yet; when there are none, read once before.

        Whoever ends the iteration early finds the rest the next time. Raises WireError for what may not come,
        BlockingIOError when nothing has come, ConnectionResetError at the end.
        """
        if not self._came:
            self._receive()
        came, decode = self._came, wire.decode_to_holder
        while came:
            try:
                message = decode(came.popleft())
            except (ValueError, RecursionError) as exc:
                msg = "it sent what is no message"
                raise WireError(msg) from exc
            if isinstance(message, wire.Put):
                if message.n != self._last + 1 or not self.recorder:
                    msg = "its events are not numbered one by one" if self.recorder else "it did not say hello"
                    raise WireError(msg)
                self._last = message.n
            elif not self.door.hears(message):
                msg = "it sent what only the trail's own user may"
                raise WireError(msg)
            yield message

    def put_back(self, message: wire.ToHolder) -> None:
        """Let a message, and what came after it, have another turn."""
        self._came.appendleft(wire.pack(message)[wire.LENGTH_BYTES :])

    def _receive(self) -> None:
        data = self.sock.recv(self._read_bytes)
        if not data:
            if self._messages.partial:
                msg = "it ended within a message"
                raise WireError(msg)
            raise ConnectionResetError
        if self.account is not None:
            self.account.spend(0, len(data), time.monotonic())
        self._came += self._messages.feed(data)

    def expect(self, batch: Batch) -> None:
        """Answer these events after those that came before."""
        self._batches.append(batch)
        if self.account is not None:
            batch.size = sum(len(bytes(put.body)) for put in batch.puts)
        self._wait(batch, 1)

    def _wait(self, batch: Batch, sign: int) -> None:
        self.waiting += sign * len(batch.puts)
        if self.account is not None:
            self.account.waiting += sign * len(batch.puts)
            self.account.waiting_bytes += sign * batch.size

    def settle(self, batch: Batch, safe: int, error: TrailUnavailable | str | None) -> None:
        """It is known now what became of a batch, and whether the thread that committed it has acknowledged it."""
        with self._sending:
            batch.settle(safe, error)

    def due(self) -> Iterator[Batch]:
        """Yield what can be answered now, in order."""
        while self._batches and self._batches[0].safe >= 0:
            batch = self._batches.popleft()
            self._wait(batch, -1)
            yield batch

    def say(self, message: wire.ToRecorder) -> None:
        """Send a message with the next `flush`. Raises WireError when it does not read what it is told."""
        with self._sending:
            self.out += wire.pack(message)
        if len(self.out) > MAX_UNREAD:
            msg = "it does not read its acknowledgements"
            raise WireError(msg)

    def flush(self) -> None:
        """Send as much as it takes. Raises OSError."""
        if self.out:
            with self._sending:
                sent = self.sock.send(self.out)
                del self.out[:sent]

    def acknowledge(self, batch: Batch, note: Callable[[], None]) -> bool:
        """Say that a batch is in the trail, from the thread that committed it; tell whether nothing is left to say.

        `note` is called before: the hub's thread knows of it before it reads what the recorder sends upon it. Nothing
        is said while an answer to earlier events is owed.
        """
        with self._sending:
            note()
            if self._closed or self.out or not self._batches or self._batches[0] is not batch:
                return False
            message = wire.pack(wire.Ack(batch.puts[-1].n))
            try:
                sent = self.sock.send(message)
            except OSError:
                return False
            batch.acknowledged = True
            self.out += message[sent:]
            return not self.out

    def close(self) -> None:
        """Close the connection."""
        with self._sending:
            self._closed = True
            self.sock.close()
