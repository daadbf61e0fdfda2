"""One sink's way: nothing is missing, the cursor never runs ahead, and a failure costs only time."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import structs

from indelible.errors import ConfigError
from indelible.formats.record import Record
from indelible.shipper import lane as lane_module
from indelible.shipper import pace, route
from indelible.shipper.lane import Lane, Parts
from indelible.shipper.place import Place
from indelible.sinks.base import Delivery, Shipment, SinkUnavailable
from indelible.trail.durable import Access
from indelible.trail.files import TrailFile
from indelible.trail.layout import Layout
from indelible.trail.shipping import cursor, letters, request, state
from indelible.trail.shipping.request import Request
from indelible.trail.upkeep.rewrite import Mark, rewrite
from tests.effort import examples
from tests.trails import ERASURE, KEY, ORIGIN, Maker, operation
from tests.unit.shipper.shipping import FakeSink, IdlingSink, Running, lane, parts, settings, until


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are `pace`'s to test."""
    monkeypatch.setattr(pace, "FIRST_S", 0.001)
    monkeypatch.setattr(pace, "CAP_S", 0.01)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "a.jsonl").add_many(20).seal()


@pytest.fixture
def running() -> Iterator[Running]:
    lanes = Running()
    yield lanes
    lanes.end()


def at(maker: Maker, sink: str = "s") -> int | None:
    found = cursor.read(maker.layout, sink)
    return None if found is None else found.next


def test_beside_a_recorder_it_rests_for_what_a_batch_took_of_a_processor_until_the_end_is_near(
    maker: Maker, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Taxing(FakeSink):
        def send(self, shipments: Sequence[Shipment]) -> Delivery:
            begun = time.thread_time()
            while time.thread_time() < begun + 0.01:
                pass
            return super().send(shipments)

    monkeypatch.setattr(lane_module, "REST", 60_000.0)  # 10 minutes for what the sink takes
    sinks = {name: Taxing() for name in ("rests", "hurries", "alone")}
    lanes = {name: lane(maker.layout.active, sink, name=name) for name, sink in sinks.items()}
    lanes["hurries"].hurry()
    for name, one in lanes.items():
        running.start(one, rests=name != "alone")
    until(lambda: all(sink.seqs == list(range(21)) for sink in sinks.values()))
    maker.add_many(3).seal()
    until(lambda: sinks["hurries"].seqs == sinks["alone"].seqs == list(range(24)))
    assert sinks["rests"].seqs == list(range(21))
    lanes["rests"].stop()  # it does not sleep through that
    assert lanes["rests"].join(60)


def test_it_ships_what_is_sealed_and_what_comes(maker: Maker, running: Running) -> None:
    maker.add_many(3)
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    assert sink.seqs == list(range(21))  # three more are not sealed
    line = maker.layout.active.read_bytes().splitlines()[1]
    assert sink.taken[1] == Shipment(line, 1, "00000000-0000-4000-8000-000000000001", "s1", ORIGIN, 1, line)

    maker.seal()
    until(lambda: at(maker) == 24)
    assert sink.seqs == list(range(24))
    until(lambda: state.read(maker.layout, "s").state == "waiting")
    about = state.read(maker.layout, "s")
    assert (about.taken, about.refused, about.lost, about.type, about.format) == (24, 0, 0, "fake", "indelible")


def test_a_new_sink_begins_now_unless_it_says_otherwise(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink, start="now"))
    until(lambda: at(maker) == 21)
    maker.add_many(2).seal()
    until(lambda: at(maker) == 23)
    assert sink.seqs == [21, 22]


def test_beginning_is_the_oldest_event_that_is_there(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(3)
    closed = maker.rotate()
    maker.seal()
    maker.delete_file(closed)
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == maker.seq)
    assert sink.seqs == list(range(4, maker.seq))
    assert state.read(maker.layout, "s").lost == 0


