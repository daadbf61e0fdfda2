"""A service under fire: it lives, others' events are recorded once and in order, and its memory stays within bounds.

The hostile client is one user, the honest ones are others. Every run says its seed; the same seed says the same things.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible import verify
from indelible.events import ClientEventType
from tests.integration.record.hostile import NAME, Hostile
from tests.integration.record.serving import (
    CLIENTS_GID,
    LIMIT_S,
    ONE,
    OTHER,
    SERVICE_UID,
    Service,
    as_user,
    wait_until,
)
from tests.integration.record.test_two_users import command

pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="needs root: processes of several users cannot be started otherwise"
)
Serve = Callable[..., Service]
CLIENT = Path(__file__).parents[3] / "examples" / "clients" / "python" / "indelible_client.py"

MAX_GROWTH = 96 << 20
"""Bytes: what a hostile user may make the service hold. His open calls, what waits, answers that he does not read, and
what each of his connections has cached, by the quotas; an allocator's slack."""


def resident(service: Service) -> int:
    """Return the most memory that the service has had at a time, in bytes."""
    assert service.process is not None
    text = Path(f"/proc/{service.process.pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM"))


def fire(serve: Serve, seed: int, seconds: float) -> None:
    service = serve(SERVICE_UID, audit={"max_size_mb": 1, "backup_count": 1000}).start()
    service.socket.chmod(0o666)
    before = resident(service)
    hostile = Hostile(service.socket, seed)
    honest = {
        uid: subprocess.Popen(
            command(service, uid, "submit", "honest", seconds, 10**6),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for uid in (ONE, OTHER)
    }
    said: dict[int, list[str]] = {}
    try:
        order = list(hostile.ways)
        hostile.random.shuffle(order)
        until = time.monotonic() + seconds
        rounds = 0
        while time.monotonic() < until or rounds < len(order):
            (order[rounds] if rounds < len(order) else hostile.random.choice(order))()
            rounds += 1
            assert service.process is not None
            assert service.process.poll() is None, f"seed {seed}: {service.errors.read_text()[-2000:]}"
        for uid, client in honest.items():
            out, err = client.communicate(timeout=seconds + LIMIT_S)
            assert client.returncode == 0, f"seed {seed}: {err}"
            said[uid] = json.loads(out)["ids"]
        grown = resident(service) - before
    finally:
        hostile.close()
        for client in honest.values():
            client.kill()
            client.communicate()
    after = subprocess.run(
        [*as_user(OTHER, OTHER, [CLIENTS_GID]), str(CLIENT), str(service.socket), "5"],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert after.stdout == "acknowledged 5, refused 0\n", f"seed {seed}: {after.stderr}"
    assert service.stop() == 0, f"seed {seed}"
    judge(service, said, seed)
    assert grown < MAX_GROWTH, f"seed {seed}: {grown} bytes"


def judge(service: Service, said: dict[int, list[str]], seed: int) -> None:
    """Everybody's events are there once, in order, under their own names, and nothing that no client may record."""
    entries = service.entries()
    for uid, ids in said.items():
        assert len(ids) > 10
        mine = [
            e["event_id"]
            for e in entries
            if e["source"]["recorder"]["uid"] == uid and e["source"]["recorder"]["id"] == "honest"
        ]
        assert mine == ids, f"seed {seed}"
    own = [e for e in entries if e["source"]["recorder"]["uid"] == os.getuid()]
    assert own
    assert {e["event_type"] for e in own} <= set(ClientEventType.__args__)  # type: ignore[attr-defined]
    assert {e["source"]["recorder"]["pid"] for e in own} >= {os.getpid()}
    assert all(e["metadata"]["claimed"] is True for e in own if e["event_type"] == "audit_gap")
    # Who sends an event twice, and not as sent again, has it twice: that is his own word. Nobody else's is doubled.
    others = Counter(e["event_id"] for e in entries if e["source"]["recorder"]["uid"] != os.getuid())
    assert max(others.values()) == 1, f"seed {seed}"
    assert [e["seq"] for e in entries] == list(range(len(entries)))
    assert "Traceback" not in service.errors.read_text(), f"seed {seed}: {service.errors.read_text()[-3000:]}"
    result = verify(service.path)
    assert result.ok, f"seed {seed}: {result.findings[:3]}"
    assert result.size == len(entries)
    assert any(e["source"]["recorder"]["id"] == NAME for e in own)


@pytest.mark.parametrize("seed", [1, 20261121])
def test_a_service_under_fire(serve: Serve, seed: int) -> None:
    fire(serve, seed, 4)


@pytest.mark.long
def test_a_service_under_long_fire(serve: Serve) -> None:
    fire(
        serve,
        int(os.environ.get("INDELIBLE_SEED", time.time_ns() % 10**9)),
        float(os.environ.get("INDELIBLE_FIRE_S", "600")),
    )


def test_a_thousand_connections(serve: Serve) -> None:
    """Of one user, who never says anything over them: others are let in all the same."""
    service = serve(SERVICE_UID).start()
    service.socket.chmod(0o666)
    hostile = Hostile(service.socket, 0)
    for _ in range(1000 // 60 + 1):
        hostile.many_hellos()
    honest = subprocess.run(
        command(service, ONE, "submit", "honest", LIMIT_S, 20),
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * LIMIT_S,
    )
    assert len(json.loads(honest.stdout)["ids"]) == 20
    assert service.process is not None
    descriptors = Path(f"/proc/{service.process.pid}/fd")
    wait_until(lambda: len(list(descriptors.iterdir())) < 100)
    assert service.stop() == 0
    assert verify(service.path).ok
