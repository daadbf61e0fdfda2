"""`indelible log` with SQL, groups, sums and counts, and `indelible sql`: what they print, and how they refuse."""

import csv
import io
import json
import os
import pty
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from indelible.cli import main, sql_shell
from indelible.cli.common import Where
from indelible.cli.rows import Form, print_rows
from indelible.errors import TrailError
from indelible.query.engine import connection
from indelible.query.engine.connection import Caps
from tests.trails import Maker, operation

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a trail of 40 calls of two tools, ten of them errors, and one torn line."""
    maker = Maker(tmp_path_factory.mktemp("asking") / "a.jsonl")
    for number in range(40):
        ends = {"status": "error", "kind": "tool_error"} if number % 4 == 0 else {}
        body = operation(
            number, target__capability_name=f"tool_{number % 2}", source__user_id="=cmd|' /C calc'!A0"
        )
        body["outcome"] = {"status": "success", "kind": "completed", "latency_ms": float(number), **ends}
        maker.add(body)
        if number == 20:
            maker.rotate(compress=True)
    maker.raw(b'{"seq":99,"torn')
    return maker.layout.active


@pytest.fixture
def run(trail: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*args: str) -> tuple[int, str, str]:
        code = main([args[0], "--trail", str(trail), *args[1:]])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


UNREADABLE = "1 line could not be read, the first: "


def test_a_condition_lists_the_lines_as_every_other_filter_does(run: Run, trail: Path) -> None:
    code, out, err = run(
        "log", "--json", "--status", "error", "--where", "latency_ms > 30 AND (args->>'path') LIKE '/srv/%'"
    )
    assert code == 0
    assert [json.loads(line)["outcome"]["latency_ms"] for line in out.splitlines()] == [32.0, 36.0]
    assert set(out.splitlines()) <= set(trail.read_text().splitlines())
    assert UNREADABLE in err
    _, out, _ = run("log", "--where", "latency_ms > 30", "-n", "2")
    assert [line.split("  ")[-1] for line in out.splitlines()[1:]] == ["38.00 ms", "39.00 ms"]
    _, out, _ = run("log", "--where", "latency_ms < 3", "--format", "mxcp")
    assert [json.loads(line)["duration_ms"] for line in out.splitlines()] == [0, 1, 2]


def test_sorting_keeps_the_first(run: Run) -> None:
    _, out, _ = run("log", "--json", "--sort", "latency_ms:desc", "-n", "3", "--tool", "tool_0")
    assert [json.loads(line)["outcome"]["latency_ms"] for line in out.splitlines()] == [38, 36, 34]


def test_counting_needs_no_sql(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = run("log", "--count", "--where", "true", "--json")[:2]
    assert counted == (0, '{"count":40}\n')
    for name in ("duckdb", "_duckdb"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run("log", "--count", "--json")[:2] == counted
    assert run("log", "--count", "--status", "error")[1].split() == ["count", "10"]
    code, out, err = run("log", "--where", "true")
    assert (code, out) == (3, "")
    assert "needs the package duckdb, which is not installed: pip install 'indelible[query]'" in err
    assert err.count("\n") == 1


def test_groups_and_sums(run: Run) -> None:
    _, out, _ = run("log", "--group-by", "name,status", "--json")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"name": "tool_1", "status": "success", "count": 20},
        {"name": "tool_0", "status": "error", "count": 10},
        {"name": "tool_0", "status": "success", "count": 10},
    ]
    _, out, _ = run("log", "--group-by", "name", "--sum", "latency_ms", "--sort", "sum_latency_ms", "-n", "1")
    assert [line.split() for line in out.splitlines()] == [
        ["name", "count", "sum_latency_ms"],
        ["tool_0", "20", "380"],
    ]
    assert run("log", "--sum", "latency_ms", "--json")[1] == '{"count":40,"sum_latency_ms":780.0}\n'


QUESTIONS = (
    ("--where", "latency_ms > 30", "--json"),
    ("--where", "latency_ms > (SELECT avg(latency_ms) FROM logs)", "--status", "error"),
    ("--where", "latency_ms < 9", "--sort", "latency_ms:desc", "-n", "4"),
    ("--sort", "latency_ms:desc", "-n", "3", "--format", "mxcp"),
    ("--group-by", "name,status,origin", "--sum", "latency_ms"),
    ("--sum", "latency_ms", "--json"),
    ("--count", "--since", "2026-11-18T11:07:00Z"),
    ("--count", "--where", "name = 'tool_1'", "--json"),
    ("--where", "name = 'nobody'"),
    ("--where", "latency_ms > 35", "--export-csv", "-"),
)


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_what_is_held_elsewhere_is_asked_as_the_trail_is(
    run: Run,
    trail: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    question: tuple[str, ...],
) -> None:
    """Of lines in any order, some twice, beside records in other words of the same events."""
    code, wanted, _ = run("log", *question)
    assert code == 0
    lines = run("log", "--events", "all", "-n", "0", "--json")[1].splitlines()
    as_cef = run("log", "-n", "0", "--format", "cef")[1].splitlines()
    first, *held = lines  # names the trail, as the first line of a sink's file does
    held += held[:7]
    random.Random(7).shuffle(held)
    (tmp_path / "held.jsonl").write_text("\n".join([first, *held]) + "\n")
    (tmp_path / "held.cef").write_text("\n".join(as_cef) + "\n")
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    sources = ["--from", str(tmp_path / "held.cef"), "--from", str(tmp_path / "held.jsonl")]
    assert main(["log", *sources, *question]) == 0
    found = capfd.readouterr()
    assert found.out == wanted
    assert not list(folder.iterdir())
    if question[0] != "--count" or "--where" in question:
        assert "40 records left out, in 'cef', which does not say what --" in found.err


def test_records_in_any_words_are_counted(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "held.cef").write_text(run("log", "-n", "9", "--format", "cef")[1] * 2)
    assert main(["log", "--from", str(tmp_path / "held.cef"), "--count", "--json"]) == 0
    assert capfd.readouterr() == ('{"count":9}\n', "indelible: 9 repeated records left out\n")


def test_a_question_that_is_wrong_is_refused_before_anything_is_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indelible.query.readback.Readback.all", lambda _: pytest.fail("it was read"))
    (tmp_path / "held").write_text("x\n")
    for question, line in (
        (("--where", "nmae = 'x'"), "--where: no column 'nmae' at character 1; did you mean 'name'?"),
        (("--where", "nmae = 'x'", "--export-csv", "-"), "--where: no column 'nmae' at character 1"),
        (("--group-by", "nmae"), "--group-by: no column 'nmae'; did you mean 'name'?"),
    ):
        assert main(["log", "--from", str(tmp_path / "held"), *question]) == 2
        said = capfd.readouterr()
        assert said.out == ""
        assert line in said.err


REFUSED = {
    ("log", "--where", "nmae = 'x'"): "--where: no column 'nmae' at character 1; did you mean 'name'?",
    ("log", "--where", "name = "): "--where: syntax error",
    (
        "log",
        "--where",
        "getenv('HOME') = ''",
    ): "--where: the function 'getenv' is not allowed here at character 1",
    ("log", "--where", "name = 1"): "--where: Could not convert string 'tool_",
    ("log", "--group-by", "nmae"): "--group-by: no column 'nmae'; did you mean 'name'?",
    ("log", "--sort", "name:up"): "--sort: expected COL, COL:asc or COL:desc, found 'name:up'",
    ("log", "--group-by", "name", "--sort", "seq"): "--sort: no column 'seq'; there are name, count",
    ("log", "--sum", "name"): "--sum name: not a column of numbers",
    ("log", "--sort", "name", "--follow"): "not together with --follow",
    ("log", "--count", "--where", "true", "--follow"): "not together with --follow",
    (
        "log",
        "--where",
        "seq = (SELECT max(seq) FROM logs)",
        "--follow",
    ): "--where: it asks other events besides",
    ("log", "--where", "nmae = 'x'", "-f"): "--where: no column 'nmae' at character 1; did you mean 'name'?",
    ("log", "--count", "-n", "5"): "--count gives one number, of all that match: not together with -n",
    (
        "log",
        "--sum",
        "seq",
        "-n",
        "5",
    ): "--sum without --group-by gives one row, of all that match: not together",
    ("log", "--count", "--around", "x"): "not together with --around",
    ("log", "--where", "true", "--timeline"): "not together with --timeline",
    ("log", "--count", "--format", "mxcp"): "--format is of events",
    ("log", "--count", "--sort", "seq"): "there is nothing to --sort",
    ("log", "--sum", "latency_ms", "--sort", "seq"): "there is nothing to --sort",
    ("log", "--timeout", "3s"): "--timeout and --memory are a query's: there is none",
    (
        "log",
        "--where",
        "true",
        "--timeout",
        "soon",
    ): "--timeout: expected a time such as 30s or 5m, found 'soon'",
    ("sql", "--memory", "3", "SELECT 1"): "--memory",
    ("sql", "SELECT tol FROM logs"): "no column 'tol' at character 8; did you mean",
    ("sql", "DROP VIEW logs"): "only queries can be asked",
    ("sql", "--json", "--csv", "SELECT 1"): "which of the two?",
    ("sql", "--columns", "SELECT 1"): "it takes no query",
}


@pytest.mark.parametrize("args", REFUSED, ids=" ".join)
def test_a_mistake_is_one_line_with_its_place(run: Run, args: tuple[str, ...]) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert REFUSED[args] in err
    assert err.count("\n") == 1


# --- indelible sql ----------------------------------------------------------------------------------------


def test_queries_print_tables_json_and_csv(run: Run) -> None:
    asked = "name, count(*) AS calls, min(timestamp) AS first, any_value(user_id) AS u"
    sql = f"SELECT {asked} FROM logs GROUP BY ALL ORDER BY 1"
    code, out, err = run("sql", sql)
    assert (code, UNREADABLE in err) == (0, True)
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["name", "calls"],
        ["tool_0", "20"],
        ["tool_1", "20"],
    ]
    _, out, _ = run("sql", "--json", sql)
    assert json.loads(out.splitlines()[0]) == {
        "name": "tool_0", "calls": 20, "first": "2026-11-18T11:06:40Z", "u": "=cmd|' /C calc'!A0",
    }  # fmt: skip
    _, out, _ = run("sql", "--csv", sql)
    assert out.count("\n") == 3
    assert next(csv.DictReader(io.StringIO(out)))["u"] == "'=cmd|' /C calc'!A0"


def test_what_agents_wrote_reaches_no_terminal(run: Run) -> None:
    _, out, _ = run("sql", "SELECT 'a' || chr(27) || '[31m' || chr(10) || 'b' AS x, 1 AS \"y\x1b[0m\"")
    assert "\x1b" not in out
    assert out.splitlines()[1].startswith("a\\x1b[31m\\nb")


@pytest.mark.parametrize("form", ["json", "csv"])
def test_to_a_terminal_nothing_goes_that_it_would_obey(form: Form) -> None:
    value = "\x1b[2J\x7f\x9b31m\u202e\U000e0001é漢\n=1"
    printed = {}
    for terminal in (False, True):
        out = io.StringIO()
        with mock.patch.object(sys, "stdout", out), mock.patch.object(out, "isatty", return_value=terminal):
            print_rows(["a\x9b"], [[value]], form)
        printed[terminal] = out.getvalue()
    assert all(char.isprintable() or char in "\r\n" for char in printed[True])
    assert "é漢" in printed[True]
    assert "\x9b31m\u202e\U000e0001" in printed[False]
    if form == "json":
        assert json.loads(printed[True]) == json.loads(printed[False]) == {"a\x9b": value}


def test_values_that_json_does_not_have(run: Run) -> None:
    sql = "SELECT 'nan'::DOUBLE AS n, 2::HUGEINT ** 70 AS h, [1, NULL] AS l, {'a': now() IS NULL} AS s, 'x'::BLOB AS b"
    code, out, err = run("sql", "--json", sql)
    assert (code, json.loads(out)["n"]) == (0, "nan"), err
    assert json.loads(out)["l"] == [1, None]
    assert json.loads(out)["s"] == {"a": False}
    assert run("sql", "--csv", sql)[0] == run("sql", sql)[0] == 0


def test_the_columns_that_are_listed_are_those_of_the_views(run: Run) -> None:
    _, out, _ = run("sql", "--columns", "--json")
    listed = [json.loads(line) for line in out.splitlines()]
    for view in ("logs", "events"):
        names = [one["column"] for one in listed if one["view"] == view]
        _, out, _ = run("sql", "--json", f"FROM {view} LIMIT 1")
        assert list(json.loads(out)) == names


def test_a_query_comes_from_standard_input_too(trail: Path) -> None:
    command = [sys.executable, "-m", "indelible", "sql", "--trail", str(trail), "--json"]
    done = subprocess.run(
        command, input="SELECT 1 AS one", capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, '{"one":1}\n')


def test_the_memory_of_one_huge_value_is_bounded(trail: Path) -> None:
    """DuckDB's own limit does not count it; in a process of its own, since the limit is the process's."""
    sql = "SELECT length(repeat('x', 2000000000) || repeat('y', 2000000000))"
    command = [sys.executable, "-m", "indelible", "sql", "--trail", str(trail), sql]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "the query needs more than 400 MB of memory" in done.stderr


@pytest.mark.slow
def test_whoever_reads_slowly_gets_every_row(trail: Path) -> None:
    """A pager holds the command up for longer than a query may take."""
    out, inside = os.pipe()
    command = [sys.executable, "-c", SLOW_READER, "--trail", str(trail), "--csv", "--timeout", "1s", MANY_ROWS]
    with subprocess.Popen(command, stdout=inside, stderr=subprocess.PIPE) as asked:
        os.close(inside)
        with os.fdopen(out, "rb") as stream:
            assert stream.readline() == b"i\r\n"  # it prints, and soon waits: a pipe holds 64 KiB
            with pytest.raises(subprocess.TimeoutExpired):
                asked.wait(4)
            assert stream.read().count(b"\n") == 200_000
        assert asked.wait(120) == 0


SLOW_READER = (
    "import sys; from indelible.query.engine import connection; connection.GRACE = 0.5; "
    "from indelible.cli import main; sys.exit(main(['sql', *sys.argv[1:]]))"
)

MANY_ROWS = "SELECT i FROM range(200000) every(i)"


def test_what_cannot_be_interrupted_ends_the_process(trail: Path) -> None:
    command = [sys.executable, "-c", STUCK, "--trail", str(trail), "SELECT 1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "went on long after its 0.2 s and could not be interrupted" in done.stderr


STUCK = """
import sys, threading
from indelible.cli import caps, main
from indelible.query.engine import connection