def test_history_that_is_deleted_is_lost_only_where_the_sink_never_had_it(
    tmp_path: Path, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(3)
    first = maker.rotate()
    maker.add_many(3)
    second = maker.rotate()
    maker.seal()
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 9)
    maker.delete_file(first)
    until(lambda: at(maker) == 10)
    request.put(maker.layout, "s", Request(origin=maker.origin, begin=0), Access())
    until(lambda: sink.seqs[10:] == [4, 5, 6, 7, 8, 9])
    running.end()
    assert state.read(maker.layout, "s").lost == 0
    assert "begins again at event 4, as it was asked to; from 0 on they are deleted" in caplog.text

    cursor.write(maker.layout, cursor.Cursor(sink="s", origin=maker.origin, next=6), Access())
    maker.delete_file(second)
    request.put(maker.layout, "s", Request(origin=maker.origin, begin=2), Access())
    running.start(lane(maker.layout.active, sink))
    until(lambda: sink.seqs[16:] == [8, 9, 10])
    until(lambda: state.read(maker.layout, "s").lost == 2)
    assert "events 6 to 7 of" in caplog.text


def test_the_cursor_stands_after_what_the_sink_is_not_for(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink, filter={"kind": "denied"}))
    until(lambda: at(maker) == 21)
    assert not sink.taken
    maker.add(operation(21, outcome={"status": "error", "kind": "denied"}))
    maker.add_many(2).seal()
    until(lambda: at(maker) == 24)
    assert sink.seqs == [21]


