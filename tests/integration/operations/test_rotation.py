"""A change of keys in which every operation on the disk fails, or is the last one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from indelible.errors import TrailError
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import Layout
from tests.unit.trail.faults import Crash, Disk, Mode, die, faulty, without_threads
from tests.unit.trail.test_rotation import put_in_front, rotated, signers
from tests.unit.trail.test_writer import body, start


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["crash", "crash-after", "error", "error-after"])
def test_every_operation_of_a_rotation_goes_wrong(tmp_path: Path, mode: Mode, fault_stride: int) -> None:
    """The old key leads to the trail as it is, the rotation is on record once, and nobody's key is lost."""
    at, count = -1, 1
    while at < count:
        path = tmp_path / f"at{at}" / "audit.jsonl"
        layout = Layout(path)
        with without_threads():
            writer = start(path)
            writer.append(body("a"))
            writer.seal()
            old = layout.vkey.read_text().strip()
            new = put_in_front(layout)
            disk = Disk("count" if at < 0 else mode, at)
            with faulty(disk), contextlib.suppress(Crash, OSError, TrailError):
                writer.append(body("b"))
                with contextlib.suppress(OSError, TrailError):
                    writer.seal()
                writer.try_again()
                writer.append(body("c"))
                writer.seal()
                writer.close()
            die(path.parent)
            count = len(disk.calls) if at < 0 else count
            around = disk.calls[max(0, at - 3) : at + 3]
            again = start(path)
            again.seal()
            again.close()
            for pinned in (old, new):
                result = verify_trail(path, pinned)
                assert result.ok, (mode, at, around, [str(finding) for finding in result.findings])
            assert [said["to"] for said in rotated(path)] == [new], (mode, at, around)
            assert signers(layout) == {old, new}, (mode, at, around)
        at += max(1, fault_stride // 4) if at >= 0 else 1
