"""What the textual formats share: the table of fields, how a text is cut, which addresses there are."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.formats import cef, fields, leef, syslog
from indelible.formats.record import Options, Record
from indelible.formats.text import Escape, Layout, Pairs, cut, epoch_ms
from indelible.formats.times import epoch_us
from indelible.registry import make_format
from tests.unit.formats import events, said

OUTCOME = {"status": "success", "kind": "completed"}
ESCAPES = [cef.escape_value, cef.escape_header, leef.escape_value, leef.escape_header, syslog.escape_value]


def test_the_page_has_the_table_of_the_renderers() -> None:
    everything = (*fields.IDENTITY, fields.LEAF, *fields.FIELDS, fields.MENDED, fields.CUT, fields.LEFT_OUT)
    assert [row.name for row in said.TABLE] == [field.name for field in everything]
    for row, field in zip(said.TABLE, everything, strict=True):
        label = [field.label] if field.label else []
        assert row.cef == [key for key in (field.cef, *label, field.other_cef) if key]
        assert (row.limit, row.leef[0]) == (field.cef_limit, field.leef)
        assert field.takes != "whole" or 1 <= int(field.cef.removeprefix("cn")) <= 3
    assert set(said.ELEVEN) <= {field.name for field in everything}


@pytest.mark.parametrize("layout", [cef.LAYOUT, leef.LAYOUT, syslog.LAYOUT])
def test_what_is_written_without_escape_is_what_escape_makes_of_it(layout: Layout) -> None:
    """`safe` stays, `quoted` has a backslash before it; the backslash first, or others' would be doubled."""
    assert not set(layout.safe) & set(layout.quoted)
    assert layout.quoted[:1] in ("", "\\")
    assert layout.escape(layout.safe) == layout.safe
    for text in (layout.quoted, layout.quoted[::-1], f"a{layout.quoted * 2}z"):
        assert layout.escape(text) == "".join(f"\\{sign}" if sign in layout.quoted else sign for sign in text)


@pytest.mark.parametrize("layout", [cef.LAYOUT, leef.LAYOUT, syslog.LAYOUT])
@given(
    record=events.records | events.operation_records,
    more=st.lists(st.sampled_from('^\\"=]|\t\r\né\x85\x9f'), max_size=6),
)
def test_texts_that_are_escaped_at_once_are_as_if_each_was_by_itself(
    layout: Layout, record: Record, more: list[str]
) -> None:
    source = msgspec.structs.replace(record.entry.source, user_id="".join(more), tenant="".join(more[1:]))
    record.entry = msgspec.structs.replace(record.entry, source=source)
    pairs = Pairs(layout)
    assert pairs.write(record) == pairs.fitted(record, 10_000_000)


@pytest.mark.parametrize("escape", ESCAPES)
@given(text=st.text() | events.texts, limit=st.integers(8, 60))
def test_a_cut_text_is_the_escaped_form_of_a_beginning(escape: Escape, text: str, limit: int) -> None:
    got = cut(text, limit, escape)
    assert len(got.encode()) <= limit
    fitting = [size for size in range(len(text) + 1) if escape(text[:size]) == got]
    assert fitting
    longer = text[: fitting[-1] + 1]
    assert fitting[-1] == len(text) or len(escape(longer).encode()) > limit or longer.endswith("\\")


def test_a_comma_inside_of_an_item_makes_no_other_item() -> None:
    assert fields.joined(["a", "b"]) == "a,b"
    assert fields.joined(["a,admin", "b"]) == "a\\u002cadmin,b"
    assert fields.joined([","]) == "\\u002c"


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2026-11-21T05:38:34.123999Z", 1_795_239_514_123),
        ("1969-12-31T23:59:59.999999Z", None),
        ("2001-09-09T01:46:39.999999Z", None),
        ("2001-09-09T01:46:40.000000Z", 10**12),
        ("", None),
    ],
)
def test_thirteen_digits_or_none(time: str, moment: int | None) -> None:
    assert epoch_ms(epoch_us(time)) == moment


@pytest.mark.parametrize("name", ["cef", "leef", "syslog"])
def test_the_smallest_record_is_what_identifies_it(name: str) -> None:
    record = Record(events.line_of(events.with_text("x" * 300)), events.ORIGIN)
    data = make_format(name, Options(max_bytes=1)).render(record).decode()
    for part in (record.leaf, record.origin, record.entry.event_id, "ToolInvocationFailed"):
        assert part in data
    assert "xxx" not in data
    assert len(data) < 420


@pytest.mark.parametrize("name", ["cef", "leef", "syslog"])
def test_a_number_that_no_type_takes_has_a_key_all_the_same(name: str) -> None:
    body = events.with_text("x", cost={"centicents": str(2**70)}, outcome={**OUTCOME, "latency_ms": 1e300})
    data = make_format(name, Options()).render(Record(events.line_of(body), events.ORIGIN)).decode()
    cents, duration = {
        "cef": ("IndelibleMcpCostCents=", "IndelibleMcpDurationMs="),
        "leef": ("costCents=", "durationMs="),
        "syslog": ('cost_cents="', 'duration_ms="'),
    }[name]
    assert f"{cents}{2**70}" in data
    assert f"{duration}1e+300" in data


@pytest.mark.parametrize("name", ["cef", "leef", "syslog"])
def test_what_is_configured_is_made_a_header(name: str) -> None:
    hostile = "|\\ =\n\ud800\x00]" * 40
    options = Options(vendor=hostile, product=hostile, version=hostile, host=hostile, app_name=hostile)
    data = make_format(name, options).render(Record(events.line_of(events.with_text("x")), events.ORIGIN))
    assert b"\n" not in data
    assert b"\0" not in data
    data.decode()
