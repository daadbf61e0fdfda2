"""What cannot be a trail, or is not the trail's own: one clear line, an exit code, and not a byte is changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import indelible
from indelible.errors import ConfigError
from indelible.trail.layout import Layout
from indelible.trail.start.keys import generate_pem

from .conftest import COMMAND, Run

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(
    not ROOT, reason="mounts a file system, or gives files to another user: needs root"
)

LIBRARY = """
import sys, indelible
try:
    indelible.open_trail(sys.argv[1]).close()
except indelible.IndelibleError as exc:
    print(f"indelible: {exc}", file=sys.stderr)
    sys.exit(exc.exit_code)
"""

Snapshot = dict[str, tuple[int, int, int, bytes]]


def record(path: Path, *names: str) -> Path:
    with indelible.open_trail(path) as trail:
        for name in names:
            with trail.operation("tools/call", name):
                pass
    return path


def look(directory: Path) -> Snapshot:
    """Return mode, owner, links and content (of a link where it leads) of everything below a directory, and of it."""
    found = {}
    for path in (directory, *sorted(directory.rglob("*"))):
        about = path.lstat()
        data = bytes(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(directory))] = (about.st_mode, about.st_uid, about.st_nlink, data)
    return found


class Refusal(NamedTuple):
    """What writers are told."""

    line: str
    """With {path} for the trail's, and {directory} for the one in which it lies."""
    code: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return record(tmp_path / "place" / "trail" / "audit.jsonl", "old")


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    text = done.stderr.decode()
    assert text.count("\n") == 1, text
    return text.removeprefix("indelible: ").rstrip("\n")


def writers(run: Run, path: Path) -> Iterator[tuple[str, subprocess.CompletedProcess[bytes]]]:
    yield "wrap", run("wrap", "--trail", path, "--", "cat")
    library = [sys.executable, "-c", LIBRARY, str(path)]
    yield "library", subprocess.run(library, capture_output=True, check=False, timeout=60)


def assert_refused(run: Run, path: Path, expected: Refusal, top: Path, readers: dict[str, int]) -> None:
    """Every writer says this line with this code, readers end with theirs, and nothing is touched.

    A command that `wrap` names is about the trail that it was asked for.
    """
    before = look(top)
    line = expected.line.format(path=path, directory=path.parent)
    for name, done in writers(run, path):
        said = re.sub("'(indelible [^']+)'", rf"'\1 --trail {path}'", line) if name == "wrap" else line
        assert (name, done.returncode, one_line(done)) == (name, expected.code, said)
        assert look(top) == before, name
    for command, code in readers.items():
        done = run(command, "--trail", path)
        assert (command, done.returncode) == (command, code), done.stderr
        newer = command == "log" and "newer version" in line  # it shows such lines, and says so
        assert done.stderr.count(b"\n") == (code == 3 or newer), done.stderr
        assert (b"written by a newer indelible" in done.stderr) == newer
        assert b"Traceback" not in done.stderr
        assert look(top) == before, command


# --- links, and who else may write -----------------------------------------------------------------------------

Spoil = Callable[[Path], "Refusal | None"]


def symlinked_file(path: Path) -> Refusal:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    return Refusal("{path}: is a symbolic link; name the file that it points to", 2)


def symlinked_directory(path: Path) -> Refusal:
    directory = Layout(path).directory
    directory.rename(path.with_name("elsewhere.d"))
    directory.symlink_to("elsewhere.d")
    said = "{path}.d: is a symbolic link; the trail keeps its checkpoint there, in a directory of its own"
    return Refusal(said, 2)


def hard_linked_file(path: Path) -> Refusal:
    path.with_name("second").hardlink_to(path)
    said = (
        "{path}: has 2 names (hard links), so what is written would show under the others, too; remove those, or copy"
        " the trail"
    )
    return Refusal(said, 2)


