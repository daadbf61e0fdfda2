"""A command that is printed asks the trail that was asked, whatever that is called."""

from __future__ import annotations

import json
import logging
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from indelible import cli, loglines
from indelible.cli import hints
from indelible.cli.logged import _Line as Line
from indelible.cli.root import root
from tests.trails import Maker, at, operation

SOURCE = Path(hints.__file__).parent.parent
NAMED_FOR_GOOD = {
    "indelible --help", "indelible witness --show", "indelible wrap", "indelible record",
    "indelible schema clickhouse", "indelible sql --columns",
}  # fmt: skip
"""Commands that no trail is asked by, or that need more words than a message can have."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a trail at a place that a shell would take apart, with an actor who calls a lot, and a line that is torn."""
    folder = tmp_path / "it's $HOME; a b"
    folder.mkdir()
    maker = Maker(folder / "audit.jsonl")
    for number in range(1100):
        maker.add(operation(number, timestamp=at(number / 100)), at(number / 100))
    maker.seal()
    maker.raw(b"torn\n")
    return maker.layout.active


def run(*words: str) -> str:
    """Return what a command prints, on both streams."""
    done = CliRunner(env={"COLUMNS": "400"}).invoke(root, words, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout + done.stderr


def asked(text: str) -> list[list[str]]:
    """Return the words, as a shell has them, of each command about a trail: on its own line, or in a message."""
    found = re.findall(r"'(indelible .+)' says more", text)
    found += [
        line.rpartition(" | ")[2] for line in map(str.strip, text.splitlines()) if line.startswith("indelible ")
    ]
    return [shlex.split(one) for one in found if not one.startswith("indelible: ")]


@pytest.mark.parametrize(
    "words",
    [
        ["log", "-n", "1"],
        ["status"],
        ["incident", "--at", at(5)],
        ["alerts", "--replay", "--since", at(0)],
        ["sql", "SELECT 1 FROM logs"],
    ],
    ids=lambda words: words[0],
)
def test_each_place_that_prints_a_command(path: Path, words: list[str]) -> None:
    if words == ["status"]:
        path.with_name("audit.jsonl.d").joinpath("checkpoint").write_text("no checkpoint\n")
    commands = asked(run(*words, "--trail", str(path)))
    assert commands
    for command in commands:
        assert command[command.index("--trail") + 1] == str(path), command


def test_what_a_replay_prints_lists_what_was_counted(path: Path) -> None:
    printed = run("alerts", "--replay", "--since", at(0), "--trail", str(path))
    [command] = [one for one in asked(printed) if any(word.startswith("--user=") for word in one)]
    listed = [json.loads(line) for line in run(*command[1:], "--json").splitlines() if line.startswith("{")]
    assert len(listed) > 1000
    told = json.loads(
        run("alerts", "--replay", "--since", at(0), "--json", "--trail", str(path)).splitlines()[0]
    )
    assert [shlex.split(one["query"]) for one in told["alerts"] if "query" in one] == [command]


def test_a_report_names_its_trail_in_every_command(path: Path) -> None:
    for more in ([], ["--controls", "soc2"]):
        commands = asked(run("report", "--since", at(0), "--until", at(60), "--trail", str(path), *more))
        assert len(commands) > 1
        assert all(one[-2:] == ["--trail", str(path)] for one in commands), commands


def test_an_error_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["log", "--follow", "--trail", str(tmp_path / "not here")])
    [found] = re.findall("'(indelible tail .+)' waits", capsys.readouterr().err)
    assert shlex.split(found) == ["indelible", "tail", "--trail", str(tmp_path / "not here")]


@pytest.mark.parametrize("as_json", [False, True])
def test_what_the_library_logs_meanwhile_does(as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    record = logging.LogRecord(
        "indelible", logging.ERROR, "x.py", 1, "%s; 'indelible verify' says more", ("no",), None
    )
    monkeypatch.setattr(loglines, "is_json", lambda: as_json)
    try:
        hints.about(None, None, "/a b")
        said = Line().format(record)
    finally:
        hints.about(None, None, None)
    assert "no; 'indelible verify --trail '/a b'' says more" in (
        json.loads(said)["message"] if as_json else said
    )
    assert record.getMessage() == "no; 'indelible verify' says more", "others hear it, too"


@given(
    st.text(min_size=1).filter(lambda text: "\0" not in text),
    st.sampled_from(["verify", "hold list", "tail", "ship", "ship --once"]),
)
def test_the_options_are_words_of_a_shell(value: str, command: str) -> None:
    try:
        hints.about(value, None, value)
        said = hints.placed(f"no; 'indelible {command}' says more")
    finally:
        hints.about(None, None, None)
    if value.isprintable():
        inner = said.removeprefix("no; '").removesuffix("' says more")
        assert shlex.split(inner) == ["indelible", *command.split(), "-c", value, "--trail", value]
    assert "\n" not in said
    assert hints.placed(f"'indelible {command}'") == f"'indelible {command}'"


def test_no_command_that_a_message_names_is_forgotten() -> None:
    named = set()
    for file in SOURCE.rglob("*.py"):
        if file.name != "hints.py":
            named |= set(re.findall(r"'(indelible (?:[a-z-]+ ?)*[a-z])'", file.read_text(encoding="utf-8")))
    try:
        hints.about(None, None, "x")
        left = {one for one in named if hints.placed(f"'{one}'") == f"'{one}'"}
    finally:
        hints.about(None, None, None)
    assert left <= NAMED_FOR_GOOD
