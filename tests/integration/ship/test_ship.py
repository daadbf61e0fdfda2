"""`indelible ship`: what it does, and what it answers to whoever asks for something else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.ship.shipped import COMMAND, configure, end, next_of, run, seqs_of, start, until
from tests.trails import Maker

FILE = {"type": "file", "path": "out.log", "start": "beginning"}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    maker = Maker(tmp_path / "a.jsonl").add_many(30)
    maker.rotate(compress=True)
    maker.add_many(30)
    maker.rotate()
    return maker.add_many(7).seal()


def test_once_then_once_more_then_from_somewhere(tmp_path: Path, maker: Maker) -> None:
    configure(tmp_path, FILE)
    first = run(tmp_path, "--once")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"out.log ({tmp_path}/out.log): {maker.seq} events taken; at event {maker.seq}\n"
    again = run(tmp_path, "--once", "--json")
    assert json.loads(again.stdout)["sinks"][0] | {"to": None} == {
        "sink": "out.log", "to": None, "next": maker.seq, "taken": 0, "refused": 0, "lost": 0, "error": None
    }  # fmt: skip
    assert seqs_of(tmp_path / "out.log") == list(range(maker.seq))
    at = maker.layout.active.read_bytes().splitlines()[3]
    received = json.loads(at)["timestamp"]
    for begin in ("66", received):
        back = run(tmp_path, "--once", "--from", begin, "--sink", "out.log")
        assert back.returncode == 0, back.stderr
        assert "begins again at event" in back.stderr
    assert seqs_of(tmp_path / "out.log")[maker.seq :][: maker.seq - 66] == list(range(66, maker.seq))
    assert seqs_of(tmp_path / "out.log")[-1] == maker.seq - 1


def test_records_on_stdout_stand_there_alone(tmp_path: Path, maker: Maker) -> None:
    configure(tmp_path, {"type": "stdout", "start": "beginning"})
    said = run(tmp_path, "--once")
    lines = said.stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(maker.seq))
    assert said.stderr == f"stdout (stdout): {maker.seq} events taken; at event {maker.seq}\n"
    about = run(tmp_path, "--once", "--json")
    assert about.stdout == ""
    assert json.loads(about.stderr)["sinks"][0]["taken"] == 0


def test_signals_keep_the_place_and_reload_the_sinks(tmp_path: Path, maker: Maker) -> None:
    configure(tmp_path, FILE)
    process = start(tmp_path)
    until(lambda: next_of(tmp_path, "out.log") == maker.seq, "the first sink")
    whole = run(tmp_path, "--once")
    assert whole.returncode == 0
    assert f"is being shipped by process {process.pid}" in whole.stdout
    other = run(tmp_path)
    assert other.returncode == 3
    assert f"is being shipped by process {process.pid}" in other.stderr
    asked = run(tmp_path, "--from", str(maker.seq - 1), "--sink", "out.log")
    assert asked.returncode == 0
    assert f"process {process.pid}" in asked.stderr
    until(lambda: len(seqs_of(tmp_path / "out.log")) == maker.seq + 1, "what was asked for")
    configure(
        tmp_path,
        FILE,
        {"type": "file", "path": "errors.log", "start": "beginning", "filter": {"status": "error"}},
    )
    process.send_signal(signal.SIGHUP)
    until(lambda: next_of(tmp_path, "errors.log") == maker.seq, "the second sink")
    (tmp_path / "indelible.yaml").write_text("audit: {sinks: 7}")
    process.send_signal(signal.SIGHUP)
    maker.add_many(3).seal()
    until(lambda: next_of(tmp_path, "out.log") == maker.seq, "what came")
    configure(tmp_path)  # who takes all destinations away means it
    process.send_signal(signal.SIGHUP)
    state = maker.layout.cursors / "out.log.state"
    until(lambda: json.loads(state.read_bytes())["state"] == "stopped", "the end of all sinks")
    code, said = end(process)
    assert code == 0
    assert "the configuration was read again: 2 sinks" in said
    assert "the configuration was read again: 0 sinks" in said
    assert "expected a list of sinks, each with a type" in said
    assert "shipping goes on as before" in said
    assert seqs_of(tmp_path / "out.log") == [*range(maker.seq - 3), *range(maker.seq - 4, maker.seq)]
    assert not (tmp_path / "errors.log").exists() or not seqs_of(tmp_path / "errors.log")


def test_once_waits_until_whoever_ships_has_done_what_it_was_asked(tmp_path: Path, maker: Maker) -> None:
    configure(tmp_path, FILE)
    process = start(tmp_path)
    try:
        until(lambda: next_of(tmp_path, "out.log") == maker.seq, "the first sink")
        asked = run(tmp_path, "--once", "--json", "--from", "60", "--sink", "out.log")
        assert seqs_of(tmp_path / "out.log")[maker.seq :] == list(range(60, maker.seq))
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout)["ok"] is True
        handed_over = run(tmp_path, "--json", "--from", "60", "--sink", "out.log")
        assert json.loads(handed_over.stdout)["ok"] is True
    finally:
        code, _ = end(process)
    assert code == 0


def test_a_configuration_that_is_gone_takes_no_sink_away(tmp_path: Path, maker: Maker) -> None:
    file = configure(tmp_path, FILE)
    process = subprocess.Popen(
        [*COMMAND, "ship"], cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "INDELIBLE_CONFIG": ""},
    )  # fmt: skip
    try:
        until(lambda: next_of(tmp_path, "out.log") == maker.seq, "the first events")
        file.unlink()  # and no other one is found
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        assert (
            line == f"indelible: {file}: the configuration is not there any more; shipping goes on as before\n"
        )
        maker.add_many(2).seal()
        until(lambda: next_of(tmp_path, "out.log") == maker.seq, "what came")
    finally:
        code, _ = end(process)
    assert code == 0


def test_a_shipper_that_was_started_ends_with_its_starter_when_all_was_taken(
    tmp_path: Path, maker: Maker
) -> None:
    configure(tmp_path, FILE)
    process = start(tmp_path, "--attached")
    until(lambda: next_of(tmp_path, "out.log"), "the first events")
    maker.add_many(2).seal()
    _, said = process.communicate(timeout=120)  # closes its input
    assert (process.returncode, said) == (0, b"")
    assert seqs_of(tmp_path / "out.log") == list(range(maker.seq))


def test_once_waits_for_whoever_ships_as_long_as_it_is_told_to(tmp_path: Path, maker: Maker) -> None:
    away = {"type": "file", "path": "/proc/nowhere/x", "name": "away", "start": "beginning"}
    configure(tmp_path, away, FILE)
    process = start(tmp_path)
    until(lambda: next_of(tmp_path, "out.log") == maker.seq, "the one that is well")
    assert run(tmp_path, "--once", "--sink", "out.log").returncode == 0
    late = run(tmp_path, "--once", "--timeout", "0s")
    assert late.returncode == 3
    [line] = late.stderr.splitlines()
    assert f"is being shipped by process {process.pid}" in line
    assert "; sink away (/proc/nowhere/x): " in line
    end(process)


def test_what_a_shipper_does_not_ship_to_is_not_asked_of_it(tmp_path: Path, maker: Maker) -> None:
    configure(tmp_path, FILE, {**FILE, "name": "other", "path": "other.log"})
    process = start(tmp_path, "--sink", "other")
    until(lambda: next_of(tmp_path, "other") == maker.seq, "all")
    asked = run(tmp_path, "--from", "3", "--sink", "out.log")
    assert asked.returncode == 3
    [line] = asked.stderr.splitlines()
    assert f"is being shipped by process {process.pid}" in line
    assert "which does not ship to out.log: end it" in line
    assert not list(maker.layout.cursors.glob("*.request")), (
        "nobody would carry it out today, and somebody some day"
    )
    assert run(tmp_path, "--from", str(maker.seq - 2), "--sink", "other").returncode == 0
    until(lambda: len(seqs_of(tmp_path / "other.log")) == maker.seq + 2, "what was asked for")
    end(process)


def test_a_destination_that_stays_away(tmp_path: Path, maker: Maker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    sink = {"type": "syslog", "address": f"127.0.0.1:{port}", "protocol": "tcp", "format": "indelible"}
    configure(tmp_path, sink | {"start": "beginning"}, FILE)
    result = run(tmp_path, "--once", "--timeout", "1s")
    assert result.returncode == 3
    last = result.stderr.splitlines()[-1]
    assert f"sink 127.0.0.1 (127.0.0.1:{port}): " in last
    assert f"gave up after 1 s, {maker.seq} events before the end; its place is kept" in last
    assert seqs_of(tmp_path / "out.log") == list(range(maker.seq))
    assert next_of(tmp_path, "127.0.0.1") == 0


@pytest.mark.parametrize(
    ("sinks", "args", "code", "said"),
    [
        ([], [], 2, "audit.sinks: the configuration names no sink to ship to"),
        ([FILE | {"format": "csv"}], [], 2, "audit.sinks: out.log: no format 'csv'"),
        ([{"type": "pigeon"}], [], 2, "audit.sinks: pigeon: no sink of type 'pigeon'"),
        (
            [FILE],
            ["--sink", "out.lgo"],
            2,
            "--sink: the configuration has no sink 'out.lgo'; did you mean 'out.log'?",
        ),
        ([FILE], ["--from", "3"], 2, "--from: say for which sink: --sink NAME"),
        ([FILE], ["--from", "3000", "--sink", "out.log"], 2, "--from: 3000: the trail has"),
        ([FILE], ["--from", "9" * 5000, "--sink", "out.log"], 2, "--from: 99999999999999999999: the trail has"),
        ([FILE | {"path": "~no-such-user/out.log"}], [], 2, "there is no home directory for ~no-such-user"),
        ([FILE], ["--from", "yesterday", "--sink", "out.log"], 2, "--from: expected a time such as"),
        ([FILE], ["--once", "--timeout", "soon"], 2, "--timeout: expected a duration"),
        ([FILE], ["--trail", "nowhere.jsonl"], 3, "nowhere.jsonl: there is no trail here"),
    ],
)
def test_mistakes(
    tmp_path: Path, maker: Maker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    sinks: list[dict[str, str]], args: list[str], code: int, said: str,
) -> None:  # fmt: skip
    from indelible.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {**os.environ, "INDELIBLE_DEBUG": "0"})
    file = configure(tmp_path, *sinks)
    assert main(["ship", "-c", str(file), *args]) == code
    [line] = capfd.readouterr().err.splitlines()
    assert said in line
    assert not list(maker.layout.cursors.glob("*.json"))
