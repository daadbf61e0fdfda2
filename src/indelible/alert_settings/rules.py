"""Rules: what is built in, with its thresholds, and what users write as CEL. Pure.

A built-in rule is on with its defaults unless it is switched off (``NAME: off``). What an expression of a user's own
rule may say is judged when the rules are made (`indelible.alerting.cel`), since that needs an optional package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from indelible.named_settings import parse_keys, parse_list, parse_name
from indelible.values import (
    DAY_S,
    Parser,
    nearest,
    one_of,
    parse_duration,
    parse_duration_or_none,
    parse_limit,
    parse_text,
    shown,
)

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error", "critical")
"""Rising. PagerDuty's words."""

By = Literal["all", "actor", "tool", "backend", "session"]
BY: Final[tuple[By, ...]] = ("all", "actor", "tool", "backend", "session")

MAX_RULES: Final = 64
"""Users' own rules: each is looked at for every event."""

MIN_WINDOW_S: Final = 1.0
MAX_WINDOW_S: Final = 7 * DAY_S
MAX_WITHIN_S: Final = 400 * DAY_S
MIN_INTERVAL_S: Final = 60.0
MAX_EXPRESSION_CHARS: Final = 1_000
MAX_NUMBER: Final = 1e12


class RuleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. Times are in seconds. A rule reads what concerns it."""

    name: str
    severity: Severity = "warning"
    window: float = 300.0
    """How far back it counts."""
    by: By = "all"
    """For each of what it counts by itself."""
    over: float = 0.0
    """It fires above this: a number of events, or a percentage."""
    factor: float = 2.0
    """So many times the window before."""
    at_least: int = 0
    """With fewer events in the window it says nothing."""
    within: float = 30 * DAY_S
    """What was seen this long ago, or later, is nothing new."""
    age: float = 900.0
    """How long the oldest event may wait for a sink."""
    every: float = 3600.0
    """How often it looks by itself."""
    lines: int = 200_000
    """How many lines one look at the proofs goes through at the most."""
    resend: float | None = None
    """While it lasts, the alert is given again this often; None: once."""
    well_after: float = 300.0
    """It is over when it has been well for so long; what happens again meanwhile is the same."""
    most: int = 30
    """So many alerts of it in an hour; what is more is counted and not told."""
    when: str = ""
    """Of a user's own rule: CEL over what the window has."""
    where: str = ""
    """Of a user's own rule: CEL over one event; empty: every call."""
    is_own: bool = False


def _window(value: object) -> float:
    seconds = parse_duration(value)
    if not MIN_WINDOW_S <= seconds <= MAX_WINDOW_S:
        raise ValueError("expected a duration from 1s to 7d")
    return seconds


def _within(value: object) -> float:
    seconds = parse_duration(value)
    if not DAY_S <= seconds <= MAX_WITHIN_S:
        raise ValueError("expected a duration from 1d to 400d")
    return seconds


def _every(value: object) -> float:
    seconds = parse_duration(value)
    if not MIN_INTERVAL_S <= seconds <= 30 * DAY_S:
        raise ValueError("expected a duration from 1m to 30d")
    return seconds


def _resend(value: object) -> float | None:
    seconds = parse_duration_or_none(value)
    if seconds is not None and seconds < MIN_INTERVAL_S:
        raise ValueError("expected a duration of at least 1m, or none")
    return seconds


def _number(value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value.strip().removesuffix("%"))
        except ValueError:
            value = None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER:
        return float(value)
    raise ValueError("expected a number that is not negative")


def _percent(value: object) -> float:
    found = _number(value)
    if found >= 100:
        raise ValueError("expected a percentage below 100, such as 5%")
    if 0 < found < 1 and "%" not in str(value):
        raise ValueError(f"expected a percentage such as 5%; write {found:g}% if you mean as little as that")
    return found


def _factor(value: object) -> float:
    found = _number(value)
    if found <= 1 or not math.isfinite(found):
        raise ValueError("expected a number above 1, such as 2")
    return found


def _expression(value: object) -> str:
    text = parse_text(value)
    if len(text) > MAX_EXPRESSION_CHARS:
        raise ValueError(f"expected an expression of at most {MAX_EXPRESSION_CHARS} characters")
    return text


