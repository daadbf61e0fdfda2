"""Holds that are placed and released while every operation on the disk fails, or is the last one."""

from __future__ import annotations

from pathlib import Path

import pytest

from indelible import verify
from indelible.errors import IndelibleError
from indelible.trail.layout import Layout
from indelible.trail.upkeep import holds
from indelible.trail.upkeep.holding import Hold
from indelible.trail.writer import Writer
from tests.unit.trail.faults import Crash, Disk, Mode, die, faulty, without_threads
from tests.unit.trail.test_holds import AUDIT, ID, OTHER_ID, add, event, prune, release, scenario
from tests.unit.trail.test_writer import start


def act(writer: Writer, done: list[str]) -> None:
    """Place two holds, release one; rotations come in between."""
    add(writer)
    done.append("placed")
    writer.append(event("between-1"))
    writer.append(event("between-2"))
    add(writer, Hold(id=OTHER_ID, session="s1"))
    done.append("other placed")
    release(writer)
    done.append("released")


MODES: tuple[Mode, ...] = ("crash", "crash-after", "error", "error-after")


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES)
def test_every_operation_goes_wrong(tmp_path: Path, mode: Mode, fault_stride: int) -> None:
    """A hold that was reported stands; one whose release was reported does not; and the trail verifies."""
    with without_threads(look_after=False), faulty(Disk("count")) as disk:
        disk.armed = False
        counted = scenario(tmp_path / "count.jsonl")
        disk.armed = True
        act(counted, [])
        disk.armed = False
        counted.close()
    for at in range(0, len(disk.calls), fault_stride):
        path = tmp_path / str(at) / "audit.jsonl"
        done: list[str] = []
        spoiled = Disk(mode, at)
        with without_threads(look_after=False):
            writer = scenario(path)
            try:
                with faulty(spoiled):
                    act(writer, done)
            except Crash:
                die(path.parent)
            except (OSError, IndelibleError):
                writer.close()
            else:
                writer.close()
            again = start(path, AUDIT)
            standing = set(again.housekeeper.holds.standing)
            said = {ID} if "placed" in done else set()
            said |= {OTHER_ID} if "other placed" in done else set()
            if "released" in done:
                said.discard(ID)
                assert ID not in standing
            may_be_over = {ID} if "other placed" in done else set()  # its release was begun
            assert said - may_be_over <= standing, (at, spoiled.calls[at : at + 1], done)
            prune(again)
            again.close()
            assert set(holds.read_standing(Layout(path)).standing) == standing
        found = verify(path)
        assert found.ok, (at, spoiled.calls[at : at + 1], found.findings)
