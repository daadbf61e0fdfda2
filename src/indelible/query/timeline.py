"""A session as a timeline: when each call began, how long it took, what was under way at the same time. Pure.

The rules that live here:

- A call is one item, whether its intent, its outcome or both are there: an intent goes into the outcome that names it
  (`request.intent`), and what has no outcome has no known end.
- Items are in the order in which calls *began*, which is not the file's: that is the order in which they ended.
- All bars are on one scale. A silence, in which nothing is under way, that would squeeze everything else is folded: cut
  out of the scale, and said in words.
- What a line says of a time is only its word. A call never reaches further on the scale than the moment at which its
  line was recorded, so that no single line decides the scale of all.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

from indelible.query.filters import parse_event
from indelible.trail.entry import line_recorded_at

LEAST_FOLD_US: Final = 1_000_000
"""No silence of less than a second is folded."""

FOLD_SHARE: Final = 10
"""A silence is folded when it is longer than a tenth of all the rest."""

MAX_WORD: Final = 200
"""Characters that are kept of a name."""

INTENT: Final = "mcp_operation_started"
OUTCOME: Final = "mcp_operation"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Item(NamedTuple):
    """One call, or another event, on a timeline. Times are microseconds."""

    event_type: str
    name: str
    """Of a tool, resource or prompt; else the method."""
    backend: str
    user: str
    session: str
    kind: str
    """What became of it; empty where its line does not say."""
    at: int | None
    """When it began, since the epoch; None when its line says no time."""
    took: int | None
    """How long it took; None when that is not known, 0 for what is no call."""
    recorded: int | None
    """When its line was written."""
    open: bool
    """A call without an outcome."""


class Span(NamedTuple):
    """A stretch of time, microseconds since the epoch."""

    begin: int
    end: int

    @property
    def length(self) -> int:
        """How long it is."""
        return self.end - self.begin


class Timeline(NamedTuple):
    """Items, the first to begin first; those without a time at the end."""

    items: list[Item]
    whole: Span
    """From the first beginning to the last end that can be shown."""
    folds: list[Span]
    """Silences that are cut out of the scale, in order."""

    @property
    def shown(self) -> int:
        """How many microseconds the scale is long."""
        return self.whole.length - sum(fold.length for fold in self.folds)

    def place(self, moment: int) -> int:
        """Return where a moment is on the scale, in microseconds from its left end."""
        inside = min(max(moment, self.whole.begin), self.whole.end)
        at = bisect_right(self.folds, inside, key=lambda fold: fold.begin)
        cut = sum(min(inside, fold.end) - fold.begin for fold in self.folds[:at])
        return inside - self.whole.begin - cut


def make_timeline(lines: Iterable[bytes], max_folds: int = 8) -> Timeline:
    """Return the timeline of a trail's lines, given in the trail's order: an item for each but the joined intents."""
    items = sorted(_joined(lines), key=lambda item: math.inf if item.at is None else item.at)
    busy = _busy([span for item in items if (span := extent(item)) is not None])
    whole = Span(busy[0].begin, busy[-1].end) if busy else Span(0, 0)
    return Timeline(items, whole, _folds(busy, whole, max_folds))


def extent(item: Item) -> Span | None:
    """Return the stretch that an item covers on the scale, as far as is known; None when it says no time."""
    if item.at is None:
        return None
    end = item.at + (item.took or 0)
    if item.recorded is not None:
        end = min(end, max(item.recorded, item.at))
    return Span(item.at, end)


# --- items ------------------------------------------------------------------------------------------------------


def _joined(lines: Iterable[bytes]) -> Iterable[Item]:
    intents: dict[str, Item] = {}
    others: list[Item] = []
    for line in lines:
        event = parse_event(line) or {"recorded_at": line_recorded_at(line)}
        item = _item(event)
        identity = event.get("event_id")
        if item.open and isinstance(identity, str):
            intents[identity] = item
            continue
        others.append(item)
        intent = _part(event, "request").get("intent")
        if isinstance(intent, str):
            intents.pop(intent, None)  # recorded before its outcome, always
    return [*intents.values(), *others]


def _item(event: dict[str, Any]) -> Item:
    source, target, outcome = _part(event, "source"), _part(event, "target"), _part(event, "outcome")
    event_type = _word(event.get("event_type")) or ("erased" if "erased" in event else "")
    recorded, began = _moment(event.get("recorded_at")), _moment(event.get("timestamp"))
    took = _took(outcome.get("latency_ms"))
    return Item(
        event_type=event_type,
        name=_word(target.get("capability_name")) or _word(target.get("method")),
        backend=_word(target.get("backend")),
        user=_word(source.get("user_id")),
        session=_word(source.get("session_id")),
        kind=_word(outcome.get("kind")),
        at=recorded if began is None else began,
        took=0 if took is None and event_type not in (INTENT, OUTCOME) else took,
        recorded=recorded,
        open=event_type == INTENT,
    )


def _word(value: object) -> str:
    """Return a text as far as anything shows of it: a timeline of a whole day is held in memory."""
    return "" if value is None else value[:MAX_WORD] if isinstance(value, str) else str(value)[:MAX_WORD]


def _part(event: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a part of an event, empty when it has none of the right shape."""
    value = event.get(name)
    return value if isinstance(value, dict) else {}


def _moment(text: object) -> int | None:
    """Return microseconds since the epoch of a time that knows its zone."""
    try:
        since = datetime.fromisoformat(text) - _EPOCH  # type: ignore[arg-type] # what is no text is refused
    except (TypeError, ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _took(value: object) -> int | None:
    """Return microseconds of a latency in milliseconds, None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        micros = round(value * 1000)
    except (ValueError, OverflowError):
        return None
    return micros if 0 <= micros < 1 << 62 else None


# --- silences ---------------------------------------------------------------------------------------------------


def _busy(spans: Sequence[Span]) -> list[Span]:
    """Return the stretches in which something was under way, in order; `spans` are in the order of their begins."""
    merged: list[Span] = []
    for span in spans:
        if merged and span.begin <= merged[-1].end:
            merged[-1] = Span(merged[-1].begin, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _folds(busy: Sequence[Span], whole: Span, most: int) -> list[Span]:
    """Choose the silences to fold, the longest first, while one is longer than a share of what would be left."""
    silences = sorted((Span(a.end, b.begin) for a, b in pairwise(busy)), key=lambda one: -one.length)
    rest = whole.length
    chosen = []
    for silence in silences[:most]:
        rest -= silence.length
        if silence.length < LEAST_FOLD_US or silence.length * FOLD_SHARE <= rest:
            break
        chosen.append(silence)
    return sorted(chosen)
