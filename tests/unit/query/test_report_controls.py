"""Frameworks of controls: each control has an id of its framework's form, facts that exist, and what is not shown."""

import re
import string

import pytest

from indelible.cli.report import FRAMEWORK_NAMES
from indelible.query.report.controls.every import FRAMEWORKS
from indelible.query.report.facts import VERIFIED, Fact, facts
from indelible.query.report.making import every_section
from indelible.query.report.scope import Scope

SCOPE = Scope("2026-11-01T00:00:00.000000Z", "2026-11-21T00:00:00.000000Z")

IDS = {
    "soc2": r"CC[1-9]\.\d",
    "nist-800-53": r"[A-Z]{2}-\d{1,2}(\(\d{1,2}\))?",
    "pci-dss": r"10\.\d(\.\d){0,2}",
    "hipaa": r"164\.3(08|12|16)\([a-e]\)(\(\d\)(\([ivx]+\)(\([A-D]\))?)?)?",
    "eu-ai-act": r"Article \d{2}(\(\d\))?",
    "iso-27001": r"A\.[5-8]\.\d{1,2}",
}


def test_the_help_names_every_framework() -> None:
    assert re.split(r", | or ", FRAMEWORK_NAMES) == list(FRAMEWORKS) == list(IDS)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_controls_are_whole(name: str) -> None:
    framework, known = FRAMEWORKS[name], {*facts(SCOPE), VERIFIED}
    sections = {section.name for section in every_section(SCOPE)}
    ids = [control.id for control in framework.controls]
    assert len(ids) == len(set(ids)) >= 9
    for control in framework.controls:
        assert re.fullmatch(IDS[name], control.id), control.id
        assert set(control.facts) <= known
        assert control.facts
        assert set(control.sections) <= sections
        for text in (control.title, control.asks, control.not_shown):
            assert text.strip() == text != ""
        assert control.asks.endswith(".")
        assert control.not_shown.endswith(".")


def test_every_fact_is_of_some_control() -> None:
    used = {name for one in FRAMEWORKS.values() for control in one.controls for name in control.facts}
    assert used == {*facts(SCOPE), VERIFIED}


@pytest.mark.parametrize("fact", facts(SCOPE).values(), ids=lambda fact: fact.name)
def test_a_sentence_names_every_number_of_its_query(fact: Fact) -> None:
    named = {field for _, field, _, _ in string.Formatter().parse(fact.says) if field}
    last = fact.sql.rpartition(" FROM ")[0] if "(SELECT" not in fact.sql else fact.sql
    assert named == set(re.findall(r" AS ([a-z]+)(?:,| |$)", last)) - {"BIGINT", "DOUBLE"}


@pytest.mark.parametrize(
    "sql", [*(one.sql for one in every_section(SCOPE)), *(one.sql for one in facts(SCOPE).values())]
)
def test_a_shell_takes_a_query_between_double_quotes(sql: str) -> None:
    assert not set(sql) & set('"$`\\!\n')
    assert sql.isascii()
