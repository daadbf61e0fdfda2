"""The verifier that goes with a bundle: what it says of whole ones, of altered ones, of ones made to deceive it."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.query.evidence import verify
from indelible.query.evidence.bundle import ORDER, VERIFIER
from indelible.query.filters import Filter
from indelible.trail.proofs.checkpoint import Checkpoint, Signer
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.proof import parse_proof
from indelible.trail.proofs.stored import prove
from tests.effort import examples
from tests.trails import ORIGIN, VKEY, Maker, erased, erasure, operation
from tests.unit.query.evidence.bundles import (
    Answer,
    Files,
    answer,
    files_of,
    in_order,
    listed_anew,
    make,
    member,
    packed,
    quick,
    summed_anew,
    with_manifest,
    write_folder,
)
from tests.unit.trail.verify.sealed import edit_lines

__all__ = ["answer", "quick"]

CHOSEN = Filter(request_id=frozenset({"r3", "r4", "r9", "r17", "r18"}))
SEQS = [3, 4, 6, 9, 17, 18, 21]
"""Those, an erased line, and the record of that."""


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(20)
    maker.add(erasure(maker, 6))
    maker.add_many(9).seal()
    edit_lines(maker.layout.active, lambda lines: lines.__setitem__(6, erased(lines[6], 6)))
    return maker


@pytest.fixture
def bundle(maker: Maker, tmp_path: Path) -> Path:
    make(maker.layout.active, tmp_path / "e.zip", CHOSEN)
    return tmp_path / "e.zip"


@pytest.fixture
def files(bundle: Path) -> Files:
    return files_of(bundle)


# --- a whole one --------------------------------------------------------------------------------------------


def test_it_runs_alone_in_a_bare_python(bundle: Path, files: Files, tmp_path: Path) -> None:
    """Isolated, without site-packages, from the folder that the bundle was unpacked to."""
    folder = write_folder(files, tmp_path / "e")
    (folder / "k").write_text(VKEY + "\n")
    for asked in ([], [str(bundle)], ["--vkey", VKEY], ["--vkey", str(folder / "k")]):
        command = [sys.executable, "-I", "-S", str(folder / "verify.py"), *asked]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"OK: 7 lines of {ORIGIN}, seq 3 to 21\n")
        assert ("whose key that is" in done.stdout) is ("--vkey" not in asked)


def test_it_is_a_program_for_old_pythons_and_of_the_standard_library() -> None:
    tree = ast.parse(VERIFIER.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {
        "removeprefix",
        "removesuffix",
        "bit_count",
        "hardlink_to",
        "is_relative_to",
        "readlink",
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls for keyword in call.keywords if keyword.arg == "strict"]


@pytest.mark.parametrize("seq", SEQS)
def test_a_line_is_handed_on_with_the_proof_that_the_trail_itself_gives(
    bundle: Path, maker: Maker, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seq: int
) -> None:
    monkeypatch.chdir(tmp_path)
    assert answer(bundle, "--line", str(seq)) == 0
    proof, line = (Path(f"line-{seq}.{suffix}") for suffix in ("tlog-proof", "json"))
    assert parse_proof(proof.read_bytes()) == prove(maker.layout.active, seq)
    assert line.read_bytes() == maker.layout.active.read_bytes().splitlines(keepends=True)[seq]
    assert answer(bundle, "--line", str(seq)) == 2, "nothing is overwritten"
    assert f"line-{seq}.json" in answer.text


def test_a_line_that_the_bundle_does_not_have(bundle: Path, answer: Answer) -> None:
    assert answer(bundle, "--line", "5") == 1
    assert "no line with seq 5" in answer.text


@settings(max_examples=examples(15), deadline=None)
@given(
    size=st.integers(1, 600),
    chosen=st.one_of(st.sets(st.integers(1, 600), min_size=1, max_size=40), st.just(set(range(601)))),
)
def test_any_choice_of_any_trail(tmp_path_factory: pytest.TempPathFactory, size: int, chosen: set[int]) -> None:
    folder = tmp_path_factory.mktemp("t")
    maker = Maker(folder / "t" / "audit.jsonl").add_many(size).seal()
    there = {seq for seq in chosen if 1 <= seq <= size} or {1}
    wanted = Filter(request_id=frozenset(f"r{seq}" for seq in there))
    made = make(maker.layout.active, folder / "e.zip", wanted)
    assert made.counts.lines == len(there)
    assert verify.main([str(folder / "e.zip"), "--vkey", VKEY]) == 0


# --- altered by a byte --------------------------------------------------------------------------------------


def altered(data: bytes, every: int) -> list[bytes]:
    """Return what a change of one byte, its loss, and one more make of some bytes."""
    found = []
    for at in range(0, len(data), every):
        found.append(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        found.append(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
        found.append(data[:at] + data[at + 1 :])
    return [*found, data + b"\n", data + b" ", data + b"\0"]


class Held:
    """A bundle in memory."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.names = list(files)

    def open(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.files[name])


