"""Five wrapped servers, as a desktop client starts them, on one trail; the one that holds it is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from indelible import verify
from indelible.cli import main
from indelible.trail.layout import Layout
from tests.integration.wrap.harness import INITIALIZE, INITIALIZED, Client, call, events, wait_for

PARROT = [sys.executable, str(Path(__file__).with_name("parrot.py"))]
SERVERS = 5
CALLS = 60
KILLED_AFTER = 20


def calls_of(number: int, first: int, last: int) -> list[bytes]:
    """Return the calls of one client: answers, tool errors and protocol errors, as they come."""
    names = ("echo", "fails", "errs")
    return [
        call(f"{number}-{at}", names[at % len(names)], text=f"client {number} call {at}")
        for at in range(first, last)
    ]


def run_alone(run: Callable[..., Client], number: int) -> bytes:
    """Return what a client of the bare server is told."""
    client = run(PARROT)
    client.greet()
    client.send(*calls_of(number, 0, CALLS))
    assert client.finish() == 0
    return bytes(client.received)


def holder_of(trail: Path) -> int | None:
    try:
        return int(json.loads(Layout(trail).lock.read_bytes())["pid"])
    except (OSError, ValueError, KeyError):
        return None


def test_the_holder_is_killed_in_the_middle_of_a_call(
    run: Callable[..., Client], wrap: Callable[..., Client], trail: Path
) -> None:
    expected = [run_alone(run, number) for number in range(SERVERS)]
    clients = []
    for _ in range(SERVERS):
        clients.append(wrap(*PARROT))
        clients[-1].greet()
    by_pid = {client.process.pid: number for number, client in enumerate(clients)}
    wait_for(lambda: holder_of(trail) in by_pid)
    victim = by_pid[holder_of(trail) or 0]
    for number, client in enumerate(clients):
        client.send(*calls_of(number, 0, KILLED_AFTER))
    clients[victim].send(*calls_of(victim, KILLED_AFTER, CALLS))
    os.kill(clients[victim].process.pid, signal.SIGKILL)
    others = [number for number in range(SERVERS) if number != victim]
    for number in others:
        clients[number].send(*calls_of(number, KILLED_AFTER, CALLS))
    for number in others:
        while clients[number].received.count(b"\n") < expected[number].count(b"\n"):
            assert clients[number]._more()
    new_holder = wait_for(lambda: (found := holder_of(trail)) in by_pid and found)
    assert by_pid[new_holder] in others
    assert [clients[number].finish() for number in others] == [0] * len(others)
    clients[victim].drain()

    for number in others:
        assert bytes(clients[number].received) == expected[number]
    assert expected[victim].startswith(bytes(clients[victim].received))
    found = events(trail)
    recorder = {number: client.process.pid for number, client in enumerate(clients)}
    for number in others:
        own = [
            event
            for event in found
            if event["event_type"] == "mcp_operation"
            and event["source"]["recorder"]["pid"] == recorder[number]
            and event["target"]["method"] == "tools/call"
        ]
        assert Counter(event["request"]["rpc_id"] for event in own) == Counter(
            json.dumps(f"{number}-{at}") for at in range(CALLS)
        )
        assert "interrupted" not in {event["outcome"]["kind"] for event in own}
    opened = [event["event_id"] for event in found if event["event_type"] == "mcp_operation_started"]
    closed = Counter(
        event["request"]["intent"]
        for event in found
        if event["event_type"] == "mcp_operation" and "intent" in event["request"]
    )
    assert closed == Counter(opened)
    assert max(Counter(event["event_id"] for event in found).values()) == 1
    assert "audit_gap" not in {event["event_type"] for event in found}
    told = [json.loads(line) for line in bytes(clients[victim].received).splitlines()[2:]]
    answered = [message["id"] for message in told if "id" in message]  # the parrot notifies as well
    recorded = {
        event["request"]["rpc_id"]
        for event in found
        if event["event_type"] == "mcp_operation" and event["source"]["recorder"]["pid"] == recorder[victim]
    }
    assert {json.dumps(rpc_id) for rpc_id in answered} <= recorded  # recorded before it was answered
    result = verify(trail)
    assert (result.ok, result.events) == (True, len(found)), result
    assert list(trail.parent.glob("audit-*-*.jsonl")) == []


def test_a_suspended_holder_is_left_alone(
    run: Callable[..., Client], wrap: Callable[..., Client], trail: Path, tmp_path: Path
) -> None:
    """What came while that was found out is recorded to the side trail, too, and nobody's answer is another.

    Nor is it lost to sinks that begin with what is recorded from now on: they get it when somebody has it shipped.
    """
    out = tmp_path / "out.log"
    config = tmp_path / "indelible.yaml"
    config.write_text(json.dumps({"audit": {"ship": "off", "sinks": [{"type": "file", "path": str(out)}]}}))
    expected = run_alone(run, 1)
    holder = wrap(*PARROT)
    holder.greet()
    wait_for(lambda: holder_of(trail) == holder.process.pid)
    os.kill(holder.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, holder.process.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        client = wrap(*PARROT)
        client.greet()
        client.send(*calls_of(1, 0, CALLS))
        assert client.finish() == 0
        said = client.stderr()
    finally:
        os.kill(holder.process.pid, signal.SIGCONT)
    assert bytes(client.received) == expected
    assert f"process {holder.process.pid}, which holds the trail, is suspended; this one records to " in said
    (beside,) = trail.parent.glob(f"audit-*-{client.process.pid}.jsonl")
    operations = [event for event in events(beside) if event["event_type"] == "mcp_operation"]
    assert [event["target"]["method"] for event in operations].count("tools/call") == CALLS
    assert verify(beside).ok
    ships = f"indelible ship --once --trail {beside} -c {config}"
    assert f"records to {beside}, which no sink gets before '{ships}'" in said
    assert main(["ship", "--once", "-c", str(config), "--trail", str(beside)]) == 0
    shipped = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [one["seq"] for one in shipped if one["event_type"] == "mcp_operation"] == [
        one["seq"] for one in operations
    ]
    assert holder.finish() == 0
    assert verify(trail).ok


def test_five_at_once_and_five_more_begin_one_trail(wrap: Callable[..., Client], trail: Path) -> None:
    """As a client does that starts all of its servers, twice: nobody makes the trail before the others come."""
    clients = [wrap(*PARROT) for _ in range(2 * SERVERS)]
    for number, client in enumerate(clients):
        client.send(INITIALIZE, INITIALIZED, *calls_of(number, 0, 10))
    for client in clients:
        while client.received.count(b"\n") < 1 + 10:
            assert client._more()
    assert [client.finish() for client in clients] == [0] * len(clients)
    found = events(trail)
    calls = [
        (event["source"]["recorder"]["pid"], event["request"]["rpc_id"])
        for event in found
        if event["event_type"] == "mcp_operation" and event["target"]["method"] == "tools/call"
    ]
    assert Counter(calls) == Counter(
        (client.process.pid, json.dumps(f"{number}-{at}"))
        for number, client in enumerate(clients)
        for at in range(10)
    )
    assert "interrupted" not in {event["outcome"]["kind"] for event in found if "outcome" in event}
    assert [event["seq"] for event in found] == list(range(len(found)))
    assert list(trail.parent.glob("audit-*-*.jsonl")) == []
    assert [client.stderr() for client in clients] == [""] * len(clients)
    result = verify(trail)
    assert (result.ok, result.events) == (True, len(found)), result
