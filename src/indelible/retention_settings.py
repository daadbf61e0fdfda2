"""``audit.retention``: until when what is kept, by event class, and the tiers that bound it from below. Pure.

The rule that lives here: **under a tier nothing is kept for less than its minimum.** So a bound of less is refused, and
so are those that could delete earlier whatever they say: none at all (`backup_count` would decide) and a size.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from indelible.sink_settings import SinkSettings
from indelible.sink_settings.filters import SinkFilter, parse_filter
from indelible.sink_settings.s3 import S3Settings
from indelible.values import DAY_S, YEAR_S, age_text, nearest, parse_duration_or_none, parse_size, shown

CLASSES: Final = (
    "mcp_operation", "mcp_server_state_changed", "tool_definition_changed", "auth_rejected", "sampling", "elicitation",
    "audit_started", "audit_stopped", "entry_erased", "audit_gap", "audit_recovered", "clock_stepped",
    "config_reloaded", "key_rotated", "retention_applied", "hold_placed", "hold_released", "alert",
)  # fmt: skip
"""The classes that `retention` knows: event types, but for those that never keep a file (see `upkeep.keeping`)."""


class Tier(NamedTuple):
    """A named retention. Ages are seconds."""

    age: float
    """What is kept for how long when nothing else is said."""
    minimum: float
    """No bound may be below."""
    locked: bool = False
    """Whether it asks for a copy where nobody can delete it as long."""


TIERS: Final[Mapping[str, Tier]] = {
    "hobby": Tier(90 * DAY_S, 30 * DAY_S),
    "saas": Tier(YEAR_S, 90 * DAY_S),
    "hipaa": Tier(7 * YEAR_S, YEAR_S),
    "sox": Tier(7 * YEAR_S, 7 * YEAR_S, locked=True),
}

_RULES: Final = ("default", "classes")
_BOUND: Final = ("age", "size")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """Until when an event is kept: until it is older than `age` seconds, or newer ones of its class fill `size` bytes.

    Both None: nothing is kept for its sake.
    """

    age: float | None = None
    size: int | None = None


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept for how long, by event class: an event's type; an intent is of its outcome's class."""

    default: Bound = Bound()
    """For classes that are not named."""
    classes: Mapping[str, Bound] = msgspec.field(default_factory=dict)
    tier: str | None = None
    """The name of the tier that bounds it from below."""


KEEP_ALL: Final = Retention(default=Bound(age=float("inf")))
"""Nothing is ever due."""


def tier_rules(name: str) -> Retention:
    """Return what a tier says when nothing else is said. Raises ValueError, naming those that there are."""
    found = _tier(name)
    return Retention(default=Bound(age=TIERS[found].age), tier=found)


def parse_retention(value: object) -> Retention | float | None:
    """Return the rules of ``90d``, ``none``, ``saas``, ``{age: …, size: …}`` or ``{default: …, classes: {TYPE: …}}``.

    Both forms of a mapping may have a ``tier``, whose age is the default then. Raises ValueError.
    """
    if not isinstance(value, dict):
        return _word(value)
    tier = _tier(value["tier"]) if "tier" in value else None
    rules = _rules(value, tier)
    _check_minimum(rules)
    return rules


def _rules(value: dict[Any, Any], tier: str | None) -> Retention:
    """Return what a mapping says. `age` and `classes` go together only beside a tier, whose age the first replaces."""
    by_class = bool(value.keys() & set(_RULES))
    known = ("tier", *(_RULES if by_class else _BOUND), *(_BOUND if tier and "default" not in value else ()))
    for key in value:
        if tier and "default" in value and key in _BOUND:
            raise ValueError(f"{key} beside a tier is the default's: with `default`, put it there")
        if key not in known:
            raise ValueError(f"unknown key {shown(key)}{nearest(str(key), list(known))}")
    own = {key: value[key] for key in _BOUND if key in value}
    if "default" in value or own or (tier is None and not by_class):
        default = _bound(value.get("default", own))
    else:
        default = Bound(age=90 * DAY_S if tier is None else TIERS[tier].age)
    return Retention(default=default, classes=_classes(value.get("classes")), tier=tier)


def _word(value: object) -> Retention | float | None:
    """Return what a single word asks for: a duration, none, or a tier."""
    if isinstance(value, str) and value.strip().isalpha() and value not in ("none", "None"):
        return tier_rules(value)
    return parse_duration_or_none(value)


