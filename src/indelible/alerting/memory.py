"""What the engine remembers of a rule, and what of that is kept from one run to the next. Pure.

The rules that live here. All of it is bounded, whoever calls. What is kept has digests and numbers and no name: whom
something is about stands in the trail, where an erasure finds it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from indelible.alerting import rules
from indelible.alerting.rules import WindowRule
from indelible.alerting.windows import STEPS, Window

if TYPE_CHECKING:
    from indelible.alerting.facts import Subject
    from indelible.alerting.rules import AnyRule

MAX_SUBJECTS: Final = 10_000
"""Windows of one rule: of more, the one that was quiet for longest goes."""

MAX_FIRING: Final = 1_000
"""Matters of one rule that fire at the same time."""

MAX_SEEN: Final = 50_000
"""Pairs of actor and tool that are remembered."""


NEVER: Final = 1 << 62
"""Later than any time."""


class Firing:
    """A matter that fires."""

    __slots__ = ("last", "look", "muted", "once", "seq", "since", "subject", "summary", "times", "told")

    def __init__(self, since: int, seq: int | None, told: Subject | None, *, once: bool) -> None:
        self.since = since
        self.seq = seq
        self.subject = told
        self.once = once
        self.last = since
        """When it was so last."""
        self.told = since
        """When an alert was given last."""
        self.look = since
        """When it is asked next."""
        self.times = 0
        self.muted = False
        """It is one of too many in an hour: neither it nor its end is told."""
        self.summary = ""

    def kept(self) -> list[Any]:
        """Return what is to be kept of it; whom it is about stands in the trail."""
        return [self.since, self.seq, self.once, self.last, self.told, self.look, self.times, self.muted]

    @classmethod
    def restored(cls, kept: Any) -> Firing:
        """Return what `kept` said."""
        since, seq, once, last, told, look, times, muted = kept
        found = cls(int(since), None if seq is None else int(seq), None, once=bool(once))
        found.last, found.told, found.look = int(last), int(told), int(look)
        found.times, found.muted = int(times), bool(muted)
        return found


class State:
    """What the engine keeps of one rule."""

    def __init__(self) -> None:
        self.windows: OrderedDict[str, Window] = OrderedDict()
        """Digest of a subject → its window; the one that was quiet for longest first."""
        self.firing: dict[str, Firing] = {}
        self.due = NEVER
        """Nothing of what fires is to be asked sooner."""
        self.seen: OrderedDict[str, int] = OrderedDict()
        """Digest of actor and tool → when it was seen last."""
        self.given: list[int] = []
        """When alerts were given in the last hour."""
        self.suppressed = 0
        self.forgotten = 0
        """Subjects for which there was no room."""
        self.last_alert = 0
        self.alerts = 0


def _kept_windows(rule: WindowRule, state: State, clock: int) -> dict[str, Any]:
    for window in state.windows.values():
        window.roll(step_of(clock, rule.window_us))
    return {key: window.kept() for key, window in state.windows.items() if not window.is_empty}


def kept_of(rule: AnyRule, state: State, clock: int) -> dict[str, Any]:
    """Return what is to be kept of a rule, as JSON has it."""
    return {
        "of": rules.fingerprint(rule.settings),
        "windows": {} if not isinstance(rule, WindowRule) else _kept_windows(rule, state, clock),
        "firing": {key: firing.kept() for key, firing in state.firing.items()},
        "seen": state.seen,
        "given": state.given,
        "suppressed": state.suppressed,
        "forgotten": state.forgotten,
        "last_alert": state.last_alert,
        "alerts": state.alerts,
    }


def restore(rule: AnyRule, state: State, kept: Any) -> None:
    """Go on with what `kept_of` said. Raises ValueError, TypeError, KeyError for what it never said."""
    if kept["of"] == rules.fingerprint(rule.settings):
        state.windows.update({str(key): Window.restored(one) for key, one in kept["windows"].items()})
    state.firing = {str(key): Firing.restored(one) for key, one in kept["firing"].items()}
    state.due = min((one.look for one in state.firing.values()), default=NEVER)
    state.seen.update({str(key): int(at) for key, at in kept["seen"].items()})
    state.given = [int(at) for at in kept["given"]]
    state.suppressed, state.forgotten = int(kept["suppressed"]), int(kept["forgotten"])
    state.last_alert, state.alerts = int(kept["last_alert"]), int(kept["alerts"])


def step_of(at: int, window_us: int) -> int:
    """Return which step of windows of a length a moment is in."""
    return at // max(1, window_us // STEPS)


def next_step(at: int, window_us: int) -> int:
    """Return when the next step begins."""
    return (step_of(at, window_us) + 1) * max(1, window_us // STEPS)
