"""A line of the trail: what the writer puts in front of a body, and how it is read back.

The writer stamps ``{"seq":N,"schema":1,"recorded_at":"…",`` in front of a redacted body. Because these keys
stand first and their form is fixed, a reader finds a line's seq without parsing JSON: `verify` and bisection
depend on it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import orjson

from indelible.events import MAX_LINE_BYTES, SCHEMA

CLOCK_SLACK: Final = timedelta(seconds=2)
"""A line's `timestamp` is after its `recorded_at` by this much at the most: a small step back is seen by nobody."""

SEQ_PREFIX: Final = b'{"seq":'
_STAMP = re.compile(rb'\{"seq":(0|[1-9][0-9]{0,15}),"schema":([0-9]{1,6}),"recorded_at":"([0-9T:.Z-]{27})",')
_SEQ = re.compile(rb'\{"seq":(0|[1-9][0-9]{0,15})[,}]')


_STAMPED: Final = b'{"seq":%%d,"schema":%d,"recorded_at":"%%b",%%b' % SCHEMA
_STAMPED_LINE: Final = _STAMPED + b"\n"
_LAST_TWO: Final = tuple(b'%02d,"schema":%d,"recorded_at":"' % (digits, SCHEMA) for digits in range(100))
_hundred: tuple[int, bytes] = (-100, b"")
"""A round hundred and how a line begins whose seq follows it: formatting a number costs more than joining bytes."""


def stamp(seq: int, recorded_at: str, body: bytes) -> bytes:
    """Return the line, without its LF, of an event's body (one JSON object that begins with ``{``)."""
    return _STAMPED % (seq, recorded_at.encode(), body[1:])


def stamp_line(seq: int, recorded_at: bytes, body: bytes) -> bytes:
    """Return the line with its LF: what goes into the file in one write."""
    start, begin = _hundred
    if not 0 <= seq - start < 100:
        if seq < 100:  # no digits before the last two
            return _STAMPED_LINE % (seq, recorded_at, body[1:])
        start, begin = _begin_hundred(seq)
    return b"".join((begin, _LAST_TWO[seq - start], recorded_at, b'",', body[1:], b"\n"))


def _begin_hundred(seq: int) -> tuple[int, bytes]:
    """Return the round hundred before a seq of three digits or more, and remember it; a race costs a computation."""
    global _hundred  # noqa: PLW0603 - a cache of one entry
    hundred = seq // 100
    _hundred = found = (100 * hundred, b'{"seq":%d' % hundred)
    return found


BEGIN: Final = b'{"timestamp":"'
"""How a body begins."""
TIME: Final = slice(len(BEGIN), len(BEGIN) + len("2026-11-21T05:38:34.123456Z"))
"""Where a body has its `timestamp`, in the trail's form."""

CLAIMED: Final = "claimed_timestamp"
_Parts = dict[str, msgspec.Raw]


def in_time(body: bytes, recorded_at: bytes) -> bytes:
    """Return a body whose `timestamp` reads as later than `recorded_at` as it may stand in the line.

    Nothing was received after it was recorded, and searches leave out what was recorded before the time that they ask
    for. So what is later by more than a clock may be off, or no time at all, becomes `recorded_at`, and what was
    claimed is kept in `metadata`, all else byte for byte.
    """
    try:
        parts = msgspec.json.decode(body, type=_Parts)
        claimed = msgspec.json.decode(parts["timestamp"], type=str)
        metadata = msgspec.json.decode(parts.get("metadata", b"{}"), type=_Parts)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        return body
    if _is_in_time(claimed, recorded_at.decode()):
        return body
    kept = {**metadata, CLAIMED: parts["timestamp"]}
    return msgspec.json.encode({**parts, "timestamp": recorded_at.decode(), "metadata": kept})


def _is_in_time(claimed: str, recorded_at: str) -> bool:
    try:
        late = datetime.fromisoformat(claimed).replace(tzinfo=UTC) - datetime.fromisoformat(recorded_at)
    except ValueError:
        return False
    return len(claimed) == len(recorded_at) and claimed.endswith("Z") and late <= CLOCK_SLACK


def unstamp(line: bytes) -> tuple[bytes, bytes]:
    """Return the `recorded_at` and the body of a line with its LF, as `stamp_line` made it."""
    match = _STAMP.match(line)
    if match is None:
        msg = "not a stamped line"
        raise ValueError(msg)
    return match[3], b"{" + line[match.end() : -1]


def line_seq(line: bytes) -> int | None:
    """Return the seq that a line claims in its first key, or None when it has none there."""
    match = _SEQ.match(line)
    return int(match[1]) if match else None


def line_recorded_at(line: bytes) -> str | None:
    """Return the writer's time of a line (RFC 3339, UTC), or None when the line is not stamped."""
    match = _STAMP.match(line)
    return match[3].decode() if match else None


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return a line's object, or None when it is not a stamped entry: torn, altered, or something else."""
    if len(line) > MAX_LINE_BYTES or not line.startswith(SEQ_PREFIX):
        return None
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("seq"), int):
        return None
    return value


def pruned_in(entry: dict[str, Any] | None) -> list[tuple[int, int]]:
    """Return the ranges of seqs (first, last) whose files an entry says were deleted; none for what no writer says."""
    if entry is None or entry.get("event_type") not in ("file_opened", "retention_applied"):
        return []
    metadata = entry.get("metadata")
    pairs = metadata.get("pruned") if isinstance(metadata, dict) else None
    found = []
    for pair in pairs if isinstance(pairs, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(end, int) for end in pair):
            found.append((pair[0], pair[1]))
    return found
