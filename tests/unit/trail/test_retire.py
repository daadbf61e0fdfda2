"""A trail that lost its end is set aside whole, wherever the process dies meanwhile."""

from __future__ import annotations

import contextlib
from pathlib import Path
from unittest import mock

import pytest

from indelible.config import AuditSettings
from indelible.errors import TrailError
from indelible.trail.checking.check import verify_trail
from indelible.trail.commit import Item
from indelible.trail.layout import Layout
from indelible.trail.start import retire
from indelible.trail.writer import Writer

from .faults import Crash, Disk, Mode, faulty, without_threads
from .test_faults import assert_sealed, die, read_all
from .test_writer import body, crash, start

AUDIT = AuditSettings(max_size=1500)


def shortened(path: Path) -> bytes:
    """Leave a trail of some closed files that ends before its checkpoint; return that checkpoint."""
    writer = start(path, AUDIT)
    for number in range(12):
        writer.append(body(f"e{number}"))
    writer.seal()
    crash(path, writer)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    return Layout(path).checkpoint.read_bytes()


def assert_set_aside(path: Path, checkpoint: bytes) -> None:
    """What was set aside is the old trail and nothing else; the new one names it, and both verify."""
    result = verify_trail(path)
    assert result.ok, [str(finding) for finding in result.findings]
    (previous,) = result.previous
    assert previous.ok
    place = Layout(Path(str(previous.trail)))
    assert place.checkpoint.read_bytes() == checkpoint
    assert_sealed(path, read_all(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_a_start_that_is_killed_before_the_move_is_settled_moves_nothing_of_the_new_trail(path: Path) -> None:
    checkpoint = shortened(path)
    write = Writer.write_service_events

    def sealed(self: Writer, items: list[Item]) -> None:
        write(self, items)
        self.seal()  # as its thread may at any time

    def dead(_: Layout) -> None:
        die(path.parent)
        raise Crash

    with (
        without_threads(),
        mock.patch.object(Writer, "write_service_events", sealed),
        mock.patch.object(Writer, "close"),
        mock.patch.object(retire, "settled", dead),
        pytest.raises(Crash),
    ):
        start(path)
    start(path).close()
    assert_set_aside(path, checkpoint)


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
