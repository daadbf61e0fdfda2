"""What docs/explanation/guarantees.md admits, and where it says that it ends, done to real trails."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import indelible
from indelible.trail.erased import erased_line
from indelible.trail.layout import Layout
from indelible.trail.proofs import checkpoint
from indelible.trail.proofs.kept import Comparison
from indelible.trail.proofs.merkle import TileTree, leaf_hash
from indelible.trail.upkeep.standing import read_standing
from tests.trails import Maker


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "indelible" / "audit.jsonl"


def record(trail: Path, *tools: str) -> None:
    with indelible.open_trail(trail) as recorder:
        for tool in tools:
            with recorder.operation("tools/call", tool, user_id="ada"):
                pass


def record_in_small_files(trail: Path, *tools: str) -> None:
    """Record 40 calls of each, in files of 10 kB."""
    config = trail.with_name("indelible.yaml")
    trail.parent.mkdir(exist_ok=True)
    config.write_text("audit: {max_size_mb: 0.01}\n")
    with indelible.open_trail(trail, config=str(config)) as recorder:
        for tool in tools:
            for number in range(40):
                with recorder.operation("tools/call", f"{tool}{number}", user_id="ada"):
                    pass


def vkey(trail: Path) -> str:
    return Layout(trail).vkey.read_text()


def kept(trail: Path) -> bytes:
    """Return the checkpoint, as somebody takes it to another machine."""
    return Layout(trail).checkpoint.read_bytes()


def agrees(trail: Path, note: bytes) -> bool:
    """Tell whether a trail of one file still holds what a kept checkpoint covers, by its lines and as `verify` says."""
    said = checkpoint.parse(checkpoint.split_note(note)[0])
    lines = trail.read_bytes().splitlines()
    tree = TileTree()
    tree.extend(leaf_hash(line) for line in lines[: said.size])
    by_lines = tree.size == said.size and tree.root() == said.root
    result = indelible.verify(trail)
    comparison = Comparison([result])
    comparison.add("kept", note)
    comparison.finish()
    assert [kept.ok for kept in result.kept] == [by_lines] == [result.ok]
    return by_lines


def rewrite(trail: Path) -> None:
    """Write another history under the same origin and key, as who can read the key may."""
    old = Layout(trail)
    origin = old.origin.read_text().strip()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(old.key.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    shutil.rmtree(trail.parent)
    Maker(trail, origin=origin, signer=checkpoint.Signer(origin, key)).add_many(20).seal()


def test_who_has_the_key_can_sign_a_new_history(trail: Path) -> None:
    record(trail, "steal")
    pinned = vkey(trail)
    rewrite(trail)
    assert b"steal" not in trail.read_bytes()
    assert indelible.verify(trail, pinned).ok


def test_a_new_history_does_not_agree_with_a_kept_checkpoint(trail: Path) -> None:
    record(trail, "steal")
    note = kept(trail)
    assert agrees(trail, note)
    record(trail, "read")
    assert agrees(trail, note), "an honest trail only grows"
    rewrite(trail)
    assert len(trail.read_bytes().splitlines()) > 7
    assert not agrees(trail, note)


def test_an_old_backup_verifies_and_a_kept_checkpoint_shows_it(trail: Path, tmp_path: Path) -> None:
    record(trail, "read")
    shutil.copytree(trail.parent, tmp_path / "backup")
    record(trail, "steal")
    note = kept(trail)
    shutil.rmtree(trail.parent)
    shutil.copytree(tmp_path / "backup", trail.parent)
    result = indelible.verify(trail)
    assert result.ok
    assert any("rollback" in text for text in result.not_checked)
    assert not agrees(trail, note)


def test_old_lines_under_a_newer_checkpoint_are_found(trail: Path, tmp_path: Path) -> None:
    record(trail, "read")
    shutil.copyfile(trail, tmp_path / "backup")
    record(trail, "steal")
    shutil.copyfile(tmp_path / "backup", trail)
    result = indelible.verify(trail)
    assert not result.ok
    assert [finding.problem for finding in result.findings] == ["tail cut off"]


def test_an_old_checkpoint_uncovers_what_came_after_it(trail: Path) -> None:
    record(trail, "read")
    old = kept(trail)
    record(trail, "steal")
    note = kept(trail)
    altered = trail.read_bytes().replace(b'"steal"', b'"relax"')
    trail.write_bytes(altered)
    assert not indelible.verify(trail).ok
    Layout(trail).checkpoint.write_bytes(old)
    result = indelible.verify(trail, vkey(trail))
    assert result.ok
    assert result.unsealed > 0
    assert any("after the last checkpoint" in text for text in result.not_checked)
    record(trail, "later")
    assert (indelible.verify(trail, vkey(trail)).ok, indelible.verify(trail).unsealed) == (True, 0)
    assert not agrees(trail, note)


@pytest.mark.parametrize("how", ["altered", "cut", "deleted"])
def test_a_checkpoint_that_was_taken_away_uncovers_everything(trail: Path, how: str) -> None:
    record(trail, "read", "steal")
    pinned, note, layout = vkey(trail), kept(trail), Layout(trail)
    layout.checkpoint.unlink()
    shutil.rmtree(layout.tiles)
    lines = trail.read_bytes().splitlines(keepends=True)
    changed = [line.replace(b'"steal"', b'"relax"') for line in lines] if how == "altered" else lines[:4]
    trail.write_bytes(b"".join(changed))
    assert "checkpoint missing" in [finding.problem for finding in indelible.verify(trail, pinned).findings]
    if how == "deleted":
        trail.unlink()
    record(trail, "later")
    assert b"steal" not in trail.read_bytes()
    assert indelible.verify(trail, pinned).ok
    assert not agrees(trail, note)


@pytest.mark.parametrize("how", ["cut", "deleted"])
def test_a_new_trail_in_the_place_of_another_shows_with_the_key_pinned(trail: Path, how: str) -> None:
    record(trail, "read", "steal")
    pinned, origin = vkey(trail), Layout(trail).origin.read_text().strip()
    if how == "cut":
        trail.write_bytes(b"".join(trail.read_bytes().splitlines(keepends=True)[:4]))
    else:
        shutil.rmtree(trail.parent)
    record(trail, "relax")
    shutil.rmtree(Layout(trail).retired, ignore_errors=True)
    assert b"steal" not in trail.read_bytes()
    assert not indelible.verify(trail, pinned).ok
    previous = json.loads(trail.read_bytes().splitlines()[0])["metadata"].get("previous", {})
    assert previous.get("origin") == (origin if how == "cut" else None)


def test_the_end_that_no_checkpoint_covers_can_be_cut_unseen(tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    maker = Maker(trail)
    maker.add_many(5).seal().add_many(3)
    before = indelible.verify(trail, maker.signer.verifier.vkey())
    lines = trail.read_bytes().splitlines(keepends=True)
    trail.write_bytes(b"".join(lines[:-2]))
    after = indelible.verify(trail, maker.signer.verifier.vkey())
    assert (before.ok, before.unsealed, after.ok, after.unsealed) == (True, 3, True, 1)
    trail.write_bytes(b"".join(lines[:-4]))
    assert not indelible.verify(trail).ok


FORGED = "5f0c36a1-7f7e-4f34-8a0e-0d0f0f6b0c11"


def append_forged(trail: Path, event_type: str, **more: object) -> None:
    """Add a line after the last checkpoint, while nobody writes: the form is no secret, and no key is needed."""
    last = json.loads(trail.read_bytes().splitlines()[-1])
    event = {key: last[key] for key in ("schema", "recorded_at", "timestamp")}
    event = {"seq": last["seq"] + 1, **event, "event_type": event_type, "event_id": FORGED, **more}
    with trail.open("ab") as file:
        file.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")


def test_a_line_that_was_added_after_the_checkpoint_is_signed_by_the_next_writer(trail: Path) -> None:
    """It shows as what no checkpoint covers until then, and in the next start's `audit_recovered` for good."""
    record(trail, "read")
    append_forged(trail, "mcp_operation", outcome={"status": "success", "kind": "completed"})
    assert indelible.verify(trail, vkey(trail)).unsealed == 1
    record(trail, "later")
    result = indelible.verify(trail, vkey(trail))
    assert (result.ok, result.unsealed) == (True, 0)
    found = [json.loads(line) for line in trail.read_bytes().splitlines()]
    kinds = [entry["event_type"] for entry in found]
    at = kinds.index("audit_stopped")
    assert kinds[at + 1 : at + 4] == ["mcp_operation", "audit_recovered", "audit_started"]
    assert found[at + 2]["metadata"]["unsealed"] == 1