def assert_refused(files: Files) -> None:
    """What `main` calls "NOT OK": it raises, whatever it raises."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is, `main` says no
        verify.check(Held(files), verify.parse_key(VKEY), None)
    assert not isinstance(raised.value, OSError | AssertionError)


STEPS = {"README.html": 97, "verify.py": 397, "lines.jsonl": 23, "MANIFEST.json": 11}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", [name for name in ORDER if name != "rotations"])
def test_any_byte_of_any_file(files: Files, name: str) -> None:
    for data in altered(files[name], STEPS.get(name, 3)):
        assert_refused({**files, name: data})


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["lines.jsonl", "proof", "checkpoint", "key.vkey"])
def test_any_byte_though_the_lists_were_made_anew(files: Files, name: str) -> None:
    """Hashes in a list are no protection against who writes the list: signature and tree are."""
    for data in altered(files[name], STEPS.get(name, 2)):
        if data.strip() == files[name].strip() and name == "key.vkey":
            continue  # white space about a key is not of it
        assert_refused(listed_anew({**files, name: data}))


def test_any_byte_of_the_zip(bundle: Path, answer: Answer, tmp_path: Path) -> None:
    """What is not found does not matter: every file in it is what it was."""
    whole, before = bundle.read_bytes(), files_of(bundle)
    for at in range(0, len(whole), 151):
        bundle.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        if answer(bundle) == 0:
            assert files_of(bundle) == before


# --- other lines, another trail, another key ----------------------------------------------------------------


def split(files: Files) -> list[bytes]:
    return files["lines.jsonl"].splitlines(keepends=True)


def with_lines(files: Files, change: Callable[[list[bytes]], Any]) -> Files:
    lines = split(files)
    change(lines)
    count, seqs = len(lines), [json.loads(line)["seq"] for line in lines]
    told = {"count": count, "first_seq": min(seqs), "last_seq": max(seqs)}
    told["erased"] = sum(b'"erased":"' in line for line in lines)
    done = with_manifest(
        {**files, "lines.jsonl": b"".join(lines)}, lambda manifest: manifest["lines"].update(told)
    )
    return listed_anew(done)


def swap(lines: list[bytes]) -> None:
    lines[0], lines[1] = lines[1], lines[0]


def exchange_content(lines: list[bytes]) -> None:
    lines[0], lines[1] = lines[1].replace(b'"seq":4', b'"seq":3'), lines[0].replace(b'"seq":3', b'"seq":4')


def blank(lines: list[bytes]) -> None:
    lines[0] = erased(lines[0][:-1], 3) + b"\n"


def blank_wrongly(lines: list[bytes]) -> None:
    lines[2] = lines[2].replace(b'"leaf":"', b'"leaf":"0')[:-4] + b'"}\n'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swap, "not in its turn"),
        (exchange_content, "signed root"),
        (lambda lines: lines.pop(0), "hashes"),
        (lambda lines: lines.pop(), "hashes"),
        (lambda lines: lines.insert(1, lines[0]), "not in its turn"),
        (lambda lines: lines.insert(2, b'{"seq":5,"made":"up"}\n'), "too many hashes"),
        (lambda lines: lines.append(b'{"seq":31,"made":"up"}\n'), "beyond the checkpoint"),
        (lambda lines: lines.__setitem__(1, lines[1].replace(b"read_file", b"read_fil3")), "signed root"),
        (lambda lines: lines.__setitem__(1, lines[1].replace(b'"seq":4', b'"seq":5')), "signed root"),
        (blank, "somebody blanked it"),
        (blank_wrongly, "NOT OK"),
        (lambda lines: lines.__setitem__(1, lines[1][:-2] + b" " * 70_000 + b"}\n"), "no line of a trail"),
    ],
)
def test_other_lines(
    files: Files, answer: Answer, tmp_path: Path, change: Callable[[list[bytes]], Any], said: str
) -> None:
    folder = write_folder(with_lines(files, change), tmp_path / "e")
    assert answer(folder) == 1
    assert said in answer.text


def test_a_record_of_other_erasures_excuses_nothing(maker: Maker, tmp_path: Path, answer: Answer) -> None:
    """A line that is blanked in the bundle, under the name of a record that is in it and is about another line."""
    make(maker.layout.active, tmp_path / "e.zip", CHOSEN)
    files = files_of(tmp_path / "e.zip")
    folder = write_folder(with_lines(files, blank), tmp_path / "e")
    assert answer(folder) == 1
    assert "seq 3 is erased" in answer.text


def test_parts_of_a_bundle_of_another_trail(files: Files, answer: Answer, tmp_path: Path) -> None:
    other = Maker(tmp_path / "o" / "audit.jsonl")
    other.add_many(20, lambda number: operation(number, source__user_id="eve"))
    make(other.seal().layout.active, tmp_path / "o.zip", CHOSEN)
    theirs = files_of(tmp_path / "o.zip")
    assert answer(tmp_path / "o.zip") == 0, "the same key, so that each is whole by itself"
    for name in ("lines.jsonl", "proof", "checkpoint"):
        folder = write_folder(listed_anew({**files, name: theirs[name]}), tmp_path / "e")
        assert answer(folder) == 1


def signed_by_another(files: Files) -> Files:
    """The whole bundle, sealed by somebody else under the same name: nothing in it contradicts anything else."""
    signer = Signer(ORIGIN, Ed25519PrivateKey.generate())
    text = files["checkpoint"].decode().partition("\n\n")[0] + "\n"
    vkey = signer.verifier.vkey().encode() + b"\n"
    return listed_anew({**files, "checkpoint": signer.sign(text).encode(), "key.vkey": vkey})


def test_another_key(files: Files, answer: Answer, tmp_path: Path) -> None:
    """Only who has pinned the key finds it, and who has not is told that nobody looked."""
    folder = write_folder(signed_by_another(files), tmp_path / "e")
    assert answer(folder) == 1
    assert "no hand-over leads to it" in answer.text
    assert answer(folder, vkey=None) == 0
    assert "NOT CHECKED: whose key that is" in answer.text


def test_a_checkpoint_of_the_right_key_over_something_else(
    files: Files, maker: Maker, answer: Answer, tmp_path: Path
) -> None:
    for size, root in ((30, leaf_hash(b"")), (31, leaf_hash(b"")), (0, leaf_hash(b"")), (10**300, bytes(32))):
        note = maker.signer.sign(Checkpoint(ORIGIN, size, root).text()).encode()
        folder = write_folder(listed_anew({**files, "checkpoint": note}), tmp_path / "e")
        assert answer(folder) == 1


def test_a_note_that_is_no_checkpoint(files: Files, maker: Maker, answer: Answer, tmp_path: Path) -> None:
    """The trail's key signs other texts, too: none of them passes for a checkpoint."""
    for text in (
        "indelible: the trail's own words\nx\ny\n",
        f"{ORIGIN}\nkey rotation\n",
        f"{ORIGIN}\n030\n",
        "\n",
    ):
        note = maker.signer.sign(text).encode()
        folder = write_folder(listed_anew({**files, "checkpoint": note}), tmp_path / "e")
        assert answer(folder) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["lines"].update(count=8),
        lambda manifest: manifest["lines"].update(erased=0),
        lambda manifest: manifest["lines"].update(last_seq=40),
        lambda manifest: manifest["trail"].update(size=32),
        lambda manifest: manifest["trail"].update(origin="indelible/other"),
        lambda manifest: manifest.update(evidence=2),
        lambda manifest: manifest.pop("lines"),
        lambda manifest: manifest["files"].pop("proof"),
        lambda manifest: manifest["files"].update({"../x": {"size": 0, "sha256": ""}}),
        lambda manifest: manifest["files"].update(proof=None),
    ],
)
def test_a_manifest_that_says_something_else(
    files: Files, answer: Answer, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    assert answer(write_folder(with_manifest(files, change), tmp_path / "e")) == 1


def test_a_manifest_with_a_key_twice(files: Files, answer: Answer, tmp_path: Path) -> None:
    twice = files["MANIFEST.json"].replace(b'"evidence"', b'"note": "other", "evidence"', 1)
    assert answer(write_folder(summed_anew({**files, "MANIFEST.json": twice}), tmp_path / "e")) == 1
    assert "twice" in answer.text


@pytest.mark.parametrize("nested", [b"[" * 100_000, b"{" * 10, b"\xff\xfe", b"NaN", b"[]", b'"x"', b""])
def test_a_manifest_that_is_none(files: Files, answer: Answer, tmp_path: Path, nested: bytes) -> None:
    assert answer(write_folder(summed_anew({**files, "MANIFEST.json": nested}), tmp_path / "e")) == 1


# --- tricks with the zip ------------------------------------------------------------------------------------

Members = list[tuple[zipfile.ZipInfo, bytes]]


def renamed(members: Members, at: int, name: str) -> Members:
    done = list(members)
    info = member(name)
    info.filename = name  # whatever the constructor made of it
    done[at] = (info, done[at][1])
    return done


def with_attribute(members: Members, **values: Any) -> Members:
    for name, value in values.items():
        setattr(members[2][0], name, value)
    return members


TRICKS: dict[str, Callable[[Members], Members]] = {
    "a file twice": lambda members: [*members, members[2]],
    "another file": lambda members: [*members, (member("more.txt"), b"x")],
    "a path upwards": lambda members: [*members, (member("../../evil.py"), b"x")],
    "an absolute path": lambda members: [*members, (member("/etc/evil"), b"x")],
    "a path instead of a name": lambda members: renamed(members, 2, "./lines.jsonl"),
    "a name in capitals": lambda members: renamed(members, 2, "LINES.jsonl"),
    "a directory": lambda members: [*members, (member("d/"), b"")],
    "a file too few": lambda members: members[:-1],
    "a link": lambda members: with_attribute(members, external_attr=0o120777 << 16),
    "a program": lambda members: with_attribute(members, external_attr=0o100755 << 16),
    "from another system": lambda members: with_attribute(members, create_system=0),
    "a comment": lambda members: with_attribute(members, comment=b"x"),
    "another time": lambda members: with_attribute(members, date_time=(2026, 1, 1, 0, 0, 0)),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_with_names_and_attributes(files: Files, answer: Answer, tmp_path: Path, trick: str) -> None:
    target = tmp_path / "tricked.zip"
    target.write_bytes(packed(in_order(files)))
    assert answer(target) == 0
    target.write_bytes(packed(TRICKS[trick](in_order(files))))
    assert answer(target) == 1


def test_a_name_that_ends_in_the_middle(files: Files, answer: Answer, tmp_path: Path) -> None:
    """A NUL in a name: some programs see what is before it, others all of it."""
    target = tmp_path / "tricked.zip"
    data = packed(renamed(in_order(files), 2, "lines.jsonl#evil"))
    target.write_bytes(data.replace(b"lines.jsonl#evil", b"lines.jsonl\0evil"))
    assert answer(target) == 1


def test_something_beside_the_files(files: Files, bundle: Path, answer: Answer, tmp_path: Path) -> None:
    """Before, behind, between: another program might show that, or a whole other zip, instead."""
    whole, other = bundle.read_bytes(), packed([(member("README.html"), b"other")])
    with zipfile.ZipFile(bundle) as archive:
        end = archive.start_dir
    target = tmp_path / "tricked.zip"
    for data in (
        b"x" + whole,
        whole + b"x",
        whole + bytes(4),
        other + whole,
        whole + other,
        whole[:end] + b"PK\5\6 nothing" + whole[end:],
        whole[:-2] + b"\1\0x",
    ):
        target.write_bytes(data)
        assert answer(target) == 1


def test_parts_of_a_zip(bundle: Path, answer: Answer, tmp_path: Path) -> None:
    whole = bundle.read_bytes()
    for length in range(0, len(whole), 1997):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        assert answer(tmp_path / "cut.zip") == 1


# --- tricks with the folder ---------------------------------------------------------------------------------


def test_a_link_or_a_pipe_in_the_folder(files: Files, answer: Answer, tmp_path: Path) -> None:
    folder = write_folder(files, tmp_path / "e")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(files["proof"])
    (folder / "proof").unlink()
    (folder / "proof").symlink_to(elsewhere)
    assert answer(folder) == 1
    (folder / "proof").unlink()
    os.mkfifo(folder / "proof")
    assert answer(folder) == 1
    (folder / "proof").unlink()
    assert answer(folder) == 1
    assert "files are missing: ['proof']" in answer.text


def test_files_of_the_auditors_own_in_the_folder(files: Files, answer: Answer, tmp_path: Path) -> None:
    folder = write_folder(files, tmp_path / "e")
    (folder / "my notes.txt").write_text("x")
    assert answer(folder) == 0


# --- wrong usage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vkey", ["", "x", VKEY[:-1], VKEY.replace("+", "-"), "/", "\0", "ü", "x+" * 400, "x" * 9000]
)
def test_a_key_that_is_none(bundle: Path, answer: Answer, vkey: str) -> None:
    assert answer(bundle, vkey=vkey) == 2
    assert answer.text.startswith("--vkey: ")


def test_nothing_to_read(answer: Answer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(tmp_path / "none.zip") == 2
    assert "none.zip: No such file" in answer.text
    for options in (["--line", "x"], ["--what"], ["a", "b"]):
        with pytest.raises(SystemExit) as ended:
            verify.main(options)
        assert ended.value.code == 2
    capsys.readouterr()


def test_what_it_prints_moves_no_cursor(files: Files, answer: Answer, tmp_path: Path) -> None:
    target = tmp_path / "e.zip"
    target.write_bytes(packed([*in_order(files), (member("x\x1b[31m\u202eé\nOK: y"), b"")]))
    assert answer(target) == 1
    assert answer.text.isascii()
    assert "\x1b" not in answer.text
    assert answer.text.count("\n") == 1
