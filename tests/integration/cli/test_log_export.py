"""`log --export-…` as a process: killed, interrupted, without room, on a terminal, and read by people's own tools."""

import datetime as dt
import json
import os
import pty
import resource
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.conftest import COMMAND, Run
from tests.trails import Maker, operation

MANY = 2_500
"""Calls: more than two batches, and more CSV than a pipe holds."""


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    maker = Maker(tmp_path_factory.mktemp("exports") / "audit.jsonl")
    hostile = ["=1+1", 'a"b,c', "two\nlines", "\0", "é", "\N{GRINNING FACE}", "'; DROP TABLE audit_log; --"]
    maker.add_many(MANY, lambda seq: operation(seq, source__user_id=hostile[seq % len(hostile)]))
    return maker.seal().layout.active


@pytest.fixture
def stuck(trail: Path, tmp_path: Path, home: dict[str, str]) -> Callable[[], "subprocess.Popen[bytes]"]:
    """Return what starts an export to files and a pipe that nobody empties, and waits until it is in the midst."""

    def start() -> "subprocess.Popen[bytes]":
        fifo = tmp_path / "fifo"
        if not fifo.exists():
            os.mkfifo(fifo)
        process = subprocess.Popen(
            [*COMMAND, "log", "--trail", str(trail), "--export-csv", fifo, "--export-sqlite", tmp_path / "out" / "a.db",
             "--export-duckdb", tmp_path / "out" / "a.duckdb"],
            env=home, stderr=subprocess.PIPE,
        )  # fmt: skip
        reader = os.open(fifo, os.O_RDONLY)
        readers.append(reader)
        seen = b""
        while not seen.partition(b"\r\n")[2]:  # behind the header: a batch is on its way, longer than the pipe
            seen += os.read(reader, 1024)
        return process

    readers: list[int] = []
    (tmp_path / "out").mkdir()
    for name in ("a.db", "a.duckdb"):
        (tmp_path / "out" / name).write_text("old")
    return start


def in_folder(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() if path.is_file() else "directory" for path in folder.iterdir()}


