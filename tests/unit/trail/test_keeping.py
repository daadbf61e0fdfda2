"""Which closed files may go: the rule, against the same rule said event by event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import config
from indelible.config import KEEP_ALL, AuditSettings, Bound, Retention
from indelible.errors import ConfigError
from indelible.events import EventType
from indelible.trail.upkeep.keeping import NEVER_KEEP, ClassFacts, Closed, Facts, Verdict, describe_rules, judge
from indelible.values import DAY_S

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KINDS = ("mcp_operation", "mcp_operation_started", "auth_rejected", "alert", "file_opened", "erased")


def time(age: float) -> str:
    return (NOW - timedelta(seconds=age)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse(value: Any) -> Retention:
    settings = config.parse({"audit": {"retention": value}}, where="test", env={})
    return settings.audit.retention_rules


class Event:
    """One event: its type, its age in seconds, the bytes of its line."""

    def __init__(self, kind: str, age: float, size: int) -> None:
        self.kind, self.age, self.size = kind, age, size

    def __repr__(self) -> str:
        return f"{self.kind}/{self.age}s/{self.size}B"


def facts_of(first: int, events: list[Event]) -> Facts:
    classes = {}
    for kind in {event.kind for event in events}:
        own = [event for event in events if event.kind == kind]
        youngest = min(event.age for event in own)
        classes[kind] = ClassFacts(len(own), sum(event.size for event in own), time(youngest))
    return Facts(first, first + len(events) - 1, sum(event.size for event in events), time(0), classes)


def verdicts(
    held: list[list[Event]], rules: Retention, backup_count: int = 0, holds: dict[int, str] | None = None
) -> list[Verdict]:
    closed, by_first, first = [], {}, 0
    for events in held:
        closed.append(Closed(first, first + len(events) - 1, time(min(event.age for event in events)), True))
        by_first[first] = facts_of(first, events)
        first += len(events)
    order = [file.first for file in closed]

    def holder(file: Closed) -> str | None:
        return (holds or {}).get(order.index(file.first))

    return judge(closed, rules, backup_count, NOW, lambda file: by_first[file.first], holder)


def naive(
    held: list[list[Event]], rules: Retention, backup_count: int, holds: dict[int, str]
) -> list[tuple[bool, str]]:
    """Say the same from the definition: each event by itself."""
    found = []
    for at, events in enumerate(held):
        keepers = [event for event in events if event.kind not in NEVER_KEEP] or [
            Event("", min(event.age for event in events), 0)
        ]
        has_say, all_bound = False, True
        kept = False
        for event in keepers:
            name = "mcp_operation" if event.kind == "mcp_operation_started" else event.kind
            bound = rules.classes.get(name, rules.default)
            if bound == Bound():
                all_bound = False
                continue
            has_say = True
            mine = name if name in rules.classes else None
            newer = sum(
                other.size
                for later in held[at + 1 :]
                for other in later
                if (
                    CLASS.get(other.kind, other.kind)
                    if CLASS.get(other.kind, other.kind) in rules.classes
                    else None
                )
                == mine
            )
            by_age = bound.age is not None and event.age > bound.age
            by_size = bound.size is not None and newer >= bound.size
            kept = kept or not (by_age or by_size)
        if kept:
            found.append((False, "retention"))
        elif at in holds and ((has_say and all_bound) or len(held) - at > backup_count):
            found.append((False, "hold"))
        elif has_say and all_bound:
            found.append((True, "retention"))
        else:
            found.append((len(held) - at > backup_count, "backup_count"))
    return found


CLASS = {"mcp_operation_started": "mcp_operation"}
AGES = st.sampled_from([0.0, 10.0, 100.0, 1000.0])
EVENTS = st.builds(
    Event, st.sampled_from(KINDS), st.sampled_from([5.0, 50.0, 500.0, 5000.0]), st.integers(1, 9)
)
BOUNDS = st.builds(Bound, age=st.none() | AGES, size=st.none() | st.integers(0, 40))
RULES = st.builds(
    Retention,
    default=BOUNDS,
    classes=st.dictionaries(st.sampled_from(["mcp_operation", "auth_rejected", "alert"]), BOUNDS, max_size=3),
)


@given(
    st.lists(st.lists(EVENTS, min_size=1, max_size=5), max_size=6),
    RULES,
    st.integers(0, 4),
    st.dictionaries(st.integers(0, 5), st.just("h"), max_size=2),
)
def test_a_file_goes_when_no_event_of_it_is_kept(
    held: list[list[Event]], rules: Retention, backup_count: int, holds: dict[int, str]
) -> None:
    for events in held:  # when only a whole file's age is judged, it is that of its youngest event
        events.sort(key=lambda event: -event.age)
    judged_by_class = bool(rules.classes) or rules.default.size is not None
    if not judged_by_class:
        held = [[event for event in events if event.kind not in NEVER_KEEP] or events for events in held]
    found = verdicts(held, rules, backup_count, holds)
    assert [(one.goes, one.rule) for one in found] == naive(held, rules, backup_count, holds)


def test_none_is_the_count_alone() -> None:
    files = [[Event("mcp_operation", 0, 1)] for _ in range(5)]
    assert [one.goes for one in verdicts(files, parse("none"), 2)] == [True, True, True, False, False]


def test_retention_comes_before_the_count_in_both_ways() -> None:
    young, old = [Event("mcp_operation", 5, 1)], [Event("mcp_operation", 5 * DAY_S, 1)]
    found = verdicts([old, young, young, old], parse("1d"), 1)
    assert [one.goes for one in found] == [True, False, False, True]
    assert {one.rule for one in found} == {"retention"}


def test_a_hold_comes_before_everything() -> None:
    old = [Event("mcp_operation", 5 * DAY_S, 1)]
    for rules in (parse("1d"), parse("none")):
        found = verdicts([old, old], rules, 0, {0: "4f1a09c2d7be"})
        assert (found[0].goes, found[0].rule) == (False, "hold")
        assert found[0].why == "4f1a09c2d7be"
        assert found[1].goes


def test_what_cannot_be_read_or_dated_is_kept() -> None:
    files = [
        Closed(0, 9, "nonsense", True),
        Closed(10, 19, "2026-01-01T00:00:00", True),
        Closed(20, 29, "", True),
    ]
    assert not any(one.goes for one in judge(files, parse("0s"), 0, NOW, lambda _: None, lambda _: None))
    by_class = parse({"default": "0s", "classes": {"alert": "0s"}})
    found = judge([Closed(0, 9, time(9), True)], by_class, 0, NOW, lambda _: None, lambda _: None)
    assert [(one.goes, one.rule) for one in found] == [(False, "unreadable")]


def test_what_is_not_sealed_is_kept() -> None:
    found = judge([Closed(0, 9, time(9), False)], parse("0s"), 0, NOW, lambda _: None, lambda _: None)
    assert [(one.goes, one.rule) for one in found] == [(False, "unsealed")]


def test_keep_all_keeps_all() -> None:
    files = [[Event("mcp_operation", 1e9, 1)] for _ in range(5)]
    assert not any(one.goes for one in verdicts(files, KEEP_ALL, 0))


# --- the configuration ----------------------------------------------------------------------------------------------


def test_every_class_is_an_event_type_and_none_is_forgotten() -> None:
    never = {*NEVER_KEEP, "mcp_operation_started"}
    assert set(config.CLASSES) == set(get_args(EventType)) - never
    assert never - {"erased"} <= set(get_args(EventType))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("90d", "90d"),
        ("none", "none"),
        (None, "none"),
        ({"age": "36h", "size": "10GB"}, "36h or 10GB"),
        ({"size": "500 mb"}, "500MB"),
        ({"classes": {"auth_rejected": "365d"}}, "90d (auth_rejected: 365d)"),
        (
            {"default": "none", "classes": {"mcp_operation": {"age": "30d", "size": "1TB"}, "alert": "none"}},
            "none (alert: none, mcp_operation: 30d or 1024GB)",
        ),
    ],
)
def test_rules_are_read_and_shown(value: Any, said: str) -> None:
    assert describe_rules(parse(value)) == said


def test_what_keeps_everything_says_so() -> None:
    assert describe_rules(KEEP_ALL) == "for ever"


def test_the_default_is_90_days() -> None:
    assert AuditSettings().retention_rules == parse("90d")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("soon", "expected a duration"),
        ({"ages": "9d"}, "unknown key 'ages'; did you mean 'age'?"),
        ({"default": "9d", "class": {}}, "unknown key 'class'; did you mean 'classes'?"),
        ({"classes": ["alert"]}, "classes: expected a mapping"),
        ({"classes": {"auth_reject": "9d"}}, "'auth_reject' is no event type; did you mean 'auth_rejected'?"),
        ({"classes": {"file_opened": "9d"}}, "'file_opened' is no event type"),
        ({"classes": {"alert": {"size": "big"}}}, "classes: alert: expected a size such as 500MB or 10GB"),
        ({"size": True}, "expected a size"),
        ({"size": "99999999TB"}, "below 8 PB"),
        ({"age": "-1d"}, "expected a duration"),
    ],
)
def test_what_is_no_rule_is_one_clear_line(value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=r"test: audit\.retention: ") as caught:
        parse(value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