connection.GRACE = 0.2
caps.SECONDS = 0.2

def hang(self, sql, *more):
    with self._limited(self._main):
        threading.Event().wait()

connection.Connection.run = hang
sys.exit(main(["sql", *sys.argv[1:]]))
"""


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            'user_id = "!!"',
            "no column '!!' at character 11; 'indelible sql --columns' lists them; a text stands in",
        ),
        (
            "args->>'path' = 'x' OR (args->>'path')::BIGINT > 5",
            "TRY_CAST(… AS …) gives NULL for a value that is no such",
        ),
        ("user_id = '\udcff'", "--where: it is not UTF-8"),
    ],
)
def test_what_to_do_about_a_mistake_is_said(run: Run, condition: str, said: str) -> None:
    code, out, err = run("log", "--where", condition)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_columns_of_one_name_are_all_there(run: Run) -> None:
    _, out, _ = run("sql", "--json", "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a")
    assert json.loads(out) == {"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}


def test_that_there_are_more_groups_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    for number in range(51):
        maker.add(operation(number, source__user_id=f"user {number}"))
    asked = ["log", "--trail", str(maker.layout.active), "--group-by", "user_id", "--json"]
    for more, count, said in ((), 50, "50 groups are shown"), (("-n", "50"), 50, ""), (("-n", "0"), 51, ""):
        assert main([*asked, *more]) == 0
        out, err = capfd.readouterr()
        assert (len(out.splitlines()), said in err, bool(err)) == (count, True, bool(said)), more


def test_the_shell_looks_anew_where_a_look_was_ended(
    trail: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Else a file that is half looked through would count as looked through, and its torn line as a row or none."""
    shell = sql_shell.Shell(Where(trail=str(trail)), Caps(), "json")
    trial = connection.Connection.trial
    ends: list[Exception | type[KeyboardInterrupt]] = [KeyboardInterrupt, TrailError("late")]

    def ended(self: connection.Connection, sql: str) -> object:
        if ends:
            raise ends.pop()
        return trial(self, sql)

    monkeypatch.setattr(connection.Connection, "trial", ended)
    answers = []
    for _ in range(4):
        shell._ask("SELECT count(*) AS n FROM logs")
        answers.append(capfd.readouterr())
    shell._close()
    assert [out for out, _ in answers] == ["", "", '{"n":40}\n', '{"n":40}\n']
    assert "late" in answers[0].err
    assert "the query was ended" in answers[1].err
    assert all(UNREADABLE in err for _, err in answers[2:])


