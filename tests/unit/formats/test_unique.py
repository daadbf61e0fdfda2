"""Lines that only tampering makes: keys that stand twice, in whatever spelling. No record has a key twice by that."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.formats.record import Options, Record
from indelible.formats.unique import with_unique_keys
from indelible.registry import make_format
from indelible.trail.entry import stamp
from tests.unit.formats import events
from tests.unit.formats.readers import JSON_FORMATS, READERS, strict

FORMATS: Final = {name: make_format(name, Options()) for name in JSON_FORMATS}
COPIES: Final = ("alive", "argus", "cloudevents", "ocsf")
"""What has JSON of the line in it as JSON."""


def as_object(pairs: list[tuple[str, str]]) -> str:
    """Return JSON text of an object that has these pairs, one by one."""
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs) + "}"


keys = st.sampled_from(["a", "a (1)", "indelible", "seq", "", "\ud800", "\udfff", "\ufffd", "user_id", "\x00"])
values: st.SearchStrategy[str] = st.recursive(
    st.sampled_from(["1", '"x"', "null", "1.50", "1e400", '"\\udead"', "12345678901234567890"]),
    lambda inner: st.lists(st.tuples(keys, inner), max_size=4).map(as_object),
    max_leaves=8,
)
objects = st.lists(st.tuples(keys, values), max_size=4).map(as_object)


def tampered(args: str, metadata: str, top: list[tuple[str, str]]) -> bytes:
    """Return a call's line with this text in it, and more keys at its end, which may stand there already."""
    body = {**events.with_text("x"), "request": {"args": "ARGS"}, "metadata": "METADATA"}
    line = stamp(7, "2026-11-21T05:38:35.000001Z", json.dumps(body, separators=(",", ":")).encode())
    line = line.replace(b'"ARGS"', args.encode()).replace(b'"METADATA"', metadata.encode())
    return line[:-1] + "".join(f",{json.dumps(key)}:{value}" for key, value in top).encode() + b"}"


tops = st.lists(
    st.sampled_from(
        [("event_id", '"forged"'), ("indelible", '{"leaf":"forged"}'), ("source", '{"user_id":"eve"}')]
    ),
    max_size=2,
)


@given(objects, objects, tops)
def test_no_record_has_a_key_twice(args: str, metadata: str, top: list[tuple[str, str]]) -> None:
    record = Record(tampered(args, metadata, top), events.ORIGIN)
    leaf = record.leaf
    for name, format_ in FORMATS.items():
        data = format_.render(record)
        assert b"\n" not in data
        value = strict_but_for_large_numbers(data)
        orjson.loads(data.replace(b"12345678901234567890", b"1").replace(b"1e400", b"1"))
        read = READERS[name](value)
        assert (read["leaf"], read["seq"], read["origin"]) == (leaf, 7, events.ORIGIN), name


def strict_but_for_large_numbers(data: bytes) -> Any:
    """Read strict JSON, but that this line's numbers may be larger than a double: none of ours are."""
    return strict(data.replace(b"12345678901234567890", b"1"))


@pytest.mark.parametrize("name", COPIES)
def test_what_stands_twice_is_there_twice_under_two_names_and_that_is_said(name: str) -> None:
    line = tampered('{"to":"a","to":"b","to (1)":"c"}', '{"k":1,"k":2}', [])
    value = strict(FORMATS[name].render(Record(line, events.ORIGIN)))
    text = json.dumps(value)
    found = '{"k (1)": 1, "k": 2' if name == "argus" else '{"to (2)": "a", "to": "b", "to (1)": "c"}'
    assert found in text
    assert '"mended": true' in text


@given(objects)
def test_an_object_without_such_keys_stays_the_very_same_bytes(text: str) -> None:
    twice = []

    def unique(pairs: list[tuple[str, Any]]) -> str:
        keys = {key.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for key, _ in pairs}
        if len(keys) < len(pairs):
            twice.append(pairs)
        return ""

    json.loads(text, object_pairs_hook=unique)
    assert (with_unique_keys(text.encode()) == text.encode()) is not bool(twice)


def test_a_line_as_recorders_write_it_is_not_copied() -> None:
    for body in (events.with_text(text) for text in events.FORGED):
        line = events.line_of(body)
        assert with_unique_keys(line) is line
