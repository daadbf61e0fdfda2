"""What an export holds is what a plain loop over the lines says, whatever is in them; people's own tools read it."""

import csv
import datetime as dt
import io
import json
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indelible.query.columns import COLUMNS, log_of, row_of, view_columns
from indelible.query.engine.asking import ALL, Asked
from indelible.query.exports import audit_log
from indelible.query.exports.cells import original
from indelible.query.exports.exporting import Kind, export, make_orders
from indelible.query.filters import Filter
from indelible.query.search import Corrupt, Hit, TrailSearch
from tests.effort import examples
from tests.trails import ORIGIN, Maker, at, operation
from tests.unit.query.test_engine import LINES, NO_ENTRIES, ODD_ENTRIES, trail_of

Row = dict[str, Any]
pytestmark = pytest.mark.slow

CALLS = Filter()
JSON = {name for name, type_ in view_columns("logs") if type_ == "JSON"}


def found(path: Path, wanted: Filter = ALL) -> list[Hit]:
    with TrailSearch(path, wanted, Corrupt()) as search:
        return list(search.all())


def rows_of(hits: list[Hit], wanted: Filter = ALL) -> list[Row]:
    """Return the rows of the events that are wanted: the reference."""
    matches = wanted.predicate()
    rows = [row_of(hit.line, hit.origin) for hit in hits if matches(hit.row)]
    assert None not in rows
    return [row for row in rows if row is not None]


def write(hits: list[Hit], folder: Path, *kinds: Kind, listed: Filter = ALL) -> dict[Kind, Path]:
    names: dict[Kind, str] = {kind: str(folder / f"out.{kind}") for kind in kinds}
    export(hits, make_orders(names), listed)
    assert sorted(path.name for path in folder.glob(".*")) == []
    return {kind: Path(name) for kind, name in names.items()}


def loaded(name: str, value: Any) -> Any:
    """Return a value in which JSON is compared by what it says, and times by when they are."""
    if name in JSON and value is not None:
        return json.dumps(json.loads(value, parse_int=float), sort_keys=True)
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value


def comparable(rows: list[Row]) -> list[Row]:
    return [{name: loaded(name, value) for name, value in row.items()} for row in rows]


def csv_rows(data: bytes) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True)
    assert reader.fieldnames == [name for name, _ in view_columns("logs")]
    return list(reader)


def duckdb_rows(path: Path, table: str) -> list[Row]:
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        result = connection.execute(f"FROM {table}")
        names = [column[0] for column in result.description]
        return comparable([dict(zip(names, row, strict=True)) for row in result.fetchall()])


def parquet_rows(path: Path) -> list[Row]:
    table = pq.read_table(path)
    return comparable(
        [{name: table[name][at].as_py() for name in table.column_names} for at in range(len(table))]
    )


def sqlite_rows(path: Path) -> list[Row]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return [dict(row) for row in connection.execute("SELECT * FROM audit_log ORDER BY rowid")]
    finally:
        connection.close()


CSV_READ: dict[str, Callable[[str], Any]] = {
    "VARCHAR": original,
    "BIGINT": int,
    "DOUBLE": float,
    "TIMESTAMPTZ": dt.datetime.fromisoformat,
    "VARCHAR[]": json.loads,
    "JSON": lambda cell: cell.removeprefix("'"),
    "BOOLEAN": lambda cell: {"true": True, "false": False}[cell],
}


def read_back(name: str, type_: str, cell: str) -> Any:
    return None if cell == "" else loaded(name, CSV_READ[type_](cell))


def without_empty(rows: list[Row]) -> list[Row]:
    """Return rows as CSV has them, in which an empty text is what is not known."""
    return [{name: None if value == "" else value for name, value in row.items()} for row in rows]


