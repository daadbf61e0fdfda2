"""Records behind a syslog header: the header says what happened, the record is the format's own, and nothing leaks."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from hypothesis import given

from indelible.errors import ConfigError
from indelible.formats.found import read_found, split_front
from indelible.formats.names import naming
from indelible.formats.record import Format, Options, Record
from indelible.registry import make_format
from indelible.shipper.names import check_names, format_of
from indelible.sink_settings.sinks import SinkSettings, parse_sinks
from tests.unit.formats import events


def sink(**keys: Any) -> SinkSettings:
    [one] = parse_sinks([{"type": "syslog", "address": "log.example", **keys}])
    return one


def rendered(format_: str, record: Record, **keys: Any) -> bytes:
    return format_of(sink(format=format_, **keys), "1.0").render(record)


CALL: Final = Record(events.line_of(events.with_text("x")), events.ORIGIN)


def test_cef_and_leef_have_the_header_of_their_guides_and_every_other_format_that_of_rfc_5424() -> None:
    front, body = split_front(rendered("cef", CALL))
    assert re.fullmatch(rb"<132>Nov 21 05:38:34 [!-~]+ ", front)
    assert body.startswith(b"CEF:0|Indelible|Indelible|1.0|101|")
    front, body = split_front(rendered("leef", CALL, facility="auth"))
    assert re.fullmatch(rb"<36>Nov 21 05:38:34 [!-~]+ ", front)
    assert body.startswith(b"LEEF:2.0|")
    front, body = split_front(rendered("mxcp", CALL, app_name="mcp"))
    assert re.fullmatch(rb"<132>1 2026-11-21T05:38:34\.123456Z [!-~]+ mcp - ToolInvocationFailed - ", front)
    assert body.startswith(b"{")
    assert rendered("syslog", CALL).count(b"<132>1 ") == 1


@pytest.mark.parametrize("format_", ["cef", "leef", "mxcp"])
def test_none_is_none_and_files_have_none(format_: str) -> None:
    plain = make_format(format_, Options(version="1.0", host="x", max_bytes=0)).render(CALL)
    bare = rendered(format_, CALL, header="none", max_bytes=0)
    assert plain.split(b"Host=")[0].split(b"dvchost=")[0] == bare.split(b"Host=")[0].split(b"dvchost=")[0]
    [file] = parse_sinks([{"type": "file", "path": "x", "format": format_}])
    assert split_front(format_of(file, "1.0").render(CALL))[0] == b""


def test_a_day_of_one_digit_has_a_space_and_an_event_without_time_the_first_of_january() -> None:
    early = Record(events.line_of({**events.with_text("x"), "timestamp": "2026-03-02T00:00:00.000000Z"}), "o")
    assert b">Mar  2 00:00:00 " in rendered("cef", early)
    none = events.line_of({**events.with_text("x"), "timestamp": "soon"}, recorded_at="later")
    assert b">Jan  1 00:00:00 " in rendered("cef", Record(none, "o"))


@pytest.mark.sampled
@pytest.mark.parametrize("header", ["rfc3164", "rfc5424"])
@pytest.mark.parametrize("format_", ["cef", "leef", "ecs"])
def test_any_event_is_one_header_and_one_record_within_the_limit(format_: str, header: str) -> None:
    whole = make_format(format_, Options(host="h", version="1"))
    limited: Format = format_of(sink(format=format_, header=header, max_bytes=4096), "1")

    @given(events.records | events.operation_records)
    def each(record: Record) -> None:
        data = limited.render(record)
        front, body = split_front(data)
        assert front.startswith(b"<%d>" % (16 * 8 + naming(record.entry).level.syslog))
        assert not any(byte < 0x20 or byte > 0x7E for byte in front)
        assert b"\n" not in data
        assert len(data) <= 4096 or len(whole.render(record)) > 3_000
        found = read_found(data)
        assert found is not None
        assert (found.front, found.body) == (front, body)
        assert (found.seq, found.leaf.hex()) == (record.entry.seq, record.leaf)

    each()


def test_a_format_with_a_header_of_its_own_gets_no_second_one() -> None:
    check_names([sink(format="syslog"), sink(format="syslog", name="b", header="none")])
    with pytest.raises(ConfigError, match=r"log\.example: header: records of 'format: syslog' have one"):
        check_names([sink(format="syslog", header="rfc3164")])
