"""kill -9 of `wrap` amid sessions: what was answered is on record once, what was not is `interrupted`."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import indelible
from tests.effort import KILLS
from tests.integration.wrap.harness import Client, call, events, nasty, wait_for

Wrap = Callable[..., Client]

SESSIONS = KILLS * 15 // 200 or 1  # a session takes several times what a start of the trail alone does


def killed_session(wrap: Wrap, session: int, delay_s: float) -> list[str]:
    """Make calls one after the other until `wrap` is killed; return the names of those that were answered."""
    client = wrap(*nasty("behave"), options=("--name", "victim"))
    client.greet()

    def kill() -> None:
        time.sleep(delay_s)  # the random moment itself, not a wait for a condition
        client.process.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    answered: list[str] = []
    try:
        for number in range(10, 100_000):
            name = f"act {session}.{number}"
            client.send(call(number, name, x="y" * (number % 300)))
            line = client.line()
            if not line.endswith(b"\n"):
                break
            assert "result" in json.loads(line)
            answered.append(name)
    except BrokenPipeError:
        pass
    killer.join()
    client.process.wait(60)
    return answered


def session_killed_amid_a_call(wrap: Wrap, trail: Path, name: str) -> None:
    """Leave one intent open for certain: the random moments only may."""
    client = wrap(*nasty("hangs"), options=("--name", "victim"))
    client.greet()
    client.send(call(10, name))
    wait_for(lambda: name.encode() in trail.read_bytes())
    client.process.kill()
    client.process.wait(60)


@pytest.mark.sampled
@pytest.mark.timeout(60 + 10 * SESSIONS)
def test_nothing_answered_is_missing_and_nothing_stays_open(wrap: Wrap, trail: Path) -> None:
    moments = random.Random("wrap")
    answered: list[str] = []
    for session in range(SESSIONS):
        answered += killed_session(wrap, session, moments.uniform(0.02, 0.3))
    session_killed_amid_a_call(wrap, trail, "act last")
    assert wrap(*nasty("behave"), options=("--name", "victim")).finish() == 0

    operations = events(trail, "mcp_operation")
    recorded = Counter(event["target"]["capability_name"] for event in operations)
    assert len(answered) > SESSIONS
    assert [name for name in answered if recorded[name] != 1] == []
    intents = [event["event_id"] for event in events(trail, "mcp_operation_started")]
    closed = Counter(event["request"]["intent"] for event in operations)
    assert {intent: closed[intent] for intent in intents} == dict.fromkeys(intents, 1)
    interrupted = {
        event["target"]["capability_name"] for event in operations if event["outcome"]["kind"] == "interrupted"
    }
    assert "act last" in interrupted
    assert interrupted.isdisjoint(answered)
    assert indelible.verify(trail).ok
