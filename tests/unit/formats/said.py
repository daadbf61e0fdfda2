"""What a textual format has to say of a line, by the page that users read, and by nothing of the renderers.

The table of docs/reference/siem-fields.md says where each field goes; the line itself is read as JSON. A value is what
the event has, after the replacements that the page describes.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, NamedTuple

from indelible.formats.record import Record
from tests.unit.docs.pages import DOCS, codes, rows, section
from tests.unit.formats import events

PAGE: Final = DOCS / "reference" / "siem-fields.md"
TYPED: Final = {"duration_ms": float, "cost_cents": int, "cost_input_tokens": int, "cost_output_tokens": int}
ELEVEN: Final = (
    "mcp_server_id", "tool_name", "status", "duration_ms", "caller_type", "caller_id", "caller_roles", "cost_cents",
    "cost_model", "cost_input_tokens", "cost_output_tokens",
)  # fmt: skip

ELEVEN_SAID: Final = {
    "mcp_server_id": "files",
    "tool_name": "read",
    "status": "error",
    "duration_ms": "1.5",
    "caller_type": "human",
    "caller_id": "ada",
    "caller_roles": "a,b\\u002cc",
    "cost_cents": "12",
    "cost_model": "token",
    "cost_input_tokens": "3",
    "cost_output_tokens": "4",
}
"""What a judge reads of them in a record of `with_all_eleven`."""


def with_all_eleven(**source: Any) -> Record:
    """Return a call with a value in each of them; `source` adds to who made it."""
    body = events.with_text("x")
    body["source"].update(user_id="ada", caller_type="human", roles=["a", "b,c"], **source)
    body["target"].update(backend="files", capability_name="read")
    body["cost"].update(model="token")
    return Record(events.line_of(body), events.ORIGIN)


PLAIN_LONG: Final = tuple("x" * size for size in (40, 41, 63, 64, 255, 256, 1_023, 1_024, 1_500))
"""Texts that need no escape, about the limits of keys."""


class Row(NamedTuple):
    """A row of the page's table."""

    name: str
    path: str
    cef: list[str]
    limit: int
    leef: list[str]


def table() -> list[Row]:
    """Return the page's table."""
    return [
        Row(codes(name)[0], "".join(codes(path)), codes(cef), int(limit.replace(",", "")), codes(leef))
        for name, path, cef, limit, leef in rows(section(PAGE, "Fields"))
    ]


TABLE: Final = table()


def unicode(value: Any) -> Any:
    """Return a JSON value with U+FFFD for half of a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return json.loads(text)


def shown(text: str) -> str:
    """Return a text with its control characters visible, but for TAB, CR and LF."""
    hidden = {*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A, 0x0D, 0x85}
    return "".join(f"\\u{ord(sign):04x}" if ord(sign) in hidden else sign for sign in text)


JSON: Final = ("request.args", "metadata", "outcome.result")


def _at(event: Any, path: str) -> Any:
    """Return what stands at a path; None for nothing. A JSON value may be null, and is returned as its text."""
    for key in path.split("."):
        if not isinstance(event, dict) or key not in event:
            return None
        event = event[key]
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")) if path in JSON else event


def _text(path: str, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(item.replace(",", "\\u002c") if "," in "".join(value) else item for item in value)
    return value if isinstance(value, str) else repr(float(value) if path.endswith("latency_ms") else value)


def fields(record: Record) -> dict[str, str]:
    """Return what the fields of a line hold, as text: no field that is empty."""
    event = json.loads(record.line)
    if record.mended:
        event = unicode(event)
    found = {"origin": record.origin, "leaf": record.leaf}
    if record.mended:
        found["mended"] = "true"
    for row in TABLE:
        value = None if " " in row.path else _at(event, row.path)
        if value is not None and row.name not in ("leaf", "mended"):
            found[row.name] = _text(row.path, value)
    return {name: text for name, text in found.items() if text}


def fits(name: str, record: Record) -> bool:
    """Tell whether a number is one that CEF's type takes."""
    value = _at(json.loads(record.line), next(row.path for row in TABLE if row.name == name))
    return not isinstance(value, str) and -(2**63) <= value < 2**63


def version(text: str) -> int:
    """Return 4 or 6 for an address without a zone."""
    try:
        return 0 if "%" in text else ipaddress.ip_address(text).version
    except ValueError:
        return 0


class Format(NamedTuple):
    """What a test knows of a format."""

    keys: Callable[[Row, str, Record], dict[str, str]]
    """The pairs that a field makes."""
    replaced: Callable[[str], str]
    """What is read back of a text."""
    limit: Callable[[Row], int]
    cut: str
    left_out: str


def assert_pairs(format_: Format, got: dict[str, str], record: Record, *, complete: bool = True) -> None:
    """Check what a judge read, but for what the format alone has: each field of the line, and nothing beside.

    A value is as it was, or cut, with the digest of the whole. Without `complete` fields may be left out, and counted.
    """
    got = dict(got)
    listed = got.pop(format_.cut, "")
    cuts = dict(item.split(":") for item in listed.split(",")) if listed else {}
    left_out = int(got.pop(format_.left_out, "0"))
    assert left_out == 0 or not complete
    for name, whole in fields(record).items():
        [row] = [row for row in TABLE if row.name == name]
        expected = format_.keys(row, format_.replaced(whole), record)
        if not complete and not expected.keys() & got.keys():
            left_out -= 1
            continue
        for key, value in expected.items():
            read = got.pop(key)
            assert len(read.encode()) <= format_.limit(row), key
            if name in cuts and value != name:
                assert cuts.pop(name) == sha256(whole.encode()).hexdigest(), key
                assert read != value
                assert value.startswith(read.removesuffix("\\u005c")), key
            else:
                assert read == value, key
    assert (got, left_out, cuts) == ({}, 0, {})
