"""CEF, as `cefp` reads it: every field of any event, at the key that the page names, and nothing beside."""

from __future__ import annotations

import json

import cefp
import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from indelible.formats.cef import CefFormat
from indelible.formats.names import naming
from indelible.formats.record import Options, Record
from tests.effort import examples
from tests.unit.formats import events, said

OPTIONS = Options(vendor="A|b\\", product="In=delible\n", version="1.0", host="srv1.example")
FORMAT = CefFormat(OPTIONS)
ANY = settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    deadline=None,
)


def keys(row: said.Row, text: str, record: Record) -> dict[str, str]:
    """Return the pairs that a field makes."""
    if row.name == "client_ip":
        four, other = row.cef
        six = {"c6a2": text, "c6a2Label": "Source IPv6 Address"}
        return {0: {other: text}, 4: {four: text}, 6: six}[said.version(text)]
    if row.name in said.TYPED:
        key, label, other = row.cef
        return {key: text, label: row.name} if said.fits(row.name, record) else {other: text}
    return {row.cef[0]: text, **dict.fromkeys(row.cef[1:], row.name)}


CEF = said.Format(keys, said.shown, lambda row: row.limit, "IndelibleMcpCut", "IndelibleMcpLeftOut")


def assert_read_back(data: bytes, record: Record, *, complete: bool = True) -> dict[str, str]:
    """Check a record against its line; return its pairs."""
    text = data.decode()
    assert "\n" not in text
    assert "\r" not in text
    read = cefp.parse(text)
    named = naming(record.entry)
    assert (read["version"], read["name"], read["severity"]) == ("0", named.name, str(named.level.cef))
    assert read["device"] == {
        "vendor": "A|b\\",
        "product": "In=delible\\n",
        "version": "1.0",
        "event_class_id": named.cef,
    }
    got: dict[str, str] = dict(read["extension"])
    assert got.pop("dvchost") == "srv1.example"
    moment = got.pop("rt", None)
    assert moment is None or len(moment) == 13
    said.assert_pairs(CEF, got, record, complete=complete)
    return got


@ANY
@given(record=events.records)
def test_any_event_is_read_back_whole_and_alone(record: Record) -> None:
    assert_read_back(FORMAT.render(record), record)


@ANY
@given(record=events.redacted)
def test_what_the_redactor_leaves_is_read_back(record: Record) -> None:
    data = FORMAT.render(record)
    assert cefp.parse(data.decode())["extension"]["IndelibleMcpLeaf"] == record.leaf


@pytest.mark.parametrize("text", [*events.FORGED, *said.PLAIN_LONG])
def test_hostile_text_in_every_field_stays_inside_of_it(text: str) -> None:
    record = Record(events.line_of(events.with_text(text)), events.ORIGIN)
    assert_read_back(FORMAT.render(record), record)


@pytest.mark.parametrize("text", events.LONG)
def test_a_long_value_is_cut_at_its_limit_with_the_digest_of_the_whole(text: str) -> None:
    body = events.with_text("x", request={"args": {"text": text[:9_000]}})
    record = Record(events.line_of(body), events.ORIGIN)
    pairs = assert_read_back(FORMAT.render(record), record)
    assert len(pairs["requestContext"].replace("=", "\\=").replace("\\", "\\\\").encode()) > 2_000
    assert len(pairs["requestContext"].encode()) <= 2_048


@pytest.mark.parametrize("limit", [480, 700, 1_024, 2_048, 4_096])
@settings(parent=ANY, max_examples=examples(15))
@given(record=events.records)
def test_a_receivers_limit_is_kept_inside_of_values(limit: int, record: Record) -> None:
    whole = FORMAT.render(record)
    data = CefFormat(replace(OPTIONS, max_bytes=limit)).render(record)
    assert len(data) <= limit
    assert data == whole or len(whole) > limit
    pairs = assert_read_back(data, record, complete=False)
    assert pairs["IndelibleMcpLeaf"] == record.leaf
    assert pairs["IndelibleMcpSeq"] == str(record.entry.seq)
    assert pairs["deviceExternalId"] == record.origin


def test_the_eleven_fields_are_read_back() -> None:
    record = said.with_all_eleven(client_ip="192.0.2.7")
    got = cefp.parse(FORMAT.render(record).decode())["extension"]
    labelled = {got[f"{key}Label"]: value for key, value in got.items() if f"{key}Label" in got}
    named = {**labelled, "status": got["outcome"], "caller_id": got["suser"], "caller_roles": got["spriv"]}
    assert {name: named[name] for name in said.ELEVEN} == said.ELEVEN_SAID
    assert got["src"] == "192.0.2.7"


def test_no_key_is_used_twice_and_every_own_key_has_vendor_and_product() -> None:
    used = [key for row in said.TABLE for key in row.cef]
    assert len(set(used)) == len(used)
    dictionary = {
        "externalId", "deviceExternalId", "cat", "outcome", "suser", "spriv", "act", "reason", "msg", "src",
        "requestClientApplication", "requestContext", *(f"cs{n}" for n in range(1, 7)), "cn1", "cn2", "cn3", "cfp1",
    }  # fmt: skip
    for key in used:
        assert key.isalnum()
        assert key.removesuffix("Label") in dictionary or key.startswith("IndelibleMcp")


def test_the_same_line_makes_the_same_bytes() -> None:
    line = events.line_of(events.with_text("\x1b|=\\"))
    first = FORMAT.render(Record(line, events.ORIGIN))
    assert first == CefFormat(OPTIONS).render(Record(line, events.ORIGIN))


def test_an_erased_line_says_so() -> None:
    leaf = "ab" * 32
    line = json.dumps({"seq": 3, "erased": "6f1c1e9c", "leaf": leaf}, separators=(",", ":")).encode()
    read = cefp.parse(FORMAT.render(Record(line, "o")).decode())
    assert read["name"] == "ErasedLine"
    assert read["extension"] == {
        "dvchost": "srv1.example",
        "deviceExternalId": "o",
        "IndelibleMcpSeq": "3",
        "IndelibleMcpErased": "6f1c1e9c",
        "IndelibleMcpLeaf": leaf,
    }
