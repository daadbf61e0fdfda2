"""What a record says is read back as the event says it, and what its format has no room for is not guessed."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings

from indelible.formats.back import UNKNOWN_FORMAT, read_back
from indelible.formats.back_parts import EVERYTHING, NAMES
from indelible.formats.found import Found, read_found
from indelible.formats.record import Options, Record
from indelible.query.filters import Row, parse_row
from indelible.query.readback import read_record
from indelible.registry import FORMATS, make_format
from indelible.trail.entry import stamp
from tests.trails import ORIGIN, operation
from tests.unit.formats.events import lines

OURS: Final = [name for name in FORMATS if name not in ("indelible", "jsonlines", "json-lines")]
ALL = pytest.mark.parametrize("name", OURS)
MILLISECONDS: Final = ("mxcp", "alive", "ocsf", "cef", "leef")

_plain = re.compile(r"[ -\[\]-~]*").fullmatch
"""What every format writes as it is: in CEF, LEEF and syslog other text is shown as an escape, or is replaced."""


def found_in(name: str, line: bytes, options: Options | None = None) -> Found | None:
    made = make_format(name, options or Options(host="host-1"))
    record = Record(line, ORIGIN)
    if made.holds is not None and record.entry.event_type not in made.holds:
        return None
    return read_found(made.render(record))


def row_of(event: dict[str, Any]) -> Row:
    row = parse_row(json.dumps(event, separators=(",", ":")).encode())
    assert row is not None
    return row


def answers(row: Row) -> dict[str, Any]:
    """Return what each filter looks at."""
    return {
        "events": row.event_type,
        "user": row.source.user_id,
        "session": row.source.session_id,
        "caller_type": row.source.caller_type,
        "backend": row.target.backend,
        "type": row.target.type,
        "name": row.target.capability_name,
        "status": row.outcome.status,
        "kind": row.outcome.kind,
        "policy": row.policy.decision or ("n/a" if row.outcome.kind else None),
        "request_id": row.request.request_id,
    }


def same(mine: Any, theirs: Any) -> bool:
    """Tell whether two values are one; what some formats cannot write plainly, or leave out when empty, is."""
    if mine == theirs:
        return True
    if isinstance(theirs, str) and (not theirs.strip() or not _plain(theirs) or theirs != theirs.strip()):
        return True
    return isinstance(theirs, str) and len(theirs) > 200


@ALL
def test_a_call_is_read_back_with_all_that_its_format_says(name: str) -> None:
    body = operation(
        7,
        target__method="tools/call",
        source__session_id="s9",
        policy={"decision": "warn"},
        request__args={"p": 1},
    )
    line = stamp(7, "2026-11-21T05:38:34.131072Z", json.dumps(body, separators=(",", ":")).encode())
    found = found_in(name, line)
    assert found is not None
    back = read_back(found)
    assert back.format == name
    theirs, mine = row_of(json.loads(line)), row_of(back.event)
    assert mine.seq == theirs.seq == 7
    for key in back.says & set(answers(theirs)):
        assert answers(mine)[key] == answers(theirs)[key], key
    digits = 23 if name in MILLISECONDS else 26
    assert mine.timestamp[:digits] == theirs.timestamp[:digits]
    assert len(mine.timestamp) == 27
    for key in EVERYTHING - back.says - NAMES:  # nothing is claimed that the format does not have
        assert answers(mine)[key] in (None, "n/a"), key


@settings(max_examples=25)
@given(line=lines)
def test_what_any_event_says_is_read_back(line: bytes) -> None:
    row = parse_row(line)
    if row is None or (row.event_type == "mcp_operation_started" and row.outcome.kind):  # none is written
        return
    theirs = answers(row)
    for name in OURS:
        found = found_in(name, line)
        if found is None:
            continue
        seen = read_record(found.body)
        assert seen is not None
        assert seen.says is not None
        mine = answers(seen.hit.row)
        assert seen.hit.format == name
        for key in seen.says - NAMES - {"since", "until"}:
            if key == "type" and name in (
                "argus",
                "mcpgw",
                "hangar",
            ):  # by the method; by what the event is called
                continue
            assert same(mine[key], theirs[key]), (name, key, mine[key], theirs[key])


def test_a_record_that_was_cut_does_not_answer_for_what_was_cut() -> None:
    body = operation(1, target__capability_name="n" * 6_000, source__user_id="u" * 500)
    line = stamp(1, "2026-11-21T05:38:34.131072Z", json.dumps(body, separators=(",", ":")).encode())
    for name in ("cef", "leef", "syslog"):
        found = found_in(name, line, Options(max_bytes=2_048))
        assert found is not None
        back = read_back(found)
        assert "name" not in back.says
        assert "status" in back.says, name


def test_another_package_s_record_says_no_more_than_which_event_it_is_of() -> None:
    found = read_found(
        b'{"x":"y","indelible":{"event_id":"e","seq":3,"origin":"o","leaf":"' + b"0" * 64 + b'"}}'
    )
    assert found is not None
    back = read_back(found)
    assert back == (UNKNOWN_FORMAT, {"seq": 3, "event_id": "e"}, frozenset())


def test_every_filter_is_answered_by_some_format_and_named_as_the_filter_is() -> None:
    from indelible.query.filters import Filter

    assert set(msgspec.structs.asdict(Filter())) == EVERYTHING
