"""Whoever waits for an event reads the holder's answers: many threads, half messages, signals, time-outs, the end.

The holder here speaks the protocol over a real socket, and says what a test tells it to, byte by byte.
"""

from __future__ import annotations

import contextlib
import json
import logging
import select
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indelible import verify
from indelible.config import AuditSettings, Durability
from indelible.errors import NotInTime, TrailUnavailable
from indelible.trail import durable
from indelible.trail.commit import Item
from indelible.trail.gap import Gap
from indelible.trail.layout import Layout
from indelible.trail.sharing import answers, link, wire
from indelible.trail.sharing.link import Job, Outbox
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.sharing.sockets import listen
from indelible.trail.start.opening import open_writer
from tests.recording import LIMIT_S, body, wait_for


class Holder:
    """Holds a trail, takes one recorder after another, and acknowledges when it is told to."""

    def __init__(self, path: Path) -> None:
        self._writer = open_writer(path, AuditSettings(), "holder").writer
        self.listener = listen(Layout(path).socket)
        self._stop_out, self._stop_in = socket.socketpair()
        self.puts: list[wire.Put] = []
        self.sock: socket.socket | None = None
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while self._stop_out not in select.select([self.listener, self._stop_out], [], [])[0]:
            sock, _ = self.listener.accept()
            with sock, contextlib.suppress(ConnectionResetError):  # it was hung up on with something unread
                self._read(sock)

    def _read(self, sock: socket.socket) -> None:
        messages = wire.Messages()
        while data := sock.recv(1 << 16):
            for raw in messages.feed(data):
                message = wire.decode_to_holder(raw)
                if isinstance(message, wire.Hello):
                    sock.sendall(wire.pack(wire.Welcome(wire.VERSION, "o", "process", 256, "00" * 32, "k")))
                    self.sock = sock
                elif isinstance(message, wire.Put):
                    self.puts.append(message)

    @property
    def ids(self) -> list[str]:
        return [put.id for put in self.puts]

    def got(self, *ids: str) -> None:
        wait_for(lambda: set(ids) <= set(self.ids))

    def say(self, data: bytes) -> None:
        assert self.sock is not None
        self.sock.sendall(data)

    def acknowledge(self, event_id: str) -> None:
        self.got(event_id)
        self.say(wire.pack(wire.Ack(next(put.n for put in reversed(self.puts) if put.id == event_id))))

    def close(self) -> None:
        self._stop_in.send(b"x")
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
        for sock in (self.listener, self._stop_out, self._stop_in):
            sock.close()
        self._writer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def holder(path: Path) -> Iterator[Holder]:
    made = Holder(path)
    yield made
    if made.listener.fileno() >= 0:
        made.close()


@pytest.fixture
def writer(path: Path, holder: Holder) -> Iterator[SharedWriter]:
    made = SharedWriter(path, AuditSettings(write_timeout=LIMIT_S), "recorder")
    yield made
    made.audit = AuditSettings(write_timeout=0.01)
    made.close()


class Appending:
    """An append on a thread of its own."""

    def __init__(self, writer: SharedWriter, event_id: str) -> None:
        self.error: TrailUnavailable | None = None
        self._thread = threading.Thread(target=self._run, args=(writer, event_id))
        self._thread.start()

    def _run(self, writer: SharedWriter, event_id: str) -> None:
        try:
            writer.append(body(writer, event_id), "", "")
        except TrailUnavailable as exc:
            self.error = exc

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> TrailUnavailable | None:
        self._thread.join(LIMIT_S)
        assert self.done
        return self.error


def submit(writer: SharedWriter, event_id: str, done: list[tuple[str, int]]) -> None:
    writer.submit([Item(body(writer, event_id))], lambda safe, _error: done.append((event_id, safe)))


def reader(writer: SharedWriter) -> int:
    """Return the thread that waits for what the holder says."""
    connection = writer._answers.connection
    return connection.reader if connection is not None else 0


