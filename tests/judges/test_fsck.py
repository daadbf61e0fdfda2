"""Tessera's fsck and Go's sumdb/note read trails that our writer made."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import indelible
from indelible import events
from indelible.trail import layout
from indelible.trail.proofs import checkpoint
from tests.judges.fsck import fsck
from tests.judges.tiles import export, trail_lines

Judge = Callable[[str], str]

SIZES = [255, 256, 257, 1000, 70_000]
"""Around a full tile; in the second level; past 65,536, where a third level begins."""


def operation(number: int) -> events.Event:
    return events.Event(
        timestamp=events.format_time(1_795_240_000_000_000_000 + number * 1_000_000),
        event_type="mcp_operation",
        event_id=events.new_id(),
        target=events.Target(backend="judge", method="tools/call", type="tool", capability_name="count"),
        request=events.Request(request_id=f"r{number}", args={"number": number}),
        outcome=events.outcome("completed", 0.25),
    )


ROTATES = ", max_size_mb: 0.1, compress_rotated: true"
"""Settings of a trail of many small files; see `record`."""


def record(trail: Path, count: int, more: str = "") -> None:
    config = trail.with_suffix(".yaml")
    config.write_text(f"audit: {{on_failure: deny, write_timeout: 150s{more}}}\n")  # a busy disk is not judged
    with indelible.open_trail(trail, config=config) as opened:
        for number in range(count):
            opened.record(operation(number))


def trail_of(trail: Path, size: int) -> Path:
    """Write a trail of exactly `size` lines; what the writer adds of its own is counted on an empty one."""
    empty = trail.with_name("empty.jsonl")
    record(empty, 0)
    record(trail, size - len(list(trail_lines(empty))))
    return trail


def vkey(trail: Path) -> Path:
    return layout.Layout(trail).vkey


@pytest.mark.parametrize("size", SIZES)
def test_fsck_accepts_what_the_writer_wrote(tmp_path: Path, judge: Judge, size: int) -> None:
    trail = trail_of(tmp_path / "audit.jsonl", size)
    assert export(trail, tmp_path / "log") == size
    ok, said = fsck(judge("fsck"), tmp_path / "log", vkey(trail))
    assert ok, said


def test_fsck_accepts_a_tree_of_one_line(tmp_path: Path, judge: Judge) -> None:
    """A trail never stays that short, so this one is put together from the writer's parts."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from indelible.trail.proofs.merkle import TileTree, leaf_hash
    from tests.judges.tiles import write_bundles

    log = tmp_path / "log"
    tree = TileTree()
    tree.extend([leaf_hash(b"{}")])
    signer = checkpoint.Signer("indelible.test/one", Ed25519PrivateKey.generate())
    [tile] = tree.partial_tiles()
    path = log / "tile" / "0" / "000.p" / "1"
    path.parent.mkdir(parents=True)
    path.write_bytes(tile.data())
    write_bundles(log, [b"{}"])
    text = checkpoint.Checkpoint("indelible.test/one", 1, tree.root()).text()
    (log / "checkpoint").write_text(signer.sign(text))
    (tmp_path / "vkey").write_text(signer.verifier.vkey())
    ok, said = fsck(judge("fsck"), log, tmp_path / "vkey")
    assert ok, said


def test_fsck_accepts_a_trail_that_was_rotated_and_opened_again(tmp_path: Path, judge: Judge) -> None:
    """One tree runs through closed files, plain and compressed, and through several runs of the writer."""
    trail = tmp_path / "audit.jsonl"
    for _ in range(3):
        record(trail, 400, ROTATES)
    assert list(layout.Layout(trail).segments.iterdir()), "nothing was rotated"
    assert export(trail, tmp_path / "log") > 1200
    ok, said = fsck(judge("fsck"), tmp_path / "log", vkey(trail))
    assert ok, said


@pytest.fixture(scope="module")
def good_log(tmp_path_factory: pytest.TempPathFactory, judge: Judge) -> Path:
    """A log of 600 entries that fsck accepts, with the vkey beside it; copied before it is damaged."""
    folder = tmp_path_factory.mktemp("good")
    trail = trail_of(folder / "audit.jsonl", 600)
    export(trail, folder / "log")
    shutil.copyfile(vkey(trail), folder / "vkey")
    ok, said = fsck(judge("fsck"), folder / "log", folder / "vkey")
    assert ok, said
    return folder


DAMAGED = ["checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000"]


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_fsck_refuses_one_flipped_bit(
    tmp_path: Path, good_log: Path, judge: Judge, name: str, where: float
) -> None:
    log = tmp_path / "log"
    shutil.copytree(good_log / "log", log)
    path = log / name
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 1
    path.write_bytes(data)
    ok, _ = fsck(judge("fsck"), log, good_log / "vkey")
    assert not ok


def test_sumdb_note_opens_our_checkpoint(good_log: Path, judge: Judge) -> None:
    signed = good_log / "log" / "checkpoint"
    command = [judge("notecheck"), str(good_log / "vkey"), str(signed)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    text, _ = checkpoint.split_note(signed.read_bytes())
    ours = checkpoint.parse(text)
    assert json.loads(done.stdout) == {"origin": ours.origin, "size": ours.size, "root": ours.root.hex()}
    assert ours.size == 600


def test_sumdb_note_refuses_another_key_and_another_text(tmp_path: Path, good_log: Path, judge: Judge) -> None:
    note = (good_log / "log" / "checkpoint").read_text()
    (tmp_path / "altered").write_text(note.replace("\n600\n", "\n601\n"))
    other = tmp_path / "other.jsonl"
    record(other, 1)
    for key, signed in (
        (good_log / "vkey", tmp_path / "altered"),
        (vkey(other), good_log / "log" / "checkpoint"),
    ):
        command = [judge("notecheck"), str(key), str(signed)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert "note: " in done.stderr
