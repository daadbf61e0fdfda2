"""A recorder's side of `writer.sock`: events on their way to the process that holds the trail.

What may not move:

- An event stays in the `Outbox` until the holder has acknowledged or refused it, or its caller was told that it is not
  recorded.
- One that the holder was not sent whole is not in the trail, and nobody is told that it may be: the count of those that
  are in doubt is said later than that of those that are lost.
- Events go out in the order in which they came; when another process holds the trail, again in that order, marked,
  since they may be in the trail already. Those that were on their way when a holder died go one at a time: should one
  of them be what killed it, no other goes with it.
"""

from __future__ import annotations

import collections
import errno
import itertools
import math
import os
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Final

import msgspec

from indelible.errors import NotInTime, TrailLocked, TrailUnavailable, WireError
from indelible.looking import Looking, processors
from indelible.trail.commit import together
from indelible.trail.condition import Condition
from indelible.trail.sharing import processes, wire
from indelible.trail.sharing.sockets import connect, credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from indelible.trail.commit import Done, Item, Late

MAX_WAITING: Final = 2 * wire.WINDOW
"""Events in an outbox; who comes after that waits for room."""

READ_BYTES: Final = 64 * 1024
GREETING_S: Final = 5.0
"""How long a holder may take to answer `Hello`."""

LOOK_NS: Final = 300_000
"""An answer that comes sooner is looked for: a holder that is awake needs less, one that sleeps little more."""

STOPPED_S: Final = 0.05
"""A holder that has not answered for so long is looked at: one that is suspended is not waited for."""

ASKED_S: Final = 1.0
"""How long it may take to say how it is."""


class _Id(msgspec.Struct):
    event_id: str


_decode_id = msgspec.json.Decoder(_Id).decode


class Job:
    """Events that somebody waits for together."""

    __slots__ = ("_count", "_done", "_errors", "_left", "deadline", "finished", "turn")

    def __init__(self, count: int, done: Done | None, deadline: float = 0.0) -> None:
        """`done` is told how many are safe, from the first on, and what became of the others; once."""
        self._left = self._count = count
        self._done = done
        self.deadline = deadline
        """When whoever waits is told that it takes too long (monotonic clock)."""
        self.finished = count == 0
        """Whether it is known what became of all, or whoever waits was told that it is not."""
        self._errors: dict[int, TrailUnavailable] = {}
        self.turn: Condition | None = None
        """What whoever waits is woken by, while another thread reads for it."""

    @property
    def error(self) -> TrailUnavailable | None:
        """Why not all of them are in the trail, once that is known."""
        if not self._errors:
            return None
        return together(self._errors, self._count)[1]

    def settle(self, error: TrailUnavailable | None) -> Callable[[], None] | None:
        """Note what became of the next event; return what to call, without any lock, when it was the last."""
        if error is not None and not self.finished:
            self._errors[self._count - self._left] = error
        self._left -= 1
        return None if self._left or self.finished else self._finish()

    def give_up(self, error: TrailUnavailable, under_way: int = 0) -> Callable[[], None] | None:
        """Let nobody wait any longer; return what to call.

        Of those of which it is not known what became of them, the first `under_way` may be in the trail yet.
        """
        if self.finished:
            return None
        for at in range(self._count - self._left, self._count):
            self._errors[at] = NotInTime(str(error)) if under_way > 0 else error
            under_way -= 1
        return self._finish()

    def _finish(self) -> Callable[[], None] | None:
        self.finished = True
        if self.turn is not None:
            self.turn.notify()
        done, self._done = self._done, None
        return None if done is None else lambda: done(*together(self._errors, self._count))


class Letter:
    """One event on its way."""

    __slots__ = ("again", "came", "deaths", "id", "item", "job", "number", "orphaned", "since")

    def __init__(self, item: Item, job: Job) -> None:
        """Make it ready to be sent."""
        self.item = item
        self.job = job
        self.id = _decode_id(item.body).event_id
        self.number = 0
        """Its number on this connection; 0 while it was not sent on it."""
        self.again = False
        self.orphaned = False
        """It was on its way when the connection ended without a good-bye: has the holder died?"""
        self.deaths = 0
        self.came: bool | None = None
        """Whether it is in the trail, once that is known."""
        self.since = -1
        """How many lines the trail had at least when it was sent first."""


