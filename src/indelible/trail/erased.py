"""Erased lines: their one form, who is asked to be forgotten, and what the trail has to say of it. Pure.

The rules that live here. An erased line is ``{"seq":N,"erased":"<event_id>","leaf":"<64 hex digits>"}`` to the byte:
it is not hashed itself, so nobody would vouch for whatever else stood in it. Its leaf has to be the tree's, and a
sealed `entry_erased` event of that `event_id` has to name its seq: who blanks a line without a record is found, and so
is who puts an erased line back. Neither the line nor the record holds the `event_id` of what was erased: that is the
random part which keeps its content from being guessed from the leaf.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

import msgspec

from indelible.trail import findings as words
from indelible.trail.findings import Finding

Range = tuple[int, int]
"""Seqs: the first and the last."""

RECORD: Final = "entry_erased"
"""The event that says what was erased, who asked and why."""

LASTING: Final = frozenset(
    {
        "file_opened",
        RECORD,
        "retention_applied",
        "hold_released",
        "audit_started",
        "audit_stopped",
    }
)
"""What the trail says of itself, and needs to be read: never erased."""

PLAN_HEAD: Final = "indelible: an erasure under way"
"""The first line of what is signed of a plan."""

MAX_RANGES: Final = 1_000
"""Ranges of seqs in one record: with the longest seqs they fill half a line."""

_UUID: Final = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_LINE = re.compile(rb'\{"seq":(0|[1-9][0-9]{0,15}),"erased":"(' + _UUID + rb')","leaf":"([0-9a-f]{64})"\}')


class ErasedLine(NamedTuple):
    """What an erased line says: its seq, the `event_id` of the record, and the leaf hash of what stood there."""

    seq: int
    record: str
    leaf: bytes


def erased_line(seq: int, record: str, leaf: bytes) -> bytes:
    """Return the line, without its LF, that takes the place of one whose leaf hash is `leaf`."""
    return b'{"seq":%d,"erased":"%b","leaf":"%b"}' % (seq, record.encode(), leaf.hex().encode())


def parse_erased(line: bytes) -> ErasedLine | None:
    """Return what an erased line says, or None for every other line.

    Nobody can pass off an ordinary line as an erased one: the writer puts `schema` where this has `erased`.
    """
    match = _LINE.fullmatch(line)
    return (
        None
        if match is None
        else ErasedLine(int(match[1]), match[2].decode(), bytes.fromhex(match[3].decode()))
    )


def erased_leaf(line: bytes) -> bytes | None:
    """Return the leaf hash that an erased line keeps, or None for a line that was not erased."""
    found = parse_erased(line)
    return None if found is None else found.leaf


def plan_text(origin: str, plan: bytes) -> str:
    """Return the text that a trail's key signs to say that a plan of an erasure is its own.

    It can be taken for no checkpoint: that begins with an origin, which has no white space.
    """
    return f"{PLAN_HEAD}\n{origin}\n{sha256(plan).hexdigest()}\n"


def split_plan(data: bytes) -> tuple[bytes, bytes]:
    """Return the signed note and the plan (one JSON object) of the file that says what is to go."""
    note, brace, plan = data.partition(b"\n{")
    return (note + b"\n", b"{" + plan) if brace else (data, b"")


# --- who is meant -------------------------------------------------------------------------------------------


class Selector(msgspec.Struct, frozen=True):
    """Which events are meant: a user's, a session's (and holds that name them), or single ones by `event_id` or seq."""

    by: Literal["user", "session", "event"]
    values: list[str]

    def means(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether an event is meant."""
        if self.by == "event":
            return entry.get("event_id") in self.values or str(entry.get("seq")) in self.values
        source = _part(entry, "source")
        hold = _part(_part(entry, "metadata"), "hold") if entry.get("event_type") == "hold_placed" else {}
        if self.by == "session":
            return source.get("session_id") in self.values or hold.get("session") in self.values
        chain = source.get("on_behalf_of")
        actors = [source.get("user_id"), hold.get("user"), *(chain if isinstance(chain, list) else ())]
        return any(actor in self.values for actor in actors)

    def needles(self) -> list[bytes]:
        """Return bytes of which one stands in every line that is meant, unless an encoder escaped it."""
        if self.by == "event":
            seqs = [b'{"seq":%d,' % int(value) for value in self.values if value.isascii() and value.isdigit()]
            return [*seqs, *(_quoted(value) for value in self.values)]
        return [_quoted(value) for value in self.values]

    def hide(self, text: str) -> str:
        """Return a text in which nothing stands that says who or what is meant."""
        for value in self.values:
            if not value.isdigit() or self.by != "event":
                text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", HIDDEN, text, flags=re.IGNORECASE)
        return text


HIDDEN: Final = "[ERASED]"


def _part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = value.get(key)
    return part if isinstance(part, dict) else {}


def _quoted(value: str) -> bytes:
    return msgspec.json.encode(value)


# --- ranges -------------------------------------------------------------------------------------------------


