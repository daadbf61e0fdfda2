"""A signing key hands over to the next: who counts, who does not, and wherever the process dies meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.config import AuditSettings
from indelible.errors import ConfigError, NoteError, TrailError
from indelible.trail import findings as words
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import Layout
from indelible.trail.proofs import checkpoint, rotation
from indelible.trail.proofs.checkpoint import Checkpoint, Signer, Verifier
from indelible.trail.proofs.rotation import Rotation
from indelible.trail.proofs.stored import prove, rotations_of
from indelible.trail.start import keyring, keys, maintain
from tests.trails import ORIGIN

from .faults import assert_sealed, read_all, without_threads
from .test_writer import AUDIT, body, crash, start

UNTIL = "2030-01-01T00:00:00.000000Z"


def made(name: str = ORIGIN) -> tuple[Ed25519PrivateKey, Verifier]:
    key = Ed25519PrivateKey.generate()
    return key, Signer(name, key).verifier


def note(
    old: tuple[Ed25519PrivateKey, Verifier], new: tuple[Ed25519PrivateKey, Verifier], size: int = 5
) -> bytes:
    return Signer(ORIGIN, old[0], new[0]).sign(Rotation(old[1], new[1], size, UNTIL).text()).encode()


def signed(size: int, *signers: Ed25519PrivateKey) -> bytes:
    return Signer(ORIGIN, *signers).sign(Checkpoint(ORIGIN, size, bytes(32)).text()).encode()


def put_in_front(layout: Layout, overlap_s: float | None = 3600.0) -> str:
    """Put a new key before the trail's own, as `keygen --rotate` does; return its vkey."""
    origin = keys.read_origin(layout) or ""
    held = keys.parse_source(layout.key.read_bytes(), origin, "key")
    new = keys.parse_source(keys.generate_pem(), origin, "key")[0]
    until = None if overlap_s is None else keyring.time_in(overlap_s)
    layout.key.write_bytes(keys.format_source([new, held[0]._replace(until=until), *held[1:]]))
    return new.verifier.vkey()


def signers(layout: Layout) -> set[str]:
    """Return the vkeys, of the trail's old and new ones, whose signature the checkpoint bears."""
    data = layout.checkpoint.read_bytes()
    known = {item.old for item in rotations_of(layout)} | {item.new for item in rotations_of(layout)}
    found = set()
    for verifier in known:
        with contextlib.suppress(NoteError):
            checkpoint.open_note(data, [verifier])
            found.add(verifier.vkey())
    return found


