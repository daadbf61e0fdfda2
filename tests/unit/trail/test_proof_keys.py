"""Who vouches for a proof's checkpoint: witnesses that cosigned it, and keys that took over from the pinned one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.cli.verify_found import check_proof
from indelible.config import AuditSettings
from indelible.errors import NoteError
from indelible.trail.entry import line_seq
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Signer, open_note, parse, parse_vkey, split_note
from indelible.trail.proofs.cosignature import Cosigner, cosignatures
from indelible.trail.proofs.kept import quorum_of
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.proof import Proof, open_proof
from indelible.trail.proofs.stored import MAX_CHAIN, prove
from indelible.trail.start import maintain

from .test_writer import body, start

AUDIT = AuditSettings()
W1, W2 = (Cosigner(f"{name}.example", Ed25519PrivateKey.generate()) for name in ("w1", "w2"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def record(path: Path, count: int) -> bytes:
    """Append events; return the checkpoint then."""
    writer = start(path, AUDIT)
    for number in range(count):
        writer.append(body(f"e{number}"))
    writer.close()
    return Layout(path).checkpoint.read_bytes()


def witnessed(path: Path, note: bytes, *cosigners: Cosigner) -> None:
    """Leave what an anchor leaves when these witnesses have cosigned a checkpoint."""
    Layout(path).witnessed.mkdir(exist_ok=True)
    for one in cosigners:
        signed = note + one.line(split_note(note)[0], 1_790_000_000).encode()
        (Layout(path).witnessed / one.key.name).write_bytes(signed)


def leaf_at(path: Path, seq: int) -> bytes:
    return leaf_hash(next(line for line in path.read_bytes().splitlines() if line_seq(line) == seq))


def checked(capsys: pytest.CaptureFixture[str], tmp_path: Path, proof: Proof, vkey: str, *by: Cosigner) -> Any:
    """Return what ``verify --proof --json`` prints."""
    file = tmp_path / "proof"
    file.write_bytes(proof.data())
    quorum = quorum_of([one.key for one in by], None) if by else None
    code = check_proof(str(file), None, parse_vkey(vkey), quorum, as_json=True)
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is (code == 0)
    return result


# --- witnesses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [0, 3, 300, 66_000])
def test_a_proof_takes_the_cosignatures_along(path: Path, more: int) -> None:
    """However far the trail has grown since, and its partial tiles are gone."""
    note = record(path, 5)
    witnessed(path, note, W1, W2)
    if more:
        record(path, more)
    for seq in range(parse(split_note(note)[0]).size):
        opened = open_proof(prove(path, seq).data(), parse_vkey(Layout(path).vkey.read_text()))
        assert set(cosignatures(opened.proof.note, [W1.key, W2.key])) == {W1.key, W2.key}
        assert opened.checkpoint == parse(split_note(note)[0])
        assert opened.shows(leaf_at(path, seq))


def test_what_no_witness_has_seen_yet_is_proved_without(path: Path) -> None:
    note = record(path, 5)
    witnessed(path, note, W1)
    now = record(path, 5)
    seq = parse(split_note(note)[0]).size
    assert prove(path, seq).note == now


def test_the_most_witnesses_then_the_newest(path: Path) -> None:
    first = record(path, 2)
    second = record(path, 2)
    record(path, 2)
    witnessed(path, second, W2)
    witnessed(path, first, W1)
    assert parse(split_note(prove(path, 1).note)[0]) == parse(split_note(second)[0])
    witnessed(path, first, W1, W2)
    assert parse(split_note(prove(path, 1).note)[0]) == parse(split_note(first)[0])


@pytest.mark.parametrize("how", ["noise", "another root", "another key", "larger"])
def test_what_lies_there_and_is_not_the_trails_is_passed_over(path: Path, how: str) -> None:
    note = record(path, 5)
    witnessed(path, note, W1)
    file = Layout(path).witnessed / W1.key.name
    data = file.read_bytes()
    other = data.replace(b"\n", b"\n9", 1) if how == "another root" else b"\xff\n"
    if how == "another key":
        text = split_note(note)[0]
        forged = Signer(text.split("\n")[0], Ed25519PrivateKey.generate()).sign(text).encode()
        other = forged + W1.line(text, 1).encode()
    if how == "larger":
        record(path, 5)
        later = Layout(path).checkpoint.read_bytes()
        Layout(path).checkpoint.write_bytes(note)  # rolled back
        other = later + W1.line(split_note(later)[0], 1).encode()
    file.write_bytes(other)
    assert prove(path, 2).note == Layout(path).checkpoint.read_bytes()


def test_witnesses_of_a_proof_are_counted(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = record(path, 5)
    witnessed(path, note, W1)
    vkey = Layout(path).vkey.read_text()
    good = checked(capsys, tmp_path, prove(path, 2), vkey, W1)
    assert (good["ok"], [one["witness"] for one in good["witnesses"]]) == (True, [W1.key.vkey()])
    bad = checked(capsys, tmp_path, prove(path, 2), vkey, W1, W2)
    assert [finding["problem"] for finding in bad["findings"]] == ["not witnessed"]
    assert W2.key.name in bad["findings"][0]["detail"]
    proof = prove(path, 2)
    wrong = proof.note.replace(b"w1.example", b"w2.example")
    forged = W2.line("another text\n", 5).encode()
    said = checked(capsys, tmp_path, Proof(proof.index, proof.hashes, note + forged), vkey, W2)
    assert [finding["problem"] for finding in said["findings"]] == ["proof invalid", "not witnessed"]
    assert not checked(capsys, tmp_path, Proof(proof.index, proof.hashes, wrong), vkey, W2)["ok"]


# --- keys -----------------------------------------------------------------------------------------------------------


def rotated(path: Path, times: int = 1) -> list[str]:
    """Change the trail's key, with no overlap; return all its keys, the first one first."""
    record(path, 3)
    keys = [Layout(path).vkey.read_text().strip()]
    for _ in range(times):
        about = maintain.rotate_key(path, AUDIT, 0.0)
        assert about["taken_up"]
        record(path, 3)
        keys.append(about["to"])
    return keys


