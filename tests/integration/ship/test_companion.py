"""The shipper beside a recorder: started by it, watched by it, and gone soon after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible import configfile
from indelible.cli import main
from indelible.cli.shipping import NICE
from indelible.errors import ConfigError
from indelible.shipper import companion
from indelible.shipper.shipper import current_shipper
from indelible.trail.layout import Layout
from tests.integration.ship.shipped import COMMAND, LIMIT_S, configure, next_of, run, seqs_of, until
from tests.trails import Maker

FILE = {"type": "file", "path": "out.log", "start": "beginning", "intents": True}

RECORDER = """
import sys, indelible
with indelible.open_trail(config=sys.argv[1]) as trail:
    for line in sys.stdin:
        with trail.operation("tools/call", "x", args={"line": line.strip()}):
            pass
        print(flush=True)
"""


@contextmanager
def recorder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(folder / "indelible.yaml")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
    until(lambda: current_shipper(Layout(folder / "a.jsonl")) is None, "the shipper's end")


def record(process: subprocess.Popen[str], line: str = "x") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "\n"


def shipper_pid(folder: Path) -> int:
    found: list[int] = []

    def look() -> bool:
        holder = current_shipper(Layout(folder / "a.jsonl"))
        if holder is not None and holder.pid:
            found.append(holder.pid)
        return bool(found)

    until(look, "a shipper")
    return found[-1]


def assert_steps_back(shipper: int, recorder: int) -> None:
    """It leaves the processor to its recorder, and so does its session."""
    expected = min(19, os.getpriority(os.PRIO_PROCESS, recorder) + NICE)
    assert os.getpriority(os.PRIO_PROCESS, shipper) == expected
    group = Path(f"/proc/{shipper}/autogroup")
    if group.exists() and os.geteuid() == 0:  # others may change one in a tenth of a second, of all there are
        assert group.read_text().split()[-1] == str(NICE)


def sealed(folder: Path) -> int:
    return int((folder / "a.jsonl.d" / "checkpoint").read_text().splitlines()[1])


def test_what_a_recorder_sealed_last_is_shipped_after_it(tmp_path: Path) -> None:
    configure(tmp_path, FILE, {"type": "file", "path": "new.log"})
    with recorder(tmp_path) as process:
        record(process)
        process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0
        for sink in ("out.log", "new.log"):
            until(lambda: next_of(tmp_path, sink) == sealed(tmp_path), sink)  # noqa: B023 - called at once
    seqs = seqs_of(tmp_path / "out.log")
    assert seqs == list(range(sealed(tmp_path)))
    last = (tmp_path / "out.log").read_bytes().splitlines()[-1]
    assert json.loads(last)["event_type"] == "audit_stopped"
    assert (
        seqs_of(tmp_path / "new.log")[-1] == seqs[-1]
    )  # it began with this recorder, and not with its shipper


def test_a_shipper_that_dies_is_started_again_and_one_without_recorder_ends(tmp_path: Path) -> None:
    configure(tmp_path, FILE)
    with recorder(tmp_path) as process:
        record(process)
        first = shipper_pid(tmp_path)
        assert_steps_back(first, process.pid)
        os.kill(first, signal.SIGKILL)
        until(lambda: shipper_pid(tmp_path) != first, "another shipper")
        record(process)
        until(lambda: (next_of(tmp_path, "out.log") or 0) >= 5, "the second call")
        record(process)
        until(lambda: sealed(tmp_path) >= 7, "a checkpoint")
        process.kill()
        process.wait()
    seqs = seqs_of(tmp_path / "out.log")
    assert sorted(set(seqs)) == list(range(sealed(tmp_path)))


def test_as_threads(tmp_path: Path) -> None:
    file = configure(tmp_path, FILE, ship="thread")
    trail = indelible.open_trail(config=str(file))
    with trail.operation("tools/call", "x"):
        pass
    until(lambda: (next_of(tmp_path, "out.log") or 0) >= 3, "the call")
    holder = current_shipper(Layout(tmp_path / "a.jsonl"))
    assert holder is not None
    assert holder.pid == os.getpid()
    trail.close()
    assert current_shipper(Layout(tmp_path / "a.jsonl")) is None
    assert seqs_of(tmp_path / "out.log") == list(range(sealed(tmp_path)))
    assert not [
        one for one in threading.enumerate() if one.name.startswith(("indelible-sink", "indelible-companion"))
    ]


@pytest.mark.parametrize("ship", ["process", "thread"])
def test_no_sink_holds_up_a_call_or_an_end(tmp_path: Path, ship: str) -> None:
    file = configure(tmp_path, {"type": "file", "path": "/proc/nowhere/out.log"}, ship=ship)
    with indelible.open_trail(config=str(file)) as trail:
        for _ in range(20):
            with trail.operation("tools/call", "x"):
                pass
    assert indelible.verify(tmp_path / "a.jsonl").ok
    until((tmp_path / "a.jsonl.d" / "cursors" / "out.log.state").exists, "a shipper")
    until(lambda: current_shipper(Layout(tmp_path / "a.jsonl")) is None, "the shipper's end")


def test_off_is_off(tmp_path: Path) -> None:
    file = configure(tmp_path, FILE, ship="off")
    with indelible.open_trail(config=str(file)) as trail, trail.operation("tools/call", "x"):
        pass
    assert not (tmp_path / "a.jsonl.d" / "cursors").exists()


def test_where_shipping_is_off_an_export_begins_with_its_recorder_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was written, and later nothing was there to write, in silence."""
    file = configure(tmp_path, ship="off")
    monkeypatch.setenv("MCP_COMPLIANCE_FORMAT", "jsonlines")
    monkeypatch.setenv("MCP_COMPLIANCE_OUTPUT", str(tmp_path / "out.log"))
    with indelible.open_trail(config=str(file)) as trail, trail.operation("tools/call", "x"):
        pass
    assert "MCP_COMPLIANCE_OUTPUT: 'audit.ship' is off: 'indelible ship', with the same var" in caplog.text
    assert run(tmp_path, "--once").returncode == 0
    [line] = (tmp_path / "out.log").read_bytes().splitlines()
    assert json.loads(line)["tool_name"] == "x"


