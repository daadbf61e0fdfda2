"""Records that are held elsewhere, against their trails: any subset is right, and no byte of it can be another."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import NotProven
from indelible.formats.found import read_found
from indelible.formats.record import Options, Record
from indelible.query import held as module
from indelible.query.held import HeldCheck
from indelible.query.lines import LinesBySeq
from indelible.query.seqs import PAGE_BITS, SeqSet
from indelible.query.sources.base import Block
from indelible.registry import make_format
from indelible.trail.findings import VerifyResult
from indelible.trail.proofs.checkpoint import Signer
from indelible.trail.proofs.merkle import leaf_hash
from tests.trails import ERASURE, KEY, ORIGIN, SIGNER, Maker, erased, erasure, operation
from tests.unit.query.test_readback import Held

pytestmark = pytest.mark.slow

OTHER = "indelible/ffeeddccbbaa99887766554433221100"
FORMATS = ("indelible", "cef", "leef", "syslog", "mxcp", "ecs", "otlp", "cloudevents")
MACHINES = (("dvchost",), ("devHost",), ("observer", "hostname"))


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    maker = Maker(tmp_path_factory.mktemp("trail") / "audit.jsonl").add_many(300)
    maker.rotate(compress=True)
    maker.add_many(250).rotate()
    return maker.add_many(40).seal()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    path = tmp_path_factory.mktemp("other") / "other.jsonl"
    maker = Maker(path, origin=OTHER, signer=Signer(OTHER, KEY))
    return maker.add_many(50, lambda seq: operation(seq, source__user_id="bob")).seal()


@pytest.fixture(scope="module")
def lines(maker: Maker) -> list[bytes]:
    return lines_of(maker)


def lines_of(maker: Maker) -> list[bytes]:
    with LinesBySeq(maker.layout.active) as lines:
        return [line for seq in range(maker.seq) if (line := lines.find(seq))]


def rendered(line: bytes, name: str, origin: str = ORIGIN, options: Options | None = None) -> bytes | None:
    made, record = make_format(name, options or Options(host="host-1")), Record(line, origin)
    return made.render(record) if made.holds is None or record.entry.event_type in made.holds else None


def judged(
    makers: Maker | Sequence[Maker], records: Sequence[bytes], *, complete: bool = False, torn: bool = False
) -> tuple[HeldCheck, VerifyResult]:
    paths = [maker.layout.active for maker in ([makers] if isinstance(makers, Maker) else makers)]
    with HeldCheck(paths, [], "held", complete=complete) as check:
        half = len(records) // 2
        check.block(Block("held", records[:half], range(1, half + 1)))
        check.block(Block("held", records[half:], range(half + 1, len(records) + 1), torn=torn))
        return check, check.finish([Held(records)])


def problems(result: VerifyResult) -> list[tuple[str, int | None, int | None]]:
    return [(finding.problem, finding.line, finding.seq) for finding in result.findings]


# --- what is right ------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(data=st.data())
def test_any_subset_in_any_order_and_any_format_is_right(
    maker: Maker, lines: list[bytes], data: st.DataObject
) -> None:
    chosen = data.draw(
        st.lists(st.tuples(st.integers(0, len(lines) - 1), st.sampled_from(FORMATS)), min_size=1)
    )
    records = [(seq, record) for seq, name in chosen if (record := rendered(lines[seq], name)) is not None]
    if not records:
        return
    check, result = judged(maker, [record for _, record in records])
    seqs = {seq for seq, _ in records}
    assert result.findings == []
    assert (result.events, check.repeated) == (len(seqs), len(records) - len(seqs))
    (told,) = check.origins()
    assert (told["first"], told["last"], told["records"]) == (min(seqs), max(seqs), len(seqs))
    missing = sorted(set(range(min(seqs), max(seqs))) - seqs)
    assert [seq for a, b in told["missing_ranges"] for seq in range(a, b + 1)] == missing
    assert judged(maker, [record for _, record in records], complete=True)[1].ok is not bool(missing)


def test_all_of_it_is_compared_in_one_pass(
    maker: Maker, lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order, and however small the batches are."""
    monkeypatch.setattr(module, "BATCH_RECORDS", 64)
    records = [record for line in lines if (record := rendered(line, "cef")) is not None]
    random.Random(2).shuffle(records)
    check, result = judged(maker, records, complete=True)
    assert (result.ok, result.events, check.read) == (True, maker.seq, maker.seq)


def test_a_line_that_was_converted_on_its_way_is_as_it_was_sealed(maker: Maker, lines: list[bytes]) -> None:
    made = [rendered(line, "cef") or b"" for line in lines[20:30]]
    assert judged(maker, [line + b"\r" for line in [*lines[:20], *made]])[1].events == 30


