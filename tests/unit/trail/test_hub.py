"""The holder's side of `writer.sock`, spoken to in bytes: whoever does something wrong costs only itself."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from indelible import verify
from indelible.config import AuditSettings, Durability
from indelible.errors import TrailUnavailable
from indelible.events import new_id, now
from indelible.trail import durable
from indelible.trail.layout import Layout
from indelible.trail.sharing import calls, porter, wire
from indelible.trail.sharing import peer as peers
from indelible.trail.sharing.hub import Hub
from indelible.trail.sharing.recent import recent_ids
from indelible.trail.sharing.sockets import connect
from indelible.trail.start.opening import OpenTrail, open_writer
from indelible.trail.writer import Writer
from tests.descriptors import descriptors
from tests.recording import next_message

from .faults import Disk, faulty

LIMIT_S = 10.0
"""No wait in these tests is longer; every one of them is for a condition."""


def body(event_id: str, kind: str = "mcp_operation", name: str = "raw", pid: int = 0, **more: Any) -> bytes:
    recorder = {"id": name, "uid": os.getuid(), "pid": pid or os.getpid()}
    head = {"timestamp": now(), "event_type": kind, "event_id": event_id}
    return orjson.dumps({**head, "source": {"caller": "library", "recorder": recorder}, **more})


def put(number: int, event_id: str = "", name: str = "raw", **more: Any) -> wire.Put:
    event_id = event_id or new_id()
    return wire.Put(number, event_id, msgspec.Raw(body(event_id, name=name)), **more)


def connect_in_time(path: Path) -> socket.socket:
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            return connect(path, LIMIT_S)
        except BlockingIOError:  # more wait to be let in than the kernel queues
            assert time.monotonic() < deadline
            time.sleep(0.005)


class Raw:
    """A recorder that speaks as it is told to."""

    def __init__(self, trail: Trail, name: str | None = "raw") -> None:
        self.sock = connect_in_time(trail.layout.socket)
        self._messages = wire.Messages()
        self._read: list[bytes] = []
        trail.clients.append(self)
        if name is not None:
            self.send(wire.Hello(wire.VERSION, name, os.getpid()))
            assert isinstance(self.next(), wire.Welcome)

    def send(self, *messages: wire.ToHolder) -> None:
        self.sock.sendall(b"".join(wire.pack(message) for message in messages))

    def next(self) -> wire.ToRecorder | None:
        """Return the next message; None at the end of the connection."""
        raw = next_message(self.sock, self._messages, self._read)
        answer: wire.ToRecorder | None = None if raw is None else wire.decode_to_recorder(raw)
        return answer

    def acknowledged(self, number: int) -> None:
        """Wait until all events up to `number` are acknowledged, and none refused."""
        while True:
            answer = self.next()
            assert isinstance(answer, wire.Ack), answer
            if answer.n >= number:
                return


class Trail:
    """A held trail, its hub, and whoever is connected."""

    def __init__(self, path: Path, **audit: Any) -> None:
        self.layout = Layout(path)
        self.clients: list[Raw] = []
        self.opened: OpenTrail = open_writer(path, AuditSettings(**audit), "holder", lives=lambda _: True)
        size = self.opened.writer.size
        self.hub = Hub(self.opened, lambda: recent_ids(self.layout, size, wire.REMEMBERED))
        self.hub.start()
        self._closed = False

    def entries(self) -> list[dict[str, Any]]:
        """After a failed write a new file takes the active one's place: for a moment there is none."""
        for _ in range(1000):
            try:
                return self._entries()
            except FileNotFoundError:
                os.sched_yield()
        return self._entries()

    def _entries(self) -> list[dict[str, Any]]:
        files = [*sorted(self.layout.segments.glob("*.jsonl")), self.layout.active]
        return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]

    def ids(self) -> list[str]:
        return [
            entry["event_id"] for entry in self.entries() if entry["event_type"].startswith("mcp_operation")
        ]

    def close(self, *, good_bye: bool = True) -> None:
        if not self._closed:
            self._closed = True
            self.hub.close()
            self.opened.writer.close(good_bye=good_bye, still_open=self.hub.open_calls)
        for client in self.clients:
            client.sock.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def start(path: Path) -> Iterator[Callable[..., Trail]]:
    started: list[Trail] = []

    def begin(**audit: Any) -> Trail:
        started.append(Trail(path, **audit))
        return started[-1]

    yield begin
    for trail in started:
        trail.close()