COMMON_KEYS: Final[dict[str, Parser]] = {
    "severity": one_of(*SEVERITIES),
    "resend": _resend,
    "well_after": parse_duration,
    "most": parse_limit,
}
"""What every rule takes."""


class BuiltIn(NamedTuple):
    """A rule that is there without being written."""

    about: str
    """What it tells, for people."""
    keys: Mapping[str, Parser]
    """Its own keys."""
    defaults: Mapping[str, Any]


BUILT_IN: Final[dict[str, BuiltIn]] = {
    "destructive_doubled": BuiltIn(
        "destructive calls have doubled against the hour before",
        {"factor": _factor, "at_least": parse_limit, "window": _window, "by": one_of(*BY)},
        {"factor": 2.0, "at_least": 10, "window": 3600.0, "by": "all", "severity": "error"},
    ),
    "actor_calls": BuiltIn(
        "an actor makes more than 1,000 calls in a minute",
        {"over": _number, "window": _window},
        {"over": 1000.0, "window": 60.0, "by": "actor"},
    ),
    "error_rate": BuiltIn(
        "more than 5 % of a tool's calls fail",
        {"over": _percent, "at_least": parse_limit, "window": _window, "by": one_of(*BY)},
        {"over": 5.0, "at_least": 50, "window": 300.0, "by": "tool"},
    ),
    "first_destructive": BuiltIn(
        "an actor uses a destructive tool for the first time",
        {"within": _within},
        {"within": 30 * DAY_S, "by": "actor"},
    ),
    "definition_changed": BuiltIn(
        "a tool's definition has changed",
        {},
        {"by": "tool", "severity": "error", "well_after": 3600.0},
    ),
    "denials": BuiltIn(
        "more than 10 calls of an actor are denied in a minute",
        {"over": _number, "window": _window, "by": one_of(*BY)},
        {"over": 10.0, "window": 60.0, "by": "actor"},
    ),
    "sink_behind": BuiltIn(
        "a sink is 10,000 events or 15 minutes behind, or has refused events",
        {"over": _number, "age": parse_duration, "every": _every},
        {"over": 10_000.0, "age": 900.0, "every": 60.0, "severity": "error", "well_after": 60.0},
    ),
    "verification": BuiltIn(
        "the trail does not verify",
        {"every": _every, "lines": parse_limit},
        {"every": 3600.0, "lines": 200_000, "severity": "critical", "well_after": 0.0},
    ),
}
"""Name → rule."""

OWN_KEYS: Final[dict[str, Parser]] = {
    "name": parse_name,
    "when": _expression,
    "where": _expression,
    "window": _window,
    "by": one_of(*BY),
    **COMMON_KEYS,
}
"""What a user's own rule takes."""


def parse_rules(value: object) -> tuple[RuleSettings, ...]:
    """Return the built-in rules that are on, with what is said of them."""
    if not isinstance(value, dict):
        raise ValueError(f"expected a mapping of rules, {', '.join(BUILT_IN)}, each to its thresholds, or off")
    for name in value:
        if name not in BUILT_IN:
            raise ValueError(f"no rule {shown(str(name))}{nearest(str(name), BUILT_IN)}")
    found = []
    for name, rule in BUILT_IN.items():
        given = value.get(name, {})
        if given is False or given == "off":
            continue
        given = {} if given is None or given is True else given
        if not isinstance(given, dict):
            raise ValueError(f"{name}: expected a mapping of thresholds, or off")
        try:
            values = {**rule.defaults, **parse_keys(given, {**COMMON_KEYS, **rule.keys})}
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
        found.append(RuleSettings(name=name, **values))
    return tuple(found)


def parse_own_rules(value: object) -> tuple[RuleSettings, ...]:
    """Return the rules that the user wrote. Raises ValueError, naming one by its place."""
    return parse_list(value, "rule", MAX_RULES, _own_rule)


def _own_rule(item: object) -> RuleSettings:
    if not isinstance(item, dict):
        raise ValueError("expected a mapping with 'name' and 'when'")
    values = parse_keys(item, OWN_KEYS)
    for key in ("name", "when"):
        if key not in values:
            raise ValueError(f"needs {key!r}")
    if values["name"] in BUILT_IN:
        raise ValueError(f"name: {values['name']} is built in; its thresholds are set under 'rules'")
    return RuleSettings(**values, is_own=True)
