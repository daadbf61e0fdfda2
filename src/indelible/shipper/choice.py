"""Which events a sink gets. Pure.

Without a filter for event types, a format of another system gets what a SIEM is to see, as far as it has a shape for
it, and the trail's own format gets everything. Intents go only to a sink that asks for them, since one that counts
lines would count calls twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.formats.record import SIEM_EVENTS, Entry

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings

INTENT: Final = "mcp_operation_started"
OWN_FORMAT: Final = "indelible"

Check = Callable[[Entry], bool]


def event_types(settings: SinkSettings, holds: frozenset[str] | None) -> frozenset[str] | None:
    """Return the event types that a sink gets; None is all of them. `holds` is what its format has a shape for.

    An erased line has no type: it goes where all events go.
    """
    named = settings.filter.events
    if named is None:
        if settings.format == OWN_FORMAT and settings.intents:
            return None
        named = None if settings.format == OWN_FORMAT else SIEM_EVENTS
    if named is None:
        return holds
    named = named | {INTENT} if settings.intents else named
    return named if holds is None else named & holds


class Choice(NamedTuple):
    """Which events a sink gets."""

    of_type: Callable[[str], bool]
    """Whether it gets events of a type at all."""
    by_values: list[Check]
    """What else is asked of an event; often nothing."""

    def has(self, entry: Entry) -> bool:
        """Tell whether a sink gets an event."""
        if not self.of_type(entry.event_type):
            return False
        return not self.by_values or all(check(entry) for check in self.by_values)


def choice(settings: SinkSettings, holds: frozenset[str] | None, only: Check | None = None) -> Choice:
    """Return which events a sink gets; see `event_types`. `only` is asked of them, too."""
    return Choice(_of_type(settings, holds), [*_by_values(settings), *([only] if only else [])])


def _of_type(settings: SinkSettings, holds: frozenset[str] | None) -> Callable[[str], bool]:
    wanted = event_types(settings, holds)
    if wanted is not None:
        return wanted.__contains__
    if settings.intents:
        return lambda _event_type: True
    return INTENT.__ne__


def _by_values(settings: SinkSettings) -> list[Check]:
    asked = settings.filter
    checks: list[Check] = []
    if status := asked.status:
        checks.append(lambda entry: entry.outcome is not None and entry.outcome.status in status)
    if kind := asked.kind:
        checks.append(lambda entry: entry.outcome is not None and entry.outcome.kind in kind)
    if policy := asked.policy:
        checks.append(lambda entry: _decision(entry) in policy)
    if backend := asked.backend:
        checks.append(lambda entry: entry.target.backend in backend)
    if effects := asked.effects:
        checks.append(lambda entry: entry.target.effects in effects)
    if tool := asked.tool:
        checks.append(
            lambda entry: (
                entry.target.type == "tool"
                and (entry.target.capability_name in tool or entry.target.original_name in tool)
            )
        )
    return checks


def _decision(entry: Entry) -> str | None:
    """Return the policy's decision, ``n/a`` for a call that none was asked about; as `log --policy` has it."""
    if entry.policy is not None and entry.policy.decision is not None:
        return entry.policy.decision
    return "n/a" if entry.outcome is not None else None
