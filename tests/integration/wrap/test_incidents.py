"""A wrapped server, and a recorder, that are killed in the midst of calls: `incident` names the calls that were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.wrap.harness import INDELIBLE, LIMIT_S, Client, call, nasty, pids, wait_for

Wrap = Callable[..., Client]
NAME = ("--name", "files")


def incidents(trail: Path, *options: str) -> list[dict[str, Any]]:
    command = [*INDELIBLE, "incident", "--trail", str(trail), "--json", *options]
    done = subprocess.run(command, capture_output=True, check=True, timeout=LIMIT_S)
    found: list[dict[str, Any]] = json.loads(done.stdout)["incidents"]
    return found


def flying(incident: dict[str, Any]) -> list[str]:
    assert incident["in_flight"]["count"] == len(incident["in_flight"]["calls"])
    return [one["name"] for one in incident["in_flight"]["calls"]]


def before(incident: dict[str, Any]) -> list[str]:
    return [one["name"] for one in incident["before"]["calls"]]


def begin(wrap: Wrap, trail: Path, *names: str, options: tuple[str, ...] = NAME) -> tuple[Client, int]:
    """Start a server that has answered one call, and hangs in these; return its pid, too."""
    file = trail.parent.parent / f"pid-{names[0]}"
    client = wrap(*nasty("hangs_when_told", file), options=options)
    client.greet()
    assert "result" in client.ask(call(10, "act answered", x=1))
    client.send(*(call(20 + number, name, hang=True) for number, name in enumerate(names)))
    wait_for(lambda: all(f'"{name}"'.encode() in trail.read_bytes() for name in names))
    return client, pids(file, 1)[0]


def test_a_server_that_is_killed(wrap: Wrap, trail: Path) -> None:
    client, pid = begin(wrap, trail, "hang 1", "hang 2")
    os.kill(pid, signal.SIGKILL)
    client.drain()
    (found,) = incidents(trail)
    assert (found["kind"], found["backend"], found["from"], found["to"]) == (
        "server",
        "files",
        "Ready",
        "Failed",
    )
    assert flying(found) == ["hang 1", "hang 2"]
    assert {one["kind"] for one in found["in_flight"]["calls"]} == {"backend_unavailable"}
    assert before(found) == ["act answered"]
    assert incidents(trail, "--backend", "other") == []


def test_the_recorder_that_is_killed_before_and_after_the_next_start(wrap: Wrap, trail: Path) -> None:
    client, _ = begin(wrap, trail, "hang 1", "hang 2")
    client.process.kill()
    client.process.wait(LIMIT_S)
    (gone,) = incidents(trail)
    assert gone["kind"] == "recorder"
    assert "noticed" not in gone
    assert [one["kind"] for one in gone["in_flight"]["calls"]] == [None, None]

    assert wrap(*nasty("behave"), options=NAME).finish() == 0
    (noticed,) = incidents(trail)
    assert noticed["at"] == gone["at"] < noticed["noticed"]
    assert {one["kind"] for one in noticed["in_flight"]["calls"]} == {"interrupted"}
    for found in (gone, noticed):
        assert flying(found) == ["hang 1", "hang 2"]
        assert before(found) == ["act answered"]


def test_a_recorder_that_wrote_through_another_one(wrap: Wrap, trail: Path) -> None:
    holder, _ = begin(wrap, trail, "hang of the holder", options=("--name", "holder"))
    client, _ = begin(wrap, trail, "hang 1")
    client.process.kill()
    client.process.wait(LIMIT_S)
    wait_for(lambda: trail.read_bytes().count(b'"hang 1"') == 2)
    (found,) = incidents(trail)
    assert (found["kind"], found["recorder"]["id"]) == ("recorder", "stdio:files")
    assert (flying(found), before(found)) == (["hang 1"], ["act answered"])
    assert holder.process.poll() is None


def test_what_a_monitor_saw_in_the_midst_of_calls(wrap: Wrap, trail: Path) -> None:
    client, _ = begin(wrap, trail, "hang 1")
    note = [*INDELIBLE, "incident", "add", "--trail", str(trail), "--note", "no answer", "--backend", "files"]
    subprocess.run(note, capture_output=True, check=True, timeout=LIMIT_S)
    (found,) = incidents(trail)
    assert (found["kind"], found["reason"]) == ("noted", "no answer")
    assert (flying(found), before(found)) == (["hang 1"], ["act answered"])
    assert client.process.poll() is None