def _tier(value: object) -> str:
    name = value.strip().lower() if isinstance(value, str) else ""
    if name not in TIERS:
        near = nearest(name, TIERS) if difflib.get_close_matches(name, TIERS, n=1, cutoff=0.5) else ""
        raise ValueError(f"expected a duration such as 90d, none, or a tier: {', '.join(TIERS)}{near}")
    return name


def _classes(value: object) -> dict[str, Bound]:
    if not isinstance(value, dict | None):
        raise ValueError("classes: expected a mapping of event types")
    bounds = {}
    for name, bound in (value or {}).items():
        if name not in CLASSES:
            raise ValueError(f"classes: {shown(name)} is no event type{nearest(str(name), list(CLASSES))}")
        try:
            bounds[name] = _bound(bound)
        except ValueError as exc:
            raise ValueError(f"classes: {name}: {exc}") from None
    return bounds


def _bound(value: object) -> Bound:
    if not isinstance(value, dict):
        return Bound(age=parse_duration_or_none(value))
    for key in value:
        if key not in _BOUND:
            raise ValueError(f"unknown key {shown(key)}{nearest(str(key), list(_BOUND))}")
    age, size = value.get("age"), value.get("size")
    return Bound(age=parse_duration_or_none(age), size=None if size in (None, "none") else parse_size(size))


# --- what a tier asks for -----------------------------------------------------------------------------------------


def _check_minimum(rules: Retention) -> None:
    if rules.tier is None:
        return
    least = TIERS[rules.tier].minimum
    for where, bound in (
        ("", rules.default),
        *((f"classes: {name}: ", one) for name, one in rules.classes.items()),
    ):
        if bound.size is not None:
            raise ValueError(
                f"{where}a size may delete before the {age_text(least)} that tier {rules.tier} keeps at least"
            )
        if bound.age is None or bound.age < least:
            said = (
                "none leaves it to backup_count, and"
                if bound.age is None
                else f"{age_text(bound.age)} is below what"
            )
            raise ValueError(f"{where}{said} tier {rules.tier} keeps {_in_days(least)} at least")


def _in_days(seconds: float) -> str:
    """Return an age, with its days where it is said in years."""
    text, days = age_text(seconds), math.ceil(seconds / DAY_S)
    return f"{text} ({days} days)" if text.endswith("y") else text


def check_locked(rules: Retention, sinks: tuple[SinkSettings, ...], *, shipped: bool = True) -> None:
    """Raise ValueError when a tier asks for a locked copy of everything and no sink makes one that is kept as long.

    `shipped` is whether whoever records sees to it that sinks get anything at all.
    """
    if rules.tier is None or not TIERS[rules.tier].locked:
        return
    longest = max(bound.age or 0.0 for bound in (rules.default, *rules.classes.values()))
    days = math.ceil(longest / DAY_S)
    asked = f"tier {rules.tier} needs a sink of type s3 with object_lock: compliance and retention_days: {days} or more"
    stores = [(sink, sink.own) for sink in sinks if isinstance(sink.own, S3Settings)]
    reasons = [
        f"sink {sink.name} {why}" for sink, own in stores if (why := _lacks(sink, own, days)) is not None
    ]
    if len(reasons) == len(stores):
        raise ValueError(f"{asked}; {', '.join(reasons) or 'there is none'}")
    if not shipped:
        raise ValueError(
            f"tier {rules.tier} needs whoever records to see that its copy is made: audit.ship is off; take process or "
            "thread ('indelible ship' may run beside it)"
        )


def _lacks(sink: SinkSettings, own: S3Settings, days: int) -> str | None:
    """Return what a store lacks, None when it keeps a copy of everything so many days."""
    if own.object_lock != "compliance":
        return f"has object_lock: {own.object_lock}"
    if (own.retention_days or 0) < days:
        return f"has retention_days: {own.retention_days}"
    if sink.format != "indelible":
        return f"has format: {sink.format}, and so no lines that can be verified"
    if sink.filter not in (SinkFilter(), _ALL):
        return "has a filter, and so no copy of everything"
    if sink.filter != _ALL and not sink.intents:
        return "has intents: false, and so nothing of a call before it has ended"
    return None if sink.start == "beginning" else "has start: now, and so nothing of what was before it"


_ALL: Final = parse_filter({"events": "all"})
