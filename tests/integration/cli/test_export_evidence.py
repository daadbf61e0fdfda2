"""`export --evidence` and `verify.py`, as processes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from indelible.query.evidence.bundle import VERIFIER
from tests.integration.cli.conftest import COMMAND, Run
from tests.integration.cli.test_commands import one_line
from tests.trails import ORIGIN, VKEY, Maker, at, erased, erasure, operation
from tests.unit.trail.verify.sealed import edit_lines


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    maker = Maker(tmp_path / "trails" / "audit.jsonl").add_many(60)
    maker.rotate(compress=True)
    maker.add_many(20, lambda number: operation(number, source__user_id="eve", source__session_id="s2"))
    return maker.seal().add_many(3)


@pytest.fixture
def trail(maker: Maker) -> Path:
    return maker.layout.active


def verify(bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(VERIFIER), str(bundle), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def seqs_in(bundle: Path) -> list[int]:
    with zipfile.ZipFile(bundle) as archive:
        return [json.loads(line)["seq"] for line in archive.read("lines.jsonl").splitlines()]


def test_a_bundle(run: Run, trail: Path, tmp_path: Path) -> None:
    target = tmp_path / "e.zip"
    result = run(
        "export", "--evidence", target, "--trail", trail, "--user", "eve", "--note", "case 12", "--vkey", VKEY
    )
    digest = sha256(target.read_bytes()).hexdigest()
    assert result.stdout.decode().splitlines()[0] == f"{target}: 20 events of {ORIGIN}, seq 62 to 81"
    assert result.stdout.decode().endswith(f", SHA-256 {digest}\n")
    assert (result.returncode, result.stderr) == (0, b"")
    assert seqs_in(target) == list(range(62, 82))
    done = verify(target, "--vkey", VKEY)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("options", "seqs"),
    [
        (["--session", "s2"], range(62, 82)),
        (["--request-id", "r7", "--request-id", "r70"], [7, 70]),
        (["--since", at(10), "--until", at(13)], [10, 11, 12]),
        (["--events", "all"], range(82)),
        (["--events", "file_opened"], [0, 61]),
        (["--tool", "read_file", "--status", "success", "--since", at(80)], [80, 81]),
    ],
)
def test_the_filters_are_those_of_log(
    run: Run, trail: Path, tmp_path: Path, options: list[str], seqs: list[int]
) -> None:
    result = run("export", "--evidence", tmp_path / "e.zip", "--trail", trail, *options)
    assert result.returncode == 0, result.stderr
    assert seqs_in(tmp_path / "e.zip") == list(seqs)
    logged = run("log", "--json", "-n", "0", "--trail", trail, *options).stdout.splitlines()
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        assert archive.read("lines.jsonl").splitlines() == [
            line for line in logged if json.loads(line)["seq"] < 82
        ]


def test_as_json(run: Run, trail: Path, tmp_path: Path) -> None:
    result = run("export", "--evidence", tmp_path / "e.zip", "--trail", trail, "--json")
    value = json.loads(result.stdout)
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        assert value["manifest"] == json.loads(archive.read("MANIFEST.json"))
    assert (value["file"], value["size"]) == (str(tmp_path / "e.zip"), (tmp_path / "e.zip").stat().st_size)
    assert value["manifest"]["made_by"]["login"]
    assert (
        result.stderr
        == b"indelible: 3 events that no checkpoint covers yet: not in the bundle, but counted there\n"
    )


def test_what_is_erased_is_said(run: Run, maker: Maker, trail: Path, tmp_path: Path) -> None:
    maker.add(erasure(maker, 70))
    maker.seal()
    edit_lines(trail, lambda lines: lines.__setitem__(9, erased(lines[9], 70)))
    result = run("export", "--evidence", tmp_path / "e.zip", "--trail", trail, "--user", "eve")
    assert b"19 events, and 1 erased line and 1 record of erasures" in result.stdout
    assert b"1 erased line: whether they would match nobody can tell" in result.stderr
    assert verify(tmp_path / "e.zip").returncode == 0


def test_the_answer_is_no(run: Run, trail: Path, tmp_path: Path) -> None:
    target = tmp_path / "e.zip"
    export = ("export", "--evidence", target, "--trail", trail)
    assert "no event matches; no bundle is made" in one_line(run(*export, "--user", "nobody"), 1)
    edit_lines(trail, lambda lines: lines.__setitem__(5, lines[5].replace(b'"eve"', b'"bob"')))
    assert "line altered" in one_line(run(*export, "--user", "eve"), 1)
    assert not target.exists()
    result = run(*export, "--user", "eve", "--damaged")
    assert result.returncode == 1
    assert b"the trail is not what was sealed" in result.stderr
    assert b"the bundle names it" in result.stderr
    assert len(seqs_in(target)) == 19
    assert "altered elsewhere" in verify(target).stdout


def test_usage(run: Run, trail: Path, tmp_path: Path) -> None:
    target = tmp_path / "e.zip"
    assert "--evidence FILE.zip" in one_line(
        run("export", "--evidence", target, "--tiles", "x", "--trail", trail), 2
    )
    assert "--evidence FILE.zip" in one_line(run("export", "--trail", trail), 2)
    for options in (["--request-id", "r1"], ["--note", "x"]):
        said = one_line(run("export", "--tiles", tmp_path / "log", "--trail", trail, *options), 2)
        assert f"{options[0]} goes with --evidence" in said
    assert "empty value" in one_line(run("export", "--evidence", target, "--trail", trail, "--user", ""), 2)
    assert "expected the name of a file" in one_line(run("export", "--evidence", "", "--trail", trail), 2)
    assert "is a directory" in one_line(run("export", "--evidence", tmp_path, "--trail", trail), 2)
    assert "no such directory" in one_line(
        run("export", "--evidence", tmp_path / "x" / "y", "--trail", trail), 2
    )
    assert "no trail" in one_line(run("export", "--evidence", target, "--trail", tmp_path / "x.jsonl"), 3)
    assert run("export", "--evidence", target, "--trail", trail).returncode == 0
    assert "--force" in one_line(run("export", "--evidence", target, "--trail", trail), 2)
    assert run("export", "--evidence", target, "--trail", trail, "--force").returncode == 0


def test_what_is_no_utf8_is_escaped(run: Run, trail: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff")
    asked = ("--user", "eve", "--user", odd, "--note", odd, "--json")
    result = run("export", "--evidence", tmp_path / "e.zip", "--trail", trail, *asked)
    manifest = json.loads(result.stdout)["manifest"]
    assert (manifest["note"], manifest["asked"]["user"]) == ("\\udcff", ["\\udcff", "eve"])
    assert verify(tmp_path / "e.zip").returncode == 0


def test_the_verifier_alone(run: Run, trail: Path) -> None:
    result = run("export", "--verifier", "--trail", trail)
    assert (result.returncode, result.stdout) == (0, VERIFIER.read_bytes())


def test_one_that_is_killed_leaves_no_bundle_and_the_next_is_whole(
    run: Run, home: dict[str, str], trail: Path, tmp_path: Path
) -> None:
    """Wherever it is killed: under its name stands nothing, or all of it."""
    target = tmp_path / "e.zip"
    command = [*COMMAND, "export", "--evidence", str(target), "--trail", str(trail), "--force"]
    begin = time.monotonic()
    subprocess.run(command, env=home, check=True, capture_output=True)
    whole = time.monotonic() - begin
    target.unlink()
    for part in (0.6, 0.8, 0.9, 0.97):
        process = subprocess.Popen(command, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=part * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert not target.exists() or verify(target).returncode == 0
    assert run(*command[len(COMMAND) :]).returncode == 0
    assert verify(target).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir() if "zip" in path.name) == ["e.zip"]


def test_on_a_terminal_nothing_of_the_bar_is_left(home: dict[str, str], trail: Path, tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    try:
        command = [*COMMAND, "export", "--evidence", str(tmp_path / "e.zip"), "--trail", str(trail)]
        done = subprocess.run(
            command, env=home, stdout=subprocess.PIPE, stderr=terminal, check=False, timeout=120
        )
        os.write(terminal, b"end")
        said = os.read(screen, 10_000)
    finally:
        os.close(screen)
        os.close(terminal)
    assert done.returncode == 0
    assert b"Traceback" not in said
    assert b"3 events that no checkpoint covers yet" in said
