"""A trail is followed while every operation of its writer on the disk fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.errors import TrailUnavailable
from tests.integration.operations.test_trail import append, settings
from tests.unit.query.test_follow import Watcher, names
from tests.unit.trail.faults import Disk, Mode, faulty, read_all, without_threads
from tests.unit.trail.test_writer import start


@pytest.fixture(autouse=True)
def _no_threads() -> Iterator[None]:
    with without_threads():
        yield


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["error", "error-after", "no-space"])
def test_whatever_operation_fails_each_line_is_shown_once(
    tmp_path: Path, mode: Mode, fault_stride: int
) -> None:
    def scenario(path: Path, acknowledged: list[str]) -> tuple[Watcher, Disk]:
        writer = start(path, settings("process"))
        watcher = Watcher(path)
        disk = Disk("count" if at < 0 else mode, at)
        with faulty(disk):
            for number in range(24):
                append(writer, f"e{number}", acknowledged)
                if number % 2:
                    watcher.look()
                if number % 5 == 4:
                    try:
                        writer.seal()
                    except (OSError, TrailUnavailable):
                        continue
        writer.try_again()
        writer.close()
        watcher.look()
        return watcher, disk

    at, count = -1, 1
    while at < count:
        path = tmp_path / f"at{at}" / "audit.jsonl"
        acknowledged: list[str] = []
        watcher, disk = scenario(path, acknowledged)
        count = max(count, len(disk.calls)) if at < 0 else count
        about = f"{mode} at operation {at} ({disk.calls[at] if at >= 0 else 'none'})"
        shown, stored = names(watcher.close()), read_all(path)
        assert [name for name, times in Counter(shown).items() if times > 1] == [], about
        missed = [entry for entry in stored if entry["event_id"] not in shown]
        assert missed == [], about
        assert [name for name in shown if name in acknowledged] == acknowledged, about
        assert watcher.corrupt.count == 0, about
        at += max(1, fault_stride // 4) if at >= 0 else 1
