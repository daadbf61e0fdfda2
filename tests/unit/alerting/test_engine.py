"""The engine against plain loops over all events, and against itself: in pieces, with restarts, with ticks between."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from indelible.alert_settings import RuleSettings
from indelible.alerting import memory
from indelible.alerting.engine import Engine
from indelible.alerting.words import FIRING, RESOLVED
from indelible.formats.record import Entry
from tests.effort import examples
from tests.trails import ORIGIN
from tests.unit.alerting.alerting import START, entry, own, run, settings, told

SECOND = 1_000_000
WINDOW_S = 6
"""A step is a tenth of a second."""
STEP = WINDOW_S * SECOND // 60


class One(NamedTuple):
    """An event of the model."""

    at: int
    user: str
    kind: str
    effects: str

    def entry(self, seq: int) -> Entry:
        return entry(seq, self.at, user=self.user, kind=self.kind, effects=self.effects)


def _events(gaps: Sequence[tuple[int, str, str, str]]) -> list[One]:
    at, found = 0, []
    for gap, user, kind, effects in gaps:
        at += gap
        found.append(One(at, user, kind, effects))
    return found


EVENTS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, SECOND), st.sampled_from([0, 1, STEP, 6 * SECOND, 13 * SECOND])),
        st.sampled_from(["ada", "bob"]),
        st.sampled_from(["completed", "tool_error", "denied"]),
        st.sampled_from(["read_only", "destructive"]),
    ),
    max_size=25,
).map(_events)

Holds = Callable[[list[One], list[One]], bool]
"""Whether a rule is so of the window's events, and of those of the window before."""


def _step(at: int) -> int:
    return (START + at) // STEP


def plain(
    events: Sequence[One], by: Callable[[One], str], counts: Callable[[One], bool], holds: Holds, quiet: int
) -> list[tuple[str, int]]:
    """Return what a rule tells, from its definition: every step of time, all events, again and again."""
    end = events[-1].at if events else 0
    groups: dict[str, list[One]] = defaultdict(list)
    firing: dict[str, int] = {}
    found = []

    def is_so(group: list[One], at: int) -> bool:
        now = [one for one in group if _step(at) - 60 < _step(one.at) <= _step(at)]
        before = [one for one in group if _step(at) - 120 < _step(one.at) <= _step(at) - 60]
        return holds(now, before)

    def look(upto: int, after: int) -> None:
        """Ask what fires at each step in a stretch of time."""
        for step in range(_step(after) + 1, _step(upto) + 1):
            at = step * STEP - START
            for key, last in list(firing.items()):
                if is_so(groups[key], at):
                    firing[key] = at
                elif at - last >= quiet:
                    del firing[key]
                    found.append((RESOLVED, at))

    before = 0
    for one in events:
        look(one.at, before)
        before = one.at
        if counts(one):
            key = by(one)
            groups[key].append(one)
            if is_so(groups[key], one.at):
                if key not in firing:
                    found.append((FIRING, one.at))
                firing[key] = one.at
    assert before == end
    return found


def _compare(rule: tuple[RuleSettings, ...], events: Sequence[One], expected: list[tuple[str, int]]) -> None:
    alerts = run(rule, (one.entry(seq) for seq, one in enumerate(events)))
    assert sorted((at, state) for _, state, at in told(alerts)) == sorted((at, state) for state, at in expected)


@effort(max_examples=examples(40))
@given(EVENTS, st.integers(0, 4), st.sampled_from([0, 1, 3]))
def test_an_actors_calls_are_those_of_a_plain_loop(events: list[One], over: int, quiet: int) -> None:
    rule = settings(actor_calls={"over": over, "window": WINDOW_S, "well_after": quiet, "most": 1000}).rules
    expected = plain(
        events, lambda one: one.user, lambda _: True, lambda now, _: len(now) > over, quiet * SECOND
    )
    _compare(rule, events, expected)


@effort(max_examples=examples(40))
@given(EVENTS, st.integers(1, 4), st.sampled_from([0, 20, 50]))
def test_the_error_rate_is_that_of_a_plain_loop(events: list[One], at_least: int, over: int) -> None:
    keys = {
        "over": over,
        "at_least": at_least,
        "window": WINDOW_S,
        "well_after": 0,
        "most": 1000,
        "by": "actor",
    }

    def holds(now: list[One], _before: list[One]) -> bool:
        failed = sum(one.kind != "completed" for one in now)
        return len(now) >= at_least and 100 * failed > over * len(now)

    _compare(
        settings(error_rate=keys).rules, events, plain(events, lambda one: one.user, lambda _: True, holds, 0)
    )


@effort(max_examples=examples(40))
@given(EVENTS, st.integers(1, 3))
def test_doubled_is_against_the_window_before(events: list[One], at_least: int) -> None:
    keys = {"factor": 2, "at_least": at_least, "window": WINDOW_S, "well_after": 0, "most": 1000}

    def holds(now: list[One], before: list[One]) -> bool:
        return len(now) >= at_least and len(now) >= 2 * len(before)

    expected = plain(events, lambda _: "all", lambda one: one.effects == "destructive", holds, 0)
    _compare(settings(destructive_doubled=keys).rules, events, expected)