def test_two_trails_are_told_apart(maker: Maker, lines: list[bytes], other: Maker) -> None:
    mine, theirs = lines[:40], lines_of(other)
    both = [line for pair in zip(mine, theirs, strict=False) for line in pair]
    check, result = judged([maker, other], [*both, rendered(theirs[7], "cef", OTHER) or b""])
    assert result.findings == []
    assert [(one["origin"], one["records"]) for one in check.origins()] == [(ORIGIN, 40), (OTHER, 40)]
    assert check.repeated == 1


def test_what_is_sealed_while_it_is_read_counts(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5).seal()
    with HeldCheck([maker.layout.active], [], "held") as check:
        check.block(Block("held", lines_of(maker), range(1, 7)))
        maker.add_many(600).rotate()
        maker.add_many(5).seal()
        later = lines_of(maker)[6:]
        made = [record for line in later[300:] if (record := rendered(line, "leef"))]
        check.block(Block("held", [*later[:300], *made], range(7, 7 + 300 + len(made))))
        result = check.finish([Held([])])
    assert (result.findings, result.events) == ([], maker.seq)


# --- what is wrong ------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.data())
def test_no_byte_of_any_record_can_be_changed(maker: Maker, lines: list[bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FORMATS))
    record = rendered(lines[data.draw(st.integers(1, 30))], name)
    if record is None:
        return
    at = data.draw(st.integers(0, len(record) - 1))
    new = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != record[at] and value != 10))])
    changed = record[:at] + new + record[at + 1 :]
    good = rendered(lines[40], name)
    assert good is not None
    _, result = judged(maker, [good, changed])
    if result.ok and name != "indelible":  # then it says the same, but for what no line has
        before, after = read_found(record), read_found(changed)
        assert before
        assert after
        for found in (before, after):
            for key in MACHINES:
                found.fields.pop(key, None)
        assert after.fields == before.fields or before.settings != after.settings
    else:
        assert [finding.line for finding in result.findings] == [2]
        assert result.events == 1


def test_of_two_that_disagree_it_says_which_is_altered(maker: Maker, lines: list[bytes]) -> None:
    line = lines[9]
    altered = line.replace(b'"ada"', b'"eve"')
    check, result = judged(maker, [line, altered, line])
    (finding,) = result.findings
    assert problems(result) == [("line altered", 2, 9)]
    assert finding.expected == f"leaf {leaf_hash(line).hex()}"
    assert finding.found == f"leaf {leaf_hash(altered).hex()}"
    assert (result.events, check.repeated) == (1, 1)


def test_a_forged_stamp_vouches_for_nothing(maker: Maker, lines: list[bytes]) -> None:
    made = rendered(lines[9], "cef") or b""
    theirs, mine = Record(lines[10], ORIGIN).leaf.encode(), Record(lines[9], ORIGIN).leaf.encode()
    forged = [
        made.replace(b"suser=ada", b"suser=eve"),  # the leaf hash of a line that says something else
        made.replace(mine, theirs),
        made.replace(b"Seq=9 ", b"Seq=10 "),
        made.replace(ORIGIN.encode(), OTHER.encode()),
        made.replace(b"Seq=9 ", b"Seq=9000 "),
    ]
    _, result = judged(maker, [*forged, made])
    assert [
        (finding.line, finding.problem) for finding in sorted(result.findings, key=lambda one: one.line or 0)
    ] == [
        (1, "record differs from its line"),
        (2, "line altered"),
        (3, "line altered"),
        (4, "line of another trail"),
        (5, "line not covered yet"),
    ]
    assert result.events == 1


@pytest.mark.parametrize(
    "bad",
    [
        b"\0\xff\xfe" * 99,
        b"{",
        b'{"seq":1',
        b"x" * 70_000,
        b"<134>1 - - - - - -",
        b'{"a":1}',
        b"CEF:0|a|b|c|1|n|5|k=v",
    ],
)
def test_what_is_no_record_is_found_and_hides_nothing(maker: Maker, lines: list[bytes], bad: bytes) -> None:
    some = lines[:10]
    check, result = judged(maker, [*some[:5], b"", bad, b"\r", *some[5:]])
    assert [finding.line for finding in result.findings] == [7]
    assert (result.events, check.read) == (10, 11)


def test_a_line_over_64_kb_is_none(maker: Maker, lines: list[bytes]) -> None:
    line = lines[3]
    long = line[:-1] + b',"x":"' + b"x" * 70_000 + b'"}'
    assert problems(judged(maker, [line, long])[1]) == [("line altered", 2, 3)]


def test_a_torn_end_is_told_as_such(maker: Maker, lines: list[bytes]) -> None:
    made = rendered(lines[4], "cef") or b""
    _, result = judged(maker, [made, made[:-20]], torn=True)
    assert problems(result) == [("not a record", 2, None)]
    assert "cut off" in result.findings[0].detail


