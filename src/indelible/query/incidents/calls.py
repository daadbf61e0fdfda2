"""What an analysis of incidents looks at in a line. Pure: a line's bytes in, a few of its fields out.

A line is read whenever a search reads it (`indelible.query.filters`): a field of another type than it should have is
not known, and hides nothing else. Times are the trail's form, and compare as text.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from indelible.events import MAX_LINE_BYTES
from indelible.query.filters import parse_event, read_event, trail_time
from indelible.trail.entry import SEQ_PREFIX

MAX_ARGS: Final = 1_024
"""Bytes of the arguments that are kept of a call, as JSON."""

MAX_WORD: Final = 200
"""Characters that are kept of a name."""

MAX_BRACKETS: Final = 1_000
"""A line with more is given to the careful reader: how deep the quick one reads is the program's to set."""

INTENT: Final = "mcp_operation_started"
OUTCOME: Final = "mcp_operation"

_TIME_CHARS: Final = len("2026-11-21T05:38:34.123456Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


_NO_ARGS: Final = msgspec.Raw()


class _Part(msgspec.Struct, frozen=True, gc=False):
    """Base of the parts; whatever else a line has is skipped."""


class _Recorder(_Part, frozen=True, gc=False):
    id: Any = None
    uid: Any = None
    pid: Any = None


class _Source(_Part, frozen=True, gc=False):
    session_id: Any = None
    user_id: Any = None
    recorder: _Recorder | None = None


class _Target(_Part, frozen=True, gc=False):
    backend: Any = None
    method: Any = None
    capability_name: Any = None


class _Request(_Part, frozen=True, gc=False):
    request_id: Any = None
    intent: Any = None
    args: msgspec.Raw = _NO_ARGS
    args_bytes: Any = None


class _Outcome(_Part, frozen=True, gc=False):
    status: Any = None
    kind: Any = None
    latency_ms: Any = None
    error: Any = None


_NO_SOURCE, _NO_TARGET, _NO_REQUEST, _NO_OUTCOME = _Source(), _Target(), _Request(), _Outcome()


class Line(_Part, frozen=True, gc=False):
    """What is looked at in a line."""

    seq: int
    schema: Any = None
    recorded_at: Any = ""
    timestamp: Any = ""
    event_type: Any = ""
    event_id: Any = ""
    source: _Source = _NO_SOURCE
    target: _Target = _NO_TARGET
    request: _Request = _NO_REQUEST
    outcome: _Outcome = _NO_OUTCOME


_decode = msgspec.json.Decoder(Line).decode


def parse(line: bytes) -> Line | None:
    """Return what is looked at, or None for a line that no search reads: torn, altered or no entry at all."""
    if len(line) > MAX_LINE_BYTES or not line.startswith(SEQ_PREFIX):
        return None
    if len(line) <= MAX_BRACKETS or line.count(b"[") + line.count(b"{") <= MAX_BRACKETS:
        try:
            found = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            return found if -(2**63) <= found.seq < 2**64 else None
    return _parse_carefully(line)


def _parse_carefully(line: bytes) -> Line | None:
    event = read_event(line)
    if event is None:
        return None
    parts: dict[str, Any] = {}
    for name, kind in (("source", _Source), ("target", _Target), ("request", _Request), ("outcome", _Outcome)):
        part = event.get(name)
        if isinstance(part, dict):
            known = {key: part[key] for key in kind.__struct_fields__ if key in part}
            recorder = known.pop("recorder", None)
            if isinstance(recorder, dict):
                known["recorder"] = _Recorder(*(recorder.get(key) for key in _Recorder.__struct_fields__))
            if "args" in known:
                known["args"] = _raw(known["args"])
            parts[name] = kind(**known)
    own = {
        key: event[key]
        for key in ("schema", "recorded_at", "timestamp", "event_type", "event_id")
        if key in event
    }
    return Line(seq=event["seq"], **own, **parts)


def _raw(value: Any) -> msgspec.Raw:
    try:
        return msgspec.Raw(orjson.dumps(value))
    except (TypeError, ValueError):  # half a surrogate pair, an integer beyond 64 bits, too deep
        return _NO_ARGS


class Recorder(NamedTuple):
    """The process that recorded something, as the trail's writer knows it."""

    id: str
    pid: int | None


class Call(NamedTuple):
    """One call, as its outcome has it, or as its intent while there is none."""

    trail: str
    seq: int
    event_id: str
    request_id: str
    recorded_at: str
    began: str
    took: int | None
    """Microseconds; None where the line does not say."""
    backend: str
    name: str
    """Of a tool, resource or prompt; else the method."""
    session: str
    user: str
    status: str
    kind: str
    """Empty while there is no outcome."""
    args_bytes: int | None
    """Of the arguments before redaction."""
    args: bytes
    """As redacted, JSON; the first `MAX_ARGS` bytes."""
    recorder: Recorder | None
    intent: str
    """`event_id` of its intent; empty where there was none."""

    @property
    def tool(self) -> Tool:
        """What its baseline is of."""
        return self.backend, self.name

    def end(self) -> int | None:
        """Return when it ended, microseconds since the epoch; None where nobody knows.

        What was recorded as interrupted ended at a time that nobody saw.
        """
        if self.took is not None and (began := micros(self.began)) is not None:
            return began + self.took
        return None if self.kind in ("", "interrupted") else micros(self.recorded_at)


Tool = tuple[str, str]
"""Backend and name."""


def call_of(trail: str, line: Line) -> Call:
    """Return the call that an outcome or an intent is about."""
    source, target, request, outcome = line.source, line.target, line.request, line.outcome
    is_outcome = line.event_type == OUTCOME
    return Call(
        trail=trail,
        seq=line.seq,
        event_id=word(line.event_id),
        request_id=word(request.request_id),
        recorded_at=time_of(line.recorded_at),
        began=time_of(line.timestamp) or time_of(line.recorded_at),
        took=took(outcome.latency_ms) if is_outcome else None,
        backend=word(target.backend),
        name=word(target.capability_name) or word(target.method),
        session=word(source.session_id),
        user=word(source.user_id),
        status=word(outcome.status) if is_outcome else "",
        kind=word(outcome.kind) if is_outcome else "",
        args_bytes=size(request.args_bytes),
        args=bytes(memoryview(request.args)[:MAX_ARGS]),
        recorder=recorder_of(line),
        intent=word(request.intent if is_outcome else line.event_id),
    )


def recorder_of(line: Line) -> Recorder | None:
    """Return which process recorded a line."""
    found = line.source.recorder
    if found is None:
        return None
    return Recorder(word(found.id), found.pid if type(found.pid) is int else None)


def interrupted(line: Line) -> bool:
    """Tell whether a line is the outcome that is made for a call whose recorder died: it says of no error."""
    outcome = line.outcome
    return line.event_type == OUTCOME and outcome.kind == "interrupted" and outcome.error is None


def metadata_of(line: bytes) -> dict[str, Any]:
    """Return a line's metadata; empty when it has none."""
    return part_of(line, "metadata")


def part_of(line: bytes, name: str) -> dict[str, Any]:
    """Return an object of a line; empty when it has none of this name."""
    value = (parse_event(line) or {}).get(name)
    return value if isinstance(value, dict) else {}


# --- values ---------------------------------------------------------------------------------------------------


def word(value: object) -> str:
    """Return a text, cut to `MAX_WORD`; empty for what is none."""
    return value[:MAX_WORD] if isinstance(value, str) else ""


def time_of(value: object) -> str:
    """Return a time in the trail's form; empty for anything else."""
    return value if isinstance(value, str) and len(value) == _TIME_CHARS and value[-1] == "Z" else ""


def size(value: object) -> int | None:
    """Return a size in bytes; None for what is none."""
    return value if type(value) is int and 0 <= value < 2**53 else None


def took(value: object) -> int | None:
    """Return microseconds of a latency in milliseconds; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = round(value * 1000)
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found < 2**53 else None


def micros(text: str) -> int | None:
    """Return microseconds since the epoch of a time in the trail's form."""
    try:
        since = datetime.fromisoformat(text) - _EPOCH
    except (TypeError, ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def text_of(moment: int) -> str:
    """Return the trail's form of so many microseconds since the epoch; the first or last there is beyond them."""
    try:
        return trail_time(_EPOCH + timedelta(microseconds=moment))
    except OverflowError:
        return "0001-01-01T00:00:00.000000Z" if moment < 0 else "9999-12-31T23:59:59.999999Z"


def shifted(text: str, seconds: float) -> str:
    """Return a time so many seconds later, in the trail's form; the same where it cannot be told."""
    at = micros(text)
    return text if at is None else text_of(at + round(seconds * 1_000_000))