def test_who_pinned_an_earlier_key_follows_the_hand_overs(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = rotated(path, 3)
    proof = prove(path, 1)
    open_note(proof.note, [parse_vkey(keys[-1])])
    with pytest.raises(NoteError):
        open_note(proof.note, [parse_vkey(keys[0])])  # the last key alone has signed it
    for at, vkey in enumerate(keys):
        opened = open_proof(proof.data(), parse_vkey(vkey))
        assert opened.shows(leaf_at(path, 1))
        assert [one.verifier.vkey() for one in opened.keys] == keys[at:]
        said = checked(capsys, tmp_path, proof, vkey)
        assert said["ok"]
        assert [key["vkey"] for key in said.get("keys", [{"vkey": vkey}])] == keys[at:]
        assert said.get("keys", [{"signed": True}])[-1]["signed"]


def test_an_earlier_key_that_was_replaced_counts_for_nothing(path: Path) -> None:
    """Whoever stole it makes no proof that the key after it accepts."""
    record(path, 3)
    old = Layout(path).checkpoint.read_bytes()
    before = prove(path, 1)
    keys = rotated(path)
    assert before.note == old
    chained = Proof(before.index, before.hashes, before.note, prove(path, 1).extra)
    assert open_proof(chained.data(), parse_vkey(keys[0])).checkpoint.size
    with pytest.raises(NoteError, match="another key under the same name"):
        open_proof(chained.data(), parse_vkey(keys[1]))


def test_without_the_notes_it_is_said_that_the_key_was_changed(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = rotated(path)
    proof = prove(path, 1)
    bare = Proof(proof.index, proof.hashes, proof.note)
    said = checked(capsys, tmp_path, bare, keys[0])
    assert not said["ok"]
    assert "a trail whose key was changed" in said["findings"][0]["detail"]
    assert checked(capsys, tmp_path, bare, keys[1])["ok"]


def test_a_long_chain_is_cut_and_still_a_proof(path: Path) -> None:
    keys = rotated(path, MAX_CHAIN + 1)
    proof = prove(path, 1)
    assert len(proof.data()) < 10_000
    open_proof(proof.data(), parse_vkey(keys[-1]))
    open_proof(proof.data(), parse_vkey(keys[1]))
    with pytest.raises(NoteError, match="another key under the same name"):
        open_proof(proof.data(), parse_vkey(keys[0]))


def test_a_witnessed_checkpoint_of_before_a_rotation_is_not_taken(path: Path) -> None:
    """Who pins the new key could not check it."""
    note = record(path, 3)
    witnessed(path, note, W1)
    keys = rotated(path)
    opened = open_proof(prove(path, 1).data(), parse_vkey(keys[1]))
    assert opened.proof.cosigners() == []
