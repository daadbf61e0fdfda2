"""What `alerts` may say, and how what is wrong is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from indelible import config
from indelible.alert_settings import BUILT_IN, CHANNELS, parse_alerts
from indelible.cli.config import describe
from indelible.errors import ConfigError


def parsed(alerts: Any) -> config.Settings:
    return config.parse({"alerts": alerts}, where="f.yaml", env={})


def test_nothing_is_on_unless_it_is_said_and_an_empty_mapping_says_so() -> None:
    assert config.parse({}, where="f", env={}).alerts is None
    nothing: list[Any] = [None, {}]
    for empty in nothing:
        found = parsed(empty).alerts
        assert found is not None
        assert [rule.name for rule in found.rules] == list(BUILT_IN)
        assert found.channels == ()


HOOK = {"type": "webhook", "url": "https://h.example/x"}
MAIL = {"type": "email", "server": "mail.example", "from": "a@b.example", "to": "c@d.example"}


@pytest.mark.parametrize(
    ("alerts", "said"),
    [
        ({"rule": {}}, "unknown key 'rule'; did you mean 'rules'?"),
        ({"rules": {"actor_cals": {}}}, "no rule 'actor_cals'; did you mean 'actor_calls'?"),
        ({"rules": {"actor_calls": {"ovr": 3}}}, "rules: actor_calls: unknown key 'ovr'; did you mean 'over'?"),
        ({"rules": {"actor_calls": {"over": -1}}}, "over: expected a number that is not negative"),
        ({"rules": {"actor_calls": {"window": "8d"}}}, "window: expected a duration from 1s to 7d"),
        ({"rules": {"error_rate": {"over": "100%"}}}, "over: expected a percentage below 100"),
        ({"rules": {"error_rate": {"over": 0.05}}}, "over: expected a percentage such as 5%; write 0.05%"),
        ({"rules": {"destructive_doubled": {"factor": 1}}}, "factor: expected a number above 1"),
        ({"rules": {"denials": 3}}, "denials: expected a mapping of thresholds, or off"),
        ({"own_rules": [{"name": "x"}]}, "own_rules: rule 1: needs 'when'"),
        ({"own_rules": [{"name": "denials", "when": "true"}]}, "is built in"),
        ({"own_rules": [{"name": "x", "when": "a" * 1001}]}, "at most 1000 characters"),
        (
            {"own_rules": [{"name": "x", "when": "true"}, {"name": "X", "when": "true"}]},
            "another one is called",
        ),
        ({"channels": [{"type": "slak", "url": "https://h"}]}, "found 'slak'; did you mean 'slack'?"),
        ({"channels": [{"type": "slack"}]}, "channel 1: type slack needs 'url'"),
        ({"channels": [{"type": "slack", "url": "http://10.0.0.1/x"}]}, "plain text"),
        ({"channels": [{"type": "slack", "url": "https://10.0.0.1/x"}]}, "not a public address"),
        ({"channels": [{"type": "pagerduty"}]}, "needs 'routing_key_env' or 'routing_key_file'"),
        ({"channels": [HOOK, HOOK]}, "another one is called 'webhook', too"),
        ({"channels": [{**HOOK, "rules": ["denial"]}]}, "rules: no rule 'denial'; did you mean 'denials'?"),
        ({"channels": [{**HOOK, "severity": "fatal"}]}, "severity: expected info, warning, error or critical"),
        ({"channels": [{**MAIL, "to": "a@b.example\nBcc: x@y.example"}]}, "expected an address"),
        ({"channels": [{**MAIL, "to": "Ada <a@b.example>"}]}, "expected an address"),
        ({"channels": [{**MAIL, "security": "none"}]}, "plain text"),
        ({"channels": [{**MAIL, "username_env": "X"}]}, "needs password"),
        ({"channels": [{**MAIL, "server": "127.0.0.1"}]}, "not a public address"),
        ([], "expected a mapping"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(alerts: Any, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(alerts)
    text = str(raised.value)
    assert text.startswith("f.yaml: alerts: ")
    assert said in text
    assert "\n" not in text


def test_a_rule_can_be_switched_off_and_keeps_its_defaults_else() -> None:
    found = parse_alerts({"rules": {"denials": "off", "error_rate": False, "actor_calls": {"over": "50"}}})
    names = {rule.name: rule for rule in found.rules}
    assert "denials" not in names
    assert "error_rate" not in names
    assert (names["actor_calls"].over, names["actor_calls"].window, names["actor_calls"].by) == (
        50.0,
        60.0,
        "actor",
    )


def test_no_secret_of_a_channel_is_shown() -> None:
    settings = parsed(
        {
            "own_rules": [{"name": "x", "when": "count > 1.0"}],
            "channels": [
                {"type": "slack", "url": "https://hooks.slack.com/services/SECRET-PATH"},
                {**HOOK, "headers": {"X-Key": "SECRET-HEADER"}, "token_env": "T"},
                {"type": "pagerduty", "routing_key_file": "key"},
                {**MAIL, "username_env": "U", "password_env": "P"},
                {"type": "syslog", "address": "log.example:514"},
            ],
        }
    )
    assert settings.alerts is not None
    assert {one.type for one in settings.alerts.channels} == set(CHANNELS)
    shown = describe(None, settings)["alerts"]
    assert "SECRET" not in repr(shown)
    assert [one["type"] for one in shown["channels"]] == ["slack", "webhook", "pagerduty", "email", "syslog"]


def test_files_are_looked_for_beside_the_configuration() -> None:
    found = parse_alerts({"channels": [{"type": "pagerduty", "routing_key_file": "key"}]})
    own: Any = found.resolved(Path("/etc/indelible")).channels[0].sink.own
    assert own.routing_key.file == "/etc/indelible/key"