@contextlib.contextmanager
def on_signal(handler: Callable[[], None]) -> Iterator[None]:
    """Let SIGUSR1 run `handler` on top of the main thread."""
    before = signal.signal(signal.SIGUSR1, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def interrupt_when(condition: Callable[[], object]) -> threading.Thread:
    """Send SIGUSR1 to the main thread as soon as something is so."""

    def wait() -> None:
        wait_for(condition)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def main_waits(writer: SharedWriter) -> bool:
    return reader(writer) == threading.main_thread().ident


# --- looked for before it sleeps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [True, False])
def test_only_a_caller_that_is_alone_in_its_process_looks_for_its_answer(
    writer: SharedWriter, holder: Holder, monkeypatch: pytest.MonkeyPatch, *, alone: bool
) -> None:
    if alone:  # all other threads are the recorder's own
        monkeypatch.setattr(answers, "OWN_THREADS", "")
    looked: list[bool] = []
    wait = link.Connection.wait

    def watched(connection: link.Connection, seconds: float | None, *, soon: bool = False) -> None:
        if connection.reader == threading.get_ident():
            looked.append(soon)
        wait(connection, seconds, soon=soon)

    monkeypatch.setattr(link.Connection, "wait", watched)
    for number in range(3):
        caller = Appending(writer, f"e{number}")
        holder.acknowledge(f"e{number}")
        assert caller.join() is None
    assert looked
    assert set(looked) == {alone}


# --- interrupted --------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """What a signal's handler raises."""


def interrupted(writer: SharedWriter, holder: Holder, action: Callable[[], object], event_id: str) -> None:
    """Do what sends an event, and interrupt it while it waits for the answer."""

    def handler() -> None:
        raise Interrupted

    with on_signal(handler):
        thread = interrupt_when(lambda: event_id in holder.ids and main_waits(writer))
        with pytest.raises(Interrupted):
            action()
        thread.join()


@pytest.mark.parametrize("when", ["before", "meanwhile", "refused"])
def test_a_refusal_that_is_on_its_way_is_not_sent_a_second_time(
    path: Path, writer: SharedWriter, holder: Holder, when: str
) -> None:
    """Its recorder was interrupted as it waited; it was acknowledged before it tries again, or only then, or not."""
    gap = Gap(Layout(path))
    gap.refuse(Item(body(writer, "r0")), "t")
    gap.refuse(Item(body(writer, "r1")), "t")
    interrupted(writer, holder, lambda: gap.catch_up(writer), "r0")
    if when == "refused":
        holder.say(wire.pack(wire.Nack(1, "no")))
        wait_for(lambda: not writer._outbox.letters)
    elif when == "before":
        holder.acknowledge("r0")
        wait_for(lambda: not writer._outbox.letters)
    catching = threading.Thread(target=gap.catch_up, args=(writer,))
    catching.start()
    if when == "meanwhile":
        wait_for(lambda: reader(writer) == catching.ident)
        holder.acknowledge("r0")
    elif when == "refused":
        wait_for(lambda: holder.ids == ["r0", "r0"])
        holder.acknowledge("r0")
    holder.acknowledge("r1")
    catching.join(LIMIT_S)
    assert not catching.is_alive()
    assert not gap.open
    assert holder.ids == ["r0"] * (2 if when == "refused" else 1) + ["r1"]
    gap.close()


def test_an_event_that_comes_again_is_waited_for_no_longer_than_others(
    path: Path, writer: SharedWriter, holder: Holder
) -> None:
    event = body(writer, "e")
    interrupted(writer, holder, lambda: writer.append(event, "", ""), "e")
    late: list[tuple[str, bool]] = []
    writer.tell_late(lambda event_id, came: late.append((event_id, came)))
    writer.audit = AuditSettings(write_timeout=0.05)
    with pytest.raises(NotInTime):
        writer.append(event, "", "")
    holder.acknowledge("e")
    wait_for(lambda: late)
    assert (holder.ids, late) == (["e"], [("e", True)])


def test_those_that_were_interrupted_are_not_remembered_without_bound(path: Path) -> None:
    outbox = Outbox(path)
    for number in range(3 * link.MAX_WAITING):
        job = Job(1, None)
        outbox.put([Item(b'{"event_id":"e%d"}' % number)], job)
        outbox.interrupted(job)
        outbox.take_first(None)
    assert len(outbox._interrupted) == link.MAX_WAITING
    assert outbox.take_up(Item(b'{"event_id":"e%d"}' % (3 * link.MAX_WAITING - 1)), Job(1, None))
    assert not outbox.take_up(Item(b'{"event_id":"e0"}'), Job(1, None))


# --- who reads --------------------------------------------------------------------------------------------------


def test_a_lone_caller_reads_its_own_answer(writer: SharedWriter, holder: Holder) -> None:
    read: list[int] = []
    connection = writer._answers.connection
    assert connection is not None
    take = connection.read

    def noted() -> Iterator[wire.ToRecorder]:
        read.append(threading.get_ident())
        return take()

    connection.read = noted  # type: ignore[method-assign]
    for number in range(20):
        interrupted = threading.Thread(target=holder.acknowledge, args=(f"e{number}",))
        interrupted.start()
        writer.append(body(writer, f"e{number}"), "", "")
        interrupted.join()
    assert read.count(threading.get_ident()) >= 18  # the first may find the recorder's own thread faster
    assert connection.led >= 18


def test_one_reads_for_all_and_the_next_goes_on(writer: SharedWriter, holder: Holder) -> None:
    callers = {}
    for number in range(8):
        callers[number] = Appending(writer, f"e{number}")
        holder.got(f"e{number}")
    wait_for(lambda: reader(writer))
    seen = set()
    for number in range(8):  # in the order in which they were sent: whoever reads leaves when it has its own
        seen.add(reader(writer))
        holder.acknowledge(f"e{number}")
        assert callers[number].join() is None
        if number < 7:
            wait_for(lambda: reader(writer))
            assert not callers[number + 1].done
    assert len(seen) > 1
    wait_for(lambda: not reader(writer))


def test_whoever_does_not_wait_is_told_with_callers_and_without(writer: SharedWriter, holder: Holder) -> None:
    done: list[tuple[str, int]] = []
    for number in range(3):
        submit(writer, f"s{number}", done)
    holder.acknowledge("s0")
    wait_for(lambda: len(done) == 1)
    caller = Appending(writer, "a")
    wait_for(lambda: reader(writer))
    holder.acknowledge("s1")
    wait_for(lambda: len(done) == 2)
    holder.acknowledge("a")
    assert caller.join() is None
    submit(writer, "s3", done)  # right after a caller
    holder.acknowledge("s3")
    wait_for(lambda: len(done) == 4)
    assert done == [(f"s{number}", 1) for number in range(4)]


def test_threads_and_submitters_all_at_once(writer: SharedWriter, holder: Holder) -> None:
    threads, each = 12, 40
    done: list[tuple[str, int]] = []
    errors: list[TrailUnavailable | None] = []

    def acknowledge_in_pieces() -> None:
        said = [0]
        while said[-1] < threads * each * 2:
            wait_for(lambda: len(holder.puts) > said[-1])
            said.append(len(holder.puts))
            message = wire.pack(wire.Ack(holder.puts[said[-1] - 1].n))
            for at in range(0, len(message), 7):
                holder.say(message[at : at + 7])

    def work(own: int) -> None:
        for number in range(each):
            submit(writer, f"s{own}-{number}", done)
            try:
                writer.append(body(writer, f"a{own}-{number}"), "", "")
            except TrailUnavailable as exc:
                errors.append(exc)

    all_threads = [threading.Thread(target=work, args=(own,)) for own in range(threads)]
    all_threads.append(threading.Thread(target=acknowledge_in_pieces))
    for thread in all_threads:
        thread.start()
    for thread in all_threads:
        thread.join(4 * LIMIT_S)
        assert not thread.is_alive()
    wait_for(lambda: len(done) == threads * each)
    assert errors == []
    assert {safe for _, safe in done} == {1}
    assert len({event_id for event_id, _ in done}) == len(done)
    assert not writer._outbox.letters
    assert max(Counter(holder.ids).values()) == 1
    for own in range(threads):
        mine = [event_id for event_id in holder.ids if event_id.startswith(f"a{own}-")]
        assert mine == [f"a{own}-{number}" for number in range(each)]


# --- time-outs and half messages --------------------------------------------------------------------------------


def test_half_an_answer_when_the_time_is_up(writer: SharedWriter, holder: Holder) -> None:
    writer.audit = AuditSettings(write_timeout=0.2)
    message = wire.pack(wire.Ack(1))
    caller = Appending(writer, "e1")
    holder.got("e1")
    holder.say(message[:9])
    assert "does not answer" in str(caller.join())
    writer.audit = AuditSettings(write_timeout=LIMIT_S)
    caller = Appending(writer, "e2")
    holder.got("e2")
    holder.say(message[9:])
    wait_for(lambda: [letter.id for letter in writer._outbox.letters] == ["e2"])
    assert not caller.done
    holder.acknowledge("e2")
    assert caller.join() is None


def test_each_caller_is_told_in_its_own_time(writer: SharedWriter, holder: Holder) -> None:
    patient = Appending(writer, "patient")
    wait_for(lambda: reader(writer))
    writer.audit = AuditSettings(write_timeout=0.1)
    began = time.monotonic()
    assert "does not answer" in str(Appending(writer, "hasty").join())
    assert time.monotonic() - began >= 0.1
    assert not patient.done
    holder.acknowledge("patient")
    assert patient.join() is None


def test_what_is_no_message_ends_the_connection_and_everything_is_sent_again(
    writer: SharedWriter, holder: Holder
) -> None:
    caller = Appending(writer, "e1")
    holder.got("e1")
    first, holder.sock = holder.sock, None
    assert first is not None
    first.sendall(b"\xff\xff\xff\xff")
    wait_for(lambda: len(holder.puts) == 2)
    assert holder.puts[1].id == "e1"
    assert holder.puts[1].again
    holder.acknowledge("e1")
    assert caller.join() is None


def test_a_holder_that_goes_while_a_caller_reads(
    path: Path, holder: Holder, writer: SharedWriter, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller itself reads the end, and the recorder's own thread takes the trail over."""
    caller = Appending(writer, "e1")
    holder.got("e1")
    wait_for(lambda: reader(writer))
    holder.close()
    assert caller.join() is None
    assert writer.holder is not None
    assert path.read_bytes().count(b'"event_id":"e1"') == 1


# --- signals ----------------------------------------------------------------------------------------------------


def test_a_handler_records_on_top_of_a_caller_that_reads(writer: SharedWriter, holder: Holder) -> None:
    def handler() -> None:
        acknowledging = threading.Thread(target=holder.acknowledge, args=("inner",))
        acknowledging.start()
        writer.append(body(writer, "inner"), "", "")
        acknowledging.join()

    with on_signal(handler):
        interrupting = interrupt_when(lambda: main_waits(writer))
        writer.append(body(writer, "outer"), "", "")  # what comes after it is acknowledged, and so is it
        interrupting.join()
    assert holder.ids == ["outer", "inner"]
    assert not reader(writer)


def test_a_handler_that_raises_costs_nothing(writer: SharedWriter, holder: Holder) -> None:
    def handler() -> None:
        raise KeyboardInterrupt

    with on_signal(handler):
        interrupting = interrupt_when(lambda: main_waits(writer))
        with pytest.raises(KeyboardInterrupt):
            writer.append(body(writer, "e1"), "", "")
        interrupting.join()
    assert not reader(writer)
    assert not writer._outbox.lock.locked()
    holder.acknowledge("e1")
    wait_for(lambda: not writer._outbox.letters)  # nobody waits for it: the recorder's own thread reads
    caller = Appending(writer, "e2")
    holder.acknowledge("e2")
    assert caller.join() is None
    assert max(Counter(holder.ids).values()) == 1


def test_who_is_interrupted_while_it_reads_sends_again_over_another_connection(
    writer: SharedWriter, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a handler raises between the bytes and their meaning: a part may be lost with it."""
    connection = writer._answers.connection
    assert connection is not None

    def interrupted() -> Any:
        if threading.get_ident() != connection.reader:  # handlers run on top of callers only
            return ()
        if not select.select([connection.sock], [], [], 0)[0]:  # it looks now and then, without waiting
            return ()
        assert connection.sock.recv(5)
        raise KeyboardInterrupt

    caller = Appending(writer, "e1")
    wait_for(lambda: reader(writer))
    waiting = Appending(writer, "e2")
    holder.got("e1", "e2")
    excepthook = threading.excepthook
    monkeypatch.setattr(
        threading,
        "excepthook",
        lambda args: None if args.exc_type is KeyboardInterrupt else excepthook(args),
    )
    monkeypatch.setattr(connection, "read", interrupted)
    holder.acknowledge("e1")
    wait_for(lambda: caller.done)
    wait_for(lambda: holder.ids.count("e2") == 2)
    assert [put.again for put in holder.puts if put.id == "e2"] == [False, True]
    holder.acknowledge("e2")
    assert waiting.join() is None


def test_what_was_sent_and_is_not_answered_at_the_end_may_be_recorded_and_is_said_to_be(
    writer: SharedWriter, holder: Holder
) -> None:
    waiting = Appending(writer, "e1")
    holder.got("e1")
    writer.audit = AuditSettings(write_timeout=0.01)
    writer.close()
    error = waiting.join()
    assert isinstance(error, NotInTime)
    assert "the trail is closed" in str(error)


def test_what_is_sent_again_says_where_the_trail_ended_when_it_was_sent_first(
    writer: SharedWriter, holder: Holder
) -> None:
    first = Appending(writer, "e1")
    holder.got("e1")
    holder.say(wire.pack(wire.Ack(1, 5000)))
    assert first.join() is None
    second = Appending(writer, "e2")
    holder.got("e2")
    assert holder.sock is not None
    holder.sock.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: holder.ids.count("e2") == 2)
    assert [(put.again, put.since) for put in holder.puts if put.id == "e2"] == [(False, -1), (True, 5000)]
    holder.acknowledge("e2")
    assert second.join() is None


def test_who_takes_over_looks_as_far_back_as_its_own_events_may_stand(
    writer: SharedWriter, holder: Holder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "REMEMBERED", 16)
    waiting = Appending(writer, "e1")
    holder.got("e1")
    holder._writer.append(bytes(holder.puts[0].body))  # and it dies before it can say so
    for number in range(30):
        holder._writer.append(body(writer, f"o{number}"))
    holder.close()
    assert waiting.join() is None
    assert writer.holder is not None
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [entry["event_id"] for entry in entries].count("e1") == 1


def test_a_handler_that_stays_does_not_keep_others_from_their_answers(
    writer: SharedWriter, holder: Holder
) -> None:
    other: list[Appending] = []

    def handler() -> None:  # stands on top of the one that should read
        other.append(Appending(writer, "other"))
        holder.acknowledge("other")
        assert other[0].join() is None

    with on_signal(handler):
        interrupting = interrupt_when(lambda: main_waits(writer))
        writer.append(body(writer, "mine"), "", "")
        interrupting.join()
    assert other


def test_a_handler_that_stays_on_top_of_the_next_in_turn_keeps_nobody_either(
    writer: SharedWriter, holder: Holder
) -> None:
    first = Appending(writer, "first")
    wait_for(lambda: reader(writer))
    third: list[Appending] = []

    def handler() -> None:  # stands on top of the one that is woken to read when the first has its answer
        third.append(Appending(writer, "third"))
        wait_for(lambda: len(writer._answers._followers) == 2)
        holder.acknowledge("first")
        assert first.join() is None
        holder.acknowledge("third")
        assert third[0].join() is None

    with on_signal(handler):
        interrupting = interrupt_when(lambda: len(writer._answers._followers) == 1)
        writer.append(body(writer, "second"), "", "")
        interrupting.join()
    assert third


def test_a_handler_closes_on_top_of_a_caller_that_reads(
    writer: SharedWriter, holder: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    before = sockets()

    def handler() -> None:
        threading.Thread(target=holder.acknowledge, args=("e1",)).start()
        writer.close()

    with on_signal(handler):
        interrupting = interrupt_when(lambda: main_waits(writer))
        writer.append(body(writer, "e1"), "", "")
        interrupting.join()
    wait_for(lambda: not closing_threads())
    assert caplog.records == []
    assert sockets() & before < before  # the connection is closed; what other tests left may open some


def sockets() -> set[str]:
    """Return which sockets this process has, by their inodes."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(descriptor.readlink()))
    return {one for one in found if one.startswith("socket:")}


def closing_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "indelible-close"]


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_handler_closes_on_top_of_the_holders_own_append(
    path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability, raises: bool
) -> None:
    """It comes while the line is being written, and while it is being synced: whatever locks are held there."""
    writer = SharedWriter(path, AuditSettings(durability=durability), "holder")
    place = (writer.holder._active, "put") if durability == "process" else (durable, "datasync")  # type: ignore[union-attr]
    action = getattr(*place)

    def interrupted(about: Any) -> Any:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGUSR1)
        return action(about)

    def handler() -> None:
        writer.close()
        if raises:
            raise SystemExit

    with on_signal(handler), contextlib.suppress(SystemExit):
        monkeypatch.setattr(place[0], place[1], interrupted)
        writer.append(body(writer, "e1"), "", "")
    wait_for(lambda: not closing_threads())
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert lines[-1]["event_type"] == "audit_stopped"
    assert ("e1" in [line["event_id"] for line in lines]) or raises
    assert verify(path).ok
    SharedWriter(path, AuditSettings(), "next").close()  # nobody holds it


# --- the end ----------------------------------------------------------------------------------------------------


def test_close_tells_those_who_still_wait(writer: SharedWriter, holder: Holder) -> None:
    callers = [Appending(writer, f"e{number}") for number in range(3)]
    holder.got("e0", "e1", "e2")
    wait_for(lambda: reader(writer))
    writer.audit = AuditSettings(write_timeout=0.1)
    writer.close()
    assert all("the trail is closed" in str(caller.join()) for caller in callers)


def test_close_waits_for_what_is_on_its_way(writer: SharedWriter, holder: Holder) -> None:
    caller = Appending(writer, "e1")
    wait_for(lambda: reader(writer))
    closing = threading.Thread(target=writer.close)
    closing.start()
    holder.acknowledge("e1")
    assert caller.join() is None
    closing.join(LIMIT_S)
    assert not closing.is_alive()


def test_the_recorders_own_thread_sees_the_end_though_a_caller_was_here_just_now(
    writer: SharedWriter, holder: Holder
) -> None:
    assert answers.DOZE_S < LIMIT_S
    caller = Appending(writer, "e1")
    holder.acknowledge("e1")
    assert caller.join() is None
    holder.close()
    wait_for(lambda: writer.holder is not None)


def test_an_outbox_keeps_what_may_be_in_the_trail(path: Path, writer: SharedWriter) -> None:
    outbox = Outbox(path)
    jobs = [Job(1, None) for _ in range(3)]
    for number, job in enumerate(jobs):
        outbox.put([Item(body(writer, f"e{number}"))], job)
    outbox.letters[0].again = True
    with outbox.lock:
        for job in jobs:
            outbox.withdraw(job, TrailUnavailable("late"))
            assert str(job.error) == "late"
    assert [letter.id for letter in outbox.letters] == ["e0"]


def test_what_a_dead_holder_was_sent_is_lost_and_not_in_doubt(path: Path, writer: SharedWriter) -> None:
    """It died, and nobody has seen that yet: nothing that is put now can be in the trail."""
    outbox, job = Outbox(path), Job(2, None)
    mine, its = socket.socketpair()
    its.close()
    with mine, outbox.lock:
        outbox.sock = mine
        outbox.put([Item(body(writer, name)) for name in ("e0", "e1")], job)
        assert outbox.sent == 0
        assert outbox.sock is None
        outbox.disconnected("it is gone", said_bye=False)
        assert not any(letter.again or letter.orphaned for letter in outbox.letters)
        outbox.withdraw(job, TrailUnavailable("late"))
    assert job.error is not None
    assert not isinstance(job.error, NotInTime)
    assert not outbox.letters


class Rung(Exception):  # noqa: N818
    """What a signal's handler raises."""


def ring() -> None:
    raise Rung


@pytest.mark.parametrize("raises", [False, True])
def test_what_is_sent_whole_before_the_holder_hangs_is_in_doubt_and_the_rest_is_not(
    path: Path, writer: SharedWriter, raises: bool
) -> None:
    """Until the time for sending is up, or a handler raises in the middle of it."""
    outbox = Outbox(path)
    names = [f"e{number}" for number in range(wire.WINDOW)]
    jobs = [Job(1, None) for _ in names]
    mine, its = socket.socketpair()
    with its:
        with mine, outbox.lock:
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that there is
            for name, job in zip(names, jobs, strict=True):
                outbox.put([Item(body(writer, name, text="x" * 500))], job)
            outbox.sock = mine
            if raises:
                with on_signal(ring):
                    interrupting = interrupt_when(lambda: outbox.sent == len(names))
                    with pytest.raises(Rung):
                        outbox.pump()
                    interrupting.join()
            else:
                mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 50_000))
                outbox.pump()
            assert outbox.sock is None
            outbox.disconnected("it hangs", said_bye=False)
            for job in jobs:
                outbox.withdraw(job, TrailUnavailable("late"))
        messages, whole = wire.Messages(), []
        while data := its.recv(1 << 16):
            whole += [wire.decode_to_holder(raw).id for raw in messages.feed(data)]
    assert len(whole) < len(names)
    assert whole == names[: len(whole)] == [letter.id for letter in outbox.letters]
    assert [isinstance(job.error, NotInTime) for job in jobs] == [name in whole for name in names]
