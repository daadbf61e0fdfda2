"""A deletion in which every operation on the disk fails, or is the last one."""

from __future__ import annotations

from pathlib import Path

import pytest

from indelible.errors import IndelibleError
from indelible.trail.writer import Writer
from tests.unit.trail.faults import Crash, Disk, Mode, die, faulty, operations_of, without_threads
from tests.unit.trail.test_retention import AUDIT, Clock, assert_well, fill, prune
from tests.unit.trail.test_writer import start


def scenario(path: Path) -> Writer:
    with without_threads(look_after=False):
        writer = start(path, AUDIT, clock=Clock())
        fill(writer, 4)
    return writer


MODES: tuple[Mode, ...] = ("crash", "crash-after", "error", "error-after")


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES)
def test_every_operation_of_a_deletion_goes_wrong(tmp_path: Path, mode: Mode, fault_stride: int) -> None:
    """Whatever is gone is on record; whatever is on record is gone after the next start, by whichever rules."""
    operations = operations_of(prune, lambda: scenario(tmp_path / "count.jsonl"))
    assert operations.count("unlink") >= 4
    for at in range(0, len(operations), max(1, fault_stride // 2)):
        path = tmp_path / str(at) / "audit.jsonl"
        writer = scenario(path)
        spoiled = Disk(mode, at)
        with without_threads(look_after=False):
            try:
                with faulty(spoiled):
                    prune(writer)
            except Crash:
                die(path.parent)
            except (OSError, IndelibleError):
                writer.close()
            else:
                writer.close()
            again = start(path, AUDIT)
            again.seal()
            again.housekeeper.prune()  # keeps all, and finishes what is on record
            again.close()
        try:
            assert_well(path)
        except AssertionError as exc:
            msg = f"{mode} at operation {at} ({spoiled.calls[at : at + 1]}): {exc}"
            raise AssertionError(msg) from exc
