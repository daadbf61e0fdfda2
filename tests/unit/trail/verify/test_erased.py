"""Erased lines: one form to the byte, the tree's leaf, a sealed event that names them; and attacks on each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.trail import findings as words
from indelible.trail.checking.check import verify_trail
from indelible.trail.erased import Ranges, erased_line, parse_erased, plan_text, record_in
from indelible.trail.proofs.merkle import leaf_hash
from tests.trails import ERASURE, ORIGIN, SIGNER, VKEY, Maker, erased, erasure, operation
from tests.unit.trail.verify.sealed import edit_lines, only

OTHER = "88888888-8888-4888-8888-888888888888"
SEQS = (3, 4, 300, 601)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    """Make a trail in two files, in which `SEQS` were erased on record."""
    maker = Maker(tmp_path / "audit.jsonl").add_many(400)
    closed = maker.rotate()
    maker.add_many(300)
    maker.add(erasure(maker, *SEQS))
    maker.add_many(40).seal()
    blank(closed, *SEQS[:3])
    blank(maker.layout.active, *SEQS[3:])
    return maker


def blank(path: Path, *seqs: int, record: str = ERASURE) -> None:
    """Put erased lines in the place of those with these seqs."""

    def edit(lines: list[bytes]) -> None:
        first = json.loads(lines[0])["seq"]
        for seq in seqs:
            lines[seq - first] = erased(lines[seq - first], seq, record)

    edit_lines(path, edit)


def change(path: Path, number: int, how: Callable[[bytes], bytes]) -> None:
    edit_lines(path, lambda lines: lines.__setitem__(number, how(lines[number])))


def closed(maker: Maker) -> Path:
    return maker.layout.segment(0)


def test_lines_that_were_erased_on_record_are_counted_apart(maker: Maker) -> None:
    result = verify_trail(maker.layout.active, VKEY)
    assert result.ok, result.findings
    assert (result.events, result.erased) == (maker.seq, 4)
    assert "the content of 4 erased events: their leaf hashes were checked" in result.not_checked


def test_who_blanks_a_line_without_a_record_is_found(maker: Maker) -> None:
    blank(closed(maker), 100, 101)
    finding = only(verify_trail(maker.layout.active, VKEY))
    assert (finding.problem, finding.line, finding.seq) == (words.ERASED_UNRECORDED, 101, 100)
    assert "seq 100 to 101" in finding.detail


def test_nor_does_another_events_id_help(maker: Maker) -> None:
    blank(maker.layout.active, 500, record=OTHER)
    change(maker.layout.active, 601 - 401, lambda line: line.replace(ERASURE.encode(), OTHER.encode()))
    found = verify_trail(maker.layout.active, VKEY).findings
    assert [(finding.problem, finding.seq) for finding in found] == [
        (words.ERASED_UNRECORDED, 500),
        (words.ERASED_UNRECORDED, 601),
    ]


def test_a_record_that_no_checkpoint_covers_does_not_count(maker: Maker) -> None:
    maker.add(erasure(maker, 200, record=OTHER))
    blank(closed(maker), 200, record=OTHER)
    assert only(verify_trail(maker.layout.active, VKEY)).problem == words.ERASED_UNRECORDED


def test_a_callers_text_is_no_record(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(20)
    forged = {"event_type": "entry_erased", "event_id": ERASURE, "metadata": {"erased": [[5, 5]]}}
    maker.add(operation(21, request__args=forged, metadata={"erased": [[5, 5]]}))
    maker.seal()
    blank(maker.layout.active, 5)
    assert only(verify_trail(maker.layout.active, VKEY)).problem == words.ERASED_UNRECORDED


def test_a_record_erases_nothing_that_comes_after_it(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(20)
    maker.add({**maker.service("entry_erased", {"erased": [[0, 2**40]]}), "event_id": ERASURE})
    maker.add_many(20).seal()
    blank(maker.layout.active, 30)
    assert only(verify_trail(maker.layout.active, VKEY)).problem == words.ERASED_UNRECORDED


@pytest.mark.parametrize(
    "how",
    [
        lambda line: erased(b"another", 300),
        lambda line: line.replace(b'"leaf":"', b'"leaf":"00'),
        lambda line: line[:-1] + b',"more":"text"}',
        lambda line: line.replace(b",", b", "),
        lambda line: line + b" ",
        lambda line: line.replace(b'"leaf"', b'"LEAF"'),
        lambda line: line[:-3].upper() + line[-3:],
        lambda line: line.replace(b'{"seq":300', b'{"seq":299'),
        lambda line: line.replace(ERASURE.encode(), b"a note to myself"),
    ],
)
def test_an_erased_line_has_one_form_and_the_leaf_of_the_tree(
    maker: Maker, how: Callable[[bytes], bytes]
) -> None:
    change(closed(maker), 300, how)
    found = verify_trail(maker.layout.active, VKEY).findings
    assert found
    assert {finding.problem for finding in found} <= {words.LINE_ALTERED, words.LINE_MALFORMED}


def test_an_erased_line_that_was_put_back_is_found(maker: Maker) -> None:
    other = Maker(maker.layout.active.parent / "again" / "audit.jsonl").add_many(400)
    lines = other.layout.active.read_bytes().split(b"\n")
    change(closed(maker), 300, lambda _: lines[300])
    finding = only(verify_trail(maker.layout.active, VKEY))
    assert (finding.problem, finding.seq) == (words.ERASED_BACK, 300)


def test_while_an_erasure_is_under_way_what_is_left_is_said_and_no_finding(maker: Maker) -> None:
    other = Maker(maker.layout.active.parent / "again" / "audit.jsonl").add_many(400)
    lines = other.layout.active.read_bytes().split(b"\n")
    change(closed(maker), 3, lambda _: lines[3])
    change(closed(maker), 4, lambda _: lines[4])
    erasing = maker.layout.directory / "erasing"
    erasing.write_text("{}")  # whoever put the lines back could write that, too
    assert {finding.problem for finding in verify_trail(maker.layout.active, VKEY).findings} == {
        words.ERASED_BACK
    }
    erasing.write_text(SIGNER.sign(plan_text(ORIGIN, b"{}")) + "{}")
    result = verify_trail(maker.layout.active, VKEY)
    assert result.ok, result.findings
    said = "2 events are on record as erased, and not erased yet: whoever writes the trail finishes that"
    assert said in result.not_checked


def test_the_first_line_of_a_file_is_never_erased(maker: Maker) -> None:
    maker.add(erasure(maker, 401, record=OTHER))
    maker.seal()
    blank(maker.layout.active, 401, record=OTHER)
    assert only(verify_trail(maker.layout.active, VKEY)).problem == words.FILE_START


def test_a_line_that_no_checkpoint_covers_cannot_be_erased(maker: Maker) -> None:
    seq = maker.seq
    maker.add_many(3)
    blank(maker.layout.active, seq)
    assert only(verify_trail(maker.layout.active, VKEY)).problem == words.LINE_MALFORMED


def test_erased_lines_of_a_deleted_file_are_no_finding(maker: Maker) -> None:
    maker.delete_file(closed(maker))
    result = verify_trail(maker.layout.active, VKEY)
    assert result.ok, result.findings
    assert (result.erased, result.pruned) == (1, 401)


# --- the form, and ranges ----------------------------------------------------------------------------------------


def test_the_form() -> None:
    leaf = leaf_hash(b"content")
    line = erased_line(7, ERASURE, leaf)
    assert line == b'{"seq":7,"erased":"%b","leaf":"%b"}' % (ERASURE.encode(), leaf.hex().encode())
    assert parse_erased(line) == (7, ERASURE, leaf)
    assert json.loads(line)["seq"] == 7


@given(st.binary(max_size=200))
def test_no_other_bytes_are_an_erased_line(data: bytes) -> None:
    assert parse_erased(data) is None
    line = erased_line(1, ERASURE, bytes(32))
    assert parse_erased(line + b" " + data) is parse_erased(data + b" " + line) is None


@pytest.mark.parametrize(
    "pairs", [None, [], {}, [["x", 1]], [[1]], [[3, 2]], [[-1, 2]], [[0, 90]], [[True, 2]], "[[1,2]]"]
)
def test_what_no_writer_says_is_no_record(pairs: object) -> None:
    entry = {"seq": 90, "event_type": "entry_erased", "event_id": ERASURE, "metadata": {"erased": pairs}}
    found = record_in(entry)
    assert found is not None
    assert found.ranges == []
    assert record_in({**entry, "metadata": pairs}) is None or isinstance(pairs, dict)
    assert record_in({**entry, "event_type": "alert"}) is None


SETS = st.sets(st.integers(0, 60))


def ranges_of(seqs: Iterable[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for seq in sorted(seqs):
        if found and seq <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(seq, found[-1][1]))
        else:
            found.append((seq, seq))
    return found


@given(SETS, SETS, st.randoms())
def test_ranges_are_sets(ones: set[int], others: set[int], random: object) -> None:
    def as_ranges(seqs: set[int]) -> Ranges:
        parts = ranges_of(seqs)
        random.shuffle(parts)  # type: ignore[attr-defined] # hypothesis' own
        made = Ranges()
        for first, last in parts:
            made.add(first, last)
        return made

    def as_set(parts: object) -> set[int]:
        return {seq for first, last in parts for seq in range(first, last + 1)}  # type: ignore[attr-defined]

    left = list(as_ranges(ones).without(as_ranges(others)))
    assert as_set(left) == ones - others
    assert as_set(as_ranges(ones)) == ones
    assert left == sorted(left)
