"""Whatever is done to lines is found where it was done, and no untouched line is blamed."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.trail import findings as words
from indelible.trail.checking.check import verify_trail
from indelible.trail.proofs.merkle import leaf_hash
from tests.effort import examples
from tests.trails import VKEY, Maker, encode
from tests.unit.trail.verify.sealed import EVENTS, edit_lines, only, segments


@given(choice=st.integers(0, 10**6), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(
    max_examples=examples(250),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_a_flipped_bit_anywhere_is_found_in_its_file(
    pristine: Path, choice: int, where: float, bit: int
) -> None:
    trail = pristine  # changed in place and put back: copying it for every example would be most of the work
    files = sorted(path for path in trail.parent.rglob("*") if path.is_file())
    path = files[choice % len(files)]
    data = path.read_bytes()
    at = int(where * len(data))
    try:
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
        result = verify_trail(trail, VKEY)
    finally:
        path.write_bytes(data)
    assert not result.ok
    assert result.findings[0].file == str(path)
    if path.suffix == ".jsonl":
        line = data.count(b"\n", 0, at) + 1
        first = result.findings[0]
        # A line feed that is no more joins two lines: either may be named.
        assert first.line in ((line, line + 1) if data[at : at + 1] == b"\n" else (line,))
        assert first.problem in (
            words.LINE_ALTERED,
            words.LINE_MISSING,
            words.LINE_INSERTED,
            words.LINE_UNENDED,
        )
    elif "tile" in path.parts:
        assert only(result).problem == words.TILE_ALTERED


@pytest.mark.parametrize("seq", [0, 1, 255, 256, 511, 512, 650, EVENTS - 1])
def test_an_altered_line_is_named_by_file_line_and_seq(tmp_path: Path, seq: int) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(EVENTS - 1).seal()
    kept: list[bytes] = []

    def edit(lines: list[bytes]) -> None:
        kept.append(lines[seq])
        lines[seq] = kept[-1].replace(b'"timestamp":"2026', b'"timestamp":"2025')

    edit_lines(maker.layout.active, edit)
    finding = only(verify_trail(maker.layout.active, VKEY))
    assert (finding.problem, finding.file, finding.line, finding.seq) == (
        words.LINE_ALTERED, str(maker.layout.active), seq + 1, seq,
    )  # fmt: skip
    assert finding.expected == leaf_hash(kept[0]).hex()


def test_a_re_encoded_line_is_found(trail: Path) -> None:
    edit_lines(trail, lambda lines: lines.__setitem__(40, lines[40].replace(b'":', b'": ')))
    assert only(verify_trail(trail, VKEY)).line == 41


@pytest.mark.parametrize("index", [0, 1, 60, 100])
def test_a_deleted_line_is_missing_where_it_stood(trail: Path, index: int) -> None:
    first = EVENTS - len(trail.read_bytes().splitlines())
    edit_lines(trail, lambda lines: lines.__delitem__(index))
    result = verify_trail(trail, VKEY)
    finding = result.findings[0]
    assert (finding.problem, finding.seq, finding.line) == (words.LINE_MISSING, first + index, index + 1)
    assert result.events == EVENTS - 1
    assert len(result.findings) == (2 if index == 0 else 1)  # the first line is also the file's own


@pytest.mark.parametrize("index", [1, 60, 100])
def test_a_duplicated_line_is_named(trail: Path, index: int) -> None:
    first = EVENTS - len(trail.read_bytes().splitlines())
    edit_lines(trail, lambda lines: lines.insert(index + 1, lines[index]))
    finding = only(verify_trail(trail, VKEY))
    assert (finding.problem, finding.seq, finding.line) == (words.LINE_DUPLICATED, first + index, index + 2)


@pytest.mark.parametrize("index", [1, 60, 100])
def test_an_inserted_line_is_named_and_the_rest_agrees(trail: Path, index: int) -> None:
    edit_lines(trail, lambda lines: lines.insert(index, lines[index].replace(b"ada", b"eve")))
    result = verify_trail(trail, VKEY)
    finding = only(result)
    assert (finding.problem, finding.line) == (words.LINE_INSERTED, index + 1)
    assert result.events == EVENTS


def test_two_neighbours_swapped_are_one_finding(trail: Path) -> None:
    def edit(lines: list[bytes]) -> None:
        lines[50], lines[51] = lines[51], lines[50]

    edit_lines(trail, edit)
    finding = only(verify_trail(trail, VKEY))
    assert (finding.problem, finding.line) == (words.LINE_MOVED, 51)


def test_two_distant_lines_swapped_are_both_named(trail: Path) -> None:
    first = EVENTS - len(trail.read_bytes().splitlines())

    def edit(lines: list[bytes]) -> None:
        lines[30], lines[90] = lines[90], lines[30]

    edit_lines(trail, edit)
    result = verify_trail(trail, VKEY)
    assert [(finding.problem, finding.seq) for finding in result.findings] == [
        (words.LINE_MOVED, first + 90),
        (words.LINE_MOVED, first + 30),
    ]
    assert result.events == EVENTS - 2  # the others are where they were sealed


def test_a_block_moved_is_one_finding(trail: Path) -> None:
    first = EVENTS - len(trail.read_bytes().splitlines())

    def edit(lines: list[bytes]) -> None:
        lines[40:70] = lines[60:70] + lines[40:60]

    edit_lines(trail, edit)
    result = verify_trail(trail, VKEY)
    assert {finding.problem for finding in result.findings} == {words.LINE_MOVED}
    assert result.findings[0].seq in (first + 40, first + 60)


def test_a_tail_cut_off_under_the_checkpoint(trail: Path) -> None:
    edit_lines(trail, lambda lines: lines.__delitem__(slice(-3, None)))
    finding = only(verify_trail(trail, VKEY))
    assert (finding.problem, finding.seq) == (words.TAIL_CUT, EVENTS - 3)


def test_the_last_line_feed_cut_off(trail: Path) -> None:
    trail.write_bytes(trail.read_bytes()[:-1])
    assert only(verify_trail(trail, VKEY)).problem == words.LINE_UNENDED


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_removed_file_is_missing(trail: Path, number: int) -> None:
    path = segments(trail)[number]
    first = int(path.name[:20])
    path.unlink()
    finding = only(verify_trail(trail, VKEY))
    assert (finding.problem, finding.seq) == (words.FILE_MISSING, first)
    assert finding.file is not None
    assert finding.file.endswith(f"{first:020d}.jsonl")


def test_the_active_file_removed(trail: Path) -> None:
    trail.unlink()
    assert only(verify_trail(trail, VKEY)).problem == words.TAIL_CUT


def test_findings_are_bounded_and_the_rest_counted(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(2_600).seal()

    def edit(lines: list[bytes]) -> None:
        lines[1:] = [line.replace(b"ada", b"eve") for line in lines[1:]]

    edit_lines(maker.layout.active, edit)
    result = verify_trail(maker.layout.active, VKEY)
    assert (len(result.findings), result.omitted) == (words.MAX_FINDINGS, 2_600 - words.MAX_FINDINGS)
    assert (result.findings[0].seq, result.events) == (1, 1)


@given(seed=st.integers(0, 2**32), edits=st.integers(1, 6))
@settings(max_examples=examples(120))
def test_any_edits_of_lines_are_found_and_untouched_lines_are_not_blamed(
    tmp_path_factory: pytest.TempPathFactory, seed: int, edits: int
) -> None:
    """The lines that are exactly as sealed, and where they were, are all counted as events."""
    draw = random.Random(seed)
    maker = Maker(tmp_path_factory.mktemp("edits") / "audit.jsonl").add_many(400).seal()
    before = maker.layout.active.read_bytes().split(b"\n")[:-1]
    lines = list(before)
    for _ in range(edits):
        index = draw.randrange(len(lines))
        kind = draw.choice(["alter", "delete", "insert", "duplicate", "swap"])
        if kind == "alter":
            lines[index] = lines[index] + b" "
        elif kind == "delete":
            del lines[index]
        elif kind == "insert":
            lines.insert(index, encode({"seq": draw.randrange(500), "event_type": "alert"}))
        elif kind == "duplicate":
            lines.insert(draw.randrange(len(lines)), lines[index])
        else:
            other = draw.randrange(len(lines))
            lines[index], lines[other] = lines[other], lines[index]
    maker.layout.active.write_bytes(b"".join(line + b"\n" for line in lines))
    result = verify_trail(maker.layout.active, VKEY)
    assert result.ok == (lines == before), [str(finding) for finding in result.findings]
    assert result.events <= len(set(lines) & set(before))
    named = {finding.seq for finding in result.findings}
    gone = {seq for seq, line in enumerate(before) if line not in lines}
    spans = [(finding.seq or 0, finding.expected or "") for finding in result.findings]
    for seq in gone:  # every line that is no more is named, by itself or in a range
        assert seq in named or any(f"seq {first} to" in text and first <= seq for first, text in spans)
