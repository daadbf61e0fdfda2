"""Golang's sumdb and Tessera's tree judge the lines of a bundle, each with the proof that was made from the bundle."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible.query.evidence.bundle import VERIFIER
from indelible.query.filters import Filter
from tests.judges.test_fsck import ROTATES, record, vkey
from tests.unit.query.evidence.bundles import make

Judge = Callable[[str], str]


@pytest.mark.parametrize("count", [1, 700])
def test_sumdb_accepts_each_line_of_a_bundle(tmp_path: Path, judge: Judge, count: int) -> None:
    """Of a trail that our writer wrote, in several files; the key is the one beside it."""
    trail, bundle = tmp_path / "audit.jsonl", tmp_path / "e.zip"
    record(trail, count, ROTATES)
    wanted = Filter(request_id=frozenset(f"r{number}" for number in (0, 1, 2, 255, 256, 300, 511, 699)))
    made = make(trail, bundle, wanted, vkey=None)
    with zipfile.ZipFile(bundle) as archive:
        seqs = [json.loads(line)["seq"] for line in archive.read("lines.jsonl").splitlines()]
        (tmp_path / "key.vkey").write_bytes(archive.read("key.vkey"))
    assert len(seqs) == made.counts.lines
    pairs = []
    for seq in seqs:
        command = [
            sys.executable,
            "-I",
            "-S",
            str(VERIFIER),
            str(bundle),
            "--vkey",
            str(vkey(trail)),
            "--line",
            str(seq),
        ]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
        pairs += [str(tmp_path / f"line-{seq}.json"), str(tmp_path / f"line-{seq}.tlog-proof")]
    command = [judge("proofcheck"), "record", str(tmp_path / "key.vkey"), *pairs]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    size = made.manifest["trail"]["size"]
    assert answers == [{"index": seq, "size": size} for seq in seqs]
