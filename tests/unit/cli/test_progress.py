"""How far a reading is: by bytes, within one file too, of as many as there are."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from indelible.cli import progress
from indelible.config import AuditSettings
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import Layout
from indelible.trail.proofs.kept import Comparison
from indelible.trail.proofs.stored import open_sealed
from tests.erasing import await_compressed
from tests.unit.trail.test_writer import body, start

AUDIT = AuditSettings(max_size=8 << 20, compress_rotated=True, retention=None)


def recorded(path: Path) -> None:
    """Make a trail with one compressed file of 8 MB that packs to a hundredth."""
    writer = start(path, AUDIT)
    for number in range(300):
        writer.append(body(f"e{number}", padding="x" * 30_000))
    await_compressed(writer)
    writer.close()


def test_a_packed_file_counts_as_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    recorded(path)
    [packed] = Layout(path).segments.iterdir()
    assert packed.suffix == ".zst"
    assert packed.stat().st_size < 200_000
    steps: list[int] = []
    verify_trail(path, None, steps.append)
    assert sum(steps) == progress.size_of(path)
    assert len(steps) > 4
    assert max(steps) < 2 << 20


def test_earlier_trails_count_where_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    recorded(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    recorded(path)
    steps: list[int] = []
    verify_trail(path, None, steps.append)
    assert sum(steps) == progress.size_of(path, earlier=True) > progress.size_of(path) > 0


def test_a_file_of_many_checkpoints_moves_with_each(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    notes = []
    for number in range(5):
        writer = start(path, AUDIT)
        writer.append(body(f"e{number}"))
        writer.close()
        notes.append(open_sealed(path).note)
    data = b"\n".join([*notes, notes[0]])
    steps: list[int] = []
    comparison = Comparison([verify_trail(path)])
    comparison.add("kept", data, steps.append)
    assert (len(steps), sum(steps)) == (5, len(data))


def test_nothing_is_shown_where_nobody_looks(tmp_path: Path) -> None:
    with mock.patch("sys.stderr.isatty", return_value=False), progress.byte_bar(10, "doing") as bar:
        assert bar is None
    with mock.patch("sys.stderr.isatty", return_value=True), progress.byte_bar(10, "doing") as bar:
        assert bar is not None
        bar(5)
