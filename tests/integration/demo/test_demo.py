"""The demo, as a stranger starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
DEMO = [sys.executable, "-m", "indelible", "demo"]

KINDS = {
    "list_accounts": "completed",
    "create_account": "completed",
    "welcome": "completed",
    "send_mail": "tool_error",
    "charge_card": "tool_error",
    "wait_for_approval": "cancelled",
    "delete_account": "completed",
    "crash": "backend_unavailable",
    "git_commit": "completed",
    "git_show": "tool_error",
    "list_directory": "completed",
}


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "node_modules" / ".bin"), os.environ["PATH"]])
    return {**os.environ, "PATH": path}


def processes_about(text: str) -> list[str]:
    """Return the command lines of living processes that name `text`."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if text in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str], float]:
    """Play the demo once: the folder of its trail, what it said, how long it took."""
    folder = tmp_path_factory.mktemp("demo") / "trail"
    started = time.monotonic()
    done = subprocess.run(
        [*DEMO, "--trail", str(folder)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    return folder, done, time.monotonic() - started


Played = tuple[Path, subprocess.CompletedProcess[str], float]


def test_it_ends_by_itself_and_well(played: Played) -> None:
    folder, done, seconds = played
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert seconds < 120
    assert "left out" not in done.stdout
    assert "\x1b" not in done.stdout, "escapes although this is no terminal"
    assert processes_about(str(folder)) == []


def test_every_call_is_in_the_trail_with_what_became_of_it(played: Played) -> None:
    folder, _, _ = played
    events = [json.loads(line) for line in (folder / "audit.jsonl").read_bytes().splitlines()]
    calls = [event for event in events if event["event_type"] == "mcp_operation"]
    assert len(calls) == 22
    backends = Counter(event["target"]["backend"] for event in calls)
    assert backends == {"files": 6, "git": 5, "desk": 10, "inside": 1}
    kinds = {event["target"]["capability_name"]: event["outcome"]["kind"] for event in calls}
    assert {name: kinds.get(name) for name in KINDS} == KINDS


@pytest.mark.parametrize(("backend", "name"), [("desk", "ada"), ("inside", "joan")])
def test_a_passphrase_is_gone_for_its_mark_alone(played: Played, backend: str, name: str) -> None:
    folder, _, _ = played
    events = [json.loads(line) for line in (folder / "audit.jsonl").read_bytes().splitlines()]
    [event] = [
        event
        for event in events
        if event["event_type"] == "mcp_operation"
        and (event["target"]["backend"], event["target"]["capability_name"]) == (backend, "create_account")
    ]
    assert event["request"]["args"]["passphrase"] == "[REDACTED]"
    assert event["request"]["args"]["name"] == name
    assert set(event["request"]["args"]["contact"].values()) == {"[REDACTED]"}


def test_what_it_proposes_works_as_printed(played: Played) -> None:
    _, done, _ = played
    proposed = [line.strip() for line in done.stdout.partition("What to try next")[2].splitlines()]
    commands = [line for line in proposed if " log " in line or " status " in line or " verify " in line]
    assert len(commands) == 4
    for command in commands:
        ran = subprocess.run(command, shell=True, cwd=Path.cwd(), capture_output=True, check=False, timeout=60)
        assert ran.returncode == 0, command
    [spoil] = [line for line in proposed if line.startswith("sed ")]
    subprocess.run(spoil, shell=True, check=True, timeout=60)
    after = subprocess.run(commands[-1], shell=True, capture_output=True, check=False, timeout=60)
    assert after.returncode == 1


def test_a_trail_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_text("mine\n")
    done = subprocess.run(
        [*DEMO, "--trail", str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "audit.jsonl").read_text() == "mine\n"
    assert [path.name for path in tmp_path.iterdir()] == ["audit.jsonl"]


def at_work(server: str, *options: str, **env: str) -> subprocess.Popen[str]:
    """Start the demo, and return it when a server's first call has been answered."""
    demo = subprocess.Popen(
        [*DEMO, *options],
        env={**environment(), **env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith(f"  {server}") and " from " not in line:
            break
    return demo


def test_ctrl_c_says_where_a_trail_is_that_nobody_named(tmp_path: Path) -> None:
    demo = at_work("desk", TMPDIR=str(tmp_path))
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=60)
    [folder] = tmp_path.glob("indelible-demo-*")
    assert demo.returncode == 130
    assert errors == f"indelible: demo: interrupted; what was recorded so far is in {folder}\n"
    assert b'"mcp_operation"' in (folder / "audit.jsonl").read_bytes()


@pytest.mark.parametrize("server", ["files", "desk"])
def test_ctrl_c_leaves_no_process_behind(tmp_path: Path, server: str) -> None:
    folder = tmp_path / "trail"
    demo = at_work(server, "--trail", str(folder))
    assert processes_about(str(folder)), "nothing was running"
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130, errors
    assert errors == ""
    deadline = time.monotonic() + 60
    while processes_about(str(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_about(str(folder)) == []
