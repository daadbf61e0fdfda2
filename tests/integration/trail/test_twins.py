"""Twins are made beside a recorder, by a child that is in nobody's way and leaves nothing when it is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible.config import AuditSettings
from indelible.query.engine import making
from indelible.query.engine.asking import ALL, Asked
from indelible.trail import twins
from indelible.trail.durable import Access
from indelible.trail.entry import stamp
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep import twinning
from indelible.trail.writer import Writer
from tests.trails import Maker, at, encode, operation

pytestmark = pytest.mark.slow

LIMIT_S = 120.0
"""How long a child may take on a machine that is busy with other things."""


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def audit(**changes: object) -> AuditSettings:
    return AuditSettings(**{"max_size": 8_000, "backup_count": 100, **changes})  # type: ignore[arg-type]


@contextlib.contextmanager
def recording(path: Path, settings: AuditSettings) -> Iterator[Writer]:
    writer = open_writer(path, settings, "test").writer
    try:
        for number in range(60):
            writer.append(encode(operation(number)))
        writer.seal()
        yield writer
    finally:
        writer.close()


def closed(path: Path) -> set[int]:
    return {int(one.name[:20]) for one in Layout(path).segments.glob("[0-9]*")}


def made(path: Path) -> set[int]:
    return {first for first, _ in twins.names(Layout(path))}


def count(path: Path) -> int:
    with Asked([path], ALL) as asked:
        ((number,),) = asked.query("SELECT count(*) FROM events").rows
    return int(number)


@pytest.mark.parametrize("compress", [False, True])
def test_a_recorder_has_them_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, compress: bool) -> None:
    monkeypatch.setattr(twinning, "DUE_BYTES", 1)
    path = tmp_path / "audit.jsonl"
    with recording(path, audit(compress_rotated=compress)) as writer:
        until(lambda: closed(path) and closed(path) <= made(path))
        assert making.standing(path).twins >= len(closed(path))
        assert count(path) == writer.size


def test_none_are_made_where_that_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twinning, "DUE_BYTES", 1)
    path = tmp_path / "audit.jsonl"
    with recording(path, audit(twins="off")) as writer:
        writer.housekeeper.twins.look()
        assert writer.housekeeper.twins._child is None
        assert not Layout(path).twins.exists()


def test_closing_waits_for_no_child_and_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twinning, "DUE_BYTES", 1)
    path = tmp_path / "audit.jsonl"
    with recording(path, audit()) as writer:
        until(lambda: writer.housekeeper.twins._child is not None or made(path) >= closed(path))
        child = writer.housekeeper.twins._child
    if child is not None:
        assert child.wait(LIMIT_S) in (0, -signal.SIGKILL)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Make a trail whose twin takes a while."""
    maker = Maker(tmp_path / "audit.jsonl")
    line = encode(operation(1))
    maker.add_many(3)
    with maker.layout.active.open("ab") as file:
        for seq in range(maker.seq, 60_000):
            item = stamp(seq, at(seq), line)
            file.write(item + b"\n")
            maker._waiting.append(item)
    maker.seq = 60_000
    maker.rotate()
    maker.seal()
    return maker.layout.active


def child_of(path: Path, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "indelible", "twins", *options, "--trail", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_a_recorder_s_child_takes_what_nobody_else_wants(large: Path) -> None:
    child = child_of(large, "--attached")
    until(lambda: list(Layout(large).twins.glob(".*.tmp")) if Layout(large).twins.is_dir() else False)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
    if hasattr(os, "SCHED_IDLE"):
        assert os.sched_getscheduler(child.pid) == os.SCHED_IDLE
    session = Path(f"/proc/{child.pid}/autogroup")
    if session.exists() and os.geteuid() == 0:  # others may change one in a tenth of a second, of all there are
        assert session.read_text().split()[-1] == "19"
    child.kill()
    child.communicate(timeout=LIMIT_S)


def test_a_recorder_s_child_rests_between_twins_and_makes_all(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    for _ in range(4):
        maker.add_many(20).rotate()
    maker.seal()
    began = time.monotonic()
    child = child_of(maker.layout.active, "--attached")
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    assert made(maker.layout.active) >= closed(maker.layout.active)
    assert usage.ru_utime + usage.ru_stime < seconds / 2  # it is more than a quarter, by how it begins and ends
    assert child.stdin is not None
    child.stdin.close()


def test_a_kill_in_the_midst_leaves_nothing_that_counts(large: Path) -> None:
    layout = Layout(large)
    child = child_of(large)
    until(lambda: list(layout.twins.glob(".*.tmp")) if layout.twins.is_dir() else False)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=LIMIT_S)
    assert count(large) == 60_001
    done = making.make(large, Access())
    assert making.standing(large).events == 60_000
    assert len(done.made) == 1
    assert sorted(one.name for one in layout.twins.glob(".*")) == [twins.LOCK]
    assert count(large) == 60_001


def test_a_child_ends_with_its_parent(large: Path) -> None:
    layout = Layout(large)
    child = child_of(large, "--attached")
    until(lambda: list(layout.twins.glob(".*.tmp")) if layout.twins.is_dir() else False)
    assert child.stdin is not None
    child.stdin.close()
    child.stdin = None
    assert child.wait(LIMIT_S) == 3
    assert not list(layout.twins.glob("*.tmp"))
    assert not list(layout.twins.glob(".*.tmp"))


def test_an_erasure_is_let_in(large: Path) -> None:
    layout = Layout(large)
    child = child_of(large)
    until(lambda: list(layout.twins.glob(".*.tmp")) if layout.twins.is_dir() else False)
    layout.erasing.write_bytes(b"{}")
    with twins.alone(layout, Access(), LIMIT_S):
        assert not list(layout.twins.glob(".*.tmp"))
    child.communicate(timeout=LIMIT_S)
    assert child.returncode == 3
