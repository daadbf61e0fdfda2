"""The page about sealed batches: its manifest's keys are those of the code, its recipes judge batches as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from indelible.trail.proofs.manifest import Manifest, batch_stem, parse_key
from tests.batches import Batches, FakeBucket, manifest_key, unpacked
from tests.trails import ORIGIN, VKEY, Maker, erased, erasure
from tests.unit.docs.pages import DOCS, blocks, codes, rows, section

PAGE = DOCS / "reference" / "batches.md"


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    """One batch of the middle of a trail, with a hole and an erased line, beside the page's programs."""
    for block in blocks(PAGE):
        if block.mark.startswith("file: "):
            (tmp_path / block.mark.removeprefix("file: ")).write_text(block.text)
    maker = Maker(tmp_path / "a.jsonl").add_many(200).seal()
    maker.add(erasure(maker, 100))
    maker.seal()
    lines = maker.layout.active.read_bytes().splitlines()
    lines[100] = erased(lines[100], 100)
    maker.layout.active.write_bytes(b"".join(line + b"\n" for line in lines))
    made = Batches(maker, FakeBucket())
    made.put([*range(90, 130), *range(131, 140)])
    (tmp_path / "m.json").write_bytes(made.bucket.objects[manifest_key(made.keys[0])])
    (tmp_path / "trail.vkey").write_text(VKEY + "\n")
    return made


def judged(
    folder: Path, program: str, *args: str, lines: Sequence[bytes] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, program, *args], input=b"".join(line + b"\n" for line in lines).decode(), cwd=folder,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_recipe_tells_what_is_sealed_from_what_is_not(batches: Batches, tmp_path: Path) -> None:
    lines = unpacked(batches.bucket.objects[batches.keys[0]])
    done = judged(tmp_path, "check_batch.py", "m.json", lines=lines)
    assert (done.stdout, done.returncode) == (f"as sealed {ORIGIN} 202\n", 0), done.stderr
    altered = [lines[0].replace(b'"ada"', b'"eve"'), *lines[1:]]
    done = judged(tmp_path, "check_batch.py", "m.json", lines=altered)
    assert (done.stdout, done.returncode) == (f"not as sealed {ORIGIN} 202\n", 1), done.stderr
    assert judged(tmp_path, "check_batch.py", "m.json", lines=lines[1:]).returncode == 1


def test_the_recipe_checks_the_signature(batches: Batches, tmp_path: Path) -> None:
    done = judged(tmp_path, "check_note.py", "trail.vkey", "m.json")
    assert (done.stdout, done.returncode) == (f"signed by {ORIGIN}\n", 0), done.stderr
    said = json.loads((tmp_path / "m.json").read_text())
    said["checkpoint"] = said["checkpoint"].replace("\n202\n", "\n203\n")
    (tmp_path / "m.json").write_text(json.dumps(said))
    assert judged(tmp_path, "check_note.py", "trail.vkey", "m.json").returncode != 0


def test_the_keys_of_the_manifest_are_those_of_the_page() -> None:
    named = [code for row in rows(section(PAGE, "The manifest")) for code in codes(row[0])]
    assert sorted(named) == sorted(Manifest.__struct_encode_fields__)


def test_the_names_are_those_that_are_read_back() -> None:
    names = blocks(PAGE)[0].text.split()
    found = [parse_key(name) for name in names]
    assert all(found)
    assert names[0].rpartition("/")[2] == batch_stem(ORIGIN, 100, 199) + ".jsonl.zst"
    assert [one.is_manifest for one in found if one] == [False, True]
