"""Which closed files may go, and why the others are kept. Pure.

The rule that lives here: of hold, unshipped, retention and count, in this order, the first that has a say decides.

- A hold keeps every file that holds, or may hold, an event that it is about.
- What a sink has not taken is kept for it, within bounds (see `shipping.backlog`).
- Retention keeps a file while one of its events has not passed its own class's bound: as long as it is younger than
  `age`, unless newer closed files hold `size` bytes of its class already. When every event has passed a bound, the file
  goes. Where a class has no bound, retention has no say in the file beyond those that have one.
- The count keeps the newest `backup_count` files, and lets the others go.

What cannot be read is kept. `file_opened` and `audit_heartbeat` keep no file: the next file's first line says what the
first does, and erased lines hold nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

from indelible.config import Bound, Retention
from indelible.retention_settings import TIERS
from indelible.values import age_text, size_text

Rule = Literal["hold", "unshipped", "retention", "backup_count", "erasure", "unsealed", "unreadable"]

NEVER_KEEP: Final = frozenset({"file_opened", "audit_heartbeat", "erased"})
CLASS_OF: Final = {"mcp_operation_started": "mcp_operation"}
"""An intent is kept as its outcome is."""


class ClassFacts(msgspec.Struct, frozen=True):
    """The events of one type in a file."""

    count: int
    bytes: int
    """Of their lines, with the LF."""
    newest: str
    """The latest `recorded_at`."""


class Facts(msgspec.Struct, frozen=True):
    """What a closed file holds, by event type; `unknown` are lines that are no events."""

    first: int
    last: int
    bytes: int
    since: str
    """The earliest `timestamp`: a call may have been received long before it was recorded."""
    classes: dict[str, ClassFacts]


class Closed(NamedTuple):
    """A closed file, as far as it is known without reading it."""

    first: int
    last: int
    ended: str
    """When the next file was begun (`recorded_at`): no event in this one is younger. Empty when nobody can tell."""
    sealed: bool


class Verdict(NamedTuple):
    """What becomes of a closed file."""

    file: Closed
    rule: Rule
    why: str
    """A few words for people; of a hold, its id."""
    facts: Facts | None
    """What it holds, where that was looked at."""
    goes: bool = False


LookUp = Callable[[Closed], Facts | None]
"""What a file holds; None when it cannot be read."""

Holder = Callable[[Closed], str | None]
"""The id of a hold that a file is under; None for none."""


Needed = Callable[[Closed], str | None]
"""Why a file is kept for a sink; None when no sink needs it."""


def no_sink(_file: Closed) -> None:
    """Return None: nothing is shipped."""


def judge(
    closed: Sequence[Closed],
    rules: Retention,
    backup_count: int,
    now: datetime,
    look_up: LookUp,
    holder: Holder,
    needed: Needed = no_sink,
) -> list[Verdict]:
    """Return what becomes of each closed file, in the order given: oldest first."""
    newer: dict[str, int] = {}
    verdicts = []
    judged_by_class = bool(rules.classes) or rules.default.size is not None
    for at in range(len(closed) - 1, -1, -1):
        file = closed[at]
        facts = look_up(file) if judged_by_class and file.sealed else None
        counted = len(closed) - at <= backup_count
        if not file.sealed:
            verdict = Verdict(file, "unsealed", "no checkpoint covers all of it yet", None)
        elif judged_by_class and facts is None:
            verdict = Verdict(file, "unreadable", "it cannot be read", None)
        else:
            verdict = _judge_one(file, facts, rules, now, newer, counted=counted)
        if verdict.goes and (hold := holder(file)) is not None:
            verdict = Verdict(file, "hold", hold, facts)
        elif verdict.goes and (why := needed(file)) is not None:
            verdict = Verdict(file, "unshipped", why, facts)
        verdicts.append(verdict)
        for kind, about in (facts.classes if facts is not None else {}).items():
            name = _class(kind, rules)
            newer[name] = newer.get(name, 0) + about.bytes
    return verdicts[::-1]


def _judge_one(
    file: Closed,
    facts: Facts | None,
    rules: Retention,
    now: datetime,
    newer: Mapping[str, int],
    *,
    counted: bool,
) -> Verdict:
    """Ask retention, then the count."""
    unbound = False
    said = []
    for kind, newest in _youngest(file, facts).items():
        name = _class(kind, rules)
        bound = rules.classes.get(name, rules.default)
        if bound.age is None and bound.size is None:
            unbound = True
            continue
        passed = _passed(bound, newest, now, newer.get(name, 0))
        if passed is None:
            why = f"{kind} {newest}: {describe(bound)}" if kind else f"{describe(bound)}"
            return Verdict(file, "retention", why, facts)
        said.append(passed)
    if said and not unbound:
        return Verdict(file, "retention", f"all older than {', '.join(sorted(set(said)))}", facts, goes=True)
    why = "one of the newest" if counted else "not one of the newest"
    return Verdict(file, "backup_count", why, facts, goes=not counted)


def _class(kind: str, rules: Retention) -> str:
    """Return the class whose bound an event type has, and whose bytes count against it."""
    name = CLASS_OF.get(kind, kind)
    return name if name in rules.classes else ""


def _youngest(file: Closed, facts: Facts | None) -> dict[str, str]:
    """Return each event type in a file with the time of its youngest event; without facts, of everything together."""
    if facts is None:
        return {"": file.ended}
    kinds = {kind: about.newest for kind, about in facts.classes.items() if kind not in NEVER_KEEP}
    return kinds or {"": file.ended}


def _passed(bound: Bound, newest: str, now: datetime, newer: int) -> str | None:
    """Return which bound an event has passed, or None while it is kept."""
    if bound.size is not None and newer >= bound.size:
        return f"the newest {size_text(bound.size)}"
    if bound.age is not None:
        age = _age(newest, now)
        if age is not None and age > bound.age:
            return age_text(bound.age)
    return None


def _age(time: str, now: datetime) -> float | None:
    """Return a time's age in seconds, or None for what is no time, or has no zone: no writer's line."""
    try:
        return (now - datetime.fromisoformat(time)).total_seconds()
    except (ValueError, TypeError):
        return None


# --- words ----------------------------------------------------------------------------------------------------------


def describe(bound: Bound) -> str:
    """Return a bound as people read it."""
    parts = [] if bound.age is None else [age_text(bound.age)]
    parts += [] if bound.size is None else [size_text(bound.size)]
    return " or ".join(parts) or "none"


def keep_records(
    verdicts: Sequence[Verdict], look_up: LookUp, of_earlier: Callable[[Closed], bool]
) -> list[Verdict]:
    """Keep the records of erasures as long as an older file is kept in which lines were erased.

    `look_up` reads the file itself: by what is remembered of one, nothing goes. `of_earlier` tells whether records in
    a file are about an earlier trail that is still there: its lines say so as well. Without them nobody could tell who
    had that done, and `verify` would take it for an attack.
    """

    def has(verdict: Verdict, kind: str) -> bool:
        facts = look_up(verdict.file)
        return facts is None or kind in facts.classes

    found: list[Verdict] = []
    older: list[Verdict] = []
    for verdict in verdicts:
        why = ""
        if verdict.goes and has(verdict, "entry_erased"):
            if any(has(one, "erased") for one in older):
                why = "says who erased lines of an older file"
            elif of_earlier(verdict.file):
                why = "says who erased lines of an earlier trail"
        found.append(verdict._replace(goes=False, rule="erasure", why=why) if why else verdict)
        if not found[-1].goes:
            older.append(found[-1])
    return found


def describe_rules(rules: Retention) -> str:
    """Return rules as people read them: ``90d``, ``90d (auth_rejected: 365d)``, ``1y, tier saas: 90d at least``."""
    classes = ", ".join(f"{name}: {describe(bound)}" for name, bound in sorted(rules.classes.items()))
    said = describe(rules.default) + (f" ({classes})" if classes else "")
    if rules.tier is None or rules.tier not in TIERS:
        return said
    return f"{said}, tier {rules.tier}: {age_text(TIERS[rules.tier].minimum)} at least"
