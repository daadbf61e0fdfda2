"""How much a sink is sent at once, how long that waits for more, and by what a destination keeps it in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from indelible.formats.record import Options, Record
from indelible.registry import make_format
from indelible.shipper.batch import Renderer
from indelible.shipper.feed import Piece
from indelible.shipper.lane import Lane
from indelible.sink_settings import parse_sinks
from indelible.sink_settings.parts import BatchSettings, Own
from indelible.trail.durable import Access
from indelible.trail.entry import stamp
from indelible.trail.shipping import cursor, state
from indelible.trail.shipping.letters import letter
from tests.trails import ORIGIN, Maker, encode, operation
from tests.unit.shipper.shipping import FakeSink, Running, lane, parts, settings, until


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "a.jsonl").add_many(20).seal()


@pytest.fixture
def running() -> Iterator[Running]:
    lanes = Running()
    yield lanes
    lanes.end()


def at(maker: Maker) -> int | None:
    found = cursor.read(maker.layout, "s")
    return None if found is None else found.next


class Batched(Own, frozen=True, kw_only=True):
    batch: BatchSettings


def batched(maker: Maker, sink: FakeSink, **keys: Any) -> Lane:
    own = Batched(batch=BatchSettings(**keys))
    return Lane(maker.layout, msgspec.structs.replace(settings(), own=own), parts(sink), Access())


def test_a_batch_is_as_large_as_its_settings_say(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    running.start(batched(maker, sink, interval=0.0, lines=8))
    until(lambda: at(maker) == 21)
    assert [len(some) for some in sink.sent] == [8, 8, 5]


def test_a_batch_is_as_long_as_its_settings_say(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    running.start(batched(maker, sink, interval=0.0, bytes=1024))
    until(lambda: at(maker) == 21)
    assert max(map(len, sink.sent)) < 5


def test_less_than_a_batch_waits_for_more(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    one = batched(maker, sink, interval=3600.0, lines=8)
    running.start(one)
    until(lambda: at(maker) == 16)
    assert [len(some) for some in sink.sent] == [8, 8], "five wait"
    maker.add_many(3).seal()
    until(lambda: at(maker) == 24)
    assert [len(some) for some in sink.sent] == [8, 8, 8], "eight do not"
    maker.add_many(2).seal()
    until(lambda: state.read(maker.layout, "s").state == "waiting")
    assert at(maker) == 24
    one.hurry()
    until(lambda: at(maker) == 26)


def test_what_waits_is_sent_when_its_time_is_over(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    running.start(batched(maker, sink, interval=0.5))
    until(lambda: at(maker) == 21)
    maker.add_many(2).seal()
    until(lambda: at(maker) == 23)


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("session_id", "s1"),
        ("auth_key_id", ""),
        ("tool_name", "read_file"),
        ("method", "tools/call"),
        ("request_id", "r7"),
    ],
)
def test_what_is_kept_in_order_can_be_chosen(key: str, wanted: str) -> None:
    record = Record(
        stamp(7, "2026-11-21T00:00:00.000000Z", encode(operation(7, target__method="tools/call"))), "o"
    )
    [sink] = parse_sinks([{"type": "kafka", "brokers": ["x"], "topic": "t", "partition_key": key}])
    made = make_format(sink.format, Options())
    batch = Renderer(sink, made).batch(Piece([(record.entry.seq, record.line)], 99, []), ORIGIN)
    assert [one.key for one in batch.shipments] == [wanted]


def test_a_dead_letter_keeps_the_place_of_its_event() -> None:
    line = stamp(7, "2026-11-21T00:00:00.000000Z", encode(operation(7, source__auth_key_id="0badcafe")))
    [sink] = parse_sinks(
        [{"type": "kafka", "brokers": ["x"], "topic": "t", "partition_key": "auth_key_id", "format": "cef"}]
    )
    renderer = Renderer(sink, make_format(sink.format, Options()))
    [sent] = renderer.batch(Piece([(7, line)], 8, []), ORIGIN).shipments
    dead = letter(sink.name, ORIGIN, 7, sent.event_id, "too large", sent.record)
    assert sent.key == "0badcafe"
    assert renderer.again(dead, line) == sent
    assert renderer.again(letter(sink.name, ORIGIN, 7, "", "no record", b""), line) == sent
    assert renderer.again(dead, None) == structs.replace(sent, key="", line=b"")
    assert renderer.again(dead, b"no line any more") == structs.replace(sent, key="", line=b"no line any more")
    assert renderer.again(letter(sink.name, ORIGIN, 7, "", "no record", b""), None) is None


def test_a_sink_that_ends_is_stopped_and_closed_for_good(maker: Maker, running: Running) -> None:
    sink = FakeSink()
    one = running.start(lane(maker.layout.active, sink))
    until(lambda: at(maker) == 21)
    assert not sink.stopped.is_set()
    one.stop()
    assert one.join(60)
    assert sink.stopped.is_set()
    assert sink.closed == 2
