"""Where a person's events lie: the one list of all places, and which lines of them are meant.

The rule that lives here: **whatever may hold the content of an event stands in `places`**. Who makes a new place for
content (a cache, a dead letter) adds it there, or an erasure leaves it behind. An intent and its outcome are one call:
they go together or stay together, since either holds the arguments, and an intent without its outcome would be recorded
as interrupted a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from indelible.trail.entry import parse_line
from indelible.trail.erased import LASTING, RECORD, Ranges, Selector, parse_erased
from indelible.trail.layout import STAGED, Layout
from indelible.trail.reader import Lines, Snapshot, TrailFile, names_in
from indelible.trail.shipping import letters

MAX_SOUGHT: Final = 64
"""So many other halves of calls are looked for by their ids; for more every call's line is parsed."""

Held = Callable[[dict[str, Any]], str | None]
"""Returns the id of the hold under which an event is, or None."""

STARTED: Final = "mcp_operation_started"
ENDED: Final = "mcp_operation"


def nobody_holds(_entry: dict[str, Any]) -> None:
    """Return None: no event is held."""


# --- places -------------------------------------------------------------------------------------------------


class Places(NamedTuple):
    """All places of a trail that may hold the content of events."""

    trails: list[Layout]
    """The trail itself, then the earlier ones that were set aside: their lines have leaves."""
    loose: list[Path]
    """Files that hold what is no line of a trail: torn ends, events that were set aside, dead letters."""
    ids: list[Path]
    """Files that hold the `event_id` of an event, and no content."""
    twins: list[Layout]
    """Those of `trails` that have twins: their lines once more, as columns."""


def places(layout: Layout) -> Places:
    """Return where the content of a trail's events may lie. Links and temporary files are `leftovers`' to know."""
    names = (name for name in sorted(names_in(layout.retired)) if not name.startswith("."))
    earlier = (Layout(layout.retired / name / layout.active.name) for name in names)
    trails = [layout, *(place for place in earlier if place.directory.is_dir())]
    loose = [place.quarantine / name for place in trails for name in sorted(names_in(place.quarantine))]
    loose += [place.next for place in trails[1:] if place.next.exists()]
    dead = (letters.path_of(layout), letters.path_of(layout.for_alerts()))
    loose += [path for path in dead if path.exists()]
    twinned = [place for place in trails if place.twins.is_dir()]
    return Places(trails, loose, [place.suspect for place in trails], twinned)


def leftovers(layout: Layout) -> Iterator[Path]:
    """Yield what a crash may have left of files being made, in directories where nobody else makes any.

    Half a copy that an interrupted restore has left is among them: a restore has the trail's lock, as an erasure has.
    """
    yield from (path for path in (layout.retired / STAGED).rglob("*") if not path.is_dir())
    for place in places(layout).trails:
        for directory in (place.segments, place.quarantine):
            for name in names_in(directory):
                if name.startswith(".") and name.endswith(".tmp"):
                    yield directory / name
        if place.directory != layout.directory:
            yield place.directory / ".active.tmp"


# --- events ---------------------------------------------------------------------------------------------------