class Ranges:
    """Many ranges of seqs: 16 bytes each, however they come."""

    def __init__(self) -> None:
        self._ends = array("q")
        self._merged = True

    def add(self, first: int, last: int) -> None:
        """Add a range; one that goes on where the last one ended costs nothing."""
        ends = self._ends
        if ends and first == ends[-1] + 1:
            ends[-1] = last
            return
        self._merged = self._merged and (not ends or first > ends[-1])
        ends.extend((first, last))

    def __iter__(self) -> Iterator[Range]:
        """Yield them in order, those that touch as one."""
        if not self._merged:
            self._merge()
        return zip(self._ends[::2], self._ends[1::2], strict=True)

    def _merge(self) -> None:
        merged = array("q")
        for first, last in sorted(zip(self._ends[::2], self._ends[1::2], strict=True)):
            if merged and first <= merged[-1] + 1:
                merged[-1] = max(merged[-1], last)
            else:
                merged.extend((first, last))
        self._ends, self._merged = merged, True

    def without(self, others: Ranges) -> Iterator[Range]:
        """Yield what is in these and not in the others."""
        rest = iter(others)
        gap = next(rest, None)
        for first, last in self:
            at = first
            while gap is not None and gap[0] <= last:
                if gap[0] > at:
                    yield at, gap[0] - 1
                at = max(at, gap[1] + 1)
                if gap[1] > last:  # it reaches into the next one
                    break
                gap = next(rest, None)
            if at <= last:
                yield at, last


# --- what sealed events say -----------------------------------------------------------------------------------


class Record(NamedTuple):
    """What an `entry_erased` event says: which seqs, and of which trail, when it is an earlier one."""

    event_id: str
    ranges: list[Range]
    origin: str | None = None


def record_in(entry: Mapping[str, Any]) -> Record | None:
    """Return what an entry says was erased; None for what no writer says. Nothing erases what comes after it."""
    metadata, event_id, seq = entry.get("metadata"), entry.get("event_id"), entry.get("seq")
    if entry.get("event_type") != RECORD or not isinstance(metadata, dict) or not isinstance(event_id, str):
        return None
    pairs, origin = metadata.get("erased"), metadata.get("origin")
    ranges = []
    for pair in pairs if isinstance(pairs, list) else []:
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(end) is int for end in pair)):
            continue
        first, last = pair
        if 0 <= first <= last < (2**53 if isinstance(origin, str) or type(seq) is not int else seq):
            ranges.append((first, last))
    return Record(event_id, ranges, origin if isinstance(origin, str) else None)


class Erasures:
    """The erased lines of one trail, in the order in which they stand, and what sealed events say of them."""

    def __init__(self, known: Mapping[str, Ranges] | None = None) -> None:
        """`known` is what a later trail says of this one, by the `event_id` of its records."""
        self.elsewhere: dict[str, dict[str, Ranges]] = {}
        """What is said here of earlier trails: by origin, then by the record's `event_id`."""
        self.own: dict[str, Ranges] = {}
        """What is said here of this very trail."""
        self._said: dict[str, Ranges] = dict(known or {})
        self._lines: dict[tuple[str, str], tuple[Ranges, int]] = {}
        self._absent = Ranges()

    def line(self, data: bytes, file: str, number: int) -> None:
        """An erased line whose leaf is the tree's stands in a file."""
        found = parse_erased(data)
        if found is not None:
            ranges, _ = self._lines.setdefault((found.record, file), (Ranges(), number - found.seq))
            ranges.add(found.seq, found.seq)

    def absent(self, first: int, end: int) -> None:
        """There are no lines from `first` up to, without, `end`."""
        self._absent.add(first, end - 1)

    def record(self, entry: Mapping[str, Any]) -> None:
        """Take a sealed event, if it is a record."""
        found = record_in(entry)
        if found is None:
            return
        said = self._said if found.origin is None else self.elsewhere.setdefault(found.origin, {})
        ranges = said.setdefault(found.event_id, Ranges())
        if found.origin is None:
            self.own[found.event_id] = ranges
        for first, last in found.ranges:
            ranges.add(first, last)

    def unrecorded(self) -> Iterator[Finding]:
        """Yield a finding for each range of erased lines that no sealed event names."""
        nothing = Ranges()
        for (record, file), (ranges, shift) in self._lines.items():
            for first, last in ranges.without(self._said.get(record, nothing)):
                detail = (
                    f"{_span(first, last)}: the content is gone, and no sealed event says who had it erased"
                )
                expected = f"an {RECORD} event {record} that names it"
                yield Finding(words.ERASED_UNRECORDED, file, first + shift, first, expected, detail=detail)

    def still_there(self) -> Iterator[Range]:
        """Yield the ranges that are on record as erased and stand there all the same."""
        gone, said = Ranges(), Ranges()
        for ranges, _ in self._lines.values():
            for first, last in ranges:
                gone.add(first, last)
        for first, last in self._absent:
            gone.add(first, last)
        for ranges in self._said.values():
            for first, last in ranges:
                said.add(first, last)
        return said.without(gone)


def _span(first: int, last: int) -> str:
    return f"seq {first}" if first == last else f"seq {first} to {last}"


def not_erased(first: int, last: int, trail: str) -> Finding:
    """Return what to say of lines that are on record as erased and stand in a trail."""
    detail = (
        f"{_span(first, last)}: on record as erased, and its content stands there: put back, as from a backup"
    )
    return Finding(words.ERASED_BACK, trail, None, first, "an erased line", detail=detail)
