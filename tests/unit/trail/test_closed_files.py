"""Closed files: damaged ones, links beside the active file, and deletion that keeps up."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from indelible.config import AuditSettings
from indelible.errors import TrailCorrupt
from indelible.trail import files
from indelible.trail.layout import Layout
from indelible.trail.sealer import Sealer
from indelible.trail.sharing.recent import recent_ids
from indelible.trail.upkeep.housekeeping import Housekeeper
from indelible.trail.writer import Writer

from .test_writer import body, crash, start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def closed_files(path: Path, **audit: Any) -> Writer:
    """Return a writer with some closed files, all of them compressed, and one open call in the oldest."""
    settings = AuditSettings(max_size=3000, backup_count=100, compress_rotated=True, **audit)
    with mock.patch.object(Housekeeper, "sealed"):  # the test keeps the house
        writer = start(path, settings)
        writer.append(body("i1", "mcp_operation_started"), opens="i1")
        for number in range(60):
            writer.append(body(str(number), padding="x" * 200))
        writer.seal()
        writer._housekeeper.compress()
        writer._housekeeper.link()
    assert all(file.compressed for file in files.segments(Layout(path)))
    return writer


def content(directory: Path) -> dict[str, str]:
    """Return what every file of a trail holds, but for who holds it."""
    return {
        str(found.relative_to(directory)): sha256(found.read_bytes()).hexdigest()
        for found in directory.rglob("*")
        if found.is_file() and found.name != "lock"
    }


def test_the_newest_ids_are_found_in_compressed_files(path: Path) -> None:
    writer = closed_files(path)
    wrote = ["i1", *map(str, range(60))]
    found = recent_ids(writer.layout, writer.size, 1000)
    assert [event_id for event_id in found if event_id in set(wrote)] == wrote
    assert recent_ids(writer.layout, writer.size, 30) == found[-30:]  # begins within a compressed file
    writer.close()


# --- damaged ones -----------------------------------------------------------------------------------------------


def damage(data: bytes, how: str) -> bytes:
    if how == "bytes":
        return data[:30] + bytes(byte ^ 0xFF for byte in data[30:60]) + data[60:]
    if how == "header":
        return b"\0" * 4 + data[4:]
    return {"cut": data[: len(data) // 2], "empty": b""}[how]


@pytest.mark.parametrize("how", ["bytes", "header", "cut", "empty"])
@pytest.mark.parametrize("hint", [True, False])
def test_a_damaged_compressed_file_is_one_line_and_nothing_is_changed(path: Path, how: str, hint: bool) -> None:
    crash(path, closed_files(path))
    layout = Layout(path)
    oldest = files.segments(layout)[0].path
    oldest.write_bytes(damage(oldest.read_bytes(), how))
    if not hint:
        layout.state.unlink()
    with path.open("ab") as file:
        file.write(b'{"seq":')  # also a torn tail stays where it is
    before = content(path.parent)
    with pytest.raises(TrailCorrupt, match=f"{oldest.name}: cannot be decompressed") as caught:
        start(path)
    assert "\n" not in str(caught.value)
    assert content(path.parent) == before


@pytest.mark.parametrize("how", ["bytes", "cut"])
def test_a_trail_whose_newest_closed_file_is_damaged_is_not_set_aside_as_too_short(
    path: Path, how: str
) -> None:
    closed_files(path).close()
    newest = files.segments(Layout(path))[-1].path
    newest.write_bytes(damage(newest.read_bytes(), how))
    path.unlink()  # so that the closed one must say where the trail ends
    before = content(path.parent)
    with pytest.raises(TrailCorrupt, match="cannot be decompressed"):
        start(path)
    assert content(path.parent) == before


def test_a_command_meets_a_damaged_file_with_one_line_and_exit_code_3(path: Path) -> None:
    crash(path, closed_files(path))
    oldest = files.segments(Layout(path))[0].path
    oldest.write_bytes(damage(oldest.read_bytes(), "bytes"))
    command = [sys.executable, "-m", "indelible", "wrap", "--trail", str(path), "--", "cat"]
    ended = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    assert oldest.name in ended.stderr


def test_a_damaged_file_is_no_traceback_of_the_housekeeper(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mock.patch.object(
        Housekeeper, "sealed"
    ):  # its own thread would delete the same files at the same time
        writer = closed_files(path, retention=0.001)
        following = files.segments(Layout(path))[1].path
        following.write_bytes(damage(following.read_bytes(), "header"))
        with mock.patch.object(writer._housekeeper, "_audit", AuditSettings(backup_count=1, retention=0.001)):
            for _ in range(3):
                writer._housekeeper._run()
        writer.close()
    [said] = [message for message in caplog.messages if "not looked after" in message]
    assert following.name in said


# --- links ------------------------------------------------------------------------------------------------------


def test_links_of_others_are_neither_removed_nor_replaced(path: Path) -> None:
    other = path.with_name("other.jsonl")
    other.write_text("not ours\n")
    strange = {
        "audit.jsonl.1": "other.jsonl",  # stands where ours would
        "audit.jsonl.2": "nowhere",
        "audit.jsonl.7": "other.jsonl",
        "audit.jsonl.2026-01-01": "other.jsonl",
        "audit.jsonl.9.gz": "nowhere/at/all",
        "audit.jsonl.8": "elsewhere.d/segments/00000000000000000000.jsonl",
    }
    for name, target in strange.items():
        path.with_name(name).symlink_to(target)
    writer = start(path, AuditSettings(max_size=2000, backup_count=4))
    for number in range(60):
        writer.append(body(str(number), padding="x" * 100))
    writer.close()
    assert {name: str(path.with_name(name).readlink()) for name in strange} == strange
    segments = files.segments(Layout(path))
    for number in (3, 4):
        assert path.with_name(f"audit.jsonl.{number}").resolve() == segments[-number].path.resolve()


@pytest.mark.parametrize("name", ["a[1].jsonl", "a*.jsonl", "a?.jsonl"])
def test_a_name_that_is_a_pattern_is_just_a_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    beside = tmp_path / "a1.jsonl.9"
    beside.symlink_to(f"{name}.d/segments/00000000000000000000.jsonl")
    for backups in (5, 2):
        writer = start(path, AuditSettings(max_size=2000, backup_count=backups))
        for number in range(60):
            writer.append(body(str(number), padding="x" * 100))
        writer.close()
        numbers = {found.name.removeprefix(name + ".") for found in files.links(Layout(path))}
        assert numbers == {str(number) for number in range(1, backups + 1)}
    assert beside.is_symlink()


def test_setting_a_trail_aside_removes_its_own_links_only(path: Path) -> None:
    path.with_name("audit.jsonl.7").symlink_to("other.jsonl")
    writer = start(path, AuditSettings(max_size=2000, backup_count=2))
    for number in range(60):
        writer.append(body(str(number), padding="x" * 100))
    writer.close()
    assert path.with_name("audit.jsonl.1").is_symlink()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
    start(path).close()
    assert not path.with_name("audit.jsonl.1").is_symlink()
    assert path.with_name("audit.jsonl.7").is_symlink()


# --- deletion ---------------------------------------------------------------------------------------------------


def test_all_files_that_are_due_go_with_one_record_that_is_sealed_before(path: Path) -> None:
    settings = AuditSettings(max_size=3000, backup_count=2, retention=None)
    with mock.patch.object(Housekeeper, "sealed"):
        writer = start(path, settings)
        for number in range(200):
            writer.append(body(str(number), padding="x" * 200))
        writer.seal()
        layout = Layout(path)
        closed = files.segments(layout)
        assert len(closed) > 20
        unlink = Path.unlink

        def checked(self: Path, *args: Any, **kwargs: Any) -> None:
            if self.parent == layout.segments:
                last = json.loads(path.read_bytes().splitlines()[-1])
                assert last["event_type"] == "retention_applied"
                assert int(layout.checkpoint.read_text().split("\n")[1]) > last["seq"]
            unlink(self, *args, **kwargs)

        with mock.patch.object(Path, "unlink", checked):
            writer._housekeeper.prune()
        left = files.segments(layout)
        assert left[:2] == closed[-2:]  # the record itself may close another
        said = [json.loads(line) for line in path.read_bytes().splitlines() if b'"retention_applied"' in line]
        assert [entry["metadata"]["pruned"] for entry in said] == [[[0, left[0].first_seq - 1]]]
        assert said[0]["metadata"]["files"] == len(closed) - 2
        writer.close()


def test_files_that_are_closed_while_others_are_deleted_are_not_forgotten(path: Path) -> None:
    """The housekeeper works for a while after a checkpoint; a rotation meanwhile is looked after by the next."""
    settings = AuditSettings(max_size=3000, backup_count=2, retention=None)
    writer = start(path, settings)
    layout = Layout(path)
    for number in range(700):
        writer.append(body(str(number), padding="x" * 200))
    deadline = time.monotonic() + 60
    while len(files.segments(layout)) > 2:
        assert time.monotonic() < deadline, f"{len(files.segments(layout))} files are left"
        time.sleep(0.02)
    writer.close()


def test_a_checkpoint_while_the_housekeeper_is_at_work_sends_it_round_once_more(path: Path) -> None:
    with mock.patch.object(Sealer, "start"):  # checkpoints are made here only
        writer = start(path, AuditSettings(max_size=3000, backup_count=2, retention=None))
    keeper, rounds, go_on = writer._housekeeper, threading.Semaphore(0), threading.Event()
    prune = keeper.prune

    def slow(*_: object) -> None:
        rounds.release()
        assert go_on.wait(30)
        prune()

    def fill() -> None:
        for number in range(50):
            writer.append(body(str(number), padding="x" * 200))
        writer.seal()

    with mock.patch.object(keeper, "prune", slow):
        fill()
        assert rounds.acquire(timeout=30)
        fill()  # its files are closed and sealed, and nothing follows
        go_on.set()
        assert rounds.acquire(timeout=30), "nobody looks after what was closed meanwhile"
        writer.close()


def test_a_checkpoint_right_after_the_housekeeper_looked_is_not_missed(path: Path) -> None:
    with mock.patch.object(Sealer, "start"):
        writer = start(path, AuditSettings(max_size=3000, backup_count=2, retention=None))
    for number in range(100):
        writer.append(body(str(number), padding="x" * 200))
    keeper, looked, go_on = writer._housekeeper, threading.Event(), threading.Event()
    prune = keeper.prune

    def slow() -> None:
        prune()
        looked.set()
        assert go_on.wait(30)

    with mock.patch.object(keeper, "prune", slow):
        keeper.sealed()
        assert looked.wait(30)  # nothing was sealed
        writer.seal()  # now all is
        go_on.set()
        assert keeper._thread is not None
        keeper._thread.join(30)
    assert len(files.segments(Layout(path))) == 2
    writer.close()
