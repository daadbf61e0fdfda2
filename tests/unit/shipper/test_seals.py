"""What a sink that asks for it is told of its trail: what came before, and what proves the records that it is sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from indelible.shipper.lane import Lane
from indelible.shipper.place import Place
from indelible.shipper.seals import Seals
from indelible.sink_settings.parts import BatchSettings, Own
from indelible.sinks.base import Delivery, Seal, Sealer, Shipment, SinkUnavailable, TooScattered
from indelible.trail.durable import Access
from indelible.trail.proofs.checkpoint import Verifier, open_note, parse, parse_vkey
from indelible.trail.proofs.elsewhere import leaf_of
from indelible.trail.proofs.subset import show_subset
from indelible.trail.shipping import cursor, letters, request, state
from tests.trails import ORIGIN, VKEY, Maker, erased, operation
from tests.unit.shipper.shipping import FakeSink, Running, parts, settings, until


@pytest.fixture
def running() -> Iterator[Running]:
    lanes = Running()
    yield lanes
    lanes.end()


class Batched(Own, frozen=True, kw_only=True):
    batch: BatchSettings | None = BatchSettings(interval=0.0, lines=8)


class SealingSink(FakeSink):
    """Asks of each batch what it may."""

    def __init__(self, *, proves: bool = True) -> None:
        super().__init__()
        self._proves = proves
        self._sealer: Sealer | None = None
        self.seals: list[tuple[int | None, list[Shipment], Seal | None]] = []

    def seal_with(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        assert self._sealer is not None
        origin = shipments[0].origin
        seal = self._sealer.seal(origin, shipments, proves=self._proves)
        self.seals.append((self._sealer.before(origin), list(shipments), seal))
        return super().send(shipments)


def one(maker: Maker, sink: SealingSink, own: Own | None = None, **keys: Any) -> Lane:
    made = msgspec.structs.replace(settings(**keys), own=own or Batched())
    return Lane(maker.layout, made, parts(sink), Access())


def at(maker: Maker) -> int | None:
    found = cursor.read(maker.layout, "s")
    return None if found is None else found.next


def leads_to_the_root(shipments: Sequence[Shipment], seal: Seal | None, vkey: str = VKEY) -> bool:
    """Judge as whoever reads a batch back."""
    assert seal is not None
    assert seal.proof is not None
    assert seal.vkey == vkey
    verifier: Verifier = parse_vkey(vkey)
    checkpoint = parse(open_note(seal.checkpoint.encode(), [verifier]))
    leaves = [(one.seq, leaf_of(one.line)[0]) for one in shipments]
    return show_subset(checkpoint.size, leaves, seal.proof).root == checkpoint.root


def test_each_batch_is_proved_and_says_what_came_before(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(300).seal()
    sink = SealingSink()
    running.start(one(maker, sink, Batched(batch=BatchSettings(interval=0.0, lines=100))))
    until(lambda: at(maker) == 301)
    assert [(before, len(some)) for before, some, _ in sink.seals] == [
        (None, 100),
        (99, 100),
        (199, 100),
        (299, 1),
    ]
    assert all(leads_to_the_root(some, seal) for _, some, seal in sink.seals)


def test_with_holes_and_erased_lines(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    for number in range(60):
        maker.add(operation(number, target__capability_name="wanted" if number % 3 else "other"))
    maker.seal()
    path = maker.layout.active
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:8], erased(lines[8], 8), *lines[9:]]))
    sink = SealingSink()
    running.start(one(maker, sink, filter={"tool": ["wanted"]}))
    until(lambda: at(maker) == 61)
    shipped = [shipment.seq for _, some, _ in sink.seals for shipment in some]
    assert len(shipped) == 39
    assert 8 not in shipped, "of an erased call nobody knows the tool"
    assert all(leads_to_the_root(some, seal) for _, some, seal in sink.seals)
    lasts = [some[-1].seq for _, some, _ in sink.seals]
    assert [before for before, _, _ in sink.seals] == [None, *lasts[:-1]]


def test_what_came_before_is_known_after_a_restart_and_not_after_a_leap(
    tmp_path: Path, running: Running
) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(9).seal()
    sink = SealingSink()
    first = running.start(one(maker, sink, filter={"tool": ["read_file"]}))
    until(lambda: at(maker) == 10)
    first.stop()
    assert first.join(60)
    maker.add(operation(10, target__capability_name="unseen", target__original_name="unseen"))
    maker.add_many(2).seal()
    running.start(one(maker, sink, filter={"tool": ["read_file"]}))
    until(lambda: at(maker) == 13)
    before, some, _ = sink.seals[-1]
    assert (before, some[0].seq) == (9, 11), "10 is not for it, and is not missing"
    request.put(maker.layout, "s", request.Request(origin=ORIGIN, begin=5), Access())
    until(lambda: len([seal for seal in sink.seals if seal[1][0].seq == 5]) == 1)
    assert sink.seals[-1][0] is None


def test_a_batch_that_is_sent_again_says_the_same(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(20).seal()
    sink = SealingSink()
    fine = Delivery(8)
    sink.plan = [fine, SinkUnavailable("away", Delivery(3)), SinkUnavailable("away")]
    running.start(one(maker, sink))
    until(lambda: at(maker) == 21)
    assert [(before, some[0].seq) for before, some, _ in sink.seals][:4] == [
        (None, 0),
        (7, 8),
        (10, 11),
        (10, 11),
    ]


def test_dead_letters_that_are_sent_again_follow_nothing(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(7).seal()
    sink = SealingSink()
    sink.plan = [Delivery(8, [(2, "no"), (7, "no")])]
    running.start(one(maker, sink))
    until(lambda: at(maker) == 8)
    maker.add_many(1).seal()
    until(lambda: at(maker) == 9)
    assert sink.seals[-1][0] == 6, "7 was refused"
    request.put(maker.layout, "s", request.Request(letters=True), Access())
    until(lambda: not list(letters.read(maker.layout)))
    before, some, seal = sink.seals[-1]
    assert (before, [shipment.seq for shipment in some]) == (None, [2, 7])
    assert leads_to_the_root(some, seal)


def test_without_a_proof_where_none_is_asked_for(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(5).seal()
    sink = SealingSink(proves=False)
    running.start(one(maker, sink))
    until(lambda: at(maker) == 6)
    [(_, _, seal)] = sink.seals
    assert seal == Seal(maker.layout.checkpoint.read_text(), VKEY)


def test_a_trail_that_cannot_prove_itself_is_shipped_and_it_is_said_once(
    tmp_path: Path, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(40).seal()
    [tile] = maker.layout.tiles.rglob("41")
    tile.write_bytes(tile.read_bytes()[:32] * 41)
    sink = SealingSink()
    with caplog.at_level(logging.WARNING, "indelible"):
        running.start(one(maker, sink))
        until(lambda: at(maker) == 41)
    assert [seal for _, _, seal in sink.seals] == [Seal(maker.layout.checkpoint.read_text(), VKEY)] * 6
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("sink s: no proof goes with what it takes: the tiles do not lead from its lines")
    assert state.read(maker.layout, "s").error is None


def test_a_trail_without_its_key_is_shipped(tmp_path: Path, running: Running) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(5).seal()
    maker.layout.vkey.unlink()
    sink = SealingSink()
    running.start(one(maker, sink))
    until(lambda: at(maker) == 6)
    assert [seal for _, _, seal in sink.seals] == [None]


def test_a_proof_that_is_too_long_is_asked_for_of_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(600).seal()
    seals = Seals(maker.layout, Place(maker.layout, settings(), Access()), "s")
    lines = maker.layout.active.read_bytes().split(b"\n")
    some = [Shipment(lines[seq], seq, "", origin=ORIGIN, line=lines[seq]) for seq in range(1, 600, 9)]
    monkeypatch.setattr("indelible.shipper.seals.MAX_HASHES", 100)
    with pytest.raises(TooScattered):
        seals.seal(ORIGIN, some, proves=True)
    assert leads_to_the_root(some[:9], seals.seal(ORIGIN, some[:9], proves=True))
    assert seals.seal("somebody else's", some[:9], proves=True) is None


def test_the_cursor_that_an_earlier_version_wrote_is_read(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(5).seal()
    maker.layout.cursors.mkdir()
    path = cursor.path_of(maker.layout, "s")
    path.write_text(json.dumps({"sink": "s", "origin": ORIGIN, "next": 3, "moved_at": ""}))
    found = cursor.read(maker.layout, "s")
    assert found is not None
    assert (found.next, found.last) == (3, None)