@given(some=st.lists(LINES, max_size=20))
@settings(max_examples=examples(20), deadline=None)
@example(some=[*NO_ENTRIES, *ODD_ENTRIES])
def test_every_form_says_what_the_loop_says(
    tmp_path_factory: pytest.TempPathFactory, some: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("x")
    hits = found(trail_of(folder / "audit.jsonl", some))
    rows = rows_of(hits)
    logs = comparable([log_of(row) for row in rows])
    files = write(hits, folder, "csv", "sqlite", "duckdb", "parquet")
    assert duckdb_rows(files["duckdb"], "events") == comparable(rows)
    calls = [log for log in logs if log["event_type"] == "mcp_operation"]
    assert duckdb_rows(files["duckdb"], "logs") == calls
    assert parquet_rows(files["parquet"]) == logs
    assert sqlite_rows(files["sqlite"]) == [
        dict(zip([field.name for field in audit_log.FIELDS], audit_log.values_of(row), strict=True))
        for row in rows
        if row["event_type"] == "mcp_operation"
    ]
    read = csv_rows(files["csv"].read_bytes())
    types = dict(view_columns("logs"))
    assert [
        {name: read_back(name, types[name], cell) for name, cell in row.items()} for row in read
    ] == without_empty(logs)


@given(some=st.lists(LINES, max_size=25))
@settings(max_examples=examples(12), deadline=None)
def test_the_columns_of_logs_are_those_of_the_view(
    tmp_path_factory: pytest.TempPathFactory, some: list[bytes]
) -> None:
    path = trail_of(tmp_path_factory.mktemp("x") / "audit.jsonl", some)
    with Asked([path], ALL) as asked:
        result = asked.query("FROM logs")
        view = comparable([dict(zip(result.names, row, strict=True)) for row in result.rows])
    assert view == comparable([log_of(row) for row in rows_of(found(path), CALLS)])


# --- a trail of many files -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a trail of three files, one compressed, with intents, an erased event, and a torn line."""
    maker = Maker(tmp_path_factory.mktemp("exports") / "audit.jsonl")
    for number in range(60):
        denied = number % 7 == 0
        failed = number % 5 == 0
        kind = "denied" if denied else "tool_error" if failed else "completed"
        body = operation(
            number * 200,
            source__caller="http" if number % 2 else "stdio",
            source__user_id=f"u{number % 3}",
            target__capability_name=["read_file", "delete_file", "search"][number % 3],
            target__effects=["read_only", "destructive", "unknown"][number % 3],
            policy={"decision": "deny" if denied else "allow", "reason": "rule 1" if denied else None},
        )
        body["outcome"] = {
            "status": "success" if kind == "completed" else "error",
            "kind": kind,
            "latency_ms": number + 0.5,
        }
        maker.add({**body, "event_type": "mcp_operation_started", "outcome": None, "policy": None})
        maker.add(body)
        if number in (20, 40):
            maker.rotate(compress=number == 20)
    maker.raw(b'{"seq":99,"torn\n')
    return maker.seal().layout.active


@pytest.fixture
def rows(trail: Path) -> list[Row]:
    return rows_of(found(trail, CALLS), CALLS)


@pytest.fixture
def duck(trail: Path, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    path = write(found(trail), tmp_path, "duckdb", listed=CALLS)["duckdb"]
    connection = duckdb.connect(str(path), read_only=True)
    connection.execute("SET TimeZone = 'UTC'")
    yield connection
    connection.close()


def test_logs_begins_with_the_columns_of_mxcp(duck: duckdb.DuckDBPyConnection) -> None:
    described = duck.execute("DESCRIBE logs").fetchall()
    assert [(name, type_) for name, type_, *_ in described[:10]] == [
        ("timestamp", "TIMESTAMP WITH TIME ZONE"), ("caller", "VARCHAR"), ("type", "VARCHAR"), ("name", "VARCHAR"),
        ("input_json", "JSON"), ("duration_ms", "BIGINT"), ("policy_decision", "VARCHAR"), ("reason", "VARCHAR"),
        ("status", "VARCHAR"), ("error", "VARCHAR"),
    ]  # fmt: skip
    assert {name for name, *_ in described} >= {one.name for one in COLUMNS}


def test_events_holds_every_type_and_logs_the_calls(duck: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    types = duck.execute("SELECT event_type, count(*) FROM events GROUP BY ALL ORDER BY ALL").fetchall()
    assert types == [("file_opened", 3), ("mcp_operation", 60), ("mcp_operation_started", 60)]
    assert duck.execute("SELECT count(*) FROM logs").fetchone() == (len(rows),) == (60,)


# The queries of MXCP's documentation ("Audit Logging", analysis examples), as they stand.
TOP_TOOLS = """
-- Top 10 most used tools
SELECT name, COUNT(*) as count
FROM logs
WHERE type = 'tool'
GROUP BY name
ORDER BY count DESC
LIMIT 10;
"""
ERROR_RATE = """
-- Error rate by hour
SELECT 
  DATE_TRUNC('hour', timestamp) as hour,
  COUNT(CASE WHEN status = 'error' THEN 1 END) as errors,
  COUNT(*) as total,
  ROUND(100.0 * COUNT(CASE WHEN status = 'error' THEN 1 END) / COUNT(*), 2) as error_rate
FROM logs
GROUP BY hour
ORDER BY hour DESC;
"""  # noqa: W291 - the blank is in the original
DENIALS = """
-- Policy violations by user
SELECT 
  caller,
  COUNT(*) as violations
FROM logs
WHERE policy_decision = 'deny'
GROUP BY caller
ORDER BY violations DESC;
"""  # noqa: W291


def counted(rows: list[Row], column: str) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for row in rows:
        counts[row[column]] = counts.get(row[column], 0) + 1
    return counts


def test_top_tools(duck: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    tools = counted([row for row in rows if row["type"] == "tool"], "capability_name")
    assert dict(duck.execute(TOP_TOOLS).fetchall()) == tools


def test_error_rate_by_hour(duck: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    hours: dict[dt.datetime, list[bool]] = {}
    for row in rows:
        hour = row["timestamp"].replace(minute=0, second=0, microsecond=0)
        hours.setdefault(hour, []).append(row["status"] == "error")
    expected = [
        (hour, sum(errors), len(errors), round(100 * sum(errors) / len(errors), 2))
        for hour, errors in sorted(hours.items(), reverse=True)
    ]
    assert len(expected) > 3
    assert duck.execute(ERROR_RATE).fetchall() == expected


def test_denials_by_caller(duck: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    denied = [row for row in rows if row["policy_decision"] == "deny"]
    assert dict(duck.execute(DENIALS).fetchall()) == counted(denied, "caller")


# Those of its operations guide ("Audit Log Analysis"), as they stand.
VOLUME = """
-- Request volume by hour
SELECT 
  DATE_TRUNC('hour', timestamp) as hour,
  COUNT(*) as requests,
  COUNT(DISTINCT caller) as unique_users
FROM logs
GROUP BY hour
ORDER BY hour DESC;
"""  # noqa: W291
BY_ENDPOINT = """
-- Error rate by endpoint
SELECT 
  name as endpoint,
  COUNT(*) as total_requests,
  COUNT(CASE WHEN status = 'error' THEN 1 END) as errors,
  ROUND(100.0 * COUNT(CASE WHEN status = 'error' THEN 1 END) / COUNT(*), 2) as error_rate
FROM logs
WHERE type = 'tool'
GROUP BY name
HAVING COUNT(*) > 10
ORDER BY error_rate DESC;
"""  # noqa: W291
RESPONSE_TIMES = """
-- Average response time by endpoint
SELECT 
  name,
  AVG(duration_ms) as avg_duration_ms,
  MAX(duration_ms) as max_duration_ms,
  COUNT(*) as request_count
FROM logs
WHERE status = 'success'
GROUP BY name
ORDER BY avg_duration_ms DESC;
"""  # noqa: W291
VIOLATIONS = """
-- Policy violations
SELECT 
  timestamp,
  name,
  caller,
  reason
FROM logs
WHERE policy_decision = 'deny'
ORDER BY timestamp DESC
LIMIT 20;
"""  # noqa: W291


def by_name(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["capability_name"], []).append(row)
    return groups


def test_volume_by_hour(duck: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    hours: dict[dt.datetime, list[str]] = {}
    for row in rows:
        hours.setdefault(row["timestamp"].replace(minute=0, second=0, microsecond=0), []).append(row["caller"])
    assert duck.execute(VOLUME).fetchall() == [
        (hour, len(callers), len(set(callers))) for hour, callers in sorted(hours.items(), reverse=True)
    ]


def test_errors_and_times_by_endpoint(duck: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    asked = {name: rest for name, *rest in duck.execute(BY_ENDPOINT).fetchall()}
    for name, group in by_name(rows).items():
        errors = sum(row["status"] == "error" for row in group)
        assert asked.pop(name) == [len(group), errors, round(100 * errors / len(group), 2)]
    assert asked == {}
    asked = {name: rest for name, *rest in duck.execute(RESPONSE_TIMES).fetchall()}
    for name, group in by_name([row for row in rows if row["status"] == "success"]).items():
        took = [int(row["latency_ms"] + 0.5) for row in group]
        assert asked.pop(name) == [pytest.approx(sum(took) / len(took)), max(took), len(took)]
    assert asked == {}


def test_violations(duck: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    assert duck.execute(VIOLATIONS).fetchall() == [
        (row["timestamp"], row["capability_name"], row["caller"], "rule 1")
        for row in reversed(rows)
        if row["policy_decision"] == "deny"
    ]


# --- the edges of an hour and a day -----------------------------------------------------------------------------

DESTRUCTIVE = """
SELECT timestamp, actor_id, tool, args FROM audit_log
WHERE tool LIKE 'delete%' AND timestamp > datetime({now}, '-1 day')
ORDER BY timestamp DESC
"""
FREQUENT = """
SELECT actor_id, COUNT(*) AS calls FROM audit_log
WHERE timestamp > datetime({now}, '-1 hour')
GROUP BY actor_id HAVING calls > 500 ORDER BY calls DESC
"""
FAILING = """
SELECT tool, COUNT(*) AS total,
  SUM(CASE WHEN outcome = 'error' THEN 1 ELSE 0 END) AS errors,
  ROUND(100.0 * SUM(CASE WHEN outcome = 'error' THEN 1 ELSE 0 END) / COUNT(*), 2) AS error_rate
FROM audit_log WHERE timestamp > datetime({now}, '-1 day')
GROUP BY tool HAVING error_rate > 5 ORDER BY error_rate DESC
"""
MICRO = dt.timedelta(microseconds=1)
NOW = dt.datetime(2026, 11, 20, 12, 30, 15, tzinfo=dt.UTC)
EDGES = [
    edge + step * MICRO
    for edge in (NOW - dt.timedelta(hours=1), NOW - dt.timedelta(days=1))
    for step in (-1_000_000, -1, 0, 1, 499_999, 500_000, 999_500, 999_999, 1_000_000)
]


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> tuple[sqlite3.Connection, list[Row]]:
    """Return an export of calls around the edges of the last hour and day before `NOW`, and its rows."""
    folder = tmp_path_factory.mktemp("edges")
    maker = Maker(folder / "audit.jsonl")

    def add(moment: dt.datetime, user: str, tool: str, *, failed: bool = False) -> None:
        text = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        changes: Row = {"outcome__status": "error"} if failed else {}
        maker.add(
            operation(
                timestamp=text,
                source__user_id=user,
                target__capability_name=tool,
                source__client_ip=None,
                **changes,
            )
        )

    for count, user in (
        (500, "busy"),
        (501, "busier"),
    ):  # one at the very edge of the hour makes the difference
        for number in range(count):
            add(EDGES[2] + number * dt.timedelta(seconds=7), user, "read_file", failed=number % 25 == 0)
        add(EDGES[1], user, "read_file")
    for number, moment in enumerate(EDGES):
        add(moment, "ada", "delete_file", failed=number == 9 or number % 10 == 0)
        add(moment, "", "delete_user")
    add(NOW.astimezone(dt.timezone(dt.timedelta(hours=9))), "ada", "delete_tokyo")
    hits = found(maker.layout.active, CALLS)
    path = write(hits, folder, "sqlite")["sqlite"]
    return sqlite3.connect(path), rows_of(hits)


def since(rows: list[Row], begin: dt.datetime) -> list[Row]:
    return [row for row in rows if row["timestamp"] >= begin]


def sqlite_text(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def test_destructive_calls_of_a_day(edges: tuple[sqlite3.Connection, list[Row]]) -> None:
    connection, rows = edges
    asked = connection.execute(DESTRUCTIVE.format(now=f"'{NOW:%Y-%m-%d %H:%M:%S}'")).fetchall()
    expected = [
        (sqlite_text(row["timestamp"]), row["user_id"] or "anonymous", row["capability_name"], row["args"])
        for row in since(rows, NOW - dt.timedelta(days=1))
        if row["capability_name"].startswith("delete")
    ]
    assert sorted(asked) == sorted(expected)
    assert len(expected) == 2 * (9 + 7) + 1


def test_callers_over_five_hundred_an_hour(edges: tuple[sqlite3.Connection, list[Row]]) -> None:
    connection, rows = edges
    asked = connection.execute(FREQUENT.format(now=f"'{NOW:%Y-%m-%d %H:%M:%S}'")).fetchall()
    counts = counted(since(rows, NOW - dt.timedelta(hours=1)), "user_id")
    assert dict(asked) == {user: count for user, count in counts.items() if count > 500} == {"busier": 501}


def test_tools_that_fail_more_than_one_time_in_twenty(edges: tuple[sqlite3.Connection, list[Row]]) -> None:
    connection, rows = edges
    asked = connection.execute(FAILING.format(now=f"'{NOW:%Y-%m-%d %H:%M:%S}'")).fetchall()
    tools: dict[str, list[bool]] = {}
    for row in since(rows, NOW - dt.timedelta(days=1)):
        tools.setdefault(row["capability_name"], []).append(row["status"] == "error")
    rates = {
        tool: (len(errors), sum(errors), round(100 * sum(errors) / len(errors), 2))
        for tool, errors in tools.items()
    }
    assert {tool: rest for tool, *rest in asked} == {
        tool: list(numbers) for tool, numbers in rates.items() if numbers[2] > 5
    }
    assert 0 < len(asked) < len(tools)


def test_with_now_itself(tmp_path: Path) -> None:
    """The queries as people have them: what is an hour old plus or minus a minute is on the right side."""
    now = dt.datetime.now(dt.UTC)
    maker = Maker(tmp_path / "audit.jsonl")
    ages = {"delete_new": 1, "delete_hour": 59 * 60, "delete_day": 24 * 3600 - 60, "delete_old": 24 * 3600 + 60}
    for tool, age in ages.items():
        text = (now - dt.timedelta(seconds=age)).isoformat(timespec="microseconds").replace("+00:00", "Z")
        maker.add(operation(timestamp=text, target__capability_name=tool))
    path = write(found(maker.layout.active), tmp_path, "sqlite")["sqlite"]
    with sqlite3.connect(path) as connection:
        tools = {tool for _, _, tool, _ in connection.execute(DESTRUCTIVE.format(now="'now'"))}
        assert tools == {"delete_new", "delete_hour", "delete_day"}
        assert connection.execute(FREQUENT.format(now="'now'")).fetchall() == []
    connection.close()


def test_the_table_keeps_to_its_types_and_has_indexes(edges: tuple[sqlite3.Connection, list[Row]]) -> None:
    connection, _ = edges
    (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'audit_log'").fetchone()
    assert sql.endswith(" STRICT")
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT count(*) FROM audit_log WHERE timestamp > datetime('now', '-1 day')"
    ).fetchall()
    assert "audit_log_timestamp" in plan[0][3]
    names = [name for (name,) in connection.execute("SELECT name FROM pragma_table_info('audit_log')")]
    assert names[:5] == ["timestamp", "actor_id", "tool", "args", "outcome"]
    assert len(names) == len({name.lower() for name in names})


# --- more than one batch, and what is left out -------------------------------------------------------------------


def test_many_rows_are_all_there_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from indelible.query.exports import duckdb_file

    monkeypatch.setattr(duckdb_file, "STAGED_BYTES", 1 << 20)
    maker = Maker(tmp_path / "audit.jsonl").add_many(3_500)
    hits = found(maker.layout.active, CALLS)
    files = write(hits, tmp_path, "csv", "sqlite", "duckdb", "parquet")
    expected = [row["seq"] for row in rows_of(hits)]
    assert [int(row["seq"]) for row in csv_rows(files["csv"].read_bytes())] == expected
    assert [row["seq"] for row in sqlite_rows(files["sqlite"])] == expected
    assert [row["seq"] for row in duckdb_rows(files["duckdb"], "logs")] == expected
    assert pq.read_table(files["parquet"])["seq"].to_pylist() == expected
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}


def test_what_is_no_call_is_counted_where_there_is_no_place_for_it(trail: Path, tmp_path: Path) -> None:
    orders = make_orders({"sqlite": str(tmp_path / "a.db"), "csv": str(tmp_path / "a.csv")})
    table, cells = export(found(trail), orders, ALL)
    assert (table.summary, table.passed_over) == ("60 calls", 63)
    assert (cells.summary, cells.passed_over) == ("123 events", 0)


def test_csv_is_as_rfc_4180_has_it(trail: Path, tmp_path: Path) -> None:
    data = write(found(trail, CALLS), tmp_path, "csv")["csv"].read_bytes()
    lines = data.split(b"\r\n")
    assert lines.pop() == b""
    assert len(lines) == 61
    assert lines[0] == ",".join(name for name, _ in view_columns("logs")).encode()
    assert at(0).encode() in lines[1]
    assert ORIGIN.encode() in lines[1]


def test_duckdb_reads_the_csv_itself(trail: Path, tmp_path: Path, rows: list[Row]) -> None:
    path = write(found(trail, CALLS), tmp_path, "csv")["csv"]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        read = connection.execute(
            f"SELECT seq, timestamp, duration_ms, input_json FROM read_csv('{path}', strict_mode=true)"
        ).fetchall()
    logs = [log_of(row) for row in rows]
    assert [(seq, when.astimezone(dt.UTC), took, said) for seq, when, took, said in read] == [
        (log["seq"], log["timestamp"], log["duration_ms"], log["input_json"]) for log in logs
    ]
