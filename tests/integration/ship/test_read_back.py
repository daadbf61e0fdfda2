"""What real file sinks hold, with what they were rotated to: listed, and checked against the trail."""

from __future__ import annotations

import gzip
import json
import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.ship.shipped import COMMAND, LIMIT_S, configure, lines_of, run, until
from tests.trails import Maker, operation

CALLS = 400


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ship a trail to three file sinks, one of which rotates; return the folder."""
    folder = tmp_path_factory.mktemp("held")
    maker = Maker(folder / "a.jsonl")
    maker.add_many(CALLS // 2, lambda seq: operation(seq, source__user_id="ada" if seq % 2 else "bob"))
    maker.rotate()
    maker.add_many(CALLS // 2).seal()
    common = {"type": "file", "start": "beginning"}
    configure(
        folder,
        {**common, "name": "lines", "path": str(folder / "lines.jsonl")},
        {
            **common,
            "name": "cef",
            "path": str(folder / "siem.cef"),
            "format": "cef",
            "max_size_mb": 0.06,
            "backup_count": 9,
        },
        {**common, "name": "ecs", "path": str(folder / "ecs.json"), "format": "ecs"},
    )
    shipped = run(folder, "--once")
    assert shipped.returncode == 0, shipped.stderr
    assert (folder / "siem.cef.1").exists()
    return folder


def command(folder: Path, *args: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        cwd=folder,
        input=given,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


def answer(result: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(result.stdout)
    assert value["ok"] is (result.returncode == 0)
    assert result.stderr == b""
    return value


# --- verify --from ------------------------------------------------------------------------------------------------


def test_all_that_three_sinks_hold_is_as_sealed(held: Path) -> None:
    sources = [part for name in ("lines.jsonl", "siem.cef", "ecs.json") for part in ("--from", name)]
    found = answer(command(held, "verify", "--trail", "a.jsonl", *sources, "--json"))
    records = sum(len(lines_of(held / name)) for name in ("lines.jsonl", "siem.cef", "ecs.json"))
    assert found["records"] == found["counts"]["as sealed"] == records
    assert found["events"] == found["origins"][0]["records"] == len(lines_of(held / "lines.jsonl")) == CALLS + 2
    assert found["repeated"] == records - found["events"]
    assert found["files"] == 3 + len(list(held.glob("siem.cef.*")))
    assert found["findings"] == []


def test_one_altered_byte_in_a_rotated_file_is_found_where_it_stands(held: Path, tmp_path: Path) -> None:
    for path in held.glob("siem.cef*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    target = tmp_path / "siem.cef.1"
    content = target.read_bytes()
    lines = content.split(b"\n")
    lines[6] = lines[6].replace(b"cs2=read_file", b"cs2=read_filE")
    target.write_bytes(b"\n".join(lines))
    result = command(held, "verify", "--trail", "a.jsonl", "--from", tmp_path / "siem.cef", "--json")
    assert result.returncode == 1
    (finding,) = answer(result)["findings"]
    assert (finding["problem"], finding["file"], finding["line"]) == (
        "record differs from its line",
        str(target),
        7,
    )
    assert "at cs2 (compared with cef)" in finding["detail"]
    shown = command(held, "verify", "--trail", "a.jsonl", "--from", tmp_path / "siem.cef")
    assert b"NOT OK" in shown.stdout
    assert b"1 record differs from its line" in shown.stdout


def test_a_subset_from_a_pipe_is_right_and_all_is_asked_for_by_name(held: Path) -> None:
    some = b"\n".join(line for line in lines_of(held / "siem.cef") if b"suser=bob" in line)
    args = ("verify", "--trail", "a.jsonl", "--from", "-")
    assert command(held, *args, given=gzip.compress(some)).returncode == 0
    asked = command(held, *args, "--complete", given=some)
    assert asked.returncode == 1
    assert b"records missing" in asked.stdout


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("verify", "--from", "nowhere"), 2, "--from: nowhere: cannot be read: No such file"),
        (("verify", "--from", "s3://bucket/x"), 2, "s3://"),
        (("verify", "--from", "-", "--line", "x"), 2, "not together with --line"),
        (("verify", "--from", "-", "--checkpoint", "x"), 2, "run 'indelible verify --checkpoint …' beside it"),
        (("verify", "--from", "-", "--witness", "x"), 2, "run 'indelible verify --witness …' beside it"),
        (("verify", "--complete"), 2, "--from"),
        (("verify", "--from", "lines.jsonl", "--trail", "none.jsonl"), 3, "none.jsonl"),
        (("log", "--from", "nowhere"), 2, "--from: nowhere: cannot be read"),
        (("log", "--from", "-", "--follow"), 2, "--follow"),
        (("log", "--from", "-", "--trail", "a.jsonl"), 2, "--trail"),
    ],
)
def test_a_mistake_is_one_line(held: Path, args: tuple[str, ...], code: int, said: str) -> None:
    trail = () if "--trail" in args or args[0] == "log" else ("--trail", "a.jsonl")
    result = command(held, *args, *trail)
    assert (result.returncode, result.stdout) == (code, b"")
    assert result.stderr.count(b"\n") == 1
    assert said in result.stderr.decode()


# --- log --from ---------------------------------------------------------------------------------------------------


def test_what_a_sink_holds_is_listed_as_the_trail_is(held: Path) -> None:
    for filters, name in (
        (("--user", "bob", "-n", "0"), "siem.cef"),
        (("--session", "s1", "-n", "7"), "ecs.json"),
    ):
        here = command(held, "log", "--trail", "a.jsonl", *filters)
        there = command(held, "log", "--from", name, *filters)
        assert there.stdout == here.stdout, name
        assert there.stderr == b""


def test_records_are_handed_on_as_they_stand_once(held: Path) -> None:
    cef = lines_of(held / "siem.cef")
    result = command(
        held, "log", "--from", "siem.cef", "--from", "siem.cef.1", "-n", "0", "--events", "all", "--json"
    )
    assert result.stdout.splitlines() == cef
    repeated = len((held / "siem.cef.1").read_bytes().splitlines())
    assert result.stderr.decode() == f"indelible: {repeated} repeated records left out\n"
    as_cef = command(held, "log", "--from", "siem.cef", "-n", "0", "--events", "all", "--format", "cef")
    assert as_cef.stdout.splitlines() == cef
    other = command(held, "log", "--from", "siem.cef", "-n", "3", "--format", "mxcp")
    assert other.stdout == b""
    assert b"3 records left out, in 'cef', of which 'mxcp' cannot be made" in other.stderr


def test_what_cannot_be_answered_or_read_is_said(held: Path) -> None:
    made = command(held, "log", "--trail", "a.jsonl", "-n", "3", "--format", "mxcp").stdout
    result = command(held, "log", "--from", "-", "--backend", "files", given=made + b"\0\xffgarbage\n")
    assert result.returncode == 0
    assert result.stderr.decode().splitlines() == [
        "indelible: 3 records left out, in 'mxcp', which does not say what --backend asks for",
        "indelible: 1 line could not be read as a record, the first: standard input, line 4",
    ]


def test_ctrl_c_ends_it_at_once_with_nothing_left_behind(held: Path, tmp_path: Path) -> None:
    """Waiting for a pipe that nobody ends; on a terminal, where a bar may be shown."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "verify", "--trail", "a.jsonl", "--from", str(pipe)],
        cwd=held, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=follower,
    )  # fmt: skip
    try:
        with pipe.open("wb", buffering=0) as writer:  # opens when the reader is there
            writer.write(lines_of(held / "siem.cef")[0] + b"\n")
            process.send_signal(signal.SIGINT)
            until(lambda: process.poll() is not None, "its end")
    finally:
        process.kill()
        process.communicate()
        os.close(leader)
        os.close(follower)
    assert process.returncode == 130