class Outbox:
    """The events of one process that are not in the trail yet, for all that is known. Its `lock` covers everything."""

    def __init__(self, path: Path) -> None:
        """Start empty; `path` is the trail's, for messages."""
        self.path = path
        self.lock = threading.Lock()
        self.changed = Condition(self.lock)
        self.letters: collections.deque[Letter] = collections.deque()
        self.sent = 0
        """How many of them, from the first on, were sent on this connection."""
        self.sock: socket.socket | None = None
        self.why = "nobody holds the trail"
        self._number = 0
        self._window = wire.WINDOW
        self.size = 0
        """How many lines the trail has at least."""
        self._holder: int | str = 0
        self.on_late: Late | None = None
        """Told what became of an event whose caller was told that it is not in time; called without the lock."""
        self._interrupted: dict[str, Letter] = {}
        """Events whose caller was interrupted while it waited, by id: it may come with them again."""
        self._due: collections.deque[Job] = collections.deque()
        self.due_changed = Condition(self.lock)

    @property
    def has_room(self) -> bool:
        """Whether one more job may be put in."""
        return len(self.letters) < MAX_WAITING

    def put(self, items: list[Item], job: Job) -> None:
        """Add events, and send what may be sent."""
        if job.deadline:
            self._due.append(job)
            if len(self._due) == 1:
                self.due_changed.notify_all()
        for item in items:
            self.letters.append(Letter(item, job))
        self.pump()

    def interrupted(self, job: Job) -> None:
        """A signal's handler has raised in whoever waited for this; it does not know what became of its event."""
        self._interrupted.update((letter.id, letter) for letter in self.letters if letter.job is job)
        for forgotten in list(self._interrupted)[:-MAX_WAITING]:
            del self._interrupted[forgotten]

    def take_up(self, item: Item, job: Job) -> bool:
        """Tell whether an event is here, or in the trail, from an attempt that was interrupted; `job` waits for it."""
        letter = self._interrupted.pop(_decode_id(item.body).event_id, None) if self._interrupted else None
        if letter is None or letter.came is False:
            return False
        if letter.came:
            job.settle(None)
        else:
            letter.job = job
        return True

    def pump(self) -> None:
        """Send as many as may be on their way, in one go: the holder then commits them together."""
        most = min(len(self.letters), self._window)
        if self.sock is None or self.sent >= most:
            return
        packed: list[bytes] = []
        gone: list[int] = []
        try:
            self._pack(most, packed)
            data = memoryview(packed[0] if len(packed) == 1 else b"".join(packed))
            while (begin := sum(gone)) < len(data):
                # Sent and noted in one step, whatever a signal's handler raises.
                gone.extend(map(self.sock.send, (data[begin:],)))
        except BaseException as exc:
            self._hang_up()  # half a message may have gone
            self._take_back(packed, sum(gone))
            if not isinstance(exc, OSError):
                raise

    def _pack(self, most: int, packed: list[bytes]) -> None:
        """Count the next ones as sent."""
        while self.sent < most:
            letter = self.letters[self.sent]
            if self.sent and (letter.deaths or self.letters[self.sent - 1].deaths):
                break
            self._number += 1
            letter.number = self._number
            if not letter.again:  # else it may stand further back
                letter.since = self.size or -1  # a holder that does not say it
            self.sent += 1
            packed.append(wire.pack(_put(letter)))

    def _take_back(self, packed: list[bytes], gone: int) -> None:
        """Of a batch only so many bytes were sent: what the holder does not have whole cannot be in the trail."""
        ends = list(itertools.accumulate(map(len, packed)))
        self.sent -= sum(end > gone for end in ends)

    def _hang_up(self) -> None:
        """Let whoever reads see that the connection is of no use any more."""
        sock, self.sock = self.sock, None
        if sock is not None:
            with_suppressed(sock.shutdown, socket.SHUT_RDWR)

    def connected(self, sock: socket.socket, welcome: wire.Welcome, holder: int | str) -> None:
        """Send everything again over a new connection to the process `holder`."""
        self.count_deaths(died=holder != self._holder)
        self.sock, self._window, self._holder = sock, welcome.window, holder
        self.size = welcome.size
        self._number = self.sent = 0
        self.pump()
        self.changed.notify_all()

    def disconnected(self, why: str, *, said_bye: bool) -> None:
        """The connection is gone; what was on its way may be in the trail or not."""
        for letter in list(self.letters)[: self.sent]:
            letter.again = True
            letter.orphaned = not said_bye
        self.sock, self.sent, self.why = None, 0, why

    def count_deaths(self, *, died: bool) -> None:
        """It turned out whether the holder of the last connection has died, or only ended the connection."""
        for letter in self.letters:
            letter.deaths += died and letter.orphaned
            letter.orphaned = False

    def acknowledged(self, number: int) -> list[Callable[[], None]]:
        """Let go of everything up to `number`; return what to call without the lock."""
        calls = []
        while self.sent and self.letters[0].number <= number:
            self.sent -= 1
            calls.append(self._settle(self.letters.popleft(), None))
        return self._settled(calls)

    def refused(self, number: int, error: str) -> list[Callable[[], None]]:
        """The holder did not take one event."""
        for letter in self.letters:
            if letter.number == number and self.sent:
                self.letters.remove(letter)
                self.sent -= 1
                return self._settled([self._settle(letter, TrailUnavailable(error))])
        return []

    def take_first(self, error: TrailUnavailable | None) -> list[Callable[[], None]]:
        """The first event was written, or refused, here: nobody else holds the trail any more."""
        return self._settled([self._settle(self.letters.popleft(), error)])

    def withdraw(self, job: Job, error: TrailUnavailable) -> Callable[[], None] | None:
        """A caller waits no longer: what was not sent yet never will be. Returns what to call without the lock."""
        kept = [
            letter
            for at, letter in enumerate(self.letters)
            if letter.job is not job or at < self.sent or letter.again
        ]
        if len(kept) < len(self.letters):
            self.letters = collections.deque(kept)
            self.changed.notify_all()
        return job.give_up(error, sum(letter.job is job for letter in kept))

    def overdue(self, now: float, error: TrailUnavailable) -> list[Callable[[], None]]:
        """Give up the jobs whose deadline has passed."""
        calls = []
        while self._due and (self._due[0].finished or self._due[0].deadline <= now):
            calls.append(self.withdraw(self._due.popleft(), error))
        return [call for call in calls if call is not None]

    def next_due(self, now: float) -> float | None:
        """Return in how many seconds to ask `overdue` again; None for when `due_changed`."""
        return max(0.0, self._due[0].deadline - now) if self._due else None

    def give_up(self, error: TrailUnavailable) -> list[Callable[[], None]]:
        """Nothing will be sent any more."""
        under_way: dict[Job, int] = {}
        for at, letter in enumerate(self.letters):  # what was sent may be written yet
            sent = letter.again or at < self.sent
            under_way[letter.job] = under_way.get(letter.job, 0) + sent
        self.letters.clear()
        self.changed.notify_all()
        self.due_changed.notify_all()
        return [call for job, sent in under_way.items() if (call := job.give_up(error, sent)) is not None]

    def _settle(self, letter: Letter, error: TrailUnavailable | None) -> Callable[[], None] | None:
        """It is known what became of an event; return what to call."""
        on_late = self.on_late if letter.job.finished else None
        letter.came = error is None
        call = letter.job.settle(error)
        return call if on_late is None else lambda: on_late(letter.id, error is None)

    def _settled(self, calls: list[Callable[[], None] | None]) -> list[Callable[[], None]]:
        if self.sent < len(self.letters):
            self.pump()
        self.changed.notify_all()
        return [call for call in calls if call is not None]


