"""Rules as the engine asks them: which events one counts, when it fires, and what it says then. Pure.

Three kinds. A `WindowRule` counts in windows, and fires while something is so of what it counts. A `HappeningRule`
fires when an event is something. What is no event (a sink that is behind, a proof that fails) is found by looking
(`probes`), and told to the engine: a `ProbeRule`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from indelible.alerting import cel
from indelible.alerting.facts import CHANGED, REJECTED, actor, tool
from indelible.alerting.in_sql import in_sql
from indelible.alerting.windows import Counts
from indelible.alerting.words import Where
from indelible.query.report.scope import DENIED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indelible.alert_settings import RuleSettings
    from indelible.alerting.facts import Facts, Subject
    from indelible.alerting.windows import Window

NO_ALERT: Final = "event_type IS DISTINCT FROM 'alert'"
"""No rule is asked about one; an own rule's condition is asked of every other event."""

Numbers = dict[str, int | float]


class Rule(Protocol):
    """What every rule has."""

    settings: RuleSettings

    def failures(self) -> list[tuple[str, int, str]]:
        """Return (key, how many, the last) of expressions that could not be evaluated."""


class WindowRule:
    """Counts in windows. A class for each kind says what and when."""

    options: tuple[str, ...] = ()
    """Of the query, beside the subject's."""
    where: Where | None = None
    tells_apart = False

    def __init__(self, settings: RuleSettings) -> None:
        self.settings = settings
        self.window_us = int(settings.window * 1_000_000)

    def counts(self, facts: Facts) -> bool:
        """Tell whether it counts an event."""
        return facts.is_call

    def holds(self, window: Window, index: int) -> bool:
        """Tell whether it is so of what was counted, up to a step."""
        raise NotImplementedError

    def numbers(self, window: Window, index: int) -> Numbers:
        """Return what an alert says of it in numbers."""
        del index
        return {"calls": window.now.events}

    def says(self, numbers: Numbers) -> str:
        """Return what a sentence says of the subject."""
        raise NotImplementedError

    def failures(self) -> list[tuple[str, int, str]]:
        """See `Rule`."""
        return []


class ActorCalls(WindowRule):
    """More calls than `over` in the window."""

    def holds(self, window: Window, index: int) -> bool:
        """See `WindowRule`."""
        del index
        return window.now.events > self.settings.over

    def says(self, numbers: Numbers) -> str:
        """See `WindowRule`."""
        return f"{numbers['calls']} calls in {_length(self.settings.window)}"


class DestructiveDoubled(WindowRule):
    """At least `at_least` destructive calls in the window, and `factor` times those of the window before."""

    where = Where("effects = 'destructive'")

    def counts(self, facts: Facts) -> bool:
        """See `WindowRule`."""
        return facts.is_destructive

    def holds(self, window: Window, index: int) -> bool:
        """See `WindowRule`."""
        del index
        count, before = window.now.events, window.before.events
        return count >= self.settings.at_least and count >= self.settings.factor * before

    def numbers(self, window: Window, index: int) -> Numbers:
        """See `WindowRule`."""
        del index
        return {"destructive": window.now.events, "before": window.before.events}

    def says(self, numbers: Numbers) -> str:
        """See `WindowRule`."""
        length = _length(self.settings.window)
        return f"{numbers['destructive']} destructive calls in {length}, {numbers['before']} in the {length} before"


class ErrorRate(WindowRule):
    """At least `at_least` calls in the window, of which more than `over` percent fail."""

    def holds(self, window: Window, index: int) -> bool:
        """See `WindowRule`."""
        del index
        counts = window.now
        return (
            counts.events >= self.settings.at_least and 100 * counts.errors > self.settings.over * counts.events
        )

    def numbers(self, window: Window, index: int) -> Numbers:
        """See `WindowRule`."""
        del index
        counts = window.now
        percent = round(100 * counts.errors / counts.events, 2) if counts.events else 0.0
        return {"calls": counts.events, "errors": counts.errors, "percent": percent}

    def says(self, numbers: Numbers) -> str:
        """See `WindowRule`."""
        of = f"{numbers['errors']} of {numbers['calls']} calls failed"
        return f"{of} in {_length(self.settings.window)} ({numbers['percent']} %)"


class Denials(WindowRule):
    """More than `over` denials in the window: of calls, and of requests before any session."""

    options = ("--events=mcp_operation,auth_rejected",)
    where = Where(f"(event_type = '{REJECTED}' OR {DENIED})")

    def counts(self, facts: Facts) -> bool:
        """See `WindowRule`."""
        return facts.denials > 0

    def holds(self, window: Window, index: int) -> bool:
        """See `WindowRule`."""
        del index
        return window.now.denied > self.settings.over

    def numbers(self, window: Window, index: int) -> Numbers:
        """See `WindowRule`."""
        del index
        return {"denied": window.now.denied}

    def says(self, numbers: Numbers) -> str:
        """See `WindowRule`."""
        return f"{numbers['denied']} denials in {_length(self.settings.window)}"


