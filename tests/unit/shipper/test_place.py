"""Where a sink stands, and how what comes next is read there."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from indelible.shipper import feed
from indelible.shipper.feed import Feed, Piece
from indelible.shipper.place import Place
from indelible.trail.durable import Access
from tests.trails import Maker
from tests.unit.shipper.shipping import settings


@pytest.mark.parametrize("size", [30_000, feed.CHUNK_BYTES])
def test_a_batch_is_read_at_once(tmp_path: Path, size: int) -> None:
    """Nobody goes back to the file for what the batch lacks of its size, as no line fits in there."""
    maker = Maker(tmp_path / "a.jsonl").add_many(6_000).seal()
    assert maker.layout.active.stat().st_size > feed.CHUNK_BYTES
    place = Place(maker.layout, settings(), Access())
    place.load()
    found: list[bytes] = []
    batches = 0
    with mock.patch.object(Feed, "read", autospec=True, side_effect=Feed.read) as read:
        while (piece := place.next(10_000, size)) is not None:
            lines = [line for _, line in piece[1].lines]
            whole = sum(map(len, lines)) + len(lines)
            assert whole - len(lines[-1]) - 1 < size, "at most one line more than what was asked for"
            found += lines
            batches += 1
            place.move(piece[0].origin, piece[1].next)
    place.let_go()
    assert found == maker.layout.active.read_bytes().splitlines()
    assert read.call_count == batches


def test_a_batch_that_has_its_lines_is_not_looked_for_more(tmp_path: Path) -> None:
    """Neither in its own file nor in all those behind it."""
    maker = Maker(tmp_path / "a.jsonl")
    for _ in range(5):
        maker.add_many(39).rotate()
    maker.add_many(40).seal()
    place = Place(maker.layout, settings(), Access())
    place.load()
    found: list[int] = []
    asked: list[int] = []

    def read(feed: Feed, first: int, size: int, most: int, most_bytes: int) -> Piece:
        asked.append(most)
        return plain(feed, first, size, most, most_bytes)

    plain = Feed.read
    with mock.patch.object(Feed, "read", autospec=True, side_effect=read):
        while (piece := place.next(10, 1 << 20)) is not None:
            found += [seq for seq, _ in piece[1].lines]
            place.move(piece[0].origin, piece[1].next)
    place.let_go()
    assert found == list(range(maker.seq))
    assert min(asked) > 0