class Found:
    """The lines of one trail that are meant."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.seqs = Ranges()
        self.ids: set[str] = set()
        """The `event_id` of those that are asked for one by one, and of those that were noted elsewhere."""
        self.types: dict[str, int] = {}
        """How many events of each type."""
        self.held: dict[str, int] = {}
        """How many of them are under each hold."""
        self.lasting = 0
        """Events that are meant and that the trail needs to be read: they stay."""
        self.under_way = 0
        """Calls that have no outcome yet: their intents stay."""
        self.told_before = 0
        """Lines that were erased for this very order, which was given before."""
        self.in_active = False
        """Some of them were in the active file when it was read."""

    @property
    def count(self) -> int:
        """How many lines are meant."""
        return sum(self.types.values())


class Moment(NamedTuple):
    """What a trail was at one moment: its size, and the `event_id` of the intents whose outcome may still come."""

    size: int
    open_calls: Container[str]


def find(
    layout: Layout, wanted: Selector, moment: Moment, held: Held, order_id: str, noted: Container[str]
) -> Found:
    """Return the lines of a trail that are meant, of those that it had at a moment. Raises OSError, TrailCorrupt.

    `noted` are ids that stand in other files, too.
    """
    finder = _Finder(layout, wanted, moment, held, order_id, noted)
    with Snapshot(layout) as snapshot:
        for file in snapshot.files:
            finder.read(file, finder.first_look)
        finder.leave_open()
        if finder.lacks:
            for file in snapshot.files:
                finder.read(file, finder.second_look)
        finder.finish()
    return finder.found


class _Finder:
    """Goes through the files of one trail: first for what is meant, then for the other halves of calls."""

    def __init__(
        self,
        layout: Layout,
        wanted: Selector,
        moment: Moment,
        held: Held,
        order_id: str,
        noted: Container[str],
    ) -> None:
        self.found = Found(layout)
        self._wanted = wanted
        self._moment = moment
        self._held = held
        self._noted = noted
        self._needles = wanted.needles()
        self._told = b'"erasure":"%b"' % order_id.encode()
        self._active = False
        self._intents: dict[str, dict[str, Any]] = {}
        """Intents that are meant and whose outcome was not met."""
        self._outcomes: set[str] = set()
        """Intents that were not met, of outcomes that are meant."""

    @property
    def lacks(self) -> bool:
        """Whether of some calls only one half was met."""
        return bool(self._intents or self._outcomes)

    def read(self, file: TrailFile, look: Callable[[list[bytes], bytes], None]) -> None:
        """Go through a file's whole lines."""
        self._active = file.named_seq is None
        try:
            stream = file.open()
        except FileNotFoundError:  # deleted by retention, whose place this is not to know
            return
        with stream:
            for lines, raw in Lines(stream):
                look(lines, raw)

    def first_look(self, lines: list[bytes], raw: bytes) -> None:
        """Take the lines that the selector means. What an encoder may have escaped is parsed before it is compared."""
        if self._told in raw:
            self._count_told(lines)
        if b"\\" not in raw and not any(needle in raw for needle in self._needles):
            return
        for line in lines:
            if b"\\" in line or any(needle in line for needle in self._needles):
                entry = parse_line(line)
                if entry is not None and self._wanted.means(entry) and parse_erased(line) is None:
                    self._take(entry)  # of what is erased, its seq stands there still

    def second_look(self, lines: list[bytes], raw: bytes) -> None:
        """Take the intents of outcomes that are meant, and the outcomes of such intents."""
        sought = [key.encode() for key in (*self._intents, *self._outcomes)]
        few = len(sought) <= MAX_SOUGHT
        if few and not any(key in raw for key in sought):
            return
        for line in lines:
            if b'"mcp_operation' not in line or (few and not any(key in line for key in sought)):
                continue
            entry = parse_line(line) or {}
            kind = entry.get("event_type")
            if (kind == STARTED and entry.get("event_id") in self._outcomes) or (
                kind == ENDED and _intent_of(entry) in self._intents
            ):
                self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        kind = str(entry.get("event_type"))
        if int(entry["seq"]) >= self._moment.size:
            return
        if kind in LASTING:
            self.found.lasting += 1
        elif kind == STARTED:
            self._take_intent(str(entry.get("event_id")), entry)
        else:
            intent = _intent_of(entry) if kind == ENDED else None
            opened = None if intent is None else self._intents.pop(intent, None)
            if opened is not None:
                self._keep(opened)
            elif intent is not None:
                self._outcomes.add(intent)
            self._keep(entry)

    def _take_intent(self, event_id: str, entry: dict[str, Any]) -> None:
        if event_id in self._outcomes:
            self._outcomes.discard(event_id)
            self._keep(entry)
        else:
            self._intents[event_id] = entry

    def _keep(self, entry: dict[str, Any]) -> None:
        found, kind, seq = self.found, str(entry.get("event_type")), int(entry["seq"])
        found.seqs.add(seq, seq)
        event_id = str(entry.get("event_id"))
        if self._wanted.by == "event" or event_id in self._noted:
            found.ids.add(event_id)
        found.in_active = found.in_active or self._active
        found.types[kind] = found.types.get(kind, 0) + 1
        hold = self._held(entry)
        if hold is not None:
            found.held[hold] = found.held.get(hold, 0) + 1

    def leave_open(self) -> None:
        """Let go of the intents whose outcome may still come."""
        still = {key for key in self._intents if key in self._moment.open_calls}
        self.found.under_way = len(still)
        self._intents = {key: entry for key, entry in self._intents.items() if key not in still}

    def finish(self) -> None:
        """Take the intents that will never have an outcome: their recorder ended well without one."""
        for entry in self._intents.values():
            self._keep(entry)
        self._intents.clear()

    def _count_told(self, lines: list[bytes]) -> None:
        for line in lines:
            entry = (parse_line(line) or {}) if self._told in line else {}
            metadata = entry.get("metadata")
            if entry.get("event_type") == RECORD and isinstance(metadata, dict):
                count = metadata.get("lines")
                self.found.told_before += count if type(count) is int else 0


def _intent_of(entry: dict[str, Any]) -> str | None:
    request = entry.get("request")
    intent = request.get("intent") if isinstance(request, dict) else None
    return intent if isinstance(intent, str) else None
