"""Reading what is sealed, in order, whatever happens to the files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from indelible.shipper import feed as feeding
from indelible.shipper.feed import Feed, Gap
from indelible.trail.durable import Access
from indelible.trail.entry import line_seq
from indelible.trail.files import TrailFile
from indelible.trail.layout import Layout
from indelible.trail.upkeep.rewrite import Mark, rewrite
from tests.effort import examples
from tests.trails import ERASURE, Maker

BIG = 1 << 30

Open = Callable[[Layout], Feed]


@pytest.fixture
def reading() -> Iterator[Open]:
    """Return what opens a feed; all are closed in the end."""
    with contextlib.ExitStack() as stack:
        yield lambda layout: stack.enter_context(contextlib.closing(Feed(layout)))


def drain(feed: Feed, seq: int, size: int, count: int = 3) -> tuple[list[int], list[Gap]]:
    """Read all there is, in small pieces; each line has the seq that is told."""
    seqs, gaps = [], []
    while True:
        piece = feed.read(seq, size, count, BIG)
        assert [line_seq(line) for _, line in piece.lines] == [one for one, _ in piece.lines]
        assert len(piece.lines) <= count
        gaps += piece.gaps
        seqs += [one for one, _ in piece.lines]
        if piece.next == seq:
            return seqs, gaps
        assert piece.next > seq
        seq = piece.next


def test_nothing_past_the_given_size_is_handed_out(tmp_path: Path, reading: Open) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(20)
    feed = reading(maker.layout)
    assert drain(feed, 0, 7) == (list(range(7)), [])
    assert drain(feed, 7, 7) == ([], [])
    assert drain(feed, 7, 21) == (list(range(7, 21)), [])


def test_what_was_not_sealed_is_read_anew(tmp_path: Path, reading: Open) -> None:
    """A writer takes lines back and gives their seqs to others, in the same file: only sealed ones are kept of it."""
    maker = Maker(tmp_path / "a.jsonl").add_many(5)
    feed = reading(maker.layout)
    assert drain(feed, 0, 3)[0] == [0, 1, 2]
    lines = maker.layout.active.read_bytes().splitlines(keepends=True)
    with maker.layout.active.open("r+b") as file:
        file.truncate(sum(map(len, lines[:3])))
    maker.seq = 3
    maker.add_many(2, lambda seq: {"timestamp": "x", "event_type": "alert", "event_id": f"again-{seq}"})
    piece = feed.read(3, 5, 10, BIG)
    assert [json.loads(line)["event_id"] for _, line in piece.lines] == ["again-3", "again-4"]


def test_a_batch_has_a_line_and_as_many_bytes_as_it_may(tmp_path: Path, reading: Open) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(20)
    feed = reading(maker.layout)
    piece = feed.read(0, 21, 100, 1)
    assert [seq for seq, _ in piece.lines] == [0]
    piece = feed.read(1, 21, 100, 3 * max(map(len, maker.layout.active.read_bytes().splitlines())))
    assert 1 < len(piece.lines) < 20


@pytest.mark.parametrize("compress", [False, True])
def test_it_goes_through_rotation_while_it_reads(tmp_path: Path, reading: Open, compress: bool) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(9)
    feed = reading(maker.layout)
    assert drain(feed, 0, 5)[0] == list(range(5))
    maker.rotate(compress=compress)
    maker.add_many(9)
    maker.rotate(compress=compress)
    maker.add_many(2)
    assert drain(feed, 5, maker.seq) == (list(range(5, maker.seq)), [])


def test_a_file_that_was_compressed_meanwhile_is_found(tmp_path: Path, reading: Open) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(9)
    closed = maker.rotate()
    feed = reading(maker.layout)
    assert drain(feed, 0, 4)[0] == list(range(4))
    import zstandard

    closed.with_name(closed.name + ".zst").write_bytes(zstandard.compress(closed.read_bytes()))
    closed.unlink()
    assert drain(feed, 4, maker.seq) == (list(range(4, maker.seq)), [])


@pytest.mark.parametrize("compress", [False, True])
def test_what_was_erased_meanwhile_is_not_handed_out(tmp_path: Path, reading: Open, compress: bool) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(9)
    closed = maker.rotate(compress=compress)
    feed = reading(maker.layout)
    assert drain(feed, 0, 4)[0] == list(range(4))
    rewrite(TrailFile(closed, 0, compress), [Mark(2, 6, ERASURE)], Access())
    piece = feed.read(4, maker.seq, 3, BIG)
    assert [b"erased" in line for _, line in piece.lines] == [True, True, True]
    assert drain(feed, 7, maker.seq) == (list(range(7, maker.seq)), [])


def test_lines_after_the_next_files_first_seq_were_written_again(tmp_path: Path, reading: Open) -> None:
    """After a failed sync a writer begins a new file with a seq that stands in the old one, too: the new one counts."""
    maker = Maker(tmp_path / "a.jsonl").add_many(9)
    maker.seq = 6
    maker.rotate()
    maker.add_many(3)
    feed = reading(maker.layout)
    seqs, gaps = drain(feed, 0, maker.seq)
    assert (seqs, gaps) == (list(range(maker.seq)), [])
    assert json.loads(feed.read(6, 7, 1, BIG).lines[0][1])["event_type"] == "file_opened"


def test_deleted_files_and_damage_are_told(tmp_path: Path, reading: Open) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(4)
    first = maker.rotate()
    maker.add_many(4)
    second = maker.rotate()
    maker.add_many(4)
    third = maker.rotate(compress=True)
    maker.add_many(1)
    size = maker.seq
    first.unlink()
    lines = second.read_bytes().split(b"\n")
    lines[2] = b"\0" * len(lines[2])
    second.write_bytes(b"\n".join(lines))
    third.write_bytes(third.read_bytes()[:40])
    begun = 10
    assert drain(reading(maker.layout), 0, size) == (
        [5, 6, 8, 9, 15, 16],
        [Gap(0, 5, damaged=False), Gap(7, 8, damaged=True), Gap(begun, 15, damaged=True)],
    )


@pytest.mark.parametrize("max_bytes", [1, BIG])
def test_a_line_with_a_seq_that_no_checkpoint_covers_hides_none_after_it(
    tmp_path: Path, reading: Open, max_bytes: int
) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(8)
    size = maker.seq
    maker.add_many(2)
    lines = maker.layout.active.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'{"seq":2,', b'{"seq":92,', 1)
    lines[4] = lines[4].replace(b'{"seq":4,', b'{"seq":94,', 1)
    maker.layout.active.write_bytes(b"".join(lines))
    feed, at, seqs, gaps = reading(maker.layout), 0, [], []
    while (piece := feed.read(at, size, 3, max_bytes)).next > at:
        seqs += [seq for seq, _ in piece.lines]
        gaps += piece.gaps
        at = piece.next
    assert seqs == [0, 1, 3, *range(5, size)]
    assert gaps == [Gap(2, 3, damaged=True), Gap(4, 5, damaged=True)]
    assert drain(feed, size, maker.seq) == ([size, size + 1], [])


@given(
    files=st.lists(st.tuples(st.integers(30, 90), st.booleans()), min_size=1, max_size=3),
    where=st.integers(0, 10**6),
    claim=st.integers(-40, 40) | st.integers(-300, 300),
    begin=st.integers(0, 60),
    count=st.integers(1, 40),
)
@example(files=[(60, False)], where=20, claim=40, begin=0, count=7)
@example(files=[(60, True)], where=20, claim=1, begin=0, count=7)
@example(files=[(60, False)], where=50, claim=-45, begin=5, count=7)
@hypothesis_settings(max_examples=examples(60), deadline=None)
def test_a_line_that_was_altered_to_any_seq_costs_no_other(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[tuple[int, bool]],
    where: int,
    claim: int,
    begin: int,
    count: int,
) -> None:
    maker = Maker(tmp_path_factory.mktemp("t") / "a.jsonl")
    size = sum(number + 1 for number, _ in files)
    altered = where % size
    claimed = max(0, altered + claim)
    for number, compress in files:
        maker.add_many(number)
        plain = maker.layout.active.read_bytes()
        changed = plain.replace(b'{"seq":%d,' % altered, b'{"seq":%d,' % claimed)
        maker.layout.active.write_bytes(changed)
        is_first = changed != plain and changed.startswith(b'{"seq":%d,"sc' % claimed) and claim != 0
        assume(not is_first)  # by its first line, and by its name, a file is told from the others
        maker.rotate(compress=compress)
    with contextlib.closing(Feed(maker.layout)) as feed, mock.patch.object(feeding, "CHUNK_BYTES", 16_000):
        seqs, gaps = drain(feed, begin, size, count)
    wanted = [seq for seq in range(begin, size) if seq != altered or not claim]
    assert seqs == wanted
    assert gaps == ([Gap(altered, altered + 1, damaged=True)] if claim and altered >= begin else [])


@pytest.mark.parametrize("compress", [False, True])
def test_what_stands_before_damage_in_a_packed_file_is_read(
    tmp_path: Path, reading: Open, compress: bool
) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    maker.add_many(20_000)
    closed = maker.rotate(compress=compress)
    packed = closed.read_bytes()
    closed.write_bytes(packed[: len(packed) // 2])
    seqs, gaps = drain(reading(maker.layout), 0, maker.seq, 5_000)
    assert seqs[0] == 0
    assert 5_000 < len(seqs) - 1 < 15_000
    assert seqs == [*range(len(seqs) - 1), maker.seq - 1]
    assert gaps == [Gap(len(seqs) - 1, maker.seq - 1, damaged=True)]


def test_a_trail_that_is_gone_is_an_error_and_one_without_a_line_is_nothing_yet(
    tmp_path: Path, reading: Open
) -> None:
    with pytest.raises(FileNotFoundError):
        reading(Layout(tmp_path / "a.jsonl")).read(0, 5, 1, BIG)
    maker = Maker(tmp_path / "b.jsonl")
    maker.layout.active.write_bytes(b"")
    assert reading(maker.layout).read(0, 5, 1, BIG).next == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 6)),
        st.tuples(st.sampled_from(["rotate", "pack"]), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 9)),
        st.tuples(st.just("garbage"), st.integers(1, 3)),
    ),
    max_size=25,
)


@given(STEPS, st.integers(0, 10))
@hypothesis_settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_line_comes_once_in_order_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], start: int
) -> None:
    maker = Maker(tmp_path_factory.mktemp("t") / "a.jsonl")
    with contextlib.closing(Feed(maker.layout)) as feed:
        _go_through(feed, maker, steps, start)


def _go_through(feed: Feed, maker: Maker, steps: list[tuple[str, int]], start: int) -> None:
    at, seqs = start, list[int]()
    for what, number in steps:
        if what == "add":
            maker.add_many(number)
        elif what == "garbage":
            maker.raw(b"\0garbage\n" * number)
        elif what == "read":
            piece = feed.read(at, maker.seq, number, BIG)
            seqs += [seq for seq, _ in piece.lines]
            at = piece.next
            assert not piece.gaps
        elif maker.layout.active.stat().st_size:
            maker.rotate(compress=what == "pack")
    more, gaps = drain(feed, at, maker.seq)
    assert seqs + more == list(range(start, maker.seq))
    assert not gaps
