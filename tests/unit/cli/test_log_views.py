"""`log --around` and `log --timeline`, over files of every kind, on terminals of every width."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.cli.log_timeline import DEFAULT_LIMIT, bar, duration_text, offset_text, print_timeline
from indelible.cli.root import root
from indelible.cli.text import width
from indelible.query.timeline import Timeline, extent, make_timeline
from indelible.trail.entry import stamp
from tests.effort import examples
from tests.trails import Maker, at, encode, operation

Log = Callable[..., Result]
ANOTHER = "indelible/ffeeddccbbaa99887766554433221100"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two trails: of a compressed, a plain and the active file, and one beside it with odd seconds."""
    folder = tmp_path_factory.mktemp("views")
    main = Maker(folder / "audit.jsonl")
    for number in range(0, 60, 2):
        main.add(call(number), recorded_at=at(number + 1))
        if number in (18, 38):
            main.rotate(compress=number == 18)
    beside = Maker(folder / "other.jsonl", origin=ANOTHER)
    for number in range(1, 60, 2):
        beside.add(call(number), recorded_at=at(number + 1))
    main.seal()
    return folder


def call(number: int) -> dict[str, Any]:
    bad = {"status": "error", "kind": "tool_error", "latency_ms": 900}
    good = {"status": "success", "kind": "completed", "latency_ms": 500}
    return operation(
        number,
        source__user_id="bob" if number % 3 else "ada",
        source__session_id="even" if number % 2 == 0 else "odd",
        outcome=bad if number % 5 == 0 else good,
    )


@pytest.fixture
def log(folder: Path) -> Log:
    def run(*args: str) -> Result:
        return CliRunner().invoke(root, ["log", "--trail", str(folder), *args], standalone_mode=False)

    return run


def requests(result: Result) -> list[str]:
    assert result.return_value == 0, result.exception
    return [json.loads(line)["request"]["request_id"] for line in result.stdout.splitlines()]


def test_around_a_request_are_the_events_of_all_trails_in_order(log: Log) -> None:
    for number in (1, 19, 20, 38, 39, 58):  # the first of a file, the last of one, in the middle
        expected = [f"r{near}" for near in range(max(number - 2, 0), min(number + 3, 60))]
        after = "3" if number == 1 else "2"
        found = requests(log("--around", f"r{number}", "--before", "2", "--after", after, "--json"))
        assert found[: len(expected)] == expected


def test_filters_choose_what_is_around_and_never_hide_the_request_itself(log: Log) -> None:
    found = requests(log("--around", "r21", "--user", "bob", "--status", "error", "--before", "1", "--json"))
    assert found == ["r20", "r21", "r25", "r35", "r40", "r50", "r55"]


