"""The real command: every figure is what the command beside it gives, and nothing that callers wrote gets out."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.query.report.controls.every import FRAMEWORKS
from indelible.query.report.facts import facts
from indelible.query.report.scope import Scope
from tests.integration.cli.conftest import COMMAND, Run
from tests.reports import HOSTILE, PERIOD, make_trail
from tests.trails import VKEY, Maker


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trail(tmp_path_factory.mktemp("rich") / "audit.jsonl")


@pytest.fixture(scope="module")
def report(trail: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "report", *PERIOD, "--trail", str(trail), "--vkey", VKEY, "-n", "0", "--json"],
        capture_output=True, check=True, timeout=150,
    )  # fmt: skip
    assert done.stderr == b""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def in_a_shell(command: str, home: dict[str, str]) -> list[dict[str, Any]]:
    """Run what a report names, as it stands there, and JSON instead of a table."""
    folder = Path(sys.executable).parent
    env = {**home, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", f"{command} --json"], env=env, capture_output=True, check=False, timeout=150
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_there_is_something_in_every_section(report: dict[str, Any]) -> None:
    assert {one["name"]: one["total"] for one in report["sections"] if not one["total"]} == {}
    assert report["goes_back"] is True
    assert report["held"]["erased"] == 1
    assert report["verification"]["ok"] is True
    assert not any("key not pinned" in text for text in report["verification"]["not_checked"])


@pytest.mark.slow
def test_every_command_gives_what_the_report_says(report: dict[str, Any], home: dict[str, str]) -> None:
    for one in report["sections"]:
        assert in_a_shell(one["command"], home) == one["rows"], one["name"]
    [said] = in_a_shell(report["verify_command"], home)
    assert said == report["verification"]


@pytest.mark.slow
def test_every_control_says_what_its_commands_give(trail: Path, run: Run, home: dict[str, str]) -> None:
    """The facts of all frameworks, each once: with the query, and by the short name that a terminal shows."""
    asked: dict[str, dict[str, Any]] = {}
    for name in FRAMEWORKS:
        found = json.loads(run("report", *PERIOD, "--controls", name, "--trail", trail, "--json").stdout)
        assert found["framework"]["name"] == name
        assert "no certificate" in found["framework"]["no_certificate"]
        assert found["verification"]["ok"] is True
        for control in found["controls"]:
            assert control["shows"]
            assert control["not_shown"]
            asked |= {one["fact"]: one for one in control["shows"]}
    verified = asked.pop("verified")
    assert verified["numbers"]["findings"] == 0
    assert in_a_shell(verified["command"], home)[0]["ok"] is True
    assert set(asked) == set(facts(Scope("", "")))
    for fact in asked.values():
        assert in_a_shell(fact["command"], home) == [fact["numbers"]]
    printed = run("report", *PERIOD, "--controls", "soc2", "--trail", trail, "--no-verify").stdout.decode()
    said = " ".join(printed.split())
    assert "does not show: That anybody evaluated anything" in said
    assert "The trail was not verified." in said
    [short] = re.findall(r"(indelible report --query facts.NAME .*? --trail \S+)", said)
    assert in_a_shell(short.replace("NAME", "calls"), home) == [asked["calls"]["numbers"]]


def test_the_short_command_of_the_terminal_gives_the_same(
    report: dict[str, Any], trail: Path, run: Run, home: dict[str, str]
) -> None:
    options = ("--trail", trail, "--no-verify", "--error-rate", "15")
    printed = run("report", *PERIOD, *options).stdout.decode()
    [command] = [line for line in printed.splitlines() if line.startswith("indelible report --query errors")]
    assert "--error-rate 15 |" in command
    [wanted] = [one["rows"] for one in report["sections"] if one["name"] == "errors"]
    assert in_a_shell(command, home) == [row for row in wanted if row["percent"] > 15]
    assert "verified: left out" in printed


def test_what_callers_wrote_stays_on_its_line(trail: Path, run: Run) -> None:
    printed = run("report", *PERIOD, "--trail", trail, "-n", "0").stdout.decode()
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "a\\nb\\x1b[31mred" in printed
    page = run("report", *PERIOD, "--trail", trail, "-n", "0", "--html", "-").stdout.decode()
    for text in HOSTILE:
        if "<" in text:
            assert text not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in page


def test_a_page_is_written_for_its_owner_in_one_step(trail: Path, run: Run, tmp_path: Path) -> None:
    page = tmp_path / "quarter.html"
    page.write_text("the one before")
    page.chmod(0o644)
    done = run("report", *PERIOD, "--trail", trail, "--html", page)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"indelible: erased lines")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.glob(".*")] == []


def test_a_page_takes_no_file_of_the_trail(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "t" / "audit.jsonl"
    path.parent.mkdir()
    Maker(path).add_many(3).seal()
    before = path.read_bytes()
    (tmp_path / "link.html").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    wrong = [path, path.parent / "audit.jsonl.d" / "key", path.parent / "audit.jsonl.1", tmp_path,
             tmp_path / "none" / "x.html", tmp_path / "link.html", tmp_path / "pipe", ""]  # fmt: skip
    for name in wrong:
        done = run("report", "--trail", path, "--html", name)
        assert done.returncode == 2, name
        assert done.stderr.count(b"\n") == 1
    assert path.read_bytes() == before


def test_an_empty_trail_one_event_and_a_directory_of_trails(tmp_path: Path, run: Run) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    maker.seal()
    empty = json.loads(run("report", "--trail", tmp_path / "a.jsonl", "--json").stdout)
    assert empty["summary"]["calls"] == 0
    with (
        indelible.open_trail(tmp_path / "b.jsonl") as trail,
        trail.operation("tools/call", "one", user_id="ada"),
    ):
        pass
    one = json.loads(run("report", "--trail", tmp_path / "b.jsonl", "--json").stdout)
    assert (one["summary"]["calls"], one["goes_back"]) == (1, False)
    [new] = [part for part in one["sections"] if part["name"] == "new_tools"]
    assert (new["total"], new["may_be_old"]) == (1, True)
    both = json.loads(run("report", "--trail", tmp_path, "--json").stdout)
    assert (len(both["trails"]), both["summary"]["calls"]) == (2, 1)
    assert len(both["verification"]["trails"]) == 2
    assert run("report", "--trail", tmp_path).returncode == 0
    assert run("report", "--trail", tmp_path, "--html", "-").stdout.endswith(b"</html>\n")


def test_damage_is_said_first_and_hides_nothing(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "audit.jsonl"
    Maker(path).add_many(20).seal()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[5] = lines[5][:40] + b"\n"
    lines[7] = lines[7].replace(b'"schema":1', b'"schema":2', 1)
    path.write_bytes(b"".join(lines))
    done = run("report", "--trail", path, "--since", "2026-01-01", "--until", "2027-01-01", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["unreadable"] == {"lines": 1, "first": f"{path}, line 6"}
    assert found["summary"]["calls"] == 19
    assert found["verification"]["ok"] is False
    assert "not what was sealed" in found["notes"][0]
    assert found["held"]["newer"] == 1
    assert any(note.startswith("lines of a newer version") for note in found["notes"])
    page = run("report", "--trail", path, "--html", "-")
    assert "To be known first" in page.stdout.decode()
    assert b"could not be read" in page.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--since", "yesterday"], "--since: expected a time"),
        (["--since", "1d", "--until", "2d"], "nothing can lie between"),
        (["--error-rate", "x"], "--error-rate: expected percent"),
        (["--error-rate", "100"], "--error-rate: expected percent"),
        (["--per-hour", "0"], "--per-hour"),
        (["--html", "a", "--json"], "--html and --json"),
        (["--vkey", "x", "--no-verify"], "--no-verify leaves out"),
        (["--vkey", "x"], "--vkey: neither a public key"),
        (["--query", "slow", "--json"], "--query prints a query"),
        (["--query", "eror"], "did you mean 'errors'?"),
        (["--controls", "soc"], "did you mean 'soc2'?"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(options: list[str], said: str, run: Run, trail: Path) -> None:
    done = run("report", "--trail", trail, *options)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_period_is_90_days_before_its_end(run: Run, trail: Path) -> None:
    said = json.loads(run("report", "--trail", trail, "--until", "2026-11-21", "--no-verify", "--json").stdout)
    assert (said["since"], said["until"]) == ("2026-08-23T00:00:00.000000Z", "2026-11-21T00:00:00.000000Z")
    assert said["verification"] is None
    assert said["goes_back"] is False


def test_no_trail_is_exit_code_3(run: Run, tmp_path: Path) -> None:
    done = run("report", "--trail", tmp_path / "none.jsonl")
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)


def test_a_name_of_a_trail_is_quoted(tmp_path: Path, run: Run, home: dict[str, str]) -> None:
    folder = tmp_path / 'it\'s $HOME `x` "here"'
    folder.mkdir()
    Maker(folder / "audit.jsonl").add_many(2).seal()
    found = json.loads(run("report", "--trail", folder, "--since", "2026-01-01", "--json").stdout)
    [one] = [part for part in found["sections"] if part["name"] == "activity"]
    assert shlex.split(one["command"])[-1] == str(folder)
    assert in_a_shell(one["command"], home) == one["rows"]
