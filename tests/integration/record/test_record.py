"""`indelible record`, as one user: how it begins and ends, what it takes, and what becomes of its clients' events."""

from __future__ import annotations

import grp
import itertools
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible import verify
from indelible.errors import TrailError
from indelible.events import Event, Request, Target, new_id, now, outcome
from indelible.trail.gapfile import memory_directory
from indelible.trail.layout import Layout
from indelible.trail.sharing.sockets import connect
from tests.integration.record.serving import (
    LIMIT_S,
    ONE,
    ROOT,
    Raw,
    Service,
    Supervisor,
    as_user,
    event,
    wait_until,
)

Serve = Callable[..., Service]
INDELIBLE = [sys.executable, "-m", "indelible"]


def run(
    *args: object, env: dict[str, str] | None = None, fds: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*INDELIBLE, *map(str, args)], capture_output=True, text=True, check=False, timeout=LIMIT_S,
        env={**os.environ, **(env or {})}, pass_fds=fds,
    )  # fmt: skip


def of_calls(found: list[dict[str, Any]]) -> list[str]:
    return [entry["event_id"] for entry in found if entry["event_type"].startswith("mcp_operation")]


@pytest.mark.parametrize("durability", ["process", "memory"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_ends_well_when_told_to(serve: Serve, how: signal.Signals, durability: str) -> None:
    service = serve(audit={"durability": durability}).start()
    with Raw(service.socket) as client:
        ids = [new_id() for _ in range(100)]
        for event_id in ids:
            client.put(event(event_id))
        assert service.process is not None
        service.process.send_signal(how)
        last = 0
        while (answer := client.next()) is not None and answer["t"] != "bye":
            assert answer["t"] == "ack"
            last = answer["n"]
        assert answer == {"t": "bye"}
    assert service.process.wait(LIMIT_S) == 0
    assert not service.socket.exists()
    assert of_calls(service.entries()) == ids[: len(of_calls(service.entries()))]
    assert len(of_calls(service.entries())) == last
    assert service.entries()[-1]["event_type"] == "audit_stopped"
    result = verify(service.path)
    assert result.ok
    assert result.size == len(service.entries())


def test_only_its_user_and_group_may_connect(serve: Serve, place: Path) -> None:
    service = serve().start()
    assert stat.S_IMODE(service.socket.stat().st_mode) == 0o660
    assert service.socket.stat().st_gid == os.getgid()
    assert stat.S_IMODE(service.layout.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(service.layout.hmac_key.stat().st_mode) == 0o600
    assert service.stop() == 0
    service.start("--mode", "0600")
    assert stat.S_IMODE(service.socket.stat().st_mode) == 0o600


def test_mistakes_are_one_line_each(serve: Serve, place: Path) -> None:
    service = serve().start()
    other = place / "other.jsonl"
    taken = run("record", "--listen", place / "b.sock", "--trail", service.path)
    assert (taken.returncode, taken.stderr.count("\n")) == (3, 1)
    assert "is being written by" in taken.stderr
    again = run("record", "--listen", service.socket, "--trail", other)
    assert (again.returncode, "somebody listens here already" in again.stderr) == (3, True)
    plain = place / "plain"
    plain.write_text("mine")
    kept = run("record", "--listen", plain, "--trail", other)
    assert (kept.returncode, "is no socket" in kept.stderr) == (3, True)
    assert plain.read_text() == "mine"
    for args, said in {
        (): "say where to listen",
        ("--listen", "s", "--mode", "rw"): "--mode: expected a mode",
        ("--listen", "s", "--group", "no-such-group"): "there is no group 'no-such-group'",
    }.items():
        wrong = run("record", "--trail", other, *args)
        assert (wrong.returncode, wrong.stderr.count("\n"), said in wrong.stderr) == (2, 1, True), wrong.stderr
    through = place / "through.yaml"
    through.write_text(json.dumps({"audit": {"socket": str(service.socket)}}))
    assert "cannot be one" in run("record", "-c", through, "--listen", "s").stderr


def test_a_socket_that_cannot_be_made_leaves_no_trail_behind(serve: Serve, place: Path) -> None:
    """Neither a trail nor anything of the socket; what was there stays as it was."""
    taken = serve().start()
    (place / "plain").write_text("mine")
    before = {path for path in place.rglob("*") if not path.is_relative_to(taken.home)}
    new = place / "new" / "audit.jsonl"
    for args, code, said in (
        (
            ("--listen", place / "s", "--group", "no-such-group"),
            2,
            "--group: there is no group 'no-such-group'",
        ),
        (("--listen", place / "none" / "s"), 3, "cannot listen here: No such file"),
        (("--listen", place / "plain"), 3, "is no socket"),
        (("--listen", taken.socket), 3, "somebody listens here already"),
    ):
        done = run("record", "--trail", new, *args)
        assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (code, 1, True), done.stderr
    assert {path for path in place.rglob("*") if not path.is_relative_to(taken.home)} == before


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: another user's process has to be started")
def test_who_may_not_give_the_socket_to_a_group_hears_so_before_a_trail_is_made(place: Path) -> None:
    own = place / "own"
    own.mkdir()
    os.chown(own, ONE, ONE)
    name = next(group.gr_name for group in grp.getgrall() if group.gr_gid not in (0, ONE))
    for where, said in (
        (
            (own / "s", "--group", name),
            f"cannot be given to the group '{name}': this process is no member of it",
        ),
        ((place / "s",), "cannot listen here: Permission denied"),
    ):
        done = subprocess.run(
            [*as_user(ONE, ONE), "indelible", "record", "--trail", str(own / "audit.jsonl"), "--listen",
             *map(str, where)], capture_output=True, text=True, check=False, timeout=LIMIT_S,
            env={**os.environ, "HOME": str(place)},
        )  # fmt: skip
        assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (3, 1, True), done.stderr
    assert list(own.iterdir()) == []


def test_what_a_dead_one_left_is_replaced(serve: Serve) -> None:
    service = serve().start()
    service.kill()
    assert service.socket.is_socket()
    service.start()
    with Raw(service.socket) as client:
        assert client.asked(event())["t"] == "ack"


def test_a_socket_that_was_handed_over(serve: Serve, place: Path) -> None:
    """As systemd does: the socket is there before the service, descriptor 3, and stays after it."""
    path, trail = place / "given.sock", place / "given.jsonl"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        program = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
            "os.environ['LISTEN_FDS'] = '1'; os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
        )
        command = [sys.executable, "-c", program, str(listener.fileno())]
        process = subprocess.Popen(
            [*command, "-m", "indelible", "record", "--trail", str(trail)], pass_fds=[listener.fileno(), 3]
            if listener.fileno() != 3 else [3], stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            with Raw(path) as client:  # waits in the kernel's queue until the service is there
                assert client.asked(event())["t"] == "ack"
            process.terminate()
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
    assert path.exists()
    assert verify(trail).ok


def test_a_wrong_descriptor_is_refused(place: Path) -> None:
    program = (
        "import os, sys; os.dup2(os.open('/dev/null', 0), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        "os.environ['LISTEN_FDS'] = '1'; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "-m", "indelible", "record", "--trail", str(place / "t.jsonl")],
        capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert "descriptor 3 is no socket" in done.stderr
    assert not (place / "t.jsonl").exists()


def test_the_supervisor_is_told_and_the_watchdog_fed_while_the_disk_takes_writes(
    serve: Serve, place: Path
) -> None:
    supervisor = Supervisor(place / "notify.sock")
    try:
        service = serve()
        env = {"NOTIFY_SOCKET": str(place / "notify.sock"), "WATCHDOG_USEC": "600000"}
        service.start(env=env)
        wait_until(lambda: "READY=1" in supervisor.said and supervisor.pings() >= 3)
        aside = service.layout.directory.with_name("moved")
        service.layout.directory.rename(aside)  # it cannot be written any more: the pings cease
        assert service.process is not None
        wait_until(lambda: service.process is not None and service.process.poll() is not None)
        assert service.process.returncode == 3
        assert "STOPPING=1" in supervisor.said
    finally:
        supervisor.close()


# --- through it -----------------------------------------------------------------------------------------


def call(number: int) -> Event:
    return Event(
        timestamp=now(),
        event_type="mcp_operation",
        event_id=new_id(),
        target=Target(type="tool", method="tools/call", capability_name="t"),
        request=Request(args={"number": number, "to": "ada@example.com"}),
        outcome=outcome("completed", 1.0),
    )


def test_the_library_records_through_it(serve: Serve) -> None:
    service = serve().start()
    with indelible.open_trail(socket=service.socket) as trail:
        assert trail.path is None
        with trail.operation("tools/call", "send", args={"to": "ada@example.com"}):
            pass
    service.stop()
    [intent, done] = service.of(os.getuid())
    assert done["request"]["intent"] == intent["event_id"]
    assert done["request"]["args"] == {"to": "[EMAIL]"}
    assert done["source"]["recorder"] == {"id": "library", "uid": os.getuid(), "pid": os.getpid()}
    assert verify(service.path).ok


LOSING = """
import sys, indelible
from tests.integration.record.test_record import call
with indelible.open_trail(socket=sys.argv[1], config=sys.argv[2], on_failure="allow") as trail:
    print("open", flush=True)
    for line in sys.stdin:
        for number in range(int(line)):
            trail.record(call(number))
        print("went on", flush=True)
"""


def test_how_much_was_lost_survives_kill_9_of_a_client_too(serve: Serve) -> None:
    """Through a service there is no directory of the trail's to keep the count in: shared memory alone has it."""
    service = serve(audit={"write_timeout": "0.2s"}).start()
    client = subprocess.Popen(
        [sys.executable, "-c", LOSING, service.socket, service.config],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with client:
        assert client.stdin
        assert client.stdout
        assert client.stderr
        assert client.stdout.readline() == "open\n"
        service.kill()
        client.stdin.write("3\n")
        client.stdin.flush()
        assert client.stdout.readline() == "went on\n"
        client.kill()
        assert "cannot be kept" not in client.stderr.read()
    service.start()
    with indelible.open_trail(socket=service.socket):
        pass
    with indelible.open_trail(socket=service.socket):  # once
        pass
    service.stop()
    [gap] = [entry["metadata"] for entry in service.entries() if entry["event_type"] == "audit_gap"]
    assert (gap["lost"], gap["of"]["pid"]) == (3, client.pid)
    memory = memory_directory(through(service.socket))
    assert memory is not None
    assert not memory.exists()


def through(socket_path: Path) -> Layout:
    layout = Layout(socket_path)
    layout.socket = layout.active
    return layout


def test_no_service_is_one_clear_error(place: Path) -> None:
    with pytest.raises(TrailError, match="is 'indelible record' at work"):
        indelible.open_trail(socket=place / "none.sock")


@contextmanager
def recording(service: Service, threads: int) -> Iterator[list[str]]:
    """Record through the service from so many threads; yield the ids of what was acknowledged so far."""
    acknowledged: list[str] = []
    ended = threading.Event()

    def work(start: int) -> None:
        for number in itertools.count(start):
            if ended.is_set():
                return
            made = call(number)
            trail.record(made)
            acknowledged.append(made.event_id)

    with indelible.open_trail(config=service.config, socket=service.socket, on_failure="deny") as trail:
        working = [threading.Thread(target=work, args=(100_000 * index,)) for index in range(threads)]
        for thread in working:
            thread.start()
        try:
            yield acknowledged
        finally:
            ended.set()
            for thread in working:
                thread.join()


def test_a_client_waits_for_a_service_that_starts_anew_and_never_takes_over(serve: Serve) -> None:
    """Killed again and again under four recording threads: nothing that was acknowledged is lost, nothing doubled."""
    service = serve(audit={"write_timeout": "60s", "max_size_mb": 0.1, "backup_count": 1000}).start()
    with recording(service, threads=4) as acknowledged:
        for _ in range(5):
            before = len(acknowledged)
            wait_until(lambda before=before: len(acknowledged) > before + 50)  # type: ignore[misc]
            service.kill()
            assert service.layout.lock.exists()
            service.start()
        before = len(acknowledged)
        wait_until(lambda: len(acknowledged) > before + 50)
    service.stop()
    found = Counter(of_calls(service.entries()))
    assert set(acknowledged) <= set(found)
    assert max(found.values()) == 1
    holders = {e["source"]["recorder"]["pid"] for e in service.entries() if e["event_type"] == "audit_started"}
    assert os.getpid() not in holders
    assert verify(service.path).ok


def test_the_key_changes_while_clients_record(serve: Serve) -> None:
    """Three keys, and a service killed between two of them: nothing is lost, and the first key leads to the last."""
    service = serve(audit={"write_timeout": "60s"}).start()
    with recording(service, threads=2) as acknowledged:
        wait_until(lambda: acknowledged and service.layout.vkey.exists())
        first = newest = service.layout.vkey.read_text().strip()
        for turn in range(2):
            before = len(acknowledged)
            wait_until(lambda before=before: len(acknowledged) > before + 20)  # type: ignore[misc]
            done = run("keygen", "--rotate", "--overlap", "0s", "-c", service.config, "--json")
            assert done.returncode == 0, done.stderr
            newest = json.loads(done.stdout)["to"]
            if not turn:
                service.kill()
                service.start()
        wait_until(lambda: service.layout.vkey.read_text().strip() == newest)
        before = len(acknowledged)
        wait_until(lambda: len(acknowledged) > before + 20)
    service.stop()
    found = Counter(of_calls(service.entries()))
    assert set(acknowledged) <= set(found)
    assert max(found.values()) == 1
    assert [entry["event_type"] for entry in service.entries()].count("key_rotated") == 2
    for vkey in (first, newest):
        result = verify(service.path, vkey)
        assert result.ok, [str(finding) for finding in result.findings]


LOSES = """
import logging, os, signal, sys
import indelible
from tests.integration.record.test_record import call
logging.basicConfig()
with indelible.open_trail(config=sys.argv[1], socket=sys.argv[2], on_failure="allow") as trail:
    trail.record(call(1))
    print("recorded", flush=True)
    sys.stdin.readline()
    for number in range(5):
        trail.record(call(number))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_client_lost_the_next_one_says(serve: Serve) -> None:
    """The count stands in shared memory, under the socket's name: the next client of the same user reports it."""
    service = serve(audit={"write_timeout": "0.2s"}).start()
    command = [sys.executable, "-c", LOSES, str(service.config), str(service.socket)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "recorded\n"
        service.kill()
        _, said = process.communicate("go\n", timeout=60)
    assert "cannot be kept" not in said
    service.start()
    indelible.open_trail(config=service.config, socket=service.socket).close()
    service.stop()
    [gap] = [entry["metadata"] for entry in service.entries() if entry["event_type"] == "audit_gap"]
    assert gap["lost"] == 5
    assert gap["of"]["pid"] == process.pid
    assert verify(service.path).ok


def test_calls_that_are_open_while_the_service_dies_get_their_outcome_or_are_interrupted(serve: Serve) -> None:
    service = serve(audit={"write_timeout": "60s"}).start()
    with indelible.open_trail(config=service.config, socket=service.socket) as trail:
        with trail.operation("tools/call", "alive"):
            service.kill()
            service.start()
        program = (
            "import indelible, os, sys; t = indelible.open_trail(socket=sys.argv[1]);"
            "t.operation('tools/call', 'dead').__enter__(); os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", program, str(service.socket)], check=False, timeout=LIMIT_S)
        wait_until(lambda: len(outcomes(service)) == 2)
    service.stop()
    assert outcomes(service) == {"alive": "completed", "dead": "interrupted"}


def outcomes(service: Service) -> dict[str, str]:
    return {
        entry["target"]["capability_name"]: entry["outcome"]["kind"]
        for entry in service.entries()
        if entry["event_type"] == "mcp_operation"
    }


def test_wrap_records_through_it(serve: Serve, place: Path) -> None:
    service = serve().start()
    through = place / "through.yaml"
    through.write_text(json.dumps({"audit": {"socket": str(service.socket), "on_failure": "deny"}}))
    server = ["--", sys.executable, "-c", "import sys; [print(line, end='', flush=True) for line in sys.stdin]"]
    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo"}}) + "\n"
    for where in (["-c", str(through)], ["--socket", str(service.socket)]):
        done = subprocess.run(
            [*INDELIBLE, "wrap", *where, *server], input=asked, capture_output=True, text=True, check=False,
            timeout=LIMIT_S, env={**os.environ, "XDG_STATE_HOME": str(place / "own")},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    service.stop()
    calls = [entry for entry in service.of(os.getuid()) if entry["event_type"] == "mcp_operation"]
    assert [entry["target"]["capability_name"] for entry in calls] == ["echo", "echo"]
    assert not (place / "own" / "indelible" / "audit.jsonl").exists()


# --- what it says of itself -----------------------------------------------------------------------------


def test_status_shows_who_records_and_who_is_over_a_quota(serve: Serve) -> None:
    service = serve(record={"max_connections": 2}).start()
    with Raw(service.socket, "one") as one, Raw(service.socket, "two"):
        one.asked(event())
        assert one.asked(event(seq=7))["t"] == "nack"
        with Raw(service.socket, "three") as three:
            assert three.welcome["t"] == "refused"
            assert three.welcome["error"] == f"user {os.getuid()} has 2 connections, and may have no more"
        state = json.loads(run("status", "--trail", service.path, "--json").stdout)
        assert [(r["recorder"], r["uid"]) for r in state["recorders"]] == [
            ("one", os.getuid()),
            ("two", os.getuid()),
        ]
        [user] = state["users"]
        assert (user["uid"], user["connections"], user["turned_away"], user["refused"]) == (
            os.getuid(),
            2,
            1,
            1,
        )
        shown = run("status", "--trail", service.path).stdout
        assert f"user {os.getuid()}" in shown
        assert "1 connection turned away" in shown
    service.stop()
    alerts = [entry["metadata"]["over_quota"] for entry in service.entries() if entry["event_type"] == "alert"]
    assert sum(alert.get("turned_away", 0) for alert in alerts) == 1
    assert sum(alert.get("refused", 0) for alert in alerts) == 1


def test_whoever_asks_over_the_service_learns_of_his_own_user_only(serve: Serve) -> None:
    service = serve().start()
    with connect(service.socket, LIMIT_S) as sock:
        data = b'{"t":"ask"}'
        sock.sendall(len(data).to_bytes(4, "big") + data)
        size = int.from_bytes(sock.recv(4), "big")
        state = json.loads(sock.recv(size))
    assert [user["uid"] for user in state["users"]] == [os.getuid()]
