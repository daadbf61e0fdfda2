"""The witness as people run it: real processes, killed at random moments; and what it holds against a trail."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible import cli
from indelible.cli import witness as cli_witness
from indelible.trail.layout import Layout
from indelible.trail.proofs.cosignature import cosignatures
from indelible.trail.start.keys import generate_pem
from indelible.witness.state import origin_hash
from tests.copying import copy_trail
from tests.effort import LONG
from tests.trails import ORIGIN, SIGNER, VKEY
from tests.witnesses import History, Running, get, history, post, witness
from tests.witnesses import end as end_witness

KILLS = 500 if LONG else 50
WAIT_S = 60.0
ROOT = Path(__file__).parents[3]
NURSERY = Path(__file__).with_name("nursery.py")
COMMAND = [sys.executable, "-m", "indelible"]


def run(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "XDG_STATE_HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd)}
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )


# --- killed ---------------------------------------------------------------------------------------------


class Client:
    """Submits one of two histories, a step at a time, to whichever witness is at work; keeps what was signed."""

    def __init__(self, log: History, address: Callable[[], str], signed: dict[int, set[bytes]]) -> None:
        self._log = log
        self._address = address
        self._signed = signed
        self._old = 0
        self._random = random.Random(len(signed))
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            size = min(self._old + self._random.randint(0, 3), self._log.size)
            try:
                answer = post(self._address(), self._log.submission(self._old, size).data())
            except (OSError, http.client.HTTPException):
                time.sleep(0.005)  # it was just killed: the next one listens soon
                continue
            if answer.status == 200:
                self._signed.setdefault(size, set()).add(self._log.checkpoint(size).root)
                self._old = size
            elif answer.status == 409:
                self._old = min(int(answer.body), self._log.size)
            else:
                assert answer.status == 422, answer
                self._old = 0


class Nursery:
    """Witnesses with one state, one after the other; see nursery.py."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "witness.log").open("wb")
        command = [sys.executable, str(NURSERY), str(folder / "state"), VKEY]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._pid = 0
        self.address = "127.0.0.1:1"

    def start(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        pid, port = self._process.stdout.readline().split()
        self._pid, self.address = int(pid), f"127.0.0.1:{port}"

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        self._process.communicate(timeout=WAIT_S)
        self._log.close()


def test_killed_at_any_moment_it_never_signs_two_histories(tmp_path: Path) -> None:
    """Two histories that part after their tenth event are submitted all the while by four clients."""
    logs = [history(6000), history(6000, "evil", 10)]
    signed: dict[int, set[bytes]] = {}
    witnesses = Nursery(tmp_path)
    clients = [Client(log, lambda: witnesses.address, signed) for log in logs * 2]
    chance = random.Random(1)
    newest = b""
    try:
        for _ in range(KILLS):
            witnesses.start()
            before = len(signed)
            end = time.monotonic() + WAIT_S
            while len(signed) == before and time.monotonic() < end:
                time.sleep(0.001)  # at least one more, however slow the machine
            time.sleep(chance.random() * 0.05)
            witnesses.kill()
        for client in clients:
            client.stop.set()
            client.thread.join(WAIT_S)
        witnesses.start()
        newest = get(witnesses.address, f"/{origin_hash(ORIGIN)}/checkpoint").body
        witnesses.kill()
    finally:
        for client in clients:
            client.stop.set()
        witnesses.close()
    assert all(len(roots) == 1 for roots in signed.values()), "one size, two roots"
    beyond = [size for size in signed if size > 10]
    assert len(beyond) > KILLS / 2, "hardly anything was signed: this shows nothing"
    histories = {
        index for size in beyond for index, log in enumerate(logs) if log.checkpoint(size).root in signed[size]
    }
    assert len(histories) == 1, "both histories were signed"
    assert int(newest.split(b"\n")[1]) >= max(signed), "what was signed is remembered"
    said = (tmp_path / "witness.log").read_text()
    assert "Traceback" not in said
    assert "nothing was cosigned" not in said


# --- a trail and its witness ----------------------------------------------------------------------------

RECORD = """
import sys, indelible
with indelible.open_trail(config="indelible.yaml") as trail:
    for number in range(int(sys.argv[1])):
        with trail.operation("tools/call", sys.argv[2], user_id="ada"):
            pass
"""


def record(folder: Path, count: int, name: str) -> str:
    """Record in a process of its own; return what it said on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", RECORD, str(count), name],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a directory with a trail that has a checkpoint already, so that its key is known."""
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "indelible.yaml").write_text("audit: {path: audit.jsonl}\n")
    record(folder, 1, "first")
    return folder


