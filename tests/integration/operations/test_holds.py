"""Holds that are placed and released while every operation on the disk fails, or is the last one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from indelible import verify
from indelible.errors import IndelibleError
from indelible.trail.layout import Layout
from indelible.trail.upkeep.holding import Hold
from indelible.trail.upkeep.standing import read_standing
from indelible.trail.writer import Writer
from tests.unit.trail.faults import Crash, Disk, Mode, die, faulty, operations_of, without_threads
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
    operations = operations_of(lambda writer: act(writer, []), lambda: scenario(tmp_path / "count.jsonl"))
    for at in range(0, len(operations), fault_stride):
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
            assert set(read_standing(Layout(path)).standing) == standing
        found = verify(path)
        assert found.ok, (at, spoiled.calls[at : at + 1], found.findings)


def answered(do: Any, *args: Any) -> bool:
    """Tell whether an order was carried out, by what its answer says."""
    try:
        do(*args)
    except OSError:
        pytest.fail("an error that nobody has put into words")
    except IndelibleError as exc:
        return re.search(r"hold \w+ (is placed|is released|stands), but (is )?not", str(exc)) is not None
    return True


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["error", "error-after", "no-space"])
@pytest.mark.parametrize("what", ["add", "release"])
def test_the_answer_is_what_the_trail_says(tmp_path: Path, mode: Mode, what: str, fault_stride: int) -> None:
    """Whatever fails, in whatever order: who is told that a hold stands, or not, finds it so after a restart."""
    at, count, said = -1, 1, set()
    while at < count:
        path = tmp_path / str(at) / "audit.jsonl"
        with without_threads(look_after=False):
            writer = scenario(path)
            if what == "release":
                add(writer)
            writer.append(event("before"))  # what comes next closes the file
            disk = Disk("count" if at < 0 else mode, at, run=4)
            with faulty(disk):
                done = answered(add if what == "add" else release, writer)
            count = len(disk.calls) if at < 0 else count
            said.add(done)
            stands = done is (what == "add")
            assert (ID in writer.housekeeper.holds.standing) is stands, (at, disk.calls[at : at + 1])
            writer.try_again()
            if at % 2:
                writer.close()
            else:
                die(path.parent)
            again = start(path, AUDIT)
            standing = again.housekeeper.holds.standing
            assert (ID in standing) is stands, (at, disk.calls[at : at + 1])
            again.close()
        assert verify(path).ok
        at += max(1, fault_stride // 4) if at >= 0 else 1
    assert said == {True, False}
