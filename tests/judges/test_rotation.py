"""A checkpoint before, during and after two keys overlap, opened by golang.org/x/mod/sumdb/note with either key."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import indelible
from indelible.trail.layout import Layout

Judge = Callable[[str], str]


def record(trail: Path) -> None:
    with indelible.open_trail(trail) as recorder, recorder.operation("tools/call", "send", user_id="ada"):
        pass


def rotate(trail: Path, overlap: str) -> None:
    command = [
        sys.executable,
        "-m",
        "indelible",
        "keygen",
        "--rotate",
        "--overlap",
        overlap,
        "--trail",
        str(trail),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def opens(judge: Judge, vkey: Path, trail: Path) -> bool:
    """Tell whether the judge accepts the trail's checkpoint with this key, and reads what stands there."""
    note = Layout(trail).checkpoint
    done = subprocess.run(
        [judge("notecheck"), str(vkey), str(note)], capture_output=True, check=False, timeout=30
    )
    if done.returncode:
        assert b"note: " in done.stderr
        return False
    _, size, _ = note.read_text().split("\n")[:3]
    assert json.loads(done.stdout)["size"] == int(size)
    return True


def test_sumdb_note_opens_all_three_phases(tmp_path: Path, judge: Judge) -> None:
    trail, old, new = tmp_path / "audit.jsonl", tmp_path / "old.vkey", tmp_path / "new.vkey"
    record(trail)
    old.write_text(Layout(trail).vkey.read_text())
    assert opens(judge, old, trail)

    rotate(trail, "1h")
    new.write_text(Layout(trail).vkey.read_text())
    record(trail)
    assert opens(judge, old, trail)
    assert opens(judge, new, trail)

    rotate(trail, "0s")  # the one before is over at once; the first goes on until its own hour is over
    newest = tmp_path / "newest.vkey"
    newest.write_text(Layout(trail).vkey.read_text())
    record(trail)
    assert [opens(judge, key, trail) for key in (old, new, newest)] == [True, False, True]
    for key in (old, new, newest):
        assert indelible.verify(trail, str(key)).ok
