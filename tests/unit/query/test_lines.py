"""A trail's lines by their seq: plain and compressed, many and long, damaged and gone."""

import random
from pathlib import Path

import pytest

from indelible.errors import TrailError
from indelible.query.lines import LinesBySeq
from tests.trails import Body, Maker, operation


def long_and_short(number: int) -> Body:
    """Return events whose lines differ in length by a thousand times: bisection by bytes meets all of it."""
    return operation(number, request__args={"text": "x" * (60_000 if number % 17 == 0 else number % 40)})


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    maker = Maker(tmp_path / "audit.jsonl").add_many(100, long_and_short)
    maker.rotate(compress=True)
    maker.add_many(300, long_and_short).rotate()
    return maker.add_many(150, long_and_short)


def test_every_line_is_found_in_any_order(maker: Maker) -> None:
    with LinesBySeq(maker.layout.active) as lines:
        seqs = list(range(maker.seq))
        found = {seq: lines.find(seq) for seq in seqs}
        assert all(line is not None and line.startswith(b'{"seq":%d,' % seq) for seq, line in found.items())
        assert lines.find(maker.seq) is None
        for seq in random.Random(7).sample(seqs, 40):
            assert lines.find(seq) == found[seq]


def test_damage_hides_lines_and_makes_none_up(maker: Maker) -> None:
    packed, plain = sorted(maker.layout.segments.iterdir())
    data = plain.read_bytes()
    middle = data.index(b"\n", len(data) // 2) + 1
    plain.write_bytes(data[:middle] + b"\0" * 300_000 + b"\n" + data[middle:])
    packed.write_bytes(packed.read_bytes()[:-40])
    with LinesBySeq(maker.layout.active) as lines:
        for seq in (0, 3, 101, 102, 200, 300, 401, 402, maker.seq - 1):
            line = lines.find(seq)
            assert line is None or line.startswith(b'{"seq":%d,' % seq)
        assert lines.find(102), "what damage does not touch is found"
        assert lines.find(401)
        assert lines.find(99) is None
    packed.unlink()
    with LinesBySeq(maker.layout.active) as lines:
        assert lines.find(3) is None
        assert lines.find(402)


def test_no_trail(tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="there is no trail here"):
        LinesBySeq(tmp_path / "audit.jsonl")
