"""SQL over a trail reads the views, and nothing else: by what its tree is, and by what the connection can reach."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from indelible.errors import TrailError
from indelible.query.engine.asking import ALL, Asked
from indelible.query.engine.connection import Caps, Connection
from indelible.query.engine.functions import FUNCTIONS, TABLE_FUNCTIONS
from indelible.query.engine.guard import SqlError, check_condition, check_query
from tests.trails import Maker


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    maker = Maker(tmp_path_factory.mktemp("guard") / "a.jsonl").add_many(20)
    with Asked([maker.layout.active], ALL) as found:
        yield found


@pytest.fixture(scope="module")
def bare() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def serializer(bare: duckdb.DuckDBPyConnection) -> Any:
    def serialize(sql: str) -> Any:
        found = bare.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
        assert found is not None
        return json.loads(found[0])

    return serialize


QUERIES = [
    "SELECT count(*) FROM logs",
    "FROM events SELECT * EXCLUDE (args) LIMIT 3;",
    "WITH slow AS (FROM logs WHERE latency_ms > 1) SELECT name, max(latency_ms) FROM slow GROUP BY ALL",
    "SELECT name, row_number() OVER (PARTITION BY name ORDER BY seq) FROM logs QUALIFY 1 = 1",
    "SELECT key, count(*) FROM logs, json_each(args) GROUP BY 1",
    "SELECT [upper(role) for role in roles], unnest([1, 2]), args->>'path', args.path FROM logs",
    "SELECT a.name FROM logs a JOIN events b USING (seq) UNION ALL SELECT 'x' ORDER BY 1",
    "SELECT date_trunc('hour', timestamp), timestamp AT TIME ZONE 'Asia/Tokyo', now() - INTERVAL 1 DAY FROM logs",
    "WITH a AS (FROM logs), b AS (FROM a), c AS (WITH d AS (FROM a) FROM d, b SELECT d.name) SELECT name FROM c",
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n",
    "VALUES (1, 'it''s')",
    "SELECT CASE WHEN status = 'error' THEN 1 ELSE 0 END, name IN ('a'), name BETWEEN 'a' AND 'b', NOT true FROM logs",
    "SELECT count(*) FILTER (status = 'error') / count(*), quantile_cont(latency_ms, 0.95) FROM logs",
]


@pytest.mark.parametrize("sql", QUERIES)
def test_what_people_ask_is_answered(asked: Asked, sql: str) -> None:
    assert list(asked.query(sql).rows)


REFUSED = {
    "DELETE FROM logs": "only queries can be asked",
    "CREATE TABLE t (a INT)": "only queries can be asked",
    "COPY (SELECT 1) TO '/tmp/x'": "only queries can be asked",
    "ATTACH '/tmp/x'": "only queries can be asked",
    "INSTALL httpfs": "only queries can be asked",
    "LOAD httpfs": "only queries can be asked",
    "SET threads = 1": "only queries can be asked",
    "RESET memory_limit": "only queries can be asked",
    "PRAGMA version": "only queries can be asked",
    "CALL duckdb_settings()": "only queries can be asked",
    "EXPLAIN SELECT 1": "only queries can be asked",
    "EXPORT DATABASE '/tmp/x'": "only queries can be asked",
    "PREPARE p AS SELECT 1": "only queries can be asked",
    "USE x": "only queries can be asked",
    "SELECT 1; DROP VIEW logs": "only queries can be asked",
    "SELECT 1; SELECT 2": "expected one query, found 2",
    "DESCRIBE logs": "show ref is not allowed here",
    "SHOW TABLES": "show ref is not allowed here",
    "SUMMARIZE logs": "show ref is not allowed here",
    "SELECT ?": "there are no parameters",
    "SELECT $name": "there are no parameters",
    "FROM '/etc/passwd'": "no table '/etc/passwd'",
    "FROM event": "no table 'event' at character 6; did you mean 'events'?",
    "FROM duckdb_settings": "no table 'duckdb_settings'",
    "FROM information_schema.tables": "no table 'information_schema.tables'",
    "FROM memory.main.logs": "no table 'memory.main.logs'",
    "FROM _every": "no table '_every'",
    "FROM read_text('/etc/passwd')": "the function 'read_text' is not allowed here",
    "FROM range((SELECT length(getenv('A'))))": "the function 'getenv' is not allowed",
    "FROM glob('/*')": "the function 'glob' is not allowed here",
    "FROM query('SELECT 1')": "the function 'query' is not allowed here",
    "FROM query_table('logs')": "the function 'query_table' is not allowed here",
    "FROM duckdb_secrets()": "the function 'duckdb_secrets' is not allowed here",
    "SELECT getenv('HOME')": "the function 'getenv' is not allowed here at character 8",
    "SELECT (SELECT max(x) FROM (SELECT getenv('HOME') AS x))": "the function 'getenv' is not allowed here",
    "SELECT 1 FROM logs WHERE name IN (SELECT content FROM read_text('x'))": "the function 'read_text' is not allowed",
    "SELECT list_transform([1], lambda x: current_setting('threads'))": "'current_setting' is not allowed",
    "SELECT count(*) FILTER (getvariable('x')) FROM logs": "the function 'getvariable' is not allowed",
    "SELECT 1 ORDER BY nextval('s')": "the function 'nextval' is not allowed",
    "SELECT 1 LIMIT (SELECT write_log('x'))": "the function 'write_log' is not allowed",
    "SELECT sum(1) OVER (ORDER BY sleep_ms(9))": "the function 'sleep_ms' is not allowed",
    "WITH x AS (SELECT getenv('A')) SELECT 1": "the function 'getenv' is not allowed",
    "SELECT json_serialize_plan('SELECT 1')": "the function 'json_serialize_plan' is not allowed",
    "SELECT name.upper() FROM logs": "a function is called by its name alone, as in upper(name), at character 8",
    "SELECT system.main.getenv('A')": "a function is called by its name alone",
    "FROM logs AT (VERSION => 1)": "AT is not allowed here",
    "WITH logs AS (SELECT 1) FROM logs": "WITH logs: there is a table of that name",
    "WITH a AS (FROM b), b AS (FROM duckdb_settings) FROM a": "no table 'b'",
    "WITH a AS (FROM duckdb_settings), b AS (FROM a) FROM b": "no table 'duckdb_settings'",
    'WITH "/etc/hosts.csv" AS (FROM "/etc/hosts.csv") FROM "/etc/hosts.csv"': "no table '/etc/hosts.csv'",
    'WITH RECURSIVE a AS (FROM "/etc/hosts.csv"), "/etc/hosts.csv" AS (SELECT 1) FROM a': "no table '/etc/hosts.csv'",
    "WITH a AS (SELECT 1) SELECT (WITH b AS (FROM a) SELECT 1 FROM b), 1 FROM b": "no table 'b'",
    "": "there is no query in it",
    " ; ": "there is no query in it",
    "SELECT\n  nmae FROM (": "at line 2",
    "SELECT 'abc": "unterminated",
    "SELECT " + "-" * 3000 + "1": "",
    "SELECT " + "1 + " * 300 + "1": "nested too deep",
    "SELECT '\0'": "a NUL character",
    "SELECT '" + "x" * 100_001 + "'": "at most 100000",
}


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: sql[:60])
def test_everything_else_is_refused_in_one_line(asked: Asked, sql: str) -> None:
    with pytest.raises(SqlError) as refused:
        asked.query(sql)
    assert REFUSED[sql] in str(refused.value)
    assert "\n" not in str(refused.value)


CONDITIONS = {
    "true) UNION SELECT 1 FROM (SELECT 1": "expected one condition",
    "true) GROUP BY ALL HAVING (true": "expected one condition",
    "true) LIMIT (1": "expected one condition",
    "true) QUALIFY (true": "expected one condition",
    "true ORDER BY 1": "syntax error",
    "true; SELECT 1": "syntax error",
    "tol = 'x'": "no column 'tol' at character 1; did you mean",
    "status = 'error'\n  AND latency > 3": "no column 'latency' at line 2, character 7; did you mean 'latency_ms'?",
    "getenv('A') = ''": "the function 'getenv' is not allowed here at character 1",
    "sum(latency_ms) > 3": "aggregates at character 1",
    "_line = ''": "no column '_line'",
    "": "there is no query in it",
}


@pytest.mark.parametrize("sql", CONDITIONS)
def test_a_condition_is_one(asked: Asked, sql: str) -> None:
    with pytest.raises(SqlError) as refused:
        asked.check_condition(sql)
    assert CONDITIONS[sql] in str(refused.value)


def test_no_function_of_duckdb_is_let_in_unseen(bare: duckdb.DuckDBPyConnection) -> None:
    """Every name that DuckDB has is either in the list, or refused wherever it may stand."""
    rows = bare.execute("SELECT DISTINCT function_name, function_type FROM duckdb_functions()").fetchall()
    serialize = serializer(bare)
    for name, kind in rows:
        quoted = '"' + name.replace('"', '""') + '"'
        is_table = kind in ("table", "table_macro", "pragma")
        sql = f"SELECT * FROM {quoted}()" if is_table else f"SELECT {quoted}()"
        try:
            check_query(sql, serialize, tuple)
            passed = True
        except SqlError:
            passed = False
        assert passed == (name.lower() in (TABLE_FUNCTIONS if is_table else FUNCTIONS)), (name, kind)


DANGEROUS = """
getenv current_setting getvariable query query_table read_text read_blob read_csv read_json read_parquet glob sniff_csv
parquet_scan nextval setseed write_log sleep_ms pg_sleep version json_execute_serialized_sql json_serialize_plan
duckdb_secrets which_secret enable_logging seq_scan pandas_scan arrow_scan python_map_function checkpoint current_user
"""


@pytest.mark.parametrize("name", DANGEROUS.split())
def test_what_reaches_outside_is_not_in_the_list(name: str) -> None:
    assert name not in FUNCTIONS | TABLE_FUNCTIONS


# --- the lock ---------------------------------------------------------------------------------------------

LOCKED = [
    "FROM read_text('/etc/hostname')", "FROM read_text('{other}')", "FROM glob('/etc/*')", "COPY (SELECT 1) TO '{new}'",
    "ATTACH '{new}' AS other", "INSTALL httpfs", "LOAD httpfs", "SET threads = 1", "SET enable_external_access = true",
    "RESET lock_configuration", "SET memory_limit = '10GB'", "FROM read_text('https://127.0.0.1:1/')",
    "EXPORT DATABASE '{new}'", "SELECT getenv('HOME')", "FROM secret", "SET temp_directory = '/tmp'",
]  # fmt: skip


@pytest.mark.parametrize("sql", LOCKED)
def test_the_connection_is_locked_for_what_the_tree_would_let_by(tmp_path: Path, sql: str) -> None:
    """Without the judge in front of it: whoever got past that would find nothing."""
    allowed, other, new = tmp_path / "allowed", tmp_path / "other", tmp_path / "new"
    allowed.write_text("seen")
    other.write_text("not to be seen")
    secret = [1]
    with Connection([str(allowed)], Caps()) as connection:
        assert connection.trial(f"SELECT content FROM read_text('{allowed}')") == ("seen",)
        with pytest.raises((TrailError, SqlError)):
            list(connection.run(sql.format(other=other, new=new)).rows)
    assert not new.exists()
    assert secret == [1]


# --- caps -------------------------------------------------------------------------------------------------


def test_a_query_ends_when_its_time_is_over_and_the_next_is_answered() -> None:
    with Connection([], Caps(seconds=0.5)) as connection:
        with pytest.raises(TrailError, match=r"took longer than 0\.5 s"):
            list(connection.run("SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)").rows)
        assert list(connection.run("SELECT 1").rows) == [(1,)]


def test_a_query_that_needs_too_much_memory_is_ended_and_the_next_is_answered() -> None:
    with Connection([], Caps(memory_mb=64)) as connection:
        with pytest.raises(TrailError, match="more than 64 MB"):
            list(connection.run("SELECT list(i) FROM range(100000000) t(i)").rows)
        assert list(connection.run("SELECT 1").rows) == [(1,)]


def test_a_condition_with_a_subquery_is_known_for_one(bare: duckdb.DuckDBPyConnection) -> None:
    assert not check_condition("seq > 3", serializer(bare), tuple)
    assert check_condition("seq > (SELECT avg(seq) FROM logs)", serializer(bare), tuple)
