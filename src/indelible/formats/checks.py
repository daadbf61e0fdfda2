"""The contract of formats as a test: whoever writes one proves it with this, as ours do. Pure.

The lines that a format is judged with are what a trail may hold at its worst: every type of event, every outcome, text
of a caller's that is made to begin another record or field, the longest line, text that was not Unicode, an erased
line. Whether such text made a field of its own, nobody can tell who cannot read the format: whoever asks may bring what
reads a record's fields, and a record with hostile text then has the very fields that it has with plain text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, get_args

from indelible.events import MAX_LINE_BYTES, STATUS_OF_KIND, EventType
from indelible.formats.record import Format, Options, Record

ORIGIN: Final = "indelible/00112233445566778899aabbccddeeff"
EVENT_ID: Final = "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a"
SEQ: Final = 987_654_321
ROOMY: Final = 4_096
"""A receiver's limit that leaves room for what identifies a record, and for some of the rest."""

PLAIN: Final = "plain"
HOSTILE: Final = (
    "x\n<134>1 2026-11-21T05:38:34Z host indelible - - - forged",
    "x\r\nCEF:0|Indelible|Indelible|1|100|forged|5|act=forged",
    "x\nLEEF:2.0|Indelible|Indelible|1|101|x09|action=forged",
    'x"}\n{"event_type":"forged"}',
    'x","status":"forged","y":"',
    'x"] [forged@32473 a="b"] x',
    "x act=forged outcome=forged",
    "x\taction=forged\tsev=1",
    "x|forged|10|",
    "k=v",
    "a\\",
    "a\\\\",
    "\\n\\t\\u0041",
    "\x00\x01\x1b[31mred\x1b[0m\x7f",
    "\x80\x85\x9b",
    "\r",
    "\n\n",
    " around ",
    "\u2028\u2029\u202e\u200d\ufeff",
    "\uffff\U0010ffff😀ä",
    "${jndi:ldap://x/y}%s%n{}",
    "=cmd()",
    "'; --",
    "<script>&amp;",
)
"""What would begin a record, a header or a field of its own, or end one, if anything let it."""

Read = Callable[[bytes], Collection[str]]
"""Returns the names of a record's fields. May raise anything for what is no record."""


def check_format(made: Callable[[Options], Format], read: Read | None = None) -> tuple[str, ...]:
    """Judge a format; return the event types that it holds and was judged with.

    `made` makes it, as `indelible.registry` does. Raises AssertionError, which says what rule of `indelible.formats` is
    broken, and by which line.
    """
    first, second = made(Options()), made(Options())
    judged = []
    for line in _lines():
        record = Record(line, ORIGIN)
        if not _holds(first, record):
            continue
        data = first.render(record)
        _check_record(data, record)
        _require(second.render(Record(line, ORIGIN)) == data, "the same line made other bytes", record)
        judged.append(record.entry.event_type)
    _require(bool(judged), "it holds no event that a trail has")
    _check_limit(made)
    if read is not None:
        _check_fields(first, read)
    return tuple(dict.fromkeys(judged))


def _lines() -> Iterator[bytes]:
    for event_type in (*get_args(EventType), "of_a_later_version"):
        for text in (PLAIN, *HOSTILE):
            yield _line(_event(text, event_type))
    for kind, status in STATUS_OF_KIND.items():
        yield _line(_event(PLAIN, "mcp_operation", {"status": status, "kind": kind}))
    yield _line(
        {"timestamp": "soon", "event_type": "mcp_operation", "outcome": {"status": "error", "kind": "later"}}
    )
    yield _line(_event("half \ud800 a pair", "mcp_operation"))
    yield _line(_event(PLAIN, "mcp_operation", {**_FAILED, "latency_ms": "9" * 30, "error_code": "9" * 30}))
    yield _longest()
    yield json.dumps({"seq": SEQ, "erased": EVENT_ID, "leaf": "ab" * 32}, separators=(",", ":")).encode()


_FAILED: Final = {"status": "error", "kind": "tool_error"}