class Dialog:
    """What stands on a terminal, and what is typed there."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._seen = b""
        self.has_ended = False

    def until(self, expected: bytes) -> bytes:
        """Wait for a text; return what came before it."""
        while expected not in self._seen:
            self._seen += os.read(self.fd, 4096)
        before, _, self._seen = self._seen.partition(expected)
        return before

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def read_answer(self) -> None:
        """Note whether a query was ended: a signal that comes before it began ends the line that was typed."""
        self.has_ended = b"the query was ended" in self.until(b"indelible> ")


def test_the_shell_answers_goes_on_after_mistakes_and_ctrl_c_and_keeps_its_history(
    trail: Path, tmp_path: Path
) -> None:
    main_fd, side = pty.openpty()
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    command = [sys.executable, "-m", "indelible", "sql", "--trail", str(trail)]
    shell = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=env, start_new_session=True)
    os.close(side)
    dialog = Dialog(main_fd)
    try:
        dialog.until(b"indelible> ")
        dialog.type("SELECT 'ans' || 'wer', count(*)\n")
        dialog.until(b"...> ")
        dialog.type("FROM logs;\n")
        dialog.until(b"answer")
        dialog.until(b"indelible> ")
        dialog.type("SELECT nmae FROM logs;\n")
        dialog.until(b"did you mean 'name'?")
        dialog.until(b"indelible> ")
        dialog.type("\\d\n")
        dialog.until(b"latency_ms DOUBLE")
        dialog.until(b"indelible> ")
        while not dialog.has_ended:
            dialog.type("SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i);\n")
            dialog.until(b"b(i);")
            os.kill(shell.pid, signal.SIGINT)
            dialog.read_answer()
        dialog.type("SELECT 'still' || ' there';\n")
        dialog.until(b"still there")
        dialog.until(b"indelible> ")
        dialog.type("\\q\n")
        assert shell.wait(60) == 0
    finally:
        shell.kill()
        shell.wait()
        os.close(dialog.fd)
    kept = tmp_path / "indelible" / "sql_history"
    assert "nmae" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
