"""SQL says of a trail what a plain loop over its lines says, whatever the lines are."""

import datetime as dt
import itertools
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indelible.errors import TrailError
from indelible.query.columns import EVENT_COLUMNS, plain_line, row_of
from indelible.query.engine import connection
from indelible.query.engine.asking import ALL, Asked
from indelible.query.engine.connection import FETCHED, Caps, Connection
from indelible.query.engine.guard import SqlError
from indelible.query.engine.parts import Part
from indelible.query.filters import Filter, parse_row
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail.entry import stamp
from indelible.trail.layout import Layout
from tests.effort import examples
from tests.trails import ORIGIN, Maker, at, encode, erased, operation

JSON = {column.name for column in EVENT_COLUMNS if column.type == "json"}


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in which JSON is compared by what it says, not by how it is written."""

    def read(name: str, value: Any) -> Any:
        if name in JSON and value is not None:
            return json.dumps(json.loads(value, parse_int=float), sort_keys=True)
        return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value

    return {name: read(name, value) for name, value in row.items()}


def asked(path: Path, wanted: Filter = ALL) -> tuple[list[dict[str, Any]], Corrupt]:
    """Return the rows of `events`, in the order of the files, which a second question gets from memory."""
    with Asked([path], wanted) as asked:
        results = [asked.query("FROM events") for _ in range(2)]
        rows, again = (
            [comparable(dict(zip(one.names, row, strict=True))) for row in one.rows] for one in results
        )
    assert rows == again
    return rows, asked.corrupt


def looped(lines: list[bytes], wanted: Filter = ALL, origin: str = ORIGIN) -> list[dict[str, Any]]:
    matches = wanted.predicate()
    found = []
    for line in lines:
        row = parse_row(line)
        if row is not None and matches(row):
            said = row_of(line, origin)
            assert said is not None
            found.append(comparable(said))
    return found


def trail_of(path: Path, lines: list[bytes], *, end: bytes = b"\n") -> Path:
    layout = Layout(path)
    layout.segments.mkdir(parents=True)
    layout.origin.write_text(ORIGIN + "\n")
    path.write_bytes(b"\n".join(lines) + end)
    return path


# --- what lines may be ------------------------------------------------------------------------------------

HOSTILE = [
    "", "'", '"', "''", "%", "_", "\\", "\n", "\r\n", "\t", "\0", "x\0y", "'; DROP TABLE events; --", "a\u2028b", "é",
    "\U0001f600", "\ufffd", "{}", "[1,]", ",}", "NaN", "null", "true", "1e400", "$.seq", "\x7f", "\x1f", "a,]b",
    ":nan,",     "x" * 3000, "\ud800", "a\udfffb", "]]>", "${jndi}", "1) OR (1", "-- ", "\u202e", "日本",
]  # fmt: skip
TEXTS = st.sampled_from([*HOSTILE, "ada", "bob", "success", "error", "tool"]) | st.text(max_size=8)
WHOLE = [0, -1, 1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**30]
NUMBERS = st.sampled_from([*WHOLE, 0.5, -0.0, 1e300, 5e-324, 1.0, 1e15])
TIMES = st.sampled_from(
    [
        at(0), at(59.999999), "2026-11-21T08:30:00Z", "2026-11-21T08:30:00.5+05:30", "2026-02-30T00:00:00Z", "now",
        "2026-11-21T23:59:59.123456-11:00", "2026-11-21", "infinity", "epoch", "2026-11-21T08:30:60Z",
        "2026-11-21T24:00:00Z", "0001-01-01T00:00:00+14:00", "2999-12-31T23:59:59.999999-14:00",
        "2026-11-21t08:30:00z", "2026-11-21 08:30:00", "1000-01-01T00:00:00Z", "2026-11-21T08:30:00.1234567Z",
        "2026-11-21T08:30:00+25:00", "20261121T083000Z", "2024-02-29T12:00:00Z", "2023-02-29T12:00:00Z",
    ]
)  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
VALUES = {
    "text": TEXTS,
    "whole": NUMBERS,
    "number": NUMBERS,
    "time": TIMES,
    "texts": st.lists(TEXTS | ANY, max_size=3),
    "json": ANY,
    "truth": TEXTS,
}


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Return an event whose fields are mostly of their types."""
    body: dict[str, Any] = {}
    for column in draw(st.lists(st.sampled_from(EVENT_COLUMNS[2:]), max_size=8)):
        value = draw(VALUES[column.type] if draw(st.integers(0, 9)) else ANY)
        part: Any = body
        for key in column.path[:-1]:
            part = part.setdefault(key, {}) if isinstance(part, dict) else {}
        if isinstance(part, dict):
            part[column.path[-1]] = value
    if not draw(st.integers(0, 5)):
        body[draw(st.sampled_from(["source", "target", "request", "policy", "outcome", "later"]))] = draw(ANY)
    body["event_type"] = draw(st.sampled_from(["mcp_operation", "mcp_operation", "alert", "", "later"]))
    return body


