"""A copy is set aside, a backup put back, while every operation on the disk fails, or is the last one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from indelible.errors import TrailError
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import STAGED, Layout
from tests.unit.trail.faults import Crash, Disk, Mode, assert_sealed, die, faulty, read_all, without_threads
from tests.unit.trail.test_restore import (
    SMALL,
    assert_no_seq_twice,
    copied,
    do_restore,
    everything,
    names,
    recorded,
)
from tests.unit.trail.test_writer import start


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["crash", "crash-after", "error", "error-after"])
def test_every_operation_of_setting_a_copy_aside_goes_wrong(
    tmp_path: Path, mode: Mode, fault_stride: int
) -> None:
    with without_threads():
        origin = recorded(tmp_path / "live" / "audit.jsonl", "a", "b", "c", "d", "e", "f", audit=SMALL)
    at, count = -1, 1
    while at < count:
        copy = copied(tmp_path / "live" / "audit.jsonl", tmp_path / f"at{at}")
        before = everything(copy.parent)
        with without_threads():
            disk = Disk("count" if at < 0 else mode, at)
            with faulty(disk), contextlib.suppress(Crash, OSError, TrailError):
                start(copy).seal()
            die(copy.parent)
            count = len(disk.calls) if at < 0 else count
            around = (mode, at, disk.calls[max(0, at - 3) : at + 3])
            recorded(copy, "new")
        result = verify_trail(copy)
        assert result.ok, (around, [str(finding) for finding in result.findings])
        earlier = result.previous[-1]
        assert (earlier.origin, earlier.ok) == (origin, True), around
        aside = Path(str(earlier.trail)).parent
        for name, data in everything(aside).items():
            assert before[name] == data, (around, name)
        assert names(copy) == ["a", "b", "c", "d", "e", "f", "new"], around
        assert_sealed(copy, read_all(copy))
        at += max(1, fault_stride // 4) if at >= 0 else 1


@pytest.mark.sampled
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("mode", ["crash", "crash-after", "error", "error-after"])
def test_every_operation_of_a_restore_goes_wrong(
    tmp_path: Path, mode: Mode, fault_stride: int, *, replace: bool
) -> None:
    """Given again it does what it should; nothing is lost, and nothing is there twice."""
    with without_threads():
        origin = recorded(tmp_path / "live" / "audit.jsonl", *"abcdef", audit=SMALL)
    backup = copied(tmp_path / "live" / "audit.jsonl", tmp_path / "backup")
    at, count = -1, 1
    while at < count:
        target = tmp_path / f"at{at}" / "audit.jsonl"
        with without_threads():
            if replace:
                recorded(target, "x")
            disk = Disk("count" if at < 0 else mode, at)
            with faulty(disk), contextlib.suppress(Crash, OSError, TrailError):
                do_restore(backup, target, replace=replace)
            die(target.parent)
            count = len(disk.calls) if at < 0 else count
            around = (mode, at, disk.calls[max(0, at - 3) : at + 3])
            recorded(target, "between")  # as a writer may that knows nothing of it
            done = verify_trail(target)
            if not any(earlier.origin == origin for earlier in done.previous):
                do_restore(backup, target, replace=True)
            recorded(target, "after")
        result = verify_trail(target)
        assert result.ok, (around, [str(finding) for finding in result.findings])
        assert sum(earlier.origin == origin for earlier in result.previous) == 1, around
        assert all(earlier.ok for earlier in result.previous), around
        found = names(target)
        assert sorted(found) == sorted([*"abcdef", *("x" * replace), "between", "after"]), around
        assert not (Layout(target).retired / STAGED).exists(), around
        assert_no_seq_twice(target)
        at += fault_stride if at >= 0 else 1
