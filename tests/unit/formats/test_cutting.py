"""Records that are too large for their receiver."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.formats.record import Options, Record
from indelible.registry import make_format
from tests.unit.formats import events
from tests.unit.formats.readers import JSON_FORMATS, OPERATIONS_ONLY, READERS, strict

LIMIT = 8_192
"""Room for every name and id at its longest would be more; these are the ones of the examples."""

CUT = re.compile(r"^(.*) \[CUT ([0-9]+) bytes, sha256 ([0-9a-f]{64})\]$", re.DOTALL)
IDENTITY = (
    "seq",
    "leaf",
    "origin",
    "event_id",
    "request_id",
    "user_id",
    "name",
    "backend",
    "kind",
    "time",
    "time_ms",
)


def cut(name: str, record: Record, limit: int) -> bytes:
    return make_format(name, Options(max_bytes=limit)).render(record)


def record_of(args: Any, **changes: Any) -> Record:
    body = events.with_text("ada", **changes)
    return Record(events.line_of({**body, "request": {**body["request"], "args": args}}), events.ORIGIN)


@pytest.mark.parametrize("name", JSON_FORMATS)
@pytest.mark.parametrize(
    "args", [{"q": "y" * 60_000}, {"q": '"\\\x7f\x80é😀' * 3_000}, {str(i): "z" for i in range(3_000)}]
)
def test_a_record_is_cut_to_the_limit_and_keeps_what_identifies_it(name: str, args: dict[str, str]) -> None:
    record = record_of(args)
    whole = make_format(name, Options()).render(record)
    line = cut(name, record, LIMIT)
    assert len(line) <= LIMIT
    before, after = (strict(data) for data in (whole, line))
    assert list(after) == list(before)
    read, expected = (READERS[name](value) for value in (after, before))
    assert {key: read.get(key) for key in IDENTITY} == {key: expected.get(key) for key in IDENTITY}
    assert cut(name, record, LIMIT) == line


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_what_fits_is_not_touched(name: str) -> None:
    record = record_of({"q": "y" * 500})
    whole = make_format(name, Options()).render(record)
    assert cut(name, record, len(whole)) == whole
    assert cut(name, record, len(whole) - 1) != whole or b"yyy" not in whole


def test_the_longest_is_cut_first_and_its_digest_is_that_of_all_of_it() -> None:
    record = record_of({"short": "s" * 300, "long": "l" * 20_000})
    found = strict(cut("alive", record, 5_000))["args"]
    assert found["short"] == "s" * 300
    match = CUT.match(found["long"])
    assert match is not None
    assert set(match[1]) == {"l"}
    assert len(match[1]) > 3_000  # as much as there is room for
    assert int(match[2]) == 20_000
    assert match[3] == sha256(b"l" * 20_000).hexdigest()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("mxcp", ("input_json",)),
        ("ecs", ("indelible", "args")),
    ],
)
def test_json_inside_a_text_is_json_afterwards(name: str, path: tuple[str, ...]) -> None:
    args = {"q": "y" * 30_000}
    value = strict(cut(name, record_of(args), LIMIT))
    for key in path:
        value = value[key]
    inner, text = json.loads(value), json.dumps(args, separators=(",", ":"))
    assert inner["bytes"] == len(text)
    assert inner["sha256"] == sha256(text.encode()).hexdigest()
    assert text.startswith(inner["cut"])


def test_many_small_values_go_together_with_the_digest_of_all_of_them() -> None:
    args = {f"key{number}": "v" * 20 for number in range(1_000)}
    found = strict(cut("alive", record_of(args), 4_000))["args"]
    text = json.dumps(args, separators=(",", ":")).encode()
    assert found == {"cut": text[:16].decode(), "bytes": len(text), "sha256": sha256(text).hexdigest()}


def test_what_argus_has_in_its_metadata_to_check_it_with_stays() -> None:
    metadata = {f"key{number}": "v" * 20 for number in range(1_000)}
    value = strict(cut("argus", record_of({}, metadata=metadata), 4_000))
    assert list(value["metadata"]) == ["cut", "bytes", "sha256", "indelible"]
    assert value["metadata"]["indelible"]["seq"] == 7


def test_no_name_that_a_caller_gives_a_value_keeps_it_from_being_cut() -> None:
    for args in (
        {"indelible": "y" * 50_000},
        {"key": "seq", "value": {"stringValue": "y" * 50_000}},
        {"key": "seq", "value": {"intValue": ["y" * 50_000]}},
        [["y" * 50_000]],
        "y" * 50_000,
    ):
        for name in JSON_FORMATS:
            assert len(cut(name, record_of(args), LIMIT)) <= LIMIT, (name, str(args)[:40])


def test_names_and_ids_are_never_cut_even_over_the_limit() -> None:
    body = events.with_text("n" * 500)
    record = Record(events.line_of(body), events.ORIGIN)
    for name in JSON_FORMATS:
        value = READERS[name](strict(cut(name, record, 1_000)))
        for key in ("user_id", "name", "backend", "request_id"):
            assert value.get(key, "n" * 500) == "n" * 500, (name, key)


@given(events.records | events.operation_records, st.sampled_from([1, 900, 4_000, 20_000]))
def test_whatever_is_cut_stays_one_line_of_json(record: Record, limit: int) -> None:
    for name in JSON_FORMATS:
        if name in OPERATIONS_ONLY and record.entry.event_type not in (
            "mcp_operation",
            "mcp_operation_started",
        ):
            continue
        line = cut(name, record, limit)
        assert b"\n" not in line
        assert READERS[name](strict(line))["seq"] == record.entry.seq
