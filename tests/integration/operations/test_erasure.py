"""An erasure in which every operation on the disk fails, or is the last one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from indelible.errors import TrailError
from indelible.trail.checking.check import verify_trail
from indelible.trail.erased import erased_leaf
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep.erase import erase
from indelible.trail.writer import Writer
from tests.erasing import GONE, body, leaves_of, lines_of, order
from tests.unit.trail.faults import Crash, Disk, Mode, die, faulty, without_threads
from tests.unit.trail.test_erase import ROOT, check_gone, fill, records, settings


def opened(path: Path) -> Writer:
    """Open a trail as the next process does, and do what its housekeeper does after the first checkpoint."""
    writer = open_writer(path, settings(compress_rotated=True), "test").writer
    writer.seal()
    writer.housekeeper._look_after()
    return writer


def scenario(path: Path) -> list[bytes]:
    writer = fill(path, settings(compress_rotated=True))
    writer.housekeeper._look_after()
    writer.layout.quarantine.mkdir()
    (writer.layout.quarantine / "event-1.json").write_bytes(body("killer", GONE) + b"\n")
    before = leaves_of(path)
    writer.close()
    return before


def run(path: Path) -> None:
    """Erase as `manage` does when nobody holds the trail; what the disk does is the scenario's."""
    writer = opened(path)
    try:
        erase(writer, order(), ROOT)
    finally:
        writer.close()


def operations(path: Path) -> int:
    with without_threads(look_after=False):
        scenario(path)
        with faulty(Disk("count")) as disk:
            run(path)
    assert disk.calls.count("rename") > 5
    return len(disk.calls)


MODES: tuple[Mode, ...] = ("crash", "crash-after", "error", "error-after", "no-space")


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
