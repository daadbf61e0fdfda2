"""The engine: events in, in the trail's order, alerts out. Pure; its clock is the events' `recorded_at`.

The rules that live here:

- A rule is asked when an event comes that it counts, and while it fires at each step of its window, whether events come
  or not (`advance`). So what it does hangs on the events alone, and not on when somebody looked.
- One alert while something lasts, and one when it has been well for `well_after`; what comes back before that is the
  same. A happening is told once, and again when it comes after it was quiet for so long.
- Alerts are events, and no rule is ever asked about one.
- What is kept is bounded, whoever calls: subjects, what fires, what was seen, and alerts an hour. What did not fit is
  counted, and told.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from indelible.alerting import memory, rules, words
from indelible.alerting.facts import Subject, actor, facts, microseconds, moment, subject, tool
from indelible.alerting.memory import Firing, State, kept_of, next_step, restore, step_of
from indelible.alerting.rules import FirstDestructive, HappeningRule, ProbeRule, WindowRule
from indelible.alerting.windows import Window
from indelible.alerting.words import FIRING, RESOLVED, Alert, Query, Where

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from indelible.alert_settings import RuleSettings
    from indelible.alerting.facts import Facts
    from indelible.alerting.rules import AnyRule, Numbers
    from indelible.formats.record import Entry

HOUR_US: Final = 3_600_000_000
DIGEST_BYTES: Final = 12

NO_QUERY: Final = Query(None)
"""Of what is no event."""

OF_ALERTS: Final = "alert"
"""The event type that no rule is asked about."""


class Engine:
    """Asks rules about events. Of one thread."""

    def __init__(self, settings: Sequence[RuleSettings], origin: str = "") -> None:
        """`origin` is the trail's: digests of one trail's names say nothing of another's. Raises ConfigError."""
        self.rules: list[AnyRule] = rules.make(settings)
        self.states: dict[str, State] = {rule.settings.name: State() for rule in self.rules}
        self.clock = 0
        self.events = 0
        self.unreadable = 0
        self._origin = origin
        self._digest = _digester(origin)

    # --- events ---------------------------------------------------------------------------------------------

    def take(self, entry: Entry) -> list[Alert]:
        """Return the alerts that an event gives, and those that time gave before it."""
        at = microseconds(entry.recorded_at)
        at = self.clock if at is None else max(at, self.clock)
        found = self.advance(at)
        self.events += 1
        if entry.erased or entry.event_type == OF_ALERTS:
            return found
        about = facts(entry, at)
        for rule in self.rules:
            if isinstance(rule, WindowRule):
                found += self._count(rule, about)
            elif isinstance(rule, HappeningRule):
                found += self._happens(rule, about)
        return found

    def _count(self, rule: WindowRule, about: Facts) -> Iterator[Alert]:
        if not rule.counts(about):
            return
        settings, state = rule.settings, self.states[rule.settings.name]
        told = subject(about.entry, settings.by)
        key, index = self._digest(told.key()), step_of(about.at, rule.window_us)
        window = state.windows.get(key)
        if window is None:
            window = state.windows[key] = Window()
        state.windows.move_to_end(key)
        window.add(index, rules.counted(about), about.entry.timestamp or moment(about.at))
        if rule.tells_apart:
            digest = self._digest
            window.tell_apart(index, digest(actor(about.entry).key()), digest(tool(about.entry).key()))
        if len(state.windows) > memory.MAX_SUBJECTS:
            self._make_room(state, index)
        if rule.holds(window, index):
            yield from self._fires(rule, key, about, told)

    def _make_room(self, state: State, index: int) -> None:
        """Forget the windows that were quiet for longest, but none of what fires: there are fewer of those."""
        while len(state.windows) > memory.MAX_SUBJECTS:
            key, window = state.windows.popitem(last=False)
            window.roll(index)
            if key in state.firing:
                state.windows[key] = window
            elif window.now.events:
                state.forgotten += 1

    def _fires(self, rule: WindowRule, key: str, about: Facts, told: Subject) -> Iterator[Alert]:
        state = self.states[rule.settings.name]
        firing = state.firing.get(key)
        if firing is not None:
            firing.last, firing.subject = about.at, told
            return
        look = next_step(about.at, rule.window_us)
        firing = self._begin(state, key, Firing(about.at, about.seq, told, once=False), look)
        if firing is None:
            return
        yield from self._told(rule, key, firing, FIRING, about.at, **self._of_window(rule, key, about.at, told))

    def _of_window(self, rule: WindowRule, key: str, at: int, told: Subject | None) -> dict[str, Any]:
        """Return what an alert says of a window: numbers, a sentence, the query."""
        window, index = (
            self.states[rule.settings.name].windows.get(key) or Window(),
            step_of(at, rule.window_us),
        )
        window.roll(index)
        numbers = rule.numbers(window, index)
        since = window.earliest or moment(at - rule.window_us)
        query = words.query(told, rule.settings.by, since, moment(at + 1), rule.options, rule.where)
        return {"numbers": numbers, "says": rule.says(numbers), "query": query}

    def _happens(self, rule: HappeningRule, about: Facts) -> Iterator[Alert]:
        found = rule.key(about)
        if found is None:
            return
        told, more = found
        state, key = self.states[rule.settings.name], self._digest(f"{told.key()}\x1e{more}")
        if isinstance(rule, FirstDestructive) and not self._is_first(rule, state, key, about.at):
            return
        firing = state.firing.get(key)
        if firing is not None:
            firing.last = about.at
            return
        look = about.at + _micros(rule.settings.well_after)
        firing = self._begin(state, key, Firing(about.at, about.seq, told, once=True), look)
        if firing is None:
            return
        since = about.entry.timestamp or moment(about.at)
        query = words.query(
            told, rule.settings.by, since, moment(about.at + 1), rule.options, Where(f"seq = {about.seq}")
        )
        says = rule.says(about)
        yield from self._told(rule, key, firing, FIRING, about.at, numbers={}, says=says, query=query)

    def _is_first(self, rule: FirstDestructive, state: State, key: str, at: int) -> bool:
        before = state.seen.pop(key, None)
        state.seen[key] = at
        if len(state.seen) > memory.MAX_SEEN:
            state.seen.popitem(last=False)
            state.forgotten += 1
        return before is None or at - before > _micros(rule.settings.within)

    # --- what is no event -----------------------------------------------------------------------------------

    def probe(self, name: str, about: str, at: int, trouble: str, numbers: Numbers) -> list[Alert]:
        """Return the alerts that a look at something gives: `trouble` says what is wrong, empty when it is well."""
        at = max(at, self.clock)
        rule = next(
            (one for one in self.rules if one.settings.name == name and isinstance(one, ProbeRule)), None
        )
        if rule is None:
            return []
        state, key = self.states[name], self._digest(about)
        firing = state.firing.get(key)
        if trouble and firing is None:
            firing = self._begin(state, key, Firing(at, None, Subject(), once=False), at)
            if firing is not None:
                firing.summary = trouble
                return list(
                    self._told(rule, key, firing, FIRING, at, numbers=numbers, says=trouble, query=NO_QUERY)
                )
        elif trouble and firing is not None:
            firing.last, firing.summary = at, trouble
            return self._again(rule, key, firing, at, {"numbers": numbers, "says": trouble, "query": NO_QUERY})
        elif firing is not None and at - firing.last >= _micros(rule.settings.well_after):
            del state.firing[key]
            says = f"{about} is well again"
            return list(self._told(rule, key, firing, RESOLVED, at, numbers=numbers, says=says, query=NO_QUERY))
        return []

    # --- time -----------------------------------------------------------------------------------------------

    def advance(self, at: int) -> list[Alert]:
        """Return the alerts that time gives up to a moment: what is well again, and what is told once more."""
        if at <= self.clock:
            return []
        found: list[Alert] = []
        for rule in self.rules:
            state = self.states[rule.settings.name]
            if state.firing and state.due <= at and not isinstance(rule, ProbeRule):
                for key, firing in list(state.firing.items()):
                    if firing.look <= at:
                        found += self._look(rule, state, key, firing, at)
                state.due = min((one.look for one in state.firing.values()), default=memory.NEVER)
        self.clock = at
        found.sort(key=lambda alert: (alert.at, alert.rule, alert.key))
        return found

    def _look(self, rule: AnyRule, state: State, key: str, firing: Firing, at: int) -> list[Alert]:
        if isinstance(rule, WindowRule):
            return self._look_at_window(rule, state, key, firing, at)
        if firing.last + _micros(rule.settings.well_after) <= at:  # a happening: it was quiet for so long
            del state.firing[key]
        else:
            firing.look = firing.last + _micros(rule.settings.well_after)
        return []

    def _look_at_window(self, rule: WindowRule, state: State, key: str, firing: Firing, at: int) -> list[Alert]:
        """Ask a rule at each step up to a moment; once nothing is left in a window, the rest is known."""
        found: list[Alert] = []
        quiet = _micros(rule.settings.well_after)
        window = state.windows.get(key) or Window()
        while firing.look <= at:
            now = firing.look
            index = step_of(now, rule.window_us)
            window.roll(index)
            if rule.holds(window, index):
                firing.last = now
                if window.is_empty:  # it is so of nothing, and stays so
                    firing.look = next_step(at, rule.window_us)
                    break
                found += self._again(rule, key, firing, now)
            elif now - firing.last >= quiet:
                del state.firing[key]
                about = self._of_window(rule, key, now, firing.subject)
                return found + list(self._told(rule, key, firing, RESOLVED, now, **about))
            elif window.is_empty:
                firing.look = max(next_step(firing.last + quiet - 1, rule.window_us), now + 1)
                continue
            firing.look = next_step(now, rule.window_us)
        return found

    def _again(
        self, rule: AnyRule, key: str, firing: Firing, at: int, about: dict[str, Any] | None = None
    ) -> list[Alert]:
        """Return the alert of what still is so, when it is to be given again."""
        resend = rule.settings.resend
        if resend is None or firing.muted or at - firing.told < _micros(resend):
            return []
        firing.told, firing.times = at, firing.times + 1
        if about is None and isinstance(rule, WindowRule):
            about = self._of_window(rule, key, at, firing.subject)
        return list(self._told(rule, key, firing, FIRING, at, **(about or {})))

    # --- alerts ---------------------------------------------------------------------------------------------

    def _begin(self, state: State, key: str, firing: Firing, look: int) -> Firing | None:
        """Let a matter fire, which is asked again at `look`; None when too many do."""
        if len(state.firing) >= memory.MAX_FIRING:
            state.suppressed += 1
            return None
        state.firing[key] = firing
        firing.look = look
        state.due = min(state.due, look)
        return firing

    def _told(
        self, rule: AnyRule, key: str, firing: Firing, state_: str, at: int, *, numbers: Numbers, says: str,
        query: Query,
    ) -> Iterator[Alert]:  # fmt: skip
        """Yield the alert, unless there were too many."""
        settings, state = rule.settings, self.states[rule.settings.name]
        if firing.muted:
            return
        if state_ == FIRING:
            state.given = [one for one in state.given if one > at - HOUR_US]
            if len(state.given) >= settings.most:
                state.suppressed += 1
                firing.muted = True
                return
            state.given.append(at)
        suppressed, state.suppressed = state.suppressed, 0
        state.last_alert, state.alerts = at, state.alerts + 1
        window = rule.window_us if isinstance(rule, WindowRule) else None
        yield Alert(
            rule=settings.name, state=state_, severity=settings.severity, at=at, key=key, since=firing.since,
            seq=firing.seq, times=firing.times, subject=firing.subject, by=settings.by, window=window,
            numbers=numbers, summary=says, query=query.command, query_note=query.note, suppressed=suppressed,
            once=firing.once,
        )  # fmt: skip

    # --- what is kept ---------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        """Return what is to be kept from one run to the next, as JSON has it. It holds no name."""
        return {
            "clock": self.clock,
            "rules": {
                rule.settings.name: kept_of(rule, self.states[rule.settings.name], self.clock)
                for rule in self.rules
            },
        }

    def restore(self, kept: Any) -> None:
        """Go on with what `kept` said. A rule that counts otherwise than before counts anew; what fires, fires.

        Raises ValueError, TypeError, KeyError for what it never said.
        """
        self.clock = int(kept["clock"])
        for rule in self.rules:
            before = kept["rules"].get(rule.settings.name)
            if before is not None:
                restore(rule, self.states[rule.settings.name], before)

    def unnamed(self) -> Iterator[tuple[Firing, str]]:
        """Yield what fires since before a restart, with what its rule counts by: its event tells whom it is about."""
        for rule in self.rules:
            for firing in self.states[rule.settings.name].firing.values():
                if firing.subject is None:
                    yield firing, rule.settings.by

    def learn(self) -> None:
        """Take what was found so far as known: nothing of it is told, and nothing fires."""
        for state in self.states.values():
            state.firing.clear()
            state.given.clear()
            state.suppressed = state.last_alert = state.alerts = 0


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _digester(origin: str) -> Any:
    """Return what makes digests of names: short, and of one trail."""
    key = blake2b(origin.encode(), digest_size=16).digest()

    @lru_cache(maxsize=8192)
    def digest(name: str) -> str:
        return blake2b(name.encode("utf-8", "surrogatepass"), key=key, digest_size=DIGEST_BYTES).hexdigest()

    return digest


def each(engine: Engine, entries: Iterable[Entry]) -> Iterator[Alert]:
    """Yield the alerts of events that come in order."""
    for entry in entries:
        yield from engine.take(entry)