def test_ctrl_c_leaves_the_old_files_alone(
    stuck: Callable[[], "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    process = stuck()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120)[1] == b""
    assert process.returncode == 130
    assert in_folder(tmp_path / "out") == {"a.db": "old", "a.duckdb": "old"}


def test_kill_9_leaves_the_old_files_and_the_next_export_no_litter(
    stuck: Callable[[], "subprocess.Popen[bytes]"], tmp_path: Path, trail: Path, run: Run
) -> None:
    out = tmp_path / "out"
    process = stuck()
    refused = run("log", "--trail", str(trail), "--export-sqlite", out / "a.db")
    assert (refused.returncode, b"another export to it is under way" in refused.stderr) == (3, True)
    process.kill()
    process.communicate(timeout=120)
    assert in_folder(out) == {
        "a.db": "old", "a.duckdb": "old", ".a.db.exporting": "directory", ".a.duckdb.exporting": "directory",
    }  # fmt: skip
    done = run(
        "log", "--trail", str(trail), "--export-sqlite", out / "a.db", "--export-duckdb", out / "a.duckdb"
    )
    assert (done.returncode, sorted(path.name for path in out.iterdir())) == (0, ["a.db", "a.duckdb"])


@pytest.mark.parametrize("kind", ["csv", "sqlite", "duckdb", "parquet"])
def test_without_room_the_old_file_stays(trail: Path, tmp_path: Path, home: dict[str, str], kind: str) -> None:
    """A limit on a file's size stands for the full disk: what cannot be written cannot be written."""
    (tmp_path / "a").write_text("old")
    done = subprocess.run(
        [*COMMAND, "log", "--trail", str(trail), f"--export-{kind}", tmp_path / "a"],
        env={**home, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, timeout=120, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    (line,) = done.stderr.decode().splitlines()
    assert (done.returncode, f"{tmp_path / 'a'}: cannot be written: " in line) == (3, True)
    assert in_folder(tmp_path) == {"a": "old"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_device(trail: Path, run: Run) -> None:
    done = run("log", "--trail", str(trail), "--export-csv", "/dev/full")
    assert done.returncode == 3
    assert b"/dev/full: cannot be written: No space left on device" in done.stderr


def test_nobody_reads_any_more(trail: Path, home: dict[str, str]) -> None:
    command = [*COMMAND, "log", "--trail", str(trail), "--export-csv", "-"]
    with subprocess.Popen(command, env=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(9) == b"timestamp"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(timeout=120) == 141


def test_a_terminal_sees_how_far_it_is(trail: Path, tmp_path: Path, home: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    program = (
        "import sys; from indelible.cli import main, progress; progress.SHOW_PROGRESS_AFTER_S = 0.0; "
        "sys.exit(main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, "log", "--trail", str(trail), "--export-csv", tmp_path / "a.csv"],
        env={**home, "TERM": "xterm"}, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # nobody has the other end any more
                break
        assert process.wait(timeout=120) == 0
    os.close(ours)
    assert b"exporting" in shown
    assert b" of 1.2 MB" in shown


# --- people's own tools ------------------------------------------------------------------------------------


def test_the_sqlite3_program_reads_it(trail: Path, tmp_path: Path, run: Run) -> None:
    assert run("log", "--trail", str(trail), "--export-sqlite", tmp_path / "a.db").returncode == 0
    asked = subprocess.run(
        ["sqlite3", "-json", "-readonly", str(tmp_path / "a.db"),
         "SELECT actor_id, count(*) AS calls FROM audit_log WHERE json_extract(args, '$.path') LIKE '/srv/%' "
         "AND timestamp < datetime('now') GROUP BY actor_id HAVING actor_id = '=1+1'"],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    with sqlite3.connect(tmp_path / "a.db") as connection:
        expected = connection.execute("SELECT count(*) FROM audit_log WHERE actor_id = '=1+1'").fetchone()[0]
    connection.close()
    assert json.loads(asked.stdout) == [{"actor_id": "=1+1", "calls": expected}]


NOW = dt.datetime(2026, 11, 20, 12, 30, 15, tzinfo=dt.UTC)
MICRO = dt.timedelta(microseconds=1)
EDGES = [
    NOW - dt.timedelta(hours=hours) + step * MICRO
    for hours in (1, 24)
    for step in (-1_000_000, -1, 0, 1, 500_000, 999_999, 1_000_000)
]
DESTRUCTIVE = """
SELECT timestamp, actor_id, tool, args FROM audit_log
WHERE tool LIKE 'delete%' AND timestamp > datetime('now', '-1 day') ORDER BY timestamp, tool"""
FREQUENT = """
SELECT actor_id, COUNT(*) AS calls FROM audit_log
WHERE timestamp > datetime('now', '-1 hour') GROUP BY actor_id HAVING calls > 500"""
FAILING = """
SELECT tool, COUNT(*) AS total, SUM(CASE WHEN outcome = 'error' THEN 1 ELSE 0 END) AS errors FROM audit_log
WHERE timestamp > datetime('now', '-1 day')
GROUP BY tool HAVING 100.0 * errors / total > 5 ORDER BY tool"""


def test_queries_about_now_at_the_edges_of_an_hour_and_a_day(tmp_path: Path, run: Run) -> None:
    """What the sqlite3 program answers at that moment is what a loop over the calls says."""
    calls = [
        (edge, user, tool, False) for edge in EDGES for user, tool in (("ada", "delete_a"), ("bob", "read"))
    ]
    for user, count in (("busy", 500), ("busier", 501)):
        calls += [(EDGES[2] + n * MICRO, user, "search", n % 20 == 0) for n in range(count)]
        calls.append((EDGES[1], user, "search", False))
    maker = Maker(tmp_path / "audit.jsonl")
    for moment, user, tool, failed in calls:
        text = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        status = "error" if failed else "success"
        body = operation(
            timestamp=text, source__user_id=user, target__capability_name=tool, outcome__status=status
        )
        maker.add(body)
    assert run("log", "--trail", maker.layout.active, "--export-sqlite", tmp_path / "a.db").returncode == 0

    def asked(sql: str) -> list[list[object]]:
        moment = f"{NOW:%Y-%m-%d %H:%M:%S}"
        done = subprocess.run(
            ["faketime", "-f", moment, "sqlite3", "-json", "-readonly", str(tmp_path / "a.db"), sql],
            env={**os.environ, "TZ": "UTC"}, capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        return [list(row.values()) for row in json.loads(done.stdout)]

    day, hour = NOW - dt.timedelta(days=1), NOW - dt.timedelta(hours=1)
    assert asked(DESTRUCTIVE) == [
        [moment.strftime("%Y-%m-%d %H:%M:%S.%f"), "ada", tool, '{"path":"/srv/0"}']
        for moment, _, tool, _ in sorted(calls)
        if moment >= day and tool == "delete_a"
    ]
    users = Counter(user for moment, user, _, _ in calls if moment >= hour)
    assert (
        asked(FREQUENT) == [[user, count] for user, count in users.items() if count > 500] == [["busier", 501]]
    )
    errors = Counter(tool for moment, _, tool, failed in calls if moment >= day and failed)
    totals = Counter(tool for moment, _, tool, _ in calls if moment >= day)
    assert asked(FAILING) == [
        [tool, total, errors[tool]] for tool, total in sorted(totals.items()) if errors[tool] / total > 0.05
    ] == [["search", 1003, 51]]  # fmt: skip


def test_miller_reads_it(trail: Path, run: Run) -> None:
    done = run("log", "--trail", str(trail), "--export-csv", "-")
    read = subprocess.run(
        ["mlr", "--icsv", "--ojsonl", "cut", "-o", "-f", "seq,user_id,input_json"],
        input=done.stdout, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    rows = [json.loads(line) for line in read.stdout.splitlines()]
    assert len(rows) == MANY
    assert {row["user_id"] for row in rows} == {
        "'=1+1", 'a"b,c', "two\nlines", "\\u0000", "é", "\N{GRINNING FACE}", "'; DROP TABLE audit_log; --",
    }  # fmt: skip
    assert all(json.loads(row["input_json"])["path"].startswith("/srv/") for row in rows)


def test_another_process_reads_the_duckdb_file_read_only(trail: Path, tmp_path: Path, run: Run) -> None:
    assert run("log", "--trail", str(trail), "--export-duckdb", tmp_path / "a.duckdb").returncode == 0
    (tmp_path / "a.duckdb").chmod(0o400)
    program = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); "
        "print(c.execute('SELECT count(*), max(timestamp) < now() FROM logs').fetchone())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.duckdb")]
    asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert asked.stdout == f"({MANY}, True)\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is in /proc")
def test_memory_does_not_grow_with_what_is_exported(tmp_path: Path, home: dict[str, str]) -> None:
    """36,000 more events are 17 MB of lines, and far more as rows: none of it is kept."""
    peaks = []
    for count in (4_000, 40_000):
        maker = Maker(tmp_path / str(count) / "audit.jsonl").add_many(count)
        program = (
            "import sys; from indelible.cli import main; code = main(sys.argv[1:]); "
            "print(open('/proc/self/status').read()); sys.exit(code)"
        )
        options = [f"--export-{kind}={tmp_path / str(count)}/out.{kind}" for kind in ("csv", "sqlite")]
        command = [sys.executable, "-c", program, "log", "--trail", str(maker.layout.active), *options]
        done = subprocess.run(command, env=home, capture_output=True, text=True, check=True, timeout=300)
        peaks.append(int(done.stdout.partition("VmHWM:")[2].split()[0]))
    assert peaks[1] - peaks[0] < 12_000