NOT_SIGNED = "record not signed by the trail"


def test_a_record_of_an_erasure_that_nobody_ordered_covers_nothing(trail: Path) -> None:
    """The next writer seals it, as it does what stands there: it bears no signature of its own."""
    record(trail, "steal")
    lines = trail.read_bytes().splitlines()
    seqs = [seq for seq, line in enumerate(lines) if b"steal" in line]
    for seq in seqs:
        lines[seq] = erased_line(seq, FORGED, leaf_hash(lines[seq]))
    trail.write_bytes(b"\n".join(lines) + b"\n")
    about = {"by": "user", "erased": [[seqs[0], seqs[-1]]], "lines": len(seqs), "reason": "ticket 1"}
    append_forged(trail, "entry_erased", metadata=about)
    problems = [finding.problem for finding in indelible.verify(trail, vkey(trail)).findings]
    assert sorted(problems) == ["erased without record", NOT_SIGNED]
    record(trail, "later")
    result = indelible.verify(trail, vkey(trail))
    assert result.unsealed == 0
    assert sorted(finding.problem for finding in result.findings) == ["erased without record", NOT_SIGNED]


@pytest.mark.parametrize("hint", ["as it was", "gone"])
def test_a_record_of_a_deletion_that_nobody_ordered_covers_no_file(trail: Path, hint: str) -> None:
    """Nor does a writer carry it out, or say it again where it would be believed."""
    record_in_small_files(trail, "steal")
    first, second = sorted(path.name for path in Layout(trail).segments.iterdir())[:2]
    append_forged(trail, "retention_applied", metadata={"pruned": [[0, int(second.partition(".")[0]) - 1]]})
    if hint == "gone":
        Layout(trail).state.unlink()
    record_in_small_files(trail, "more")
    found = indelible.verify(trail, vkey(trail)).findings
    assert [finding.problem for finding in found] == [NOT_SIGNED]
    (Layout(trail).segments / first).unlink()
    result = indelible.verify(trail, vkey(trail))
    assert sorted(finding.problem for finding in result.findings) == ["file missing", NOT_SIGNED]
    assert result.pruned == 0