def everybodys_parent(path: Path) -> Refusal:
    path.parent.parent.chmod(0o777)
    said = (
        f"{path.parent.parent}: everybody may write it, and so put another trail in the place of this one; take that"
        " away (chmod o-w, or chmod +t), choose another directory, or, when nobody else can reach it, say so:"
        f" audit.trust_directory: {path.parent.parent}"
    )
    return Refusal(said, 2)


def everybodys_directory(path: Path) -> Refusal:
    Layout(path).directory.chmod(0o777)
    return Refusal("{path}.d: everybody may write it; take that away (chmod o-w), and verify the trail", 2)


# --- what is another's, or is not there --------------------------------------------------------------------------


def another_trails_file(path: Path) -> Refusal:
    other = record(path.parent.parent / "other" / "audit.jsonl", "new")
    shutil.copyfile(other, path)
    mine, theirs = (Layout(trail).origin.read_text().strip() for trail in (path, other))
    said = f"is of another trail, {theirs}; the one whose directory lies here is {mine}; put the right one back"
    return Refusal("{path}: " + said + "; nothing was written", 3)


def another_trails_directory(path: Path) -> Refusal:
    other = record(path.parent.parent / "other" / "audit.jsonl", "new")
    mine, theirs = (Layout(trail).origin.read_text().strip() for trail in (path, other))
    shutil.rmtree(Layout(path).directory)
    Layout(other).directory.rename(Layout(path).directory)
    said = f"is of another trail, {mine}; the one whose directory lies here is {theirs}; put the right one back"
    return Refusal("{path}: " + said + "; nothing was written", 3)


def no_directory(path: Path) -> Refusal:
    mine = Layout(path).origin.read_text().strip()
    shutil.rmtree(Layout(path).directory)
    said = f"is of the trail {mine}, whose directory {Layout(path).directory} has no origin; put the directory back,"
    return Refusal("{path}: " + said + " or move the file away; nothing was written", 3)


def somebody_elses_file(path: Path) -> Refusal:
    """Such as another program's log, at the same name: it must not end in quarantine."""
    shutil.rmtree(Layout(path).directory)
    path.write_text('{"timestamp":"2026-11-20T10:00:00.000Z","caller":"http","type":"tool","name":"old"}\n')
    return Refusal(
        "{path}: is there already, and is no trail; name another file, or move it away; nothing was written", 2
    )


def changed_key(path: Path) -> Refusal:
    from indelible.trail.start.keys import load_signer

    layout = Layout(path)
    pem = generate_pem()
    layout.key.write_bytes(pem)
    old = layout.vkey.read_text().strip()
    new = load_signer(pem, layout.origin.read_text().strip()).verifier.vkey()
    said = (
        f"{layout.vkey}: the key has changed: the trail was signed by {old}, the key at hand is {new}; put the old key"
        " back; to change it, put the new key in front of the old one, or use 'indelible keygen --rotate'"
    )
    return Refusal(said, 2)


def missing_key(path: Path) -> Refusal:
    Layout(path).key.unlink()
    said = (
        "{path}.d/key: the key that signed the trail is missing; put it back, or give the trail up for a new one that"
        " names it: 'indelible keygen --lost'"
    )
    return Refusal(said, 2)


def newer_schema(path: Path) -> Refusal:
    path.write_bytes(path.read_bytes().replace(b'"schema":1,"recorded_at"', b'"schema":2,"recorded_at"'))
    said = (
        "{path}: was written by a newer version of Indelible (schema 2, this one writes 1); update, or name another"
        " trail"
    )
    return Refusal(said, 3)


def another_signature(path: Path) -> Refusal:
    other = record(path.parent.parent / "other" / "audit.jsonl", "new")
    shutil.copyfile(Layout(other).checkpoint, Layout(path).checkpoint)
    theirs = Layout(other).vkey.read_text().strip()
    name, key_id, _ = theirs.split("+", 2)
    said = f"not signed by the expected key; signed by {name}+{key_id}; nothing was written;"
    return Refusal("{path}.d/checkpoint: " + said + " 'indelible verify' says more", 3)


