"""What stands around the lines: checkpoint, key, origin, files; what was deleted, erased, or not sealed yet."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.errors import ConfigError, TrailError
from indelible.trail import findings as words
from indelible.trail.checking import check
from indelible.trail.checking.check import verify_trail
from indelible.trail.checking.verify import Source, verify
from indelible.trail.findings import VerifyResult
from indelible.trail.proofs.checkpoint import Signer, Verifier
from tests.trails import ORIGIN, SIGNER, VKEY, Maker, erased, erasure, operation
from tests.unit.trail.verify.sealed import EVENTS, directory, edit_lines, only, segments


def test_an_untouched_trail_is_ok(trail: Path) -> None:
    result = verify_trail(trail, VKEY)
    assert result.ok
    assert (result.events, result.files, result.size, result.origin) == (EVENTS, 4, EVENTS, ORIGIN)
    assert result.not_checked == [
        "a rollback to an earlier checkpoint cannot be seen without a checkpoint kept elsewhere"
    ]


def test_without_a_pinned_key_it_says_so(trail: Path) -> None:
    assert verify_trail(trail).not_checked[0].startswith("key not pinned")


# --- checkpoint, key, origin --------------------------------------------------------------------------------


def test_a_checkpoint_by_another_key_is_refused(trail: Path) -> None:
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    note = (directory(trail) / "checkpoint").read_text().split("\n\n")[0] + "\n"
    (directory(trail) / "checkpoint").write_text(other.sign(note))
    (directory(trail) / "key.vkey").write_text(other.verifier.vkey() + "\n")
    assert {finding.problem for finding in verify_trail(trail).findings} == {words.NOT_SIGNED}
    problems = [finding.problem for finding in verify_trail(trail, VKEY).findings]
    assert problems == [words.KEY_MISMATCH, words.CHECKPOINT_INVALID]


def test_a_trail_that_another_key_signed_throughout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    Maker(path, signer=Signer(ORIGIN, Ed25519PrivateKey.generate())).add_many(20).seal()
    assert verify_trail(path).ok  # nobody can tell: this is why keys are pinned
    problems = [finding.problem for finding in verify_trail(path, VKEY).findings]
    assert problems == [words.KEY_MISMATCH, words.CHECKPOINT_INVALID]


def test_the_right_key_over_a_wrong_root(trail: Path) -> None:
    origin, size, _ = (directory(trail) / "checkpoint").read_text().split("\n")[:3]
    root = "A" * 43 + "="
    (directory(trail) / "checkpoint").write_text(SIGNER.sign(f"{origin}\n{size}\n{root}\n"))
    assert only(verify_trail(trail, VKEY)).problem == words.ROOT_MISMATCH


@pytest.mark.parametrize(
    "note", [b"", b"\n\n", b"not a note", bytes(100), b"a\n1\nAAAA\n\n\xe2\x80\x94 a AAAA\n"]
)
def test_a_checkpoint_that_is_none(trail: Path, note: bytes) -> None:
    (directory(trail) / "checkpoint").write_bytes(note)
    path = segments(trail)[0]
    for file in (path, trail):
        edit_lines(file, lambda lines: lines.__setitem__(40, lines[40].replace(b"ada", b"eve")))
    findings = verify_trail(trail, VKEY).findings
    assert [(finding.problem, finding.file) for finding in findings] == [
        (words.CHECKPOINT_INVALID, str(directory(trail) / "checkpoint")),
        (words.LINE_ALTERED, str(path)),
        (words.LINE_OR_TILE, str(trail)),  # in the last, partial tile only the signed root could tell
    ]


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


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """Return the active file of another trail."""
    path = tmp_path / "other" / "audit.jsonl"
    path.parent.mkdir()
    Maker(path, origin="indelible/" + "f" * 32).add_many(40, lambda seq: operation(seq + 1000))
    return path


def test_another_trails_file_in_the_place_of_the_active_one_is_one_finding(trail: Path, stranger: Path) -> None:
    lines = trail.read_bytes().count(b"\n")
    trail.write_bytes(stranger.read_bytes() + b"and a torn line")
    finding = only(verify_trail(trail, VKEY))
    assert (finding.problem, finding.file, finding.seq) == (words.ORIGIN_MISMATCH, str(trail), EVENTS - lines)
    assert (finding.expected, finding.found) == (ORIGIN, "indelible/" + "f" * 32)
    assert f"seq {EVENTS - lines} to {EVENTS - 1} of this trail" in finding.detail


def test_another_trails_file_among_the_closed_ones_is_one_finding(trail: Path, stranger: Path) -> None:
    segment = segments(trail)[0]
    segment.write_bytes(stranger.read_bytes())
    finding = only(verify_trail(trail, VKEY))
    assert (finding.problem, finding.file, finding.seq) == (words.ORIGIN_MISMATCH, str(segment), 0)
    assert "seq 0 to 190 of this trail" in finding.detail


def test_where_nothing_should_stand_another_trails_file_is_still_a_finding(
    tmp_path: Path, stranger: Path
) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5).seal()
    maker.layout.active.rename(maker.layout.segment(0))
    maker.layout.active.write_bytes(stranger.read_bytes())
    finding = only(verify_trail(maker.layout.active, VKEY))
    assert (finding.problem, finding.file, finding.seq) == (
        words.ORIGIN_MISMATCH,
        str(maker.layout.active),
        None,
    )


def test_a_deletion_on_record_does_not_excuse_another_trails_file(tmp_path: Path, stranger: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5)
    maker.rotate()
    segment = maker.layout.segment(0)
    maker.add(maker.service("retention_applied", {"pruned": [[0, 5]]}))
    maker.seal()
    segment.write_bytes(stranger.read_bytes())
    assert only(verify_trail(maker.layout.active, VKEY)).problem == words.ORIGIN_MISMATCH


def test_who_writes_another_origin_into_the_first_line_has_altered_that_line(trail: Path) -> None:
    edit_lines(
        trail, lambda lines: lines.__setitem__(0, lines[0].replace(ORIGIN.encode(), b"indelible/" + b"f" * 32))
    )
    assert words.ORIGIN_MISMATCH not in {finding.problem for finding in verify_trail(trail, VKEY).findings}
    assert only(verify_trail(trail, VKEY)).line == 1


def test_a_wrong_vkey_is_the_users_mistake(trail: Path, tmp_path: Path) -> None:
    for text in ("nonsense", "", "a+b+c", str(tmp_path / "missing"), "\0"):
        with pytest.raises(ConfigError):
            verify_trail(trail, text)
    (tmp_path / "pinned").write_text(VKEY + "\n")
    assert verify_trail(trail, str(tmp_path / "pinned")).ok


# --- segments that are none ----------------------------------------------------------------------------------


def test_links_and_strangers_among_the_segments(trail: Path, tmp_path: Path) -> None:
    folder = directory(trail) / "segments"
    kept = segments(trail)[-1]
    (folder / "notes.txt").write_text("hello")
    (folder / f"{9000:020d}.jsonl").mkdir()
    (folder / ".00000000000000000191.jsonl.zst.tmp").write_text("a writer is compressing")
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
    maker = Maker(tmp_path / "audit.jsonl").add_many(600)
    maker.add(erasure(maker, 3, 300, 301, 600))
    maker.seal()

    def erase(lines: list[bytes]) -> None:
        for seq in (3, 300, 301, 600):
            lines[seq] = erased(lines[seq], seq)

    edit_lines(maker.layout.active, erase)
    result = verify_trail(maker.layout.active, VKEY)
    assert result.ok, result.findings
    assert (result.events, result.erased) == (602, 4)
    edit_lines(
        maker.layout.active, lambda lines: lines.__setitem__(300, lines[300].replace(b'"leaf":"', b'"leaf":"0'))
    )
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
    os.mkfifo(tmp_path / "audit.jsonl")
    with pytest.raises(TrailError, match="not a plain file"):
        verify_trail(tmp_path / "audit.jsonl")


# --- a writer at work -----------------------------------------------------------------------------------------


def looking(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[int], object]) -> list[int]:
    """Let something happen in the midst of each look, after the files were listed; return the list of the looks."""
    looks: list[int] = []

    def look(source: Source, vkey: Verifier | None, erased: object) -> VerifyResult:
        looks.append(len(looks))
        meanwhile(looks[-1])
        return verify(source, vkey)

    monkeypatch.setattr(check, "verify", look)
    return looks


@pytest.fixture
def rotated(tmp_path: Path) -> tuple[Maker, list[Path]]:
    maker = Maker(tmp_path / "audit.jsonl")
    closed = [maker.add_many(5).rotate() for _ in range(12)]
    return maker.add_many(5).seal(), closed


def test_files_that_are_deleted_under_the_readers_eyes_are_no_findings(
    rotated: tuple[Maker, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each of nine looks the oldest file goes, on record."""
    maker, closed = rotated

    def delete(number: int) -> None:
        if number < 9:
            maker.delete_file(closed[number])

    looks = looking(monkeypatch, delete)
    result = verify_trail(maker.layout.active, VKEY)
    assert result.ok, [str(finding) for finding in result.findings]
    assert (len(looks), result.pruned) == (10, 9 * 6)


def test_a_file_that_went_without_a_record_is_a_finding_beside_a_busy_writer_too(
    rotated: tuple[Maker, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, closed = rotated
    closed[6].unlink()
    looks = looking(monkeypatch, lambda _: maker.add_many(1).seal())
    finding = only(verify_trail(maker.layout.active, VKEY))
    assert (len(looks), finding.problem, finding.seq) == (2, words.FILE_MISSING, 36)
