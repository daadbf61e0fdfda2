"""Cells: harmless in a spreadsheet, no control characters, and the text is to be had back."""

import csv
import io
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indelible.query.exports.cells import is_risky, json_cell, original, text_cell
from tests.effort import examples

SIGNS = ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"]  # noqa: RUF001 - OWASP's list, also in full width
FRONT = [
    *SIGNS,
    "'",
    '"',
    " ",
    "\ufeff",
    "\u200b",
    "\u00a0",
    "\\",
    "u0000",
    "\\u0000",
    "0",
    "a",
    "\0",
    "\x1b",
    "\x9b",
]
TEXTS = st.lists(st.sampled_from(FRONT), max_size=6).map("".join) | st.text(max_size=12)


def as_read(cell: str) -> str:
    """Return a cell as a careless reader has it: without what it strips."""
    return cell.strip(' "\ufeff\u00a0\u200b')


@given(text=TEXTS)
@settings(max_examples=examples(600), deadline=None)
@example(text="=cmd|' /C calc'!A0")
@example(text="'=1")
@example(text="''")
@example(text="\\u005cu0000")
def test_a_text_is_harmless_and_to_be_had_back(text: str) -> None:
    cell = text_cell(text)
    assert original(cell) == text
    assert not any((ord(char) < 32 and char not in "\t\r\n") or 0x7F <= ord(char) < 0xA0 for char in cell)
    for read in (cell, as_read(cell), as_read(cell).removeprefix('"')):
        assert not read.startswith(tuple(SIGNS)) or json.loads(read) is not None


@given(
    value=st.recursive(
        TEXTS | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=4
    )
)
@settings(max_examples=examples(200), deadline=None)
def test_json_stays_json_that_says_the_same(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    cell = json_cell(text)
    assert cell.startswith("'") == is_risky(text)
    assert json.loads(cell.removeprefix("'")) == value


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30 1234", "'+49 30 1234"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        (' "=1', "' \"=1"),
        ("'=1", "''=1"),
        ("＝1", "'＝1"),  # noqa: RUF001
        ("-5", "-5"),
        ("-1.5e3", "-1.5e3"),
        ("-1+1", "'-1+1"),
        ("a=b", "a=b"),
        ("it's", "it's"),
        ("a\0b", "a\\u0000b"),
        ("a\\u0000b", "a\\u005cu0000b"),
        ("C:\\users", "C:\\users"),
        ("\x1b[31m", "\\u001b[31m"),
        ("two\nlines", "two\nlines"),
        ("", ""),
    ],
)
def test_what_becomes_of_a_text(text: str, cell: str) -> None:
    assert text_cell(text) == cell
    assert original(cell) == text


@given(rows=st.lists(st.lists(TEXTS, min_size=2, max_size=2), min_size=1, max_size=5))
@settings(max_examples=examples(100), deadline=None)
def test_a_reader_of_csv_gives_the_cells_back(rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows([[text_cell(text) for text in row] for row in rows])
    read = list(csv.reader(io.StringIO(out.getvalue(), newline=""), strict=True))
    assert [[original(cell) for cell in row] for row in read] == rows
