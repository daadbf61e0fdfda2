"""What one user may take of a service that others use too: its time, its places, its memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from indelible import verify
from indelible.query.state import trail_state
from indelible.trail.sharing import quotas, wire
from tests.integration.record.serving import (
    LIMIT_S,
    ONE,
    OTHER,
    SERVICE_UID,
    Raw,
    Service,
    event,
    wait_until,
)
from tests.integration.record.test_two_users import command, peer

pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="needs root: processes of several users cannot be started otherwise"
)
Serve = Callable[..., Service]

KEYS = 3200
"""Of the event that costs most: as many as its 64 kB hold."""


def cost_s(service: Service) -> float:
    """Return how long it takes here and now until one such event is acknowledged, when there is nothing else to do."""
    took = []
    with Raw(service.socket, "measuring") as client:
        for turn in range(5):
            args = {f"m{turn * KEYS + number}@x.io": 4 for number in range(KEYS)}
            started = time.monotonic()
            assert client.asked(event(request={"args": args}))["t"] == "ack"
            took.append(time.monotonic() - started)
    return statistics.median(took)


def users(service: Service) -> dict[int, dict[str, Any]]:
    """Return what the service says of each; a loaded machine may not answer at once."""
    found: list[list[dict[str, Any]]] = []

    def ask() -> bool:
        said = trail_state(service.path)["users"]
        found.append(said)
        return said is not None

    wait_until(ask)
    return {user["uid"]: user for user in found[-1]}


@pytest.mark.alone
@pytest.mark.parametrize(("keys", "at_once"), [(KEYS, 4), (KEYS // 16, 64)], ids=["one large", "many small"])
def test_events_that_cost_much_do_not_starve_another(serve: Serve, keys: int, at_once: int) -> None:
    """Each fills a reading of one user with as much work as a reading can hold; all within the other quotas."""
    service = serve(SERVICE_UID).start()
    cost = cost_s(service)
    alone = peer(service, OTHER, "submit", "quiet", 20, 100)["took"]
    flood = subprocess.Popen(
        command(service, ONE, "costly", "noise", keys, at_once), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert flood.stdout is not None
        assert flood.stdout.readline() == "flooding\n"
        wait_until(lambda: len(service.of(ONE)) > 2 * at_once)
        beside = peer(service, OTHER, "submit", "quiet", 40, 150)["took"]
        said = users(service)
        flood.communicate("\n", timeout=LIMIT_S)
    finally:
        flood.kill()
        flood.wait()
    assert len(beside) == 150
    assert statistics.median(beside) < 5 * statistics.median(alone) + cost / 4, cost
    assert sum(took > cost / 2 for took in beside) < len(beside) / 5
    assert said[ONE]["busy_s"] > cost / 20
    assert said[ONE]["overtime"] > 0 or keys < KEYS
    assert service.stop() == 0
    news = [entry["metadata"]["over_quota"] for entry in service.entries() if entry["event_type"] == "alert"]
    assert {about["uid"] for about in news if "overtime" in about} <= {ONE}
    assert sum(about.get("overtime", 0) for about in news) > 0 or keys < KEYS
    assert verify(service.path).ok


def test_who_is_alone_has_all_the_time(serve: Serve) -> None:
    service = serve(SERVICE_UID).start()
    args = {f"k{number}@x.io": 4 for number in range(KEYS)}
    with Raw(service.socket) as client:
        for _ in range(10):
            assert client.asked(event(request={"args": args}))["t"] == "ack"
        [user] = users(service).values()
    assert (user["overtime"], user["held_back"]) == (0, 0)
    assert user["busy_s"] > 0


def test_nobody_takes_all_places_of_recorders(serve: Serve) -> None:
    """Some are kept for whoever has few, and whoever is refused hears why."""
    service = serve(SERVICE_UID, record={"max_connections": 1000}).start()
    common = wire.MAX_RECORDERS - quotas.RESERVED_PLACES
    mine = [Raw(service.socket, f"r{number}") for number in range(common)]
    try:
        assert {client.welcome["t"] for client in mine} == {"welcome"}
        with Raw(service.socket, "more") as more:
            assert more.welcome["error"] == (
                f"user {os.getuid()} has {common} recorders, and the last {quotas.RESERVED_PLACES} places of"
                f" {wire.MAX_RECORDERS} are for users with fewer than {quotas.ASSURED_PLACES}"
            )
        assert users(service)[os.getuid()]["recorders"] == common
        assert users(service)[os.getuid()]["turned_away"] == 1
        assert len(peer(service, ONE, "submit", "jobs", 30, 20)["ids"]) == 20
        mine.pop().close()
        wait_until(lambda: users(service)[os.getuid()]["recorders"] == common - 1)
        mine.append(Raw(service.socket, "again"))
        assert mine[-1].welcome["t"] == "welcome"
        assert all(client.asked(event())["t"] == "ack" for client in mine)
    finally:
        for client in mine:
            client.close()
    assert service.stop() == 0


def test_open_calls_may_hold_so_many_bytes(serve: Serve) -> None:
    """They are kept in memory, also when their recorder has gone; the one too many is refused, and others are not."""
    service = serve(SERVICE_UID, record={"max_events_per_second": 0}).start()

    def intent() -> dict[str, Any]:
        args = {f"key {number}": "word " * 90 for number in range(120)}  # each short enough to stay whole
        return event(kind="mcp_operation_started", request={"args": args})

    first = None
    with Raw(service.socket, "left") as left:
        first = intent()
        assert left.asked(first) == {"t": "ack", "n": 1}
        line = max(len(json.dumps(entry, separators=(",", ":"))) for entry in service.entries())
        fits = quotas.MAX_OPEN_BYTES // line
        for _ in range(fits // 2):
            assert left.asked(intent())["t"] == "ack"
    with Raw(service.socket, "right") as right:
        answers = [right.asked(intent()) for _ in range(fits // 2 + 4)]
        refused = [answer["error"] for answer in answers if answer["t"] == "nack"]
        assert refused
        assert f"may not hold more than {quotas.MAX_OPEN_BYTES} with this one" in refused[0]
        assert 0 < users(service)[os.getuid()]["open_bytes"] <= quotas.MAX_OPEN_BYTES
        assert right.asked(event())["t"] == "ack"
    with Raw(service.socket, "left") as left:
        assert left.asked(event(request={"intent": first["event_id"]}))["t"] == "ack"
        assert left.asked(intent())["t"] == "ack"
    assert len(peer(service, ONE, "submit", "jobs", 30, 5)["ids"]) == 5
    assert service.stop() == 0
    assert verify(service.path).ok
