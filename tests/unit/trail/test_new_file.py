"""A file that has its name when it is whole, and not before: `durable.new_file`."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from unittest import mock

import pytest

from indelible.trail import durable
from indelible.trail.durable import Access, new_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made"


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


def make(path: Path, data: bytes = b"new", *, replace: bool = False) -> None:
    with new_file(path, Access(), replace=replace) as fd:
        os.write(fd, data)
        assert not path.exists() or path.read_bytes() == b"old"


@pytest.mark.parametrize("replace", [False, True])
def test_it_is_there_whole_private_and_alone(path: Path, replace: bool) -> None:
    make(path, replace=replace)
    assert (path.read_bytes(), names(path)) == (b"new", ["made"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_nlink == 1


def test_what_is_there_stays_unless_it_is_to_be_replaced(path: Path) -> None:
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        make(path)
    assert (path.read_bytes(), names(path)) == (b"old", ["made"])
    make(path, replace=True)
    assert (path.read_bytes(), names(path)) == (b"new", ["made"])


def test_it_can_be_written_to_and_fro(path: Path) -> None:
    with new_file(path, Access(), replace=False) as fd, os.fdopen(os.dup(fd), "w+b") as file:
        file.write(b"..ds")
        file.seek(0)
        file.write(b"en")
    assert path.read_bytes() == b"ends"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("where", ["body", "datasync", "rename", "link"])
def test_whatever_is_raised_nothing_is_left(
    path: Path, error: BaseException, replace: bool, where: str
) -> None:
    path.write_bytes(b"old")
    what = {"datasync": (durable, "datasync"), "rename": (Path, "rename"), "link": (Path, "hardlink_to")}
    if not replace:
        path.unlink()
    applies = where in ("body", "datasync") or (where == "rename") == replace
    with mock.patch.object(
        *what.get(where, (durable, "sync_directory")), side_effect=error if where != "body" else None
    ):

        def run() -> None:
            with new_file(path, Access(), replace=replace) as fd:
                os.write(fd, b"new")
                if where == "body":
                    raise error

        if not applies:
            run()
            return
        if where == "link" and isinstance(error, OSError):
            run()  # a file system without links: it is renamed
            assert (path.read_bytes(), names(path)) == (b"new", ["made"])
            return
        with pytest.raises(type(error)):
            run()
    assert names(path) == (["made"] if replace else [])
    assert not replace or path.read_bytes() == b"old"


def test_without_links_it_is_still_not_overwritten(path: Path) -> None:
    path.write_bytes(b"old")
    with (
        mock.patch.object(Path, "hardlink_to", side_effect=OSError(errno.EPERM, "no links here")),
        pytest.raises(FileExistsError),
    ):
        make(path)
    assert (path.read_bytes(), names(path)) == (b"old", ["made"])


def test_what_a_crash_left_is_in_nobodys_way(path: Path) -> None:
    (path.parent / ".made.tmp").write_bytes(b"half")
    make(path)
    assert (path.read_bytes(), names(path)) == (b"new", ["made"])


def test_of_two_at_once_one_fails_and_takes_nothing_of_the_other(path: Path) -> None:
    with pytest.raises(FileExistsError, match="somebody else is writing"):  # noqa: SIM117, PT012 - one in the other
        with new_file(path, Access(), replace=True) as first:
            os.write(first, b"first")
            with new_file(path, Access(), replace=True) as second:
                os.write(second, b"second")
            assert path.read_bytes() == b"second"
            path.with_name(".made.tmp").write_bytes(b"third, on its way")
    assert path.read_bytes() == b"second"
    assert names(path) == [".made.tmp", "made"]
