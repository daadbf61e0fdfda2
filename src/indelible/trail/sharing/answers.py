"""Who reads what the holder of a trail says, among the threads of one recorder.

What may not move:

- A caller that waits for its own event, and finds nobody reading, reads and settles for all. To be woken by another
  thread costs more than all the rest of the way to the holder and back.
- The recorder's own thread (`Answers.attend`) reads when no caller does, and what a caller leaves unread that should
  have read: a signal's handler may run on top of it for any time.
- A caller that is the only thread of its process looks for its answer before it sleeps (`looking`): where there are
  others, they would wait for the interpreter meanwhile.
- Nothing is read but under the outbox's lock, and without waiting; what is outside of it is only `Connection.wait`.
  Half a message is kept in the connection for whoever reads next. Whoever is interrupted while he reads may have lost a
  part: the connection is then ended, and what was on its way sent again over the next one.
"""

from __future__ import annotations

import collections
import threading
import time
from typing import TYPE_CHECKING, Final

from indelible.trail.condition import Condition
from indelible.trail.sharing import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from indelible.trail.sharing.link import Connection, Job, Outbox

DOZE_S: Final = 0.05
"""How long the recorder's own thread keeps away after a caller has read: it is likely to be back."""

OWN_THREADS: Final = "indelible-"
"""How the names of a recorder's threads begin."""

LOOK_S: Final = 0.25
"""How long a caller waits at most before it looks whether another thread has read its answer."""


class Answers:
    """Reads and settles. All but `attend` and `run_calls` are used under the outbox's lock."""

    def __init__(self, outbox: Outbox) -> None:
        """`connection` is set by whoever makes one, and taken away by whoever ends it."""
        self.connection: Connection | None = None
        self._outbox = outbox
        self._quiet = Condition(outbox.lock)
        self._followers: dict[Job, Condition] = {}
        """Callers that wait while another reads."""
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        """What is owed to those who did not wait themselves, to be called without the lock."""

    def wait(self, job: Job, deadline: float) -> bool:
        """Wait until it is known what became of `job`; tell whether it was in time. Lets go of the lock meanwhile."""
        try:
            while not job.finished:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                connection = self.connection
                if connection is None or connection.over or not connection.is_free():
                    self._follow(job, left)
                else:
                    self._lead(connection, left)
            return True
        finally:
            self.pass_on()

    def _follow(self, job: Job, left: float) -> None:
        job.turn = turn = Condition(self._outbox.lock)
        self._followers[job] = turn
        try:
            turn.wait(left)
        finally:
            del self._followers[job]
            job.turn = None

    def _lead(self, connection: Connection, left: float) -> None:
        """Wait for what the holder says, and settle it for all; a caller that was interrupted here may do so anew."""
        lock, before, connection.reader = self._outbox.lock, connection.reader, threading.get_ident()
        try:
            try:
                lock.release()
                connection.wait(min(left, LOOK_S), soon=_is_alone())
            finally:
                lock.acquire()
            self._take_in(connection)
            connection.led += 1
        finally:
            connection.reader = before
            connection.close_if_done()
        if self._calls:
            try:
                lock.release()
                self.run_calls()
            finally:
                lock.acquire()

    def pass_on(self) -> None:
        """Let somebody read who waits, or else the recorder's own thread when there is something to wait for."""
        connection = self.connection
        if connection is None or connection.over:
            self._quiet.notify()
        elif not connection.reader:
            for turn in self._followers.values():
                turn.notify()
                return
            if self._outbox.letters:
                self._quiet.notify()

    def _take_in(self, connection: Connection) -> None:
        """Settle what has come."""
        outbox = self._outbox
        try:
            for message in connection.read():
                if isinstance(message, wire.Ack):
                    outbox.size = max(outbox.size, message.size)
                    self._calls += outbox.acknowledged(message.n)
                elif isinstance(message, wire.Nack):
                    self._calls += outbox.refused(message.n, message.error)
        except BaseException:
            connection.end()
            raise
        if connection.over:
            connection.end()

    def run_calls(self) -> None:
        """Tell those who did not wait themselves. Without the lock."""
        while self._calls:
            try:
                call = self._calls.popleft()
            except IndexError:  # another thread was faster
                return
            call()

    def attend(self, connection: Connection) -> None:
        """Read when nobody else does, until the connection is over: the life of the recorder's own thread."""
        lock, led = self._outbox.lock, 0
        while True:
            with lock:
                if connection.over:
                    return
                led, came_back = connection.led, connection.led != led
                if connection.reader or self._followers or (came_back and not self._outbox.letters):
                    self._quiet.wait(DOZE_S)
                    if connection.led == led:  # whoever should read may be held up
                        self._take_in(connection)
                    if not self._calls:
                        continue
            if not self._calls:
                connection.wait(None)
                with lock:
                    if not connection.reader:
                        self._take_in(connection)
            self.run_calls()


def _is_alone() -> bool:
    """Tell whether there is no thread but this one and recorders' own, which wait for what this one does."""
    own = threading.get_ident()
    return all(thread.ident == own or thread.name.startswith(OWN_THREADS) for thread in threading.enumerate())