def configure(folder: Path, running: Running) -> None:
    anchors = [
        {"type": "http", "url": running.url, "vkey": running.key.vkey(), "name": "w1", "every": 0},
        {"type": "file", "path": "../kept", "every": 0},
    ]
    (folder / "indelible.yaml").write_text(json.dumps({"audit": {"path": "audit.jsonl", "anchors": anchors}}))


def problems(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    assert done.stderr == b"", done.stderr
    return [finding["problem"] for finding in json.loads(done.stdout)["findings"]]


ATTACKS = {
    "rollback": (0, ["rolled back"]),
    "truncation and continuation, shorter": (3, ["rolled back"]),
    "truncation and continuation, longer": (200, ["forked"]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_who_has_every_file_and_the_key_is_found_out(place: Path, tmp_path: Path, attack: str) -> None:
    """The trail is put back as it was, and goes on otherwise: witness, kept file and `verify` all say no."""
    count, expected = ATTACKS[attack]
    key = (place / "audit.jsonl.d" / "key.vkey").read_text().strip()
    with witness(tmp_path, [key]) as running:
        configure(place, running)
        copy_trail(place, tmp_path / "copy")
        assert record(place, 40, "good") == ""
        w1 = tmp_path / "w1.vkey"
        w1.write_text(running.key.vkey() + "\n")
        cosigned = tmp_path / "cosigned"
        cosigned.write_bytes((place / "audit.jsonl.d" / "witnessed" / "w1").read_bytes())
        good = run(
            "verify", "--checkpoint", cosigned, "--checkpoint", "../kept", "--witness", w1, "--json", cwd=place
        )
        assert (good.returncode, problems(good)) == (0, [])

        shutil.rmtree(place)
        copy_trail(tmp_path / "copy", place)
        said = record(place, count, "evil") if count else record(place, 0, "evil")
        assert "rolled back" in said, said
        assert run("verify", cwd=place).returncode == 0, "by itself it looks right"
        status = json.loads(run("status", "--json", cwd=place).stdout)
        assert [anchor["failures"] > 0 for anchor in status["anchors"] if anchor["name"] == "w1"] == [True]
        served = get(running.address, f"/{origin_hash(status['origin'])}/checkpoint").body
        assert served == cosigned.read_bytes(), "the witness has signed nothing since"

        from_witness = tmp_path / "served"
        from_witness.write_bytes(served)
        sources = [
            option
            for source in (cosigned, from_witness, tmp_path / "kept")
            for option in ("--checkpoint", source)
        ]
        found = run("verify", *sources, "--json", cwd=place)
        assert found.returncode == 1
        assert set(problems(found)) == set(expected)
        assert [kept["ok"] for kept in json.loads(found.stdout)["kept"]] == [False] * 3
        asked = run("verify", "--witness", w1, "--json", cwd=place)
        assert (asked.returncode, problems(asked)) == (1, ["not witnessed"])


def test_truncation_alone(place: Path, tmp_path: Path) -> None:
    key = (place / "audit.jsonl.d" / "key.vkey").read_text().strip()
    with witness(tmp_path, [key]) as running:
        configure(place, running)
        assert record(place, 40, "good") == ""
    lines = (place / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (place / "audit.jsonl").write_bytes(b"".join(lines[:20]))
    found = run("verify", "--checkpoint", tmp_path / "kept", "--json", cwd=place)
    assert found.returncode == 1
    assert "tail cut off" in problems(found)


def test_two_of_three_witnesses(place: Path, tmp_path: Path) -> None:
    """k of n: and it is always said whose cosignature was not at hand."""
    key = (place / "audit.jsonl.d" / "key.vkey").read_text().strip()
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    names = [f"witness.example/{folder.name}" for folder in folders]
    with (
        witness(folders[0], [key], names[0]) as a,
        witness(folders[1], [key], names[1]) as b,
        witness(folders[2], [key], names[2]) as c,
    ):
        anchors = [
            {"type": "http", "url": one.url, "vkey": one.key.vkey(), "name": name, "every": 0}
            for one, name in ((a, "a"), (b, "b"))
        ]
        (place / "indelible.yaml").write_text(
            json.dumps({"audit": {"path": "audit.jsonl", "anchors": anchors}})
        )
        record(place, 10, "good")
        keys = [option for one in (a, b, c) for option in ("--witness", one.key.vkey())]
    two = run("verify", *keys, "--witnesses", "2", "--json", cwd=place)
    assert (two.returncode, problems(two)) == (0, [])
    value = json.loads(two.stdout)
    assert [one["witness"] for one in value["witnesses"]] == [a.key.vkey(), b.key.vkey()]
    assert any(names[2] in text for text in value["not_checked"])
    for options in (keys, [*keys, "--witnesses", "3"]):
        three = run("verify", *options, "--json", cwd=place)
        assert (three.returncode, problems(three)) == (1, ["not witnessed"])
    text = run("verify", *keys, "--witnesses", "2", cwd=place).stdout.decode()
    assert text.count("witnessed: ") == 2


def test_a_cosignature_that_is_not_right_is_no(place: Path, tmp_path: Path) -> None:
    key = (place / "audit.jsonl.d" / "key.vkey").read_text().strip()
    with witness(tmp_path, [key]) as running:
        configure(place, running)
        record(place, 5, "good")
    kept = Layout(place / "audit.jsonl").witnessed / "w1"
    note = kept.read_bytes()
    head, _, last = note.removesuffix(b"\n").rpartition(b" ")
    flipped = b"B" if last[20:21] == b"A" else b"A"
    kept.write_bytes(head + b" " + last[:20] + flipped + last[21:] + b"\n")
    with pytest.raises(Exception, match="wrong"):
        cosignatures(kept.read_bytes(), [running.key])
    found = run("verify", "--witness", running.key.vkey(), "--json", cwd=place)
    assert found.returncode == 1
    assert problems(found) == ["checkpoint invalid", "not witnessed"]
    kept.write_bytes(note.rpartition("— ".encode())[0])
    found = run("verify", "--witness", running.key.vkey(), "--json", cwd=place)
    assert problems(found) == ["not witnessed"]


# --- the command ----------------------------------------------------------------------------------------


def test_a_key_that_others_may_read_is_said_at_its_start(tmp_path: Path) -> None:
    key = tmp_path / "witness.pem"
    key.write_text(generate_pem().decode())
    for mode in (0o644, 0o600):
        key.chmod(mode)
        with witness(tmp_path, [VKEY]):
            pass
    [said] = (tmp_path / "witness.log").read_text().splitlines()
    assert said.endswith(f" {key}: others may read the private key in it (mode 0644): chmod 600 {key}")


def test_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_witness, "_log_to_stderr", lambda: None)  # a handler would outlive the test
    pem = generate_pem().decode()
    (tmp_path / "w.pem").write_text(pem)
    secret = pem.splitlines()[1][24:34]
    known = ["witness", "--key", "w.pem", "--name", "w"]
    assert cli.main([*known, "--show"]) == 0
    vkey = capsys.readouterr().out.strip()
    assert vkey.startswith("w+")
    assert cli.main([*known, "--show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vkey"] == vkey
    (tmp_path / "file").write_text("")
    wrong: dict[int, list[list[str]]] = {
        2: [
            ["witness"],
            known,
            [*known, "--state", "s"],
            [*known, "--state", "s", "--log", "nonsense"],
            [*known, "--state", "s", "--log", pem],
            [*known, "--state", "s", "--log", "w.pem"],
            ["verify", "--witness", pem],
            ["verify", "--witness", "w.pem"],
            [*known, "--state", "s", "--log", "file"],
            [*known, "--state", "s", "--log", vkey],
            [*known, "--state", "s", "--log", VKEY, "--listen", "nowhere"],
            [*known, "--state", "s", "--log", VKEY, "--listen", "127.0.0.1:70000"],
            ["witness", "--key", "file", "--name", "w", "--show"],
            ["witness", "--key", "missing", "--name", "w", "--show"],
            ["witness", "--key", "w.pem", "--name", "two words", "--show"],
        ],
        3: [
            [*known, "--state", "file", "--log", VKEY],
            [*known, "--state", "s", "--log", VKEY, "--listen", "192.0.2.1:1"],
        ],
    }
    for code, commands in wrong.items():
        for command in commands:
            assert cli.main(command) == code, command
            said = capsys.readouterr()
            assert (said.out, said.err.count("\n")) == ("", 1), said
            assert secret not in said.err
            assert said.err.startswith("indelible: ")


def test_it_ends_well_and_two_do_not_share_a_state(tmp_path: Path) -> None:
    log = history(5)
    with witness(tmp_path, [VKEY]) as running:
        assert post(running.address, log.submission(0, 5).data()).status == 200
        command: list[str | Path] = [
            "witness",
            "--key",
            tmp_path / "witness.pem",
            "--name",
            "witness.example/w1",
        ]
        command += ["--state", tmp_path / "state"]
        second = run(*command, "--log", VKEY, "--listen", "127.0.0.1:0", cwd=tmp_path)
        assert second.returncode == 3
        assert b"another witness" in second.stderr
        assert end_witness(running) == 0
    assert SIGNER.verifier.vkey() == VKEY
    with witness(tmp_path, [VKEY]) as running:
        assert post(running.address, log.submission(0, 4).data()).status == 409
