"""Whatever reads a trail says on stderr, or in its JSON, what is missing and what a newer version wrote."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible.cli import main
from tests.trails import Maker, operation

Run = Callable[..., tuple[int, str, str]]

NEWER = "2 lines written by a newer indelible, read as if this one had written them: upgrade to be sure"


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """Return a trail of 30 calls in two files: of the first file two lines are gone, two of the second are newer."""
    maker = Maker(tmp_path / "audit.jsonl")
    closed = maker.add_many(15, operation).rotate()
    path = maker.add_many(15, operation).seal().layout.active
    lines = closed.read_bytes().splitlines(keepends=True)
    closed.write_bytes(b"".join([*lines[:4], *lines[6:]]))
    path.write_bytes(path.read_bytes().replace(b'"schema":1,"rec', b'"schema":2,"rec', 2))
    return path


@pytest.fixture
def run(trail: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*args: str) -> tuple[int, str, str]:
        code = main([*args, "--trail", str(trail)])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize(
    "command",
    [
        ["log", "-n", "0"],
        ["log", "--count"],
        ["log", "--tool", "nothing", "--count"],
        ["log", "--no-twins", "--count"],
        ["log", "--where", "true", "-n", "0"],
        ["log", "--sort", "seq"],
        ["log", "--group-by", "name"],
        ["log", "--session", "nothing", "-n", "0"],
        ["log", "--around", "nothing"],
        ["log", "--export-csv", "EXPORT", "-n", "0"],
        ["log", "--export-sqlite", "EXPORT"],
        ["sql", "SELECT count(*) FROM logs"],
    ],
    ids=" ".join,
)
def test_it_is_said_once_and_is_no_failure(run: Run, trail: Path, tmp_path: Path, command: list[str]) -> None:
    code, _, err = run(*(str(tmp_path / "calls.out") if part == "EXPORT" else part for part in command))
    closed = f"{trail}.d/segments/{0:020d}.jsonl"
    assert code == 0
    missing = (
        f"2 lines are missing between seq 3 and 6 of {closed}; 'indelible verify --trail {trail}' says more"
    )
    assert err.count(missing) == err.count(" missing") == 1
    assert err.count(NEWER) == err.count("newer") == 1


def test_of_the_newest_only_what_was_looked_at(run: Run) -> None:
    assert run("log", "-n", "5")[2] == ""


def test_a_report_says_it(run: Run) -> None:
    code, out, _ = run("report", "--json", "--no-verify", "--since", "2020-01-01", "--until", "2030-01-01")
    found = json.loads(out)
    assert code == 0
    assert found["missing"]["lines"] == 2
    assert found["missing"]["first"].startswith("between seq 3 and 6 of ")
    assert any(note.startswith("2 lines are missing between seq 3 and 6 of ") for note in found["notes"])


def test_deleted_on_record_is_not_missing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    closed = [maker.add_many(5, operation).rotate() for _ in range(3)]
    maker.delete_file(closed[0])
    for rotated in (False, True):
        assert main(["log", "--count", "--trail", str(maker.layout.active)]) == 0
        assert capfd.readouterr().err == ""
        maker.rotate() if not rotated else None
    closed[1].unlink()
    main(["log", "--count", "--trail", str(maker.layout.active)])
    assert "6 lines are missing before seq 12 of " in capfd.readouterr().err
