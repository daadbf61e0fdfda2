"""RFC 5424, as go-syslog reads it: every field of any event, in both framings, and nothing beside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from indelible.errors import ConfigError
from indelible.formats.names import naming
from indelible.formats.record import Options, Record
from indelible.formats.syslog import SyslogFormat
from indelible.formats.times import event_time
from tests.effort import examples
from tests.unit.formats import events, said

OPTIONS = Options(host="srv1 é.example", app_name="ind el\nible", enterprise=12345)
FORMAT = SyslogFormat(OPTIONS)
BATCH = st.lists(events.records, min_size=1, max_size=8)
ANY = settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    deadline=None,
)
FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "octet": lambda record: b"%d %s" % (len(record), record),
    "lf": lambda record: record + b"\n",
}

Read = Callable[[str, Iterable[bytes]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def read() -> Read:
    """Return what reads records in a framing."""
    from tests.judges.conftest import TOOLS

    program = TOOLS / "syslogread"
    assert program.exists(), "syslogread is not built: run make setup"

    def ask(framing: str, records: Iterable[bytes]) -> list[dict[str, Any]]:
        stream = b"".join(map(FRAMES[framing], records))
        done = subprocess.run(
            [str(program), framing], input=stream, capture_output=True, check=False, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return [json.loads(line) for line in done.stdout.split(b"\n") if line]

    return ask


def keys(row: said.Row, text: str, _record: Record) -> dict[str, str]:
    return {row.name: text}


def replaced(text: str) -> str:
    return said.shown(text).replace("\r", "\\r").replace("\n", "\\n")


SYSLOG = said.Format(keys, replaced, lambda _row: 8_192, "cut", "left_out")


def assert_understood(got: dict[str, Any], record: Record, *, complete: bool = True) -> None:
    """Check one record as the judge understood it."""
    assert "error" not in got, got
    named = naming(record.entry)
    assert (got["pri"], got["version"]) == (16 * 8 + named.level.syslog, 1)
    assert (got["host"], got["app"]) == ("srv1_.example", "ind_el_ible")
    assert got["id"] == named.name[:32]
    assert moment_of(got) == event_time(record.entry)
    assert set(got["data"]) == {"indelible@12345"}
    said.assert_pairs(SYSLOG, got["data"]["indelible@12345"], record, complete=complete)
    message = got["message"]
    assert message.startswith("\ufeff") != message.isascii()
    assert message.removeprefix("\ufeff").split(" ")[0] == named.name
    assert not any(ord(sign) < 32 or (127 <= ord(sign) < 160 and sign != "\x85") for sign in message)


def moment_of(got: dict[str, Any]) -> str:
    """Return the time with six digits, of which the judge leaves out zeros at the end."""
    whole, _, fraction = got.get("time", "").rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<6}Z" if whole else ""


@pytest.mark.parametrize("framing", FRAMES)
@ANY
@given(records=BATCH)
def test_what_goes_in_comes_out_one_by_one(framing: str, records: list[Record], read: Read) -> None:
    got = read(framing, map(FORMAT.render, records))
    assert len(got) == len(records)
    for understood, record in zip(got, records, strict=True):
        assert_understood(understood, record)


@pytest.mark.parametrize("framing", FRAMES)
def test_hostile_text_in_every_field_stays_inside_of_it(framing: str, read: Read) -> None:
    hostile = (*events.FORGED, *said.PLAIN_LONG, *(text[:2_000] for text in events.LONG))
    lines = [events.line_of(events.with_text(text)) for text in hostile]
    records = [Record(line, events.ORIGIN) for line in lines if events.fits(line)]
    got = read(framing, map(FORMAT.render, records))
    assert len(got) == len(records) > len(events.FORGED)
    for understood, record in zip(got, records, strict=True):
        assert_understood(understood, record)


@pytest.mark.parametrize("limit", [480, 1_024, 2_048, 4_096])
@settings(parent=ANY, max_examples=examples(8))
@given(records=BATCH)
def test_a_receivers_limit_is_kept_inside_of_values(limit: int, records: list[Record], read: Read) -> None:
    cut = SyslogFormat(replace(OPTIONS, max_bytes=limit))
    rendered = [cut.render(record) for record in records]
    got = read("octet", rendered)
    assert len(got) == len(records)
    for data, understood, record in zip(rendered, got, records, strict=True):
        whole = FORMAT.render(record)
        assert len(data) <= limit
        assert data == whole or len(whole) > limit
        assert_understood(understood, record, complete=False)
        data_of = understood["data"]["indelible@12345"]
        assert (data_of["leaf"], data_of["seq"]) == (record.leaf, str(record.entry.seq))


def test_the_eleven_fields_are_read_back_under_their_own_names(read: Read) -> None:
    [got] = read("octet", [FORMAT.render(said.with_all_eleven())])
    data = got["data"]["indelible@12345"]
    assert {name: data[name] for name in said.ELEVEN} == said.ELEVEN_SAID


def test_a_completed_call_is_134_and_its_message_begins_with_its_name() -> None:
    outcome = {"status": "success", "kind": "completed", "latency_ms": 1.5}
    record = Record(events.line_of(events.with_text("x", outcome=outcome)), events.ORIGIN)
    data = SyslogFormat(Options()).render(record)
    assert data.startswith(
        b"<134>1 2026-11-21T05:38:34.123456Z - indelible - ToolInvocationCompleted [indelible@32473 "
    )
    assert b'"] ToolInvocationCompleted name=x server=x user=x kind=completed' in data


@pytest.mark.parametrize(("name", "value"), [("facility", 24), ("facility", -1), ("enterprise", 0)])
def test_what_no_header_can_say_is_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"^{name} "):
        SyslogFormat(replace(Options(), **{name: value}))
