"""Every operation on the disk fails, or is the last one: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from indelible.config import AuditSettings, Durability
from indelible.errors import TrailError, TrailUnavailable
from indelible.trail.start.opening import open_writer
from indelible.trail.writer import Writer
from tests.unit.trail.faults import Crash, Disk, Mode, assert_sealed, die, faulty, read_all, without_threads

EVENTS = 24
SEAL_EVERY = 5
MAX_SIZE = 2500


def settings(durability: Durability) -> AuditSettings:
    return AuditSettings(
        durability=durability, max_size=MAX_SIZE, backup_count=1000, compress_rotated=True, write_timeout=0.2
    )


def append(writer: Writer, name: str, acknowledged: list[str]) -> None:
    head = '{"timestamp":"2026-01-01T00:00:00.000000Z","event_type":"mcp_operation","event_id":'
    try:
        writer.append(f'{head}"{name}","padding":"{"x" * 150}"}}'.encode())
    except TrailUnavailable:
        return
    acknowledged.append(name)


def scenario(path: Path, durability: Durability, acknowledged: list[str]) -> None:
    """Open, append with checkpoints in between, close. What raises OSError is the disk's, and is gone past."""
    try:
        writer = open_writer(path, settings(durability), "test").writer
    except TrailError:
        return
    for number in range(EVENTS):
        append(writer, f"e{number}", acknowledged)
        if number % SEAL_EVERY == SEAL_EVERY - 1:
            try:
                writer.seal()
            except (OSError, TrailUnavailable):
                continue
    writer.close()


def check(path: Path, durability: Durability, acknowledged: list[str]) -> None:
    """Open the trail again as the next process would, and compare it with what was acknowledged."""
    after: list[str] = []
    writer = open_writer(path, settings(durability), "test").writer
    append(writer, "after", after)
    writer.close()
    assert after == ["after"]
    found = read_all(path)
    assert_sealed(path, found)
    times = Counter(entry["event_id"] for entry in found)
    assert [name for name in acknowledged if times[name] == 0] == [], "acknowledged and lost"
    assert [name for name, count in times.items() if count > 1] == [], "there twice"


def operations(path: Path, durability: Durability) -> int:
    acknowledged: list[str] = []
    with without_threads(), faulty(Disk("count")) as disk:
        scenario(path, durability, acknowledged)
    assert len(acknowledged) == EVENTS
    names = Counter(disk.calls)
    assert names["rename"] > 10
    assert names["link"] > 2, "the scenario does not rotate"
    return len(disk.calls)


MODES: tuple[Mode, ...] = ("crash", "crash-after", "error", "error-after", "no-space")


@pytest.mark.sampled
@pytest.mark.parametrize("durability", ["process", "disk"])
@pytest.mark.parametrize("mode", MODES)
def test_every_operation_goes_wrong(
    tmp_path: Path, durability: Durability, mode: Mode, fault_stride: int
) -> None:
    count = operations(tmp_path / "count" / "audit.jsonl", durability)
    for at in range(0, count, fault_stride):
        path = tmp_path / str(at) / "audit.jsonl"
        acknowledged: list[str] = []
        disk = Disk(mode, at)
        with without_threads():
            try:
                with faulty(disk):
                    scenario(path, durability, acknowledged)
            except Crash:
                die(path.parent)
            try:
                check(path, durability, acknowledged)
            except (AssertionError, TrailError) as exc:
                around = disk.calls[max(0, at - 3) : at + 3]
                msg = f"{mode} at operation {at} ({disk.calls[at]}; around it {around}): {exc}"
                raise AssertionError(msg) from exc
