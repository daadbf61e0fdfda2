"""Orders: carried out by whoever holds the trail, once, whole, and answered in one line when they are not."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import verify
from indelible.config import AuditSettings
from indelible.errors import ConfigError, IndelibleError, NotProven, TrailError, TrailLocked, WireError
from indelible.trail.layout import Layout
from indelible.trail.sharing import wire
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.sharing.sockets import connect, listen
from indelible.trail.upkeep import duties, housekeeping, manage, orderdesk, orders
from indelible.trail.upkeep.orders import Asker, Reloaded, Retain

LIMIT_S = 30.0
AUDIT = AuditSettings()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def holder(path: Path) -> Iterator[SharedWriter]:
    shared = SharedWriter(path, AUDIT, "holder")
    yield shared
    shared.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Duty:
    """What a test has done in the place of an order's own duty."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[], dict[str, Any]]) -> None:
        self.askers: list[Asker] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.done = 0

        def carry_out(_writer: object, _order: object, asker: Asker) -> dict[str, Any]:
            self.askers.append(asker)
            self.begun.set()
            assert self.go_on.wait(LIMIT_S)
            result = act()
            self.done += 1
            return result

        monkeypatch.setattr(duties, "DUTIES", {Retain: carry_out})


@pytest.fixture
def duty(monkeypatch: pytest.MonkeyPatch) -> Duty:
    return Duty(monkeypatch, lambda: {"it": "is done"})


