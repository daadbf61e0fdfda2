"""Whatever is done to a trail is found, where it was done; a trail that nobody touched is never blamed."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.errors import ConfigError, TrailError
from indelible.trail import findings as words
from indelible.trail.check import verify_trail
from indelible.trail.checkpoint import Signer
from indelible.trail.findings import VerifyResult
from indelible.trail.merkle import leaf_hash
from tests.trails import ORIGIN, SIGNER, VKEY, Maker, encode, erased, operation

EVENTS = 700


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a trail of three segments, one of them compressed, and an active file: 705 leaves, three tiles of level 0."""
    maker = Maker(tmp_path_factory.mktemp("pristine") / "audit.jsonl")
    for number in range(3):
        maker.add_many(190).rotate(compress=number == 1)
    maker.add_many(EVENTS - maker.seq).seal()
    return maker.layout.active


@pytest.fixture
def trail(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / pristine.name


def directory(trail: Path) -> Path:
    return trail.with_name(trail.name + ".d")


def segments(trail: Path) -> list[Path]:
    return sorted((directory(trail) / "segments").iterdir())


def only(result: VerifyResult) -> words.Finding:
    assert len(result.findings) == 1, [str(finding) for finding in result.findings]
    return result.findings[0]


def edit_lines(path: Path, edit: Callable[[list[bytes]], None]) -> None:
    lines = path.read_bytes().split(b"\n")[:-1]
    edit(lines)
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def test_an_untouched_trail_is_ok(trail: Path) -> None:
    result = verify_trail(trail, VKEY)
    assert result.ok
    assert (result.events, result.files, result.size, result.origin) == (EVENTS, 4, EVENTS, ORIGIN)
    assert result.not_checked == [
        "a rollback to an earlier checkpoint cannot be seen without a checkpoint kept elsewhere"
    ]


def test_without_a_pinned_key_it_says_so(trail: Path) -> None:
    assert verify_trail(trail).not_checked[0].startswith("key not pinned")


# --- any single change ------------------------------------------------------------------------------------


@given(choice=st.integers(0, 10**6), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_anywhere_is_found_in_its_file(pristine: Path, choice: int, where: float, bit: int) -> None:
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
        assert first.problem in (words.LINE_ALTERED, words.LINE_MISSING, words.LINE_INSERTED, words.LINE_UNENDED)
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
    assert result.events == EVENTS


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


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"])
def test_a_removed_tile_is_missing_and_the_lines_still_agree(trail: Path, name: str) -> None:
    (directory(trail) / name).unlink()
    result = verify_trail(trail, VKEY)
    finding = only(result)
    assert (finding.problem, finding.file) == (words.TILE_MISSING, str(directory(trail) / name))
    assert result.events == EVENTS


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2"])
@pytest.mark.parametrize("garbage", [b"", b"x", bytes(32), bytes(8192)])
def test_a_tile_of_garbage_is_blamed_and_not_the_lines(trail: Path, name: str, garbage: bytes) -> None:
    (directory(trail) / name).write_bytes(garbage)
    result = verify_trail(trail, VKEY)
    assert only(result).file == str(directory(trail) / name)
    assert result.events == EVENTS


def test_a_line_and_a_tile_altered_are_told_apart(trail: Path) -> None:
    tile = directory(trail) / "tile/0/000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    edit_lines(trail, lambda lines: lines.__setitem__(80, lines[80].replace(b"ada", b"eve")))
    result = verify_trail(trail, VKEY)
    assert [finding.problem for finding in result.findings] == [words.TILE_ALTERED, words.LINE_ALTERED]


def test_a_lingering_partial_tile_is_looked_at(trail: Path) -> None:
    stray = directory(trail) / "tile/0/002.p/10"
    good = (directory(trail) / "tile/0/002.p/188").read_bytes()[:320]
    stray.write_bytes(good)
    assert verify_trail(trail, VKEY).ok
    stray.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert only(verify_trail(trail, VKEY)).file == str(stray)


# --- checkpoint, key, origin --------------------------------------------------------------------------------


def test_a_checkpoint_by_another_key_is_refused(trail: Path) -> None:
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    note = (directory(trail) / "checkpoint").read_text().split("\n\n")[0] + "\n"
    (directory(trail) / "checkpoint").write_text(other.sign(note))
    (directory(trail) / "key.vkey").write_text(other.verifier.vkey() + "\n")
    assert verify_trail(trail).ok  # nobody can tell: this is why keys are pinned
    problems = [finding.problem for finding in verify_trail(trail, VKEY).findings]
    assert problems == [words.KEY_MISMATCH, words.CHECKPOINT_INVALID]


def test_the_right_key_over_a_wrong_root(trail: Path) -> None:
    origin, size, _ = (directory(trail) / "checkpoint").read_text().split("\n")[:3]
    root = "A" * 43 + "="
    (directory(trail) / "checkpoint").write_text(SIGNER.sign(f"{origin}\n{size}\n{root}\n"))
    assert only(verify_trail(trail, VKEY)).problem == words.ROOT_MISMATCH


@pytest.mark.parametrize("note", [b"", b"\n\n", b"not a note", bytes(100), b"a\n1\nAAAA\n\n\xe2\x80\x94 a AAAA\n"])
def test_a_checkpoint_that_is_none(trail: Path, note: bytes) -> None:
    (directory(trail) / "checkpoint").write_bytes(note)
    edit_lines(trail, lambda lines: lines.__setitem__(40, lines[40].replace(b"ada", b"eve")))
    problems = [finding.problem for finding in verify_trail(trail, VKEY).findings]
    assert problems == [words.CHECKPOINT_INVALID, words.LINE_ALTERED]


def test_no_checkpoint(trail: Path) -> None:
    (directory(trail) / "checkpoint").unlink()
    result = verify_trail(trail, VKEY)
    assert only(result).problem == words.CHECKPOINT_MISSING
    assert result.size is None


def test_a_file_of_another_trail(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5).seal()
    maker.origin = "indelible/" + "f" * 32
    maker.rotate()
    maker.origin = ORIGIN
    maker.add_many(3).seal()
    finding = only(verify_trail(maker.layout.active, VKEY))
    assert (finding.problem, finding.file, finding.line) == (words.ORIGIN_MISMATCH, str(maker.layout.active), 1)


def test_a_wrong_vkey_is_the_users_mistake(trail: Path, tmp_path: Path) -> None:
    for text in ("nonsense", "", "a+b+c", str(tmp_path / "missing"), "\0"):
        with pytest.raises(ConfigError):
            verify_trail(trail, text)
    (tmp_path / "pinned").write_text(VKEY + "\n")
    assert verify_trail(trail, str(tmp_path / "pinned")).ok


# --- segments that are none ----------------------------------------------------------------------------------


def test_links_and_strangers_among_the_segments(trail: Path, tmp_path: Path) -> None:
    folder = directory(trail) / "segments"
    (folder / "notes.txt").write_text("hello")
    (folder / f"{9000:020d}.jsonl").mkdir()
    (folder / ".00000000000000000191.jsonl.zst.tmp").write_text("a writer is compressing")
    kept = segments(trail)[-1]
    kept.rename(tmp_path / "elsewhere.jsonl")
    kept.symlink_to(tmp_path / "elsewhere.jsonl")
    result = verify_trail(trail, VKEY)
    foreign = {finding.file for finding in result.findings if finding.problem == words.FILE_FOREIGN}
    assert foreign == {str(folder / "notes.txt"), str(folder / f"{9000:020d}.jsonl"), str(kept)}
    assert words.FILE_MISSING in {finding.problem for finding in result.findings}


def test_two_files_joined_or_one_cut_in_two(trail: Path) -> None:
    last = segments(trail)[2]
    data = trail.read_bytes()
    trail.write_bytes(last.read_bytes() + data)
    last.unlink()
    finding = only(verify_trail(trail, VKEY))
    assert finding.problem == words.FILE_START


def test_a_segment_under_a_wrong_name(trail: Path) -> None:
    path = segments(trail)[0]
    path.rename(path.with_name(f"{5:020d}.jsonl"))
    assert only(verify_trail(trail, VKEY)).problem == words.FILE_START


def test_a_plain_segment_counts_before_its_compressed_twin(trail: Path) -> None:
    path = segments(trail)[0]
    path.with_name(path.name + ".zst").write_bytes(b"a crash while compressing")
    assert verify_trail(trail, VKEY).ok


# --- deleted and erased --------------------------------------------------------------------------------------


def test_a_recorded_deletion_is_counted_apart(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(300)
    first = maker.rotate()
    maker.add_many(300)
    second = maker.rotate()
    maker.add_many(20).seal()
    maker.delete_file(first)
    result = verify_trail(maker.layout.active, VKEY)
    assert result.ok, result.findings
    assert (result.pruned, result.events + result.pruned) == (301, maker.seq)
    maker.add_many(30)
    second.unlink()
    assert only(verify_trail(maker.layout.active, VKEY)).problem == words.FILE_MISSING


def test_a_deletion_recorded_only_after_the_checkpoint_does_not_excuse(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(30)
    closed = maker.rotate()
    maker.add_many(5).seal()
    maker.add(maker.service("retention_applied", {"pruned": [[0, 30]]}))
    closed.unlink()
    assert only(verify_trail(maker.layout.active, VKEY)).problem == words.FILE_MISSING


def test_no_deletion_on_record_excuses_a_line_taken_out(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(30)
    maker.add(maker.service("retention_applied", {"pruned": [[0, 1000], ["x"], [1], None, {}]}))
    maker.seal()
    edit_lines(maker.layout.active, lambda lines: lines.__delitem__(10))
    assert only(verify_trail(maker.layout.active, VKEY)).problem == words.LINE_MISSING


def test_erased_lines_are_counted_apart_and_must_keep_their_leaf(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(600).seal()

    def erase(lines: list[bytes]) -> None:
        for seq in (3, 300, 301, 600):
            lines[seq] = erased(lines[seq], seq)

    edit_lines(maker.layout.active, erase)
    result = verify_trail(maker.layout.active, VKEY)
    assert result.ok, result.findings
    assert (result.events, result.erased) == (601, 4)
    edit_lines(maker.layout.active, lambda lines: lines.__setitem__(300, lines[300].replace(b'"leaf":"', b'"leaf":"0')))
    assert only(verify_trail(maker.layout.active, VKEY)).seq == 300


# --- after the checkpoint ------------------------------------------------------------------------------------


def test_the_unsealed_tail_is_said_not_to_be_checked(trail: Path, tmp_path: Path) -> None:
    maker = Maker(tmp_path / "more" / "audit.jsonl").add_many(10).seal().add_many(3)
    maker.raw(b'{"seq":14,"schema":1,"recor')
    result = verify_trail(maker.layout.active, VKEY)
    assert result.ok
    assert (result.events, result.unsealed) == (11, 3)
    assert any(text.startswith("3 events after the last checkpoint") for text in result.not_checked)
    assert any("line 15: a torn last line of 27 bytes" in text for text in result.not_checked)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"garbage\n", words.LINE_MALFORMED),
        (b'{"seq":13,"schema":1}\n', words.LINE_MALFORMED),
        (b'{"seq":15,"schema":1,"event_type":"alert"}\n', words.LINE_MISSING),
        (b'{"seq":12,"schema":1,"event_type":"alert"}\n', words.LINE_DUPLICATED),
        (b'{"seq":3,"schema":1,"event_type":"alert"}\n', words.LINE_DUPLICATED),
        (b'{"seq":13,"event_type":"' + b"x" * 70_000 + b'"}\n', words.LINE_MALFORMED),
    ],
)
def test_what_is_wrong_after_the_checkpoint(tmp_path: Path, raw: bytes, problem: str) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(10).seal().add_many(2)
    maker.raw(raw)
    finding = only(verify_trail(maker.layout.active, VKEY))
    assert (finding.problem, finding.line) == (problem, 14)


def test_findings_are_bounded_and_the_rest_counted(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(2_600).seal()

    def edit(lines: list[bytes]) -> None:
        lines[:] = [line.replace(b"ada", b"eve") for line in lines]

    edit_lines(maker.layout.active, edit)
    result = verify_trail(maker.layout.active, VKEY)
    assert (len(result.findings), result.omitted) == (words.MAX_FINDINGS, 2_600 - words.MAX_FINDINGS)
    assert (result.findings[0].seq, result.events) == (1, 1)


@given(seed=st.integers(0, 2**32), edits=st.integers(1, 6))
@settings(max_examples=120, deadline=None)
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


def test_the_scale_of_a_real_trail_keeps_every_level(tmp_path: Path) -> None:
    """70,000 leaves: level 1 is full once and level 2 begins; a bit flipped there is found there."""
    maker = Maker(tmp_path / "audit.jsonl")
    body = encode(operation())
    lines = [b'{"seq":%d,"schema":1,"recorded_at":"2026-11-18T11:10:10.000000Z",' % seq + body[1:] for seq in range(1, 70_000)]
    maker.raw(b"".join(line + b"\n" for line in lines))
    maker._waiting += lines
    maker.seal()
    assert verify_trail(maker.layout.active, VKEY).ok
    for name in ("tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1", "tile/0/200"):
        path = maker.layout.directory / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert only(verify_trail(maker.layout.active, VKEY)).file == str(path)
        path.write_bytes(data)


# --- nothing to verify ----------------------------------------------------------------------------------------


def test_no_trail_is_never_ok(tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="there is no trail"):
        verify_trail(tmp_path / "audit.jsonl")
    (tmp_path / "audit.jsonl.d").mkdir()
    with pytest.raises(TrailError, match="there is no trail"):
        verify_trail(tmp_path / "audit.jsonl")
    (tmp_path / "audit.jsonl").touch()
    assert not verify_trail(tmp_path / "audit.jsonl").ok


def test_a_pipe_in_place_of_the_trail_does_not_block(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "audit.jsonl")
    with pytest.raises(TrailError, match="not a plain file"):
        verify_trail(tmp_path / "audit.jsonl")