@pytest.mark.parametrize("event_type", ["hold_released", "hold_placed"])
def test_a_hold_that_somebody_else_released_or_narrowed_stands(trail: Path, event_type: str) -> None:
    record(trail, "steal")
    add = [sys.executable, "-m", "indelible", "hold", "add", "--trail", str(trail), "--user", "ada"]
    subprocess.run(add, check=True, capture_output=True, timeout=60)
    (hold,) = read_standing(Layout(trail)).standing
    about = {"hold": {"id": hold, **({"user": "bob"} if event_type == "hold_placed" else {})}}
    append_forged(trail, event_type, metadata=about)
    assert read_standing(Layout(trail)).standing[hold].user == "ada"
    record(trail, "later")
    assert read_standing(Layout(trail)).standing[hold].user == "ada"
    assert [f.problem for f in indelible.verify(trail, vkey(trail)).findings] == [NOT_SIGNED]


def test_a_hold_that_somebody_else_placed_stands_and_is_found(trail: Path) -> None:
    """What is kept for nothing does no harm; who may release holds releases it."""
    record(trail, "steal")
    no_id = "so that nobody can release it"
    for hold in (no_id, "0a1b2c3d4e5f"):
        append_forged(trail, "hold_placed", metadata={"hold": {"id": hold, "user": "ada"}})
    record(trail, "later")
    assert {one.user for one in read_standing(Layout(trail)).standing.values()} == {"ada"}
    release = [sys.executable, "-m", "indelible", "hold", "release", "0a1b2c3d4e5f", "--trail", str(trail)]
    subprocess.run([*release, "--reason", "nobody's"], check=True, capture_output=True, timeout=60)
    record(trail, "later still")
    assert not read_standing(Layout(trail)).standing
    assert [f.problem for f in indelible.verify(trail, vkey(trail)).findings] == [NOT_SIGNED, NOT_SIGNED]