class OwnRule(WindowRule):
    """What a user wrote: `where` over each event, `when` over the window."""

    def __init__(self, settings: RuleSettings) -> None:
        """Raises ConfigError for an expression that is none."""
        super().__init__(settings)
        at = f"alerts.own_rules: {settings.name}"
        self._where = cel.Condition(f"{at}: where", settings.where, cel.EVENT_NAMES) if settings.where else None
        self._when = cel.Condition(f"{at}: when", settings.when, cel.WINDOW_NAMES)
        self.tells_apart = bool(self._when.names & {"actors", "tools"})
        if settings.where:
            self.options = ("--events=all",)
            said = in_sql(settings.where)
            self.where = Where(" AND ".join(filter(None, (NO_ALERT, said.sql))), said.is_whole)

    def counts(self, facts: Facts) -> bool:
        """See `WindowRule`. Without a condition, calls."""
        if self._where is None:
            return facts.is_call
        return self._where(cel.event_values(facts, self._where.names))

    def holds(self, window: Window, index: int) -> bool:
        """See `WindowRule`."""
        return self._when({name: float(value) for name, value in self._values(window, index).items()})

    def numbers(self, window: Window, index: int) -> Numbers:
        """See `WindowRule`."""
        values = self._values(window, index)
        return {
            name: round(value, 3)
            for name, value in values.items()
            if name in self._when.names or name == "count"
        }

    def says(self, numbers: Numbers) -> str:
        """See `WindowRule`."""
        said = ", ".join(f"{name} {value:g}" for name, value in numbers.items())
        return f"{said} in {_length(self.settings.window)}"

    def failures(self) -> list[tuple[str, int, str]]:
        """See `Rule`."""
        both = (("where", self._where), ("when", self._when))
        return [(key, one.failures, one.last_failure) for key, one in both if one is not None and one.failures]

    def _values(self, window: Window, index: int) -> dict[str, int | float]:
        counts = window.now
        actors, tools = window.distinct(index) if self.tells_apart else (0, 0)
        return {
            "count": counts.events,
            "errors": counts.errors,
            "denied": counts.denied,
            "destructive": counts.destructive,
            "before": window.before.events,
            "actors": actors,
            "tools": tools,
            "latency_mean_ms": counts.latency_us / counts.events / 1000 if counts.events else 0.0,
            "latency_max_ms": window.slowest / 1000 if "latency_max_ms" in self._when.names else 0.0,
            "cost_cents": counts.cost / 100,
        }


class HappeningRule:
    """Fires when an event is something."""

    options: tuple[str, ...] = ()

    def __init__(self, settings: RuleSettings) -> None:
        self.settings = settings

    def key(self, facts: Facts) -> tuple[Subject, str] | None:
        """Return what an event is about, and by what else it is told from another; None when it is nothing."""
        raise NotImplementedError

    def says(self, facts: Facts) -> str:
        """Return what a sentence says of the subject."""
        raise NotImplementedError

    def failures(self) -> list[tuple[str, int, str]]:
        """See `Rule`."""
        return []


class DefinitionChanged(HappeningRule):
    """A tool's definition has changed."""

    options = ("--events=tool_definition_changed",)

    def key(self, facts: Facts) -> tuple[Subject, str] | None:
        """See `HappeningRule`. What it has become counts: a change to something else is another one."""
        if facts.entry.event_type != CHANGED:
            return None
        return tool(facts.entry), facts.entry.target.tool_sha256 or ""

    def says(self, facts: Facts) -> str:
        """See `HappeningRule`."""
        sha256 = facts.entry.target.tool_sha256
        return "its definition has changed" + (f" (SHA-256 now {sha256[:16]}…)" if sha256 else "")


class FirstDestructive(HappeningRule):
    """An actor uses a destructive tool that it has not used before; what it has used, the engine remembers."""

    def key(self, facts: Facts) -> tuple[Subject, str] | None:
        """See `HappeningRule`."""
        return (actor(facts.entry), tool(facts.entry).key()) if facts.is_destructive else None

    def says(self, facts: Facts) -> str:
        """See `HappeningRule`."""
        from indelible.alerting.words import called

        days = self.settings.within / 86_400
        long = f"{days:g} day{'' if days == 1 else 's'}"
        return f"first use of the destructive {called(tool(facts.entry), 'tool')} in {long}"


class ProbeRule:
    """What is found by looking: `probes` says when it is so."""

    def __init__(self, settings: RuleSettings) -> None:
        self.settings = settings

    def failures(self) -> list[tuple[str, int, str]]:
        """See `Rule`."""
        return []


KINDS: Final[dict[str, type[WindowRule | HappeningRule | ProbeRule]]] = {
    "destructive_doubled": DestructiveDoubled,
    "actor_calls": ActorCalls,
    "error_rate": ErrorRate,
    "first_destructive": FirstDestructive,
    "definition_changed": DefinitionChanged,
    "denials": Denials,
    "sink_behind": ProbeRule,
    "verification": ProbeRule,
}
"""Built-in rule → what it is."""

AnyRule = WindowRule | HappeningRule | ProbeRule


def make(rules: Sequence[RuleSettings]) -> list[AnyRule]:
    """Return the rules that settings name. Raises ConfigError for an expression that is none."""
    return [OwnRule(one) if one.is_own else KINDS[one.name](one) for one in rules]


def counted(facts: Facts) -> Counts:
    """Return what an event adds to a window."""
    return Counts(
        1, int(facts.is_error), facts.denials, int(facts.is_destructive), facts.latency_us, facts.cost
    )


def fingerprint(settings: RuleSettings) -> list[Any]:
    """Return what a rule's windows hang on: with another one they begin anew."""
    return [settings.window, settings.by, settings.where]


def _length(seconds: float) -> str:
    from indelible.values import age_text

    return age_text(seconds)