@effort(max_examples=examples(40))
@given(EVENTS, st.integers(0, 3))
def test_denials_are_those_of_a_plain_loop(events: list[One], over: int) -> None:
    keys = {"over": over, "window": WINDOW_S, "well_after": 1, "most": 1000}
    expected = plain(
        events, lambda one: one.user, lambda one: one.kind == "denied", lambda now, _: len(now) > over, SECOND
    )
    _compare(settings(denials=keys).rules, events, expected)


@effort(max_examples=examples(40))
@given(EVENTS, st.integers(1, 3))
def test_a_rule_of_ones_own_is_that_of_a_plain_loop(events: list[One], over: int) -> None:
    rule = own(
        when=f"errors > {over}.0 && errors / count > 0.5", where="effects == 'destructive'", window="6s", by="actor",
        well_after=0, most=1000,
    )  # fmt: skip

    def holds(now: list[One], _before: list[One]) -> bool:
        failed = sum(one.kind != "completed" for one in now)
        return failed > over and failed / len(now) > 0.5

    expected = plain(events, lambda one: one.user, lambda one: one.effects == "destructive", holds, 0)
    _compare(rule, events, expected)


ALL = settings(
    actor_calls={"over": 2, "window": WINDOW_S, "well_after": 1, "resend": "1m"},
    error_rate={"over": 20, "at_least": 2, "window": WINDOW_S, "well_after": 0},
    denials={"over": 1, "window": WINDOW_S, "most": 2},
    first_destructive={},
    definition_changed={"well_after": 3},
    destructive_doubled={"at_least": 2, "window": WINDOW_S},
).rules


def _ids(alerts: Sequence[Any]) -> list[tuple[str, int, str]]:
    return [(one.event_id(ORIGIN), one.at, one.state) for one in alerts]


@effort(max_examples=examples(40))
@given(EVENTS, st.lists(st.integers(0, 40), max_size=6), st.lists(st.floats(0, 1), min_size=40, max_size=40))
def test_restarts_and_ticks_change_nothing(events: list[One], cuts: list[int], shares: list[float]) -> None:
    """What is live, with a clock of its own and restarts in between, tells what a replay in one go does."""
    whole = run(ALL, (one.entry(seq) for seq, one in enumerate(events)))
    engine, found, before = Engine(ALL, ORIGIN), [], 0
    for seq, one in enumerate(events):
        found += engine.advance(START + before + int(shares[seq] * (one.at - before)))
        if seq in cuts:
            kept = json.loads(json.dumps(engine.kept()))
            engine = Engine(ALL, ORIGIN)
            engine.restore(kept)
        found += engine.take(one.entry(seq))
        before = one.at
    assert sorted(_ids(found)) == sorted(_ids(whole))


@effort(max_examples=examples(40))
@given(EVENTS)
def test_what_fires_is_told_once_until_it_is_well(events: list[One]) -> None:
    alerts = run(ALL, (one.entry(seq) for seq, one in enumerate(events)))
    open_: set[tuple[str, str]] = set()
    for alert in alerts:
        matter = (alert.rule, alert.key)
        if alert.once or alert.times:
            continue
        assert (alert.state == FIRING) == (matter not in open_)
        open_ ^= {matter}
    assert len({one.event_id(ORIGIN) for one in alerts}) == len(alerts)


def test_no_rule_is_asked_about_an_alert() -> None:
    rules = own(when="count > 0.0", where="true", window="1s")
    assert run(rules, [entry(0, 0, event_type="alert")]) == []
    assert len(run(rules, [entry(0, 0)])) == 1


def test_first_use_is_of_an_actor_and_a_tool() -> None:
    rules = settings(first_destructive={"within": "1d", "well_after": 0}).rules
    day = 86_400 * SECOND
    uses = [
        (0, "ada", "rm"),
        (1, "ada", "rm"),
        (2, "ada", "mv"),
        (3, "bob", "rm"),
        (4 + day, "ada", "rm"),
        (5 + day, "bob", "ls"),
    ]
    entries = [
        entry(seq, at, user=user, tool=tool, effects="read_only" if tool == "ls" else "destructive")
        for seq, (at, user, tool) in enumerate(uses)
    ]
    assert [at for _, _, at in told(run(rules, entries))] == [0, 2, 3, 4 + day]


