"""A trail that lost its end is set aside whole, wherever the process dies meanwhile."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from indelible.config import AuditSettings
from indelible.trail.checking.check import verify_trail
from indelible.trail.commit import Item
from indelible.trail.layout import Layout
from indelible.trail.start import retire
from indelible.trail.writer import Writer

from .faults import Crash, assert_sealed, die, read_all, without_threads
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
