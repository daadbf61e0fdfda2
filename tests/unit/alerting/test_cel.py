"""Expressions of users: judged before they are used, bounded in what they cost, and never in another rule's way."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.alert_settings import parse_alerts, parse_own_rules
from indelible.alerting import cel, rules
from indelible.alerting.cel import Condition
from indelible.alerting.engine import Engine
from indelible.alerting.facts import facts
from indelible.errors import ConfigError
from tests.unit.alerting.alerting import START, entry, own


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("when", "cuont > 3.0", "did you mean 'count'"),
        ("when", "count >", "line 1, column 8"),
        ("when", "count + 1 > 3.0", "does not coerce"),
        ("when", "count + 1.0", "expected true or false"),
        ("when", "nope(count)", "knows no function 'nope'"),
        ("when", "status == 'error'", "knows no 'status'"),
        ("where", "count > 1.0", "knows no 'count'"),
        ("where", "usr == 'a'", "did you mean 'user'"),
        ("where", "(" * 30 + "true" + ")" * 30, "nested deeper"),
        ("where", "!" * 40 + "true", "nested too deep"),
        ("where", "true ? true : " * 60 + "true", "nested too deep"),
        ("where", "[1].exists(x, [2].exists(y, y > x))", "more than one"),
        ("where", "roles.exists(r, nope == r)", "knows no 'nope'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(key: str, text: str, said: str) -> None:
    keys = {"when": "count > 0.0", key: text}
    with pytest.raises(ConfigError) as raised:
        rules.make(own(**keys))
    assert str(raised.value).startswith(f"alerts.own_rules: mine: {key}: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("name == 'read_file' && effects == 'read_only'", True),
        ("args.path.startsWith('/srv/')", True),
        ("args.nothing == 'x'", False),
        ("args.n > 3.5", True),
        ("args.deep.list.exists(x, x == 2.0)", True),
        ("roles.exists(r, r == 'admin')", True),
        ("'admin' in roles", True),
        ("latency_ms > 1.0 && latency_ms < 2.0", True),
        ("user.matches('^a.a$')", True),
        ("error == '' && tenant == ''", True),
        ("event_type == 'mcp_operation' && kind == 'completed'", True),
        ("has(args.path) && !has(args.other)", True),
    ],
)
def test_an_event_is_what_an_expression_sees(text: str, is_so: bool) -> None:
    condition = Condition("w", text, cel.EVENT_NAMES)
    one = entry(
        0, 0, args={"path": "/srv/a", "n": 4, "deep": {"list": [1, 2]}},
        source={"user_id": "ada", "roles": ["admin"]},
    )  # fmt: skip
    assert condition(cel.event_values(facts(one, START), condition.names)) is is_so
    assert condition.failures == 0


def test_every_name_is_there_for_every_event() -> None:
    one = facts(entry(0, 0, event_type="auth_rejected", outcome=None, target={}), START)
    values = cel.event_values(one, frozenset(cel.EVENT_NAMES))
    assert set(values) == set(cel.EVENT_NAMES)
    for name in cel.EVENT_TEXTS:
        assert isinstance(values[name], str), name
    for name in cel.EVENT_NUMBERS:
        assert isinstance(values[name], float), name


def test_a_failure_is_counted_and_stops_no_other_rule() -> None:
    both = parse_own_rules(
        [
            {"name": "bad", "when": "count > 0.0", "where": "args.n > 3.0"},
            {"name": "good", "when": "count > 2.0"},
        ]
    )
    engine = Engine(both)
    found = [one for seq in range(4) for one in engine.take(entry(seq, seq, args={"n": "text"}))]
    assert [one.rule for one in found] == ["good"]
    [(key, count, said)] = engine.rules[0].failures()
    assert (key, count) == ("where", 4)
    assert said


@given(st.text(max_size=1000))
def test_no_text_does_more_than_raise(text: str) -> None:
    try:
        made = Condition("w", text, cel.EVENT_NAMES)
    except ConfigError as exc:
        said = str(exc)
    else:
        said = ""
        made(cel.event_values(facts(entry(0, 0), START), made.names))
    assert "\n" not in said


@given(st.text(alphabet="([{}])!-?:.1a,'\" ", max_size=1000))
def test_no_nesting_overruns_the_parsers_stack(text: str) -> None:
    with_error: Any = None
    try:
        Condition("w", text, cel.EVENT_NAMES)
    except ConfigError as exc:
        with_error = exc
    assert with_error is None or len(str(with_error)) < 400


def test_without_the_package_only_rules_of_ones_own_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    assert rules.make(parse_alerts({}).rules)
    with pytest.raises(ConfigError, match=r"mine: when: needs the package .*indelible\[alerts\]"):
        rules.make(own(when="count > 1.0"))