@pytest.mark.parametrize("knows", [False, True])
def test_who_has_an_export_says_when_the_holder_does_not_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, knows: bool
) -> None:
    monkeypatch.setattr(companion, "LOOK_S", 0.01)
    monkeypatch.setattr(companion, "HEED_S", 0.0)
    file, out = configure(tmp_path), tmp_path / "out.cef"
    export = {"MCP_COMPLIANCE_FORMAT": "cef", "MCP_COMPLIANCE_OUTPUT": str(out)}

    def enter() -> None:
        for name, value in export.items():
            monkeypatch.setenv(name, value)

    if knows:
        enter()
    with recorder(tmp_path) as process:
        record(process)
        if knows:
            until(lambda: out.read_bytes().count(b"\n") == 1, "the holder's call")
        enter()
        with indelible.open_trail(config=str(file)) as trail:
            with trail.operation("tools/call", "y"):
                pass
            if knows:
                until(lambda: out.read_bytes().count(b"\n") == 2, "the other's call")
            else:
                until(lambda: f"whoever holds the trail does not write {out}" in caplog.text, "a line")
        assert caplog.text.count("does not write") == (not knows)


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        (FILE | {"format": "csv"}, "no format 'csv'"),
        ({"type": "pigeon"}, "no sink of type 'pigeon'"),
        ({"type": "stdout"}, "stdout: the standard output of a process that records is not for events"),
    ],
)
def test_what_cannot_be_shipped_is_refused_before_anything_is_recorded(
    tmp_path: Path, sink: dict[str, Any], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = configure(tmp_path, sink)
    with pytest.raises(ConfigError, match=why):
        indelible.open_trail(config=str(file))
    assert main(["record", "-c", str(file), "--listen", str(tmp_path / "s")]) == 2
    assert why in capfd.readouterr().err
    assert not (tmp_path / "a.jsonl").exists()


SERVER = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); print('up', flush=True); sys.stdin.read()"


def reloads(folder: Path) -> list[Any]:
    """Return what the trail has on record of changed sinks."""
    entries = map(json.loads, (folder / "a.jsonl").read_bytes().splitlines())
    return [one["metadata"] for one in entries if one["event_type"] == "config_reloaded"]


