"""`status` says who ships, and how far each sink is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from indelible.cli import main
from indelible.trail.durable import Access
from indelible.trail.shipping import cursor, letters, state
from indelible.trail.shipping.state import SinkState
from tests.integration.ship.shipped import configure, end, next_of, run, start, until
from tests.trails import Maker

FILE = {"type": "file", "path": "out.log", "start": "beginning"}


def status(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    assert main(["status", "--json", "-c", str(folder / "indelible.yaml")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["status", "-c", str(folder / "indelible.yaml")]) == 0
    return found, capsys.readouterr().out


def test_a_sink_before_while_and_after_it_is_shipped_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(9).seal()
    configure(tmp_path, FILE)
    found, said = status(tmp_path, capsys)
    assert found["shipped_by"] is None
    assert "shipped by" in said
    assert "out.log: has not begun" in said
    process = start(tmp_path)
    until(lambda: next_of(tmp_path, "out.log") == 10, "all")
    until(lambda: state.read(maker.layout, "out.log").state == "waiting", "the end")
    found, said = status(tmp_path, capsys)
    assert found["shipped_by"]["pid"] == process.pid
    [sink] = found["sinks"]
    assert (sink["state"], sink["behind"], sink["behind_s"], sink["taken"]) == ("waiting", 0, 0.0, 10)
    assert f"(process {process.pid}" in said or f"process {process.pid}, since" in said
    end(process)
    maker.add_many(3).seal()
    found, said = status(tmp_path, capsys)
    [sink] = found["sinks"]
    assert (sink["state"], sink["behind"], sink["next"], sink["configured"]) == ("stopped", 3, 10, True)
    assert "stopped, 3 events behind, the first of " in said


def test_for_whom_files_are_kept_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(3)
    maker.rotate()
    maker.rotate()
    maker.seal()
    configure(tmp_path, FILE, backup_count=0, retention="none")
    cursor.write(maker.layout, cursor.Cursor(sink="out.log", origin=maker.origin, next=1), Access())
    assert (
        "2 files beyond backup_count, until out.log took them, within max_backlog"
        in status(tmp_path, capsys)[1]
    )
    done = cursor.Cursor(sink="out.log", origin=maker.origin, next=maker.seq)
    cursor.write(maker.layout, done, Access())
    assert "2 files beyond backup_count, to be deleted at the next rotation" in status(tmp_path, capsys)[1]


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(3)
    maker.rotate()
    maker.rotate()
    maker.seal()
    layout = maker.layout
    configure(tmp_path, FILE, {"type": "stderr"}, max_backlog={"size": 1, "age": "none"})
    cursor.write(layout, cursor.Cursor(sink="out.log", origin=maker.origin, next=1), Access())
    cursor.write(layout, cursor.Cursor(sink="old", origin="indelible/gone", next=1), Access())
    failing = SinkState(sink="out.log", type="file", format="mxcp", to="/x", lost=2)
    state.failed(failing, "no room")
    state.write(layout, failing, Access())
    letters.add(layout, [letters.letter("out.log", maker.origin, 0, "e", "no", b"x")])
    cursor.path_of(layout, "stderr").write_bytes(b"[]")
    found, said = status(tmp_path, capsys)
    about = {sink["sink"]: sink for sink in found["sinks"]}
    assert about["out.log"]["backlog_percent"] > 100
    assert about["old"]["configured"] is False
    assert about["old"]["behind"] == maker.seq
    for words in (
        "out.log (/x, mxcp): stopped, 5 events behind", "1 dead letter, 2 events lost", "% of max_backlog",
        "before that, 1 attempt failed, the last at", "no room", "is no cursor", "not in the configuration any more",
    ):  # fmt: skip
        assert words in said, words


def test_a_file_of_the_environment_is_not_one_that_was_taken_out_of_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for the status has other variables, as a rule."""
    maker = Maker(tmp_path / "a.jsonl").add_many(3).seal()
    configure(tmp_path, FILE)
    with monkeypatch.context() as environment:
        environment.setenv("MCP_COMPLIANCE_FORMAT", "cef")
        environment.setenv("MCP_COMPLIANCE_OUTPUT", str(tmp_path / "out.cef"))
        assert run(tmp_path, "--once").returncode == 0
    assert next_of(tmp_path, "out.log") == maker.seq
    found, said = status(tmp_path, capsys)
    [name] = [sink["sink"] for sink in found["sinks"] if sink["configured"] is None]
    [line] = [line for line in said.splitlines() if name in line]
    assert line.endswith("out.cef, cef): stopped, asked for by MCP_COMPLIANCE_OUTPUT")
    assert "not in the configuration" not in said


def test_what_was_deleted_before_a_sink_had_it_is_lost_and_not_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while its destination is away, so that it has not come to the gap."""
    maker = Maker(tmp_path / "a.jsonl").add_many(9)
    gone = maker.rotate()
    maker.add_many(3).seal()
    configure(tmp_path, FILE)
    cursor.write(maker.layout, cursor.Cursor(sink="out.log", origin=maker.origin, next=4), Access())
    gone.unlink()
    found, said = status(tmp_path, capsys)
    [sink] = found["sinks"]
    assert (sink["next"], sink["lost"], sink["behind"]) == (4, 6, 4)
    assert sink["behind_s"] > 0
    assert "4 events behind, the first of " in said
    assert "6 events lost" in said
    process = start(tmp_path)
    until(lambda: next_of(tmp_path, "out.log") == maker.seq, "the rest")
    end(process)
    [sink] = status(tmp_path, capsys)[0]["sinks"]
    assert (sink["lost"], sink["behind"], sink["taken"]) == (6, 0, 4), "counted once"