NO_ENTRIES = [
    b"", b" ", b"null", b"[]", b'"x"', b"\xff\xfe", b"garbage", b'{"seq":true}', b'{"seq":"1"}', b'{"seq":1.0}',
    b'{"seq":1e2}', b'{"seq": 1}', b'{"seq":01}', b'{"seq":1,"x":"\\u12"}',
    b'{"seq":1,"metadata":"' + b"x" * 65_600 + b'"}', b'{"seq":1,"source":{"user_id":"\xed\xa0\x80"}}',
    b'{"seq":1,"metadata":' + b"[" * 1500 + b"]" * 1500 + b"}",
]  # fmt: skip
ODD_ENTRIES = [
    b'{"seq":-1}', b'{"seq":18446744073709551616}', b'{"seq":9223372036854775808}', b'{"seq":1,"erased":null}',
    b'{"seq":1,"source":null,"target":{"type":null}}', b'{"seq":1,"request":{"args":null}}',
    b'{"seq":1,"schema":9,"recorded_at":"x","source":{"later":1},"new":{"x":[]}}',
]  # fmt: skip
ENDS = [
    b',"event_type":"mcp_operation","event_type":"alert"}',
    b',"source":{"user_id":"a"},"source":{"user_id":"b","user_id":"c"}}',
    b',"source":{"recorder":{"id":"a","id":"b"}}}',
    b",}", b',"metadata":NaN}', b',"metadata":[1, ]}', b',"metadata":-Infinity}', b"} ", b"}\r", b"}\t", b"}\x0b",
    b"}\x00",     b"}}", b'} {"seq":7}',
    b',"metadata":[1e400,-1E+0400]}', b',"outcome":{"latency_ms":' + b"9" * 400 + b"}}",
]  # fmt: skip


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """Return a line as a writer leaves it."""
    seq = draw(st.integers(0, 50) | st.just(2**53))
    body = json.dumps(draw(bodies()), separators=(",", ":"), ensure_ascii=draw(st.booleans()))
    return stamp(seq, at(seq % 100), body.encode("utf-8", "replace")).replace(b"\n", b" ")


LINES = st.one_of(
    written(),
    written(),
    written(),
    st.builds(lambda line, end: line[:-1] + end, written(), st.sampled_from(ENDS)),
    st.builds(lambda line, cut: line[: cut % len(line)], written(), st.integers(0)),
    st.builds(lambda blank, line: blank + line, st.sampled_from([b" ", b"\t", b"\r"]), written()),
    st.builds(erased, written(), st.integers(0, 50)),
    st.sampled_from(NO_ENTRIES),
    st.sampled_from(ODD_ENTRIES),
)
"""Lines: of a writer, of a later schema, erased, torn, or of somebody who wants them to be misread."""

NAMED = (
    "tool",
    "resource",
    "name",
    "type",
    "user",
    "session",
    "backend",
    "request_id",
    "status",
    "caller_type",
)
FILTERS: st.SearchStrategy[Filter] = st.builds(
    lambda named, **others: Filter(**named, **others),
    named=st.dictionaries(st.sampled_from(NAMED), st.frozensets(TEXTS, min_size=1, max_size=3), max_size=2),
    policy=st.frozensets(st.sampled_from(["allow", "deny", "n/a"]), max_size=2),
    events=st.sampled_from([None, frozenset({"alert"}), frozenset({"mcp_operation"})]),
    since=st.none() | st.integers(-1, 60).map(at),
    until=st.none() | st.integers(-1, 60).map(at),
)


