"""`restore`, as users run it; and what the commands show of a trail that follows others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import indelible
from indelible.trail.layout import Layout

from .conftest import COMMAND, Run


def record(path: Path, *names: str) -> Path:
    with indelible.open_trail(path) as trail:
        for name in names:
            with trail.operation("tools/call", name, user_id="ada"):
                pass
    return path


def calls(run: Run, path: Path, *more: str) -> list[str]:
    done = run("log", "--trail", path, "--json", *more)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line)["target"]["capability_name"] for line in done.stdout.splitlines()]


def one_line(done: subprocess.CompletedProcess[bytes], code: int) -> str:
    text = done.stderr.decode()
    assert (done.returncode, text.count("\n"), text[:11]) == (code, 1, "indelible: "), (done, text)
    assert done.stdout == b""
    return text


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup of a trail that went on."""
    path = record(tmp_path / "live" / "audit.jsonl", "one", "two")
    subprocess.run(["cp", "-a", path.parent, tmp_path / "backup"], check=True)
    record(path, "later")
    return tmp_path / "backup"


def test_restored_events_are_listed_found_proved_and_verified(run: Run, tmp_path: Path, backup: Path) -> None:
    target = tmp_path / "target" / "audit.jsonl"
    dry = run("restore", backup, "--trail", target, "--dry-run", "--json")
    assert json.loads(dry.stdout)["dry_run"] is True
    assert not target.parent.exists()
    done = run("restore", backup, "--trail", target, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    said = json.loads(done.stdout)
    assert said["restored"] == json.loads(dry.stdout)["restored"]
    record(target, "three")
    assert calls(run, target) == ["one", "two", "three"]
    assert calls(run, target, "--tool", "two") == ["two"]
    assert calls(run, target, "-n", "2") == ["two", "three"]
    assert [event["target"]["capability_name"] for event in indelible.search(target, tool="one")] == ["one"]
    status = json.loads(run("status", "--trail", target, "--json").stdout)
    assert status["origin"] == said["successor"]
    assert len(status["earlier"]) == 1
    assert b"  follows " in run("status", "--trail", target).stdout
    verified = json.loads(run("verify", "--trail", target, "--json").stdout)
    assert verified["ok"]
    assert [(item["origin"], item["why"], item["ok"]) for item in verified["previous"]] == [
        (said["restored"]["origin"], "restored", True)
    ]
    (old,) = (
        json.loads(line)
        for line in run("log", "--trail", target, "--json", "--tool", "one").stdout.splitlines()
    )
    proved = run("prove", old["event_id"], "--trail", target)
    assert proved.returncode == 0
    (tmp_path / "proof").write_bytes(proved.stdout)
    (tmp_path / "line").write_bytes(run("log", "--trail", target, "--json", "--tool", "one").stdout)
    vkey = Layout(Path(status["earlier"][0])).vkey
    judged = run("verify", "--proof", tmp_path / "proof", "--line", tmp_path / "line", "--vkey", vkey)
    assert judged.returncode == 0


def test_what_cannot_be_restored_is_one_line(run: Run, tmp_path: Path, backup: Path) -> None:
    target = tmp_path / "target" / "audit.jsonl"
    assert "there is no trail here" in one_line(run("restore", tmp_path / "no", "--trail", target), 2)
    assert "a trail stands there; --replace" in one_line(
        run("restore", backup, "--trail", tmp_path / "live" / "audit.jsonl"), 2
    )
    altered = tmp_path / "altered"
    shutil.copytree(backup, altered)
    trail = altered / "audit.jsonl"
    trail.write_bytes(trail.read_bytes().replace(b'"two"', b'"owt"'))
    assert "--damaged restores it all the same" in one_line(run("restore", altered, "--trail", target), 1)
    foreign = Layout(record(tmp_path / "other" / "audit.jsonl")).vkey
    assert "the backup is not what was sealed" in one_line(
        run("restore", backup, "--trail", target, "--vkey", foreign), 1
    )
    assert not target.parent.exists()
    assert "missing argument" in one_line(run("restore"), 2)


def test_killed_at_any_moment_and_given_again(run: Run, tmp_path: Path, backup: Path) -> None:
    """However far it came, in the end every event is there once, and one trail leads to them."""
    trail = backup / "audit.jsonl"
    whole = False
    for round_ in range(8):
        target = tmp_path / f"target{round_}" / "audit.jsonl"
        command = [*COMMAND, "restore", str(trail), "--trail", str(target)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        steps = [Layout(target).lock, Layout(target).retired, Layout(target).directory / "retiring", target]
        while not steps[round_ % 4].exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(0.001 * (round_ // 4))
        process.send_signal(signal.SIGKILL)
        whole = process.wait() == 0 or whole
        again = run("restore", trail, "--trail", target)
        assert again.returncode in (0, 2), again.stderr  # 2: a trail stands there, since it came to its end
        record(target, "new")
        result = indelible.verify(target)
        assert result.ok, [str(finding) for finding in result.findings]
        assert [(earlier.why, earlier.ok) for earlier in result.previous] == [("restored", True)]
        assert calls(run, target) == ["one", "two", "new"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
def test_a_disk_that_is_too_small(run: Run, tmp_path: Path, backup: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", str(small)], check=True)
    try:
        said = one_line(run("restore", backup, "--trail", small / "t" / "audit.jsonl"), 3)
        assert "bytes are free" in said or "are free" in said or "No space left on device" in said
        assert not (Layout(small / "t" / "audit.jsonl").retired / ".restoring").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_an_interrupt_leaves_nothing_half_done(tmp_path: Path, backup: Path) -> None:
    target = tmp_path / "target" / "audit.jsonl"
    program = (
        "import sys, os, signal\n"
        "from indelible.trail import durable\n"
        "real = durable.write_all\n"
        "def slow(fd, data):\n"
        "    real(fd, data)\n"
        "    if 'restoring' in os.readlink(f'/proc/self/fd/{fd}'):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "durable.write_all = slow\n"
        "from indelible.cli import main\n"
        f"sys.exit(main(['restore', {str(backup)!r}, '--trail', {str(target)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"")
    assert not target.exists()
    assert list(Layout(target).retired.iterdir()) == []
