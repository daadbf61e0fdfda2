"""LEEF, as a strict reader reads it: every field of any event, at the key that the page names, and nothing beside."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from indelible.formats.leef import LeefFormat
from indelible.formats.names import naming
from indelible.formats.record import Options, Record
from tests.effort import examples
from tests.unit.formats import events, leefread, said

OPTIONS = Options(vendor="A|b\\", product="In=delible\n", version="1.0\t2", host="srv1.example")
FORMAT = LeefFormat(OPTIONS)
ANY = settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    deadline=None,
)


def keys(row: said.Row, text: str, _record: Record) -> dict[str, str]:
    """Return the pairs that a field makes."""
    return {row.leef[0] if row.name != "client_ip" or said.version(text) else row.leef[1]: text}


def replaced(text: str) -> str:
    text = re.sub(r"\r\n|\r|\n", r"\\n", said.shown(text)).replace("\t", " ")
    return re.sub(r"\\\Z", r"\\u005c", text)


LEEF = said.Format(keys, replaced, lambda row: 255 if row.name == "caller_id" else 8_192, "cut", "leftOut")


def assert_read_back(data: bytes, record: Record, *, complete: bool = True) -> dict[str, str]:
    """Check a record against its line; return its attributes."""
    read = leefread.read(data)
    named = naming(record.entry)
    assert read[:4] == ("A¦b\\u005c", "In=delible\\n", "1.0 2", named.leef)
    got = dict(read.attributes)
    assert got.pop("devHost") == "srv1.example"
    assert got.pop("eventName") == named.name
    assert 1 <= int(got.pop("sev")) == named.level.cef <= 10
    moment = got.pop("devTime", None)
    assert moment is None or re.fullmatch(r"[0-9]{13}", moment)
    said.assert_pairs(LEEF, got, record, complete=complete)
    return got


@ANY
@given(record=events.records)
def test_any_event_is_read_back_whole_and_alone(record: Record) -> None:
    assert_read_back(FORMAT.render(record), record)


@ANY
@given(record=events.redacted)
def test_what_the_redactor_leaves_is_read_back(record: Record) -> None:
    assert leefread.read(FORMAT.render(record)).attributes["leaf"] == record.leaf


@pytest.mark.parametrize("text", [*events.FORGED, *said.PLAIN_LONG])
def test_hostile_text_in_every_field_stays_inside_of_it(text: str) -> None:
    record = Record(events.line_of(events.with_text(text)), events.ORIGIN)
    assert_read_back(FORMAT.render(record), record)


@pytest.mark.parametrize("limit", [480, 700, 1_024, 2_048, 4_096])
@settings(parent=ANY, max_examples=examples(15))
@given(record=events.records)
def test_a_receivers_limit_is_kept_inside_of_values(limit: int, record: Record) -> None:
    whole = FORMAT.render(record)
    data = LeefFormat(replace(OPTIONS, max_bytes=limit)).render(record)
    assert len(data) <= limit
    assert data == whole or len(whole) > limit
    got = assert_read_back(data, record, complete=False)
    assert (got["leaf"], got["seq"], got["origin"]) == (record.leaf, str(record.entry.seq), record.origin)


def test_the_eleven_fields_are_read_back() -> None:
    got = leefread.read(FORMAT.render(said.with_all_eleven(client_ip="2001:db8::7"))).attributes
    row = {row.name: row.leef[0] for row in said.TABLE}
    assert {name: got[row[name]] for name in said.ELEVEN} == said.ELEVEN_SAID
    assert got["action"] == "read"
    assert got["src"] == "2001:db8::7"


@pytest.mark.parametrize(
    ("event_type", "protocol"),
    [("mcp_operation", "tool"), ("mcp_server_state_changed", "provider"), ("alert", None)],
)
def test_the_protocol_is_written_in_hangars_dialect_only(event_type: str, protocol: str | None) -> None:
    record = Record(events.line_of(events.with_text("x", event_type=event_type)), events.ORIGIN)
    assert "proto" not in leefread.read(FORMAT.render(record)).attributes
    read = leefread.read(LeefFormat(replace(OPTIONS, dialect="hangar")).render(record))
    assert read.attributes.get("proto") == protocol


def test_no_key_is_used_twice() -> None:
    used = [key for row in said.TABLE for key in row.leef]
    assert len(set(used)) == len(used)
    assert {"devTime", "devHost", "sev", "eventName", "proto"}.isdisjoint(used)
