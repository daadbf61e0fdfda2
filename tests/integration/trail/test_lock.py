"""Two processes and one trail: whatever is done to the lock, they never both write it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible import verify
from indelible.trail.layout import Layout
from indelible.trail.start.holder import current_holder

WRITING = Path(__file__).with_name("writing.py")


class Process:
    """A process with the trail open, or refused; see `writing.py`."""

    def __init__(self, path: Path) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, str(WRITING), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.began = self._line()

    def _line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def tell(self, command: str) -> str:
        assert self.popen.stdin is not None
        self.popen.stdin.write(command + "\n")
        self.popen.stdin.flush()
        return self._line()

    def end(self) -> str:
        """Let it end, and return what it logged."""
        return self.popen.communicate(timeout=60)[1]


@contextlib.contextmanager
def process(path: Path) -> Iterator[Process]:
    it = Process(path)
    try:
        yield it
    finally:
        if it.popen.poll() is None:
            it.popen.kill()
        it.popen.communicate()


def names(path: Path) -> list[str]:
    return [json.loads(line)["event_id"] for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("how", ["deleted", "replaced", "renamed"])
def test_a_lock_file_that_is_gone_lets_no_second_writer_in(tmp_path: Path, how: str) -> None:
    path = tmp_path / "audit.jsonl"
    lock = Layout(path).lock
    with process(path) as first:
        assert first.began == "open"
        first.tell("append a")
        if how == "renamed":
            lock.rename(lock.with_name("lock.old"))
        else:
            lock.unlink()
        if how == "replaced":
            lock.write_text("")
        with process(path) as second:
            assert second.began.startswith(f"refused {path}: is being written by ")
        assert first.tell("append b") == "done"
        assert first.tell("seal") == "done"
        holder = current_holder(lock)  # it is there again, and names its holder
        assert holder is not None
        assert holder.pid == first.popen.pid
        with process(path) as third:
            assert f"process {first.popen.pid} (" in third.began
        first.tell("append c")
        first.tell("seal")
        assert first.tell("close") == "done"
        assert first.end().count("was deleted or replaced") == 1
    with process(path) as after:
        assert after.began == "open"
        after.tell("close")
    assert [name for name in names(path) if name in "abc"] == ["a", "b", "c"]
    assert verify(path).ok


def test_who_lost_the_directory_writes_nothing_more_and_says_so_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    layout = Layout(path)
    with process(path) as first:
        first.tell("append a")
        first.tell("seal")
        moved = tmp_path / "moved"
        layout.directory.rename(moved)
        shutil.copytree(moved, layout.directory)
        with process(path) as second:  # nothing tells it of the first
            assert second.began == "open"
            assert "moved or replaced" in first.tell("seal")
            size = path.stat().st_size
            for _ in range(3):
                assert "moved or replaced" in first.tell("append b")
            first.tell("close")
            said = first.end()
            assert said.count("nothing more is written by this process") == 1
            assert path.stat().st_size == size
            assert second.tell("append c") == "done"
            assert second.tell("close") == "done"
    assert [name for name in names(path) if name in "abc"] == ["c"]
    result = verify(path)
    assert result.ok
    (earlier,) = result.previous  # the directory was a copy
    assert (earlier.why, earlier.ok) == ("copied", True)
    assert [name for name in names(Path(str(earlier.trail))) if name in "abc"] == ["a"]


def test_who_finds_a_new_lock_held_by_another_writes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    layout = Layout(path)
    taken = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print(); input()"
    with process(path) as first:
        first.tell("append a")
        new = tmp_path / "new"
        new.write_text(json.dumps({"pid": os.getpid(), "command": "x", "since": "now"}))
        with subprocess.Popen(
            [sys.executable, "-c", taken, str(new)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            new.replace(layout.lock)  # the sealer finds it free at no time
            assert f"held by process {os.getpid()} (x, since now)" in first.tell("seal")
            assert "nothing more is written" in first.tell("append b")
            other.communicate(b"\n", timeout=60)
        first.tell("close")
    assert "b" not in names(path)


def test_a_lock_taken_while_the_file_is_replaced_is_taken_again(tmp_path: Path) -> None:
    """Between opening the file and the flock, the file may be deleted: such a lock is worth nothing."""
    path = tmp_path / "audit.jsonl"
    script = """
import sys
from pathlib import Path
from indelible.trail.start import lock
from indelible.trail.durable import Access
path, take, taken = Path(sys.argv[1]), lock._take, []
def deleting(fd):
    if not taken and lock._names(path, fd):
        path.unlink()
        taken.append(fd)
    take(fd)
lock._take = deleting
held = lock.TrailLock(path, Access())
assert taken and path.exists()
held.ensure()
print("held", flush=True)
input()
"""
    directory = Layout(path).directory
    directory.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(directory / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with process(path) as second:
            assert f"process {first.pid} (" in second.began
        first.communicate(b"\n", timeout=60)
    with process(path) as third:
        assert third.began == "open"
