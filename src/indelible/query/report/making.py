"""Making a report: each section's query is asked, of one snapshot of the trails, and its rows are counted.

Rows are read as they come and only the first few are kept, so that what a report needs is bounded by what a query may
use (`indelible.query.engine.connection.Caps`), however long the trail is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final, NamedTuple

from indelible.query.engine.asking import Asked
from indelible.query.report import marks, sections
from indelible.query.report.controls.base import Framework
from indelible.query.report.facts import VERIFIED, Fact, facts
from indelible.query.report.scope import Scope, moment
from indelible.query.report.sections import Aside, Section

WHOLE: Final = ("activity",)
"""Sections of which every row is kept: a chart of a period has all of it, and not many."""


class Table(NamedTuple):
    """A section and what its query gave."""

    section: Section
    rows: list[dict[str, Any]]
    """The first of them."""
    total: int
    """How many there are."""
    asides: list[tuple[Aside, int]]
    """What is to be said beside it, with its number; none of them is 0."""


def goes_back(held: Table, scope: Scope) -> bool:
    """Tell whether the trail holds anything from before a period."""
    oldest = held.rows[0]["oldest"]
    return oldest is not None and bool(oldest < moment(scope.since))


class Report(NamedTuple):
    """What a period came to."""

    scope: Scope
    summary: Table
    held: Table
    calls: list[Table]
    """The analyses of calls."""
    record: list[Table]
    """The analyses of the record itself."""

    @property
    def tables(self) -> list[Table]:
        """Every table but the two of one row."""
        return [*self.calls, *self.record]

    @property
    def goes_back(self) -> bool:
        """Whether the trail holds anything from before the period, so that what is new can be told."""
        return goes_back(self.held, self.scope)


class Shown(NamedTuple):
    """A fact, and its numbers."""

    fact: Fact
    numbers: dict[str, Any]


class Controls(NamedTuple):
    """What the trail shows of a framework's controls, in a period."""

    scope: Scope
    framework: Framework
    held: Table
    facts: dict[str, Shown]
    """By their names; without the one that is no query."""


Step = Callable[[], None]
"""Called after each query."""


def every_section(scope: Scope) -> list[Section]:
    """Return all that a report asks, in its order."""
    return [sections.summary(scope), sections.held(scope), *sections.sections(scope), *marks.marks(scope)]


def steps(scope: Scope) -> int:
    """Return how many queries a report asks."""
    return sum(1 + len(section.asides) for section in every_section(scope))


def facts_of(framework: Framework, scope: Scope) -> list[Fact]:
    """Return the facts that a framework's controls name, each once."""
    every = facts(scope)
    names = dict.fromkeys(name for control in framework.controls for name in control.facts)
    return [every[name] for name in names if name != VERIFIED]


def make_controls(asked: Asked, scope: Scope, framework: Framework, step: Step) -> Controls:
    """Return what the trail shows of a framework's controls. Raises SqlError, TrailError."""
    held = _table(asked, sections.held(scope), 1, step)
    found = {}
    for fact in facts_of(framework, scope):
        result = asked.query(fact.sql)
        [row] = result.rows
        found[fact.name] = Shown(fact, dict(zip(result.names, row, strict=True)))
        step()
    return Controls(scope, framework, held, found)


def make(asked: Asked, scope: Scope, limit: int, step: Step) -> Report:
    """Return the report; `limit` is how many rows of a section are kept, 0 all. Raises SqlError, TrailError."""

    def tables(wanted: list[Section]) -> list[Table]:
        return [_table(asked, section, limit, step) for section in wanted]

    summary, held = tables([sections.summary(scope), sections.held(scope)])
    return Report(scope, summary, held, tables(sections.sections(scope)), tables(marks.marks(scope)))


def _table(asked: Asked, section: Section, limit: int, step: Step) -> Table:
    result = asked.query(section.sql)
    rows = iter(result.rows)
    kept = list(islice(rows, None if section.name in WHOLE else limit or None))
    total = len(kept) + sum(1 for _ in rows)
    step()
    asides = [(aside, _number(asked, aside, step)) for aside in section.asides]
    found = [dict(zip(result.names, row, strict=True)) for row in kept]
    return Table(section, found, total, [(aside, number) for aside, number in asides if number])


def _number(asked: Asked, aside: Aside, step: Step) -> int:
    [(number,)] = asked.query(aside.sql).rows
    step()
    return int(number or 0)
