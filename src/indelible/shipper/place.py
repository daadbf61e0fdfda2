"""Where a sink stands in its trail, and what comes next there.

The cursor is written at most every `CURSOR_S` while events flow, and at once when they do not: a kill repeats what came
in that time. One that cannot be written (a full disk) is written later; the sink gets its events meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from indelible.errors import TrailError
from indelible.shipper import route
from indelible.shipper.batch import BATCH_BYTES, BATCH_EVENTS
from indelible.shipper.feed import Feed, Piece
from indelible.shipper.gauge import Gauge
from indelible.shipper.route import Sealed
from indelible.trail.erased import erased_leaf
from indelible.trail.notice import Notice
from indelible.trail.shipping import cursor, letters
from indelible.trail.shipping.cursor import Cursor
from indelible.trail.start import keys

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.shipping.letters import Letter

log = logging.getLogger("indelible")

ENOUGH: Final = 63 / 64
"""What lacks less of its bytes is a batch: nobody goes back to the file for a line or two."""

CURSOR_S: Final = 0.25
"""How often a cursor is written while events flow."""


def begin(layout: Layout, sinks: Sequence[SinkSettings], access: Access) -> None:
    """Let sinks that begin now begin with what is sealed now, though their shipper is only starting.

    Raises OSError; TrailError for a cursor that cannot be read.
    """
    origin = keys.read_origin(layout)
    for sink in sinks if origin is not None else ():
        if sink.start == "now" and cursor.read(layout, sink.name) is None:
            now = route.sealed(layout)
            cursor.write(
                layout, Cursor(sink=sink.name, origin=str(origin), next=now.size if now else 0), access
            )


class Place:
    """The place of one sink. Of one thread."""

    def __init__(self, layout: Layout, settings: SinkSettings, access: Access) -> None:
        self._layout = layout
        self._settings = settings
        self._access = access
        self._name = settings.name
        self._feed: Feed | None = None
        self._gauge = Gauge()
        self._trail: Sealed | None = None
        self._at: Cursor | None = None
        self._saved: Cursor | None = None
        self._left: set[str] = set()
        """The trails that it has gone on from, to the next one."""
        self._save_at = 0.0
        self._notice = Notice(good=f"sink {settings.name}: its place is written again")

    @property
    def at(self) -> Cursor | None:
        """The cursor; None before the first event of a trail is sealed."""
        return self._at

    def load(self) -> None:
        """Read the cursor, unless that was done, or begin. Raises TrailError for one that cannot be read.

        A sink that cannot be reached yet begins, too: it gets what is recorded from now on when it can.
        """
        if self._at is None:
            self._at = self._saved = cursor.read(self._layout, self._name)
        if self._at is None:
            self._current()

    def next(self, most: int = 0, most_bytes: int = 0) -> tuple[Sealed, Piece] | None:
        """Return what comes next, up to so much, and in which trail; None when nothing does yet.

        So much is `BATCH_EVENTS` and `BATCH_BYTES` when nothing is said.
        Raises OSError, TrailError.
        """
        trail = self._current()
        if trail is None or self._at is None:
            return None
        if self._at.next >= trail.size:
            earlier = trail.layout.active != self._layout.active
            if not earlier and self._at.next > trail.size:
                self._refuse(self._at.next, trail.size)
            trail = self._switch(self._at) if earlier else None
            if trail is None or self._at.next >= trail.size:
                return None
        piece = self._read(trail, self._at.next, most or BATCH_EVENTS, most_bytes or BATCH_BYTES)
        return (trail, piece) if piece.next > self._at.next else None

    def _read(self, trail: Sealed, first: int, most: int, most_bytes: int) -> Piece:
        """Return what comes next, across files; what lies before or after a gap comes by itself."""
        if self._feed is None:
            self._feed = Feed(trail.layout)
        piece = self._feed.read(first, trail.size, most, most_bytes)
        size = sum(len(line) for _, line in piece.lines)
        while piece.lines and not piece.gaps and piece.next < trail.size:
            if len(piece.lines) >= most or size >= ENOUGH * most_bytes:
                break
            more = self._feed.read(piece.next, trail.size, most - len(piece.lines), most_bytes - size)
            if more.gaps or not more.lines:
                break
            size += sum(len(line) for _, line in more.lines)
            piece = Piece([*piece.lines, *more.lines], more.next, [])
        return piece

    def ahead(self, first: int, most: int, most_bytes: int) -> tuple[Sealed, Piece] | None:
        """Return what comes from a seq on, while what lies before it is under way; None unless more comes after it.

        Of one file, so that `is_next` can tell whether it still stands there. Raises OSError.
        """
        trail = self._trail
        if trail is None or self._feed is None or first >= trail.size:
            return None
        piece = self._feed.read(first, trail.size, most or BATCH_EVENTS, most_bytes or BATCH_BYTES)
        return (trail, piece) if piece.lines and not piece.gaps and piece.next < trail.size else None

    def is_next(self, read: Sealed, piece: Piece) -> bool:
        """Tell whether a piece that `ahead` returned is what `next` would find now: nobody has touched its file."""
        trail = self._current()
        if trail is None or self._at is None or self._feed is None or trail != read._replace(size=trail.size):
            return False
        place = (read.origin, piece.lines[0][0])
        return (
            (self._at.origin, self._at.next) == place
            and piece.next <= trail.size
            and self._feed.is_current(piece.next)
        )

    def has_batch(self, lines: int, size: int) -> bool:
        """Tell whether so much waits, or something that no more comes to. Raises OSError, TrailError."""
        trail = self._current()
        if trail is None or self._at is None:
            return False
        if trail.layout.active != self._layout.active or self._at.next > trail.size:
            return True  # it was set aside, and grows no more; or `next` says what is wrong
        return self._gauge.is_full(trail, self._at.next, lines, size)

    def _refuse(self, following: int, size: int) -> NoReturn:
        """Raise TrailError: the sink has events of another history, and would miss as many of this one."""
        self._at = None  # read again: somebody may put it right
        where = cursor.path_of(self._layout, self._name)
        raise TrailError(
            f"{where}: stands at event {following}, and only {size} are sealed: the trail was put back; "
            f"'ship --from SEQ --sink {self._name}' says where to go on"
        )

    def move(self, origin: str, following: int, last: int | None = None, *, at_once: bool = False) -> None:
        """Everything before this was taken; `last` is the seq of the last event of it that the sink has, if one is."""
        if last is None and self._at is not None and self._at.origin == origin:
            last = self._at.last
        self._at = Cursor(sink=self._name, origin=origin, next=following, last=last)
        self.save(at_once=at_once)

    def jump(self, origin: str, following: int) -> None:
        """Go on somewhere else."""
        self.let_go()
        self._at = None
        self.move(origin, following, at_once=True)

    def first_from(self, origin: str, seq: int) -> int:
        """Return the seq of the first event from `seq` on that is not deleted. Raises OSError."""
        trail = route.find(self._layout, origin)
        if trail is None:
            return seq
        with contextlib.closing(Feed(trail.layout)) as feed:
            piece = feed.read(seq, trail.size, 1, BATCH_BYTES)
        return seq if any(gap.damaged for gap in piece.gaps) or not piece.lines else piece.lines[0][0]

    def reached(self, goal: Sealed) -> bool:
        """Tell whether everything up to a point of a trail was taken, or a later trail is being read."""
        at = self._at
        if at is not None and at.origin == goal.origin:
            return at.next >= goal.size
        if goal.origin in self._left:
            return True
        return at is not None and route.is_past(self._layout, goal.origin, at.origin)

    def save(self, *, at_once: bool = False) -> None:
        """Write the cursor, when it moved and is due."""
        if self._at is None or self._at == self._saved:
            return
        if not at_once and time.monotonic() < self._save_at:
            return
        try:
            cursor.write(self._layout, self._at, self._access)
        except OSError as exc:
            self._notice.bad(f"sink {self._name}: its place cannot be written: {exc.strerror or exc}")
        else:
            self._saved = self._at
            self._notice.well()
        self._save_at = time.monotonic() + CURSOR_S

    def line(self, origin: str, seq: int) -> bytes | None:
        """Return a line of this trail or an earlier one; None when it is not there."""
        trail = route.find(self._layout, origin)
        if trail is None:
            return None
        with contextlib.closing(Feed(trail.layout)) as feed:
            found = feed.read(seq, min(seq + 1, trail.size), 1, BATCH_BYTES).lines
        return found[0][1] if found else None

    def drop_erased(self, dead: Sequence[Letter]) -> None:
        """Take out those of these dead letters whose events were erased while they were added (see `letters`)."""
        gone = {
            one.key
            for one in dead
            if (line := self.line(one.origin, one.seq)) is not None and erased_leaf(line) is not None
        }
        if gone:
            letters.remove(self._layout, gone)

    def let_go(self) -> None:
        """Close the file; what comes next is looked up anew."""
        self._gauge.close()
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def _current(self) -> Sealed | None:
        """Return the trail that the cursor is in, as far as it is sealed now; None while there is none."""
        if self._at is None:
            now = route.sealed(self._layout)
            if now is None:
                return None
            first = now.size if self._settings.start == "now" else route.begins(self._layout)
            self.move(now.origin, first, at_once=True)
            self._trail = now
            return now
        trail = route.find(self._layout, self._at.origin)
        if trail is None:
            return self._switch(self._at)
        if self._trail is not None and self._trail.layout.active != trail.layout.active:
            self.let_go()  # it was set aside
        self._trail = trail
        return trail

    def _switch(self, at: Cursor) -> Sealed | None:
        """Go on with the beginning of the trail after the cursor's; None while there is none."""
        found = route.after(self._layout, at.origin)
        if found is None:
            return None
        self._trail, known = found
        log.warning(
            "sink %s: %s ends at event %d%s; it goes on with the beginning of %s",
            self._name, at.origin, at.next, "" if known else ", and what came after that is not there",
            self._trail.origin,
        )  # fmt: skip
        self._left.add(at.origin)
        self.jump(self._trail.origin, 0)
        return self._trail
