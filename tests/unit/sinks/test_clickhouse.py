"""The clickhouse sink and its schema, judged by ClickHouse's own engine: what arrives was sealed, and counts once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest

from indelible.registry import make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.base import Shipment, Sink
from indelible.sinks.clickhouse.quoting import identifier
from indelible.sinks.clickhouse.schema import Options, statements
from indelible.trail.erased import erased_line
from indelible.trail.proofs.merkle import leaf_hash
from tests.clickhouse import (
    Engine,
    Interface,
    read,
    shipments,
    sink_keys,
    stamped,
)
from tests.trails import operation
from tests.unit.formats.events import FORGED, with_text
from tests.unit.sinks.web_receivers import HttpReceiver

ORIGIN = "indelible/00112233445566778899aabbccddeeff"


@pytest.fixture(scope="module")
def schema(clickhouse: Engine) -> Options:
    return clickhouse.create("unit")


@pytest.fixture
def origin() -> str:
    """Return the name of a trail that is not there yet."""
    return f"indelible/{uuid4().hex}"


@pytest.fixture
def place(clickhouse: Engine) -> Iterator[HttpReceiver]:
    receiver = HttpReceiver(Interface(clickhouse))
    yield receiver
    receiver.stop()


def make(place: HttpReceiver, **keys: Any) -> Sink:
    return make_sink(parse_sinks([sink_keys(place.url, database="unit", **keys)])[0])


def ship(place: HttpReceiver, batch: Sequence[Shipment], **keys: Any) -> None:
    sink = make(place, **keys)
    try:
        sink.open()
        delivery = sink.send(batch)
    finally:
        sink.close()
    assert delivery == (len(batch), ())


# --- what arrives -------------------------------------------------------------------------------------------


def test_a_line_arrives_to_the_byte_once(
    clickhouse: Engine, schema: Options, place: HttpReceiver, origin: str
) -> None:
    sent = [*stamped(*(with_text(text) for text in FORGED)), erased_line(len(FORGED), "0" * 8, b"\1" * 32)]
    ship(place, shipments(origin, *sent))
    found = read(clickhouse, "unit.events FINAL", origin)
    assert [row["line"].encode() for row in found] == sent
    assert [row["seq"] for row in found] == list(range(len(sent)))
    [asked] = place.asked
    assert asked.headers["Content-Encoding"] == "gzip"
    assert "X-ClickHouse-Key" not in asked.headers


@pytest.mark.parametrize("name", ["we`ird\\ d'b", "TABLE OPERATIONS", "ü-1.2", '";--', "a{b}%c"])
def test_names_whatever_is_in_them(clickhouse: Engine, place: HttpReceiver, name: str) -> None:
    options = Options(name, f"t {name}")
    for statement in statements(options):
        clickhouse.query(statement.sql)
    ship_to = {"database": name, "table": f"t {name}"}
    sink = make_sink(parse_sinks([sink_keys(place.url, **ship_to)])[0])
    assert sink.send(shipments(ORIGIN, *stamped(operation()))).taken == 1
    sink.close()
    count = f"SELECT count() AS count FROM {identifier(name)}.{identifier(f't {name}_operations')}"
    assert clickhouse.rows(count) == [{"count": 1}]


def test_it_can_be_run_again_and_keeps_what_is_there(
    clickhouse: Engine, schema: Options, place: HttpReceiver, origin: str
) -> None:
    ship(place, shipments(origin, *stamped(operation())))
    clickhouse.create("unit")
    assert len(read(clickhouse, "unit.events FINAL", origin)) == 1


@pytest.fixture
def unmerged(clickhouse: Engine, schema: Options) -> Iterator[None]:
    """Have nothing merged meanwhile: what is there twice stays so."""
    clickhouse.query("SYSTEM STOP MERGES unit.events")
    yield
    clickhouse.query("SYSTEM START MERGES unit.events")


# --- once ---------------------------------------------------------------------------------------------------


def test_a_batch_that_comes_again_as_it_was_is_taken_once(
    clickhouse: Engine, unmerged: None, place: HttpReceiver, origin: str
) -> None:
    batch = shipments(origin, *stamped(*map(operation, range(50))))
    ship(place, batch)
    ship(place, batch)  # by another process: the answer to the first one was lost
    assert len(read(clickhouse, "unit.events", origin)) == 50


def test_with_other_bounds_it_is_there_twice_and_counts_once(
    clickhouse: Engine, unmerged: None, place: HttpReceiver, origin: str
) -> None:
    batch = shipments(origin, *stamped(*map(operation, range(60))))
    ship(place, batch[:40])
    ship(place, batch[20:])
    assert len(read(clickhouse, "unit.events", origin)) == 80
    assert [row["seq"] for row in read(clickhouse, "unit.events FINAL", origin)] == list(range(60))
    assert len(read(clickhouse, "unit.operations", origin, "seq")) == 60
    [covered] = clickhouse.rows(f"SELECT * FROM unit.coverage WHERE origin = '{origin}'")
    assert (covered["first_seq"], covered["last_seq"], covered["events"], covered["missing"]) == (0, 59, 60, 0)


def test_other_rows_in_the_place_of_the_same_are_not_taken_for_them(
    clickhouse: Engine, schema: Options, place: HttpReceiver, origin: str
) -> None:
    """First seq, last seq and count agree, and yet one line was erased since: it must not be dropped."""
    sent = stamped(*map(operation, range(3)))
    ship(place, shipments(origin, *sent))
    sent[1] = erased_line(1, "11111111-1111-4111-8111-111111111111", leaf_hash(sent[1]))
    ship(place, shipments(origin, *sent))
    assert {row["line"].encode() for row in read(clickhouse, "unit.events", origin)} >= set(sent)


def test_what_was_erased_is_deleted_and_shipped_again(
    clickhouse: Engine, schema: Options, place: HttpReceiver, origin: str
) -> None:
    """As the page says: DELETE, then ship from there; the leaf is as it was, and nothing of the line is left."""
    sent = stamped(*map(operation, range(5)))
    ship(place, shipments(origin, *sent))
    leaves = [row["leaf"] for row in read(clickhouse, "unit.events FINAL", origin, "leaf")]
    clickhouse.query(f"DELETE FROM unit.events WHERE origin = '{origin}' AND seq IN (2)")
    sent[2] = erased_line(2, "11111111-1111-4111-8111-111111111111", leaf_hash(sent[2]))
    ship(place, shipments(origin, *sent)[2:])
    clickhouse.query("OPTIMIZE TABLE unit.events FINAL")
    found = read(clickhouse, "unit.events", origin, "seq, line, leaf, erased")
    assert [row["line"].encode() for row in found] == sent
    assert [row["leaf"] for row in found] == leaves
    assert [row["erased"] for row in found] == [0, 0, 1, 0, 0]


def test_who_deleted_rows_and_wants_the_same_again_says_so(
    clickhouse: Engine, schema: Options, place: HttpReceiver, origin: str
) -> None:
    """As the page says: the server remembers that it had them, and not that they were deleted."""
    batch = shipments(origin, *stamped(*map(operation, range(5))))
    ship(place, batch)
    clickhouse.query(f"DELETE FROM unit.events WHERE origin = '{origin}'")
    ship(place, batch)
    assert read(clickhouse, "unit.events FINAL", origin) == []
    ship(place, batch, settings={"insert_deduplicate": 0})
    assert len(read(clickhouse, "unit.events FINAL", origin)) == 5


def test_with_async_inserts_what_was_answered_is_there(
    clickhouse: Engine, schema: Options, place: HttpReceiver, origin: str
) -> None:
    ship(place, shipments(origin, *stamped(*map(operation, range(5)))), settings={"async_insert": 1})
    assert len(read(clickhouse, "unit.events FINAL", origin)) == 5