def rotated(path: Path) -> list[dict[str, Any]]:
    return [entry["metadata"] for entry in read_all(path) if entry["event_type"] == "key_rotated"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


# --- who counts ------------------------------------------------------------------------------------------------


def test_a_chain_is_followed_from_the_pinned_key_and_no_further_back() -> None:
    one, two, three = made(), made(), made()
    chain = rotation.parse_rotations([note(two, three, 9), note(one, two, 4), b"no note at all"])
    assert rotation.successors(one[1], chain) == [(one[1], 0), (two[1], 4), (three[1], 9)]
    assert rotation.successors(three[1], chain) == [(three[1], 0)]
    assert rotation.relatives(three[1], chain) == [three[1], two[1], one[1]]
    assert set(rotation.relatives(two[1], chain)) == {one[1], two[1], three[1]}


def test_a_second_signature_on_a_checkpoint_names_nobody() -> None:
    """Whoever holds a signed note can add a signature of his own."""
    good, foreign = made(), made()
    both = signed(7, good[0], foreign[0])
    assert rotation.parse_rotations([both]) == []
    assert rotation.successors(good[1], []) == [(good[1], 0)]
    with pytest.raises(NoteError):
        rotation.open_checkpoint(signed(7, foreign[0]), rotation.successors(good[1], []))


def test_a_rotation_that_one_of_the_two_has_not_signed_is_none() -> None:
    old, new, foreign = made(), made(), made()
    text = Rotation(old[1], new[1], 5, UNTIL).text()
    for keys_used in ([old[0]], [new[0]], [new[0], foreign[0]], [foreign[0], old[0]]):
        with pytest.raises(NoteError):
            rotation.parse_rotation(Signer(ORIGIN, *keys_used).sign(text).encode())


def test_every_changed_character_makes_it_no_rotation() -> None:
    good = note(made(), made()).decode()
    assert rotation.parse_rotation(good.encode()).size == 5
    for at, other in itertools.product(range(len(good)), "7A\n"):
        if good[at] != other:
            with pytest.raises(NoteError):
                rotation.parse_rotation((good[:at] + other + good[at + 1 :]).encode())


def test_a_rotation_is_no_checkpoint_and_a_key_counts_from_its_size_on() -> None:
    old, new = made(), made()
    with pytest.raises(NoteError):
        checkpoint.parse(checkpoint.open_note(note(old, new), [old[1]]))
    accepted = rotation.successors(old[1], [rotation.parse_rotation(note(old, new, 5))])
    assert rotation.open_checkpoint(signed(5, new[0]), accepted).size == 5
    with pytest.raises(NoteError):
        rotation.open_checkpoint(signed(4, new[0]), accepted)


def test_a_chain_that_runs_in_a_circle_ends() -> None:
    one, two = made(), made()
    circle = rotation.parse_rotations([note(one, two), note(two, one)])
    assert rotation.successors(one[1], circle) == [(one[1], 0), (two[1], 5)]
    assert rotation.relatives(one[1], circle) == [one[1], two[1]]


# --- handing over ----------------------------------------------------------------------------------------------


def test_the_three_phases(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(path)
    with without_threads():
        writer = start(path)
        writer.append(body("a"))
        writer.seal()
        old = layout.vkey.read_text().strip()
        new = put_in_front(layout)
        assert verify_trail(path, old).ok
        writer.append(body("b"))
        writer.seal()
        assert signers(layout) == {old, new}
        assert layout.vkey.read_text().strip() == new
        for pinned in (old, new):
            assert verify_trail(path, pinned).ok
        assert len(keys.parse_source(layout.key.read_bytes(), writer.origin, "key")) == 2
        monkeypatch.setattr(writer._sealer._keyring, "_now", lambda: "2999-01-01T00:00:00.000000Z")
        writer.append(body("c"))
        writer.seal()
        assert signers(layout) == {new}
        assert len(keys.parse_source(layout.key.read_bytes(), writer.origin, "key")) == 1
        writer.close()
    (said,) = rotated(path)
    assert (said["from"], said["to"]) == (old, new)
    result = verify_trail(path, old)
    assert result.ok
    assert [(key.vkey, key.size, key.signed) for key in result.keys] == [
        (old, 0, False),
        (new, said["size"], True),
    ]
    assert prove(path, 0, checkpoint.parse_vkey(old)).index == 0
    notes = {file: file.read_bytes() for file in layout.rotations.iterdir()}
    for file in notes:
        file.unlink()
    assert not verify_trail(path, old).ok
    said_by_nobody = {finding.problem for finding in verify_trail(path, new).findings}
    assert said_by_nobody == {words.NOT_SIGNED}, "the new key does not know whom it followed"
    for file, note_text in notes.items():
        file.write_bytes(note_text)
    assert verify_trail(path, new).ok
    start(path).close()
    assert_sealed(path, read_all(path))


def test_an_earlier_key_signs_on_to_its_own_end_after_a_later_one_has_ended(path: Path) -> None:
    layout = Layout(path)
    start(path).close()
    first = layout.vkey.read_text().strip()
    middle = put_in_front(layout, 3600)
    start(path).close()
    last = put_in_front(layout, 0)
    for _ in range(3):  # handed over, dropped, and read again
        start(path).close()
    assert signers(layout) == {first, last}
    assert middle not in signers(layout)
    assert all(verify_trail(path, vkey).ok for vkey in (first, middle, last))


def test_a_new_key_that_is_put_in_front_by_hand_is_taken_up(path: Path, tmp_path: Path) -> None:
    old, new = keys.generate_pem(), keys.generate_pem()
    file = tmp_path / "signing.pem"
    file.write_bytes(old)
    audit = AuditSettings(key_file=str(file))
    start(path, audit).close()
    before = Layout(path).vkey.read_text().strip()
    file.write_bytes(new)
    held = path.read_bytes(), Layout(path).checkpoint.read_bytes()
    with pytest.raises(ConfigError, match=r"the key has changed: .* put the new key in front of the old one"):
        start(path, audit)
    assert held == (path.read_bytes(), Layout(path).checkpoint.read_bytes())
    file.write_bytes(b"the new one\n" + new + b"the old one\n" + old)
    start(path, audit).close()
    assert verify_trail(path, before).ok
    (said,) = rotated(path)
    assert keyring.time_in(6.9 * 86_400) < said["overlap_until"] < keyring.time_in(7.1 * 86_400)
    assert file.read_bytes().count(b"BEGIN") == 2, "somebody else's file is left as it is"
    file.write_bytes(new)
    start(path, audit).close()
    assert signers(Layout(path)) == {said["to"]}


def test_a_retired_key_takes_nothing_back(path: Path) -> None:
    """Who has an old key and can write the files cannot have a writer believe what that key signed."""
    layout = Layout(path)
    start(path).close()
    pem, old = layout.key.read_bytes(), layout.vkey.read_bytes()
    note_of_old = layout.checkpoint.read_bytes()
    put_in_front(layout, 0)
    for _ in range(2):
        start(path).close()
    assert pem not in layout.key.read_bytes()
    layout.vkey.write_bytes(old)
    layout.checkpoint.write_bytes(note_of_old)
    with pytest.raises(ConfigError, match="the key has changed"):
        start(path)


def test_a_source_that_goes_bad_changes_nothing_for_who_holds_the_trail(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(path)
    with without_threads():
        writer = start(path)
        good = layout.key.read_bytes()
        for bad in (b"no key", keys.generate_pem()):
            layout.key.write_bytes(bad)
            writer.append(body("x"))
            writer.seal()
            writer.append(body("y"))
            writer.seal()
        layout.key.unlink()
        writer.append(body("z"))
        writer.seal()
        layout.key.write_bytes(good)
        writer.close()
    assert verify_trail(path).ok
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, said
    assert all("goes on with the" in text for text in said)


def test_many_keys_and_one_twice(path: Path) -> None:
    pem = keys.generate_pem()
    assert len(keys.parse_source(pem + b"\n" + pem, ORIGIN, "k")) == 1
    many = b"".join(keys.generate_pem() for _ in range(keys.MAX_KEYS + 1))
    with pytest.raises(ConfigError, match="at most 8"):
        keys.parse_source(many, ORIGIN, "k")
    with pytest.raises(ConfigError, match="not an unencrypted private key"):
        keys.parse_source(pem + pem.replace(b"MC4", b"!!!"), ORIGIN, "k")


def test_a_tail_that_holds_the_rotation_is_not_told_twice(path: Path) -> None:
    layout = Layout(path)
    with without_threads():
        writer = start(path)
        writer.seal()
        new = put_in_front(layout)
        before = layout.checkpoint.read_bytes()
        writer.hand_over(writer._sealer._keyring)
        crash(path, writer)
        assert layout.checkpoint.read_bytes() == before
        start(path).close()
    assert [said["to"] for said in rotated(path)] == [new]
    assert layout.vkey.read_text().strip() == new


def test_under_load_too_the_first_checkpoint_of_a_new_key_covers_the_event_that_says_so(path: Path) -> None:
    layout = Layout(path)
    with without_threads():
        writer = start(path)
        writer.seal()
        new = put_in_front(layout)
        for number in range(1500):
            writer.append(body(str(number)))
        writer._sealer.seal(in_tiles=True)
        assert layout.vkey.read_text().strip() == new
        sealed = read_all(path)[: writer.sealed]
        assert [e["metadata"]["to"] for e in sealed if e["event_type"] == "key_rotated"] == [new]
        writer.close()
    assert_sealed(path, read_all(path))


# --- by command --------------------------------------------------------------------------------------------------


def test_one_rotation_at_a_time(path: Path) -> None:
    start(path).close()
    layout = Layout(path)
    with keyring.changing_keys(layout), pytest.raises(TrailError, match="changing the key just now"):
        maintain.rotate_key(path, AUDIT, 60)
    put_in_front(layout)
    with pytest.raises(TrailError, match="no writer has taken up yet"):
        maintain.rotate_key(path, AUDIT, 60)


def test_a_command_leaves_files_and_modes_as_they_are(path: Path) -> None:
    import grp
    import os

    group = grp.getgrgid(os.getgid()).gr_name
    audit = AuditSettings(group=group, max_size=2_000, backup_count=100, retention=None)
    writer = start(path, audit)
    for number in range(60):
        writer.append(body(f"e{number}", padding="x" * 100))
    writer.close()
    layout = Layout(path)
    before = sorted(file.name for file in layout.segments.iterdir())
    assert len(before) > 5
    maintain.rotate_key(path, AuditSettings(), 60)
    assert sorted(file.name for file in layout.segments.iterdir()) >= before
    assert layout.checkpoint.stat().st_mode & 0o777 == 0o640
    assert layout.key.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_bytes().splitlines()[-1])["event_type"] == "audit_stopped"


def test_a_key_that_is_there_is_not_given_up(path: Path) -> None:
    start(path).close()
    with pytest.raises(ConfigError, match="is not lost"):
        maintain.give_up_key(path, AUDIT)


def test_a_lost_key_ends_the_trail_and_the_next_names_it(path: Path) -> None:
    writer = start(path)
    writer.append(body("a"))
    writer.close()
    layout = Layout(path)
    old, vkey = layout.checkpoint.read_bytes(), layout.vkey.read_text().strip()
    layout.key.unlink()
    with pytest.raises(ConfigError, match="'indelible keygen --lost'"):
        start(path)
    said = maintain.give_up_key(path, AUDIT)
    assert said["origin"] != said["successor"] == layout.origin.read_text().strip()
    result = verify_trail(path)
    assert result.ok
    (earlier,) = result.previous
    assert (earlier.why, earlier.ok, earlier.origin) == ("key lost", True, said["origin"])
    place = Path(str(earlier.trail))
    assert Layout(place).checkpoint.read_bytes() == old
    assert verify_trail(place, vkey).ok


def test_a_checkpoint_that_was_kept_before_a_rotation_still_counts(path: Path) -> None:
    from indelible.trail.proofs.kept import Comparison

    layout = Layout(path)
    start(path).close()
    kept, old = layout.checkpoint.read_bytes(), layout.vkey.read_text().strip()
    put_in_front(layout, 0)
    for _ in range(2):
        start(path).close()
    new = layout.vkey.read_text().strip()
    for pinned in (None, old, new):
        result = verify_trail(path, pinned)
        Comparison([result], None if pinned is None else checkpoint.parse_vkey(pinned)).add("kept", kept)
        assert result.ok, [str(finding) for finding in result.findings]
        assert [one.ok for one in result.kept] == [True]
    foreign = Signer(ORIGIN, Ed25519PrivateKey.generate())
    result = verify_trail(path)
    Comparison([result]).add("kept", foreign.sign(checkpoint.split_note(kept)[0]).encode())
    assert not result.ok


def test_a_key_source_that_is_gone_gives_nothing_up(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "signing.pem"
    file.write_bytes(keys.generate_pem())
    audit = AuditSettings(path=str(path), key_file=str(file))
    start(path, audit).close()
    file.unlink()
    before = {found: found.read_bytes() for found in path.parent.rglob("*") if found.is_file()}
    with pytest.raises(ConfigError, match="cannot read the signing key"):
        maintain.give_up_key(path, audit)
    assert {found: found.read_bytes() for found in path.parent.rglob("*") if found.is_file()} == before
    file.write_bytes(keys.generate_pem())
    maintain.give_up_key(path, audit)
    assert verify_trail(path).ok