def test_the_request_is_marked_and_what_lies_between_is_counted(log: Log, tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    for number in range(20):
        maker.add(operation(number, request__request_id="mine" if number in (3, 12) else f"r{number}"))
    result = CliRunner().invoke(
        root,
        ["log", "--trail", str(tmp_path), "--around", "mine", "--before", "1", "--after", "2"],
        standalone_mode=False,
    )
    rows = result.stdout.splitlines()
    assert [row.startswith(">") for row in rows] == [
        False,
        False,
        True,
        False,
        False,
        False,
        False,
        True,
        False,
        False,
    ]
    assert rows[5].split() == ["…", "5", "other", "events", "…"]
    assert "EVENT" in rows[0]


def test_an_open_calls_intent_is_found_though_only_calls_are_asked_for(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(3)
    maker.add(operation(9, event_type="mcp_operation_started", outcome=None))
    run = CliRunner().invoke
    result = run(
        root,
        ["log", "--trail", str(tmp_path), "--around", "r9", "--before", "1", "--json"],
        standalone_mode=False,
    )
    assert requests(result) == ["r3", "r9"]


@pytest.mark.parametrize("view", [["--around", "r1"], ["--timeline"]], ids=" ".join)
def test_in_another_systems_words_no_intent_passes_for_a_call(view: list[str], tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    for number in range(4):
        maker.add(operation(number, event_type="mcp_operation_started", event_id=f"i{number}", outcome=None))
        maker.add(operation(number, request__intent=f"i{number}"))

    def names(*arguments: str) -> list[str]:
        command = ["log", "--trail", str(tmp_path), *view, "--format", "hangar", *arguments]
        result = CliRunner().invoke(root, command, standalone_mode=False)
        assert result.return_value == 0, result.exception
        return [json.loads(line)["event_type"] for line in result.stdout.splitlines()]

    assert names() == ["ToolInvocationCompleted"] * 4
    every = names("--events", "mcp_operation,mcp_operation_started")
    assert (every.count("ToolInvocationCompleted"), len(every)) == (4, 8)


def test_a_request_that_is_not_there_is_no_failure_and_is_said(log: Log) -> None:
    result = log("--around", "r99\x1b[2J")
    assert (result.return_value, result.stdout) == (0, "")
    assert result.stderr == "indelible: no event of request 'r99\\x1b[2J' is here, so nothing is around it\n"
    assert "in that time" in log("--around", "r5", "--since", "2020-01-01", "--until", "2020-01-02").stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--before", "2"], "--around"),
        (["--after", "2"], "--around"),
        (["--around", "x", "-n", "3"], "-n"),
        (["--around", "x", "--follow"], "--follow"),
        (["--around", "x", "--from", "-"], "--from"),
        (["--timeline", "--follow"], "--follow"),
        (["--timeline", "--around", "x"], "say which"),
        (["--around", " "], "empty"),
        (["--around", "x", "--before", "-1"], "-1 is not in the range"),
    ],
)
def test_what_cannot_go_together_is_said(arguments: list[str], word: str, folder: Path) -> None:
    result = CliRunner().invoke(root, ["log", *arguments], standalone_mode=False)
    assert result.exception is not None
    assert word in getattr(result.exception, "message", str(result.exception))


# --- a timeline ---------------------------------------------------------------------------------------------------


def test_one_session_alone_is_a_timeline_and_with_anything_else_a_filter(log: Log) -> None:
    whole = log("--session", "even").stdout
    assert whole.splitlines()[0].startswith("session even: 30 events in 58 s, from 2026-")
    assert log("--session", "even", "--timeline", "-n", "0").stdout == whole
    for others in (
        ["--no-timeline"],
        ["-n", "100"],
        ["--user", "ada"],
        ["--events", "all"],
        ["--session", "odd"],
    ):
        assert log("--session", "even", *others).stdout.startswith("TIME (UTC)"), others
    assert requests(log("--session", "even", "--json")) == [f"r{number}" for number in range(0, 60, 2)]


def test_of_two_sessions_each_row_says_which(log: Log) -> None:
    lines = log("--timeline", "--session", "even", "--session", "odd").stdout.splitlines()
    assert lines[0].startswith("2 sessions: 60 events in")
    assert lines[1].split() == ["START_S", "DURATION_MS", "SESSION", "USER", "BACKEND", "NAME", "OUTCOME"]
    assert lines[2].split()[:4] == ["0.000000", "900.000", "even", "ada"]
    assert [float(line.split()[0]) for line in lines[2:]] == [float(number) for number in range(60)]


def test_a_timeline_says_when_there_may_be_more(tmp_path: Path) -> None:
    Maker(tmp_path / "audit.jsonl").add_many(DEFAULT_LIMIT + 1)
    arguments = ["log", "--trail", str(tmp_path), "--session", "s1"]
    result = CliRunner().invoke(root, arguments, standalone_mode=False)
    assert len(result.stdout.splitlines()) == 2 + DEFAULT_LIMIT
    assert f"newest {DEFAULT_LIMIT}" in result.stderr
    every = CliRunner().invoke(root, [*arguments, "--timeline", "-n", "0"], standalone_mode=False)
    assert len(every.stdout.splitlines()) == 3 + DEFAULT_LIMIT
    assert every.stderr == ""


def test_a_torn_line_is_counted_and_hides_nothing(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(2)
    maker.raw(b'{"seq":7,torn\n')
    for arguments in (["--session", "s1"], ["--around", "r1"]):
        result = CliRunner().invoke(root, ["log", "--trail", str(tmp_path), *arguments], standalone_mode=False)
        assert result.stdout.count("read_file") == 2
        assert "1 line could not be read" in result.stderr


# --- on a terminal --------------------------------------------------------------------------------------------------

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def drawn(lines: list[bytes], columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = io.StringIO()
    print_timeline(make_timeline(lines), out, terminal=True)
    return ESCAPE.sub("", out.getvalue()).splitlines()


def of_call(number: int, begin: float, took_ms: float, **changes: Any) -> bytes:
    outcome = {"status": "success", "kind": "completed", "latency_ms": took_ms}
    body = operation(number, timestamp=at(begin), outcome=outcome, **changes)
    return stamp(number, at(begin + took_ms / 1000), encode(body))


def span_of(row: str) -> tuple[int, int]:
    """Return the cells that a bar covers."""
    blocks = [place for place, char in enumerate(row) if char in "▏▎▍▌▋▊▉█"]
    return min(blocks), max(blocks)


def test_what_was_under_way_at_the_same_time_overlaps(monkeypatch: pytest.MonkeyPatch) -> None:
    _, axis, first, second, third = drawn(
        [of_call(0, 0, 4000), of_call(1, 2, 4000), of_call(2, 6, 2000)], 100, monkeypatch
    )
    assert axis.endswith("8.00 s")
    assert span_of(first)[0] < span_of(second)[0] <= span_of(first)[1] < span_of(second)[1] < span_of(third)[1]
    assert span_of(second)[1] <= span_of(third)[0]
    cells = [span_of(row)[1] - span_of(row)[0] + 1 for row in (first, second, third)]
    assert abs(cells[0] - cells[1]) <= 1
    assert abs(cells[0] - 2 * cells[2]) <= 2  # one scale for all


def test_a_silence_is_one_row_and_not_on_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = drawn([of_call(0, 0, 1000), of_call(1, 7200, 1000)], 100, monkeypatch)
    assert rows[1].endswith("2.00 s")
    assert "≈" in rows[1]
    assert rows[3].strip() == "≈  1 h 59 min of silence"  # of 7199 s
    assert abs(span_of(rows[4])[0] - span_of(rows[2])[1] - 1) <= 1


@pytest.mark.parametrize("columns", [12, 20, 30, 40, 60, 80, 100, 120, 200])
def test_no_row_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["read_file", "x" * 300, "日本語" * 40, "a\u0301" * 50, "\x1b[2J\n\u202e", "s p a c e"]
    lines = [
        of_call(
            number, number**3, 7.0 * number, target__capability_name=name, target__backend=name,
            source__user_id=name, source__session_id=name,
        )
        for number, name in enumerate(names)
    ]  # fmt: skip
    rows = drawn(lines, columns, monkeypatch)
    assert len(rows) >= 2 + len(lines)
    assert max(map(width, rows)) <= columns
    assert not any("\x1b" in row or "\u202e" in row for row in rows)
    assert sum("█" in row or "▏" in row for row in rows) in (0, len(lines)) or columns > 30


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e6)), min_size=1, max_size=30), st.integers(1, 200))
def test_a_bar_is_seen_and_stays_on_the_scale(calls: list[tuple[float, float]], cells: int) -> None:
    timeline = make_timeline(of_call(number, *one) for number, one in enumerate(calls))
    for item in timeline.items:
        span = extent(item)
        assert span is not None
        drawn_bar = bar(timeline, span, cells)
        assert len(drawn_bar) <= cells
        assert drawn_bar.strip()
        assert set(drawn_bar.strip()) <= set("▏▎▍▌▋▊▉█")
        assert len(bar(timeline, span, cells, known=False)) == cells
        begin, end = (timeline.place(moment) * cells / max(timeline.shown, 1) for moment in span)
        at_cell = len(drawn_bar) - len(drawn_bar.lstrip())
        assert min(begin, cells - 1) - 1 <= at_cell <= begin
        assert len(drawn_bar) <= max(end, at_cell) + 1


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00 ms"), (310, "0.31 ms"), (999_990, "999.99 ms"), (999_999, "1.00 s"), (4_200_000, "4.20 s"),
        (59_600_000, "1 min"), (185_000_000, "3 min 5 s"), (7_980_000_000, "2 h 13 min"), (273_600_000_000, "3 d 4 h"),
    ],
)  # fmt: skip
def test_durations_as_people_read_them(micros: int, text: str) -> None:
    assert duration_text(micros) == text


def test_offsets_have_one_form_in_a_timeline() -> None:
    assert offset_text(1_250_000, 59_000_000) == "1.250"
    assert offset_text(1_250_000, 61_000_000) == "0:01.250"
    assert offset_text(123_000_000, 700_000_000) == "2:03"
    assert offset_text(3_723_000_000, 90_000_000_000) == "1:02:03"


def test_nothing_is_no_timeline() -> None:
    out = io.StringIO()
    assert print_timeline(Timeline([], make_timeline([]).whole, []), out, terminal=False) == 0
    assert out.getvalue() == ""
