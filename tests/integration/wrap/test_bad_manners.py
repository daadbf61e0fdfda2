"""What a server may do to its client, done through `wrap`: the same bytes, and one operation a call."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible.config import AuditSettings
from indelible.trail.start.opening import open_writer
from tests.integration.wrap.harness import (
    INDELIBLE,
    INITIALIZE,
    Client,
    call,
    events,
    isolated,
    kinds,
    nasty,
    outcomes,
    pids,
    request,
    wait_for,
    wrapped,
)

Wrap = Callable[..., Client]
Run = Callable[..., Client]

CASES: dict[str, tuple[list[bytes], list[str]]] = {
    "ok": ([call(2, "look"), call(3, "act", pw="x")], ["completed", "completed"]),
    "garbage": ([call(2, "look")], ["completed"]),
    "split": ([call(2, "look")], ["completed"]),
    "big": ([call(2, "look", size=1_000_000)], ["completed"]),
    "error": ([call(2, "act")], ["protocol_error"]),
    "is_error": ([call(2, "act")], ["tool_error"]),
    "dies": ([call(2, "act")], ["backend_unavailable"]),
    "killed": ([call(2, "look")], ["backend_unavailable"]),
    "no_newline": ([call(2, "look")], ["completed"]),
    "slow": ([call(2, "look", seconds=0.3)], ["completed"]),
    "exit3": ([], []),
    "mirror": ([b"hello\r\n", b"\n", b"\xff\xfe\n", b"[1,2\n", b"x" * 200_000 + b"\n"], []),
}


def _session(client: Client, frames: list[bytes], awaited: int | None = 0) -> int:
    """Send these, close stdin, and return the exit status; before it is closed so many bytes are awaited.

    With None all there is: the server ends by itself.
    """
    try:
        for frame in frames:
            client.send(frame)
    except BrokenPipeError:
        pass
    return client.drain() if awaited is None else client.finish(awaited)


@pytest.mark.parametrize("behaviour", CASES)
def test_transcript_exit_status_and_stderr_are_the_servers_own(behaviour: str, run: Run, trail: Path) -> None:
    frames = [] if behaviour in ("exit3", "mirror") else [INITIALIZE, request(1, "tools/list")]
    frames += CASES[behaviour][0]
    plain, tapped = run(nasty(behaviour)), run(wrapped(trail, *nasty(behaviour)))
    expected = _session(plain, frames)
    # a server from which no answer is awaited has 5 s after we have closed, and a loaded machine takes its time
    awaited = {"exit3": None, "mirror": len(plain.received)}.get(behaviour, 0)
    found = _session(tapped, frames, awaited)
    assert found == expected
    assert tapped.received == plain.received
    assert tapped.stderr() == plain.stderr()
    assert kinds(trail) == CASES[behaviour][1]


@pytest.mark.slow
def test_calls_of_a_client_that_has_left_are_answered_by_a_server_that_is_slow_to_start(
    wrap: Wrap, trail: Path
) -> None:
    """It has as long as for any answer, and not the few seconds of one that nothing is awaited from."""
    client = wrap("sh", "-c", 'sleep 7; exec "$@"', "sh", *nasty("ok"))
    assert _session(client, [INITIALIZE, request(1, "tools/list"), call(2, "look")]) == 0
    assert b'"id":2' in client.received.replace(b" ", b"")
    assert kinds(trail) == ["completed"]


def test_what_is_not_json_is_counted(wrap: Wrap, trail: Path) -> None:
    client = wrap(*nasty("garbage"))
    client.greet()
    client.send(b"what?\n", call(2, "look"))
    assert client.finish() == 0
    last = events(trail, "mcp_server_state_changed")[-1]
    assert last["state"]["to"] == "ShuttingDown"
    assert last["metadata"]["client_not_json"] == 1
    assert last["metadata"]["server_not_json"] == 3  # the blank line is nobody's
    assert last["metadata"]["server_not_jsonrpc"] == 2  # what is nested too deep to tell, and a batch of 7


def test_the_phases_of_a_child(wrap: Wrap, trail: Path) -> None:
    client = wrap(*nasty("dies"), options=("--name", "fragile"))
    client.greet()
    client.send(call(2, "act"))
    assert client.drain() == 3
    changes = events(trail, "mcp_server_state_changed")
    assert [(c["state"]["from"], c["state"]["to"]) for c in changes] == [
        ("Pending", "Initializing"),
        ("Initializing", "Ready"),
        ("Ready", "Failed"),
    ]
    assert changes[-1]["state"]["reason"] == "exited with code 3"
    assert {c["target"]["backend"] for c in changes} == {"fragile"}


def test_an_operation_says_who_called_what(wrap: Wrap, trail: Path) -> None:
    options = ("--name", "n", "--actor", "robot-7", "--caller-type", "agent")
    client = wrap(*nasty("ok"), options=options, env={"SERVER_VERSION": "0.0.1"})
    client.greet()
    client.ask(call(2, "look", a=1))
    client.ask(call("two", "act", pw="geheim-x1"))
    client.finish()
    look, act = outcomes(trail)
    assert look["source"]["user_id"] == "robot-7"
    assert look["source"]["caller_type"] == "agent"
    assert look["source"]["auth_method"] == "os"
    assert look["source"]["client"] == "raw/1"
    assert look["target"]["effects"] == "read_only"
    assert look["target"]["server_version"] == "6.6"
    assert look["target"]["protocol_version"] == "2025-06-18"
    assert len(look["target"]["tool_sha256"]) == 64
    assert "intent" not in look["request"]
    assert (look["request"]["rpc_id"], act["request"]["rpc_id"]) == ("2", '"two"')
    assert act["request"]["intent"]
    assert "geheim-x1" not in trail.read_text()
    assert look["source"]["session_id"] == act["source"]["session_id"]


def test_a_closed_stdout_ends_the_calls_at_once(wrap: Wrap, trail: Path) -> None:
    client = wrap(*nasty("closes_stdout"))
    client.greet()
    client.send(call(2, "act"))
    assert client.line() == b""  # the client sees the end, though the server lives on
    assert client.process.poll() is None
    client.send(call(3, "act"))
    assert client.finish() == 0
    assert kinds(trail) == ["backend_unavailable", "backend_unavailable"]


def test_a_closed_stdin_is_seen_by_the_client(wrap: Wrap, trail: Path) -> None:
    client = wrap(*nasty("closes_stdin"))
    client.greet()
    client.ask(call(2, "act"))

    def broken() -> bool:
        try:
            client.send(b"\n")
        except BrokenPipeError:
            return True
        return False

    wait_for(broken)
    client.process.send_signal(signal.SIGTERM)
    assert client.drain() == -signal.SIGTERM
    assert kinds(trail) == ["completed"]


def test_a_client_that_goes_away_cancels(wrap: Wrap, trail: Path, tmp_path: Path) -> None:
    client = wrap(*nasty("hangs", tmp_path / "pid"))
    client.greet()
    client.send(call(2, "act"))
    pids(tmp_path / "pid", 1)
    client.stdout.close()
    client.stdin.close()
    client.process.wait(60)
    assert kinds(trail) == ["cancelled"]


def test_a_cancelled_call_has_one_outcome_though_it_is_answered(wrap: Wrap, trail: Path) -> None:
    client = wrap(*nasty("slow"))
    client.greet()
    cancel = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2,"reason":"bored"}}\n'
    client.send(call(2, "act", seconds=0.3), cancel)
    assert json.loads(client.line())["id"] == 2
    client.finish()
    (operation,) = outcomes(trail)
    assert operation["outcome"]["kind"] == "cancelled"
    assert operation["outcome"]["error"] == "bored"


def test_sampling_is_an_event_of_its_own(wrap: Wrap, trail: Path) -> None:
    client = wrap(*nasty("asks"))
    client.greet()
    asked = client.ask(call(2, "look"))
    assert asked["method"] == "sampling/createMessage"
    client.send(b'{"jsonrpc":"2.0","id":2,"result":{"role":"assistant"}}\n')
    assert json.loads(client.line())["result"] == {"content": []}
    client.finish()
    assert kinds(trail) == ["completed"]
    (sampling,) = events(trail, "sampling")
    assert sampling["outcome"]["kind"] == "completed"


def test_a_batch_makes_an_operation_a_call(wrap: Wrap, trail: Path) -> None:
    client = wrap(*nasty("ok"))
    client.greet()
    batch = (
        b"["
        + b",".join(line.strip() for line in (call(5, "look"), call("5", "act"), request(6, "ping")))
        + b"]\n"
    )
    assert len(client.ask(batch)) == 3
    client.finish()
    assert kinds(trail) == ["completed", "completed"]


def test_frames_of_many_megabytes_pass_and_are_recorded(wrap: Wrap, trail: Path) -> None:
    client = wrap(*nasty("ok"))
    client.greet()
    assert client.ask(call(2, "act", text="x" * 20_000_000))["result"]
    client.finish()
    (operation,) = outcomes(trail)
    (intent,) = events(trail, "mcp_operation_started")
    assert intent["request"]["args_bytes"] > 20_000_000
    assert "args" not in operation["request"]  # so large, they stand in the intent only
    assert max(len(line) for line in trail.read_bytes().splitlines()) <= 65_535


def test_a_line_beyond_the_limit_is_streamed_and_recorded(wrap: Wrap, trail: Path) -> None:
    client = wrap("cat")
    text = "y" * 70_000_000
    line = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"t":"%b"}}}\n'
    pid = os.fork()
    if not pid:  # the mirror answers while we still write
        try:
            client._send_long(line % text.encode())
        finally:
            os._exit(0)
    client.stdin.close()
    assert client.line() == line % text.encode()
    os.waitpid(pid, 0)
    client.drain()
    (operation,) = outcomes(trail)
    assert operation["target"]["capability_name"] == "act"
    assert operation["metadata"]["unparsed"] == "too large"
    assert operation["outcome"]["kind"] == "cancelled"  # a mirror does not answer


def test_a_client_that_does_not_read_stops_the_server_only(wrap: Wrap, trail: Path) -> None:
    client = wrap(*nasty("mirror"))
    os.set_blocking(client.stdin.fileno(), False)
    written = 0

    def full() -> bool:
        nonlocal written
        try:
            written += os.write(client.stdin.fileno(), b"z" * 1023 + b"\n") or 0
        except BlockingIOError:
            return True
        return False

    while not full():
        assert written < 50_000_000, "nothing ever stops the client"
    os.set_blocking(client.stdin.fileno(), True)
    client.stdin.close()
    assert client.drain() == 0
    assert client.received.count(b"\n") == -(-written // 1024)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["wrap"], 2, "no command to wrap"),
        (["wrap", "--"], 2, "no command to wrap"),
        (["wrap", "--nmae", "x", "--", "true"], 2, "did you mean '--name'"),
        (["wrap", "--caller-type", "robot", "--", "true"], 2, "expected human, agent"),
        (["wrap", "--trail"], 2, "needs a value"),
        (["wrap", "-c", "missing.yaml", "--", "true"], 2, "missing.yaml"),
        (["wrap", "--", "no-such-command-here"], 3, "cannot start 'no-such-command-here'"),
        (["wrap", "--trail", ".", "--", "true"], 2, "is a directory"),
        (["wrap", "--trail", "file/x/audit.jsonl", "--", "true"], 3, "is not a directory"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [*INDELIBLE, *arguments],
        cwd=tmp_path,
        env={**os.environ, **isolated(tmp_path)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_disabled_forwards_records_nothing_and_says_so(run: Run, tmp_path: Path, trail: Path) -> None:
    (tmp_path / "off.yaml").write_text("audit: {enabled: false}\n")
    client = run(wrapped(trail, *nasty("ok"), options=("-c", "off.yaml")))
    client.greet()
    client.ask(call(2, "act"))
    assert client.finish() == 0
    assert client.stderr().count("not recorded") == 1
    assert not trail.exists()


def test_two_servers_write_one_trail(wrap: Wrap, trail: Path) -> None:
    first, second = wrap(*nasty("ok")), wrap(*nasty("ok"), options=("--name", "other"))
    for client in (first, second):
        client.greet()
        client.ask(call(2, "act"))
    assert second.finish() == first.finish() == 0
    assert first.stderr() == second.stderr() == "nasty ok\n"  # the servers' own word, and none of ours
    assert kinds(trail) == ["completed", "completed"]
    assert [path.name for path in trail.parent.glob("audit-*.jsonl")] == []


def test_a_trail_that_is_held_and_not_shared_is_no_reason_not_to_start(wrap: Wrap, trail: Path) -> None:
    holder = open_writer(trail, AuditSettings(), "alone").writer  # it does not listen
    try:
        client = wrap(*nasty("ok"))
        client.greet()
        client.ask(call(2, "act"))
        names: list[str] = wait_for(lambda: [p.name for p in trail.parent.glob("audit-*.jsonl")])
        assert client.finish() == 0
    finally:
        holder.close()
    assert names[0] in client.stderr()
    assert kinds(trail) == []
    assert kinds(trail.parent / names[0]) == ["completed"]


def test_a_trail_that_turns_out_unusable_ends_the_child(wrap: Wrap, trail: Path, tmp_path: Path) -> None:
    trail.parent.mkdir()
    trail.with_name("audit.jsonl.d").write_text("not a directory")
    client = wrap(*nasty("hangs", tmp_path / "pid"))
    assert client.drain() == 2
    assert client.stderr().strip().splitlines()[-1].startswith("indelible: ")


def test_stdin_and_stdout_stay_blocking_for_those_who_share_them(tmp_path: Path, trail: Path) -> None:
    reader, writer = os.pipe()
    done = subprocess.run(
        wrapped(trail, "cat"),
        input=b"hello\n",
        stdout=writer,
        cwd=tmp_path,
        env={**os.environ, **isolated(tmp_path)},
        check=True,
        timeout=60,
    )
    assert os.get_blocking(writer)
    assert os.read(reader, 100) == b"hello\n"
    assert done.returncode == 0
    os.close(reader)
    os.close(writer)


def test_stdout_may_be_a_file_that_is_appended_to(tmp_path: Path, trail: Path) -> None:
    out = tmp_path / "out"
    out.write_text("before\n")
    with out.open("ab") as file:
        subprocess.run(
            wrapped(trail, "cat"),
            input=b"a\n" * 50_000,
            stdout=file,
            cwd=tmp_path,
            env={**os.environ, **isolated(tmp_path)},
            check=True,
            timeout=60,
        )
    assert out.read_bytes() == b"before\n" + b"a\n" * 50_000


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_standard_descriptors_that_are_closed_hold_nobody_up_and_no_file_takes_their_place(
    closed: str, tmp_path: Path, trail: Path
) -> None:
    command = shlex.join([sys.executable, "-m", "indelible", *wrapped(trail, "cat")[len(INDELIBLE) :]])
    frames = b"".join([INITIALIZE, call(1, "act"), b'{"jsonrpc":"2.0","id":1,"result":{}}\n'])
    done = subprocess.run(
        ["sh", "-c", f"{command} {closed}"],
        input=frames,
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, **isolated(tmp_path)},
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
    assert done.stdout == (frames if closed == "2>&-" else b"")
    assert len(kinds(trail)) == (0 if "<" in closed else 1)
    assert [event["event_type"] for event in events(trail)][-1] == "audit_stopped"


def test_what_is_said_on_a_closed_stderr_is_not_said_to_the_client(tmp_path: Path) -> None:
    (tmp_path / "indelible.yaml").write_text("audit: {enabled: false}\n")
    for closed, said in (("", True), ("2>&-", False)):
        done = subprocess.run(
            ["sh", "-c", f"{shlex.quote(sys.executable)} -m indelible wrap -- cat {closed}"],
            input=b"hello\n",
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, **isolated(tmp_path)},
            timeout=60,
            check=True,
        )
        assert done.stdout == b"hello\n"
        assert (b"not recorded" in done.stderr) is said
