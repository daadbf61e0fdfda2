"""An erasure in which every operation on the disk fails, or is the last one."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible.errors import TrailError
from indelible.trail.checking.check import verify_trail
from indelible.trail.erased import erased_leaf
from indelible.trail.layout import Layout
from tests.erasing import leaves_of, lines_of
from tests.unit.trail.faults import Crash, Disk, Mode, die, faulty, without_threads
from tests.unit.trail.test_erase import (
    HOW,
    MODES,
    check_gone,
    check_gone_everywhere,
    lose_end,
    opened,
    planned,
    records,
    run,
    scenario,
)


def operations(path: Path) -> int:
    with without_threads(look_after=False):
        scenario(path)
        with faulty(Disk("count")) as disk:
            run(path)
    assert disk.calls.count("rename") > 5
    return len(disk.calls)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES)
def test_every_operation_goes_wrong(tmp_path: Path, mode: Mode, fault_stride: int) -> None:
    """After it the content is there with no record, or it is on record and the next start erases it."""
    count = operations(tmp_path / "count" / "audit.jsonl")
    for at in range(0, count, fault_stride):
        path = tmp_path / str(at) / "audit.jsonl"
        with without_threads(look_after=False):
            before = scenario(path)
            with faulty(Disk(mode, at)), contextlib.suppress(Crash, TrailError, OSError):
                run(path)
            die(tmp_path)
            recorded = bool(records(path))
            blanked = [line for line in lines_of(path) if erased_leaf(line)]
            assert recorded or not blanked, f"{mode} at {at}: erased, and nobody says so"
            erasing = (Layout(path).directory / "erasing").exists()
            opened(path).close()
            if recorded or erasing:
                check_gone(path, before)
            else:
                assert leaves_of(path)[: len(before)] == before
                assert verify_trail(path).ok
                run(path)
                check_gone(path, before)
        assert len(records(path)) == 1


@pytest.mark.sampled
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("mode", ["crash", "crash-after"])
def test_a_trail_is_set_aside_in_the_midst_of_an_erasure(
    tmp_path: Path, how: Callable[[Path], Path], mode: Mode, fault_stride: int
) -> None:
    """Its successor finishes what was promised, wherever it was cut off."""
    with without_threads(look_after=False):
        for at in itertools.count(0, max(1, fault_stride // 2)):
            path = tmp_path / str(at) / "audit.jsonl"
            if not planned(path, at, mode):
                assert at > 20
                break
            path = how(path)
            opened(path).close()
            check_gone_everywhere(path)
            assert {entry["metadata"]["reason"] for entry in records(path)} == {"ticket 4711"}
            opened(path).close()
            assert len(records(path)) == 1
            shutil.rmtree(path.parent)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES)
def test_every_operation_of_a_successors_start_goes_wrong(
    tmp_path: Path, mode: Mode, fault_stride: int
) -> None:
    at, count = -1, 1
    while at < count:
        path = tmp_path / str(at) / "audit.jsonl"
        with without_threads(look_after=False):
            planned(path, 20)
            lose_end(path)
            disk = Disk("count" if at < 0 else mode, at)
            with faulty(disk), contextlib.suppress(Crash, TrailError, OSError):
                opened(path).close()
            die(tmp_path)
            count = len(disk.calls) if at < 0 else count
            opened(path).close()
            check_gone_everywhere(path)
        at += fault_stride if at >= 0 else 1
