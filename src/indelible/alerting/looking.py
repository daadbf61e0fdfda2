"""The engine on a trail: from its sealed events to alerts that are on record, and where it is.

The rules that live here:

- Nothing past the checkpoint is looked at: the shipper's own way of reading is used, through rotation, and through a
  trail that was set aside.
- An alert is on record before the place behind its event is kept. After a crash the events since the last place are
  looked at again, and give the same alerts under the same ids: those that stand in the trail are not given again.
- What cannot be recorded now is tried again, and nothing more is read meanwhile.
- Who begins has learnt: what the trail has so far is looked at and not told, so that nothing of it is new.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible import configfile, events
from indelible.alerting import store, words
from indelible.alerting.engine import Engine
from indelible.alerting.facts import microseconds, moment, subject
from indelible.alerting.store import Kept, RuleState, Shown
from indelible.errors import TrailError
from indelible.formats.record import NoEntryError, Record
from indelible.shipper import route
from indelible.shipper.feed import Feed
from indelible.shipper.place import Place
from indelible.sink_settings import SinkSettings
from indelible.trail.upkeep.orders import RecordAlert
from indelible.values import shell_word

if TYPE_CHECKING:
    from indelible.alert_settings import AlertSettings
    from indelible.alerting.words import Alert
    from indelible.shipper.feed import Piece
    from indelible.shipper.route import Sealed
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

log = logging.getLogger("indelible")

PLACE: Final = "_rules"
"""No channel can be called so."""

LEARNT: Final = 2_000_000
"""So many of the newest events are learnt from, when rules begin."""

SAVE_S: Final = 5.0
"""How often place and windows are kept while events flow."""

SHOW_S: Final = 1.0
GRACE_US: Final = 5_000_000
"""Time goes on by itself so much later than the clock: events that are recorded now are sealed soon."""

BATCH: Final = 4_000
BATCH_BYTES: Final = 1 << 21
MAX_NAME: Final = 512

_ALERT_ID = re.compile(rb'"event_type":"alert","event_id":"([0-9a-f-]{36})"')

Recorded = Callable[[RecordAlert], bool]
"""Has an alert recorded; tells whether it was. Raises IndelibleError, OSError."""


class Looking:
    """The rules of one trail. Of one thread."""

    def __init__(
        self,
        layout: Layout,
        settings: AlertSettings,
        access: Access,
        record: Recorded,
        told: Callable[[Alert], None],
    ) -> None:
        """`told` is called with each alert once it is on record. Raises ConfigError for an expression that is none."""
        self._layout = layout
        self._settings = settings
        self._access = access
        self._record = record
        self._told = told
        self._options = trail_options(layout)
        self._place = Place(
            layout.for_alerts(), SinkSettings(type="rules", name=PLACE, start="beginning"), access
        )
        self.engine: Engine = Engine(settings.rules)
        self.probes: dict[str, object] = {}
        self.missed = 0
        self.unreadable = 0
        self.fired = 0
        """Alerts that began, in this run."""
        self._origin = ""
        self._pending: deque[Alert] = deque()
        self._known: set[str] = set()
        self._learns_to: int | None = None
        self._changed = False
        self._save_at = self._show_at = 0.0
        self._error: str | None = None

    @property
    def is_learning(self) -> bool:
        """Whether it looks at what was before it began."""
        return self._learns_to is not None

    @property
    def next_seq(self) -> int | None:
        """The first event that was not looked at; None before anything is sealed."""
        return None if self._place.at is None else self._place.at.next

    # --- where it is ------------------------------------------------------------------------------------------

    def load(self) -> bool:
        """Go on where it was, or begin; False while nothing is sealed. Raises TrailError, OSError."""
        now = route.sealed(self._layout)
        if now is None:
            return False
        kept = store.read(self._layout)
        self._origin = now.origin if kept is None else kept.origin
        self.engine = Engine(self._settings.rules, self._origin)
        if kept is None:
            self._place.jump(now.origin, max(route.begins(self._layout), now.size - LEARNT))
            self._learns_to = now.size
            return True
        try:
            self.engine.restore(kept.engine)
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            about = f"{store.path_of(self._layout)}: is no state of rules: {exc!r}; remove it to begin anew"
            raise TrailError(about) from exc
        self.probes = dict(kept.probes)
        self._place.jump(kept.origin, kept.next)
        self._known = self._recorded_since(kept)
        self._name_firing(kept.origin)
        return True

    def _recorded_since(self, kept: Kept) -> set[str]:
        """Return the ids of alerts that stand behind the place: they were recorded before it could be kept."""
        trail = route.find(self._layout, kept.origin)
        if trail is None:
            return set()
        with closing(pieces(trail, kept.next)) as every:
            lines = (line for piece in every for _, line in piece.lines)
            return {one.decode() for line in lines for one in _ALERT_ID.findall(line)}

    def _name_firing(self, origin: str) -> None:
        """Say of what fires whom it is about: the trail has it, unless it was erased."""
        for firing, by in self.engine.unnamed():
            line = None if firing.seq is None else self._place.line(origin, firing.seq)
            if line is None:
                continue
            try:
                entry = Record(line, origin).entry
            except NoEntryError:
                continue
            if not entry.erased and microseconds(entry.recorded_at) == firing.since:
                firing.subject = subject(entry, by)

    # --- looking ----------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Look at what comes next; tell whether there was anything. Raises OSError, IndelibleError."""
        if not self._deliver():
            return True
        found = self._place.next(BATCH, BATCH_BYTES)
        if found is None:
            self._finish_learning()
            return False
        trail, piece = found
        for gap in piece.gaps:
            self.missed += gap.end - gap.first
        self._take(trail, piece)
        self._place.move(trail.origin, piece.next)
        self._changed = True
        self._finish_learning()
        self._deliver()
        return True

    def _take(self, trail: Sealed, piece: Piece) -> None:
        self._origin = trail.origin
        for seq, line in piece.lines:
            try:
                entry = Record(line, trail.origin).entry
            except NoEntryError:
                self.unreadable += 1
                continue
            learns = self._learns_to is not None and seq < self._learns_to
            found = self.engine.take(entry)
            if not learns:
                self._pending.extend(found)

    def _finish_learning(self) -> None:
        at = self._place.at
        if self._learns_to is not None and at is not None and at.next >= self._learns_to:
            self._learns_to = None
            self.engine.learn()
            self._changed = True

    def tick(self) -> None:
        """Let time go on where no events come: what is well again is told."""
        if self._learns_to is None:
            self._pending.extend(self.engine.advance(time.time_ns() // 1000 - GRACE_US))

    def probed(self, name: str, about: str, trouble: str, numbers: dict[str, int | float]) -> None:
        """Take what a look at something else than events has found."""
        found = self.engine.probe(name, about, time.time_ns() // 1000, trouble, numbers)
        self._changed = self._changed or bool(found)
        self._pending.extend(found)

    def is_due(self, name: str, every: float) -> bool:
        """Tell whether something else than events is to be looked at, and note that it is now."""
        now, last = time.time(), self.probes.get(f"{name} at")
        if isinstance(last, int | float) and 0 <= now - last < every:
            return False
        self.keep(f"{name} at", now)
        return True

    def keep(self, name: str, about: object) -> None:
        """Keep how far a look at something else than events has got."""
        self._changed = self._changed or self.probes.get(name) != about
        self.probes[name] = about

    # --- on record --------------------------------------------------------------------------------------------

    def deliver(self) -> bool:
        """Have what is to be told recorded; tell whether nothing is left. Raises IndelibleError, OSError."""
        return self._deliver()

    def _deliver(self) -> bool:
        while self._pending:
            alert = self._pending[0]
            order = as_order(alert, self._origin, self._options)
            if order.id not in self._known and not self._record(order):
                return False
            self._pending.popleft()
            self._changed = True
            if order.id not in self._known:
                self.fired += alert.state == words.FIRING and not alert.times
                self._told(alert)
        return True

    def save(self, *, at_once: bool = False) -> None:
        """Keep place and windows, when they changed and it is time. Raises OSError."""
        at = self._place.at
        if at is None or not self._changed or self._pending or self._learns_to is not None:
            return
        began = time.monotonic()
        if not at_once and began < self._save_at:
            return
        kept = Kept(
            origin=at.origin, next=at.next, engine=self.engine.kept(), probes=self.probes, saved_at=events.now()
        )
        store.write(self._layout, kept, self._access)
        self._place.save(at_once=True)
        self._changed = False
        self._save_at = time.monotonic() + max(SAVE_S, 20 * (time.monotonic() - began))

    def show(self, pid: int, error: str | None, *, at_once: bool = False) -> None:
        """Show how the rules are, when it is due; what cannot be shown is no harm."""
        if not at_once and error == self._error and time.monotonic() < self._show_at:
            return
        self._show_at, self._error = time.monotonic() + SHOW_S, error
        try:
            store.show(self._layout, self.shown(pid, error), self._access)
        except OSError:
            pass

    def shown(self, pid: int, error: str | None) -> Shown:
        """Return how the rules are."""
        return Shown(
            pid=pid, next=self.next_seq or 0, at=events.now(), unreadable=self.unreadable, missed=self.missed,
            error=error, rules=rule_states(self.engine),
        )  # fmt: skip

    def let_go(self) -> None:
        """Close the file."""
        self._place.let_go()


def pieces(trail: Sealed, at: int) -> Generator[Piece, None, None]:
    """Yield what is sealed of a trail from an event on, some lines at a time. Raises OSError, TrailError."""
    feed = Feed(trail.layout)
    try:
        while at < trail.size:
            piece = feed.read(at, trail.size, BATCH, BATCH_BYTES)
            if piece.next <= at:
                return
            yield piece
            at = piece.next
    finally:
        feed.close()


def rule_states(engine: Engine) -> list[RuleState]:
    """Return how each rule is."""
    found = []
    for rule in engine.rules:
        state = engine.states[rule.settings.name]
        failures = rule.failures()
        found.append(
            RuleState(
                rule=rule.settings.name,
                severity=rule.settings.severity,
                firing=len(state.firing),
                alerts=state.alerts,
                last_alert=moment(state.last_alert) if state.last_alert else None,
                not_told=state.suppressed,
                forgotten=state.forgotten,
                failures=sum(count for _, count, _ in failures),
                error="; ".join(f"{key}: {said}" for key, _, said in failures) or None,
            )
        )
    return found


def trail_options(layout: Layout) -> str:
    """Return what stands behind a query, so that it asks this trail wherever it is run; empty for the default one."""
    try:
        default = configfile.default_trail().absolute()
    except (RuntimeError, OSError):  # there is no home, or no directory that we are in
        default = None
    path = layout.active.absolute()
    return "" if path == default else f" {shell_word(f'--trail={path}')}"


def as_order(alert: Alert, origin: str, options: str) -> RecordAlert:
    """Return the order by which an alert is recorded; `options` are for its query, as `trail_options` gives them."""
    told = alert.subject

    def fit(text: str | None) -> str | None:
        return text if text is not None and len(text) <= MAX_NAME else None

    return RecordAlert(
        id=alert.event_id(origin),
        at=moment(alert.at),
        alert=words.as_metadata(alert, origin, options),
        user=None if told is None else fit(told.user_id),
        session=None if told is None else fit(told.session_id),
        backend=None if told is None else fit(told.backend),
        type=None if told is None else fit(told.type),
        name=None if told is None else fit(told.name),
    )


class Replayed(NamedTuple):
    """What rules would have told, and what they could not be asked about."""

    engine: Engine
    alerts: list[Alert]
    unreadable: int
    """Lines that are no event."""
    missing: int
    """Events that were sealed, and whose lines are not there any more."""


def replay(
    settings: AlertSettings, trail: Sealed, since: int, progress: Callable[[int], None] = lambda _: None
) -> Replayed:
    """Return what rules would have told of a trail's sealed events from a time on.

    What came before that is learnt from. Raises OSError, ConfigError.
    """
    engine = Engine(settings.rules, trail.origin)
    found: list[Alert] = []
    unreadable, missing, learns = 0, 0, True
    at = route.begins(trail.layout)
    with closing(pieces(trail, at)) as every:
        for piece in every:
            for _, line in piece.lines:
                try:
                    entry = Record(line, trail.origin).entry
                except NoEntryError:
                    unreadable += 1
                    continue
                if learns and (microseconds(entry.recorded_at) or 0) >= since:
                    learns = False
                    engine.learn()
                alerts = engine.take(entry)
                if not learns:
                    found += alerts
            for gap in piece.gaps:
                unreadable += gap.end - gap.first if gap.damaged else 0
                missing += 0 if gap.damaged else gap.end - gap.first
            at = piece.next
            progress(at)
    if learns:
        engine.learn()
    return Replayed(engine, found, unreadable, missing + trail.size - at)
