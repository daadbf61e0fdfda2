"""A trail is set aside while every operation on the disk fails, or is the last one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from indelible.errors import TrailError
from tests.unit.trail.faults import Crash, Disk, Mode, die, faulty, without_threads
from tests.unit.trail.test_retire import assert_set_aside, shortened
from tests.unit.trail.test_writer import start


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["crash", "crash-after", "error", "error-after"])
def test_every_operation_of_setting_aside_goes_wrong(tmp_path: Path, mode: Mode, fault_stride: int) -> None:
    at, count = -1, 1
    while at < count:
        path = tmp_path / f"at{at}" / "audit.jsonl"
        with without_threads():
            checkpoint = shortened(path)
            disk = Disk("count" if at < 0 else mode, at)
            with faulty(disk), contextlib.suppress(Crash, OSError, TrailError):
                start(path).seal()
            die(path.parent)
            count = len(disk.calls) if at < 0 else count
            try:
                start(path).close()
                assert_set_aside(path, checkpoint)
            except (AssertionError, TrailError, ValueError) as exc:
                around = disk.calls[max(0, at - 3) : at + 3]
                msg = f"{mode} at operation {at} (around it {around}): {exc}"
                raise AssertionError(msg) from exc
        at += max(1, fault_stride // 4) if at >= 0 else 1
