"""Lines that are found by their seqs in a file of any kind."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from indelible.events import MAX_LINE_BYTES
from indelible.trail import files
from indelible.trail.entry import line_seq
from indelible.trail.reader import shown_size
from tests.effort import examples

PIECES = st.one_of(
    st.tuples(st.just("line"), st.integers(0, 150)),
    st.tuples(st.just("missing"), st.integers(1, 3)),
    st.tuples(st.just("garbage"), st.integers(1, 900)),
    st.tuples(st.just("no seq"), st.integers(1, 60)),
    st.tuples(st.just("zeros"), st.integers(1, 400)),
)


def made_of(pieces: list[tuple[str, int]], first: int) -> tuple[bytes, dict[int, int]]:
    """Return a file and where its lines are."""
    data, at, seq = b"", dict[int, int](), first
    for what, number in pieces:
        if what == "line":
            at[seq] = len(data)
            data += b'{"seq":%d,"x":"%s"}\n' % (seq, b"x" * number)
            seq += 1
        elif what == "missing":
            seq += number
        else:
            data += {"garbage": b"x" * number, "no seq": b"{}\n" * number, "zeros": b"\0" * number}[
                what
            ] + b"\n"
    return data, at


@given(st.lists(PIECES, max_size=60), st.integers(0, 120), st.booleans(), st.booleans())
@hypothesis_settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_line_is_found_whatever_stands_between(
    tmp_path: Path, pieces: list[tuple[str, int]], first: int, torn: bool, buffered: bool
) -> None:
    data, at = made_of(pieces, first)
    path = tmp_path / "a.jsonl"
    path.write_bytes(data + (b'{"seq":%d,"torn' % (first + 500) if torn else b""))
    with pytest.MonkeyPatch.context() as patch, path.open("rb", buffering=-1 if buffered else 0) as file:
        patch.setattr(files, "NEAR_BYTES", 200)
        patch.setattr(files, "PROBE_BYTES", 40)
        for seq in (*range(first, first + 70), first + 500):
            assert files.find_seq(file, seq) == at.get(seq)
            line = files.find_line(file, seq)
            assert line is None if seq not in at else line is not None and line_seq(line) == seq


def test_lines_of_any_length_and_long_runs_without_any(tmp_path: Path) -> None:
    path, at = tmp_path / "a.jsonl", dict[int, int]()
    with path.open("wb") as file:
        for seq in range(5, 125):
            if seq in (40, 41, 90):
                file.write((b"\0" * 400_000 if seq == 40 else b"no entry\n" * 50_000) + b"\n")
            at[seq] = file.tell()
            begin = b'{"seq":%d,"x":"' % seq
            size = MAX_LINE_BYTES if seq % 7 else 100
            file.write(begin + b"x" * (size - len(begin) - 2) + b'"}\n')
    with path.open("rb", buffering=0) as raw, io.BufferedReader(io.FileIO(path)) as buffered:
        for seq in range(130):
            assert files.find_seq(raw, seq) == files.find_seq(buffered, seq) == at.get(seq)
        found = files.find_line(raw, 99)
        assert found is not None
        assert len(found) == MAX_LINE_BYTES


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"", 0),
        (b'{"seq":0,"x":1}\n', 1),
        (b'{"seq":7,"x":1}\n{"seq":8,"to', 8),
        (b'{"seq":7,"x":1}\n{}\n\0\0\n', 8),
        (b'{"seq":7,"x":1}\n{"seq":8,"x":"' + b"x" * 70_000 + b'"}\n', 9),
        (b'{"seq":7,"x":1}\n' + b"\0" * 2_000_000 + b"\n", 8),
        (b'{"seq":7,"x":1}\n' + b"{}\n" * 400_000, 0),
    ],
)
def test_how_long_a_trail_is_at_least(tmp_path: Path, data: bytes, size: int) -> None:
    """What stands after the last line is passed over, as far as that is not all there is near the end."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    assert shown_size(path) == size


def test_what_is_no_file_shows_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert [shown_size(tmp_path / name) for name in ("pipe", "missing", ".")] == [0, 0, 0]
