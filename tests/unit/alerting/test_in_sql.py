"""A rule's condition says the same in SQL as in CEL, or says that it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from indelible.alerting import cel
from indelible.alerting.facts import facts
from indelible.alerting.in_sql import NUMBERS, TEXTS, in_sql
from indelible.formats.record import Record
from indelible.query.columns import log_of, row_of, view_columns
from indelible.trail.entry import stamp
from tests.effort import examples
from tests.trails import ORIGIN, at, encode, operation

pytest.importorskip("cel")

WORDS = [
    "",
    "ada",
    "read_file",
    "deny",
    "n/a",
    "mcp_operation",
    "a'b",
    "é\U0001f600",
    "%",
    "a\\b",
    "_",
    'q"',
    "<b>",
]
SHOWN = ["1", "1.0", "0", "0.5", "1e3", "2.5e-1", "300", "1000000"]
TEXT = st.sampled_from(WORDS)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if "'" in text or "\\" in text else f"'{text}'"


LITERALS = TEXT.map(quoted)
TESTS = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(sorted(TEXTS)), st.sampled_from(["==", "!="]), LITERALS),
    st.builds("{}.{}({})".format, st.sampled_from(sorted(TEXTS)),
              st.sampled_from(["startsWith", "endsWith", "contains", "matches"]), LITERALS),
    st.builds(lambda name, texts: f"{name} in [{', '.join(texts)}]", st.sampled_from(sorted(TEXTS)),
              st.lists(LITERALS, max_size=3)),
    st.builds("{} {} {}{}".format, st.sampled_from(sorted(NUMBERS)),
              st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.sampled_from(["", "-"]), st.sampled_from(SHOWN)),
    st.sampled_from(["true", "false", "args.path == 'x'", "has(args.path)", "size(roles) > 0", "'ada' == user"]),
)  # fmt: skip
CONDITIONS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.builds("{} && {}".format, inner, inner),
        st.builds("{} || {}".format, inner, inner),
        st.builds("({})".format, inner),
        st.builds("!({})".format, inner),
        st.builds("{} ? {} : {}".format, inner.map(lambda one: f"({one})"), inner, inner),
    ),
    max_leaves=6,
)
MAYBE = st.none() | TEXT
NUMBER = st.none() | st.sampled_from([0, 1, 300, 1000, -5, 0.25, 1000.0004, 1e13])
WHOLE = st.none() | st.sampled_from([0, 1, 100, 300, -5])


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    def some(names: str, strategy: st.SearchStrategy[Any]) -> dict[str, Any]:
        return {name: value for name in names.split() if (value := draw(strategy)) is not None}

    kind = draw(st.sampled_from(["completed", "denied"]))
    return operation(
        0,
        event_type=draw(st.sampled_from(["mcp_operation", "auth_rejected"])),
        source=some("user_id session_id client client_ip caller caller_type tenant auth_key_id", MAYBE),
        target=some("backend method type capability_name effects", MAYBE),
        request={"args": draw(st.sampled_from([{}, {"path": "x"}])), **some("args_bytes", WHOLE)},
        policy=draw(st.none() | st.fixed_dictionaries({"decision": TEXT})),
        outcome={
            "status": "success", "kind": kind, **some("error error_type", MAYBE), **some("latency_ms", NUMBER),
            **some("error_code result_bytes", WHOLE),
        },
        cost=some("centicents", WHOLE),
    )  # fmt: skip


def by_cel(source: str, lines: list[bytes]) -> list[bool]:
    condition = cel.Condition("where", source, cel.EVENT_NAMES)
    return [
        condition(cel.event_values(facts(Record(line, ORIGIN).entry, 0), condition.names)) for line in lines
    ]


def by_sql(sql: str, lines: list[bytes]) -> list[bool]:
    """Ask DuckDB of the rows that the lines are in the view `logs`, as the reference for every engine has them."""
    duckdb = pytest.importorskip("duckdb")
    columns = view_columns("logs")
    rows = [list(log_of(row_of(line, ORIGIN) or {}).values()) for line in lines]
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE logs ({', '.join(f'{name} {type_}' for name, type_ in columns)})")
        connection.executemany(f"INSERT INTO logs VALUES ({', '.join('?' * len(columns))})", rows)
        return [
            bool(found)
            for (found,) in connection.execute(f"SELECT ({sql}) IS TRUE FROM logs ORDER BY seq").fetchall()
        ]


@effort(max_examples=examples(60), deadline=None)
@given(CONDITIONS, st.lists(events(), min_size=1, max_size=8))
def test_what_is_said_in_sql_means_the_same(source: str, bodies: list[dict[str, Any]]) -> None:
    lines = [stamp(number, at(number), encode(body)) for number, body in enumerate(bodies)]
    said = in_sql(source)
    if not said.sql:
        assert not said.is_whole
        return
    in_cel, found = by_cel(source, lines), by_sql(said.sql, lines)
    if said.is_whole:
        assert found == in_cel, said.sql
    else:
        assert all(shown for shown, counted in zip(found, in_cel, strict=True) if counted), said.sql


@pytest.mark.parametrize(
    ("source", "is_whole"),
    [
        ("event_type == 'mcp_operation' && effects == 'destructive'", True),
        ("name.startsWith('delete_') || name in ['rm', 'drop']", True),
        ("latency_ms > 1000.0 && !(user == \"ada\")", True),
        ("user == '' && true", True),
        ("status == 'error' && args.path.startsWith('/etc')", False),
    ],
)  # fmt: skip
def test_what_people_write_is_said(source: str, is_whole: bool) -> None:
    cel.Condition("where", source, cel.EVENT_NAMES)
    said = in_sql(source)
    assert said.sql
    assert said.is_whole == is_whole


@pytest.mark.parametrize(
    "source",
    [
        "args.path == 'x' || user == 'ada'", "!(args.path == 'x')", r"user == 'a\n'", "user == '''ada'''",
        "policy == ''", "policy != 'n/a'", "user", "user == session", "user == 1", "1 < 2",
        "latency_ms > 1u", "user == 'a' 'b'", "user ==", "(user == 'a'", "user == 'a')", "user in []", "user == b'a'",
        "-latency_ms > 1.0", "user == 'ada' ? true : false", "user == '\u202e'", "(user == 'a') == true", "\x00", "",
        "user == r'a'", "!user == 'ada'",
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_not_guessed(source: str) -> None:
    assert in_sql(source) == ("", False)
