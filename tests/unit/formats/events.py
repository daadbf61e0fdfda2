"""Lines of a trail, for formats: any event that there can be, with hostile text wherever a caller may have put it.

`lines` is wider than what redaction lets through today: whatever holds of them holds of what is recorded tomorrow, too.
`redacted` are events as they leave the redactor.
"""

from __future__ import annotations

import json
from typing import Any, Final, get_args

from hypothesis import strategies as st

from indelible import events
from indelible.events import MAX_INTEGER, MAX_LINE_BYTES, Event
from indelible.formats.record import Record
from indelible.trail.entry import stamp
from indelible.trail.erased import erased_line
from tests.redacting import event as raw_event
from tests.redacting import make

ORIGIN: Final = "indelible/00112233445566778899aabbccddeeff"
REDACTOR = make(record_results="full")

FORGED: Final = (
    "\n<134>1 2026-11-21T05:38:34Z host indelible - - - forged",
    "\r\n<134>1 forged",
    "\nCEF:0|Indelible|Indelible|1|100|forged|5|act=x",
    "x\nLEEF:2.0|Indelible|Indelible|1|101|x09|action=forged",
    '"}\n{"event_type":"mcp_operation"}',
    '","status":"success","x":"',
    '"] [forged@32473 a="b"] x',
    " act=forged outcome=success",
    "\taction=forged\tsev=1",
    "|forged|10|",
    "k=v",
    "a|b",
    "\\",
    "\\\\",
    "ends in \\",
    "\\n",
    '\\"',
    "]",
    "\x00",
    "a\x00b",
    "\x1b[31mred\x1b[0m",
    "\x7f",
    "\x80\x9b\x9f",
    "\x85",
    "\r",
    "\n",
    "\t",
    "\u2028\u2029",
    "\ufeffbom",
    "\u202egnp.exe",
    "\u200d👩‍👩‍👧",
    "😀",
    "ä",
    "\uffff\U0010ffff",
    " leading and trailing ",
    "",
    "${jndi:ldap://x/y}",
    "=cmd()",
    "<script>",
    "null",
    "0",
    "\ufffd",
    "%s%n{}",
    "::1",
    "2001:db8::1%eth0",
    "192.0.2.7",
    "192.0.2.999",
)
"""What would begin a record, a header or a field of its own, or end a line, if anything let it."""

LONG: Final = ("x" * 60_000, "|\\=]\n" * 8_000, "é" * 20_000, "\x00" * 3_000, "😀" * 9_000)

pieces = st.sampled_from([text for text in FORGED if len(text) < 60])
texts = st.one_of(
    st.sampled_from(FORGED),
    st.text(max_size=30),
    st.lists(pieces | st.text(max_size=6), max_size=5).map("".join),
)
"""Any text but half of a surrogate pair, which `surrogates` brings."""