def test_wrap_passes_a_reload_on(tmp_path: Path) -> None:
    configure(tmp_path, FILE)
    process = subprocess.Popen(
        [*COMMAND, "wrap", "-c", str(tmp_path / "indelible.yaml"), "--", sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    until(lambda: next_of(tmp_path, "out.log"), "the first events")
    configure(tmp_path, FILE, {"type": "file", "path": "more.log", "start": "beginning"})

    def reloaded() -> bool:
        process.send_signal(signal.SIGHUP)  # the first ones may come before anybody listens
        return bool(next_of(tmp_path, "more.log"))

    until(reloaded, "the second sink")
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert b"the configuration was read again: 2 sinks" in said
    until(lambda: current_shipper(Layout(tmp_path / "a.jsonl")) is None, "the shipper's end")
    assert seqs_of(tmp_path / "more.log")[-1] == sealed(tmp_path) - 1
    assert [one["sinks"] for one in reloads(tmp_path)] == [{"added": ["more.log"]}], (
        "once, however often it was told"
    )


def test_a_reload_waits_for_a_shipper_that_is_only_starting(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(3).seal()
    settings = configfile.load(str(configure(tmp_path, FILE)))
    shipper = companion._Process(settings, maker.layout)
    try:
        shipper.start()
        for _ in range(100):
            shipper.reload()
        until(lambda: next_of(tmp_path, "out.log") == maker.seq, "what is sealed")
        assert shipper.runs, "SIGHUP ended it before it listened"
    finally:
        shipper.end()
    until(lambda: current_shipper(maker.layout) is None, "the shipper's end")


def test_a_service_ships_and_passes_a_reload_on(tmp_path: Path) -> None:
    configure(tmp_path, FILE)
    process = subprocess.Popen(
        [*COMMAND, "record", "-c", str(tmp_path / "indelible.yaml"), "--listen", str(tmp_path / "s")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    until(lambda: next_of(tmp_path, "out.log"), "the first events")
    assert process.stderr is not None
    (tmp_path / "indelible.yaml").write_text("audit: {sinks: [{type: file}]}")
    process.send_signal(signal.SIGHUP)
    refused = next(line for line in process.stderr if b"goes on as before" in line)
    assert b"indelible.yaml: audit.sinks: sink 1: type file needs 'path'; shipping goes on as before" in refused
    assert not reloads(tmp_path)
    shipper = shipper_pid(tmp_path)
    configure(tmp_path, FILE | {"intents": False}, {"type": "file", "path": "more.log", "start": "beginning"})
    process.send_signal(signal.SIGHUP)
    until(lambda: next_of(tmp_path, "more.log") and reloads(tmp_path), "the second sink")
    [said_of_it] = reloads(tmp_path)
    assert said_of_it["sinks"] == {"added": ["more.log"], "changed": ["out.log"]}
    assert said_of_it["asked"]["pid"] == shipper
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    until(lambda: current_shipper(Layout(tmp_path / "a.jsonl")) is None, "the shipper's end")
    assert seqs_of(tmp_path / "out.log") == list(range(sealed(tmp_path)))


def test_a_service_that_ships_as_threads_reads_its_sinks_again_and_goes_on(tmp_path: Path) -> None:
    """SIGHUP costs no sink its place, and ends nothing; what is wrong changes nothing."""
    configure(tmp_path, FILE, ship="thread")
    process = subprocess.Popen(
        [*COMMAND, "record", "-c", str(tmp_path / "indelible.yaml"), "--listen", str(tmp_path / "s")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    until(lambda: next_of(tmp_path, "out.log"), "the first events")
    assert shipper_pid(tmp_path) == process.pid
    assert process.stderr is not None
    (tmp_path / "indelible.yaml").write_text("audit: {sinks: [{type: file}]}")
    process.send_signal(signal.SIGHUP)
    refused = next(line for line in process.stderr if b"goes on as before" in line)
    assert b"indelible.yaml: audit.sinks: sink 1: type file needs 'path'; shipping goes on as before" in refused
    configure(tmp_path, FILE, {"type": "file", "path": "more.log", "start": "beginning"}, ship="thread")
    process.send_signal(signal.SIGHUP)
    until(lambda: next_of(tmp_path, "more.log") and reloads(tmp_path), "the second sink")
    process.send_signal(signal.SIGHUP)
    configure(tmp_path, ship="thread")
    process.send_signal(signal.SIGHUP)
    until(lambda: len(reloads(tmp_path)) == 2, "the end of all sinks")
    assert [one["sinks"] for one in reloads(tmp_path)] == [
        {"added": ["more.log"]},
        {"removed": ["out.log", "more.log"]},
    ]
    configure(tmp_path, FILE, ship="thread")
    process.send_signal(signal.SIGHUP)
    until(lambda: len(reloads(tmp_path)) == 3, "the first sink again")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    assert seqs_of(tmp_path / "out.log") == list(range(sealed(tmp_path)))
    assert seqs_of(tmp_path / "more.log") == list(range(len(seqs_of(tmp_path / "more.log"))))


def test_threads_without_a_file_have_nothing_to_read_again_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("INDELIBLE_CONFIG", "")
    monkeypatch.setenv("MCP_COMPLIANCE_FORMAT", "cef")
    monkeypatch.setenv("MCP_COMPLIANCE_OUTPUT", "out.cef")
    with indelible.open_trail("a.jsonl") as trail:
        trail.reload_sinks()
        until(lambda: "there is none to read again; shipping goes on as before" in caplog.text, "a line")
        with trail.operation("tools/call", "x"):
            pass
    assert (tmp_path / "out.cef").read_bytes().count(b"\n") == 1


def test_a_shipper_that_cannot_be_started_is_said_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companion, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(companion, "LOOK_S", 0.01)
    maker = Maker(tmp_path / "a.jsonl").add_many(2).seal()

    class Failing:
        began = 0.0
        starts = 0
        runs = False
        ended: str | None = None

        def start(self) -> None:
            self.starts += 1
            if self.starts == 1:
                raise OSError(12, "no memory")
            self.ended = "signal 9"

        def how_it_ended(self) -> str | None:
            why, self.ended = self.ended, None
            return why

        def reload(self) -> None: ...

        def look(self) -> None: ...

        def end(self) -> None: ...

    failing: Any = Failing()
    watching = companion.Companion(failing, lambda: True)
    until(lambda: failing.starts > 2, "another start")
    watching.close()
    assert "no memory" in caplog.text
    assert "the shipper ended (signal 9)" in caplog.text
    assert maker.seq == 3
