"""An event by its id: wherever it stands, and no other line in which the id stands too."""

from __future__ import annotations

from pathlib import Path

import pytest

from indelible.errors import NotProven, TrailError
from indelible.query.find import find_event
from tests.trails import Maker, operation


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    maker = Maker(tmp_path / "audit.jsonl").add_many(60)
    maker.rotate(compress=True)
    maker.add_many(60).rotate()
    return maker.add_many(20)


def event_id(number: int) -> str:
    return str(operation(number)["event_id"])


@pytest.mark.parametrize("seq", [1, 60, 63, 121, 140])
def test_it_is_found_in_every_kind_of_file(maker: Maker, seq: int) -> None:
    found = find_event([maker.layout.active], event_id(seq))
    assert (found.path, found.seq) == (maker.layout.active, seq)
    assert f'"event_id":"{event_id(seq)}"'.encode() in found.line


def test_lines_that_only_speak_of_it_are_passed_over(maker: Maker) -> None:
    wanted = event_id(7)
    maker.add(operation(141, request__args={"event_id": wanted, "text": f'"event_id":"{wanted}"'}))
    maker.raw(b'{"seq":142,"event_id":"' + wanted.encode() + b'"\n')  # torn
    maker.raw(b'"event_id":"' + wanted.encode() + b'"\n')
    assert find_event([maker.layout.active], wanted).seq == 7


def test_two_events_with_one_id_are_both_named(maker: Maker) -> None:
    maker.add(operation(7))
    with pytest.raises(NotProven, match=r"seq 7 of .* and seq 143 of"):
        find_event([maker.layout.active], event_id(7))


@pytest.mark.parametrize("wanted", ["nowhere", "", '"', "\udc80", "x" * 100_000, "\n"])
def test_an_id_that_no_event_has(maker: Maker, wanted: str) -> None:
    with pytest.raises(NotProven, match="no line has event_id") as caught:
        find_event([maker.layout.active], wanted)
    assert len(str(caught.value)) < 500 + len(str(maker.layout.active))


def test_what_could_not_be_read_is_said(maker: Maker) -> None:
    packed = next(maker.layout.segments.glob("*.zst"))
    packed.write_bytes(packed.read_bytes()[:-30])
    assert find_event([maker.layout.active], event_id(65)).seq == 65
    with pytest.raises(NotProven, match="cannot be decompressed"):
        find_event([maker.layout.active], "nowhere")


def test_without_a_trail(tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="no trail"):
        find_event([tmp_path / "audit.jsonl"], "x")
