"""A line of the trail, as formats are given it."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from indelible.formats.record import NoEntryError, Options, Record, json_text
from indelible.registry import FORMATS, format_names, make_format

LINE = (
    b'{"seq":7,"schema":1,"recorded_at":"2026-11-21T05:38:34.123456Z","timestamp":"2026-11-21T05:38:34.123400Z",'
    b'"event_type":"mcp_operation","event_id":"6f1c1e9c-0a4c-4f6e-9d3c-0d1f4b8a7c21","source":{"user_id":"ada"},'
    b'"request":{"args":{"path":"/srv/\xc3\xa4","n":1.50}},"outcome":{"status":"success","kind":"completed"}}'
)


def test_a_line_is_read_and_its_leaf_is_that_of_its_bytes() -> None:
    record = Record(LINE, "example.com/trail")
    assert record.entry.source.user_id == "ada"
    assert json_text(record.entry.request.args) == '{"path":"/srv/ä","n":1.50}'
    assert record.leaf == sha256(b"\0" + LINE).hexdigest()
    assert not record.mended


def test_half_a_surrogate_pair_is_replaced_and_said_while_the_leaf_stays_that_of_the_line() -> None:
    line = LINE.replace(b'"ada"', b'"a\\ud800da \\ud83d\\ude00"')
    record = Record(line, "o")
    assert record.entry.source.user_id == "a\ufffdda 😀"
    assert record.mended
    assert record.leaf == sha256(b"\0" + line).hexdigest()


def test_whole_pairs_are_text_as_any_other() -> None:
    assert not Record(LINE.replace(b'"ada"', b'"\\ud83d\\ude00"'), "o").mended


def test_an_erased_line_names_its_leaf_itself() -> None:
    leaf = "ab" * 32
    line = json.dumps({"seq": 3, "erased": "6f1c1e9c-0a4c-4f6e-9d3c-0d1f4b8a7c21", "leaf": leaf}).encode()
    record = Record(line.replace(b'{"seq": 3', b'{"seq":3'), "o")
    assert record.leaf == leaf
    assert record.entry.event_type == ""


DEEP = b"[" * 20_000 + b"]" * 20_000


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"seq":',
        LINE[:-1],
        LINE.replace(b'"ada"', b"7"),
        b'{"seq":"7"}',
        LINE.replace(b"1.50", DEEP),
        LINE.replace(b"1.50", b'"\xff"'),
        LINE.replace(b"1.50", b"nul"),
        LINE.replace(b"1.50", b'"\\ud800",' + b'"x":' + DEEP),
        LINE.replace(b'"kind"', b'"result_bytes":%d,"kind"' % 2**53),
        LINE.replace(b'"kind"', b'"latency_ms":1e400,"kind"'),
    ],
    ids=range(12),
)
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(NoEntryError):
        Record(line, "o")


def test_the_trails_own_format_is_the_line_to_the_byte() -> None:
    assert make_format("indelible", Options()).render(Record(LINE, "o")) == LINE


def test_every_registered_format_can_be_made() -> None:
    for name in FORMATS:
        assert make_format(name, Options()) is not None
    assert set(FORMATS) <= set(format_names())


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_line_whose_writer_had_no_clock_has_a_record(name: str) -> None:
    line = LINE.replace(b'"2026-11-21T05:38:34.123456Z"', b'"yesterday"')
    assert make_format(name, Options()).render(Record(line, "o"))
