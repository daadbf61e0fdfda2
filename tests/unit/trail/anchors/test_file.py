"""Anchors of type file: every checkpoint is there whole, or not at all, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from unittest import mock

import pytest

from indelible.errors import AnchorError
from indelible.trail import durable
from indelible.trail.anchors.file import TAIL_BYTES, FileAnchor
from indelible.trail.durable import Access
from indelible.trail.proofs.keptfiles import notes_in
from tests.unit.trail.anchors.handing import LOG, handing, settings
from tests.witnesses import History, history

FORK = history(700, "evil", 5)
OTHER = History([b"another trail"], origin="indelible/" + "ab" * 16)


def anchor(path: Path, mode: str = "append") -> FileAnchor:
    return FileAnchor(settings(type="file", path=str(path), mode=mode), Access())


def kept(path: Path) -> list[bytes]:
    return notes_in(path.read_bytes()).notes


def test_each_checkpoint_is_added_once(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    for size in (1, 2, 2, 300):
        anchor(path).hand(handing(size))
    assert kept(path) == [LOG.note(size) for size in (1, 2, 300)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_several_trails_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    for size in (1, 2):
        anchor(path).hand(handing(size))
        anchor(path).hand(handing(1, log=OTHER))
    assert kept(path) == [LOG.note(1), OTHER.note(1), LOG.note(2)]


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_directory_has_a_file_for_each_trail(tmp_path: Path, mode: str) -> None:
    for log in (LOG, OTHER):
        anchor(tmp_path, mode).hand(handing(1, log=log))
        assert kept(tmp_path / log.origin.partition("/")[2]) == [log.note(1)]


def test_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    for size in (1, 2, 2, 300):
        anchor(path, "replace").hand(handing(size))
        assert path.read_bytes() == LOG.note(size)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_rollback_and_a_fork_are_said_and_the_file_is_left_alone(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "kept"
    anchor(path, mode).hand(handing(300))
    before = path.read_bytes()
    with pytest.raises(AnchorError, match="rolled back"):
        anchor(path, mode).hand(handing(299))
    with pytest.raises(AnchorError, match="forked"):
        anchor(path, mode).hand(handing(300, log=FORK))
    assert path.read_bytes() == before


def test_what_is_not_a_checkpoint_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("shopping list\n")
    with pytest.raises(AnchorError, match="something else"):
        anchor(path, "replace").hand(handing(1))
    assert path.read_text() == "shopping list\n"
    anchor(tmp_path / "kept", "replace").hand(handing(1, log=OTHER))
    with pytest.raises(AnchorError, match="another trail"):
        anchor(tmp_path / "kept", "replace").hand(handing(1))


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_directory_that_is_not_mounted_is_not_made(tmp_path: Path, mode: str) -> None:
    with pytest.raises(AnchorError, match="not mounted"):
        anchor(tmp_path / "mnt" / "kept", mode).hand(handing(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["append", "replace"])
@pytest.mark.parametrize("what", ["link", "pipe"])
def test_links_and_pipes_are_not_followed_nor_waited_for(tmp_path: Path, mode: str, what: str) -> None:
    path, victim = tmp_path / "kept", tmp_path / "victim"
    victim.write_text("")
    if what == "link":
        path.symlink_to(victim)
    else:
        os.mkfifo(path)
    with pytest.raises((AnchorError, OSError)):
        anchor(path, mode).hand(handing(1))
    assert victim.read_text() == ""


# --- crashes --------------------------------------------------------------------------------------------


def test_what_a_crash_left_of_a_checkpoint_is_cut_off(tmp_path: Path) -> None:
    """At every byte."""
    path = tmp_path / "kept"
    whole = LOG.note(1) + b"\n"
    torn = LOG.note(2) + b"\n"
    for cut in range(len(torn)):
        path.write_bytes(whole + torn[:cut])
        anchor(path).hand(handing(2))
        assert path.read_bytes() == whole + torn, cut


def test_the_first_checkpoint_may_be_torn_too(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    for cut in (0, 1, 50, len(LOG.note(1))):
        path.write_bytes(LOG.note(1)[:cut])
        anchor(path).hand(handing(2))
        assert kept(path)[-1] == LOG.note(2)


def test_where_only_appending_is_allowed_a_torn_one_stays_and_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(LOG.note(1) + b"\n" + LOG.note(2)[:90])
    with mock.patch.object(os, "ftruncate", side_effect=PermissionError(1, "Operation not permitted")):
        anchor(path).hand(handing(3))
    assert (kept(path)[0], kept(path)[-1]) == (LOG.note(1), LOG.note(3))


def test_a_long_file_that_ends_in_no_checkpoint_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"x" * (TAIL_BYTES + 1))
    with pytest.raises(AnchorError, match="no checkpoint"):
        anchor(path).hand(handing(1))
    assert path.stat().st_size == TAIL_BYTES + 1


def test_a_full_disk_leaves_no_half_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    anchor(path).hand(handing(1))
    before = path.read_bytes()

    def half(fd: int, data: bytes) -> None:
        os.write(fd, data[: len(data) // 2])
        raise OSError(28, os.strerror(28))

    with mock.patch.object(durable, "write_all", half), pytest.raises(OSError, match="No space"):
        anchor(path).hand(handing(2))
    assert path.read_bytes() == before
    anchor(path).hand(handing(2))
    assert kept(path) == [LOG.note(1), LOG.note(2)]


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_it_is_on_the_disk_before_it_counts_as_taken(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "kept"
    synced: list[str] = []
    datasync, sync_directory = durable.datasync, durable.sync_directory

    def file(fd: int) -> None:
        synced.append("file")
        datasync(fd)

    def directory(at: Path) -> None:
        synced.append("directory")
        sync_directory(at)

    with mock.patch.object(durable, "datasync", file), mock.patch.object(durable, "sync_directory", directory):
        anchor(path, mode).hand(handing(1))
        assert synced == ["file", "directory"]
        anchor(path, mode).hand(handing(2))
    assert synced[2] == "file"


def test_another_file_system_is_no_hindrance() -> None:
    """/dev/shm is one almost everywhere; `replace` must not rename across."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.fail("there is no /dev/shm")
    made = Path(
        subprocess.run(
            ["mktemp", "-d", "-p", shared], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    try:
        anchor(made / "kept", "replace").hand(handing(2))
        assert (made / "kept").read_bytes() == LOG.note(2)
    finally:
        for file in made.iterdir():
            file.unlink()
        made.rmdir()