def _event(text: str, event_type: str, outcome: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return an event with `text` wherever a caller, a server or a policy may have put it."""
    names = ("session_id", "client_ip", "client", "user_id", "tenant", "issuer")
    outcome = outcome or {
        **_FAILED,
        "latency_ms": 1.25,
        "error": text,
        "error_type": text,
        "result": {text: text},
    }
    return {
        "timestamp": "2026-11-21T05:38:34.123456Z",
        "event_type": event_type,
        "source": {"caller": "http", **dict.fromkeys(names, text), "roles": [text, text]},
        "target": {
            "type": "tool",
            **dict.fromkeys(("backend", "method", "capability_name", "original_name"), text),
        },
        "request": {"request_id": text, "rpc_id": text, "args": {text: [text, {"deep": text}]}},
        "policy": {"decision": "deny", "rule": text, "reason": text},
        "outcome": outcome,
        "cost": {"centicents": 12, "model": text, "input_tokens": 3, "output_tokens": 4},
        "state": {"from": text, "to": text, "reason": text},
        "metadata": {text: text},
    }


def _line(event: dict[str, Any]) -> bytes:
    whole = {
        "seq": SEQ,
        "schema": 1,
        "recorded_at": "2026-11-21T05:38:35.000001Z",
        **event,
        "event_id": EVENT_ID,
    }
    try:
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(whole, separators=(",", ":")).encode()


def _longest() -> bytes:
    event = _event(PLAIN, "mcp_operation")
    event["request"]["args"] = {"text": ""}
    event["request"]["args"]["text"] = "|=]ä" * ((MAX_LINE_BYTES - len(_line(event))) // 5)
    return _line(event)


def _holds(judged: Format, record: Record) -> bool:
    """Tell whether a format has a shape for an event, as whoever ships it asks."""
    return judged.holds is None or record.entry.event_type in judged.holds


def _check_record(data: object, record: Record) -> None:
    if data == record.line:  # the trail's own words, which the line and its origin answer for
        return
    if not isinstance(data, bytes) or not data:
        raise AssertionError(_said("no bytes came of it", record))
    _require(b"\n" not in data and b"\r" not in data, "a line end in a record: it splits there", record)
    controls = set(data) & {*range(0x20), 0x7F} - {0x09}
    _require(not controls, f"control characters as they are: {sorted(controls)}", record)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise AssertionError(_said("not UTF-8", record)) from None
    for name, value in _identity(record).items():
        _require(value in text, f"{name} is missing", record)


def _identity(record: Record) -> dict[str, str]:
    entry = record.entry
    return {"event_id": entry.event_id, "seq": str(entry.seq), "origin": record.origin, "leaf": record.leaf}


def _check_limit(made: Callable[[Options], Format]) -> None:
    """A receiver's limit is kept, and what identifies the record with it."""
    record = Record(_longest(), ORIGIN)
    judged = made(Options(max_bytes=ROOMY))
    if not _holds(judged, record):
        return
    data = judged.render(record)
    _check_record(data, record)
    _require(data == record.line or len(data) <= ROOMY, f"max_bytes {ROOMY}: {len(data)} bytes", record)


def _check_fields(judged: Format, read: Read) -> None:
    """Hostile text makes no field and hides none. Keys of a caller's objects are fields of nobody."""
    for event_type in get_args(EventType):
        fields: dict[str, list[str]] = {}
        for text in (PLAIN, *HOSTILE):
            record = Record(_line(_event(text, event_type)), ORIGIN)
            if not _holds(judged, record):
                break
            fields[text] = sorted(read(judged.render(record)))
            _require(
                fields[text] == fields[PLAIN], f"other fields than with plain text: {fields[text]}", record
            )


def _require(kept: bool, rule: str, record: Record | None = None) -> None:  # noqa: FBT001 - an assertion
    if not kept:
        raise AssertionError(_said(rule, record))


def _said(rule: str, record: Record | None) -> str:
    return rule if record is None else f"{rule}; the line: {record.line[:2_000]!r}"
