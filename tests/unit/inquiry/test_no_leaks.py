"""Whatever is asked, whoever asks: no answer and no error holds what the role may not see."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import IndelibleError
from indelible.inquiry.questions import Bounds, Place, Question, answer
from indelible.inquiry.roles import BUILT_IN, Role, make_role
from indelible.inquiry.tools import BY_NAME
from indelible.inquiry_settings import TOOLS, InquirySettings
from indelible.query.columns import EVENT_COLUMNS, view_columns
from indelible.query.engine.relations import no_rows, seen
from tests.effort import examples
from tests.trails import Maker, at
from tests.unit.inquiry.asking import OPERATOR, role

pytestmark = pytest.mark.slow

CANARY = "cAnArY"
"""Stands in every value that the role of a test may not see, and nowhere else."""

HIDDEN = tuple(
    name for name in BUILT_IN["operator"].hide if name not in ("roles", "on_behalf_of", "recorder_uid")
)
ALL_BUT_PROVE = tuple(tool for tool in TOOLS if tool != "prove")
ROLES = {
    "operator": OPERATOR,
    "hides": role(tools=ALL_BUT_PROVE, hide=BUILT_IN["operator"].hide),
    "filtered": role(tools=TOOLS, backends=frozenset({"mine"})),
    "both": role(
        tools=ALL_BUT_PROVE,
        hide=("args", "user_id", "name"),
        sessions=frozenset({"s1"}),
        users=frozenset({"u"}),
    ),
}


def body(number: int, canaries: frozenset[str], **parts: dict[str, Any]) -> dict[str, Any]:
    """Return an event with a value in every column of text, the canary in some of them."""
    event: dict[str, Any] = {"timestamp": at(number), "event_type": "mcp_operation"}
    event["event_id"] = f"00000000-0000-4000-8000-{number:012d}"
    for column in EVENT_COLUMNS:
        if len(column.path) == 2:
            value: Any = {"text": "t", "texts": ["t"], "json": {"k": "t"}}.get(column.type, 7)
            if column.name in canaries:
                value = {"texts": [f"{CANARY}{number}"], "json": {CANARY: f"{CANARY}{number}"}}.get(
                    column.type, f"{CANARY}{number}"
                )
            event.setdefault(column.path[0], {})[column.path[1]] = value
    event["target"].update(backend="mine", type="tool")
    event["source"].update(session_id="s1")
    event["outcome"].update(status="success", kind="completed")
    for name, part in parts.items():
        event[name].update(part)
    return event


@pytest.fixture(scope="module")
def trails() -> Iterator[dict[str, Path]]:
    """One trail for each role: what it may not see has the canary, in plain, closed and compressed files."""
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for name, who in ROLES.items():
            path = Path(folder) / name / "audit.jsonl"
            path.parent.mkdir()
            maker = Maker(path)
            _fill(maker, who, 0)
            maker.rotate(compress=True)
            _fill(maker, who, 40)
            maker.raw(b'{"seq":9999,"torn":"' + CANARY.encode() + b"\n")
            maker.seal()
            made[name] = path
        yield made


def _fill(maker: Maker, who: Role, first: int) -> None:
    everything = frozenset(name for name, _ in view_columns("events"))
    for number in range(first, first + 12):
        seen = body(
            number, who.hidden, source={} if "user_id" in who.hidden and not who.users else {"user_id": "u"}
        )
        maker.add(seen)
        if who.is_filtered:
            other = body(number + 20, everything - {"schema"}, target={"backend": f"{CANARY}-b"})
            other["source"].update(session_id="s1" if number % 2 else f"{CANARY}-s")
            maker.add(other)


NAMES = st.sampled_from(
    [name for name, _ in view_columns("logs")] + ["_line", "_timestamp", "_seen", "COLUMNS(*)", "*"]
)
TABLES = st.sampled_from(
    ["logs", "events", "_every", "_wanted", "_chosen", "(SELECT * FROM events)", "(FROM logs)"]
)
CONDITIONS = st.one_of(
    st.builds("CAST({} AS INTEGER) > 0".format, NAMES),
    st.builds("{} LIKE '%' || chr(99) || '%'".format, NAMES),
    st.builds("{} IS NOT NULL".format, NAMES),
    st.builds("CAST({} AS VARCHAR) <> ''".format, TABLES),
    st.builds("EXISTS (SELECT 1 FROM {} WHERE CAST({} AS BIGINT) = 1)".format, TABLES, NAMES),
    st.builds("strptime(CAST({} AS VARCHAR), '%Y') IS NULL".format, NAMES),
    st.builds("CASE WHEN backend <> 'mine' THEN CAST({} AS INTEGER) END > 0".format, NAMES),
    st.builds("CAST(({} ->> '$') AS INTEGER) > 1".format, NAMES),
    st.builds("len(CAST(unnamed_subquery AS VARCHAR)) > {}".format, st.integers(0, 9)),
    st.just("COLUMNS(c -> true) IS NOT NULL"),
    st.just("true) OR (true"),
)
QUERIES = st.one_of(
    st.builds("SELECT {} FROM {}".format, NAMES, TABLES),
    st.builds("SELECT count(*), max({}) FROM {} WHERE {}".format, NAMES, TABLES, CONDITIONS),
    st.builds("SELECT CAST({} AS INTEGER) FROM {}".format, NAMES, TABLES),
    st.builds("SELECT t FROM {} t".format, TABLES),
    st.builds("SELECT to_json(t) FROM {} t WHERE {}".format, TABLES, CONDITIONS),
    st.builds("WITH x AS (SELECT * FROM {}) SELECT string_agg(CAST(x AS VARCHAR)) FROM x".format, TABLES),
    st.builds("SELECT * FROM logs a JOIN events b ON CAST(a.{} AS INTEGER) = b.seq".format, NAMES),
    st.builds("SELECT {} FROM events ORDER BY CAST({} AS INTEGER)".format, NAMES, NAMES),
)
WORDS = st.sampled_from(["mine", "s1", "u", "t", "tool", f"{CANARY}-b", f"{CANARY}-s", "x'"])
FILTERS: dict[str, st.SearchStrategy[Any]] = {
    **{
        name: st.lists(WORDS, min_size=1, max_size=2)
        for name in ("tool", "name", "user", "session", "backend", "type")
    },
    "events": st.sampled_from([["all"], ["mcp_operation"]]),
    "since": st.sampled_from(["2000-01-01", at(5)]),
    "until": st.just("2100-01-01"),
    "limit": st.integers(1, 100),
}
WHICH = st.one_of(
    st.fixed_dictionaries({"seq": st.integers(0, 60)}),
    st.fixed_dictionaries({"event_id": st.integers(0, 60).map("00000000-0000-4000-8000-{:012d}".format)}),
)
COLUMNS = st.lists(st.sampled_from([name for name, _ in view_columns("logs")]), min_size=1, max_size=2)
ARGUMENTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "search": st.fixed_dictionaries({}, optional={**FILTERS, "where": CONDITIONS}),
    "timeline": st.fixed_dictionaries({"session": WORDS}, optional={"limit": FILTERS["limit"]}),
    "statistics": st.fixed_dictionaries(
        {},
        optional={
            **FILTERS,
            "where": CONDITIONS,
            "group_by": COLUMNS,
            "sum": st.sampled_from(["latency_ms", "seq"]),
        },
    ),
    "explain": WHICH,
    "verify": st.just({}),
    "prove": WHICH,
    "sql": st.fixed_dictionaries({"query": QUERIES}, optional={"limit": FILTERS["limit"]}),
}


def said(tool: str, arguments: dict[str, Any], who: Role, path: Path) -> tuple[str, bool]:
    """Return all that goes out, and whether it is an answer."""
    try:
        found = answer(Question(tool, arguments, who, Place(path, named=True), Bounds(30, 400, 1 << 20)))
    except IndelibleError as exc:
        return str(exc), False
    return f"{found.summary}\n{found.body}", True


@pytest.mark.parametrize("name", ROLES)
@pytest.mark.parametrize("tool", TOOLS)
@settings(max_examples=examples(60))
@given(data=st.data())
def test_no_answer_holds_a_canary(tool: str, name: str, trails: dict[str, Path], data: st.DataObject) -> None:
    arguments = data.draw(ARGUMENTS[tool])
    text, _ = said(tool, arguments, ROLES[name], trails[name])
    given_back = str(arguments)
    if CANARY in given_back:  # who asks for a word gets it back: that shows nothing
        text = text.replace(f"{CANARY}-b", "").replace(f"{CANARY}-s", "")
    assert CANARY not in text, arguments


@pytest.mark.parametrize("name", ROLES)
def test_the_same_questions_of_an_auditor_hold_it(name: str, trails: dict[str, Path]) -> None:
    """The canaries are there to be found: by who sees all."""
    auditor = make_role(InquirySettings(), "auditor")
    for tool, arguments in (
        ("search", {"limit": 100, "events": ["all"]}),
        ("sql", {"query": "FROM events"}),
        ("sql", {"query": "SELECT CASE WHEN user_id LIKE 'c%' THEN CAST(user_id AS INTEGER) END FROM events"}),
        ("statistics", {"group_by": ["user_id"]}),
    ):
        text, _ = said(tool, arguments, auditor, trails[name])
        assert CANARY in text, (tool, arguments)


@pytest.mark.parametrize("name", [name for name, who in ROLES.items() if who.is_filtered])
def test_no_error_tells_that_there_is_something_else(name: str, trails: dict[str, Path]) -> None:
    """A condition that fails on what the role does not see does not fail, and is nowhere true."""
    for column in ("policy_reason", "client", "metadata"):
        where = f"CASE WHEN {column}::VARCHAR LIKE '%{CANARY}%' THEN CAST('x' AS INTEGER) = 1 END"
        text, answered = said("statistics", {"where": where}, ROLES[name], trails[name])
        assert answered, text
        assert "[[0]]" in text


def test_every_tool_is_asked() -> None:
    assert set(ARGUMENTS) == set(TOOLS) == set(BY_NAME)


@pytest.mark.parametrize("name", [name for name, who in ROLES.items() if who.is_filtered])
def test_an_event_of_others_is_as_one_that_never_was(name: str, trails: dict[str, Path]) -> None:
    who = ROLES[name]
    there, _ = said("explain", {"seq": 2}, who, trails[name])
    gone, _ = said("explain", {"seq": 777_777}, who, trails[name])
    assert there.replace("seq 2 ", "seq 777777 ") == gone


def test_nothing_is_behind_the_roles_condition_wherever_it_is_looked_at() -> None:
    """In whichever order the engine looks at conditions: beside the role's own there are no values."""
    sql = seen("SELECT * FROM recorded", "coalesce(backend = 'mine', false)", {"user_id"})
    assert sql.endswith(" WHERE _seen")
    with duckdb.connect() as engine:
        engine.execute(f"CREATE TABLE recorded AS {no_rows()}")
        for backend in ("mine", "other"):
            engine.execute(
                "INSERT INTO recorded BY NAME SELECT ? AS backend, 'ada' AS user_id, 'e' AS error, 7 AS seq",
                [backend],
            )
        rows = engine.execute(sql.removesuffix(" WHERE _seen")).fetchall()
        names = [column[0] for column in engine.description or ()]
    mine, other = (dict(zip(names, row, strict=True)) for row in rows)
    assert (mine["backend"], mine["error"], mine["user_id"]) == ("mine", "e", None)
    assert set(other.values()) == {None}