@pytest.fixture
def trail(start: Callable[..., Trail]) -> Trail:
    return start()


def flood(sock: socket.socket, data: bytes) -> None:
    for _ in range(1000):
        sock.sendall(data)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- whoever does something wrong ---------------------------------------------------------------------------------

HELLO = wire.Hello(wire.VERSION, "bad", os.getpid())
BAD: dict[str, tuple[list[wire.ToHolder | bytes], str]] = {
    "no hello": ([put(1)], "it did not say hello"),
    "wrong version": ([wire.Hello(99, "bad", os.getpid())], "version 1 of the protocol, not 99"),
    "wrong pid": ([wire.Hello(wire.VERSION, "bad", 1)], f"the process is {os.getpid()}, not 1"),
    "no name": ([wire.Hello(wire.VERSION, "", os.getpid())], "the recorder's name"),
    "long name": ([wire.Hello(wire.VERSION, "x" * 257, os.getpid())], "the recorder's name"),
    "second hello": ([HELLO, HELLO], "the recorder's name"),
    "first number": ([HELLO, put(2, name="bad")], "not numbered one by one"),
    "number again": ([HELLO, put(1, name="bad"), put(1, name="bad")], "not numbered one by one"),
    "number jumps": ([HELLO, put(1, name="bad"), put(3, name="bad")], "not numbered one by one"),
    "an answer": ([HELLO, b"\0\0\0\x11" + b'{"t":"ack","n":1}'], "what is no message"),
    "no object": ([HELLO, b"\0\0\0\x02[]"], "what is no message"),
    "garbage": ([HELLO, b"\0\0\0\x05\xff\xfe{}["], "what is no message"),
    "no length": ([HELLO, b"\0\0\0\0"], "a message of 0 bytes"),
    "huge": ([HELLO, b"\xff\xff\xff\xff"], "a message of 4294967295 bytes"),
    "http": ([b"GET / HTTP/1.1\r\n\r\n"], "a message of 1195725856 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_it_costs_only_that_connection_and_leaves_one_line(
    trail: Trail, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    messages, reason = BAD[case]
    good = Raw(trail, "good")
    good.send(put(1, "before", "good"))
    good.acknowledged(1)
    bad = Raw(trail, None)
    for message in messages:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            bad.sock.sendall(message if isinstance(message, bytes) else wire.pack(message))
    answers = list(iter(bad.next, None))
    assert [type(answer) for answer in answers if not isinstance(answer, wire.Welcome | wire.Ack)] == (
        [wire.Refused] if reason.startswith(("version", "the ")) else []
    )
    good.send(put(2, "after", "good"))
    good.acknowledged(2)
    (line,) = warnings(caplog)
    assert reason in line
    assert f"process {os.getpid()}" in line
    assert "Traceback" not in caplog.text
    acknowledged = max((answer.n for answer in answers if isinstance(answer, wire.Ack)), default=0)
    assert len([one for one in trail.ids() if one not in ("before", "after")]) == acknowledged
    assert [one for one in trail.ids() if one in ("before", "after")] == ["before", "after"]


def test_who_encodes_as_the_holder_does_is_parsed_where_it_does_not_look_so(trail: Trail) -> None:
    raw = Raw(trail, None)
    raw.send(wire.Hello(wire.VERSION, "raw", os.getpid(), own=True))
    assert isinstance(raw.next(), wire.Welcome)
    spaced = msgspec.Raw(body("spaced").replace(b'"uid":', b'"uid": '))
    theirs = msgspec.Raw(body("theirs", name="other"))
    raw.send(put(1, "plain"), wire.Put(2, "spaced", spaced), wire.Put(3, "theirs", theirs), put(4, "last"))
    raw.acknowledged(2)
    assert raw.next() == wire.Nack(3, "it names another recorder than the socket's")
    raw.acknowledged(4)
    assert trail.ids() == ["plain", "spaced", "last"]


@pytest.mark.parametrize("again", [1, 15, 16, 17, 30, 40])
def test_what_came_is_known_when_it_comes_again_however_it_came(
    start: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch, again: int
) -> None:
    """One by one, or together; before the first one was looked for, and after it."""
    monkeypatch.setattr(wire, "REMEMBERED", 64)
    trail = start()
    raw = Raw(trail)
    for number in range(1, 11):
        raw.send(put(number, f"e{number}"))
        raw.acknowledged(number)
    raw.send(*(put(number, f"e{number}") for number in range(11, 21)))
    raw.acknowledged(20)
    raw.send(put(21, f"e{min(again, 20)}", again=True))
    raw.acknowledged(21)
    raw.send(*(put(number, f"e{number}") for number in range(22, 42)))
    raw.acknowledged(41)
    raw.send(put(42, f"e{again + (again == 21)}", again=True))
    raw.acknowledged(42)
    assert Counter(trail.ids()) == Counter(f"e{number}" for number in range(1, 42) if number != 21)


def test_a_message_cut_off_half_way(trail: Trail, caplog: pytest.LogCaptureFixture) -> None:
    raw = Raw(trail)
    raw.send(put(1, "whole"))
    raw.sock.sendall(wire.pack(put(2, "half"))[:-1])
    raw.sock.shutdown(socket.SHUT_WR)
    raw.acknowledged(1)
    assert raw.next() is None
    (line,) = warnings(caplog)
    assert "it ended within a message" in line
    assert trail.ids() == ["whole"]


def test_one_byte_at_a_time(trail: Trail) -> None:
    raw = Raw(trail, None)
    answers = []
    for message in (wire.Hello(wire.VERSION, "raw", os.getpid()), put(1, "slow"), wire.Ask()):
        for byte in wire.pack(message):
            raw.sock.sendall(bytes([byte]))
        answers.append(type(raw.next()))
    assert answers == [wire.Welcome, wire.Ack, wire.HolderState]
    assert trail.ids() == ["slow"]


@pytest.mark.parametrize("durability", ["process", "disk", "memory"])
def test_more_than_the_window_without_waiting(
    start: Callable[..., Trail], caplog: pytest.LogCaptureFixture, durability: Durability
) -> None:
    trail = start(durability=durability)
    good, raw = Raw(trail, "good"), Raw(trail)
    raw.send(*(put(number) for number in range(1, wire.WINDOW + 1)))
    raw.acknowledged(wire.WINDOW)
    with trail.opened.writer._lock:  # nothing can be written, so nothing is acknowledged
        puts = [put(number) for number in range(wire.WINDOW + 1, 3 * wire.WINDOW + 1)]
        threading.Thread(target=lambda: raw.sock.sendall(b"".join(map(wire.pack, puts)))).start()
        if durability == "disk":
            wait_for(lambda: warnings(caplog))
    answers = list(iter(raw.next, None))
    assert all(isinstance(answer, wire.Ack) for answer in answers)
    wait_for(lambda: warnings(caplog))
    (line,) = warnings(caplog)
    assert "more than 256 events" in line
    good.send(put(1, "good", "good"))
    good.acknowledged(1)


def test_a_peer_that_never_reads(
    trail: Trail, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MAX_UNREAD", 1 << 16)
    raw, good = Raw(trail), Raw(trail, "good")
    asks = wire.pack(wire.Ask()) * 1000
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        flood(raw.sock, asks)
    good.send(put(1, "good", "good"))
    good.acknowledged(1)
    (line,) = warnings(caplog)
    assert "does not read its acknowledgements" in line


def test_sixty_four_recorders_and_one_more(trail: Trail, caplog: pytest.LogCaptureFixture) -> None:
    recorders = [Raw(trail, f"r{number}") for number in range(wire.MAX_RECORDERS)]
    late = Raw(trail, None)
    late.send(wire.Hello(wire.VERSION, "late", os.getpid()))
    assert late.next() == wire.Refused(f"{wire.MAX_RECORDERS} recorders are connected already")
    assert late.next() is None
    (line,) = warnings(caplog)
    assert "64 recorders are connected already" in line
    for number, raw in enumerate(recorders):
        raw.send(put(1, f"e{number}", f"r{number}"))
    for raw in recorders:
        raw.acknowledged(1)
    assert sorted(trail.ids()) == sorted(f"e{number}" for number in range(wire.MAX_RECORDERS))
    recorders[0].send(wire.Bye())
    assert recorders[0].next() is None
    Raw(trail, "late")


def test_those_that_say_nothing_keep_nobody_out(trail: Trail, caplog: pytest.LogCaptureFixture) -> None:
    silent = [Raw(trail, None) for _ in range(wire.MAX_RECORDERS + porter.SPARE_CONNECTIONS + 3)]
    raw = Raw(trail)
    raw.send(put(1, "heard"))
    raw.acknowledged(1)
    assert len(warnings(caplog)) == 4
    assert [client.next() for client in silent[:4]] == [None] * 4


def test_nothing_is_left_open(path: Path) -> None:
    gc.collect()  # sockets and threads of the tests before this one may end while it runs
    before = descriptors()
    threads = threading.active_count()
    trail = Trail(path)
    for _ in range(3):
        Raw(trail).send(put(2))
        Raw(trail, None).sock.sendall(b"\xff" * 8)
    trail.close()
    wait_for(lambda: descriptors() <= before)  # a thread of an earlier test may start a process just now
    wait_for(lambda: threading.active_count() <= threads)
    assert not trail.layout.socket.exists()


# --- events -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_what_is_sent_again_is_written_once(start: Callable[..., Trail], durability: Durability) -> None:
    first = start(durability=durability, max_size=20_000, backup_count=1000)
    raw = Raw(first)
    ids = [f"e{number}" for number in range(120)]
    raw.send(*(put(number, one) for number, one in enumerate(ids, 1)))
    raw.acknowledged(len(ids))
    first.close(good_bye=durability == "disk")  # after a clean close as after a crash
    second = start(durability=durability)
    raw = Raw(second)
    more = [*ids[60:], "new1", "new2"]
    raw.send(*(put(number, one, again=True) for number, one in enumerate(more, 1)))
    raw.acknowledged(len(more))
    raw = Raw(second)  # and again, to the same holder
    raw.send(*(put(number, one, again=True) for number, one in enumerate([*more[-5:], "new3"], 1)))
    raw.acknowledged(6)
    assert [*(one for one in second.ids())] == [*ids, "new1", "new2", "new3"]


def test_what_was_sent_so_long_ago_that_nobody_knows_is_refused_and_not_written_twice(
    start: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder is suspended while two holders come and go, and more is written than a new one remembers."""
    monkeypatch.setattr(wire, "REMEMBERED", 16)
    first = start()
    raw = Raw(first)
    since = first.opened.writer.size
    raw.send(put(1, "e1"))
    raw.acknowledged(1)  # it is suspended before it reads this
    first.close(good_bye=False)
    second = start()
    other = Raw(second, "other")
    other.send(*(put(number, f"o{number}", name="other") for number in range(1, 31)))
    other.acknowledged(30)
    second.close(good_bye=False)
    third = start()
    size = third.opened.writer.size
    raw = Raw(third)
    raw.send(put(1, "e1", again=True, since=since), put(2, "e2", again=True, since=size), put(3, "e3", since=0))
    answer = raw.next()
    assert isinstance(answer, wire.Nack)
    assert (answer.n, "cannot be known any more" in answer.error) == (1, True)
    raw.acknowledged(3)
    raw.send(put(4, "o30", again=True, since=since))  # of this one it is known
    raw.acknowledged(4)
    assert Counter(third.ids()) == Counter(["e1", *(f"o{number}" for number in range(1, 31)), "e2", "e3"])


def test_one_holder_forgets_what_came_too_long_ago_and_knows_that(
    start: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "REMEMBERED", 16)
    trail = start()
    raw = Raw(trail)
    since = trail.opened.writer.size
    for first in (1, 11, 21, 31):
        raw.send(*(put(number, f"e{number}") for number in range(first, first + 10)))
        raw.acknowledged(first + 9)
    raw = Raw(trail)
    raw.send(put(1, "e1", again=True, since=since), put(2, "e40", again=True, since=since))
    answer = raw.next()
    assert isinstance(answer, wire.Nack)
    assert answer.n == 1
    raw.acknowledged(2)
    assert Counter(trail.ids()) == Counter(f"e{number}" for number in range(1, 41))


def test_who_sends_nothing_is_told_how_long_the_trail_is(
    start: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what it sends next would seem to be as old as what it heard last."""
    monkeypatch.setattr(wire, "TOLD_EVERY", 10)
    trail = start()
    raw = Raw(trail)
    writer = trail.opened.writer
    before = writer.size
    for number in range(2 * wire.TOLD_EVERY + 2):  # it may have looked around just before it was so much
        writer.append(body(f"own{number}", name="holder"))
    writer.seal()
    answer = raw.next()
    assert isinstance(answer, wire.Ack)
    assert answer.n == 0
    assert before + wire.TOLD_EVERY <= answer.size <= writer.size
    raw.send(*(put(number) for number in range(1, 4)))
    raw.acknowledged(3)


def test_a_second_connection_waits_for_what_the_first_sent(start: Callable[..., Trail]) -> None:
    trail = start(durability="disk")
    first = Raw(trail)
    with trail.opened.writer._lock:  # the disk hangs
        first.send(put(1, "e1"), put(2, "e2"))
        wait_for(lambda: trail.hub._peers and any(peer.waiting == 2 for peer in trail.hub._peers.values()))
        first.sock.close()
        early = Raw(trail, None)
        early.send(wire.Hello(wire.VERSION, "raw", os.getpid()))
        assert early.next() is None
    wait_for(lambda: trail.ids() == ["e1", "e2"])
    wait_for(lambda: not trail.hub._lingering)
    second = Raw(trail)
    second.send(put(1, "e1", again=True), put(2, "e2", again=True), put(3, "e3"))
    second.acknowledged(3)
    assert trail.ids() == ["e1", "e2", "e3"]


class Gate:
    """Holds whoever comes to a function, from its making on, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: object, name: str) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        passed = getattr(place, name)

        def held(*args: Any) -> Any:
            self.reached.set()
            assert self._open.wait(LIMIT_S)
            return passed(*args)

        monkeypatch.setattr(place, name, held)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def held_up(
    start: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Trail, Raw, Raw, Gate]]:
    """Give a trail, who was acknowledged his event, another one, and the gate at which the hub's thread stands."""
    trail = start(durability="disk")
    first, second = Raw(trail), Raw(trail, "second")
    first.send(put(1, "r1"))
    first.acknowledged(1)
    with trail.opened.writer._sealer.pause():  # which syncs, too
        disk = Gate(monkeypatch, durable, "datasync")
        first.send(put(2, "r2", opens="r2"))
        assert disk.reached.wait(LIMIT_S)
        hub = Gate(monkeypatch, wire, "check_body")
        second.send(put(1, "s1", "second"))
        assert hub.reached.wait(LIMIT_S)
        disk.open()
    yield trail, first, second, hub
    hub.open()


def test_who_has_committed_acknowledges_though_the_hub_has_no_time(
    held_up: tuple[Trail, Raw, Raw, Gate],
) -> None:
    trail, first, second, hub = held_up
    first.acknowledged(2)
    (peer,) = (peer for peer in trail.hub._peers.values() if peer.recorder == "raw")
    assert (peer.waiting, peer.recorded) == (1, 1)  # the hub's thread does not know it yet
    hub.open()
    second.acknowledged(1)
    first.send(put(3, "r3"))
    assert first.next() == wire.Ack(3)  # and it does not say a second time what was said
    wait_for(lambda: (peer.waiting, peer.recorded, list(peer.open)) == (0, 3, ["r2"]))
    assert trail.ids() == ["r1", "r2", "s1", "r3"]


def test_a_whole_window_upon_such_an_acknowledgement_is_not_too_much(
    start: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trail = start(durability="disk")
    raw = Raw(trail)
    with trail.opened.writer._sealer.pause():  # which syncs, too
        disk = Gate(monkeypatch, durable, "datasync")
        raw.send(put(1, "r1"))
        assert disk.reached.wait(LIMIT_S)
        reading = Gate(monkeypatch, peers.Peer, "_receive")
        raw.send(put(2, "r2"))
        assert reading.reached.wait(
            LIMIT_S
        )  # the hub's thread has noted all that was known, and is about to read
        disk.open()
    raw.acknowledged(1)
    numbers = range(3, 2 + wire.WINDOW)
    raw.send(*(put(number, f"r{number}") for number in numbers))
    reading.open()
    raw.acknowledged(numbers[-1])
    assert trail.ids() == [f"r{number}" for number in range(1, 2 + wire.WINDOW)]
    assert not warnings(caplog)


def test_who_goes_upon_such_an_acknowledgement_leaves_his_call_open(
    held_up: tuple[Trail, Raw, Raw, Gate],
) -> None:
    trail, first, second, hub = held_up
    first.acknowledged(2)
    first.sock.close()
    hub.open()
    second.acknowledged(1)
    wait_for(lambda: len(trail.hub._peers) == 1)
    wait_for(lambda: trail.hub._calls.ids == {"r2"})
    assert not trail.hub._lingering


def test_a_refusal_names_its_reason_and_touches_no_other(trail: Trail) -> None:
    raw = Raw(trail)
    wrong = wire.Put(2, "e2", msgspec.Raw(body("e2", name="somebody else")))
    raw.send(put(1, "e1"), wrong, put(3, "e3"))
    answers = {}
    while 3 not in answers:
        answer = raw.next()
        assert isinstance(answer, wire.Ack | wire.Nack)
        answers[answer.n] = answer
    assert answers == {
        1: wire.Ack(1),
        2: wire.Nack(2, "it names another recorder than the socket's"),
        3: wire.Ack(3),
    }
    assert trail.ids() == ["e1", "e3"]


def sealed(writer: Writer) -> bool:
    """Try the disk at once; tell whether everything is in order again."""
    writer.try_again()
    with contextlib.suppress(OSError, TrailUnavailable):
        writer.seal()
    return not writer.failing


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_the_disk_is_full_while_a_peer_sends(start: Callable[..., Trail], durability: Durability) -> None:
    trail = start(durability=durability)
    raw = Raw(trail)
    raw.send(put(1, "before"))
    raw.acknowledged(1)
    with faulty(Disk("no-space", 0, run=1 << 30)):
        raw.send(*(put(number, f"lost{number}") for number in range(2, 12)))
        for number in range(2, 12):
            answer = raw.next()
            assert isinstance(answer, wire.Nack)
            assert answer.n == number
            assert "No space left on device" in answer.error
    wait_for(lambda: sealed(trail.opened.writer))  # an attempt of its own thread's may have begun before
    raw.send(put(12, "after"))
    raw.acknowledged(12)
    trail.close()
    assert trail.ids() == ["before", "after"]
    assert verify(trail.layout.active).ok


@pytest.mark.parametrize("durability", ["process", "disk", "memory"])
def test_a_hub_that_closes_acknowledges_what_came(start: Callable[..., Trail], durability: Durability) -> None:
    trail = start(durability=durability)
    recorders = [Raw(trail, f"r{number}") for number in range(4)]
    for number, raw in enumerate(recorders):
        raw.send(*(put(at, f"r{number}-{at}", f"r{number}") for at in range(1, 101)))
    trail.hub.close()
    for raw in recorders:
        raw.acknowledged(100)
        assert raw.next() == wire.Bye()
        assert raw.next() is None
    trail.opened.writer.close()
    trail._closed = True
    times = Counter(trail.ids())
    assert times == Counter(f"r{number}-{at}" for number in range(4) for at in range(1, 101))


# --- open calls ---------------------------------------------------------------------------------------------------

CLIENT = """
import os, socket, sys, time
import msgspec
from indelible.trail.sharing import wire
from indelible.trail.sharing.sockets import connect
from pathlib import Path
from tests.unit.trail.test_hub import body
sock = connect(Path(sys.argv[1]), 10)
sock.sendall(wire.pack(wire.Hello(wire.VERSION, "raw", os.getpid())))
sock.recv(65536)
sock.sendall(wire.pack(wire.Put(1, "i1", msgspec.Raw(body("i1", "mcp_operation_started")), "i1")))
if "wait" in sys.argv:
    sock.recv(65536)
print("sent", flush=True)
sys.stdin.readline()
os._exit(0)
"""


@contextlib.contextmanager
def dying_client(trail: Trail, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CLIENT, str(trail.layout.socket), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "sent\n"
            yield process
        finally:
            process.kill()


def interrupted(trail: Trail) -> list[str]:
    return [
        entry["request"]["intent"]
        for entry in trail.entries()
        if entry.get("outcome", {}).get("kind") == "interrupted"
    ]


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_dead_recorders_call_is_interrupted_once(start: Callable[..., Trail], durability: Durability) -> None:
    trail = start(durability=durability)
    with dying_client(trail, "wait") as process:
        process.kill()  # and nobody reaps it yet: it does not run all the same
        wait_for(lambda: interrupted(trail) == ["i1"])
    trail.close()
    assert interrupted(trail) == ["i1"]


def test_a_call_that_dies_while_its_intent_is_on_its_way_to_the_disk(start: Callable[..., Trail]) -> None:
    trail = start(durability="disk")
    with trail.opened.writer._lock, dying_client(trail) as process:
        wait_for(lambda: any(peer.waiting for peer in trail.hub._peers.values()))
        process.kill()
        wait_for(lambda: trail.hub._lingering)
    wait_for(lambda: interrupted(trail) == ["i1"])
    trail.close()
    assert interrupted(trail) == ["i1"]


def test_a_living_recorders_call_is_not_interrupted(start: Callable[..., Trail]) -> None:
    trail = start()
    raw = Raw(trail)
    raw.send(wire.Put(1, "i1", msgspec.Raw(body("i1", "mcp_operation_started")), "i1"))
    raw.acknowledged(1)
    raw.sock.close()
    wait_for(lambda: trail.hub._calls.ids == {"i1"})
    raw = Raw(trail)
    outcome = body("o1", request={"intent": "i1"}, outcome={"status": "success", "kind": "completed"})
    raw.send(wire.Put(1, "o1", msgspec.Raw(outcome), "", "i1"))
    raw.acknowledged(1)
    trail.close()
    assert interrupted(trail) == []
    assert trail.hub.open_calls == frozenset()


def test_who_says_good_bye_leaves_no_open_call(trail: Trail) -> None:
    raw = Raw(trail)
    raw.send(wire.Put(1, "i1", msgspec.Raw(body("i1", "mcp_operation_started")), "i1"), wire.Bye())
    wait_for(lambda: interrupted(trail) == ["i1"])


def test_an_interruption_that_cannot_be_written_is_written_later(trail: Trail) -> None:
    with dying_client(trail, "wait") as process:
        with faulty(Disk("no-space", 0, run=1 << 30)):
            process.kill()
            wait_for(lambda: trail.hub._calls._failing)
        trail.opened.writer.try_again()
        wait_for(lambda: interrupted(trail) == ["i1"])


@pytest.mark.parametrize("hint", [True, False])
def test_a_living_recorders_call_survives_a_clean_hand_over(start: Callable[..., Trail], hint: bool) -> None:
    first = start()
    with dying_client(first, "wait") as process:
        first.close()
        if not hint:
            first.layout.state.unlink()
        second = start()
        assert second.hub._calls.ids == {"i1"}
        assert interrupted(second) == []
        process.kill()
        wait_for(lambda: interrupted(second) == ["i1"])
    second.close()
    assert interrupted(start()) == ["i1"]


def test_a_pid_that_is_used_again_saves_no_call(
    start: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indelible.trail.sharing.calls.GRACE_S", 0.3)
    trail = start()
    raw = Raw(trail)
    old = orjson.loads(body("i1", "mcp_operation_started")) | {"timestamp": "2026-01-01T00:00:00.000000Z"}
    raw.send(
        wire.Put(1, "i1", msgspec.Raw(orjson.dumps(old)), "i1"),  # from before this process began
        wire.Put(2, "i2", msgspec.Raw(body("i2", "mcp_operation_started")), "i2"),
    )
    raw.acknowledged(2)
    raw.sock.close()
    wait_for(lambda: interrupted(trail) == ["i1"])
    wait_for(lambda: trail.hub._calls.ids == {"i2"})


def test_a_recorder_that_comes_again_in_the_same_moment_in_which_it_went(start: Callable[..., Trail]) -> None:
    """The new connection is seen first, and what the old one brought is settled for it: then the old one is no more."""
    trail = start()
    other, old = Raw(trail, "other"), Raw(trail, "again")
    writer = trail.opened.writer
    with writer._lock:  # the hub's thread waits in a write, while what follows comes
        other.send(put(1, name="other"))
        waiting = time.monotonic() + LIMIT_S
        while not any(peer.recorder == "other" and peer._last for peer in trail.hub._peers.values()):
            assert time.monotonic() < waiting
            time.sleep(0.005)
        new = Raw(trail, None)
        new.send(wire.Hello(wire.VERSION, "again", os.getpid()))
        old.send(put(1, "00000000-0000-4000-8000-000000000001", name="again"))
        old.sock.close()
    assert isinstance(new.next(), wire.Welcome)
    new.send(put(1, "00000000-0000-4000-8000-000000000001", name="again", again=True))
    new.acknowledged(1)
    other.acknowledged(1)
    assert trail.hub.is_alive
    assert trail.ids().count("00000000-0000-4000-8000-000000000001") == 1


def test_many_calls_that_are_left_open_keep_nobody_waiting(
    start: Callable[..., Trail], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their process is looked at once for all of them; when it has gone, others have their turn in between."""
    looks: Counter[int] = Counter()
    alive = [True]

    def runs(pid: int) -> bool:
        looks[pid] += 1
        return alive[0]

    monkeypatch.setattr("indelible.trail.sharing.processes.runs", runs)
    monkeypatch.setattr("indelible.trail.sharing.processes.began", lambda _: time.time() - 3600)
    trail = start()
    raw, other = Raw(trail), Raw(trail, "other")
    for first in range(1, 601, 200):
        sent = [(at, f"i{at}") for at in range(first, first + 200)]
        raw.send(
            *(wire.Put(at, i, msgspec.Raw(body(i, "mcp_operation_started")), i) for at, i in sent),
        )
        raw.acknowledged(sent[-1][0])
    raw.sock.close()
    wait_for(lambda: len(trail.hub._calls.ids) == 600)
    looks.clear()
    began = time.monotonic()
    for number in range(1, 201):
        other.send(put(number, name="other"))
        other.acknowledged(number)
    assert (
        looks.total() <= 2 + (time.monotonic() - began) / calls.LOOK_S
    )  # once a look, not for each call and event
    alive[0] = False
    wait_for(lambda: len(interrupted(trail)) >= calls.MAX_AT_ONCE)
    trail.close()
    assert sorted(interrupted(trail)) == sorted(f"i{at}" for at in range(1, 601))
