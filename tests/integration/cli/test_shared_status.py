"""`indelible status` of a trail that several processes write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from indelible.config import AuditSettings
from indelible.trail import durable
from indelible.trail.sharing import wire
from indelible.trail.sharing.link import ASKED_S
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.start.opening import open_writer
from tests.integration.cli.conftest import Run

RECORDER = """
import sys, indelible
with indelible.open_trail(sys.argv[1]) as trail:
    for _ in range(int(sys.argv[2])):
        with trail.operation("tools/call", "done", effects="read_only"):
            pass
    under_way = [trail.operation("tools/call", "open").__enter__() for _ in range(int(sys.argv[3]))]
    print("open", flush=True)
    sys.stdin.readline()
    for operation in under_way:
        operation.__exit__(None, None, None)
"""

MANY = """
import asyncio, sys, indelible
from indelible import events

def event():
    return events.Event(timestamp=events.now(), event_type="mcp_operation", event_id=events.new_id())

async def main(trail):
    await asyncio.gather(*(trail.arecord(event()) for _ in range(int(sys.argv[2]))))

with indelible.open_trail(sys.argv[1], on_failure="deny") as trail:
    asyncio.run(main(trail))
"""


@contextmanager
def started(program: str, *args: object, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", program, *map(str, args)]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ready(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process


def said(text: str, heading: str = "through it") -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [line.removeprefix(heading).strip() for line in lines if line.startswith(heading)]


def asked(run: Run, path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(run("status", "--trail", path, "--json").stdout)
    return value


def until(wanted: Callable[[dict[str, Any]], bool], run: Run, path: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not wanted(value := asked(run, path)):
        assert time.monotonic() < deadline, value
        time.sleep(0.05)
    return value


def test_who_writes_through_the_holder(run: Run, tmp_path: Path, home: dict[str, str]) -> None:
    path = tmp_path / "audit.jsonl"
    with ExitStack() as stack:
        holder, *others = (
            ready(stack.enter_context(started(RECORDER, path, done, under_way, env=home)))
            for done, under_way in ((1, 0), (5, 0), (0, 1), (2, 3))
        )
        value = asked(run, path)
        assert (value["held_by"]["pid"], value["recorders_unknown"], value["open_calls"]) == (
            holder.pid,
            None,
            4,
        )
        uid, window = os.getuid(), wire.WINDOW
        assert value["recorders"] == [
            {"recorder": "library", "pid": other.pid, "uid": uid, "recorded": recorded, "waiting": 0,
             "open_calls": under_way, "window": window}
            for other, recorded, under_way in zip(others, (5, 1, 5), (0, 1, 3), strict=True)
        ]  # fmt: skip
        text = run("status", "--trail", path).stdout.decode()
        first, second, third = (f"process {other.pid} (library)" for other in others)
        assert said(text) == [
            f"{first}: 5 recorded",
            f"{second}: 1 recorded, 1 call open",
            f"{third}: 5 recorded, 3 calls open",
        ]
        for process in (*others, holder):
            process.communicate(b"\n", timeout=60)
            assert process.returncode == 0
    value = asked(run, path)
    assert (value["held_by"], value["recorders"], value["recorders_unknown"]) == (None, None, None)
    assert value["open_calls"] == 0
    assert said(run("status", "--trail", path).stdout.decode()) == []


def test_a_holder_that_is_stopped_is_said_to_give_no_answer(
    run: Run, tmp_path: Path, home: dict[str, str]
) -> None:
    path = tmp_path / "audit.jsonl"
    with started(RECORDER, path, 1, 0, env=home) as holder, ExitStack() as others:
        ready(holder)  # before the other begins: whoever comes first holds the trail
        other = ready(others.enter_context(started(RECORDER, path, 1, 0, env=home)))
        os.kill(holder.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
        try:
            began = time.monotonic()
            value = asked(run, path)
            assert time.monotonic() - began < ASKED_S + 30  # it is not waited for
            text = run("status", "--trail", path).stdout.decode()
        finally:
            os.kill(holder.pid, signal.SIGCONT)
        assert value["held_by"]["pid"] == holder.pid
        assert value["recorders"] is None
        assert value["recorders_unknown"].startswith(f"no answer within {ASKED_S:g} s: it is stopped")
        assert said(text) == [f"not known: {value['recorders_unknown']}"]
        assert (
            until(lambda value: value["recorders"] is not None, run, path)["recorders"][0]["pid"] == other.pid
        )
        for process in (other, holder):
            process.communicate(b"\n", timeout=60)
            assert process.returncode == 0


def test_a_holder_that_lets_nobody_in_is_said_to(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = open_writer(path, AuditSettings(), "alone").writer
    try:
        text = run("status", "--trail", path).stdout.decode()
    finally:
        writer.close()
    assert said(text) == ["not known: it lets nobody in: there is no writer.sock"]


def test_a_disk_that_does_not_keep_up_is_seen(
    run: Run, tmp_path: Path, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    env = {**home, "INDELIBLE_CONFIG": str(tmp_path / "patient.yaml")}
    (tmp_path / "patient.yaml").write_text("audit: {durability: disk, write_timeout: 50s}\n")
    holder = SharedWriter(path, AuditSettings(path=str(path), durability="disk", write_timeout=50.0), "test")
    released = threading.Event()
    real = durable.datasync

    def slow(fd: int) -> None:
        assert released.wait(60)
        real(fd)

    monkeypatch.setattr(durable, "datasync", slow)
    try:
        with started(MANY, path, wire.WINDOW + 50, env=env) as other:
            value = until(lambda value: any(found["waiting"] for found in value["recorders"]), run, path)
            value = until(lambda value: value["recorders"][0]["waiting"] == wire.WINDOW, run, path)
            assert value["recorders"][0]["recorded"] == 0
            [line] = said(run("status", "--trail", path).stdout.decode())
            assert line == f"process {other.pid} (library): 0 recorded, {wire.WINDOW} waiting (no more may)"
            released.set()
            assert other.wait(60) == 0
    finally:
        released.set()
        holder.close()
    assert asked(run, path)["events"] >= wire.WINDOW + 50
