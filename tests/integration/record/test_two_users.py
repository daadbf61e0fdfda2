"""A service of one user, recorders of others: they can add to the trail, and can do nothing else to it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indelible import verify
from indelible.query.state import trail_state
from indelible.trail.sharing import quotas
from tests.integration.record.serving import (
    CLIENTS_GID,
    LIMIT_S,
    ONE,
    OTHER,
    SERVICE_UID,
    STRANGER,
    Raw,
    Service,
    as_user,
    event,
    wait_until,
)

pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="needs root: processes of several users cannot be started otherwise"
)
PEER = Path(__file__).with_name("peer.py")
CLIENT = Path(__file__).parents[3] / "examples" / "clients" / "python" / "indelible_client.py"
Serve = Callable[..., Service]


def command(service: Service, uid: int, *args: object, groups: tuple[int, ...] = (CLIENTS_GID,)) -> list[str]:
    return [*as_user(uid, uid, groups), str(PEER), str(service.socket), *map(str, args)]


def peer(service: Service, uid: int, *args: object, groups: tuple[int, ...] = (CLIENTS_GID,)) -> Any:
    """Run a client to its end; return what it says."""
    done = subprocess.run(
        command(service, uid, *args, groups=groups),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def talk(service: Service, uid: int, *messages: dict[str, Any], name: str = "files") -> Any:
    return peer(service, uid, "say", json.dumps({"recorder": name}), *map(json.dumps, messages))


def put(number: int, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"t": "put", "n": number, "id": body["event_id"], "body": body, **more}


def files(service: Service) -> dict[str, int]:
    """Return whose each file of the trail is."""
    return {str(path): path.lstat().st_uid for path in (service.state, *service.state.rglob("*"))}


def test_they_add_to_a_trail_that_they_can_neither_read_nor_change(serve: Serve) -> None:
    service = serve(SERVICE_UID).start()
    said = {uid: peer(service, uid, "submit", "jobs", 30, 20) for uid in (ONE, OTHER)}
    for uid, about in said.items():
        assert [entry["event_id"] for entry in service.of(uid)] == about["ids"]
    wait_until(lambda: (state := trail_state(service.path))["unsealed"] == 0 and state["checkpoint"])
    before, lines = files(service), service.path.read_bytes()
    assert set(before.values()) == {SERVICE_UID}
    assert str(service.layout.hmac_key) in before
    for uid in (ONE, OTHER, STRANGER):
        could = peer(service, uid, "try", *before, service.layout.directory, service.layout.socket)
        assert could["uid"] == uid
        assert could["could"] == []
    assert (files(service), service.path.read_bytes()) == (before, lines)
    assert service.stop() == 0
    assert verify(service.path).ok


def test_who_is_not_in_the_group_is_not_let_in(serve: Serve) -> None:
    service = serve(SERVICE_UID).start()
    done = subprocess.run(
        command(service, STRANGER, "submit", "jobs", 1, 1, groups=()), capture_output=True, text=True, check=False,
        timeout=LIMIT_S,
    )  # fmt: skip
    assert "PermissionError" in done.stderr


def test_nobody_passes_for_another(serve: Serve) -> None:
    """The same name, another user: another key, another identity; uid, pid, name and seq are not his to choose."""
    service = serve(SERVICE_UID).start()
    one, two = event(), event()
    forged = [
        event(source={"recorder": {"id": "files", "uid": SERVICE_UID, "pid": 1}}),
        event(source={"recorder": {"id": "record", "uid": OTHER}}),
        event(source={"recorder": {"id": "files", "uid": OTHER, "pid": 1}}),
        event(seq=0),
        event(kind="audit_stopped"),
        event(kind="file_opened", metadata={"origin": "indelible/" + "0" * 32}),
        event(kind="retention_applied", metadata={"pruned": [[0, 5]]}),
    ]
    first = talk(service, ONE, put(1, one))
    second = talk(service, OTHER, put(1, two), *(put(at, body) for at, body in enumerate(forged, 2)))
    assert first["welcome"]["digest_key"] != second["welcome"]["digest_key"]
    assert first["welcome"]["digest_key_id"] != second["welcome"]["digest_key_id"]
    assert [answer["t"] for answer in second["answers"]] == ["ack"] + ["nack"] * len(forged)
    assert [entry["source"]["recorder"] for entry in service.of(ONE)] == [
        {"id": "files", "uid": ONE, "pid": first["pid"]}
    ]
    assert [entry["source"]["recorder"] for entry in service.of(OTHER)] == [
        {"id": "files", "uid": OTHER, "pid": second["pid"]}
    ]
    assert service.stop() == 0
    assert verify(service.path).ok


def test_the_trails_orders_are_not_theirs_to_give(serve: Serve) -> None:
    service = serve(SERVICE_UID).start()
    said = talk(service, ONE, {"t": "order", "order": {"what": "retain"}})
    assert said["answers"] == [{"t": "end"}]
    assert peer(service, ONE, "submit", "jobs", 30, 1)["ids"]


def test_a_digest_under_anothers_key_is_refused(serve: Serve) -> None:
    service = serve(SERVICE_UID).start()
    other = talk(service, OTHER, put(1, event()))["welcome"]["digest_key_id"]
    request = {"args": {"a": 1}, "args_bytes": 7, "args_hmac": "0" * 64, "hmac_key_id": other}
    [answer] = talk(service, ONE, put(1, event(request=request)))["answers"]
    assert "the id that came with the welcome" in answer["error"]


def test_neither_resent_events_nor_open_calls_are_anothers(serve: Serve) -> None:
    service = serve(SERVICE_UID).start()
    theirs = event()
    talk(service, ONE, put(1, theirs))
    # The same id, "sent again" by another: it is his event, and not taken for the one that is there already.
    [answer] = talk(service, OTHER, put(1, theirs, again=True))["answers"]
    assert answer["t"] == "ack"
    assert [
        entry["source"]["recorder"]["uid"]
        for entry in service.entries()
        if entry["event_id"] == theirs["event_id"]
    ]
    assert len(service.of(ONE)) == len(service.of(OTHER)) == 1
    service.kill()  # and the same after a restart, from what stands in the files
    service.start()
    talk(service, ONE, put(1, theirs, again=True))
    assert len(service.of(ONE)) == 1

    intent = event(kind="mcp_operation_started")
    waiting = subprocess.Popen(
        command(service, ONE, "say", json.dumps({"recorder": "files"}), json.dumps(put(1, intent)), "{}"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_until(lambda: intent["event_id"] in {entry["event_id"] for entry in service.entries()})
        os.kill(waiting.pid, 0)
        closing = event(request={"intent": intent["event_id"]})
        again = event(intent["event_id"], kind="mcp_operation_started")
        said = talk(service, OTHER, put(1, closing), put(2, again))["answers"]
        assert {answer.get("error") for answer in said} == {"it opens or closes a call of another recorder"}
    finally:
        waiting.kill()
        waiting.communicate()
    wait_until(lambda: any(entry.get("outcome", {}).get("kind") == "interrupted" for entry in service.of(ONE)))
    assert service.stop() == 0
    assert verify(service.path).ok


@pytest.mark.alone
def test_a_flood_of_one_user_does_not_starve_another(serve: Serve) -> None:
    """Floods with what is taken, what is refused, half and huge messages, on more connections than he may have."""
    service = serve(SERVICE_UID, record={"max_events_per_second": 2000, "max_connections": 8}).start()
    alone = peer(service, OTHER, "submit", "quiet", 3, 100)["took"]
    flood = subprocess.Popen(
        command(service, ONE, "flood", "noise", 16), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert flood.stdout is not None
        assert flood.stdout.readline() == "flooding\n"
        wait_until(lambda: len(service.of(ONE)) > 2000)
        beside = peer(service, OTHER, "submit", "quiet", 20, 100)["took"]
        answers, _ = flood.communicate("\n", timeout=LIMIT_S)
    finally:
        flood.kill()
        flood.wait()
    assert len(beside) == 100
    assert json.loads(answers)["answers"] > 0
    # He waits for one reading of the other's at most, beside what a loaded machine does to everybody.
    assert statistics.median(beside) < 0.25 + 20 * statistics.median(alone)
    assert service.stop() == 0
    news = [entry["metadata"]["over_quota"] for entry in service.entries() if entry["event_type"] == "alert"]
    assert {about["uid"] for about in news} == {ONE}
    assert sum(about.get("held_back", 0) for about in news) > 0
    assert sum(about.get("turned_away", 0) for about in news) > 0
    assert sum(about.get("refused", 0) for about in news) > 0
    assert all("seq" not in json.dumps(entry.get("metadata")) for entry in service.of(ONE))
    assert verify(service.path).ok


def test_kill_9_and_restart_lose_and_double_nothing_of_two_users(serve: Serve) -> None:
    service = serve(
        SERVICE_UID, audit={"durability": "process", "max_size_mb": 0.2, "backup_count": 1000}
    ).start()
    clients = {
        uid: subprocess.Popen(
            [*as_user(uid, uid, [CLIENTS_GID]), str(CLIENT), str(service.socket), "800"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for uid in (ONE, OTHER)
    }  # fmt: skip
    done = threading.Event()

    def restart() -> None:
        for round_ in range(3):
            wait_until(lambda wanted=200 * (round_ + 1): done.is_set() or len(service.entries()) > wanted)  # type: ignore[misc]
            service.kill()
            service.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    try:
        for client in clients.values():
            out, err = client.communicate(timeout=3 * LIMIT_S)
            assert (out, client.returncode) == ("acknowledged 800, refused 0\n", 0), err
    finally:
        done.set()
        for client in clients.values():
            client.kill()
            client.wait()
        restarting.join()
    assert service.stop() == 0
    for uid in clients:
        found = Counter(entry["event_id"] for entry in service.of(uid))
        assert len(found) == 800
        assert max(found.values()) == 1
        order = [entry["request"]["args"]["number"] for entry in service.of(uid)]
        assert order == sorted(order)
    assert verify(service.path).ok


def test_nobody_may_have_any_number_of_open_calls(serve: Serve) -> None:
    """Each is kept in memory until its outcome comes: also those that were left behind by an earlier connection."""
    service = serve(SERVICE_UID, record={"max_events_per_second": 0}).start()
    refusal = f"user {os.getuid()} has {quotas.MAX_OPEN_CALLS} open calls, and may have no more"
    intents = [event(kind="mcp_operation_started") for _ in range(quotas.MAX_OPEN_CALLS)]
    half = len(intents) // 2
    for part in (intents[:half], intents[half:]):
        left = Raw(service.socket, "left")
        for intent in part:
            assert left.asked(intent)["t"] == "ack"
        left.close()
    with Raw(service.socket, "right") as right:
        assert right.asked(event(kind="mcp_operation_started"))["error"] == refusal
        assert right.asked(event())["t"] == "ack"
    with Raw(service.socket, "left") as left:  # who comes back finds them again, and closes one
        assert left.asked(event(kind="mcp_operation_started"))["error"] == refusal
        assert left.asked(event(request={"intent": intents[0]["event_id"]}))["t"] == "ack"
        assert left.asked(event(kind="mcp_operation_started"))["t"] == "ack"
    assert peer(service, OTHER, "submit", "other", 10, 50)["welcome"]["t"] == "welcome"
    assert service.stop() == 0
    assert verify(service.path).ok


def test_what_a_holder_died_of_is_set_aside_once_however_often_it_is_sent(serve: Serve) -> None:
    service = serve(SERVICE_UID).start()
    assert service.stop() == 0
    bad = event()
    service.layout.suspect.write_text(bad["event_id"] + "\n")  # as the holder leaves it that dies of this event
    os.chown(service.layout.suspect, SERVICE_UID, CLIENTS_GID)
    service.start()
    with Raw(service.socket) as client:
        said = {client.asked(bad, deaths=2**62)["error"] for _ in range(20)}
    assert len(said) == 1
    assert "set aside in quarantine/" in said.pop()
    assert service.stop() == 0
    assert len(list(service.layout.quarantine.iterdir())) == 1
    assert sum("quarantined" in entry.get("metadata", {}) for entry in service.entries()) == 1
    assert verify(service.path).ok