def _put(letter: Letter) -> wire.Put:
    item = letter.item
    body = msgspec.Raw(item.body)
    since = letter.since if letter.again else -1
    return wire.Put(letter.number, letter.id, body, item.opens, item.closes, letter.again, letter.deaths, since)


class Connection:
    """A connection on which the holder has said `Welcome`."""

    def __init__(
        self, sock: socket.socket, welcome: wire.Welcome, messages: wire.Messages, early: list[bytes]
    ) -> None:
        """Made by `greet`."""
        self.sock = sock
        self.welcome = welcome
        self.holder: int | str = welcome.life or credentials(sock)[0]
        """The process that holds the trail: who made a socket's listener (systemd) is not always who answers."""
        self.reader = 0
        """The thread that waits for what comes, and reads it for all callers."""
        self.led = 0
        """How often callers have read."""
        self.heard = 0
        """How many messages came after the welcome."""
        self.said_bye = False
        self.over = False
        """Nothing more is to be read: it has ended, or the holder has said good-bye."""
        self.done = False
        """Whoever made it lets go of it."""
        self._waits: list[Looking] = []
        """Those that nobody uses just now."""
        self._messages = messages
        self._early = early
        """Messages that came with the welcome."""

    def is_free(self) -> bool:
        """Tell whether this thread may wait for what comes: no other one does."""
        return self.reader in (0, threading.get_ident())

    def wait(self, seconds: float | None, *, soon: bool = False) -> None:
        """Wait until something has come, or the connection has ended; or for so long.

        `soon`: an answer is expected, and looked for before this thread goes to sleep.
        """
        if self._early:
            return
        try:
            waiting = self._waits.pop()  # one of its own: two threads cannot use the same
        except IndexError:
            poll = select.poll()
            poll.register(self.sock, select.POLLIN)
            waiting = Looking(poll.poll, 1, processors=processors(), look_ns=LOOK_NS)
        limit = None if seconds is None else math.ceil(1000 * seconds)
        if soon:
            waiting.wait(limit, 0)
        else:
            waiting.poll(limit)
        self._waits.append(waiting)

    def read(self) -> Iterator[wire.ToRecorder]:
        """Yield the messages that have come, without waiting. `over` says afterwards whether there may be more."""
        whole, self._early = self._early, []
        try:
            if not whole:
                data = self.sock.recv(READ_BYTES, socket.MSG_DONTWAIT)
                whole = self._messages.feed(data)
                self.over = not data
            for raw in whole:
                message = wire.decode_to_recorder(raw)
                self.heard += 1
                self.said_bye = self.said_bye or isinstance(message, wire.Bye)
                yield message
        except BlockingIOError:
            pass
        except (OSError, ValueError, WireError):
            self.over = True
        self.over = self.over or self.said_bye

    def end(self) -> None:
        """Let nobody read any more, and whoever waits see that."""
        self.over = True
        with_suppressed(self.sock.shutdown, socket.SHUT_RDWR)

    def close_if_done(self) -> None:
        """Close what nobody uses any more: a number that somebody still waits on must not become another file's."""
        if self.done and not self.reader:
            self.sock.close()


