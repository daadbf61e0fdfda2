"""However `wrap` ends, nothing of its child's process group is left, and what was said is on record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible.capture.stdio import ANSWER_GRACE_S
from tests.integration.wrap.harness import (
    Client,
    call,
    descendants,
    events,
    is_alive,
    isolated,
    kinds,
    nasty,
    pids,
    wait_for,
    wrapped,
)

Wrap = Callable[..., Client]


def _gone(processes: list[int]) -> Callable[[], bool]:
    return lambda: not any(is_alive(pid) for pid in processes)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_grandchildren_end_with_us(number: signal.Signals, wrap: Wrap, tmp_path: Path) -> None:
    client = wrap(*nasty("grandchildren", tmp_path / "pids"))
    client.greet()
    group = pids(tmp_path / "pids", 3)
    everything = [*group, *descendants(client.process.pid)]
    client.process.send_signal(number)
    assert client.process.wait(60) == -number
    wait_for(_gone(everything))


def test_the_watchdog_ends_when_all_is_well(wrap: Wrap, tmp_path: Path) -> None:
    client = wrap(*nasty("ok"))
    client.greet()
    everything = list(descendants(client.process.pid))
    assert len(everything) == 2  # the server and the watchdog
    assert client.finish() == 0
    wait_for(_gone(everything))


def test_a_dead_parent_is_noticed_though_the_pipe_stays_open(tmp_path: Path, trail: Path) -> None:
    keeper_r, keeper_w = os.pipe()  # our end keeps wrap's stdin open
    command = wrapped(trail, *nasty("outlives", tmp_path / "pids"))
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *command],
        stdin=keeper_r,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**os.environ, **isolated(tmp_path)},
    )
    group = pids(tmp_path / "pids", 1)
    (wrapper, *_) = list(descendants(parent.pid))
    parent.kill()
    parent.wait()
    wait_for(_gone([wrapper, *group]))
    os.close(keeper_r)
    os.close(keeper_w)
    assert events(trail, "audit_stopped")


def test_a_server_that_outlives_its_stdin_is_ended(wrap: Wrap, tmp_path: Path, trail: Path) -> None:
    client = wrap(*nasty("outlives", tmp_path / "pids"))
    client.greet()
    group = pids(tmp_path / "pids", 1)
    client.stdin.close()
    assert client.drain() == -signal.SIGKILL  # after EOF_GRACE_S and SIGTERM, which it ignores
    assert _gone(group)()
    assert events(trail, "mcp_server_state_changed")[-1]["state"]["to"] == "ShuttingDown"


def test_a_process_that_holds_stdout_open_does_not_hold_us(wrap: Wrap, tmp_path: Path, trail: Path) -> None:
    client = wrap(*nasty("leaves_holder", tmp_path / "pids"))
    client.greet()
    (holder,) = pids(tmp_path / "pids", 1)
    assert client.finish() == 0
    assert not is_alive(holder)
    assert kinds(trail) == []


def test_a_client_that_closes_after_the_server_has_ended_waits_no_longer_for_what_it_left(
    wrap: Wrap, tmp_path: Path, trail: Path
) -> None:
    client = wrap(*nasty("leaves_holder", tmp_path / "pids"))
    client.greet()
    (holder,) = pids(tmp_path / "pids", 1)
    server = os.getpgid(holder)
    client.send(call(2, "act"))
    wait_for(_gone([server]))
    began = time.monotonic()
    assert client.finish() == 3
    assert time.monotonic() - began < ANSWER_GRACE_S / 2
    assert not is_alive(holder)
    assert kinds(trail) == ["backend_unavailable"]


def test_a_client_that_closes_after_sigterm_gives_a_server_no_more_time(
    wrap: Wrap, tmp_path: Path, trail: Path
) -> None:
    client = wrap(*nasty("hangs_for_good", tmp_path / "pids"))
    client.greet()
    client.send(call(2, "act"))
    (server,) = pids(tmp_path / "pids", 1)
    client.process.send_signal(signal.SIGTERM)
    assert pids(tmp_path / "pids", 2) == [server, signal.SIGTERM]
    began = time.monotonic()
    assert client.finish() == -signal.SIGKILL
    assert time.monotonic() - began < ANSWER_GRACE_S / 2
    assert not is_alive(server)


def test_signals_are_passed_on(wrap: Wrap, tmp_path: Path, trail: Path) -> None:
    seen = tmp_path / "seen"
    client = wrap(*nasty("signals", seen))
    client.greet()
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT):
        client.process.send_signal(number)
        wait_for(lambda number=number: f"signal {int(number)}\n" in seen.read_text())  # type: ignore[misc]
    assert client.ask(call(2, "act"))["result"]
    assert client.finish() == 0
    assert kinds(trail) == ["completed"]


@pytest.mark.parametrize("durability", ["process", "memory"])
def test_calls_outstanding_at_sigterm_are_on_record(
    wrap: Wrap, tmp_path: Path, trail: Path, durability: str
) -> None:
    config = tmp_path / "indelible.yaml"
    config.write_text(f"audit: {{durability: {durability}}}\n")
    client = wrap(*nasty("hangs", tmp_path / "pids"), options=("-c", str(config)))
    client.greet()
    client.send(call(2, "act"), call(3, "look"))
    pids(tmp_path / "pids", 1)
    client.process.send_signal(signal.SIGTERM)
    assert client.process.wait(60) == -signal.SIGTERM
    assert kinds(trail) == ["cancelled", "cancelled"]
    assert [event["metadata"]["durability"] for event in events(trail, "audit_started")] == [durability]
    assert events(trail)[-1]["event_type"] == "audit_stopped"
