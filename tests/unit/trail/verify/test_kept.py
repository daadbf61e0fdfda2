"""A trail against a checkpoint that was kept elsewhere: what somebody with the key, and every file, still cannot do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import indelible
from indelible.trail.findings import VerifyResult
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint, Signer, Verifier, parse_vkey
from indelible.trail.proofs.cosignature import Cosigner, WitnessKey
from indelible.trail.proofs.kept import Comparison, quorum_of
from indelible.trail.proofs.merkle import EMPTY_ROOT
from tests.trails import ORIGIN, SIGNER, Maker, operation
from tests.unit.trail.verify.sealed import edit_lines
from tests.witnesses import COSIGNER

NAME = "kept"


def note_of(path: Path) -> bytes:
    return Layout(path).checkpoint.read_bytes()


def against(path: Path, note: bytes, vkey: Verifier | None = None) -> VerifyResult:
    result = indelible.verify(path)
    compare([result], note, vkey)
    return result


def compare(results: list[VerifyResult], note: bytes, vkey: Verifier | None = None) -> None:
    comparison = Comparison(results, vkey)
    comparison.add(NAME, note)
    comparison.finish()


def problems(result: VerifyResult) -> list[str]:
    return [finding.problem for finding in result.findings]


def another(number: int) -> dict[str, object]:
    return operation(number, target__capability_name="relax")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t" / "audit.jsonl"


@pytest.mark.parametrize("sizes", [(1, 2), (5, 5), (255, 300), (256, 257), (300, 600), (512, 512)])
def test_a_trail_that_only_grew_agrees(path: Path, sizes: tuple[int, int]) -> None:
    before, after = sizes
    maker = Maker(path).add_many(before - 1).seal()
    note = note_of(path)
    maker.add_many(after - before).seal()
    result = against(path, note)
    assert result.ok, problems(result)
    [kept] = result.kept
    assert (kept.ok, kept.size, kept.origin, kept.count) == (True, before, ORIGIN, 1)
    assert result.as_dict()["kept"][0]["file"] == NAME
    assert not any("rollback to an earlier" in text for text in result.not_checked)
    assert any(f"after {NAME} ({before} events)" in text for text in result.not_checked)


def test_without_one_the_result_says_nothing_of_it(path: Path) -> None:
    Maker(path).add_many(3).seal()
    assert "kept" not in indelible.verify(path).as_dict()


def test_a_rollback_is_found(path: Path, tmp_path: Path) -> None:
    maker = Maker(path).add_many(20).seal()
    shutil.copytree(path.parent, tmp_path / "backup")
    maker.add_many(300).seal()
    note = note_of(path)
    shutil.rmtree(path.parent)
    shutil.copytree(tmp_path / "backup", path.parent)
    assert indelible.verify(path).ok
    result = against(path, note)
    assert problems(result) == ["rolled back"]
    assert (result.findings[0].expected, result.findings[0].found) == ("321 events or more", "21 events")
    assert [kept.ok for kept in result.kept] == [False]


def test_an_old_checkpoint_over_newer_lines_is_a_rollback_and_says_what_is_vouched_for_by_nobody(
    path: Path,
) -> None:
    maker = Maker(path).add_many(20).seal()
    old = note_of(path)
    maker.add_many(10).seal()
    note = note_of(path)
    Layout(path).checkpoint.write_bytes(old)
    result = against(path, note)
    assert problems(result) == ["rolled back"]
    assert "10 lines after its checkpoint" in result.findings[0].detail


@pytest.mark.parametrize("count", [300, 301, 700])
def test_a_fork_is_found_at_the_same_size_and_beyond(path: Path, count: int) -> None:
    Maker(path).add_many(300).seal()
    note = note_of(path)
    shutil.rmtree(path.parent)
    Maker(path).add_many(100).add_many(count - 100, another).seal()
    assert indelible.verify(path).ok
    result = against(path, note)
    assert problems(result) == ["forked"]
    assert ("same size" in result.findings[0].detail) == (count == 300)
    assert result.findings[0].expected != result.findings[0].found


def test_a_truncation_is_found(path: Path) -> None:
    Maker(path).add_many(300).seal()
    note = note_of(path)
    edit_lines(path, lambda lines: lines.__delitem__(slice(100, None)))
    assert problems(against(path, note)) == ["tail cut off"]


@pytest.mark.parametrize("count", [50, 500])
def test_a_truncation_and_a_continuation_with_the_right_key_is_found(path: Path, count: int) -> None:
    """Cut to 100 events, tiles and checkpoint made anew, and on: shorter than what was kept, then longer."""
    Maker(path).add_many(300).seal()
    note = note_of(path)
    shutil.rmtree(path.parent)
    maker = Maker(path).add_many(100).seal()
    maker.add_many(count, another).seal()
    assert indelible.verify(path).ok
    assert problems(against(path, note)) == ["rolled back" if count == 50 else "forked"]


# --- which checkpoints count ----------------------------------------------------------------------------


def text(size: int = 4, origin: str = ORIGIN, root: bytes = bytes(32)) -> str:
    return Checkpoint(origin, size, root).text()


BAD = {
    "empty": b"",
    "garbage": bytes(200),
    "a text": b"indelible\n",
    "unsigned": text().encode(),
    "no signature line": f"{text()}\n".encode(),
    "wrongly signed": SIGNER.sign(text()).replace("\n4\n", "\n5\n").encode(),
    "another key": Signer(ORIGIN, Ed25519PrivateKey.generate()).sign(text()).encode(),
    "no checkpoint": SIGNER.sign(f"{ORIGIN}\nfour\n").encode(),
    "too large": SIGNER.sign(text() + "x" * 1_000_001 + "\n").encode(),
    "another key's line": SIGNER.sign(text()).replace(ORIGIN + " ", "someone ").encode(),
}


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("how", BAD)
def test_what_the_key_has_not_signed_is_no(path: Path, how: str, pinned: bool) -> None:
    Maker(path).add_many(3).seal()
    result = against(path, BAD[how], SIGNER.verifier if pinned else None)
    assert problems(result) == ["checkpoint invalid"]
    assert f"{NAME}: no trail was compared with it" in result.not_checked


def test_a_checkpoint_of_another_trail_is_said_to_be_one(path: Path) -> None:
    Maker(path).add_many(3).seal()
    other = Signer("indelible/other", Ed25519PrivateKey.generate())
    result = against(path, other.sign(text(origin="indelible/other")).encode())
    assert problems(result) == ["origin mismatch"]
    assert (result.findings[0].expected, result.findings[0].found) == (ORIGIN, "indelible/other")


def test_of_several_trails_the_one_of_its_origin_is_compared(path: Path, tmp_path: Path) -> None:
    Maker(path).add_many(3).seal()
    other = Signer("indelible/other", Ed25519PrivateKey.generate())
    beside = Maker(tmp_path / "u" / "audit.jsonl", origin="indelible/other", signer=other).add_many(5).seal()
    results = [indelible.verify(path), indelible.verify(beside.layout.active)]
    compare(results, note_of(beside.layout.active))
    assert results[0].ok
    assert results[0].kept == []
    assert [kept.ok for kept in results[1].kept] == [True]


def test_the_checkpoint_of_an_empty_tree_is_extended_by_every_trail(path: Path) -> None:
    Maker(path).add_many(3).seal()
    assert against(path, SIGNER.sign(text(0, root=EMPTY_ROOT)).encode()).ok
    assert problems(against(path, SIGNER.sign(text(0)).encode())) == ["forked"]


# --- when there is nothing sound to compare it with -----------------------------------------------------


def test_a_trail_whose_own_checkpoint_is_not_signed_is_not_compared(path: Path) -> None:
    Maker(path).add_many(3).seal()
    note = note_of(path)
    Layout(path).checkpoint.write_bytes(note.replace(b"\n4\n", b"\n3\n"))
    result = against(path, note)
    assert set(problems(result)) == {"checkpoint invalid"}
    assert any("nothing to compare" in finding.detail for finding in result.findings)


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_tile_is_no_agreement(path: Path, damage: str) -> None:
    maker = Maker(path).add_many(300).seal()
    note = note_of(path)
    maker.add_many(300).seal()
    tile = Layout(path).tiles / "0" / "001"
    if damage == "missing":
        tile.unlink()
    else:
        tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    result = against(path, note)
    assert [kept.ok for kept in result.kept] == [False]
    assert "compared with the kept checkpoint" in result.findings[-1].detail


# --- earlier trails -------------------------------------------------------------------------------------


def record(path: Path, count: int) -> None:
    with indelible.open_trail(path) as recorder:
        for _ in range(count):
            with recorder.operation("tools/call", "steal", user_id="ada"):
                pass


@pytest.fixture
def cut(path: Path) -> list[bytes]:
    """Make a trail, cut its end off, let a writer begin another in its place; return two checkpoints of the first."""
    record(path, 2)
    notes = [note_of(path)]
    record(path, 20)
    notes.append(note_of(path))
    sealed = int(notes[0].split(b"\n")[1])
    edit_lines(path, lambda lines: lines.__delitem__(slice(sealed + 3, None)))
    record(path, 1)
    return notes


def test_an_earlier_trail_is_consulted(path: Path, cut: list[bytes]) -> None:
    assert indelible.verify(path).ok
    assert against(path, cut[0]).ok
    result = against(path, cut[1])
    assert problems(result) == ["tail cut off"]
    assert "lost its end" in result.findings[0].detail


def test_an_earlier_trail_with_the_key_pinned(path: Path, cut: list[bytes]) -> None:
    own = parse_vkey(
        (Layout(path).retired / _only(Layout(path).retired) / "audit.jsonl.d" / "key.vkey").read_text()
    )
    assert against(path, cut[0], own).ok
    assert problems(against(path, cut[0], SIGNER.verifier)) == ["checkpoint invalid"]


def _only(directory: Path) -> str:
    [found] = directory.iterdir()
    return found.name


def test_an_earlier_trail_that_is_gone_cannot_agree(path: Path, cut: list[bytes]) -> None:
    shutil.rmtree(Layout(path).retired)
    for note in cut:
        assert not against(path, note).ok


# --- many, and witnesses --------------------------------------------------------------------------------


def test_a_file_of_many_is_compared_one_by_one(path: Path) -> None:
    maker = Maker(path)
    notes = [note_of(maker.add_many(count).seal().layout.active) for count in (1, 200, 300)]
    result = against(path, b"\n".join(notes) + notes[0])
    assert result.ok
    assert [(kept.count, kept.size) for kept in result.kept] == [(3, 502)]
    forked = SIGNER.sign(text(100)).encode()
    result = against(path, notes[0] + forked + notes[2] + b"torn")
    assert problems(result) == ["forked", "checkpoint invalid"]
    assert result.findings[0].file == f"{NAME}, checkpoint 2"
    assert [(kept.count, kept.ok) for kept in result.kept] == [(3, False)]


def test_only_the_newest_that_agrees_limits_what_cannot_be_seen(path: Path) -> None:
    maker = Maker(path).add_many(20).seal()
    note = note_of(path)
    maker.add_many(20).seal()
    result = indelible.verify(path)
    comparison = Comparison([result])
    comparison.add("older", note)
    comparison.add("newer", note_of(path))
    comparison.finish()
    assert [text for text in result.not_checked if "rollback" in text] == [
        "a rollback to a state after newer (41 events) cannot be seen without a later checkpoint"
    ]


OTHER_WITNESS = Cosigner("w2", Ed25519PrivateKey.generate())


def witnessed(path: Path, note: bytes, *keys: WitnessKey, needed: int | None = None) -> VerifyResult:
    result = indelible.verify(path)
    comparison = Comparison([result], None, quorum_of(keys, needed))
    comparison.add(NAME, note)
    comparison.finish()
    return result


def cosigned(note: bytes, *cosigners: Cosigner) -> bytes:
    body = note.decode().partition("\n\n")[0] + "\n"
    return note + "".join(cosigner.line(body, 1_795_000_000) for cosigner in cosigners).encode()


def test_witnesses_are_counted_by_what_the_trail_extends(path: Path) -> None:
    Maker(path).add_many(20).seal()
    both = COSIGNER.key, OTHER_WITNESS.key
    result = witnessed(path, cosigned(note_of(path), COSIGNER, OTHER_WITNESS), *both, *both)
    assert result.ok
    assert [(one.size, one.time) for one in result.witnesses or ()] == [(21, "2026-11-18T11:06:40Z")] * 2
    one = cosigned(note_of(path), OTHER_WITNESS)
    assert problems(witnessed(path, one, *both)) == ["not witnessed"]
    enough = witnessed(path, one, *both, needed=1)
    assert enough.ok
    assert any(COSIGNER.key.name in said for said in enough.not_checked)


def test_a_cosignature_over_another_history_counts_for_nothing(path: Path) -> None:
    Maker(path).add_many(20).seal()
    forked = cosigned(SIGNER.sign(text(5)).encode(), COSIGNER)
    assert problems(witnessed(path, forked, COSIGNER.key)) == ["forked", "not witnessed"]


def test_the_witness_key_is_not_the_logs(path: Path) -> None:
    """A log that signs with the witness's name, or a witness's line without the log's, is no witness."""
    Maker(path).add_many(20).seal()
    posing = Signer(COSIGNER.key.name, Ed25519PrivateKey.generate())
    line = posing.sign(text()).rpartition("\n\n")[2].encode()
    assert problems(witnessed(path, note_of(path) + line, COSIGNER.key)) == ["not witnessed"]
    body = note_of(path).decode().partition("\n\n")[0] + "\n"
    alone = f"{body}\n{COSIGNER.line(body, 5)}".encode()
    assert problems(witnessed(path, alone, COSIGNER.key)) == ["checkpoint invalid", "not witnessed"]
