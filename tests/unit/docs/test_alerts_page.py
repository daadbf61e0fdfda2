"""The page about alerts says what the code takes: every key, every default, every name, every bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from indelible import alert_settings
from indelible.alert_settings import (
    ALERT_KEYS,
    BUILT_IN,
    CHANNEL_KEYS,
    CHANNELS,
    COMMON_KEYS,
    OWN_KEYS,
    parse_alerts,
)
from indelible.alerting import cel, looking, memory, store, windows
from indelible.alerting.words import Alert, as_metadata
from tests.unit.docs.pages import ROOT, codes, rows, section

PAGE: Path = ROOT / "docs" / "reference" / "alerts.md"


def keys(heading: str) -> dict[str, list[str]]:
    return {named[0]: cells for cells in rows(section(PAGE, heading)) if (named := codes(cells[0]))}


def test_every_key_is_documented_and_none_is_invented() -> None:
    assert set(keys("`alerts`")) == set(ALERT_KEYS)
    assert set(keys("Every rule")) == set(COMMON_KEYS)
    assert set(keys("Rules of your own")) >= set(OWN_KEYS) - set(COMMON_KEYS)
    table = {codes(cells[0])[0] for cells in rows(section(PAGE, "Channels")) if codes(cells[0])}
    assert table - set(CHANNELS) == set(CHANNEL_KEYS)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_rules_keys_and_defaults_are_the_codes(name: str) -> None:
    cells = next(cells for cells in rows(section(PAGE, "Built-in rules")) if codes(cells[0]) == [name])
    assert set(BUILT_IN[name].keys) == {code for code in codes(cells[1]) if code in ALL_KEYS}
    rule = next(rule for rule in parse_alerts({}).rules if rule.name == name)
    assert codes(cells[2]) == [rule.severity]
    for key in BUILT_IN[name].keys:
        written = cells[1].partition(f"`{key}` (")[2].partition(")")[0]
        given: Any = {key: yaml.safe_load(written.removesuffix(" %"))}
        again = parse_alerts({"rules": {name: given}}).rules
        assert next(one for one in again if one.name == name) == rule, key


ALL_KEYS = {key for rule in BUILT_IN.values() for key in rule.keys}


def test_every_name_that_an_expression_may_use_is_documented() -> None:
    text = section(PAGE, "Rules of your own")
    named = {code for cells in rows(text)[5:] for code in codes(cells[1])}
    assert set(cel.EVENT_NAMES) <= named
    assert set(cel.WINDOW_NAMES) <= set(codes(text))
    for said in (
        f"at most {alert_settings.rules.MAX_EXPRESSION_CHARS:,} characters",
        f"up to {cel.MAX_DEPTH} deep",
    ):
        assert said in text


def test_every_key_of_a_channel_is_documented() -> None:
    text = section(PAGE, "Channels")
    for name, channel in CHANNELS.items():
        assert f"`{name}`" in text
        found = next(set(codes(cells[1])) for cells in rows(text) if codes(cells[0]) == [name])
        assert set(channel.keys) <= found, name


def test_what_an_alert_says_is_documented() -> None:
    alert = Alert(
        rule="x", state="firing", severity="info", at=1, key="k", since=1, seq=1, times=1, by="actor", window=1,
        numbers={"n": 1}, query="q", query_note="n", suppressed=1, once=True,
    )  # fmt: skip
    named = {code for cells in rows(section(PAGE, "The event")) for code in codes(cells[0])}
    assert named == set(as_metadata(alert, "o"))


def test_bounds_are_the_codes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for said in (
        f"{memory.MAX_SUBJECTS:,} windows a rule", f"{memory.MAX_FIRING:,} matters", f"{memory.MAX_SEEN:,} pairs",
        f"{windows.MAX_DISTINCT:,} different actors", f"{looking.LEARNT:,} events", store.NAME, store.SHOWN,
        f"at most {alert_settings.MAX_RULES}", f"at most {alert_settings.MAX_CHANNELS}",
    ):  # fmt: skip
        assert " ".join(said.split()) in " ".join(text.split()), said
