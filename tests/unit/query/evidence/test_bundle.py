"""A bundle is made whole or not at all, the same from the same, and by the right key."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import threading
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.config import AuditSettings
from indelible.errors import ConfigError, NotProven, TrailError
from indelible.query.evidence import bundle as module
from indelible.query.evidence import verify
from indelible.query.evidence.bundle import ORDER, VERIFIER, asked
from indelible.query.filters import Filter
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Signer, parse_vkey
from indelible.trail.start import maintain
from tests.trails import ORIGIN, Maker
from tests.unit.query.evidence.bundles import (
    ABOUT,
    Answer,
    answer,
    files_of,
    listed_anew,
    make,
    quick,
    write_folder,
)
from tests.unit.trail.test_writer import body, start

__all__ = ["answer", "quick"]


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(300)
    maker.rotate(compress=True)
    return maker.add_many(100).seal().add_many(3)


@pytest.fixture
def trail(maker: Maker) -> Path:
    return maker.layout.active


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "e.zip"


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


# --- what is in it ------------------------------------------------------------------------------------------


def test_the_files_and_what_the_manifest_says_of_the_question(trail: Path, target: Path) -> None:
    wanted = Filter(user=frozenset({"eve", "ada"}), since="2026-11-18T00:00:00.000000Z")
    made = make(trail, target, wanted)
    files = files_of(target)
    assert list(files) == [name for name in ORDER if name != "rotations"]
    assert files["verify.py"] == VERIFIER.read_bytes()
    manifest = json.loads(files["MANIFEST.json"])
    assert manifest == made.manifest
    assert {key: manifest[key] for key in ABOUT} == ABOUT
    assert manifest["asked"] == {
        "events": ["mcp_operation"],
        "user": ["ada", "eve"],
        "since": "2026-11-18T00:00:00.000000Z",
    }
    assert manifest["left_out"] == {"unsealed": 3, "not_sealed_so": 0}
    assert manifest["lines"]["count"] == 400
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert (made.size, made.sha256) == (
        target.stat().st_size,
        verify.digest(verify.Folder(target.parent), target.name)[1],
    )


def test_every_filter_is_said() -> None:
    given: dict[str, Any] = {
        name: frozenset({"x"}) for name in Filter.__struct_fields__ if name not in ("since", "until")
    }
    said = asked(Filter(**given, since="1", until="2"))
    assert set(said) == set(Filter.__struct_fields__)


def test_the_same_gives_the_same_bytes(trail: Path, tmp_path: Path) -> None:
    make(trail, tmp_path / "one.zip")
    make(trail, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_member_beyond_four_gigabytes_has_room_for_its_digits() -> None:
    """Not made here: the header that is written for such a size is the one of zip64."""

    class Large(io.BytesIO):
        def seek(self, at: int, whence: int = 0) -> int:
            return 5 << 30 if whence == os.SEEK_END else super().seek(at, whence)

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        module._write_member(archive, "lines.jsonl", Large(b"x" * 1000), None)
    assert zipfile.ZipFile(out).read("lines.jsonl") == b"x" * 1000
    assert out.getvalue()[28:30] == b"\x14\0", "an extra field of 20 bytes"


# --- where it goes ------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_unless_that_is_asked_for(trail: Path, target: Path) -> None:
    target.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="nothing is overwritten without --force"):
        make(trail, target)
    assert target.read_bytes() == b"mine"
    make(trail, target, replace=True)
    assert zipfile.is_zipfile(target)


def test_what_came_there_meanwhile_is_not_overwritten_either(trail: Path, target: Path) -> None:
    real = module._write_zip

    def write(*arguments: Any) -> Any:
        target.write_bytes(b"mine")
        return real(*arguments)

    with mock.patch.object(module, "_write_zip", write), pytest.raises(ConfigError, match="is there already"):
        make(trail, target)
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "name", ["", ".", "none/e.zip", "t/audit.jsonl", "t/audit.jsonl.d/checkpoint", "t/audit.jsonl.d/x"]
)
def test_places_where_none_can_be(trail: Path, tmp_path: Path, name: str) -> None:
    before = trail.read_bytes()
    with pytest.raises(ConfigError):
        make(trail, tmp_path / name, replace=True)
    assert trail.read_bytes() == before


def failing_after(count: int, error: BaseException) -> Any:
    """Return writes to the file without a name of which the last fails."""

    class Failing(io.FileIO):
        written = 0

        def write(self, data: Any) -> int:
            Failing.written += 1
            if Failing.written > count:
                raise error
            return super().write(data)

    def unnamed(order: Any) -> Any:
        path = order.target.with_name("unnamed")
        made = io.BufferedRandom(Failing(path, "w+b"), 512)
        path.unlink()
        return made

    return unnamed


@pytest.mark.parametrize("count", [0, 1, 40, 200, 300])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_nothing(
    trail: Path, target: Path, count: int, error: BaseException
) -> None:
    expected = TrailError if isinstance(error, OSError) else KeyboardInterrupt
    with mock.patch.object(module, "_unnamed", failing_after(count, error)), pytest.raises(expected) as raised:
        make(trail, target)
    assert names(target) == ["t"]
    if isinstance(error, OSError):
        assert (
            str(raised.value) == f"{target}: cannot be written: No space left on device; nothing is left of it"
        )


@pytest.mark.parametrize("at", [0, 1, 4, 7])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_an_error_in_the_midst_of_packing_leaves_nothing(
    trail: Path, target: Path, at: int, error: BaseException
) -> None:
    real, calls = module._write_member, []

    def write(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) > at:
            raise error
        real(*arguments)

    expected = TrailError if isinstance(error, OSError) else KeyboardInterrupt
    with mock.patch.object(module, "_write_member", write), pytest.raises(expected):
        make(trail, target)
    assert names(target) == ["t"]


def test_a_directory_that_may_not_be_written(trail: Path, tmp_path: Path) -> None:
    refused = mock.patch("tempfile.TemporaryFile", side_effect=PermissionError(13, "Permission denied"))
    with refused, pytest.raises(TrailError, match="cannot be written: Permission denied"):
        make(trail, tmp_path / "e.zip")


# --- the key ------------------------------------------------------------------------------------------------


def record(path: Path, count: int) -> None:
    writer = start(path, AuditSettings())
    for number in range(count):
        writer.append(body(f"e{number}"))
    writer.close()


@pytest.mark.usefixtures("quick")
def test_whoever_pinned_an_earlier_key_needs_no_other(tmp_path: Path, target: Path, answer: Answer) -> None:
    path, keys = tmp_path / "t" / "audit.jsonl", []
    path.parent.mkdir()
    for _ in range(3):
        record(path, 20)
        keys.append(Layout(path).vkey.read_text().strip())
        maintain.rotate_key(path, AuditSettings(), 3600)
    record(path, 20)
    keys.append(Layout(path).vkey.read_text().strip())
    assert len(set(keys)) == 4
    for pinned in keys:
        make(path, target, vkey=parse_vkey(pinned), replace=True)
        files = files_of(target)
        assert files["key.vkey"].decode().strip() == keys[-1]
        for vkey in keys:
            assert answer(target, vkey=vkey) == 0, answer.text
        assert answer(target, vkey=None) == 0
    assert answer(target, "--line", "9999", vkey=keys[0]) == 1


@pytest.mark.usefixtures("quick")
def test_a_hand_over_that_was_altered_leads_nowhere(tmp_path: Path, target: Path, answer: Answer) -> None:
    path = tmp_path / "t" / "audit.jsonl"
    path.parent.mkdir()
    record(path, 5)
    first = Layout(path).vkey.read_text().strip()
    maintain.rotate_key(path, AuditSettings(), 3600)
    record(path, 5)
    make(path, target, vkey=None)
    files = files_of(target)
    notes = files["rotations"]
    assert answer(target, vkey=first) == 0
    signature = notes.rstrip().rfind(b" ") + 30
    for data in (
        b"",
        notes[:-1],
        notes + b"\n",
        notes.replace(b"key rotation", b"key rotatiom"),
        notes[:signature]
        + (b"A" if notes[signature : signature + 1] != b"A" else b"B")
        + notes[signature + 1 :],
        b"\n".join(notes.split(b"\n")[:-2]) + b"\n",
    ):
        assert (
            answer(write_folder(listed_anew({**files, "rotations": data}), tmp_path / "e"), vkey=first) == 1
        ), data


def test_another_key_than_the_trails_makes_no_bundle(trail: Path, target: Path) -> None:
    stranger = Signer(ORIGIN, Ed25519PrivateKey.generate()).verifier
    for damaged in (False, True):
        with pytest.raises(NotProven):
            make(trail, target, vkey=stranger, damaged=damaged)
    assert not target.exists()


# --- beside a writer at work --------------------------------------------------------------------------------


def test_beside_a_writer_that_rotates_and_deletes(tmp_path: Path, target: Path, answer: Answer) -> None:
    path = tmp_path / "t" / "audit.jsonl"
    path.parent.mkdir()
    settings = AuditSettings(max_size=20_000, backup_count=2, retention=None, compress_rotated=True)
    writer = start(path, settings)
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            writer.append(body(f"e{number}"))
            number += 1
            if number % 50 == 0:
                writer.seal()

    thread = threading.Thread(target=write)
    writer.append(body("first"))
    writer.seal()
    thread.start()
    try:
        for _ in range(8):
            make(path, target, vkey=None, replace=True)
            vkey = Layout(path).vkey.read_text().strip()
            assert answer(target, vkey=vkey) == 0, answer.text
    finally:
        done.set()
        thread.join()
        writer.close()