def greet(path: Path, recorder: str, send_timeout: float, *, patient: bool = True) -> Connection:
    """Connect to the holder; raises OSError when nobody listens, TrailLocked when we are not let in.

    Not `patient`: also when the holder is suspended.
    """
    sock = connect(path, GREETING_S)
    messages = wire.Messages()
    try:
        sock.sendall(wire.pack(wire.Hello(wire.VERSION, recorder, os.getpid(), own=True)))
        if not patient:
            _wait_unless_stopped(sock, path)
        whole = _receive(sock, messages)
        if not whole:
            raise ConnectionResetError
        answer = wire.decode_to_recorder(whole[0])
        if isinstance(answer, wire.Refused):
            msg = f"{path}: the process that holds the trail refuses this one: {answer.error}"
            raise TrailLocked(msg)
        if not isinstance(answer, wire.Welcome):
            raise ConnectionResetError
        sock.settimeout(None)
        seconds, fraction = divmod(send_timeout, 1)
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds), int(fraction * 1e6))
        )
        return Connection(sock, answer, messages, whole[1:])
    except (ValueError, WireError) as exc:
        sock.close()
        raise ConnectionResetError from exc
    except BaseException:
        sock.close()
        raise


def _wait_unless_stopped(sock: socket.socket, path: Path) -> None:
    """Return when there is something to read; raises TrailLocked when the holder is suspended, TimeoutError."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    deadline = time.monotonic() + GREETING_S
    while not poll.poll(1000 * STOPPED_S):
        pid, _ = credentials(sock)
        if processes.is_stopped(pid):
            msg = f"{path}: process {pid}, which holds the trail, is suspended"
            raise TrailLocked(msg)
        if time.monotonic() >= deadline:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


def ask(path: Path) -> wire.HolderState | None:
    """Return what the holder says of its recorders, or None when it says nothing."""
    try:
        with connect(path, ASKED_S) as sock:
            sock.sendall(wire.pack(wire.Ask()))
            whole = _receive(sock, wire.Messages())
        answer = wire.decode_to_recorder(whole[0]) if whole else None
    except (OSError, ValueError, WireError):
        return None
    return answer if isinstance(answer, wire.HolderState) else None


def _receive(sock: socket.socket, messages: wire.Messages) -> list[bytes]:
    """Wait until a message is whole, or several; none: the other end is gone. Raises OSError, WireError."""
    while data := sock.recv(READ_BYTES):
        if whole := messages.feed(data):
            return whole
    return []


def with_suppressed(action: Callable[..., object], *args: object) -> None:
    """Do what may fail without harm: the other end may have gone."""
    try:
        action(*args)
    except OSError:
        pass
