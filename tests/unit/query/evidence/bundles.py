"""Bundles of evidence for tests: made of a trail, taken apart, packed anew as somebody would who forges one."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from indelible.cli.evidence_page import evidence_page
from indelible.query.evidence import verify
from indelible.query.evidence.bundle import MEMBER_MODE, MEMBER_TIME, ORDER, Bundle, Made, Order
from indelible.query.filters import Filter
from indelible.trail.proofs.checkpoint import parse_vkey
from tests.trails import VKEY

ABOUT = {
    "made_at": "2026-11-22T06:00:00.000000Z",
    "made_by": {"login": "grace", "host": "desk"},
    "made_with": "indelible test",
    "note": "case 12",
}

ALL = Filter(events=None)
Files = dict[str, bytes]


def make(trail: Path, target: Path, wanted: Filter = ALL, **options: Any) -> Made:
    """Make a bundle, the trail's key pinned."""
    order = Order(trail, target, wanted, ABOUT, options.pop("vkey", parse_vkey(VKEY)), **options)
    with Bundle(order) as bundle:
        bundle.read()
        return bundle.write(evidence_page)


def files_of(bundle: Path) -> Files:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def lines_of(bundle: Path) -> list[bytes]:
    return files_of(bundle)["lines.jsonl"].splitlines()


def listed_anew(files: Files) -> Files:
    """Return the files with lists that fit them: what whoever alters a bundle does as well."""
    manifest = json.loads(files["MANIFEST.json"])
    manifest["files"] = {
        name: {"size": len(data), "sha256": sha256(data).hexdigest()}
        for name, data in files.items()
        if name not in ("MANIFEST.json", "SHA256SUMS")
    }
    done = {**files, "MANIFEST.json": json.dumps(manifest).encode()}
    return summed_anew(done)


def summed_anew(files: Files) -> Files:
    sums = {name: sha256(data).hexdigest() for name, data in files.items() if name != "SHA256SUMS"}
    return {**files, "SHA256SUMS": "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()}


def with_manifest(files: Files, change: Callable[[Any], None]) -> Files:
    manifest = json.loads(files["MANIFEST.json"])
    change(manifest)
    return summed_anew({**files, "MANIFEST.json": json.dumps(manifest).encode()})


def member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, MEMBER_TIME)
    info.create_system, info.external_attr = 3, MEMBER_MODE
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def packed(members: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for info, data in members:
            archive.writestr(info, data)
    return out.getvalue()


def in_order(files: Files) -> list[tuple[zipfile.ZipInfo, bytes]]:
    return [(member(name), files[name]) for name in ORDER if name in files]


def write_folder(files: Files, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


class Answer:
    """What the verifier says of a bundle."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.text = ""

    def __call__(self, bundle: Path, *options: str, vkey: str | None = VKEY) -> int:
        pinned = () if vkey is None else ("--vkey", vkey)
        code = verify.main([str(bundle), *pinned, *options])
        said = self._capsys.readouterr()
        assert bool(said.out) is (code == 0)
        assert bool(said.err) is (code != 0)
        self.text = said.out + said.err
        return code


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    return Answer(capsys)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check each signature once: of thousands of altered bundles most have the same."""
    with monkeypatch.context() as patch:
        patch.setattr(verify, "is_signed", functools.cache(verify.is_signed))
        yield
