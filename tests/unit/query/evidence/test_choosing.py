"""Which lines a bundle holds: compared with a plain loop over the lines of the trail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import NotProven, TrailError
from indelible.query.filters import Filter
from indelible.trail.erased import plan_text
from tests.effort import examples
from tests.trails import ORIGIN, SIGNER, Maker, at, erased, erasure, operation
from tests.unit.query.evidence.bundles import Answer, answer, files_of, lines_of, make
from tests.unit.trail.verify.sealed import edit_lines

__all__ = ["answer"]

RECORD = "99999999-9999-4999-8999-999999999999"


def every_line(maker: Maker) -> Iterator[bytes]:
    for path in [*sorted(maker.layout.segments.iterdir()), maker.layout.active]:
        yield from path.read_bytes().splitlines()


def blank(maker: Maker, *seqs: int) -> None:
    """Erase lines of the active file, which begins with seq 0."""

    def edit(lines: list[bytes]) -> None:
        for seq in seqs:
            lines[seq] = erased(lines[seq], seq)

    edit_lines(maker.layout.active, edit)


# --- against a plain loop -------------------------------------------------------------------------------------------

USERS = ["ada", "bob", "eve"]


@st.composite
def trails(draw: st.DrawFn) -> tuple[list[tuple[str, int]], set[int], dict[str, Any], int]:
    """Who called and how long the call took; what is erased; what is asked; how many lines are not sealed."""
    calls = draw(st.lists(st.tuples(st.sampled_from(USERS), st.integers(0, 5)), min_size=1, max_size=30))
    gone = draw(st.sets(st.integers(1, len(calls)), max_size=6))
    asked: dict[str, Any] = {}
    if draw(st.booleans()):
        asked["user"] = frozenset(draw(st.sets(st.sampled_from(USERS), min_size=1, max_size=2)))
    if draw(st.booleans()):
        asked["since"] = at(draw(st.integers(-1, 36)))
    if draw(st.booleans()):
        asked["until"] = at(draw(st.integers(0, 37)))
    if draw(st.booleans()):
        asked["events"] = None
    return calls, gone, asked, draw(st.integers(0, 4))


def expected(lines: list[bytes], asked: dict[str, Any], size: int) -> tuple[set[int], set[int], int]:
    """Return the seqs of events that match, of erased lines that may have, and how many match that are not sealed."""
    events, may_have, unsealed = set(), set(), 0
    objects = [json.loads(line) for line in lines]
    times = [one.get("recorded_at") for one in objects]
    for seq, one in enumerate(objects):
        since, until = asked.get("since", ""), asked.get("until", "9")
        if "erased" in one:
            before = next((time for time in reversed(times[:seq]) if time), "")
            after = next((time for time in times[seq:] if time), "9")
            if before < until and after >= since:
                may_have.add(seq)
            continue
        calls = asked.get("events", 0) is None or one["event_type"] == "mcp_operation"
        user = "user" not in asked or one.get("source", {}).get("user_id") in asked["user"]
        if calls and user and since <= one["timestamp"] < until:
            unsealed += seq >= size
            events |= {seq} if seq < size else set()
    return events, may_have, unsealed


@settings(max_examples=examples(40), deadline=None)
@given(drawn=trails())
def test_it_holds_what_a_plain_loop_finds(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[list[tuple[str, int]], set[int], dict[str, Any], int]
) -> None:
    calls, gone, asked, unsealed = drawn
    folder = tmp_path_factory.mktemp("t")
    maker = Maker(folder / "t" / "audit.jsonl")
    for number, (user, took) in enumerate(calls, 1):
        maker.add(operation(number - took, source__user_id=user))
    if gone:
        maker.add(erasure(maker, *gone))
    maker.seal()
    for number in range(unsealed):
        maker.add(operation(40 + number))
    blank(maker, *gone)
    lines = list(every_line(maker))
    events, may_have, waiting = expected(lines, asked, maker.tree.size)
    wanted = Filter(**asked)
    if not events:
        with pytest.raises(NotProven, match="no event matches"):
            make(maker.layout.active, folder / "e.zip", wanted)
        assert not (folder / "e.zip").exists()
        return
    counts = make(maker.layout.active, folder / "e.zip", wanted).counts
    record = {len(calls) + 1} if may_have else set()
    chosen = sorted(events | may_have | record)
    assert lines_of(folder / "e.zip") == [lines[seq] for seq in chosen]
    assert (counts.events, counts.erased, counts.unsealed) == (len(events), len(may_have), waiting)
    assert counts.records == len(record - events)
    assert (counts.first_seq, counts.last_seq, counts.lines) == (chosen[0], chosen[-1], len(chosen))
    assert counts.runs == sum(seq - 1 not in chosen for seq in chosen)
    times = [json.loads(lines[seq])["timestamp"] for seq in events]
    assert (counts.first_time, counts.last_time) == (min(times), max(times))


# --- files, and what is not there any more ----------------------------------------------------------------------------


def test_lines_of_all_files_are_there_byte_for_byte(tmp_path: Path, answer: Answer) -> None:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(300)
    maker.rotate()
    maker.add_many(300).rotate(compress=True)
    maker.add_many(100).seal()
    make(maker.layout.active, tmp_path / "plain.zip", Filter(tool=frozenset({"read_file"})))
    assert answer(tmp_path / "plain.zip") == 0
    numbers = [json.loads(line)["request"]["request_id"] for line in lines_of(tmp_path / "plain.zip")]
    assert len(numbers) == len(set(numbers)) == 700


def test_what_retention_deleted_is_said_and_missed_by_nobody(tmp_path: Path, answer: Answer) -> None:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(300)
    maker.rotate()
    maker.add_many(50).seal()
    maker.delete_file(next(maker.layout.segments.iterdir()))
    made = make(maker.layout.active, tmp_path / "e.zip")
    assert answer(tmp_path / "e.zip") == 0
    assert (made.counts.first_seq, made.manifest["trail"]["pruned"]) == (301, 301)
    assert made.result.ok


def test_an_erased_line_and_who_had_it_erased_go_together(tmp_path: Path, answer: Answer) -> None:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(20)
    maker.add(erasure(maker, 5, 6, 9))
    maker.add_many(5).seal()
    blank(maker, 5, 6, 9)
    counts = make(maker.layout.active, tmp_path / "e.zip", Filter(request_id=frozenset({"r12"}))).counts
    assert (counts.events, counts.erased, counts.records) == (1, 3, 1)
    assert answer(tmp_path / "e.zip") == 0
    assert "erased, on record: 3 lines" in answer.text
    files = files_of(tmp_path / "e.zip")
    assert b"Whether they would be among the events asked for" in files["README.html"]
    assert RECORD.encode() in files["lines.jsonl"].splitlines()[-1]


def test_a_record_of_an_erasure_that_is_asked_for_is_an_event(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(20)
    maker.add(erasure(maker, 5))
    maker.seal()
    blank(maker, 5)
    counts = make(maker.layout.active, tmp_path / "e.zip", Filter(events=frozenset({"entry_erased"}))).counts
    assert (counts.events, counts.erased, counts.records) == (1, 1, 0)


def test_nothing_that_matches_is_a_no_that_says_what_there_is(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(9)
    maker.add(erasure(maker, 4))
    maker.seal().add_many(2)
    blank(maker, 4)
    with pytest.raises(
        NotProven, match=r"2 would that no checkpoint covers yet.*; of 1 that were erased nobody can tell"
    ):
        make(maker.layout.active, tmp_path / "e.zip", Filter(request_id=frozenset({"r4", "r11", "r12"})))


def test_while_an_erasure_is_under_way_nothing_of_it_is_handed_out(tmp_path: Path) -> None:
    """Its record is sealed, its plan signed, and the lines are still there."""
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(9)
    maker.add(erasure(maker, 4, 5))
    maker.seal()
    plan = maker.layout.directory / "erasing"
    plan.write_text(SIGNER.sign(plan_text(ORIGIN, b"{}")) + "{}")
    for damaged in (False, True):
        with pytest.raises(TrailError, match="an erasure is under way, of 2 events that are still there"):
            make(maker.layout.active, tmp_path / "e.zip", damaged=damaged)
    assert not (tmp_path / "e.zip").exists()
    blank(maker, 4, 5)
    plan.unlink()
    assert make(maker.layout.active, tmp_path / "e.zip").counts.erased == 2


# --- a trail that is not what was sealed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda lines: lines.__setitem__(7, lines[7].replace(b'"ada"', b'"bob"')), "line altered"),
        (lambda lines: lines.pop(7), "line missing"),
        (lambda lines: lines.insert(7, lines[3]), "line duplicated"),
        (lambda lines: lines.__setitem__(7, erased(lines[7], 7)), "erased without record"),
        (lambda lines: lines.__setitem__(7, lines[7][:90]), "line altered"),
    ],
    ids=["altered", "taken out", "doubled", "blanked", "torn"],
)
def test_no_bundle_is_made_unless_that_is_asked_for(
    tmp_path: Path, answer: Answer, edit: Any, problem: str
) -> None:
    """An altered line may be one that was asked for, and does not look so any more."""
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(20).seal()
    edit_lines(maker.layout.active, edit)
    wanted = Filter(user=frozenset({"ada"}))
    with pytest.raises(NotProven, match=problem):
        make(maker.layout.active, tmp_path / "e.zip", wanted)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "t"]
    made = make(maker.layout.active, tmp_path / "e.zip", wanted, damaged=True)
    assert problem in str(made.manifest["trail"]["findings"])
    assert b"is not what was sealed" in files_of(tmp_path / "e.zip")["README.html"]
    seqs = [json.loads(line)["seq"] for line in lines_of(tmp_path / "e.zip")]
    assert [seq for seq in seqs if seq != 7] == [seq for seq in range(1, 21) if seq != 7]
    if problem == "erased without record":
        assert answer(tmp_path / "e.zip") == 1
        assert "seq 7 is erased, and no line says who" in answer.text
    else:
        assert answer(tmp_path / "e.zip") == 0
        assert "altered elsewhere" in answer.text


@pytest.mark.parametrize("damage", ["no checkpoint", "its signature", "a tile", "another key"])
def test_without_anything_that_vouches_there_is_no_bundle_at_all(tmp_path: Path, damage: str) -> None:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(300).seal()
    layout = maker.layout
    if damage == "no checkpoint":
        layout.checkpoint.unlink()
    elif damage == "its signature":
        layout.checkpoint.write_text(layout.checkpoint.read_text().replace("\n301\n", "\n300\n"))
    elif damage == "a tile":
        tile = layout.tiles / "0" / "000"
        tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    else:
        other = "indelible/other+8fb8b7bb+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        layout.vkey.write_text(other)
    for damaged in (False, True):
        with pytest.raises(NotProven):
            make(layout.active, tmp_path / "e.zip", damaged=damaged, vkey=None)
    assert not (tmp_path / "e.zip").exists()
