"""A real process whose clock is set by an hour, judged by what the commands say."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.wrap.harness import INDELIBLE, isolated, wait_for

RECORDS = """
    import sys
    import indelible

    with indelible.open_trail(sys.argv[1], durability=sys.argv[2]) as trail:
        for line in sys.stdin:
            with trail.operation("tools/call", line.strip()):
                print("received", flush=True)
                if line.startswith("long"):
                    sys.stdin.readline()
            print("recorded", flush=True)
"""


class Recorder:
    """A process that records calls, under a clock of its own."""

    def __init__(self, tmp_path: Path, trail: Path, durability: str) -> None:
        self._clock = tmp_path / "clock"
        self.set_clock(0)
        self._cwd = tmp_path
        [library] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")  # noqa: PTH207 - an absolute pattern
        self.env = {
            **os.environ,
            **isolated(tmp_path),
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RECORDS), str(trail), durability],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=self.env,
        )

    def set_clock(self, seconds: int) -> None:
        """Set it to so many seconds beside the true time."""
        beside = self._clock.with_name("clock.new")
        beside.write_text(f"{seconds:+d}")
        beside.rename(self._clock)

    def say(self, line: str, *answers: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        for answer in answers:
            assert self.process.stdout.readline().strip() == answer

    def call(self, name: str) -> None:
        self.say(name, "received", "recorded")

    def run(self, *command: str) -> str:
        """Run a command of ours by the same clock, as on the same machine."""
        done = subprocess.run(
            [*INDELIBLE, *command], capture_output=True, text=True, check=True, cwd=self._cwd, env=self.env
        )
        return done.stdout

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(60) == 0


@pytest.fixture(params=["process", "disk"])
def recorder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Recorder]:
    assert shutil.which("faketime"), "requirements/system.txt has it"
    found = Recorder(tmp_path, tmp_path / "audit.jsonl", request.param)
    yield found
    found.process.kill()
    found.process.wait()
    for pipe in (found.process.stdin, found.process.stdout):
        assert pipe
        pipe.close()


def names(text: str) -> list[str]:
    return [json.loads(line)["target"]["capability_name"] for line in text.splitlines()]


def stepped(recorder: Recorder, trail: str) -> list[dict[str, Any]]:
    text = recorder.run("log", "--trail", trail, "--events", "clock_stepped", "--json", "-n", "0")
    return [json.loads(line)["metadata"] for line in text.splitlines()]


def test_log_since_finds_what_it_should_after_an_hour_forward_and_back(
    recorder: Recorder, tmp_path: Path
) -> None:
    trail = str(tmp_path / "audit.jsonl")
    recorder.call("first")
    recorder.set_clock(3600)
    recorder.call("ahead")
    recorder.say("long", "received")
    recorder.set_clock(0)
    wait_for(lambda: len(stepped(recorder, trail)) == 2)  # an idle trail sees it, too
    recorder.say("", "recorded")
    recorder.call("back")
    recorder.set_clock(-3600)
    recorder.call("behind")

    assert names(recorder.run("log", "--trail", trail, "--json", "--since", "10m")) == [
        "first", "ahead", "long", "back", "behind",
    ]  # fmt: skip
    ago = ["log", "--trail", trail, "--json", "--until", "10m"]
    assert names(recorder.run(*ago)) == []
    recorder.set_clock(3600)
    recorder.call("ahead again")
    assert names(recorder.run("log", "--trail", trail, "--json", "--since", "10m")) == [
        "ahead",
        "long",
        "ahead again",
    ]
    assert names(recorder.run("log", "--trail", trail, "--json", "--since", "10m", "-n", "0")) == [
        "ahead", "long", "ahead again",
    ]  # fmt: skip
    assert names(recorder.run(*ago)) == ["first", "back", "behind"]
    recorder.end()
    found = stepped(recorder, trail)
    assert [round(about["step_s"] / 3600, 2) for about in found] == [1.0, -1.0, -1.0, 2.0]
    assert "last clock_stepped" in recorder.run("status", "--trail", trail)
    assert json.loads(recorder.run("verify", "--trail", trail, "--json"))["ok"]
    times = [json.loads(line) for line in Path(trail).read_text().splitlines()]
    assert [line["seq"] for line in times] == list(range(len(times)))
    assert [line["recorded_at"] for line in times] == sorted(line["recorded_at"] for line in times)
