"""After an erasure, golang's sumdb still checks every proof, and fsck what was exported before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from indelible.config import AuditSettings
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import parse, split_note
from indelible.trail.proofs.export import export_tiles
from indelible.trail.proofs.prove import consistency_proof
from indelible.trail.proofs.stored import open_sealed, prove
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep.manage import manage
from tests.erasing import GONE, STAYS, await_compressed, call, lines_of, order, places_with
from tests.judges.fsck import fsck
from tests.judges.test_fsck import vkey
from tests.judges.test_proofs import Judge, judged

AUDIT = AuditSettings(max_size=30_000, backup_count=1_000, compress_rotated=True)


def record(path: Path, first: int, count: int, *, crash: bool) -> None:
    """Record calls, every fourth of them by somebody who is to be erased; a crash leaves the end unsealed."""
    script = (
        "import os, sys, pathlib; from indelible.config import AuditSettings;"
        "from indelible.trail.start.opening import open_writer; from tests.erasing import GONE, STAYS, call;"
        "w = open_writer(pathlib.Path(sys.argv[1]), AuditSettings(max_size=30_000, backup_count=1_000,"
        " compress_rotated=True), 'r').writer;"
        "[call(w, f'call{n}', GONE if n % 4 == 1 else STAYS) for n in range(int(sys.argv[2]), int(sys.argv[3]))];"
        "os.kill(os.getpid(), 9) if sys.argv[4] == '1' else w.close()"
    )
    command = [sys.executable, "-c", script, str(path), str(first), str(first + count), str(int(crash))]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, capture_output=True, timeout=120)
    assert done.returncode == (-9 if crash else 0), done.stderr


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes], Path]:
    """Make a trail of several processes, of which one was killed; export it, keep its lines, then erase."""
    folder = tmp_path_factory.mktemp("erased")
    path = folder / "trail" / "audit.jsonl"
    record(path, 0, 200, crash=False)
    record(path, 200, 200, crash=True)
    writer = open_writer(path, AUDIT, "here").writer
    for number in range(400, 600):
        call(writer, f"call{number}", GONE if number % 4 == 1 else STAYS)
    await_compressed(writer)
    writer.close()
    export_tiles(path, folder / "log")
    before = list(lines_of(path))
    keep = [3, 4, 256, 300, 700]
    for seq in keep:
        (folder / f"early-{seq}.tlog-proof").write_bytes(prove(path, seq).data())
    assert manage(path, AUDIT, order())["lines"] == 2 * 150
    assert places_with(path.parent) == []
    result = verify_trail(path)
    assert (result.ok, result.erased) == (True, 300)
    return path, before, folder


def test_single_proofs_of_erased_and_other_lines_made_before_and_after(
    erased: tuple[Path, list[bytes], Path], judge: Judge
) -> None:
    """Whoever kept a line can still show that it was there; the erased form by itself is no record to an outsider."""
    path, before, folder = erased
    after, pairs, blank = list(lines_of(path)), [], 0
    for early in sorted(folder.glob("early-*.tlog-proof")):
        seq = int(early.stem.partition("-")[2])
        late, line = folder / f"late-{seq}.tlog-proof", folder / f"{seq}.json"
        late.write_bytes(prove(path, seq).data())
        line.write_bytes(before[seq])
        pairs += [str(line), str(early), str(line), str(late)]
        if after[seq] != before[seq]:
            blank += 1
            (folder / "blank.json").write_bytes(after[seq])
            done = judged(judge("proofcheck"), "record", str(vkey(path)), str(folder / "blank.json"), str(late))
            assert done.returncode == 1
    assert 0 < blank < len(pairs) // 4
    done = judged(judge("proofcheck"), "record", str(vkey(path)), *pairs)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(pairs) // 2


def test_the_export_from_before_is_whole_and_the_trail_extends_it(
    erased: tuple[Path, list[bytes], Path], judge: Judge
) -> None:
    path, _, folder = erased
    ok, said = fsck(judge("fsck"), folder / "log", vkey(path))
    assert ok, said
    old = parse(split_note((folder / "log" / "checkpoint").read_bytes())[0])
    sealed = open_sealed(path)
    assert sealed.checkpoint.size > old.size
    about = {
        "size1": old.size,
        "size2": sealed.checkpoint.size,
        "root1": old.root.hex(),
        "root2": sealed.checkpoint.root.hex(),
        "proof": [item.hex() for item in consistency_proof(sealed.tiles, old.size)],
    }
    done = judged(judge("proofcheck"), "trees", said=json.dumps(about) + "\n")
    assert [json.loads(line)["ok"] for line in done.stdout.splitlines()] == [True], done.stderr


def test_an_export_from_after_has_no_bundle_with_what_is_gone(
    erased: tuple[Path, list[bytes], Path], tmp_path: Path
) -> None:
    path, _, _ = erased
    exported = export_tiles(path, tmp_path / "log")
    assert {item.why for item in exported.left_out} == {"erased"}
    assert sum(item.last - item.first + 1 for item in exported.left_out) == 300
    assert (tmp_path / "log" / "checkpoint").read_bytes() == Layout(path).checkpoint.read_bytes()
    assert places_with(tmp_path) == []