class Given(threading.Thread):
    """An order that is given on a thread of its own."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.result: dict[str, Any] | IndelibleError | None = None
        self.waits_for: list[int] = []
        self.start()

    def run(self) -> None:
        try:
            self.result = manage.manage(self.path, AUDIT, Retain(), self.waits_for.append)
        except IndelibleError as exc:
            self.result = exc

    def end(self) -> dict[str, Any] | IndelibleError | None:
        self.join(LIMIT_S)
        assert not self.is_alive()
        return self.result


# --- the words ------------------------------------------------------------------------------------------------------


def test_every_order_has_a_duty_and_is_announced() -> None:
    kinds = get_args(orders.Order) or (orders.Order,)
    assert set(duties.DUTIES) == set(kinds)
    assert duties.known() == [orders.name(kind) for kind in duties.DUTIES]
    assert len(set(duties.known())) == len(kinds)


@given(st.binary(max_size=60))
def test_what_is_no_order_is_one_error(data: bytes) -> None:
    with pytest.raises(WireError, match="no order that is known here"):
        orders.decode(data)


def test_an_order_comes_out_as_it_went_in() -> None:
    assert orders.decode(orders.encode(Retain())) == Retain()


ID = "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a"


@pytest.mark.parametrize(
    "order",
    [
        Reloaded(id="x", added=["siem"]),
        Reloaded(id=ID, added=["si em"]),
        Reloaded(id=ID, removed=["a\n"]),
        Reloaded(id=ID, changed=["x"] * 65),
        Reloaded(id=ID + "\n"),
    ],
)
def test_a_change_of_sinks_names_sinks_and_nothing_else(order: Reloaded) -> None:
    with pytest.raises(WireError, match="no order that is known here"):
        orders.decode(orders.encode(order))


def test_a_change_of_sinks_is_on_record_once_however_often_it_is_told(path: Path, holder: SharedWriter) -> None:
    """Told twice, since the one who tells cannot know whether a holder that died had done it."""
    told = Reloaded(id=ID, added=["siem"], removed=["a.log", "b.log"])
    for order in (told, told, Reloaded(id=ID.replace("0", "1"), changed=["siem"])):
        assert manage.through_holder(Layout(path), order) == {}
    holder.close()
    assert manage.through_holder(Layout(path), told) is None, "nobody holds it: nothing is written"
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    found = [one["metadata"] for one in entries if one["event_type"] == "config_reloaded"]
    assert [one["sinks"] for one in found] == [
        {"added": ["siem"], "removed": ["a.log", "b.log"]},
        {"changed": ["siem"]},
    ]
    assert [(one["order"], one["asked"]["pid"]) for one in found] == [
        (ID, os.getpid()), (ID.replace("0", "1"), os.getpid()),
    ]  # fmt: skip
    assert verify(path).ok


def test_a_result_that_is_too_long_is_cut_and_says_so() -> None:
    long = msgspec.json.decode(orders.encode_result({"files": ["x" * 99] * 9000, "more": 7}))
    assert long == {"files": ["x" * 99] * orders.MAX_LISTED, "more": 7, "cut": True}
    assert msgspec.json.decode(orders.encode_result({"text": "x" * 999_999})) == {"cut": True}
    assert msgspec.json.decode(orders.encode_result({"files": list(range(999))})) == {"files": list(range(999))}


# --- who carries it out ---------------------------------------------------------------------------------------------


def test_nobody_holds_the_trail(path: Path, duty: Duty) -> None:
    SharedWriter(path, AUDIT, "before").close()
    duty.go_on.set()
    assert manage.manage(path, AUDIT, Retain()) == {"it": "is done"}
    assert verify(path).ok
    assert not Layout(path).socket.exists()


def test_no_trail_is_made(path: Path) -> None:
    with pytest.raises(TrailError, match="there is no trail here"):
        manage.manage(path, AUDIT, Retain())
    assert list(path.parent.iterdir()) == []


def test_the_holder_carries_it_out_and_goes_on_writing(path: Path, holder: SharedWriter, duty: Duty) -> None:
    given = Given(path)
    assert duty.begun.wait(LIMIT_S)
    other = SharedWriter(path, AUDIT, "other")
    assert other.holder is None
    for shared in (holder, other):
        shared.append(*shared.service_event("alert", {}))
    duty.go_on.set()
    assert given.end() == {"it": "is done"}
    assert given.waits_for == [holder.recorder.pid]
    assert [asker.uid for asker in duty.askers] == [holder.recorder.uid]
    other.close()


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (NotProven("it is held"), NotProven, 1),
        (ConfigError("no such hold"), ConfigError, 2),
        (TrailError("full"), TrailError, 3),
        (OSError(28, "No space left on device", "somewhere"), TrailError, 3),
        (ZeroDivisionError("a bug"), TrailError, 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_the_same_wherever_the_trail_is_held(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], code: int, held: bool
) -> None:
    def fail() -> dict[str, Any]:
        raise error

    Duty(monkeypatch, fail).go_on.set()
    shared = SharedWriter(path, AUDIT, "holder")
    if not held:
        shared.close()
    with pytest.raises(kind) as caught:
        manage.manage(path, AUDIT, Retain())
    assert isinstance(caught.value, IndelibleError)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert "deleted" in manage.manage(path, AUDIT, Retain())  # whoever carried it out is well
    shared.close()


# --- what goes wrong ------------------------------------------------------------------------------------------------


_sockets: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _all_sockets_are_closed() -> Iterator[None]:
    yield
    while _sockets:
        _sockets.pop().close()


def give(layout: Layout) -> socket.socket:
    sock = connect(layout.socket, LIMIT_S)
    _sockets.append(sock)
    sock.sendall(wire.pack(wire.Order(orders.encode(Retain()))))
    return sock


def hear(sock: socket.socket) -> wire.ToRecorder:
    messages = wire.Messages()
    while data := sock.recv(65536):
        if whole := messages.feed(data):
            message: wire.ToRecorder = wire.decode_to_recorder(whole[0])
            return message
    raise ConnectionResetError


def test_who_hangs_up_before_it_was_begun_has_ordered_nothing(holder: SharedWriter, duty: Duty) -> None:
    first = give(holder.layout)
    assert duty.begun.wait(LIMIT_S)
    assert holder.holder is not None
    keeper = holder.holder.housekeeper
    second = give(holder.layout)
    until(lambda: len(keeper._tasks) == 1)
    second.close()
    until(lambda: not keeper._tasks)
    duty.go_on.set()
    assert isinstance(hear(first), wire.Done)
    first.close()
    assert duty.done == 1


def test_what_was_begun_is_finished_though_nobody_waits(holder: SharedWriter, duty: Duty) -> None:
    sock = give(holder.layout)
    assert duty.begun.wait(LIMIT_S)
    sock.close()
    duty.go_on.set()
    until(lambda: duty.done == 1)


def test_a_holder_that_ends_finishes_what_it_has_begun_and_leaves_the_rest_to_the_next(
    path: Path, duty: Duty
) -> None:
    holder = SharedWriter(path, AUDIT, "holder")
    first = Given(path)
    assert duty.begun.wait(LIMIT_S)
    second = Given(path)
    assert holder.holder is not None
    keeper = holder.holder.housekeeper
    until(lambda: len(keeper._tasks) == 1)
    closing = threading.Thread(target=holder.close)
    closing.start()
    until(lambda: keeper._closing)
    duty.go_on.set()
    closing.join(LIMIT_S)
    assert [first.end(), second.end()] == [{"it": "is done"}] * 2
    assert duty.done == 2
    assert verify(path).ok


def test_more_orders_than_may_wait_are_refused(
    holder: SharedWriter, duty: Duty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "MAX_ORDERS", 2)
    first = give(holder.layout)
    assert duty.begun.wait(LIMIT_S)
    waiting = [give(holder.layout) for _ in range(3)]
    (one,), _, _ = select.select(waiting, [], [], LIMIT_S)  # who came last is not always who asked last
    answer = hear(one)
    assert isinstance(answer, wire.Refused)
    assert "try again later" in answer.error
    duty.go_on.set()
    waiting.remove(one)
    for sock in (first, *waiting):
        assert isinstance(hear(sock), wire.Done)


def test_two_orders_at_once_on_one_connection_are_cut_off(holder: SharedWriter, duty: Duty) -> None:
    sock = give(holder.layout)
    assert duty.begun.wait(LIMIT_S)
    sock.sendall(wire.pack(wire.Order(orders.encode(Retain()))))
    assert sock.recv(1) == b""
    duty.go_on.set()


def test_an_unknown_order_is_refused(holder: SharedWriter) -> None:
    with connect(holder.layout.socket, LIMIT_S) as sock:
        sock.sendall(wire.pack(wire.Order(msgspec.Raw(b'{"order":"self-destruct"}'))))
        answer = hear(sock)
    assert isinstance(answer, wire.Refused)
    assert "no order that is known here" in answer.error


@pytest.mark.parametrize(("uid", "taken"), [(0, True), (4711, False)])
def test_only_the_holders_user_and_root_give_orders(
    holder: SharedWriter, duty: Duty, monkeypatch: pytest.MonkeyPatch, uid: int, taken: bool
) -> None:
    from indelible.trail.sharing.doors import Family
    from indelible.trail.sharing.peer import Peer

    monkeypatch.setattr(os, "getuid", lambda: 1000)
    duty.go_on.set()
    assert holder.holder is not None
    answered = threading.Event()
    desk = orderdesk.OrderDesk(holder.holder.housekeeper, answered.set)
    ours, theirs = socket.socketpair()
    _sockets.extend((ours, theirs))
    desk.take(Peer(ours, 1, uid, Family(ours)), wire.Order(orders.encode(Retain())))
    if taken:
        assert answered.wait(LIMIT_S)
    [(_, answer)] = desk.answers()
    assert isinstance(answer, wire.Done if taken else wire.Refused)
    assert duty.done == taken


class Other(threading.Thread):
    """A holder that answers as it is told to, message by message, and then hangs up."""

    def __init__(self, path: Path, *answers: wire.ToRecorder | None) -> None:
        super().__init__(daemon=True)
        self.answers = answers
        self.over = threading.Event()
        Layout(path).directory.mkdir(exist_ok=True)
        self.listener = listen(Layout(path).socket)
        self.start()

    def run(self) -> None:
        sock, _ = self.listener.accept()
        with sock:
            for answer in self.answers:
                sock.recv(65536)
                if answer is None:
                    assert self.over.wait(LIMIT_S)
                else:
                    sock.sendall(wire.pack(answer))
        self.listener.close()


def test_a_holder_of_an_older_version_is_one_clear_line(path: Path) -> None:
    Other(path, wire.HolderState([]))
    with pytest.raises(TrailLocked, match="is of a version that does not know 'retain'"):
        manage.manage(path, AUDIT, Retain())


def test_a_holder_that_does_not_answer_is_one_clear_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manage, "GREETING_S", 0.2)
    other = Other(path, None)
    with pytest.raises(TrailLocked, match="holds the trail and does not answer"):
        manage.manage(path, AUDIT, Retain())
    other.over.set()


def test_another_users_holder_is_one_clear_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    SharedWriter(path, AUDIT, "before").close()
    monkeypatch.setattr(manage, "connect", refuse)
    with pytest.raises(TrailLocked, match="answers only to the user who writes the trail"):
        manage.manage(path, AUDIT, Retain())


def test_an_order_whose_holder_died_is_given_to_the_next(path: Path, duty: Duty) -> None:
    SharedWriter(path, AUDIT, "before").close()
    duty.go_on.set()
    state = wire.HolderState([], orders=["retain"])
    Other(path, state)  # hangs up when it has the order
    assert manage.manage(path, AUDIT, Retain()) == {"it": "is done"}


@pytest.mark.parametrize("answer", [wire.Ack(1), wire.Welcome(1, "o", "disk", 1, "", "")])
def test_an_answer_that_is_none_is_one_clear_line(path: Path, answer: wire.ToRecorder) -> None:
    Other(path, wire.HolderState([], orders=["retain"]), answer)
    with pytest.raises(TrailError, match="expected what came of the order"):
        manage.manage(path, AUDIT, Retain())
