"""What the JSON formats share: how a record is encoded, and what it can be checked with. Pure.

The rules that live here:

- One record is one line of valid UTF-8 JSON. No line end stands in it, nor any other control character: those are
  escapes, also DEL and C1, which JSON would allow; U+0085, U+2028 and U+2029 are text as any other, and stay.
- The last key says where the event is from; nothing that a caller wrote can take its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.formats.fields import joined
from indelible.formats.record import ABSENT, Integer
from indelible.formats.unique import loads

if TYPE_CHECKING:
    from indelible.formats.record import Entry, Options, Record

STARTED: Final = "started"
"""In the place of a status: an intent, of whose outcome nothing is known yet."""

UNKNOWN_STATUS: Final = "unknown"

EMPTY: Final = msgspec.Raw(b"{}")

STAMP_KEY: Final = "indelible"

VALUES: Final = frozenset(
    {"args", "input_json", "gen_ai.tool.call.arguments", "result", "error", "reason", "message", "metadata"}
)

_encode = msgspec.json.Encoder().encode
_hidden = re.compile(rb"\x7f|\xc2[\x80-\x84\x86-\x9f]")
_BREAKS: Final = bytes.maketrans(b"\r\n\t", b"   ")


class Proof(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a record can be checked with, and who and what, in the same words whatever keys the format has."""

    event_id: str
    seq: int
    origin: str
    leaf: str
    mended: bool = False
    """Text that was not Unicode was replaced, or a key that stood twice was renamed."""
    request_id: str | None = None
    kind: str | None = None
    user_id: str | None = None
    caller_type: str | None = None
    cost_centicents: Integer | None = None
    cost_model: str | None = None
    cost_input_tokens: Integer | None = None
    cost_output_tokens: Integer | None = None
    erased: str | None = None
    """`event_id` of the event that says who had the line erased."""


def proof(record: Record) -> Proof:
    """Return the last key of a format whose own keys are another system's."""
    entry, cost = record.entry, record.entry.cost
    return Proof(
        entry.event_id,
        entry.seq,
        record.origin,
        record.leaf,
        record.mended,
        entry.request.request_id,
        entry.outcome.kind if entry.outcome else None,
        entry.source.user_id,
        entry.source.caller_type,
        cost.centicents,
        cost.model,
        cost.input_tokens,
        cost.output_tokens,
        entry.erased,
    )


def encode(shape: Any) -> bytes:
    """Return the JSON of a record: compact, one line, nothing in it that a terminal would obey."""
    return visible(_encode(shape))


def visible(data: bytes) -> bytes:
    """Return JSON in which every control character is an escape, but U+0085, which only `splitlines` breaks at."""
    if b"\x7f" in data or b"\xc2" in data:
        data = _hidden.sub(_escaped, data)
    # Between the tokens of what is copied from a line; no encoder of ours puts any there.
    return data.translate(_BREAKS) if b"\n" in data or b"\r" in data or b"\t" in data else data


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())


class JsonFormat:
    """A format that is one JSON object an event. Its `shape` says which."""

    holds: frozenset[str] | None = None
    values: frozenset[str] = VALUES
    """What may be cut of a record that is too large; see `indelible.formats.cutting`."""

    def __init__(self, options: Options) -> None:
        """Keep what is set."""
        self.options = options
        self._limit = options.max_bytes

    def shape(self, record: Record) -> Any:
        """Return what is encoded."""
        raise NotImplementedError

    def copied(self, record: Record) -> tuple[msgspec.Raw, ...]:
        """Return what of the line's JSON stands in the record as JSON, and not as a text."""
        return ()

    def render(self, record: Record) -> bytes:
        """Return the record, cut to the receiver's limit when it has one."""
        copied = self.copied(record)
        if copied:
            record.settle_keys(copied)
        data = encode(self.shape(record))
        if not self._limit or len(data) <= self._limit:
            return data
        from indelible.formats.cutting import cut

        return cut(data, self._limit, self.values)


def status(entry: Entry) -> str | None:
    """Return what became of a call, `STARTED` of one that is under way, None of what is no call and has no outcome."""
    if entry.outcome is not None:
        return entry.outcome.status
    if entry.event_type == "mcp_operation_started":
        return STARTED
    return UNKNOWN_STATUS if entry.event_type == "mcp_operation" else None


def roles(entry: Entry) -> str | None:
    """Return the caller's roles, comma-separated, none of which can be taken for two; None without any."""
    found = entry.source.roles
    return joined(found) if found else None


def arguments(entry: Entry) -> msgspec.Raw:
    """Return the arguments as a JSON value; an empty object when there are none."""
    args = entry.request.args
    return EMPTY if args == ABSENT else args


def with_stamp(raw: msgspec.Raw, last: Any) -> msgspec.Raw:
    """Return a JSON object with one last key, `STAMP_KEY`, in the place of one that a caller may have given it."""
    text = bytes(raw)
    if text[:1] != b"{":
        text = b'{"value":' + text + b"}" if text else b"{}"
    if b'"indelible"' in text or b"\\u" in text:  # an escape can spell any key
        text = _without(text)
    return stamped(text, last)


def _without(text: bytes) -> bytes:
    """Return an object without `STAMP_KEY`; one that cannot be read (it is too deep) as a text."""
    try:
        value = loads(text, dict)
    except (ValueError, RecursionError):
        return _encode({"value": text.decode()})
    value.pop(STAMP_KEY, None)
    return _encode(value)


def stamped(text: bytes, last: Any) -> msgspec.Raw:
    """Return a JSON object that has no such key with one last key, `STAMP_KEY`."""
    start = text[:-1] + b"," if len(text) > len(b"{}") else b"{"
    return msgspec.Raw(start + b'"indelible":' + _encode(last) + b"}")
