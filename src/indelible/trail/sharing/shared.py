"""A trail that several processes write: one of them holds it, the others write through it.

`SharedWriter` has a writer's face wherever the trail is held. Whoever comes first takes the lock, and listens (`hub`);
whoever comes later connects (`link`). When the holder is gone, those that were connected try for the lock: one of them
gets it, repairs the trail as any start does, writes what it has in its own outbox, and listens; the others connect to
it and send again what was not acknowledged. Events that are in the trail already are known by their ids, and written
once.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from indelible import events
from indelible.errors import IndelibleError, TrailLocked, TrailUnavailable
from indelible.events import EventType, RecorderId
from indelible.trail.commit import Item
from indelible.trail.layout import Layout
from indelible.trail.reentry import stands_on_a_call_of_ours
from indelible.trail.service import service_event
from indelible.trail.sharing import link, processes, wire
from indelible.trail.sharing.answers import Answers
from indelible.trail.sharing.hub import Hub
from indelible.trail.sharing.link import Connection, Job, Letter, Outbox
from indelible.trail.sharing.patience import RETRY_S, Patience, describe
from indelible.trail.sharing.recent import find_ids, recent_ids
from indelible.trail.start import keys
from indelible.trail.start.holder import ENDING, HOLDING, who_comes_or_goes
from indelible.trail.start.intents import recorder_of
from indelible.trail.start.opening import Intent, OpenTrail, open_writer

if TYPE_CHECKING:
    from indelible.config import AuditSettings
    from indelible.trail.commit import Done, Late
    from indelible.trail.start.holder import Holder
    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")

CLOSE_S: Final = 5.0
"""How much longer than any append may take `close` waits for the lock."""

FAILED_S: Final = 1.0
"""The same when the trail itself could not be opened."""

LOOK_EVERY: Final = 8
"""Who waits for one that is starting tries for the lock every so many attempts: what is said in it may be old."""

_SAFETY: Final = {"memory": 0, "process": 1, "disk": 2}

_opening = threading.Lock()
"""Held while a trail is opened, and while the process forks: a child that inherits a lock or a connection which nobody
knows of yet would hold it for as long as it lives."""

_shared: weakref.WeakSet[SharedWriter] = weakref.WeakSet()


class SharedWriter:
    """A process's way into a trail, from its making until `close`. Safe to use from any thread.

    Raises what `open_writer` raises; TrailLocked when the holder does not let this process in.
    """

    append: Callable[[bytes, str, str], None]
    """Return when an event is in the trail, as safe as the durability says; see `Writer.append`."""

    def __init__(self, path: Path, audit: AuditSettings, recorder: str) -> None:
        """Open the trail, or connect to whoever holds it."""
        self.layout = Layout(path)
        self.audit = audit
        self.recorder = RecorderId(id=recorder, uid=os.getuid(), pid=os.getpid())
        self._outbox = Outbox(path)
        self._writer: Writer | None = None
        self._hub: Hub | None = None
        self._answers = Answers(self._outbox)
        self._thread: threading.Thread | None = None
        self._ended = ""
        self._warned = False
        self._on_late: Late | None = None
        self.append = self._send
        self.waits = True
        """Whether `append` waits for a disk or for another process: an event loop must not."""
        self.digest_key: tuple[bytes, str]
        self.token_key = b""
        self._watcher: threading.Thread | None = None
        _shared.add(self)
        self._open()

    def tell_late(self, on_late: Late) -> None:
        """Let `on_late` be told what became of events that were not recorded in time (NotInTime), from any thread."""
        self._on_late = self._outbox.on_late = on_late
        if self._writer is not None:
            self._writer.tell_late(on_late)

    def came_late(self, event_id: str, came: bool) -> None:  # noqa: FBT001 - as `Late` has it
        """Say what became of an event that was not recorded in time."""
        if self._on_late is not None:
            self._on_late(event_id, came)

    @property
    def holder(self) -> Writer | None:
        """The writer itself while this process holds the trail."""
        return self._writer

    # --- opening -----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        patience = Patience(self.layout, self.audit.open_timeout)
        while True:
            try:
                with _opening:
                    self._hold(self._open_here(self._is_other))
            except TrailLocked as exc:
                held = exc
            else:
                return
            try:
                self._connect(patient=False)
            except OSError:  # it does not listen yet, or no longer
                patience.wait(held)
            else:
                self._thread = threading.Thread(target=self._listen, name="indelible-link", daemon=True)
                self._thread.start()
                return

    def _open_here(self, lives: Callable[[Intent], bool]) -> OpenTrail:
        return open_writer(self.layout.active, self.audit, self.recorder.id, lives=lives, listens=True)

    def _is_other(self, intent: Intent) -> bool:
        """Tell whether an open call is another living process's: its outcome may still come."""
        recorder = recorder_of(intent)
        return recorder is not None and recorder[1] != self.recorder.pid and processes.runs(recorder[1])

    def _lives(self, intent: Intent) -> bool:
        """The same when this process has recorded before: its own open calls are open still."""
        return recorder_of(intent) == (self.recorder.id, self.recorder.pid) or self._is_other(intent)

    def _hold(self, opened: OpenTrail) -> set[str]:
        """This process holds the trail from now on; return which of the events that were on their way are in it."""
        writer = opened.writer
        newest = functools.cache(functools.partial(recent_ids, self.layout, writer.size, wire.REMEMBERED))
        try:
            again = {letter.id: letter.since for letter in self._outbox.letters if letter.again}
            known = find_ids(self.layout, set(again), max(0, min(again.values()))) if again else set()
        except BaseException:
            writer.close(good_bye=False)
            raise
        self.digest_key = keys.derive_digest_key(opened.digest_secret, self.recorder.id)
        self.token_key = keys.derive_token_key(opened.digest_secret)
        own = (self.recorder.id, self.recorder.pid)
        opened.spared = [intent for intent in opened.spared if recorder_of(intent) != own]
        hub = Hub(opened, newest)
        try:
            hub.start()
            self._hub = hub
        except OSError as exc:
            log.warning("%s: others cannot write through this process: %s", self.layout.socket, exc.strerror)
        writer.say(HOLDING)
        if self._on_late is not None:
            writer.tell_late(self._on_late)
        self._writer, self.append, self.waits = writer, writer.append, self.audit.durability == "disk"
        return known

    def _connect(self, *, patient: bool) -> None:
        send_timeout = self.audit.write_timeout / 2
        with _opening:
            connection = link.greet(self.layout.socket, self.recorder.id, send_timeout, patient=patient)
            self._answers.connection = connection
        welcome = connection.welcome
        self.digest_key = (bytes.fromhex(welcome.digest_key), welcome.digest_key_id)
        self.token_key = bytes.fromhex(welcome.token_key)
        asked = self.audit.durability
        if _SAFETY[asked] > _SAFETY.get(welcome.durability, 0) and not self._warned:
            self._warned = True
            log.warning(
                "%s: is held by a process that records at %s durability, not at %s as asked for here",
                self.layout.active, welcome.durability, asked,
            )  # fmt: skip
        with self._outbox.lock:
            self._outbox.connected(connection.sock, welcome, connection.holder)
            self._answers.pass_on()

    # --- a recorder's thread -----------------------------------------------------------------------------------

    def _listen(self) -> None:
        """See to it that what the holder says is read; when it is gone, take its place or find who did."""
        fruitless = 0
        while not self._ended and self._writer is None:
            connection, heard = self._answers.connection, 0
            if connection is not None:
                self._answers.attend(connection)
                heard = connection.heard
                self._lost(connection, said_bye=connection.said_bye)
            fruitless = 0 if heard else fruitless + 1
            if fruitless > 1:  # it lets us in, and then will not hear us
                self._pause(min(FAILED_S, RETRY_S * 2**fruitless))
            if not self._ended:
                self._find_holder()
        connection = self._answers.connection
        if connection is not None:  # it was made while this was closed
            link.with_suppressed(connection.sock.sendall, wire.pack(wire.Bye()))
            self._lost(connection, said_bye=True)

    def _lost(self, connection: Connection, *, said_bye: bool) -> None:
        with self._outbox.lock:
            self._outbox.disconnected("the process that held it is gone", said_bye=said_bye)
            self._answers.connection = None
            connection.end()
            connection.done = True
            connection.close_if_done()

    def _find_holder(self) -> None:
        """Take the trail over, or connect to who did; goes on until that is done, or this is closed."""
        attempts = 0
        while not self._ended:
            pause = RETRY_S
            coming = who_comes_or_goes(self.layout.lock)
            try:
                if (coming is None or attempts % LOOK_EVERY == 0) and self._took_over():
                    return
                if self._connected(coming):
                    return
            except (
                IndelibleError,  # TrailLocked: refused
                OSError,
                RuntimeError,
            ) as exc:  # no thread starts while the interpreter ends
                self._outbox.why = str(exc)
                pause = FAILED_S
            attempts += 1
            self._pause(pause)

    def _connected(self, coming: Holder | None) -> bool:
        """Connect to whoever holds the trail; False while nobody listens. `coming`: who is about to, as far as known.

        Raises TrailLocked when we are not let in.
        """
        try:
            self._connect(patient=True)
        except OSError as exc:
            nobody = f"nobody answers at {self.layout.socket.name}: {exc.strerror or exc}"
            self._outbox.why = nobody if coming is None else describe(coming)
            return False
        return True

    def _pause(self, seconds: float) -> None:
        with self._outbox.lock:
            self._outbox.changed.wait_for(lambda: bool(self._ended), seconds * random.uniform(0.5, 1.5))  # noqa: S311

    def _took_over(self) -> bool:
        try:
            self._take_over()
        except TrailLocked:
            return False
        return True

    def _take_over(self) -> None:
        """Open the trail here, and write what was on its way."""
        calls: list[Callable[[], None]] = []
        with _opening:
            opened = self._open_here(self._lives)
            with self._outbox.lock:
                self._outbox.count_deaths(died=not opened.clean)
                there = self._hold(opened)
                while self._outbox.letters:
                    letter = self._outbox.letters[0]
                    error = None if letter.id in there else self._write_here(letter, opened.writer)
                    calls += self._outbox.take_first(error)
                self._outbox.changed.notify_all()
                self._outbox.due_changed.notify_all()
        for call in calls:
            call()

    def _write_here(self, letter: Letter, writer: Writer) -> TrailUnavailable | None:
        """Write an event that was on its way, unless it is what the last holder died of."""
        if self._hub is not None and self._hub.suspects.is_guilty(letter.id, letter.deaths):
            who, body = self.recorder, letter.item.body
            return TrailUnavailable(self._hub.suspects.set_aside(body, who.id, who.pid or 0, letter.deaths))
        return writer.append_all([letter.item])[1]

    # --- appending through another process ---------------------------------------------------------------------

    def _send(self, body: bytes, opens: str = "", closes: str = "") -> None:
        item, job, outbox = Item(body, opens, closes), Job(1, None), self._outbox
        deadline = time.monotonic() + self.audit.write_timeout
        with outbox.lock:
            self._wait_for_room()
            if self._writer is None:
                try:
                    if not outbox.take_up(item, job):
                        outbox.put([item], job)
                    in_time = self._answers.wait(job, deadline)
                except BaseException:  # a signal's handler
                    outbox.interrupted(job)
                    raise
                if not in_time:
                    outbox.withdraw(job, self.too_late())
                if job.error is not None:
                    raise job.error
                return
        self._writer.append(body, opens, closes)

    def _wait_for_room(self) -> None:
        """Wait until an event may be put into the outbox, or this process holds the trail; under its lock."""
        outbox = self._outbox
        self._check()
        if outbox.has_room:
            return
        outbox.changed.wait_for(
            lambda: outbox.has_room or self._writer is not None or self._ended, self.audit.write_timeout
        )
        if self._writer is None:
            self._check()
            if not outbox.has_room:
                msg = f"{self.layout.active}: {len(outbox.letters)} events wait already: {self._reason()}"
                raise TrailUnavailable(msg)

    def too_late(self) -> TrailUnavailable:
        """Return what an event's caller is told when it took too long."""
        return TrailUnavailable(f"{self.layout.active}: not recorded in time: {self._reason()}")

    def _reason(self) -> str:
        if self._writer is not None:
            return "the disk does not answer"
        return "the process that holds the trail does not answer" if self._outbox.sock else self._outbox.why

    def _check(self) -> None:
        if self._ended:
            raise TrailUnavailable(f"{self.layout.active}: {self._ended}")

    def submit(self, items: list[Item], done: Done) -> None:
        """Take events and return; `done` is called from another thread. See `Writer.submit`."""
        with self._outbox.lock:
            self._wait_for_room()
            writer = self._writer
            if writer is None:
                deadline = time.monotonic() + self.audit.write_timeout
                self._outbox.put(items, Job(len(items), done, deadline))
                self._answers.pass_on()
                if self._watcher is None:
                    self._watcher = threading.Thread(target=self._watch, name="indelible-watch", daemon=True)
                    self._watcher.start()
                return
        if self.audit.durability == "disk":
            writer.submit(items, done)
        else:
            done(*writer.append_all(items))

    def _watch(self) -> None:
        """Tell those who submitted events, and do not wait themselves, when it takes too long."""
        outbox = self._outbox
        while not self._ended:
            with outbox.lock:
                calls = outbox.overdue(time.monotonic(), self.too_late())
                if not calls:
                    if self._writer is not None or self._ended:
                        return
                    outbox.due_changed.wait(outbox.next_due(time.monotonic()))
            for call in calls:
                call()

    def service_event(self, event_type: EventType, metadata: dict[str, Any]) -> Item:
        """Return an event of this recorder's own; `metadata` must hold nothing that a caller chose."""
        return service_event(self.recorder, events.now(), event_type, metadata)

    # --- life --------------------------------------------------------------------------------------------------

    def try_again(self) -> None:
        """Let the next append try the disk at once, though it has just failed: this is about to be closed."""
        if self._writer is not None:
            self._writer.last_words()

    def seal(self) -> None:
        """Put everything written so far under a checkpoint, where this process holds the trail."""
        if self._writer is not None:
            self._writer.seal()

    def close(self, metadata: dict[str, Any] | None = None) -> None:
        """Wait until everything is in the trail, then let go of it: see `Writer.close`.

        On top of a call that it interrupted it returns at once: that one goes on first, and another thread closes, for
        which the process waits at its end.
        """
        if stands_on_a_call_of_ours():
            threading.Thread(target=self._close, args=(metadata,), name="indelible-close", daemon=False).start()
        else:
            self._close(metadata)

    def _close(self, metadata: dict[str, Any] | None) -> None:
        outbox = self._outbox
        if not outbox.lock.acquire(timeout=2 * self.audit.write_timeout + CLOSE_S):
            # Whoever has the lock stands beneath a signal's handler that does not end.
            self._ended = "the trail is closed"
            log.error(
                "%s: closed in the middle of sending an event; what is on its way may be lost", outbox.path
            )
            return
        try:
            if self._ended:
                return
            if self._writer is None:
                outbox.changed.wait_for(
                    lambda: not outbox.letters or self._writer is not None, self.audit.write_timeout
                )
            self._ended = "the trail is closed"
            outbox.changed.notify_all()
            outbox.due_changed.notify_all()
            connection = self._answers.connection
            if connection is not None:
                link.with_suppressed(connection.sock.sendall, wire.pack(wire.Bye()))
                link.with_suppressed(connection.sock.shutdown, 2)
        finally:
            outbox.lock.release()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if self._writer is None:
            self._give_up()
        others: frozenset[str] = frozenset()
        if self._writer is not None:
            self._writer.say(ENDING)
        if self._hub is not None:
            self._hub.close()
            others = self._hub.open_calls
        if self._writer is not None:
            self._writer.close(metadata, still_open=others)

    def _give_up(self) -> None:
        """Nobody took what is left: say so to whoever waits, and in the log."""
        with self._outbox.lock:
            lost, reason = len(self._outbox.letters), self._reason()
            calls = self._outbox.give_up(TrailUnavailable(f"{self.layout.active}: {self._ended}: {reason}"))
        if lost:
            log.error("%s: closed with %d events that nobody took: %s", self.layout.active, lost, reason)
        for call in calls:
            call()

    def abandon(self) -> None:
        """In a forked child: the trail and the connection stay the parent's."""
        self._ended = "opened before a fork; open the trail again in the child"
        connection, hub = self._answers.connection, self._hub
        self._outbox = Outbox(self.layout.active)  # the parent's other threads may have held its lock
        self._answers = Answers(self._outbox)
        self._thread = self._hub = None
        if connection is not None:
            connection.sock.close()
        if hub is not None:
            hub.abandon()


def _abandon_all() -> None:
    _opening.release()
    for shared in list(_shared):
        shared.abandon()


os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_abandon_all)