@pytest.mark.parametrize("user", ["ada\nBcc: x", "\x1b[31mred\x9b'\\", "\u202eevil", "`id`", "a'; $(id) --"])
def test_the_query_names_who_it_is_about_as_a_shell_reads_it(user: str) -> None:
    (alert,) = run(own(when="count > 0.0", by="actor"), [entry(0, 0, user=user)])
    assert alert.query is not None
    assert alert.query.isprintable()
    assert "`" not in alert.query  # of which Slack makes something else
    asked = alert.query.replace("indelible", "printf '%s\\0'", 1)
    shell = shutil.which("bash")
    assert shell is not None
    words = subprocess.run([shell, "-c", asked], capture_output=True, check=True).stdout.decode().split("\0")
    assert f"--user={user}" in words


def test_a_changed_definition_is_told_once_for_each_thing_that_it_becomes() -> None:
    rules = settings(definition_changed={"well_after": "1h"}).rules
    hour = 3600 * SECOND
    shas = [(0, "a"), (1, "b"), (2, "a"), (3, "b"), (3 + 2 * hour, "a")]
    entries = [
        entry(seq, at, event_type="tool_definition_changed", target={"tool_sha256": sha})
        for seq, (at, sha) in enumerate(shas)
    ]
    assert told(run(rules, entries)) == [("definition_changed", FIRING, at) for at in (0, 1, 3 + 2 * hour)]


def test_more_alerts_than_an_hour_may_have_are_counted_and_told() -> None:
    rules = settings(first_destructive={"most": 3}).rules
    hour = 3600 * SECOND
    entries = [entry(seq, seq, tool=f"t{seq}", effects="destructive") for seq in range(10)]
    alerts = run(rules, [*entries, entry(10, 2 * hour, tool="last", effects="destructive")])
    assert [one.at - START for one in alerts] == [0, 1, 2, 2 * hour]
    assert [one.suppressed for one in alerts] == [0, 0, 0, 7]


def test_it_is_told_again_while_it_lasts_when_that_is_asked_for() -> None:
    rules = settings(actor_calls={"over": 0, "window": WINDOW_S, "well_after": 0, "resend": "1m"}).rules
    entries = [entry(seq, seq * SECOND) for seq in range(150)]
    alerts = run(rules, [*entries, entry(150, 300 * SECOND)])
    assert [(one.state, one.times) for one in alerts] == [
        (FIRING, 0), (FIRING, 1), (FIRING, 2), (RESOLVED, 2), (FIRING, 0),
    ]  # fmt: skip
    assert len({one.event_id(ORIGIN) for one in alerts}) == 5


def test_memory_is_bounded_whoever_calls(monkeypatch: Any) -> None:
    monkeypatch.setattr(memory, "MAX_SUBJECTS", 50)
    monkeypatch.setattr(memory, "MAX_FIRING", 20)
    monkeypatch.setattr(memory, "MAX_SEEN", 30)
    rules = settings(
        actor_calls={"over": 1, "window": WINDOW_S}, first_destructive={"most": 1000, "well_after": 0}
    ).rules
    engine = Engine(rules, ORIGIN)
    for seq in range(1000):
        engine.take(entry(seq, seq, user=f"u{seq // 2}", effects="destructive"))
        engine.take(entry(seq, seq, user="steady", effects="read_only"))
    calls, first = engine.states["actor_calls"], engine.states["first_destructive"]
    assert len(calls.windows) <= 50
    assert len(calls.firing) <= 20
    assert len(first.seen) <= 30
    assert calls.forgotten > 0
    assert first.forgotten > 0
    assert calls.suppressed > 0
    steady = max(calls.windows.values(), key=lambda window: window.now.events)
    assert steady.now.events == 1000, "who calls all the time is never forgotten for those who come once"


def test_what_is_looked_for_fires_and_is_well_again() -> None:
    rules = settings(sink_behind={"well_after": "1m"}).rules
    engine = Engine(rules, ORIGIN)
    looks = [(0, "behind"), (10, "behind"), (20, ""), (75, ""), (200, "")]
    found = [
        alert
        for at, trouble in looks
        for alert in engine.probe("sink_behind", "sink siem", START + at * SECOND, trouble, {"behind": at})
    ]
    assert told(found) == [
        ("sink_behind", FIRING, 0),
        ("sink_behind", RESOLVED, 75 * SECOND),
    ]


def test_what_is_kept_holds_no_name() -> None:
    engine = Engine(ALL, ORIGIN)
    for seq in range(20):
        engine.take(
            entry(seq, seq, user="somebody-special", tool="rm-special", kind="denied", effects="destructive")
        )
    assert "special" not in json.dumps(engine.kept())


def test_a_rule_that_counts_otherwise_begins_anew_and_what_fires_ends() -> None:
    engine = Engine(settings(actor_calls={"over": 1, "window": "1m"}).rules, ORIGIN)
    for seq in range(5):
        engine.take(entry(seq, seq))
    other = Engine(settings(actor_calls={"over": 1, "window": "2m", "well_after": 0}).rules, ORIGIN)
    other.restore(json.loads(json.dumps(engine.kept())))
    found = other.advance(START + 600 * SECOND)
    assert [one.state for one in found] == [RESOLVED]