@given(some=st.lists(LINES, max_size=25), end=st.sampled_from([b"\n", b"\n", b""]))
@settings(max_examples=examples(25), deadline=None)
@example(some=[b'{"seq":0}', b' {"seq":0}'], end=b"\n")
@example(some=[*NO_ENTRIES, *ODD_ENTRIES], end=b"\n")
@example(
    some=[b'{"seq":1,"source":{"user_id":"a"}}', b'{"seq":1,"source":{"user_id":"a","user_id":"b"}}'], end=b""
)
def test_every_column_of_every_line_says_what_the_loop_says(
    tmp_path_factory: pytest.TempPathFactory, some: list[bytes], end: bytes
) -> None:
    path = trail_of(tmp_path_factory.mktemp("t") / "audit.jsonl", some, end=end)
    corrupt = Corrupt()
    with TrailSearch(path, ALL, corrupt) as search:
        found = [hit.line for hit in search.all()]
    rows, counted = asked(path)
    assert rows == looped(found)
    assert (counted.count, counted.first()) == (corrupt.count, corrupt.first())


@given(some=st.lists(LINES, min_size=5, max_size=40), wanted=FILTERS, limit=st.integers(1, 9))
@settings(max_examples=examples(12), deadline=None)
def test_filters_choose_the_same_lines_as_without_sql(
    tmp_path_factory: pytest.TempPathFactory, some: list[bytes], wanted: Filter, limit: int
) -> None:
    path = trail_of(tmp_path_factory.mktemp("t") / "audit.jsonl", some)
    with TrailSearch(path, wanted, Corrupt()) as search, Asked([path], wanted) as asked_:
        (trail,) = asked_.trails(None)
        found = list(search.all())
        assert list(trail.all()) == found
        assert trail.newest(limit) == search.newest(limit)
        ((count,),) = asked_.query("SELECT count(*) FROM events").rows
        assert count == len(found)


# --- files ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a trail of four files, with a line of nobody's in the second."""
    maker = Maker(tmp_path_factory.mktemp("engine") / "it's [x]*.jsonl")
    for number, compress in enumerate((True, False, True, None)):
        maker.add_many(
            200, lambda seq: operation(seq, source__user_id=f"u{seq % 7}", outcome__latency_ms=seq / 7)
        )
        if number == 1:
            maker.raw(b'{"seq":5,"torn\n')
        if compress is not None:
            maker.rotate(compress=compress)
    return maker.seal().layout.active


def test_all_files_of_a_trail_are_read_and_what_cannot_be_read_is_counted(trail: Path) -> None:
    with Asked([trail], ALL) as asked_:
        ((count, first, last),) = asked_.query("SELECT count(*), min(seq), max(seq) FROM events").rows
        assert (count, first, last) == (804, 0, 803)
        assert [isinstance(part, Part) and part._is_anew for part in asked_._trails[0].groups] == [
            False,
            True,
            False,
            False,
        ]
        assert (asked_.corrupt.count, asked_.corrupt.first().rpartition("/")[2]) == (
            1,
            f"{201:020}.jsonl, line 202",
        )


@pytest.mark.parametrize(
    ("sql", "matches"),
    [
        ("latency_ms > 100 AND user_id = 'u3'", lambda row: row["latency_ms"] > 100 and row["user_id"] == "u3"),
        ("(args->>'path') LIKE '/srv/1_'", lambda row: 10 <= row["seq"] < 20),
        ("seq IN (SELECT max(seq) FROM logs)", lambda row: row["seq"] == 803),
        ("timestamp >= '2026-11-18 12:10:00+01:00'", lambda row: row["seq"] >= 200),
        ("timestamp AT TIME ZONE 'Asia/Kolkata' < '2026-11-18 16:37:00'", lambda row: row["seq"] < 20),
        ("name = 'o''brien' OR false -- ' OR true", lambda _row: False),
    ],
)
def test_a_condition_finds_the_lines_that_it_is_true_of(trail: Path, sql: str, matches: Any) -> None:
    with TrailSearch(trail, Filter(), Corrupt()) as search, Asked([trail], Filter()) as asked_:
        expected = [hit for hit in search.all() if matches(row_of(hit.line))]
        asked_.check_condition(sql)
        (one,) = asked_.trails(sql)
        assert list(one.all()) == expected
        assert one.newest(3) == expected[-3:]
        assert list(asked_.summary(sql, [], None, None, 0).rows) == [(len(expected),)]


