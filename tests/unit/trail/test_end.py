"""The end of a trail is found by one walk backwards, whatever lies behind its last line."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from indelible.events import MAX_LINE_BYTES
from indelible.trail import files
from indelible.trail.layout import Layout
from indelible.trail.start import recovery
from tests.trails import Maker

from .faults import assert_sealed, read_all
from .test_writer import body, crash, start


def bytes_read() -> int:
    """How much this process has read by now, of whatever and by whichever call (proc_pid_io(5))."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split("\n")[0])


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
@pytest.mark.parametrize("rubbish", [b"\n", b"x" * 100 + b"\n", b"x" * (MAX_LINE_BYTES + 1) + b"\n", b"x"])
def test_each_byte_behind_the_last_line_is_read_a_few_times_at_the_most(tmp_path: Path, rubbish: bytes) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(20).seal()
    for size in (1 << 20, 4 << 20):
        maker.raw(rubbish * (size // len(rubbish)))
        before = bytes_read()
        assert recovery.end_of(maker.layout, maker.seq) == maker.seq
        assert bytes_read() - before < 2 * maker.layout.active.stat().st_size + 4 * files.CHUNK_BYTES


def test_a_line_of_old_behind_the_end_does_not_make_a_trail_too_short(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = start(path)
    for number in range(10):
        writer.append(body(f"e{number}"))
    writer.seal()
    crash(path, writer)
    old = path.read_bytes().splitlines(keepends=True)[2]
    with path.open("ab") as file:  # a block of the disk that was the file's before the power went
        file.write(old + b'{"seq":0}\n{"seq":-7}\n')
    start(path).close()
    found = read_all(path)
    assert_sealed(path, found)
    assert not Layout(path).retired.exists()
    calls = [entry["event_id"] for entry in found if entry["event_type"] == "mcp_operation"]
    assert calls == [f"e{number}" for number in range(10)]
    (recovered,) = (e for e in found if e["event_type"] == "audit_recovered")
    assert recovered["metadata"]["torn"][0]["bytes"] == len(old) + len(b'{"seq":0}\n{"seq":-7}\n')


@pytest.mark.parametrize("missing", [1, 5, 12])
def test_how_far_a_shortened_trail_goes(tmp_path: Path, missing: int) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5)
    maker.rotate()
    maker.add_many(5).seal()
    lines = maker.layout.active.read_bytes().splitlines(keepends=True)
    maker.layout.active.write_bytes(b"".join(lines[: max(0, len(lines) - missing)]) + b"\n\nrubbish")
    expected = maker.seq - min(missing, len(lines))
    assert recovery.end_of(maker.layout, maker.seq) == expected


def test_the_last_line_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    longest = b"x" * MAX_LINE_BYTES
    for content, expected in (
        (b"", None),
        (b"torn", None),
        (b"\n", b""),
        (b"a\n", b"a"),
        (b"a\n\n", b""),
        (b"a\nbc\ntorn", b"bc"),
        (b"a\n" + longest + b"\n", longest),
        (b"a\n" + longest + b"\n" + longest, longest),
        (b"a\n" + longest + b"x\n", None),
        (longest + longest + b"\n", None),
    ):
        path.write_bytes(content)
        assert files.last_line(path) == expected, content[-20:]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_does_not_end_does_not_fill_the_memory(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "file"
    size = 24 << 20
    with path.open("wb") as file:
        file.write(b'{"seq":1}\n' + end)
        os.posix_fallocate(file.fileno(), 0, size)
        os.pwrite(file.fileno(), end, size)
    tracemalloc.start()
    try:
        found = files.last_line(path)
        assert tracemalloc.get_traced_memory()[1] < size // 4
    finally:
        tracemalloc.stop()
    assert found == (None if end else b'{"seq":1}')