long_texts = st.sampled_from(LONG)
names = texts | st.sampled_from(["read_file", "db.query", "file:///srv/a%20b", "x" * 512])
words = st.sampled_from(["ada", "stdio", "http", "human", "jwt", "files"]) | texts
integers = st.one_of(
    st.integers(0, 10**6), st.integers(-MAX_INTEGER, MAX_INTEGER), st.sampled_from([str(2**60), "NaN", "7\n8"])
)
numbers = st.one_of(
    st.floats(0, 1e7, allow_nan=False),
    st.sampled_from([0.0, 1.25, 0.0005, 12.5, 1e15, 1, "NaN", "Infinity"]),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.floats(-1e9, 1e9), texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
times = st.one_of(
    st.sampled_from(
        [
            "2026-11-21T05:38:34.123456Z",
            "1969-12-31T23:59:59.999999Z",
            "2026-11-21T05:38:34Z",
            "2026-11-21T07:38:34.1+02:00",
            "2026-02-30T00:00:00.000000Z",
            "0001-01-01T00:00:00+14:00",
            "soon\n",
        ]
    ),
    st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds") + "Z"),
)
ids = st.uuids(version=4).map(str)
hexes = st.sampled_from(["ab" * 32, "0f" * 32])

SOURCE: Final = {
    "caller": words,
    "session_id": words,
    "client_ip": words | st.sampled_from(["192.0.2.7", "2001:db8::7"]),
    "client": words,
    "user_id": words,
    "caller_type": words,
    "roles": st.lists(words, max_size=3),
    "tenant": words,
    "recorder": st.fixed_dictionaries({"id": words}, optional={"uid": integers, "pid": integers}),
    "auth_method": words,
    "auth_key_id": words,
    "issuer": words,
    "on_behalf_of": st.lists(words, max_size=3),
}
TARGET: Final = {
    "backend": words,
    "method": st.sampled_from(["tools/call", "resources/read", "prompts/get", "completion/complete"]) | texts,
    "type": st.sampled_from(["tool", "resource", "prompt", "completion"]) | texts,
    "capability_name": names,
    "original_name": names,
    "effects": words,
    "server_version": words,
    "protocol_version": words,
    "tool_sha256": hexes | texts,
}
REQUEST: Final = {
    "request_id": ids | texts,
    "intent": ids | texts,
    "rpc_id": st.sampled_from(["7", '"7"', "null"]) | texts,
    "trace_id": st.sampled_from(["4bf92f3577b34da6a3ce929d0e0e4736"]),
    "span_id": st.sampled_from(["00f067aa0ba902b7"]),
    "continues": ids | texts,
    "args": values | long_texts | st.dictionaries(texts, long_texts, max_size=1),
    "args_bytes": integers,
    "args_hmac": hexes,
    "hmac_key_id": words,
}
OUTCOME: Final = {
    "latency_ms": numbers,
    "error": texts,
    "error_type": words,
    "error_code": integers,
    "result_bytes": integers,
    "result_hmac": hexes,
    "result": values,
}
POLICY: Final = {"rule": words, "reason": texts}
COST: Final = {
    "centicents": integers,
    "model": st.sampled_from(["token", "duration", "fixed", "composite"]) | texts,
    "input_tokens": integers,
    "output_tokens": integers,
}
STATE: Final = {"from": words, "to": st.sampled_from(["Ready", "Failed"]) | texts, "reason": texts}

kinds = st.sampled_from(sorted(events.STATUS_OF_KIND.items()))
outcomes = st.builds(
    lambda kind, rest: {"status": kind[1], "kind": kind[0], **rest},
    kinds,
    st.fixed_dictionaries({}, optional=OUTCOME),
)
policies = st.builds(
    lambda decision, rest: {"decision": decision, **rest},
    st.sampled_from(["allow", "deny", "warn", "n/a"]) | texts,
    st.fixed_dictionaries({}, optional=POLICY),
)
event_types = st.sampled_from(get_args(events.EventType)) | st.sampled_from(
    ["of_a_later_version", "No\nType", ""]
)


def _parts(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


parts = st.fixed_dictionaries(
    {},
    optional={
        "source": _parts(SOURCE),
        "target": _parts(TARGET),
        "request": _parts(REQUEST),
        "policy": policies,
        "outcome": outcomes,
        "cost": _parts(COST),
        "state": _parts(STATE),
        "metadata": st.dictionaries(texts, values, max_size=3),
    },
)


@st.composite
def bodies(draw: st.DrawFn, types: st.SearchStrategy[str] = event_types) -> dict[str, Any]:
    """Draw an event as JSON has it, without what the writer stamps; a call has an outcome."""
    body = {"timestamp": draw(times), "event_type": draw(types), "event_id": draw(ids | texts), **draw(parts)}
    if body["event_type"] == "mcp_operation" and "outcome" not in body:
        body["outcome"] = draw(outcomes)
    return body


operations = bodies(st.just("mcp_operation"))


def line_of(body: dict[str, Any], seq: int = 7, recorded_at: str = "2026-11-21T05:38:35.000001Z") -> bytes:
    """Return a body's line, without its LF; half of a surrogate pair stands in it as an escape."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = json.dumps(body, separators=(",", ":")).encode()
    return stamp(seq, recorded_at, data)


def fits(line: bytes) -> bool:
    """Tell whether a line is one that a trail may have."""
    return len(line) <= MAX_LINE_BYTES


seqs = st.sampled_from([0, 7, 12_345, MAX_INTEGER])
erased = st.builds(lambda seq, by, leaf: erased_line(seq, by, bytes.fromhex(leaf)), seqs, ids, hexes)
lines = st.one_of(st.builds(line_of, bodies(), seqs).filter(fits), erased)
"""Any line whatever."""

records = lines.map(lambda line: Record(line, ORIGIN))
"""Any line, read."""

operation_records = st.builds(line_of, operations, seqs).filter(fits).map(lambda line: Record(line, ORIGIN))
"""Calls."""


def with_text(text: str, **changes: Any) -> dict[str, Any]:
    """Return a call with `text` in every place that a caller or a server controls; `changes` are whole parts."""
    body: dict[str, Any] = {
        "timestamp": "2026-11-21T05:38:34.123456Z",
        "event_type": "mcp_operation",
        "event_id": "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a",
        "source": {
            "caller": "http",
            **dict.fromkeys(("session_id", "client_ip", "client", "user_id", "caller_type", "tenant"), text),
            "roles": [text, text],
            "issuer": text,
            "on_behalf_of": [text],
        },
        "target": {"type": "tool", **dict.fromkeys(set(TARGET) - {"type"}, text)},
        "request": {"request_id": text, "rpc_id": text, "args": {text: [text, {"deep": text}]}},
        "policy": {"decision": "allow", "rule": text, "reason": text},
        "outcome": {
            "status": "error",
            "kind": "tool_error",
            "latency_ms": 1.5,
            "error": text,
            "error_type": text,
            "result": {"content": text},
        },
        "cost": {"centicents": 12, "model": text, "input_tokens": 3, "output_tokens": 4},
        "metadata": {text: text},
    }
    return {**body, **changes}


def redact(event: Event) -> bytes:
    """Return the line that an event becomes."""
    return stamp(7, "2026-11-21T05:38:35.000001Z", REDACTOR.redact(event))


redacted = st.builds(
    lambda args, user, tool, error: redact(
        raw_event(
            args,
            source=events.Source(caller="http", user_id=user, session_id=user),
            target=events.Target(backend=tool, method="tools/call", type="tool", capability_name=tool),
            outcome=events.outcome("tool_error", 1.5, error=error, error_type=error),
        )
    ),
    values | st.integers(-(2**70), 2**70) | st.just(float("nan")) | long_texts,
    texts,
    texts,
    texts | st.just("half \ud800 a pair"),
).map(lambda line: Record(line, ORIGIN))
"""Calls as the redactor leaves them."""