def test_of_an_unknown_trail_nothing_is_believed(maker: Maker, other: Maker) -> None:
    lines = lines_of(other)
    _, result = judged(maker, [rendered(lines[5], "ecs", OTHER) or b"", *lines[:3]])
    assert [(finding.problem, finding.seq) for finding in result.findings][-1] == ("line of another trail", 5)
    assert {finding.problem for finding in result.findings} == {
        "line of another trail"
    }  # its first line names it
    assert all("--trail" in finding.detail for finding in result.findings)


def test_an_erased_line_is_one_only_when_the_trail_erased_it(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(20)
    whole = lines_of(maker)
    whole.append(maker.add(erasure(maker, 4)))
    maker.seal()
    gone = erased(whole[4], 4)
    content = maker.layout.active.read_bytes()
    maker.layout.active.write_bytes(content.replace(whole[4] + b"\n", gone + b"\n"))
    check, result = judged(maker, [*whole[:4], gone, *whole[5:]], complete=True)
    assert (result.findings, result.erased, result.events) == ([], 1, len(whole))
    assert "the content of 1 erased lines: their leaf hashes were compared" in result.not_checked
    blanked = erased(whole[5], 5, ERASURE)
    assert problems(judged(maker, [blanked])[1]) == [("erased without record", 1, 5)]
    words = rendered(whole[4], "cef") or b""  # of what the trail has erased since
    assert problems(judged(maker, [words])[1]) == [("record not compared", 1, 4)]
    assert check.counts["as sealed"] == len(whole)


def test_nothing_is_no_yes(maker: Maker) -> None:
    assert [finding.problem for finding in judged(maker, [])[1].findings] == ["not a record"]


def test_who_asks_for_all_is_told_what_is_missing(maker: Maker, lines: list[bytes]) -> None:
    _, result = judged(maker, [*lines[10:20], *lines[25:30], lines[31]], complete=True)
    told = [(finding.problem, finding.seq, finding.expected) for finding in result.findings]
    assert told == [("records missing", 20, "seq 20 to 24"), ("records missing", 30, "seq 30")]


def test_each_trail_is_judged_by_the_key_of_its_name(maker: Maker, lines: list[bytes], other: Maker) -> None:
    mine, theirs = SIGNER.verifier, Signer(OTHER, KEY).verifier
    paths = [maker.layout.active, other.layout.active]
    with HeldCheck(paths, [mine, theirs], "held") as check:
        check.block(Block("held", [lines[1], lines_of(other)[1]], [1, 2]))
        assert check.finish([Held([])]).ok
    with HeldCheck(paths, [mine], "held") as check:
        check.block(Block("held", [lines[1], lines_of(other)[1]], [1, 2]))
        result = check.finish([Held([])])
    assert [finding.line for finding in result.findings] == [2]
    assert any("no --vkey is this trail's" in text for text in result.not_checked)
    with pytest.raises(NotProven):
        HeldCheck(paths[:1], [theirs], "held")


# --- seqs ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5) | st.integers(0, 400) | st.integers(0, 5 * PAGE_BITS), max_size=80))
def test_a_set_of_seqs_is_one(seqs: list[int]) -> None:
    made = SeqSet()
    met: set[int] = set()
    for seq in seqs:
        assert made.add(seq) is (seq not in met)
        met.add(seq)
    assert [seq for a, b in made.ranges() for seq in range(a, b + 1)] == sorted(met)
    assert (len(made), made.first, made.last) == (len(met), min(met, default=None), max(met, default=None))
    assert all((seq in made) is (seq in met) for seq in range(450))


def test_a_dense_set_takes_no_room() -> None:
    made = SeqSet()
    for seq in range(2 * PAGE_BITS + 3):
        made.add(seq)
    assert list(made.ranges()) == [(0, 2 * PAGE_BITS + 2)]
    assert list(made.gaps()) == []
    assert [page is None for page in made._pages.values()] == [True, True, False]
    assert not made.add(5)


def test_what_waits_to_be_compared_holds_nothing_that_stands_beside_it(tmp_path: Path) -> None:
    """A few records in other words among many lines: memory is that of the few."""
    maker = (
        Maker(tmp_path / "a.jsonl")
        .add_many(1, lambda seq: operation(seq, request__args={"text": "x" * 50_000}))
        .seal()
    )
    line = next(one for one in lines_of(maker) if len(one) > 50_000)
    tracemalloc.start()
    try:
        with HeldCheck([maker.layout.active], [], "held") as check:
            for number in range(60):
                records = [*(bytes(bytearray(line)) for _ in range(20)), b"no record %d" % number]
                check.block(Block("held", records, range(21 * number, 21 * number + 21)))
            result = check.finish([Held([])])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (check.read, len(result.findings), check.repeated) == (60 * 21, 60, 60 * 20 - 1)
    assert [finding.line for finding in result.findings] == [21 * number + 20 for number in range(60)]
    assert peak < 20 << 20, f"{peak >> 20} MB, of 60 MB"