def test_what_was_not_taken_is_sent_again_from_there(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    sink.plan = [
        SinkUnavailable("away"),
        SinkUnavailable("half", Delivery(5)),
        Delivery(3),
        ConnectionResetError(104, "reset"),
        RuntimeError("of another package"),
        Delivery(0),
    ]
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    assert sink.seqs == list(range(21))
    assert [seqs[0] for seqs in sink.sent] == [0, 0, 5, 8, 8, 8, 8]
    assert sink.opened == 6 and sink.closed == 5  # noqa: PT018 - after each failure it is opened anew


class Key(dict[str, str]):
    def __missing__(self, key: str) -> str:
        raise KeyError(key)


def test_what_another_package_raises_is_said_without_its_text(
    maker: Maker, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """It may quote an event, and neither a state nor a log is what an erasure reaches."""
    sink = FakeSink()
    try:
        Key()["ada's number is 4711"]
    except KeyError as exc:
        sink.plan = [exc, SinkUnavailable("away", retry_after=30.0)]
    running.start(lane(maker.layout.active, sink))
    until(lambda: state.read(maker.layout, "s").failures == 2)
    assert "4711" not in caplog.text
    assert "sink s (fake): internal error: KeyError (" in caplog.text
    assert ".py, line " in caplog.text


class Quitting(FakeSink):
    """Another package's, which ends the process when it does not like something."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where: str | None = where

    def _quit(self, where: str) -> None:
        if self.where == where:
            self.where = None
            sys.exit(1)

    def open(self) -> None:
        self._quit("open")
        super().open()

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        self._quit("send")
        return super().send(shipments)


@pytest.mark.parametrize("where", ["open", "send"])
def test_a_sink_that_quits_ends_nothing(
    maker: Maker, running: Running, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """A thread that SystemExit ends says nothing, and whoever waits for it would wait for ever."""
    sink = Quitting(where)
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == maker.seq)
    assert sink.seqs == list(range(maker.seq))
    assert "sink s (fake): internal error: SystemExit" in caplog.text


def test_a_cause_is_said_once(maker: Maker, running: Running, caplog: pytest.LogCaptureFixture) -> None:
    sink = FakeSink()
    sink.plan = [SinkUnavailable(("away", "refused")[number % 2]) for number in range(20)]
    with caplog.at_level(logging.WARNING, "indelible"):
        running.start(lane(maker.layout.active, sink))
        until(lambda: at(maker) == 21)
        until(lambda: any("shipped again" in record.message for record in caplog.records))
    assert [record.message for record in caplog.records] == [
        "sink s (fake): away", "sink s (fake): refused", "sink s: events are shipped again"
    ]  # fmt: skip


def test_a_state_says_what_is_wrong_and_that_it_is_well_again(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    sink.plan = [SinkUnavailable("the destination is away", retry_after=30.0)]
    running.start(lane(maker.layout.active, sink))
    until(lambda: state.read(maker.layout, "s").state == "unavailable")
    about = state.read(maker.layout, "s")
    assert (about.error, about.failures, at(maker)) == ("the destination is away", 1, 0)
    running.end()
    assert len(sink.sent) == 1  # it was left alone, as it asked
    assert state.read(maker.layout, "s").state == "stopped"
    running.start(lane(maker.layout.active, sink))
    until(lambda: state.read(maker.layout, "s").state == "waiting")
    about = state.read(maker.layout, "s")
    assert (about.error, about.failures, about.taken) == (None, 0, 21)


@pytest.mark.parametrize("failure", [ConfigError("no such format"), ModuleNotFoundError("pigeons")])
def test_a_sink_that_cannot_be_made_is_unavailable_and_keeps_its_place(
    maker: Maker, running: Running, failure: Exception
) -> None:
    cursor.write(maker.layout, cursor.Cursor(sink="s", origin=maker.origin, next=7), Access())
    sink = FakeSink()
    broken = [True]

    def make(_: Any) -> FakeSink:
        if broken:
            raise failure
        return sink

    running.start(Lane(maker.layout, settings(), Parts(parts(sink).make_format, make), Access()))
    until(lambda: state.read(maker.layout, "s").failures > 2)
    assert str(failure) in str(state.read(maker.layout, "s").error)
    assert at(maker) == 7
    broken.clear()
    until(lambda: at(maker) == 21)
    assert sink.seqs == list(range(7, 21))


def test_a_cursor_beyond_the_end_is_said_until_somebody_decides(maker: Maker, running: Running) -> None:
    """The trail was put back to an earlier state: to wait would leave out as much of its new history."""
    beyond = cursor.Cursor(sink="s", origin=maker.origin, next=maker.seq + 100)
    cursor.write(maker.layout, beyond, Access())
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: state.read(maker.layout, "s").state == "unavailable")
    assert f"stands at event {beyond.next}, and only {maker.seq} are sealed" in str(
        state.read(maker.layout, "s").error
    )
    assert at(maker) == beyond.next
    request.put(maker.layout, "s", Request(origin=maker.origin, begin=5), Access())
    until(lambda: at(maker) == maker.seq)
    assert sink.seqs == list(range(5, maker.seq))


def test_a_cursor_that_cannot_be_read_is_not_begun_anew(maker: Maker, running: Running) -> None:
    maker.layout.cursors.mkdir()
    cursor.path_of(maker.layout, "s").write_bytes(b'{"sink":"s"')
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: state.read(maker.layout, "s").state == "unavailable")
    assert "is no cursor" in str(state.read(maker.layout, "s").error)
    assert not sink.sent
    cursor.path_of(maker.layout, "s").unlink()
    until(lambda: at(maker) == 21)


def test_what_is_refused_for_good_holds_up_nothing(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    sink.plan = [SinkUnavailable("away", Delivery(10, [(3, "too odd"), (4, "too long"), (99, "is not there")]))]
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    assert sink.seqs == [seq for seq in range(21) if seq not in (3, 4)]
    dead = list(letters.read(maker.layout))
    assert [(one.seq, one.reason, one.sink, one.origin) for one in dead] == [
        (3, "too odd", "s", maker.origin), (4, "too long", "s", maker.origin)
    ]  # fmt: skip
    assert dead[0].data == maker.layout.active.read_bytes().splitlines()[3]
    assert letters.path_of(maker.layout).stat().st_mode & 0o777 == 0o600
    assert letters.counts(maker.layout) == {"s": 2}
    until(lambda: state.read(maker.layout, "s").taken == 19)
    assert state.read(maker.layout, "s").refused == 2


def test_a_dead_letter_of_what_is_erased_meanwhile_does_not_stay(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(9)
    closed = maker.rotate()
    maker.seal()

    class Erasing(FakeSink):
        def send(self, shipments: Sequence[Shipment]) -> Delivery:
            rewrite(TrailFile(closed, 0, compressed=False), [Mark(3, 3, ERASURE)], Access())
            return super().send(shipments)

    sink = Erasing()
    sink.plan = [Delivery(11, [(3, "no"), (5, "no")])]
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 11)
    assert [one.seq for one in letters.read(maker.layout)] == [5]


def test_what_has_no_record_is_refused_by_its_seq(maker: Maker, running: Running) -> None:
    maker.raw(b'{"seq":21,"schema":1,"source":7}\n')
    maker.seq = 22
    maker.add_many(2)
    _claim(maker, 24)
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 24)
    assert sink.seqs == [*range(21), 22, 23]
    [dead] = letters.read(maker.layout)
    assert dead.seq == 21
    assert dead.reason.startswith("no entry of a trail")


def _claim(maker: Maker, size: int) -> None:
    from indelible.trail.proofs.checkpoint import Checkpoint

    maker.layout.checkpoint.write_text(maker.signer.sign(Checkpoint(maker.origin, size, bytes(32)).text()))


def test_dead_letters_are_sent_again_when_somebody_asks(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    sink.plan = [Delivery(21, [(3, "no"), (4, "no"), (5, "no")])]
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    sink.plan = [SinkUnavailable("not now"), Delivery(3, [(1, "still no")])]
    request.put(maker.layout, "s", Request(letters=True), Access())
    until(lambda: request.read(maker.layout, "s") is None)
    assert sink.seqs[-2:] == [3, 5]
    assert [one.seq for one in letters.read(maker.layout)] == [4]
    request.put(maker.layout, "s", Request(letters=True), Access())
    until(lambda: not letters.path_of(maker.layout).exists())
    assert sink.seqs[-1] == 4
    before, again = sink.taken[4], sink.taken[-1]
    assert again == structs.replace(
        before, record=again.record, seq=4, event_id=again.event_id, line=again.line
    ), "it is sent as it was the first time: with its key, too"
    assert again.record == again.line


def test_what_had_no_record_is_rendered_when_it_is_asked_for(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    broken = [True]

    class Format:
        holds: frozenset[str] | None = None

        def render(self, record: Record) -> bytes:
            if broken and record.entry.seq in (4, 9):
                raise KeyError("a fault")
            return b"%d" % record.entry.seq

    running.start(Lane(maker.layout, settings(), Parts(lambda _: Format(), lambda _: sink), Access()))
    until(lambda: at(maker) == 21)
    assert [(one.seq, one.reason, one.data) for one in letters.read(maker.layout)] == [
        (4, "indelible: KeyError: 'a fault'", b""), (9, "indelible: KeyError: 'a fault'", b"")
    ]  # fmt: skip
    broken.clear()
    request.put(maker.layout, "s", Request(letters=True), Access())
    until(lambda: not letters.path_of(maker.layout).exists())
    assert [one.record for one in sink.taken[-2:]] == [b"4", b"9"]


def test_a_full_disk_beside_the_trail_costs_repeats_and_no_event(
    maker: Maker, running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cursor.write(maker.layout, cursor.Cursor(sink="s", origin=maker.origin, next=0), Access())
    full, write = [True], cursor.write

    def fail(*args: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        write(*args)

    monkeypatch.setattr(cursor, "write", fail)
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: len(sink.taken) == 21)
    maker.add_many(2).seal()
    until(lambda: len(sink.taken) == 23)
    assert at(maker) == 0
    full.clear()
    until(lambda: at(maker) == 23)
    assert sink.seqs == list(range(23))
    assert caplog.text.count("its place cannot be written: No space left on device") == 1


def test_it_begins_again_where_somebody_asks(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    request.put(maker.layout, "s", Request(origin=maker.origin, begin=18), Access())
    until(lambda: len(sink.taken) == 24)
    assert sink.seqs == [*range(21), 18, 19, 20]


def test_the_end_waits_for_what_is_under_way_and_is_cut_off(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    sink.hanging.set()
    one = running.start(lane(maker.layout.active, sink))
    until(lambda: sink.sent)
    one.stop()
    assert not one.join(0.05)
    sink.hanging.clear()  # it answers after all
    assert one.join(60)
    assert at(maker) == 21
    assert len(sink.sent) == 1
    hanging = FakeSink()
    hanging.hanging.set()
    maker.add_many(1).seal()
    two = running.start(lane(maker.layout.active, hanging))
    until(lambda: hanging.sent)
    two.stop()
    two.cut_off()
    assert two.join(60)
    assert at(maker) == 21


def test_a_sink_that_hangs_holds_up_no_other(maker: Maker, running: Running) -> None:
    hanging, well = FakeSink(), FakeSink()
    hanging.hanging.set()
    for name, sink in (("hangs", hanging), ("well", well)):
        running.start(lane(maker.layout.active, sink, name=name))
    until(lambda: at(maker, "well") == 21)
    until(lambda: hanging.sent)
    assert (at(maker, "hangs"), hanging.taken) == (0, [])


def _set_aside(maker: Maker, name: str) -> Layout:
    """Move a trail where `retire` moves it."""
    place = Layout(maker.layout.retired / name / maker.layout.active.name)
    place.directory.mkdir(parents=True)
    for path in maker.layout.directory.iterdir():
        if path.name not in ("retired", "cursors"):
            path.rename(place.directory / path.name)
    maker.layout.active.rename(place.active)
    return place


def _successor(maker: Maker, number: int, named: str | None) -> Maker:
    from indelible.trail.proofs.checkpoint import Signer

    origin = f"indelible/{number:032x}"
    aside = maker.layout.directory / "segments"
    assert not aside.exists()
    new = Maker(maker.layout.active, origin=origin, signer=Signer(origin, KEY))
    line = json.loads(new.layout.active.read_bytes())
    if named is not None:
        line["metadata"]["previous"] = {"origin": named, "size": 0}
    new.layout.active.write_bytes(json.dumps(line, separators=(",", ":")).encode() + b"\n")
    return new


def test_the_rest_of_a_trail_that_was_set_aside_comes_first(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    one = running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    one.stop()
    assert one.join(60)
    maker.add_many(4).seal()
    _set_aside(maker, "one")
    second = _successor(maker, 2, maker.origin).add_many(2).seal()
    _set_aside(second, "two")
    third = _successor(second, 3, second.origin).add_many(1).seal()
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 2)
    assert sink.seqs == [*range(25), 0, 1, 2, 0, 1]
    found = cursor.read(maker.layout, "s")
    assert found is not None
    assert found.origin == third.origin


def test_a_trail_that_is_set_aside_while_it_is_shipped(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    _set_aside(maker, "one")
    _successor(maker, 2, maker.origin).add_many(2).seal()
    until(lambda: at(maker) == 3)
    assert sink.seqs == [*range(21), 0, 1, 2]


def test_a_goal_in_a_trail_whose_files_are_gone_is_waited_for_no_longer(maker: Maker) -> None:
    sink = FakeSink()
    one = lane(maker.layout.active, sink)
    one.start(1)
    until(lambda: at(maker) == 21)
    one.stop()
    assert one.join(60)
    goal = route.Sealed(maker.layout, maker.origin, maker.add_many(4).seal().tree.size)
    shutil.rmtree(_set_aside(maker, "one").active.parent)
    _successor(maker, 2, maker.origin).add_many(2).seal()
    two = lane(maker.layout.active, sink)
    two.start(1, goal)
    assert two.done.wait(60)
    two.stop()
    assert two.join(60)


def test_a_goal_before_the_trail_that_a_new_sink_begins_with_is_not_waited_for(maker: Maker) -> None:
    """It was set aside, files and all, between the look at what is sealed and the sink's first one."""
    goal = route.Sealed(maker.layout, maker.origin, maker.seq)
    _set_aside(maker, "one")
    _successor(maker, 2, maker.origin).add_many(2).seal()
    one = lane(maker.layout.active, FakeSink(), start="now")
    one.start(1, goal)
    assert one.done.wait(60)
    one.stop()
    assert one.join(60)


def test_a_trail_that_nothing_names_is_left_behind_and_that_is_said(
    maker: Maker, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    cursor.write(maker.layout, cursor.Cursor(sink="s", origin="indelible/gone", next=7), Access())
    sink = FakeSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    assert sink.seqs == list(range(21))
    assert "indelible/gone ends at event 7, and what came after that is not there" in caplog.text
    assert route.after(maker.layout, maker.origin) is None


ANSWERS = st.lists(
    st.one_of(
        st.tuples(st.just("takes"), st.integers(0, 8), st.sets(st.integers(0, 7), max_size=3)),
        st.tuples(st.just("fails"), st.integers(0, 8), st.sets(st.integers(0, 7), max_size=2)),
        st.tuples(st.just("dies"), st.just(0), st.just(set[int]())),
    ),
    max_size=12,
)


@given(ANSWERS, st.integers(0, 30), st.sampled_from([FakeSink, IdlingSink]))
@hypothesis_settings(
    max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_a_sink_answers_each_event_is_taken_or_dead_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[tuple[str, int, set[int]]],
    count: int,
    make: type[FakeSink],
) -> None:
    monkeypatch.setattr("indelible.shipper.place.BATCH_EVENTS", 4)
    maker = Maker(tmp_path_factory.mktemp("t") / "a.jsonl").add_many(count).seal()
    sink = make()
    for what, taken, refused in answers:
        delivery = Delivery(min(taken, 1), [(index, "no") for index in sorted(refused)])
        sink.plan.append(
            RuntimeError("x")
            if what == "dies"
            else delivery
            if what == "takes"
            else SinkUnavailable("y", delivery)
        )
    one = lane(maker.layout.active, sink)
    one.start(1)
    until(lambda: at(maker) == count + 1)
    one.stop()
    assert one.join(60)
    dead = [found.seq for found in letters.read(maker.layout)]
    assert sink.seqs == sorted(sink.seqs)
    assert sorted(sink.seqs + dead) == list(range(count + 1))


# --- what is read while a sink waits --------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return, as they come, the seqs from which a batch is read when its turn has come."""
    monkeypatch.setattr("indelible.shipper.place.BATCH_EVENTS", 4)
    found: list[int] = []
    plain = Place._read

    def reading(self: Place, trail: Any, first: int, *most: int) -> Any:
        found.append(first)
        return plain(self, trail, first, *most)

    monkeypatch.setattr(Place, "_read", reading)
    return found


def test_while_a_sink_waits_the_next_batch_is_read(maker: Maker, running: Running, reads: list[int]) -> None:
    sink = IdlingSink()
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    assert sink.sent == [list(range(first, min(first + 4, 21))) for first in range(0, 21, 4)]
    assert [one.line for one in sink.taken] == maker.layout.active.read_bytes().splitlines()
    assert reads == [0, 20], "the last one is no whole batch: more may come to it"


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_erased_while_a_sink_waits_is_not_shipped(
    tmp_path: Path, running: Running, reads: list[int], *, fails: bool
) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(19)
    closed = maker.rotate()
    maker.seal()

    def erase() -> None:
        rewrite(TrailFile(closed, 0, compressed=False), [Mark(5, 6, ERASURE)], Access())

    sink = IdlingSink()
    sink.waits = [erase]
    sink.plan = [SinkUnavailable("y", Delivery(2))] if fails else []
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == maker.seq)
    assert sink.seqs == list(range(maker.seq))
    assert [one.seq for one in sink.taken if b'"erased"' in one.record] == [5, 6]
    assert (2 if fails else 4) in reads, "what was read is not sent"


def test_what_was_read_is_not_sent_when_somebody_asks_for_something_else(
    maker: Maker, running: Running, reads: list[int]
) -> None:
    sink = IdlingSink()
    sink.waits = [lambda: request.put(maker.layout, "s", Request(origin=ORIGIN, begin=1), Access())]
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21 and len(sink.seqs) > 21)
    assert sink.seqs == [*range(4), *range(1, 21)]
    assert reads[:2] == [0, 1]


def test_what_keeps_a_lane_from_looking_ahead_is_said_when_its_turn_comes(
    maker: Maker, running: Running, reads: list[int]
) -> None:
    kept = maker.layout.active.read_bytes()

    def spoil() -> None:
        maker.layout.active.unlink()

    def mend() -> None:
        maker.layout.active.write_bytes(kept)

    sink = IdlingSink()
    sink.waits = [spoil]
    running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 4)
    mend()
    until(lambda: at(maker) == 21)
    assert sink.seqs == list(range(21))
    assert 4 in reads