def test_groups_sums_and_orders_are_those_of_a_loop(trail: Path) -> None:
    with TrailSearch(trail, Filter(), Corrupt()) as search:
        rows = [row_of(hit.line) or {} for hit in search.all()]
    sums: dict[str, list[float]] = {}
    for row in rows:
        sums.setdefault(row["user_id"], []).append(row["latency_ms"])
    with Asked([trail], Filter()) as asked_:
        result = asked_.summary(None, ["user_id"], "latency_ms", ("count", False), 0)
        assert result.names == ["user_id", "count", "sum_latency_ms"]
        found = {user: (count, total) for user, count, total in result.rows}
        sorted_ = [hit.row.seq for hit in asked_.sorted("seq % 2 = 0", ("latency_ms", True), 5)]
    assert found == {user: (len(each), pytest.approx(sum(each))) for user, each in sums.items()}
    assert sorted_ == [802, 800, 798, 796, 794]


@pytest.mark.slow
@pytest.mark.parametrize("packed", [[True], [False], [True, False]])
def test_a_hundred_small_files_take_no_more_memory_than_few(tmp_path: Path, packed: list[bool]) -> None:
    """The plan of one query for each of them takes half a gigabyte."""
    maker = Maker(tmp_path / "a.jsonl")
    for number in range(100):
        maker.add_many(2, lambda seq: operation(seq, source__user_id=f"u{seq % 7}"))
        if number == 50:
            maker.raw(b'{"seq":torn\n')
            maker.raw(stamp(maker.seq + 1, at(1), encode(operation(9, source__user_id="twice"))) + b"\n")
        maker.rotate(compress=packed[number % len(packed)])
    with TrailSearch(maker.layout.active, ALL, Corrupt()) as search:
        lines = [hit.line for hit in search.all()]
    with Asked([maker.layout.active], ALL, Caps(memory_mb=150)) as asked_:
        for _ in range(2):
            found = list(asked_.query("SELECT seq, user_id FROM events").rows)
            if len(packed) > 1:  # of queries that are joined wherever their files stand
                found.sort()
            assert found == [(row["seq"], row["user_id"]) for row in map(row_of, lines) if row]
        assert [hit.line for hit in asked_.sorted("seq >= 0", ("seq", False), 0)] == lines
        assert asked_.corrupt.count == 1


