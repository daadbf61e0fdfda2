"""`keygen --rotate` and `--lost`, as users run them, while processes write the trail."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import indelible
from indelible import cli
from indelible.trail.layout import Layout
from indelible.trail.start import maintain
from indelible.trail.start.keys import generate_pem

from .conftest import Run

WRITER = """
import sys, indelible
with indelible.open_trail(sys.argv[1]) as trail:
    print("open", flush=True)
    for line in sys.stdin:
        with trail.operation("tools/call", line.strip()):
            pass
        print("done", flush=True)
"""


class Process:
    """A process that has the trail open and records a call for each line that it is given."""

    def __init__(self, trail: Path) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(trail)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.say()

    def say(self) -> None:
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline()

    def call(self, name: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(name + "\n")
        self.popen.stdin.flush()
        self.say()

    def end(self) -> None:
        self.popen.communicate(timeout=60)


def one_line(result: subprocess.CompletedProcess[bytes], code: int) -> str:
    text = result.stderr.decode()
    assert (result.returncode, text.count("\n"), text[:11]) == (code, 1, "indelible: "), (result, text)
    assert result.stdout == b""
    return text


def everything(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(directory)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
    }


def calls(path: Path) -> list[str]:
    return [event["target"]["capability_name"] for event in indelible.search(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail" / "audit.jsonl"


def test_the_holder_takes_a_new_key_up_without_a_restart_though_nothing_happens(run: Run, path: Path) -> None:
    holder, other = Process(path), Process(path)
    holder.call("before")
    old = Layout(path).vkey.read_text().strip()
    done = run("keygen", "--rotate", "--trail", path, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    about = json.loads(done.stdout)
    assert (about["from"], about["taken_up"]) == (old, True)
    assert Layout(path).vkey.read_text().strip() == about["to"] != old
    other.call("after")
    for pinned in (old, about["to"]):
        assert run("verify", "--trail", path, "--vkey", pinned).returncode == 0
    os.kill(holder.popen.pid, signal.SIGKILL)
    holder.end()
    other.call("taken over")
    other.end()
    assert calls(path) == ["before", "after", "taken over"]
    result = run("verify", "--trail", path, "--vkey", old)
    assert result.returncode == 0
    assert f"accepted key: {about['to']}".encode() in result.stdout
    listed = run("log", "--trail", path, "--events", "key_rotated", "--json").stdout.splitlines()
    assert [json.loads(line)["metadata"]["to"] for line in listed] == [about["to"]]


def test_killed_at_any_moment_a_rotation_is_whole_or_not_there(run: Run, path: Path) -> None:
    """The command that rotates is killed; whatever it left, the next start goes on and the first key leads there."""
    with indelible.open_trail(path):
        pass
    first = Layout(path).vkey.read_text().strip()
    for delay in range(12):
        command = [sys.executable, "-m", "indelible", "keygen", "--rotate", "--trail", str(path)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = Layout(path).key.read_bytes()
        deadline = time.monotonic() + 60
        while (
            Layout(path).key.read_bytes() == before and process.poll() is None and time.monotonic() < deadline
        ):
            time.sleep(0.001)
        time.sleep(delay * 0.01)
        process.kill()
        process.wait()
        with indelible.open_trail(path) as trail, trail.operation("tools/call", f"c{delay}"):
            pass
        result = indelible.verify(path, first)
        assert result.ok, [str(finding) for finding in result.findings]
        if delay == 5:
            first = Layout(path).vkey.read_text().strip()  # eight keys at most sign at a time
            shutil.rmtree(path.parent)
            with indelible.open_trail(path):
                pass
            first = Layout(path).vkey.read_text().strip()
    listed = [event["metadata"] for event in indelible.search(path, events="key_rotated")]
    assert len({said["to"] for said in listed}) == len(listed) > 0


def test_a_changed_key_is_refused_and_nothing_is_touched(run: Run, path: Path) -> None:
    with indelible.open_trail(path):
        pass
    Layout(path).key.write_bytes(generate_pem())
    before = everything(path.parent)
    vkey = Layout(path).vkey.read_text().strip()
    wrap = run("wrap", "--trail", path, "--", "true")
    assert f"the key has changed: the trail was signed by {vkey}, the key at hand is" in wrap.stderr.decode()
    assert f"or use 'indelible keygen --rotate --trail {path}'\n" in wrap.stderr.decode()
    said = one_line(run("keygen", "--rotate", "--trail", path), 2)
    assert f"is not the key that the trail was signed with: {vkey}; put that one back" in said
    assert everything(path.parent) == before
    for command in ("log", "verify", "status"):
        assert run(command, "--trail", path).returncode == 0
    with pytest.raises(indelible.ConfigError, match="the key has changed"):
        indelible.open_trail(path)
    assert everything(path.parent) == before


def test_a_key_that_others_may_read_is_said_at_each_start(run: Run, path: Path) -> None:
    with indelible.open_trail(path):
        pass
    key = Layout(path).key
    assert run("wrap", "--trail", path, "--", "true").stderr == b""
    key.chmod(0o644)
    for _ in range(2):
        wrap = run("wrap", "--trail", path, "--", "true")
        said = f"indelible: {key}: others may read the private key in it (mode 0644): chmod 600 {key}\n"
        assert (wrap.returncode, wrap.stderr.decode()) == (0, said)
    assert run("keygen", "--rotate", "--trail", path).returncode == 0
    assert run("wrap", "--trail", path, "--", "true").stderr == b"", "a new file is for its owner alone"


def test_keys_that_are_for_somebody_else_to_change(run: Run, path: Path, tmp_path: Path) -> None:
    pem = tmp_path / "signing.pem"
    pem.write_bytes(generate_pem())
    config = tmp_path / "c.yaml"
    config.write_text(f"audit: {{path: {path}, key_file: {pem}}}\n")
    with indelible.open_trail(config=config):
        pass
    config.write_text(f"audit: {{path: {path}, key_env: SIGNING_KEY}}\n")
    before = everything(tmp_path)
    said = one_line(run("keygen", "--rotate", "-c", config, SIGNING_KEY=pem.read_text()), 2)
    assert "the key comes from $SIGNING_KEY: put a new one" in said
    link = tmp_path / "link.pem"
    link.symlink_to(pem)
    config.write_text(f"audit: {{path: {path}, key_file: {link}}}\n")
    assert "is a symbolic link, which is not replaced" in one_line(run("keygen", "--rotate", "-c", config), 2)
    link.unlink()
    config.write_text(f"audit: {{path: {path}, key_env: SIGNING_KEY}}\n")
    assert everything(tmp_path) == before
    pem.chmod(0o400)
    config.write_text(f"audit: {{path: {path}, key_file: {pem}}}\n")
    assert run("keygen", "--rotate", "-c", config).returncode == 0
    assert (stat.S_IMODE(pem.stat().st_mode), pem.read_bytes().count(b"BEGIN")) == (0o400, 2)
    assert not Layout(path).key.exists()


def test_wrong_usage_is_one_line(run: Run, path: Path) -> None:
    assert "there is no trail here" in one_line(run("keygen", "--rotate", "--trail", path), 3)
    assert "say one of" in one_line(run("keygen", "--rotate", "--show"), 2)
    assert "--overlap goes with --rotate" in one_line(run("keygen", "--show", "--overlap", "1d"), 2)
    assert "--overlap: expected a duration" in one_line(run("keygen", "--rotate", "--overlap", "soon"), 2)
    assert not path.parent.exists()


def test_a_lost_key(run: Run, path: Path) -> None:
    with indelible.open_trail(path) as trail, trail.operation("tools/call", "old"):
        pass
    assert "is not lost" in one_line(run("keygen", "--lost", "--trail", path), 2)
    Layout(path).key.unlink()
    before = everything(path.parent)
    with pytest.raises(indelible.ConfigError, match="the key that signed the trail is missing"):
        indelible.open_trail(path)
    assert everything(path.parent) == before
    done = run("keygen", "--lost", "--trail", path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert run("verify", "--trail", path).returncode == 0
    assert b": key lost, " in run("verify", "--trail", path).stdout


def test_who_interrupts_a_rotation_is_told_what_becomes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "audit.jsonl"
    with indelible.open_trail(path):
        pass

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(maintain, "_take_up", interrupted)
    monkeypatch.setattr(cli, "_discard_output", lambda: None)  # the tests' own output
    before = Layout(path).key.read_bytes()
    assert cli.main(["keygen", "--rotate", "--trail", str(path)]) == 130
    assert Layout(path).key.read_bytes() != before
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("indelible: interrupted: a new key")
