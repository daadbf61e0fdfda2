"""A copy of a trail never goes on under its name, and a backup is put back as what a new trail follows."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import indelible
from indelible.config import AuditSettings
from indelible.errors import ConfigError, NotProven, TrailError
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import Layout
from indelible.trail.start import place, restore

from .faults import read_all, without_threads
from .test_writer import AUDIT, body, crash, start

SMALL = AuditSettings(max_size=1500, backup_count=100, retention=None)


def recorded(path: Path, *names: str, audit: AuditSettings = AUDIT) -> str:
    """Record events; return the trail's origin."""
    writer = start(path, audit)
    for name in names:
        writer.append(body(name))
    writer.close()
    return writer.origin


def copied(source: Path, target: Path) -> Path:
    """Copy a trail as `cp -a` does; return the copy's path."""
    subprocess.run(["cp", "-a", source.parent, target], check=True)
    return target / source.name


def everything(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def names(path: Path) -> list[str]:
    """Return what a search of the trail finds, earlier trails included."""
    return [event["event_id"] for event in indelible.search(path)]


def identities(paths: list[Path]) -> list[tuple[str, int, str]]:
    """Return (origin, seq, line) of every line of these trails and of those that they follow."""
    found = []
    for path in paths:
        result = verify_trail(path)
        for trail in [path, *(Path(str(earlier.trail)) for earlier in result.previous)]:
            origin = Layout(trail).origin.read_text().strip()
            found += [(origin, entry["seq"], repr(entry)) for entry in read_all(trail)]
    return found


def assert_no_seq_twice(*paths: Path) -> None:
    """(origin, seq) is the identity: wherever it stands, it is the same line."""
    lines: dict[tuple[str, int], str] = {}
    for origin, seq, line in identities(list(paths)):
        assert lines.setdefault((origin, seq), line) == line, (origin, seq)


def do_restore(backup: Path, target: Path, **options: Any) -> str:
    return restore.restore(restore.plan(backup, target, **options), AUDIT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live" / "audit.jsonl"


# --- copies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", [["cp", "-a"], ["cp", "-r"], ["tar"]])
def test_a_copy_never_goes_on_under_its_name(
    tmp_path: Path, path: Path, tool: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    origin = recorded(path, "a")
    backup = tmp_path / "backup"
    if tool == ["tar"]:
        backup.mkdir()
        pack = subprocess.run(["tar", "-C", path.parent, "-c", "."], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-C", backup, "-xp"], check=True, input=pack)
    else:
        subprocess.run([*tool, str(path.parent), str(backup)], check=True)
    before = everything(backup)
    recorded(path, "b")
    copy = backup / path.name
    assert verify_trail(copy).ok, "to read a copy is nothing"
    successor = recorded(copy, "c")
    assert successor != origin == Layout(path).origin.read_text().strip()
    result = verify_trail(copy)
    assert result.ok
    (earlier,) = result.previous
    assert (earlier.origin, earlier.why, earlier.ok, earlier.end) == (origin, "copied", True, earlier.size)
    aside = everything(Path(str(earlier.trail)).parent)
    for name, data in aside.items():
        assert before[name] == data, name
    assert [name for name in before if name not in aside] == [
        "audit.jsonl.d/hmac.key",
        "audit.jsonl.d/key",
        "audit.jsonl.d/lock",
    ]
    assert names(copy) == ["a", "c"]
    assert names(path) == ["a", "b"]
    assert_no_seq_twice(path, copy)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert f"{origin}, {earlier.size} events, was set aside: it is a copy" in said[0]


def test_what_is_put_back_in_its_own_place_is_a_copy_too(tmp_path: Path, path: Path) -> None:
    """Inode numbers are used again; their generations are not."""
    recorded(path, "a")
    backup = copied(path, tmp_path / "backup")
    origin = recorded(path, "b")
    for round_ in range(3):
        shutil.rmtree(path.parent)
        copied(backup, path.parent)
        assert recorded(path, f"c{round_}") != origin
    assert names(path) == ["a", "c2"]


def test_what_only_renames_is_no_copy(tmp_path: Path, path: Path) -> None:
    origin = recorded(path, "a")
    path.parent.rename(tmp_path / "moved")
    moved = tmp_path / "moved" / path.name
    assert recorded(moved, "b") == origin
    other = moved.with_name("renamed.jsonl")
    Layout(moved).directory.rename(Layout(other).directory)
    moved.rename(other)
    os.utime(Layout(other).place)
    Layout(other).place.chmod(0o640)
    assert recorded(other, "c") == origin
    assert names(other) == ["a", "b", "c"]


def test_a_trail_that_does_not_say_where_it_lives_is_taken_for_what_it_is(path: Path) -> None:
    origin = recorded(path, "a")
    for content in (None, b"", b"{}", b"no json", b'{"inode":"1","generation":2}'):
        Layout(path).place.unlink()
        if content is not None:
            Layout(path).place.write_bytes(content)
        assert recorded(path) == origin
        assert json.loads(Layout(path).place.read_bytes())["inode"] == Layout(path).place.stat().st_ino


def test_where_inodes_are_not_kept_nothing_is_compared(tmp_path: Path, path: Path) -> None:
    origin = recorded(path, "a")
    copy = copied(path, tmp_path / "backup")
    with mock.patch.object(place, "KEEP_INODES", frozenset({"vfat"})):
        assert recorded(copy, "b") == origin


def test_a_copy_that_had_lines_after_its_checkpoint_or_a_torn_one(tmp_path: Path, path: Path) -> None:
    with without_threads():
        writer = start(path)
        writer.seal()
        writer.append(body("late"))
        with path.open("ab") as file:
            file.write(b'{"seq":9,"torn')
        copy = copied(path, tmp_path / "backup")
        crash(path, writer)
    recorded(copy, "new")
    result = verify_trail(copy)
    assert result.ok, [str(finding) for finding in result.findings]
    assert any("events after the last checkpoint of the earlier trail" in text for text in result.not_checked)
    assert names(copy) == ["late", "new"]


def test_a_copy_without_a_checkpoint_is_set_aside_too(tmp_path: Path, path: Path) -> None:
    origin = recorded(path, "a")
    copy = copied(path, tmp_path / "backup")
    Layout(copy).checkpoint.unlink()
    shutil.rmtree(Layout(copy).tiles)
    assert recorded(copy, "b") != origin
    result = verify_trail(copy)
    assert result.ok
    assert [(earlier.origin, earlier.size, earlier.ok) for earlier in result.previous] == [(origin, 0, None)]
    assert any(
        "which no checkpoint covered, so that nothing vouches for it" in text for text in result.not_checked
    )


def test_copies_of_copies_and_one_origin_twice(tmp_path: Path, path: Path) -> None:
    first = recorded(path, "a")
    one = copied(path, tmp_path / "one")
    recorded(one, "b")
    two = copied(one, tmp_path / "two")
    recorded(two, "c")
    result = verify_trail(two)
    assert result.ok
    assert [earlier.why for earlier in result.previous] == ["copied", "copied"]
    assert result.previous[-1].origin == first
    assert names(two) == ["a", "b", "c"]
    assert_no_seq_twice(path, one, two)


# --- restore ---------------------------------------------------------------------------------------------------


def test_a_backup_to_a_place_where_nothing_is(tmp_path: Path, path: Path) -> None:
    origin = recorded(path, *"abcdefgh", audit=SMALL)
    backup = copied(path, tmp_path / "backup")
    before = everything(backup.parent)
    recorded(path, "later", audit=SMALL)
    target = tmp_path / "new" / "place" / "other.jsonl"
    successor = do_restore(backup.parent, target)
    assert everything(backup.parent) == before
    assert Layout(target).origin.read_text().strip() == successor != origin
    result = verify_trail(target)
    assert result.ok
    (earlier,) = result.previous
    assert (earlier.origin, earlier.why, earlier.ok) == (origin, "restored", True)
    assert names(target) == list("abcdefgh")
    recorded(target, "z", audit=SMALL)
    assert names(target) == [*"abcdefgh", "z"]
    assert_no_seq_twice(path, target)
    assert Layout(target).hmac_key.read_bytes() == Layout(path).hmac_key.read_bytes(), "digests stay comparable"
    for found in target.parent.rglob("*"):
        assert found.stat().st_mode & 0o077 == 0, found


def test_a_living_trail_is_not_replaced_unless_that_is_said_and_then_set_aside(
    tmp_path: Path, path: Path
) -> None:
    backed_up = recorded(path, "a")
    backup = copied(path, tmp_path / "backup")
    other = tmp_path / "other" / "audit.jsonl"
    standing = recorded(other, "x", "y")
    before = everything(other.parent)
    with pytest.raises(ConfigError, match="a trail stands there; --replace sets it aside"):
        do_restore(backup, other)
    assert everything(other.parent) == before
    do_restore(backup, other, replace=True)
    result = verify_trail(other)
    assert result.ok
    assert {(earlier.origin, earlier.why, earlier.ok) for earlier in result.previous} == {
        (backed_up, "restored", True), (standing, "replaced", True),
    }  # fmt: skip
    assert sorted(names(other)) == ["a", "x", "y"]
    assert_no_seq_twice(path, other)


def test_an_older_state_of_the_very_trail_that_stands_there(tmp_path: Path, path: Path) -> None:
    """Both lie there then; what both have is listed once."""
    origin = recorded(path, "a")
    backup = copied(path, tmp_path / "backup")
    recorded(path, "b")
    do_restore(backup, path, replace=True)
    result = verify_trail(path)
    assert result.ok, [str(finding) for finding in result.findings]
    assert [(earlier.origin, earlier.why) for earlier in result.previous] == [
        (origin, "restored"), (origin, "replaced"),
    ]  # fmt: skip
    assert result.previous[0].size < result.previous[1].size
    assert names(path) == ["a", "b"]
    assert_no_seq_twice(path)


def test_what_a_snapshot_put_back_is_said_to_be_restored(path: Path) -> None:
    origin = recorded(path, "a")
    successor = do_restore(path, path)
    assert successor != origin
    result = verify_trail(path)
    assert result.ok
    assert [(earlier.origin, earlier.why) for earlier in result.previous] == [(origin, "restored")]
    assert names(path) == ["a"]


def test_a_backup_brings_along_what_it_follows_itself(tmp_path: Path, path: Path) -> None:
    recorded(path, "a")
    one = copied(path, tmp_path / "one")
    recorded(one, "b")
    target = tmp_path / "target.jsonl"
    do_restore(one, target)
    result = verify_trail(target)
    assert result.ok
    assert [(earlier.why, earlier.ok) for earlier in result.previous] == [("restored", True), ("copied", True)]
    assert names(target) == ["a", "b"]


def test_a_backup_that_is_not_what_was_sealed(tmp_path: Path, path: Path) -> None:
    recorded(path, "a", "b")
    backup = copied(path, tmp_path / "backup")
    backup.write_bytes(backup.read_bytes().replace(b'"a"', b'"x"'))
    target = tmp_path / "target" / "audit.jsonl"
    with pytest.raises(NotProven, match=r"the backup is not what was sealed: .*--damaged") as refused:
        do_restore(backup, target)
    assert refused.value.exit_code == 1
    assert not target.parent.exists()
    do_restore(backup, target, damaged=True)
    assert not verify_trail(target).ok, "what was altered stays a finding"
    assert names(target) == ["x", "b"]


def test_a_backup_that_is_made_while_the_trail_is_written(tmp_path: Path, path: Path) -> None:
    """The directory first, then the active file: the checkpoint is not ahead of the lines."""
    writer = start(path)
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            writer.append(body(f"e{number}"))
            number += 1
            ended.wait(0.001)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for round_ in range(3):
            wait_for = writer.sealed + 50
            while writer.sealed < wait_for:
                ended.wait(0.01)
            backup = tmp_path / f"backup{round_}"
            backup.mkdir()
            for part in (Layout(path).directory, path):
                copy = subprocess.run(
                    ["cp", "-a", str(part), str(backup)], check=False, capture_output=True, text=True
                )
                gone = [
                    line for line in copy.stderr.splitlines() if "No such file" in line
                ]  # tiles that became full
                assert copy.stderr.splitlines() == gone
            Layout(backup / path.name).lock.write_bytes(b"")
            result = verify_trail(backup / path.name)
            assert result.ok, [str(finding) for finding in result.findings]
            assert result.size is not None
            assert result.size >= wait_for
            target = tmp_path / f"target{round_}" / "audit.jsonl"
            do_restore(backup, target)
            assert verify_trail(target).ok
    finally:
        ended.set()
        thread.join()
        writer.close()


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    writer = start(path)
    try:
        yield
    finally:
        writer.close()


def test_what_cannot_be_meant_is_one_line_and_nothing_is_touched(tmp_path: Path, path: Path) -> None:
    recorded(path, "a")
    backup = copied(path, tmp_path / "backup")
    target = tmp_path / "target" / "audit.jsonl"
    (tmp_path / "empty").mkdir()
    recorded(tmp_path / "two" / "one.jsonl")
    recorded(tmp_path / "two" / "two.jsonl")
    before = everything(tmp_path)
    for wrong, said in (
        (tmp_path / "nowhere", "there is no trail here"),
        (tmp_path / "empty", "holds no trail"),
        (tmp_path / "two", "holds 2 trails; name the file of the one that is meant"),
    ):
        with pytest.raises(ConfigError, match=said):
            do_restore(wrong, target)
    with pytest.raises(ConfigError, match="lie in one another"):
        do_restore(backup, Layout(backup).directory / "retired" / "x.jsonl")
    with held(path), pytest.raises(TrailError, match="is being written by process"):
        do_restore(path, target)
    with held(path), pytest.raises(TrailError, match="is being written by process"):
        do_restore(backup, path, replace=True)
    assert {name: data for name, data in everything(tmp_path).items() if not name.startswith("live/")} == {
        name: data for name, data in before.items() if not name.startswith("live/")
    }
    assert not target.parent.exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, path: Path) -> None:
    recorded(path, "a")
    backup = copied(path, tmp_path / "backup")
    target = tmp_path / "target" / "audit.jsonl"
    with (
        mock.patch.object(shutil, "disk_usage", return_value=mock.Mock(free=10)),
        pytest.raises(TrailError, match="bytes, and 10 are free"),
    ):
        do_restore(backup, target)
    assert not target.exists()
    assert not Layout(target).retired.exists()
    do_restore(backup, target)
    assert names(target) == ["a"]