def test_lines_count_up_to_the_first_seq_of_the_file_after_them(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(10)
    maker.raw(stamp(11, at(11), encode(operation(99, source__user_id="twice"))) + b"\n")
    maker.rotate()
    maker.add_many(3)
    with Asked([maker.layout.active], ALL) as asked_:
        ((count, twice),) = asked_.query("SELECT count(*), count_if(user_id = 'twice') FROM events").rows
    assert (count, twice) == (maker.seq, 0)


def test_what_is_appended_while_it_is_asked_is_left_out(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(10)
    with Asked([maker.layout.active], ALL) as asked_:
        asked_.settle()
        maker.add_many(5)
        maker.raw(b'{"seq":17,"to')
        assert list(asked_.query("SELECT count(*) FROM events").rows) == [(11,)]
    with Asked([maker.layout.active], ALL) as asked_:
        assert list(asked_.query("SELECT count(*) FROM events").rows) == [(16,)]
        assert asked_.corrupt.count == 1


def test_a_compressed_file_that_is_damaged_hides_no_other(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(3000)
    segment = maker.rotate(compress=True)
    maker.add_many(5)
    segment.write_bytes(segment.read_bytes()[:-200])
    corrupt = Corrupt()
    with TrailSearch(maker.layout.active, ALL, corrupt) as search:
        expected = sum(1 for _ in search.all())
    with Asked([maker.layout.active], ALL) as asked_:
        assert list(asked_.query("SELECT count(*) FROM events").rows) == [(expected,)]
        assert asked_.corrupt.count == corrupt.count > 0


def test_a_number_that_nobody_can_hold_is_not_known_and_hides_nothing_else(tmp_path: Path) -> None:
    large = b'{"seq":1,"metadata":1e400,"source":{"user_id":"ada"},"outcome":{"latency_ms":%b}}' % (b"9" * 400)
    path = trail_of(tmp_path / "a.jsonl", [b'{"seq":0}', large, b'{"seq":2}'])
    rows, corrupt = asked(path)
    assert [row["seq"] for row in rows] == [0, 1, 2]
    assert (rows[1]["metadata"], rows[1]["latency_ms"], rows[1]["user_id"]) == (None, None, "ada")
    assert corrupt.count == 0
    with Asked([path], ALL) as asked_:
        assert [hit.line for trail in asked_.trails("user_id = 'ada'") for hit in trail.newest(5)] == [large]


def test_what_is_nested_deep_ends_nothing(tmp_path: Path) -> None:
    deep = [
        b'{"seq":%d,"request":{"args":' % depth + b"[" * depth + b"]" * depth + b"}}"
        for depth in (200, 300, 990, 1010, 5000)
    ]
    path = trail_of(
        tmp_path / "a.jsonl", [*deep, b'{"seq":1,"x":1,"x":2,"source":{"user_id":"a","user_id":"b"}}']
    )
    rows, corrupt = asked(path)
    assert [row["seq"] for row in rows if row["seq"] < 900] == [200, 300, 1]
    assert rows[-1]["user_id"] == "b"
    assert corrupt.count >= 1


def test_several_trails_are_one_table_with_their_origins(tmp_path: Path, trail: Path) -> None:
    other = Maker(tmp_path / "other.jsonl", origin="other").add_many(4).layout.active
    with Asked([trail, other], ALL) as asked_:
        found = dict(asked_.query("SELECT origin, count(*) FROM events GROUP BY ALL").rows)
    assert found == {ORIGIN: 804, "other": 5}


def test_there_has_to_be_a_trail(tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="there is no trail here"):
        Asked([tmp_path / "none.jsonl"], ALL)


def test_a_line_that_is_written_anew_says_the_same() -> None:
    line = b'{"seq":1,"source":{"user_id":"a","user_id":"b\\ud800","recorder":3},"target":[1],"request":{"args":[1]}}'
    anew = plain_line(line)
    assert anew is not None
    assert row_of(anew) == row_of(line)
    assert json.loads(anew)["line"] == line.decode()


@settings(max_examples=examples(30), deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 3), st.booleans(), st.integers(1, 12)
)
def test_of_lines_that_stand_in_two_files_the_later_file_is_the_trail(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], over: int, packed: bool, limit: int
) -> None:
    """As a failed sync leaves them, whose old file could not be cut: SQL, `log` and a loop say the same."""
    maker = Maker(tmp_path_factory.mktemp("switched") / "audit.jsonl")
    for size in sizes:
        maker.add_many(size)
        doubled = [stamp(maker.seq + n, at(maker.clock), encode(operation(900 + n))) for n in range(over)]
        maker.raw(b"".join(line + b"\n" for line in doubled))
        maker.rotate(compress=packed)
    path = maker.layout.active
    with TrailSearch(path, ALL, Corrupt()) as search:
        lines: dict[int, bytes] = {}
        for file in search.files:
            with file.open() as stream:
                later = [line for line in stream.read().splitlines() if parse_row(line) is not None]
            first = json.loads(later[0])["seq"]
            lines = {seq: line for seq, line in lines.items() if seq < first}
            lines |= {json.loads(line)["seq"]: line for line in later}
        expected = list(lines.values())
        assert [hit.line for hit in search.all()] == expected
        assert [hit.line for hit in search.newest(limit)] == expected[-limit:]
    assert asked(path)[0] == looped(expected)


@pytest.mark.slow
def test_one_torn_line_among_many_costs_no_more_memory_than_a_query_has(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(20_000).seal()
    maker.raw(b'{"seq":torn\n')
    maker.add_many(5)
    with Asked([tmp_path / "audit.jsonl"], Filter(), Caps(memory_mb=300)) as asked:
        (trail,) = asked.trails("seq % 500 = 1")
        assert [hit.row.seq for hit in trail.all()] == list(range(1, 20_006, 500))
        assert asked.corrupt.count == 1


def test_what_was_read_for_one_question_is_held_for_the_next_ones(tmp_path: Path) -> None:
    """Not for the first: it may be the only one, and holding costs more than reading."""
    maker = Maker(tmp_path / "audit.jsonl").add_many(50).seal()
    with Asked([tmp_path / "audit.jsonl"], ALL) as asked_:
        sql = "SELECT count(*), min(seq), any_value(args) FROM events"
        first = list(asked_.query(sql).rows)
        assert list(asked_.query(sql).rows) == first
        os.truncate(maker.layout.active, 0)
        assert list(asked_.query(sql).rows) == first
        assert list(asked_.query(f"WITH _read_0_0 AS (SELECT 7 AS seq) {sql}").rows) == first
        with pytest.raises(SqlError, match="no table '_read_0_0'"):
            asked_.query("FROM _read_0_0")


def test_what_there_is_no_room_for_is_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Maker(tmp_path / "audit.jsonl").add_many(50)
    monkeypatch.setattr(Connection, "keep", lambda *_: False)
    with Asked([tmp_path / "audit.jsonl"], ALL) as asked_:
        for _ in range(3):
            assert list(asked_.query("SELECT count(*) FROM events").rows) == [(51,)]


@pytest.mark.parametrize("compress", [False, True])
def test_a_rotation_between_looking_and_asking_changes_no_answer(tmp_path: Path, compress: bool) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(50).seal()
    with Asked([tmp_path / "audit.jsonl"], ALL) as asked:
        opened = maker.seq
        maker.rotate(compress=compress)
        maker.add_many(3).seal()
        ((count, last),) = asked.query("SELECT count(*), max(seq) FROM events").rows
        assert last + 1 == count >= opened  # as it was when it was opened, or since
        (trail,) = asked.trails("seq >= 0")
        maker.rotate(compress=compress)
        maker.add_many(3).seal()
        assert [hit.row.seq for hit in trail.all()] == list(range(count))
        assert asked.corrupt.count == 0
        ((count,),) = asked.summary(None, [], None, None, 0).rows
        assert opened <= count <= maker.seq


@pytest.mark.parametrize("total", [True, False])
def test_the_time_of_a_query_that_does_not_end_is_for_all_its_rows_or_for_each_batch(
    trail: Path, monkeypatch: pytest.MonkeyPatch, total: bool
) -> None:
    """What a batch takes is said to be a quarter of the time; what its reader takes does not count."""
    ticks = itertools.count(0, 10)
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    with Asked([trail], ALL, Caps(seconds=40.0, total=total)) as asked_:
        rows = asked_.query("SELECT range FROM range(1000000000000)").rows
        if not total:
            assert len(list(itertools.islice(rows, 20 * FETCHED))) == 20 * FETCHED
            return
        assert len(list(itertools.islice(rows, 4 * FETCHED))) == 4 * FETCHED
        with pytest.raises(TrailError, match="took longer than 40 s and was ended"):
            next(rows)


def test_the_old_arrow_of_functions_is_answered_by_what_works(trail: Path) -> None:
    old, new = "list_transform([1], x -> x + 1)", "list_transform([1], lambda x: x + 1)"
    with Asked([trail], ALL) as asked_:
        for ask in (
            lambda: list(asked_.query(f"SELECT {old} FROM logs").rows),
            lambda: asked_.check_condition(f"{old} = [2]"),
        ):
            with pytest.raises(SqlError, match="write 'lambda x: …'") as caught:
                ask()
            assert "SET" not in str(caught.value)
        assert next(asked_.query(f"SELECT {new} FROM logs").rows) == ([2],)
        assert next(asked_.query("SELECT (args->>'path') IS NULL FROM logs").rows) == (False,)