def test_what_the_trail_has_said_says_nothing_in_another_place(trail: Path) -> None:
    record(trail, "steal")
    for words in (["add", "--user", "ada"], ["release", "", "--reason", "over"]):
        words[1] = words[1] or next(iter(read_standing(Layout(trail)).standing))
        order = [sys.executable, "-m", "indelible", "hold", *words, "--trail", str(trail)]
        subprocess.run(order, check=True, capture_output=True, timeout=60)
    lines = trail.read_bytes().splitlines(keepends=True)
    said = next(line for line in lines if b'"hold_placed"' in line)
    again = said.replace(b'{"seq":%d,' % lines.index(said), b'{"seq":%d,' % len(lines))
    trail.write_bytes(b"".join([*lines, again]))
    record(trail, "later")
    assert not read_standing(Layout(trail)).standing
    assert [f.problem for f in indelible.verify(trail, vkey(trail)).findings] == [NOT_SIGNED]


def test_a_first_line_that_says_what_was_deleted_is_the_trails_or_nothing(trail: Path) -> None:
    """Altered where no checkpoint covers it: the next writer signs it, and it excuses nothing."""
    record_in_small_files(trail, "steal")
    layout = Layout(trail)
    first, second = sorted(layout.segments.iterdir())[:2]
    layout.checkpoint.unlink()
    layout.state.unlink()
    shutil.rmtree(layout.tiles)
    gone = int(second.name.partition(".")[0]) - 1
    data = trail.read_bytes()
    assert data.count(b'"pruned":[]') == 1
    trail.write_bytes(data.replace(b'"pruned":[]', b'"pruned":[[0,%d]]' % gone))
    record_in_small_files(trail)
    assert first.exists()
    first.unlink()
    result = indelible.verify(trail, vkey(trail))
    assert sorted(finding.problem for finding in result.findings) == ["file missing", NOT_SIGNED]


def test_a_file_that_was_taken_away_is_missing_whatever_the_hint_says(trail: Path) -> None:
    """The writer makes the next file's first line of what it believes to be deleted, and signs that."""
    for _ in range(2):
        record_in_small_files(trail, "steal")
        second = sorted(Layout(trail).segments.iterdir())[1]
        gone = [0, int(second.name.partition(".")[0]) - 1]
        hint = json.loads(Layout(trail).state.read_bytes())
        Layout(trail).state.write_text(json.dumps({**hint, "pruned": [gone]}))
    Layout(trail).segment(0).unlink()
    assert not indelible.verify(trail, vkey(trail)).ok


def test_a_configuration_in_the_working_directory_counts_unless_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "indelible.yaml").write_text("audit: {enabled: false}\n")
    (tmp_path / "own.yaml").write_text("audit: {path: own.jsonl}\n")
    call = b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///x"}}\n'

    def wrap(*options: str) -> str:
        command = [sys.executable, "-m", "indelible", "wrap", *options, "--", "cat"]
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path)}
        done = subprocess.run(
            command, input=call, capture_output=True, check=True, cwd=tmp_path, env=env, timeout=60
        )
        assert done.stdout == call
        return done.stderr.decode()

    assert "not recorded" in wrap("--trail", "trail.jsonl")
    assert list(tmp_path.glob("*.jsonl")) == []
    assert wrap("-c", "own.yaml") == ""
    assert b"file:///x" in (tmp_path / "own.jsonl").read_bytes()


def test_a_checkpoint_says_nothing_of_the_content(trail: Path) -> None:
    """What is kept elsewhere is a name, a number, and two values that look random."""
    record(trail, "steal")
    origin, size, root, empty, signature = kept(trail).decode().splitlines()
    assert origin.startswith("indelible/")
    assert size.isdigit()
    assert len(base64.b64decode(root)) == 32
    assert (empty, signature.startswith("— ")) == ("", True)
