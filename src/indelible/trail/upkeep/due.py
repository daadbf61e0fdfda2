"""Which closed files are due: each is judged by what it holds. Nothing is changed here; `pruning` deletes.

Before a file is put on record as deleted it is read, and judged by that, and not by what is remembered of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.config import Retention
from indelible.errors import NoteError, TrailCorrupt
from indelible.trail import files
from indelible.trail.entry import line_recorded_at, parse_line
from indelible.trail.erased import RECORD, record_in
from indelible.trail.files import TrailFile
from indelible.trail.proofs import checkpoint
from indelible.trail.start import keys
from indelible.trail.upkeep import keeping, traces
from indelible.trail.upkeep.facts import FactsStore, whole_lines
from indelible.trail.upkeep.holding import Hold
from indelible.trail.upkeep.holds import has_held
from indelible.trail.upkeep.keeping import Closed, Facts, Verdict
from indelible.trail.upkeep.unshipped import Unshipped

if TYPE_CHECKING:
    from indelible.trail.layout import Layout
    from indelible.trail.shipping.backlog import Shipping

Holder = Callable[[TrailFile, str, str], str | None]
"""Told a file, its earliest time and when it ended, returns which hold it is under."""

NOBODY_KNOWS: Final = "that nobody can check: the file cannot be read"
"""Stands for the hold of a file of which nobody can tell whether it is under one."""

NO_END: Final = 2**63


class Rules(NamedTuple):
    """By what closed files are judged."""

    retention: Retention
    backup_count: int
    shipping: Shipping | None = None


class Stopped(Exception):  # noqa: N818 - no error: the next look goes on
    """A look was stopped before every file was judged."""


class Plan(NamedTuple):
    """What would become of each closed file."""

    files: list[TrailFile]
    verdicts: list[Verdict]
    unreadable: TrailCorrupt | OSError | None
    """Why a file could not be read: it is kept."""
    unshipped: Unshipped

    @property
    def due(self) -> list[tuple[TrailFile, Verdict]]:
        """The files that would be deleted."""
        return [
            (file, verdict) for file, verdict in zip(self.files, self.verdicts, strict=True) if verdict.goes
        ]


def ends(layout: Layout, closed: Sequence[TrailFile], pruned: Sequence[tuple[int, int]] = ()) -> list[int]:
    """Return for each closed file the seq after its last; `pruned` are the ranges whose files were deleted before.

    A file that was closed since they were listed ends the last of them: the active one begins after it.
    """
    if not closed:
        return []
    starts = [file.first_seq for file in closed[1:]]
    active = files.first_seq(layout.active)
    since = (file.first_seq for file in files.segments(layout) if file.first_seq > closed[-1].first_seq)
    found = [*starts, next(since, active if active is not None else NO_END)]
    return [
        min([end, *(low for low, _ in pruned if file.first_seq < low < end)])
        for file, end in zip(closed, found, strict=True)
    ]


class _Look:
    """One look through the closed files: what was learnt of them, and what could not be read."""

    def __init__(
        self, layout: Layout, store: FactsStore, holder: Holder | None, stop: Callable[[], bool]
    ) -> None:
        self.closed = files.segments(layout)
        self.wrong: list[TrailCorrupt | OSError] = []
        """What could not be read."""
        self._layout = layout
        self._store = store
        self._holder = holder
        self._stop = stop
        self._by_first = {file.first_seq: file for file in self.closed}
        self._known: dict[int, Facts] = {}

    def states(self, sealed: int, pruned: Sequence[tuple[int, int]]) -> list[Closed]:
        """Return what each file is, before anybody looks into it. Raises Stopped."""
        following = [*self.closed[1:], None]
        every = zip(self.closed, ends(self._layout, self.closed, pruned), following, strict=False)
        return [
            Closed(file.first_seq, end - 1, self._ended(file, after, end), end <= sealed)
            for file, end, after in every
        ]

    def _ended(self, file: TrailFile, following: TrailFile | None, end: int) -> str:
        self._go_on()
        try:
            return _ended(self._layout, file, following, end, self._store)
        except (OSError, TrailCorrupt) as exc:
            self.wrong.append(exc)
            return ""

    def facts(self, about: Closed) -> Facts | None:
        """Return what a file holds, as it is remembered or read; None when it cannot be. Raises Stopped."""
        self._go_on()
        try:
            found = self._store.get(self._by_first[about.first], about.last, about.ended)
        except FileNotFoundError:
            return None
        except (OSError, TrailCorrupt) as exc:
            self.wrong.append(exc)
            return None
        self._known[about.first] = found
        return found

    def facts_anew(self, about: Closed) -> Facts | None:
        """Return the same, of a file that was read in this run. Raises Stopped."""
        if not self._store.is_fresh(about.first):
            self._go_on()
            try:
                self._store.learn(self._by_first[about.first], about.last, about.ended)
            except (OSError, TrailCorrupt):
                return None
        return self.facts(about)

    def held(self, about: Closed) -> str | None:
        """Return which hold a file is under. Raises Stopped."""
        facts = self._known.get(about.first) or self.facts(about)
        if self._holder is None:
            return None
        return (
            NOBODY_KNOWS
            if facts is None
            else self._holder(self._by_first[about.first], facts.since, about.ended)
        )

    def has_record_of(self, about: Closed, origins: frozenset[str]) -> bool:
        """Tell whether a file has an erasure on record, in a trail of one of these origins."""
        return bool(origins) and _has_record_of(self._by_first[about.first], origins)

    def _go_on(self) -> None:
        if self._stop():
            raise Stopped


def make_plan(
    layout: Layout,
    rules: Rules,
    sealed: int,
    store: FactsStore,
    holder: Holder | None,
    pruned: Sequence[tuple[int, int]],
    stop: Callable[[], bool] = lambda: False,
) -> Plan:
    """Judge every closed file; nothing is changed.

    Raises Stopped before the next file when `stop` says so: what was learnt of those before is remembered.
    """
    look = _Look(layout, store, holder, stop)
    states = look.states(sealed, pruned)
    unshipped = Unshipped(layout, rules.shipping, look.closed, states)
    now = datetime.now(UTC)
    judged = keeping.judge(
        states, rules.retention, rules.backup_count, now, look.facts, look.held, unshipped.keeps
    )
    earlier = _origins_set_aside(layout)
    verdicts = keeping.keep_records(judged, look.facts_anew, lambda about: look.has_record_of(about, earlier))
    return Plan(look.closed, verdicts, look.wrong[0] if look.wrong else None, unshipped)


def _origins_set_aside(layout: Layout) -> frozenset[str]:
    """Return the origins of the earlier trails that are there; of one without its name, that of its place."""
    places = traces.places(layout).trails[1:]
    return frozenset(keys.read_origin(place) or place.active.parent.name for place in places)


def _has_record_of(file: TrailFile, origins: frozenset[str]) -> bool:
    """Tell whether a file says, or may say, that lines of a trail of one of these origins were erased."""
    try:
        for block in whole_lines(file):
            for line in block.splitlines() if RECORD.encode() in block else ():
                found = record_in(parse_line(line) or {}) if RECORD.encode() in line else None
                if found is not None and found.origin in origins:
                    return True
    except (OSError, TrailCorrupt):
        return True
    return False


def _ended(layout: Layout, file: TrailFile, following: TrailFile | None, end: int, store: FactsStore) -> str:
    """Return when the file after a closed one was begun, or, when that is gone, the time of its own last event.

    Empty when nobody can tell. Raises OSError, TrailCorrupt.
    """
    try:
        if following is None:
            return line_recorded_at(first_line(TrailFile(layout.active, 0, compressed=False))) or ""
        began = line_recorded_at(first_line(following)) or ""
    except FileNotFoundError:
        return ""
    if following.first_seq == end or not began:
        return began
    facts = (store.get if store.is_fresh(file.first_seq) else store.learn)(file, end - 1, began)
    return max((one.newest for one in facts.classes.values()), default="")


def newest_checkpoint(layout: Layout) -> checkpoint.Checkpoint | None:
    """Return the checkpoint as it stands, unverified; None when there is none that can be read."""
    try:
        return checkpoint.parse(checkpoint.split_note(layout.checkpoint.read_bytes())[0])
    except (OSError, NoteError):
        return None


def sealed_size(layout: Layout) -> int:
    """Return how many lines the checkpoint says that it covers."""
    found = newest_checkpoint(layout)
    return 0 if found is None else found.size


def first_line(file: TrailFile) -> bytes:
    """Return a file's first line, without its LF. Raises OSError, TrailCorrupt."""
    with files.open_file(file) as stream:
        return stream.readline(1 << 17).rstrip(b"\n")


def hold_finder(holds: Sequence[Hold]) -> Holder | None:
    """Return what tells which of these holds a file is under; None when there is none."""
    if not holds:
        return None
    return lambda file, since, ended: next(
        (hold.id for hold in holds if has_held(file, hold, since, ended)), None
    )