READABLE = {"log": 0, "verify": 0}
NOT_OK = {"log": 0, "verify": 1}

CASES: dict[Callable[[Path], Refusal], dict[str, int]] = {
    symlinked_file: READABLE,
    symlinked_directory: READABLE,
    hard_linked_file: READABLE,
    everybodys_parent: READABLE,
    everybodys_directory: READABLE,
    another_trails_file: NOT_OK,
    another_trails_directory: NOT_OK,
    no_directory: NOT_OK,
    somebody_elses_file: {"verify": 1},
    changed_key: READABLE,
    missing_key: READABLE,
    newer_schema: NOT_OK,
    another_signature: NOT_OK,
}


@pytest.mark.parametrize("spoil", CASES, ids=lambda spoil: spoil.__name__)
def test_one_line_and_nothing_is_touched(
    run: Run, tmp_path: Path, path: Path, spoil: Callable[[Path], Refusal]
) -> None:
    expected = spoil(path)
    assert_refused(run, path, expected, tmp_path / "place", CASES[spoil])


def test_a_directory_of_everybodys_that_is_trusted_by_name(tmp_path: Path) -> None:
    """As an emptyDir is mounted: mode 0777, or 02777 with a group. No other directory is trusted with it."""
    volume, other = tmp_path / "volume", tmp_path / "other"
    config = tmp_path / "trusting.yaml"
    for place, mode in ((volume, 0o2777), (other, 0o777)):
        place.mkdir()
        place.chmod(mode)
    for trusted, trail, refused in (
        (volume, volume / "audit.jsonl", False),
        (volume, volume / "deeper" / "audit.jsonl", False),
        (volume, other / "audit.jsonl", True),
        (tmp_path, volume / "new.jsonl", True),
    ):
        config.write_text(json.dumps({"audit": {"path": str(trail), "trust_directory": str(trusted)}}))
        if refused:
            with pytest.raises(ConfigError, match="everybody may write it"):
                indelible.open_trail(config=config)
            continue
        indelible.open_trail(config=config).close()
        assert trail.with_name(trail.name + ".d").stat().st_mode & 0o777 == 0o700
        assert indelible.verify(trail).ok
    assert not (volume / "new.jsonl").exists()
    assert list(other.iterdir()) == []


def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    record(path, "new")
    assert [event["target"]["capability_name"] for event in indelible.search(path)] == ["new"]


def test_a_link_of_ones_own_on_the_way_is_fine(run: Run, tmp_path: Path, path: Path) -> None:
    (tmp_path / "way").symlink_to(path.parent)
    through = tmp_path / "way" / path.name
    record(through, "new")
    assert [event["target"]["capability_name"] for event in indelible.search(path)] == ["old", "new"]
    assert run("verify", "--trail", through).returncode == 0


def test_everybodys_directory_with_the_sticky_bit_is_fine(run: Run, path: Path) -> None:
    path.parent.parent.chmod(0o1777)
    record(path, "new")
    assert run("verify", "--trail", path).returncode == 0


def test_what_a_killed_writer_left_linked_is_its_own(path: Path) -> None:
    (Layout(path).directory / ".active.tmp").hardlink_to(path)
    record(path, "new")
    assert indelible.verify(path).ok


def test_a_missing_directory_is_made_and_a_copy_of_another_trail_is_set_aside(
    run: Run, tmp_path: Path, path: Path
) -> None:
    other = record(tmp_path / "not" / "there" / "audit.jsonl", "new")
    assert other.parent.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(path.parent)
    shutil.copytree(other.parent, path.parent)
    before = {name: item[3] for name, item in look(path.parent).items() if item[3]}
    done = run("wrap", "--trail", path, "--", "true")
    assert done.returncode == 0
    assert b"was set aside: it is a copy, and the trail that it was copied from may have gone on" in done.stderr
    (earlier,) = indelible.verify(path).previous
    assert earlier.ok
    after = {name: item[3] for name, item in look(Path(str(earlier.trail)).parent).items() if item[3]}
    assert all(before[name] == data for name, data in after.items())


