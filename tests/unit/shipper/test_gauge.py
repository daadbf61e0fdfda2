"""What waits for a sink of large batches: measured, not kept; sent across files; and sent when the shipper ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from indelible.shipper import route
from indelible.shipper.gauge import Gauge
from indelible.shipper.lane import Lane
from indelible.sink_settings.parts import BatchSettings, Own
from indelible.sinks.base import SinkUnavailable
from indelible.trail.durable import Access
from indelible.trail.shipping import cursor, state
from tests.trails import Maker, operation
from tests.unit.shipper.shipping import FakeSink, Running, parts, settings, until


@pytest.fixture
def running() -> Iterator[Running]:
    lanes = Running()
    yield lanes
    lanes.end()


@pytest.fixture
def gauge() -> Iterator[Gauge]:
    made = Gauge()
    yield made
    made.close()


class Batched(Own, frozen=True, kw_only=True):
    batch: BatchSettings


def batched(maker: Maker, sink: FakeSink, **keys: float) -> Lane:
    own = Batched(batch=msgspec.convert(keys, BatchSettings))
    return Lane(maker.layout, msgspec.structs.replace(settings(), own=own), parts(sink), Access())


def at(maker: Maker) -> int | None:
    found = cursor.read(maker.layout, "s")
    return None if found is None else found.next


def is_full(gauge: Gauge, maker: Maker, first: int, lines: int = 1 << 20, size: int = 1 << 30) -> bool:
    trail = route.sealed(maker.layout)
    assert trail is not None
    return gauge.is_full(trail, first, lines, size)


def test_lines_and_bytes_count_as_they_are_sealed_and_across_files(tmp_path: Path, gauge: Gauge) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(10).seal()
    size = len(maker.layout.active.read_bytes()) - 11
    assert [is_full(gauge, maker, 0, lines=count) for count in (11, 12)] == [True, False]
    assert [is_full(gauge, maker, 0, size=count) for count in (size, size + 1)] == [True, False]
    maker.add_many(1)
    assert not is_full(gauge, maker, 0, lines=12), "it is not sealed"
    maker.rotate(compress=True)
    maker.add_many(1).seal()
    assert [is_full(gauge, maker, 0, lines=count) for count in (14, 15)] == [True, False]
    assert [is_full(gauge, maker, 4, lines=count) for count in (10, 11)] == [True, False], "from elsewhere"


def test_a_gap_waits_for_nothing(tmp_path: Path, gauge: Gauge) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(5)
    closed = maker.rotate()
    maker.add_many(3).seal()
    assert not is_full(gauge, maker, 2, lines=1000)
    maker.delete_file(closed)
    gauge.close()
    assert is_full(gauge, maker, 2, lines=1000)


def test_a_batch_is_larger_than_what_is_read_at_once(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    maker.add_many(120, lambda seq: operation(seq, request__args={"text": "x" * 50_000}))
    maker.rotate(compress=True)
    maker.add_many(70, lambda seq: operation(seq, request__args={"text": "x" * 50_000})).seal()
    sink = FakeSink()
    running.start(batched(maker, sink, interval=0.0, bytes=4 << 20, lines=10_000))
    until(lambda: at(maker) == maker.seq)
    assert sink.seqs == list(range(maker.seq))
    assert len(sink.sent) == 3
    assert min(map(len, sink.sent[:2])) >= 83


def test_what_waits_is_sent_when_the_shipper_ends(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(5).seal()
    sink = FakeSink()
    one = running.start(batched(maker, sink, interval=3600.0, lines=100))
    until(lambda: at(maker) == 6)
    maker.add_many(4).seal()
    until(lambda: state.read(maker.layout, "s").state == "waiting")
    assert at(maker) == 6
    one.stop()
    assert one.join(60)
    assert at(maker) == 10
    assert [len(some) for some in sink.sent] == [6, 4]
    assert state.read(maker.layout, "s").state == "stopped"


def test_a_destination_that_is_away_is_not_tried_again_at_the_end(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(5).seal()
    sink = FakeSink()
    sink.plan = [SinkUnavailable("away", retry_after=3600.0)]
    one = running.start(batched(maker, sink, interval=3600.0, lines=100))
    until(lambda: state.read(maker.layout, "s").state == "unavailable")
    one.stop()
    assert one.join(60)
    assert (len(sink.sent), at(maker)) == (1, 0)
