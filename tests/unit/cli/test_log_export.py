"""`indelible log --export-…`: what is written, what is said, and what is refused."""

import csv
import io
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from indelible.cli import main
from indelible.query.engine.starting import MISSING
from tests.trails import Maker, at, operation

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a trail of 80 calls of two tools and an alert, with a torn line."""
    maker = Maker(tmp_path_factory.mktemp("exports") / "a.jsonl")
    for number in range(80):
        maker.add(operation(number, target__capability_name=f"tool_{number % 2}", source__user_id="=1"))
        if number == 20:
            maker.rotate(compress=True)
    maker.add({"timestamp": at(3), "event_type": "alert", "event_id": "q"})
    maker.raw(b'{"seq":99,"torn')
    return maker.seal().layout.active


@pytest.fixture
def run(trail: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> tuple[int, str, str]:
        code = main(["log", "--trail", str(trail), *args])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def count(path: str, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute(sql).fetchall()


UNREADABLE = "1 line could not be read, the first: "


def test_everything_at_once(run: Run) -> None:
    code, out, err = run(
        "--export-csv",
        "a.csv",
        "--export-sqlite",
        "a.db",
        "--export-duckdb",
        "a.duckdb",
        "--export-parquet",
        "a.parquet",
    )
    assert (code, out) == (0, "")
    torn, *said = err.splitlines()
    assert UNREADABLE in torn
    assert said == [
        "indelible: a.csv: 80 events",
        "indelible: a.duckdb: 80 calls in logs, 83 events in events",
        "indelible: a.db: 80 calls",
        "indelible: a.parquet: 80 events",
    ]
    assert count("a.duckdb", "SELECT (SELECT count(*) FROM logs), (SELECT count(*) FROM events)") == [(80, 83)]


def test_csv_goes_to_standard_output(run: Run) -> None:
    code, out, err = run("--export-csv", "-", "--since", at(70))
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert (code, len(rows)) == (0, 10)
    assert {row["user_id"] for row in rows} == {"'=1"}
    assert "indelible: standard output: 10 events" in err


def test_n_is_the_newest(run: Run) -> None:
    code, out, _ = run("--export-csv", "-", "-n", "3", "--export-duckdb", "a.duckdb")
    assert code == 0
    assert [row["request_id"] for row in csv.DictReader(io.StringIO(out, newline=""))] == ["r77", "r78", "r79"]
    assert count("a.duckdb", "SELECT count(*) FROM events") == [(3,)]
    code, out, _ = run("--export-csv", "-", "-n", "0")
    assert len(out.splitlines()) == 81


def test_filters_and_conditions_hold_for_every_table(run: Run) -> None:
    where = ("--tool", "tool_1", "--where", "(args->>'path') < '/srv/3'", "--export-duckdb", "a.duckdb")
    assert run(*where, "--export-csv", "a.csv")[0] == 0
    expected = [(number,) for number in range(1, 80, 2) if f"/srv/{number}" < "/srv/3"]
    found = count("a.duckdb", "SELECT (request_id[2:])::INTEGER FROM events ORDER BY ALL")
    assert found == sorted(expected)
    assert len(Path("a.csv").read_bytes().splitlines()) == len(expected) + 1


def test_sort_is_the_order_of_the_rows(run: Run) -> None:
    code, out, _ = run("--export-csv", "-", "--sort", "timestamp:desc", "-n", "4")
    rows = csv.DictReader(io.StringIO(out, newline=""))
    assert (code, [row["request_id"] for row in rows]) == (0, ["r79", "r78", "r77", "r76"])


def test_events_asks_for_other_types(run: Run) -> None:
    code, out, err = run(
        "--events",
        "alert,mcp_operation",
        "--export-csv",
        "-",
        "--export-sqlite",
        "a.db",
        "--export-duckdb",
        "a.duckdb",
    )
    assert code == 0
    assert len(out.splitlines()) == 82
    assert "a.db: 1 event left out: it holds calls; a DuckDB file has a table of all" in err
    connection = sqlite3.connect("a.db")
    assert connection.execute("SELECT count(*) FROM audit_log").fetchone() == (80,)
    connection.close()
    assert count("a.duckdb", "SELECT (SELECT count(*) FROM logs), (SELECT count(*) FROM events)") == [(80, 81)]


def test_a_session_is_no_timeline_then(run: Run) -> None:
    code, out, _ = run("--session", "s1", "--export-csv", "-")
    assert (code, len(out.splitlines())) == (0, 81)


def test_nothing_that_matches_is_an_empty_table(run: Run) -> None:
    code, out, err = run("--tool", "none", "--export-csv", "-", "--export-duckdb", "a.duckdb")
    assert (code, len(out.splitlines())) == (0, 1)
    assert "standard output: 0 events" in err
    assert count("a.duckdb", "SELECT count(*) FROM logs") == [(0,)]


@pytest.mark.parametrize(
    ("options", "other"),
    [
        (("--follow",), "--follow"),
        (("--json",), "--json"),
        (("--format", "mxcp"), "--format"),
        (("--count",), "--count"),
        (("--group-by", "name"), "--group-by"),
        (("--sum", "duration_ms"), "--sum"),
        (("--around", "r3"), "--around"),
        (("--timeline",), "--timeline"),
    ],
)
def test_what_does_not_go_together(run: Run, options: tuple[str, ...], other: str) -> None:
    assert run("--export-sqlite", "a.db", *options) == (
        2, "", f"indelible: log: --export-sqlite writes a file of events: not together with {other}\n",
    )  # fmt: skip
    assert list(Path().iterdir()) == []


def test_a_condition_that_is_none_leaves_nothing(run: Run) -> None:
    code, _, err = run("--export-csv", "a.csv", "--where", "nmae = 'x'")
    assert (code, err) == (2, "indelible: --where: no column 'nmae' at character 1; did you mean 'name'?\n")
    code, _, err = run("--export-csv", "a.csv", "--where", "CAST(name AS INTEGER) > 1")
    assert code == 2
    assert list(Path().iterdir()) == []


def test_without_duckdb(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("duckdb", "_duckdb"):
        monkeypatch.setitem(sys.modules, module, None)
    code, _, err = run("--export-csv", "a.csv", "--export-sqlite", "a.db")
    assert (code, err.splitlines()[1:]) == (0, ["indelible: a.csv: 80 events", "indelible: a.db: 80 calls"])
    for option in ("--export-duckdb", "--export-parquet"):
        code, _, err = run(option, "x")
        assert (code, err) == (3, f"indelible: {option} {MISSING}\n")
    assert sorted(path.name for path in Path().iterdir()) == ["a.csv", "a.db"]


def test_what_is_held_elsewhere(trail: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["log", "--trail", str(trail), "--format", "cef", "-n", "9"]) == 0
    held = tmp_path / "siem.cef"
    held.write_text(capfd.readouterr().out)
    code = main(["log", "--from", str(held), "--export-csv", "-", "--tool", "tool_1"])
    said = capfd.readouterr()
    assert (code, said.err) == (0, "indelible: standard output: 5 events\n")
    rows = list(csv.DictReader(io.StringIO(said.out, newline="")))
    assert [row["name"] for row in rows] == ["tool_1"] * 5


def test_a_directory_of_trails_is_one_export(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    origins = [f"indelible/{number:032x}" for number in range(2)]
    for number, origin in enumerate(origins):
        maker = Maker(tmp_path / "trails" / f"{number}.jsonl", origin=origin)
        maker.add_many(4).rotate(compress=number == 1)
        maker.add_many(3)
    code = main(
        [
            "log",
            "--trail",
            str(tmp_path / "trails"),
            "--export-csv",
            "-",
            "--export-sqlite",
            str(tmp_path / "a.db"),
        ]
    )
    rows = list(csv.DictReader(io.StringIO(capfd.readouterr().out, newline="")))
    assert (code, len(rows)) == (0, 14)
    assert [row["recorded_at"] for row in rows] == sorted(row["recorded_at"] for row in rows)
    connection = sqlite3.connect(tmp_path / "a.db")
    counts = connection.execute(
        "SELECT origin, count(*) FROM audit_log GROUP BY origin ORDER BY origin"
    ).fetchall()
    connection.close()
    assert counts == [(origin, 7) for origin in origins]


def test_there_is_no_trail(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "--trail", str(tmp_path / "none.jsonl"), "--export-csv", str(tmp_path / "a.csv")]) == 3
    assert "there is no trail" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
