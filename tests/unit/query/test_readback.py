"""What `log --from` finds: each event once, in order, and a word on whatever was left out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.formats.record import Options, Record
from indelible.query.filters import Filter
from indelible.query.readback import Readback
from indelible.query.search import Hit
from indelible.query.sources.base import Block, Unread
from indelible.query.spool import Spool
from indelible.registry import make_format
from indelible.trail.entry import stamp
from tests.trails import ORIGIN, at, encode, operation

OTHER = "indelible/ffeeddccbbaa99887766554433221100"


class Held:
    """A source in memory."""

    name = "held"
    files = 1

    def __init__(
        self, records: Sequence[bytes], where: str = "held", origins: Sequence[str] | None = None
    ) -> None:
        self.unread: list[Unread] = []
        self._records = records
        self._where = where
        self._origins = origins

    def size(self) -> int:
        return 0

    def blocks(self) -> Iterator[Block]:
        yield Block(self._where, self._records, range(1, len(self._records) + 1), origins=self._origins)


def line(seq: int, user: str = "ada") -> bytes:
    return stamp(seq, at(seq), encode(operation(seq, source__user_id=user)))


def record(name: str, seq: int, origin: str = ORIGIN, user: str = "ada") -> bytes:
    return make_format(name, Options(host="h")).render(Record(line(seq, user), origin))


def seqs(hits: Iterator[Hit]) -> list[int]:
    return [hit.row.seq for hit in hits]


def test_of_one_trail_it_is_by_seq_and_once() -> None:
    made = [record(name, seq) for seq in range(20) for name in ("cef", "mxcp", "ecs")]
    random.Random(1).shuffle(made)
    back = Readback([Held(made[:30]), Held([*made[30:], made[0]])], Filter())
    assert seqs(back.all()) == list(range(20))
    assert (back.repeated, back.contradicting, back.unreadable) == (41, 0, 0)
    again = Readback([Held(made)], Filter())
    assert seqs(again.newest(5)) == [15, 16, 17, 18, 19]


def test_two_trails_are_merged_by_time_and_never_taken_for_one() -> None:
    made = [record("cef", seq, origin) for seq in range(5) for origin in (ORIGIN, OTHER)]
    back = Readback([Held(made)], Filter())
    assert seqs(back.all()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert back.repeated == back.contradicting == 0


def test_two_records_of_one_seq_that_disagree_are_both_listed_and_counted() -> None:
    back = Readback([Held([record("cef", 3), record("cef", 3, user="eve"), record("cef", 3)])], Filter())
    assert [hit.row.source.user_id for hit in back.all()] == ["ada", "eve"]
    assert (back.repeated, back.contradicting) == (1, 1)
    forged = record("cef", 3).replace(b"suser=ada", b"suser=eve")  # the leaf hash is the other one's
    back = Readback([Held([record("cef", 3), forged])], Filter())
    assert [hit.row.source.user_id for hit in back.all()] == ["ada", "eve"]
    assert (back.repeated, back.contradicting) == (0, 1)


def test_what_a_format_does_not_say_is_left_out_and_counted_and_never_a_no() -> None:
    made = [record("mxcp", 1), record("cef", 2), line(3), record("alive", 4)]
    back = Readback([Held(made)], Filter(session=frozenset({"s1"}), tool=frozenset({"read_file"})))
    assert seqs(back.all()) == [2, 3]
    assert back.unanswered == {("mxcp", ("session",)): 1, ("alive", ("session", "tool")): 1}
    back = Readback([Held(made)], Filter(name=frozenset({"read_file"})))
    assert seqs(back.all()) == [1, 2, 3, 4]
    assert back.exposed_only == {"mxcp", "alive"}


def test_a_record_of_another_format_is_kept_as_it_stood() -> None:
    made = record("leef", 1)
    (hit,) = Readback([Held([made])], Filter()).all()
    assert (hit.record, hit.format, hit.origin) == (made, "leef", ORIGIN)


def test_a_line_is_of_the_trail_that_its_file_or_its_topic_names() -> None:
    opened = stamp(0, at(0), encode({"event_type": "file_opened", "metadata": {"origin": OTHER}}))
    hits = Readback(
        [Held([opened, line(1)]), Held([line(1)], "elsewhere"), Held([line(1)], "topic", [ORIGIN])], Filter()
    )
    assert sorted(hit.origin for hit in hits.all()) == ["", ORIGIN, OTHER]


@pytest.mark.parametrize(
    "bad", [b"{", b"\0\xff" * 50, b'{"seq":1', b"x" * (2 << 20), b"CEF:0|x", record("cef", 1)[:-5]]
)
def test_what_is_no_record_is_counted_with_its_place_and_hides_nothing(bad: bytes) -> None:
    back = Readback([Held([line(1), b"", b"\r", bad, line(2) + b"\r"])], Filter())
    assert seqs(back.all()) == [1, 2]
    assert (back.unreadable, back.first_unreadable) == (1, "held, line 4")


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 50)), max_size=60), st.integers(1, 4_000))
def test_what_memory_is_not_for_is_sorted_all_the_same(items: list[tuple[int, int]], held: int) -> None:
    spool = Spool(held)
    for order, (trail, seq) in enumerate(items):
        spool.add(trail, seq, b"%d" % order * (order % 5))
    found = [item for group in spool.groups() for item in group]
    spool.close()
    expected = sorted((trail, seq, order) for order, (trail, seq) in enumerate(items))
    assert [(item.trail, item.seq, item.order) for item in found] == expected
    assert all(item.record == b"%d" % item.order * (item.order % 5) for item in found)


def test_a_search_that_is_given_up_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    hits = Readback([Held([line(seq) for seq in range(50)])], Filter()).all()
    next(hits)
    assert list(tmp_path.iterdir()) == []
    hits.close()  # type: ignore[attr-defined] # a generator
