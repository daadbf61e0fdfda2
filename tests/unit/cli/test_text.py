"""Nothing that a caller chose moves the cursor, changes a colour or breaks a line."""

import io
import json
import unicodedata
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.cli import redact
from indelible.cli.common import print_json
from indelible.cli.table import TablePrinter, cells_of
from indelible.cli.text import (
    byte_count,
    compact,
    counted,
    fit,
    neutralise,
    one_line,
    pad,
    visible_json,
    width,
)
from indelible.query.filters import parse_row
from indelible.query.search import Hit
from indelible.trail.entry import stamp
from tests.trails import ERASURE, at, encode, erased, operation

WILD = st.text(st.characters(), max_size=300)
HOSTILE = [
    "\x1b[2J\x1b[31mred", "a\nb\r\tc", "\u202eevil", "\x00", "\ud800", "x" * 1_000_000, "[red]markup[/red]", "😀" * 50,
    "e" + "\u0301" * 5_000, "\u200b\u200d\ufeff", "\x9b31m", "ﷺ" * 100, "\u2028\u2029", "日本語" * 40,
]  # fmt: skip


@given(WILD)
def test_what_is_shown_is_visible(text: str) -> None:
    shown = neutralise(text)
    assert shown.isprintable()
    assert "\n" not in one_line(text)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda values: st.lists(values) | st.dictionaries(TEXTS, values),
)


@given(ANY_JSON, st.sampled_from([None, 2, "\t"]))
def test_json_that_is_shown_is_visible_and_the_same(value: object, indent: int | str | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent).replace("\n", "\r\n")
    shown = visible_json(text)
    assert shown.replace("\n", "").isprintable()
    assert json.loads(shown) == value
    assert shown.count("\n") == text.count("\n")


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("err", [False, True])
def test_json_is_escaped_for_a_terminal_alone(terminal: bool, err: bool) -> None:
    value = {"a\x9b": [text for text in HOSTILE if text != "\ud800"]}
    out, other = io.StringIO(), io.StringIO()
    streams = (other, out) if err else (out, other)
    with (
        mock.patch.object(out, "isatty", return_value=terminal),
        mock.patch.object(other, "isatty", return_value=not terminal),
        mock.patch.multiple("sys", stdout=streams[0], stderr=streams[1]),
    ):
        print_json(value, err=err)
    shown = out.getvalue().removesuffix("\n")
    assert json.loads(shown) == value
    assert shown.isprintable() == terminal
    assert other.getvalue() == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_what_stays_of_a_text_is_escaped_for_a_terminal_alone(terminal: bool) -> None:
    text, out = "a\tb\nred: \x9b31m\x1b[2J\u202eé漢\r\n", io.StringIO()
    with mock.patch.object(out, "isatty", return_value=terminal), mock.patch("sys.stdout", out):
        redact._print_stays("text", text)
    assert out.getvalue() == ("a\tb\nred: \\x9b31m\\x1b[2J\\u202eé漢\\r\n" if terminal else text)


@given(WILD, st.integers(1, 80))
def test_a_cell_keeps_its_width(text: str, cells: int) -> None:
    shown = fit(neutralise(text), cells)
    assert width(shown) <= cells
    assert len(shown) <= 4 * cells + 4
    assert width(pad(shown, cells)) == cells


def test_one_is_one_and_none_are_many() -> None:
    assert [counted(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_a_text_that_fits_is_not_changed() -> None:
    for text in ("", "plain", "日本語", "café"):
        assert fit(neutralise(text), 10) == text


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("terminal", [False, True])
def test_hostile_strings_break_no_table(text: str, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    safe = text.encode("utf-8", "replace").decode()[:50_000] if "\ud800" not in text else None
    rows = []
    for part in ("source__user_id", "target__backend", "target__capability_name", "outcome__kind", "timestamp"):
        body = operation(1, **{part: safe})
        if safe is None:
            line = stamp(1, at(1), encode(operation(1, **{part: "HERE"})).replace(b"HERE", b"\\ud800"))
        else:
            line = stamp(1, at(1), encode(body))
        row = parse_row(line)
        assert row is not None
        rows.append(Hit(line, row))
    rows.append(Hit(line := stamp(1, at(1), encode(operation(1, request={"args": {"x": safe}}))), rows[0].row))
    out = io.StringIO()
    assert TablePrinter(out, events=True, terminal=terminal).print(rows) == 6
    shown = out.getvalue()
    lines = shown.split("\n")[:-1]
    assert len(lines) == 7
    assert all(
        char.isprintable() or char == "\n" for char in shown
    )  # a StringIO is no terminal: no colours either
    assert all(sum(unicodedata.east_asian_width(c) in "WF" for c in line) + len(line) < 2_000 for line in lines)
    if terminal:
        assert all(width(line) <= 100 for line in lines)


def test_colours_are_only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    line = stamp(1, at(1), encode(operation(1, source__user_id="\x1b[5mblink")))
    row = parse_row(line)
    assert row is not None
    out = Terminal()
    TablePrinter(out, events=False, terminal=True).print([Hit(line, row)])
    assert "\\x1b[5mblink" in out.getvalue()
    assert "\x1b[5m" not in out.getvalue()
    assert "\x1b[32mcompleted" in out.getvalue()


def test_arguments_of_any_shape() -> None:
    assert compact({"a": [1, None, "x\n"]}) == '{"a":[1,null,"x\\n"]}'
    assert compact(2**70) == str(2**70)
    assert compact("\ud800") == '"\\ud800"'
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert compact(deep) == "(cannot be shown)"


def test_other_events_say_what_they_are_about() -> None:
    change = {"from": "Ready", "to": "Failed", "reason": "exit\n1"}
    body = {"timestamp": at(0), "event_type": "mcp_server_state_changed", "state": change}
    cells = cells_of(stamp(1, at(1), encode(body)))
    assert (cells["event"], cells["args"]) == ("mcp_server_state_changed", "Ready -> Failed (exit\\n1)")
    cells = cells_of(erased(b"x", 4))
    assert (cells["event"], cells["time"], cells["user"]) == ("erased", "", "")
    assert cells["args"] == f"seq 4, on record as {ERASURE}"
    assert cells_of(b"garbage")["event"] == ""


def test_a_megabyte_is_what_the_configuration_counts_in() -> None:
    from indelible.values import MEGABYTE

    assert byte_count(MEGABYTE) == "1.0 MB"
    assert byte_count(MEGABYTE - 1) == "1024.0 kB"
    assert [byte_count(count) for count in (0, 1023, 1536, 3 << 30)] == [
        "0 bytes",
        "1023 bytes",
        "1.5 kB",
        "3.0 GB",
    ]