# --- what the kernel refuses ---------------------------------------------------------------------------------------


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@needs_root
def test_a_read_only_file_system(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    with mounted(place):
        path = record(place / "trail" / "audit.jsonl", "old")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        try:
            before = look(place)
            done = dict(writers(run, path))
            assert one_line(done["library"]) == f"{path}.d/lock: cannot write the trail: Read-only file system"
            assert done["library"].returncode == 3
            assert done["wrap"].returncode == 3
            assert one_line(done["wrap"]) == f"{path}: cannot be written: Read-only file system"
            other = place / "new" / "audit.jsonl"
            new = run("wrap", "--trail", other, "--", "cat")
            assert (new.returncode, one_line(new)) == (3, f"{other}: cannot be written: Read-only file system")
            for command in ("log", "verify", "status"):
                assert run(command, "--trail", path).returncode == 0
            said = run("keygen", "--rotate", "--trail", path)
            assert (said.returncode, one_line(said)) == (
                3,
                f"{path}.d/.key.tmp: cannot change the key: Read-only file system",
            )
            assert look(place) == before
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)


OTHER = 54_321


def give(path: Path, uid: int) -> None:
    for found in (path, *path.rglob("*")):
        os.chown(found, uid, uid, follow_symlinks=False)


@needs_root
@pytest.mark.parametrize("whole", [True, False], ids=["trail", "directory"])
def test_root_does_not_write_another_users_trail(run: Run, tmp_path: Path, path: Path, *, whole: bool) -> None:
    given = path.parent if whole else Layout(path).directory
    give(given, OTHER)
    named = "{path}" if whole else "{path}.d"
    said = f"{named}: belongs to another user (uid {OTHER}); run this as that user, or name another trail"
    assert_refused(run, path, Refusal(said, 2), tmp_path / "place", READABLE)
    for command in (("keygen", "--rotate"), ("keygen", "--lost"), ("restore", str(path))):
        before = look(tmp_path / "place")
        done = run(*command, "--trail", path)
        assert (done.returncode, "belongs to another user" in one_line(done)) == (2, True), command
        assert look(tmp_path / "place") == before, command


@needs_root
def test_a_link_of_another_user_on_the_way(run: Run, tmp_path: Path, path: Path) -> None:
    link = tmp_path / "place" / "way"
    link.symlink_to("trail")
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    said = f"{link}: is a symbolic link of another user (uid {OTHER}); name the directory it points to"
    assert_refused(run, link / path.name, Refusal(said, 2), tmp_path / "place", READABLE)


@needs_root
def test_a_directory_that_one_may_not_write(tmp_path: Path) -> None:
    """As a user without root's right to write everywhere."""
    closed = tmp_path / "closed"
    closed.mkdir()
    os.chown(closed, OTHER, OTHER)
    closed.chmod(0o755)
    path = closed / "new" / "audit.jsonl"
    bare = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    library = [*bare, sys.executable, "-c", LIBRARY, str(path)]
    done = subprocess.run(library, capture_output=True, check=False, timeout=60)
    assert (done.returncode, one_line(done)) == (3, f"{path.parent}: cannot write the trail: Permission denied")
    wrap = [*bare, *COMMAND, "wrap", "--trail", str(path), "--", "cat"]
    done = subprocess.run(wrap, capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert (done.returncode, one_line(done)) == (
        3,
        f"{path}: cannot be written: no permission to write to {closed}",
    )
    assert list(closed.iterdir()) == []


def test_what_a_refusal_prints_is_json_nowhere_and_a_line_everywhere(run: Run, path: Path) -> None:
    """Names with a line feed or an escape sequence in them stay on one line."""
    odd = path.with_name("a\nb\x1b[31m.jsonl")
    odd.symlink_to("audit.jsonl")
    done = run("wrap", "--trail", odd, "--", "cat")
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr
    assert "is a symbolic link" in one_line(done)
    assert json.loads(run("status", "--trail", path, "--json").stdout)["events"]
