"""Tiers of retention: what they say by themselves, and that nothing gets below their minimum."""

import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.cli.root import root
from indelible.config import Bound, Retention, Settings, parse
from indelible.errors import ConfigError
from indelible.retention_settings import CLASSES, TIERS, parse_retention, tier_rules
from indelible.trail.upkeep.keeping import ClassFacts, Closed, Facts, LookUp, describe_rules, judge
from indelible.trail.upkeep.orders import Retain
from indelible.values import DAY_S, parse_duration
from tests.effort import examples
from tests.trails import START_NS, Maker

YEAR = 366 * DAY_S


def configured(retention: object, **audit: object) -> Settings:
    text = yaml.safe_dump({"audit": {"retention": retention, **audit}})
    return parse(yaml.safe_load(text), where="x.yaml", env={})


def refused(retention: object, **audit: object) -> str:
    with pytest.raises(ConfigError) as caught:
        configured(retention, **audit)
    message = str(caught.value)
    assert message.startswith("x.yaml: audit.retention: ")
    assert "\n" not in message
    return message.removeprefix("x.yaml: audit.retention: ")


@pytest.mark.parametrize(
    ("name", "age", "minimum"),
    [("hobby", 90, 30), ("saas", 366, 90), ("hipaa", 7 * 366, 366), ("sox", 7 * 366, 7 * 366)],
)
def test_what_each_tier_says(name: str, age: int, minimum: int) -> None:
    assert tier_rules(name) == Retention(default=Bound(age=age * DAY_S), tier=name)
    assert TIERS[name].minimum == minimum * DAY_S
    assert tier_rules(name.upper()) == parse_retention({"tier": f" {name} "}) == parse_retention(name)


def test_years_are_long_enough_for_any_years_that_they_may_be() -> None:
    for first in range(1995, 2105):
        for years in (1, 7):
            calendar = date(first + years, 1, 1) - date(first, 1, 1)
            assert parse_duration(f"{years}y") >= calendar.total_seconds()


@pytest.mark.parametrize("word", ["90d", "12w", "2y", "1y30d", 7776000, "none", None])
def test_a_duration_is_no_tier_and_has_no_minimum(word: object) -> None:
    assert configured(word).audit.retention_rules.tier is None
    assert configured("1s").audit.retention_rules == Retention(default=Bound(age=1.0))


def test_a_tier_and_more() -> None:
    rules = configured({"tier": "saas", "age": "2y"}).audit.retention_rules
    assert rules == Retention(default=Bound(age=2 * YEAR), tier="saas")
    rules = configured({"tier": "saas", "classes": {"auth_rejected": "13w"}}).audit.retention_rules
    assert rules == Retention(
        default=Bound(age=YEAR), classes={"auth_rejected": Bound(age=91 * DAY_S)}, tier="saas"
    )
    both = configured({"tier": "saas", "age": "2y", "classes": {"alert": "1y"}}).audit.retention_rules
    assert both == Retention(default=Bound(age=2 * YEAR), classes={"alert": Bound(age=YEAR)}, tier="saas")
    rules = configured({"tier": "hobby", "default": {"age": "30d"}}).audit.retention_rules
    assert rules == Retention(default=Bound(age=30 * DAY_S), tier="hobby")


@pytest.mark.parametrize(
    ("retention", "said"),
    [
        ({"tier": "saas", "age": "89d"}, "89d is below what tier saas keeps 90d at least"),
        ({"tier": "hobby", "default": "29d"}, "29d is below what tier hobby keeps 30d at least"),
        ({"tier": "hipaa", "age": "365d"}, "365d is below what tier hipaa keeps 1y (366 days) at least"),
        ({"tier": "saas", "classes": {"alert": "4w"}}, "classes: alert: 28d is below what tier saas keeps 90d"),
        ({"tier": "saas", "classes": {"alert": "none"}}, "classes: alert: none leaves it to backup_count"),
        ({"tier": "saas", "age": "none"}, "none leaves it to backup_count"),
        ({"tier": "saas", "age": "1y", "size": "9GB"}, "a size may delete before the 90d that tier saas keeps"),
        ({"tier": "saas", "classes": {"alert": {"age": "2y", "size": "1GB"}}}, "classes: alert: a size may delete"),
        ({"tier": "sas"}, "hobby, saas, hipaa, sox; did you mean 'saas'?"),
        ("hippa", "did you mean 'hipaa'?"),
        ({"tier": 7}, "or a tier: hobby, saas, hipaa, sox"),
        ({"tier": None}, "or a tier"),
        ({"tier": "saas", "ages": "2y"}, "unknown key 'ages'; did you mean 'age'?"),
        ({"tier": "saas", "age": "2y", "default": "2y"}, "age beside a tier is the default's"),
        ("90000000y", "expected a duration of less than 30000 years"),
        (-1, "expected a duration that is not negative"),
        ("89 parsecs", "expected a duration"),
    ],
)  # fmt: skip
def test_what_is_below_or_no_tier_is_refused_in_one_line(retention: object, said: str) -> None:
    assert said in refused(retention)


def test_the_tiers_are_named_once() -> None:
    assert refused("nope").count("hipaa") == 1


def test_an_age_is_shown_as_the_configuration_has_it(tmp_path: Path) -> None:
    file = tmp_path / "indelible.yaml"
    file.write_text("audit:\n  path: audit.jsonl\n  retention: 1y\n")
    done = CliRunner().invoke(root, ["config", "check", "-c", str(file)], standalone_mode=False)
    assert "  retention: 1y\n" in done.stdout


AGES = st.none() | st.integers(0, 4000)


@settings(max_examples=examples(200))
@given(
    st.sampled_from(["hobby", "saas", "hipaa"]),
    AGES,
    st.dictionaries(st.sampled_from(CLASSES), AGES, max_size=4),
)
def test_whatever_is_accepted_keeps_everything_as_long_as_the_tier_says(
    tier: str, default: int | None, classes: dict[str, int | None]
) -> None:
    """Judged by the function that decides what goes: of no class is anything younger than the minimum let go."""
    value = {
        "tier": tier,
        "default": _days(default),
        "classes": {name: _days(age) for name, age in classes.items()},
    }
    try:
        rules = parse_retention(value)
    except ValueError:
        ages = [default, *classes.values()]
        assert any(age is None or age * DAY_S < TIERS[tier].minimum for age in ages)
        return
    assert isinstance(rules, Retention)
    now = datetime(2030, 1, 1, tzinfo=UTC)
    ended = (now - timedelta(seconds=TIERS[tier].minimum - 1)).isoformat()
    for name in CLASSES:
        facts = Facts(0, 9, 100, ended, {name: ClassFacts(10, 100, ended)})
        (verdict,) = judge([Closed(0, 9, ended, sealed=True)], rules, 0, now, _holding(facts), lambda _: None)
        assert not verdict.goes, name


def _holding(facts: Facts) -> LookUp:
    return lambda _file: facts


def _days(count: int | None) -> str:
    return "none" if count is None else f"{count}d"


def test_rules_in_words() -> None:
    assert describe_rules(tier_rules("hipaa")) == "7y, tier hipaa: 1y at least"
    rules = parse_retention({"tier": "saas", "age": "2y", "classes": {"alert": "90d"}})
    assert isinstance(rules, Retention)
    assert describe_rules(rules) == "2y (alert: 90d), tier saas: 90d at least"


def test_a_holder_of_another_version_understands_the_order() -> None:
    """An order with a tier is read by who knows none, and one without by who does."""
    data: dict[str, Any] = msgspec.to_builtins(Retain(retention=tier_rules("saas")))
    assert msgspec.convert(data, Retain).retention == tier_rules("saas")
    del data["retention"]["tier"]
    assert msgspec.convert(data, Retain).retention == Retention(default=Bound(age=YEAR))


# --- the commands ---------------------------------------------------------------------------------------------------

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return the command, beside a trail with closed files of 3 years, 200 days and 10 days."""
    maker = Maker(tmp_path / "audit.jsonl")
    for days in (1100, 1000, 200, 10):
        maker.clock = time.time() - START_NS / 1e9 - days * DAY_S
        if maker.seq > 1:
            maker.rotate(compress=days == 200)
        maker.add_many(5)
    maker.seal()
    config = tmp_path / "indelible.yaml"
    config.write_text(f"audit: {{path: {maker.layout.active}, retention: none, backup_count: 9}}\n")

    def command(*args: str) -> Result:
        return CliRunner().invoke(root, [*args, "-c", str(config)], standalone_mode=False)

    return command


@pytest.mark.parametrize(("tier", "goes"), [("hobby", 2), ("saas", 1), ("hipaa", 0), ("SOX", 0)])
def test_a_dry_run_shows_what_a_tier_would_delete(tier: str, goes: int, run: Run, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = run("retain", "--dry-run", "--tier", tier, "--json")
    assert result.return_value == 0, result.exception
    value = json.loads(result.stdout)
    assert (value["tier"], value["would_delete"]) == (tier.lower(), goes)
    assert [row["rule"] for row in value["files"]] == ["retention"] * 3
    assert value["retention"] == describe_rules(tier_rules(tier))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert f"{goes} of 3 closed files would be deleted" in run("retain", "--dry-run", "--tier", tier).stdout
    assert "0 of 3" in run("retain", "--dry-run").stdout


def test_a_tier_is_for_a_dry_run_and_must_be_one(run: Run) -> None:
    assert "--dry-run" in getattr(run("retain", "--tier", "saas").exception, "message", "")
    assert str(run("retain", "--dry-run", "--tier", "gold\n").exception).startswith("--tier: no tier 'gold\\n'")


def test_the_tier_shows(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "indelible.yaml"
    config.write_text(config.read_text().replace("retention: none", "retention: {tier: saas, age: 2y}"))
    said = "2y, tier saas: 90d at least"
    assert f"retention: {said}\n" in run("config", "check").stdout
    assert json.loads(run("config", "check", "--json").stdout)["audit"]["retention"]["tier"] == "saas"
    assert f"retention {said}" in run("status").stdout
    state = json.loads(run("status", "--json").stdout)
    assert (state["settings"]["retention"], state["settings"]["tier"]) == (said, "saas")


# --- a tier that asks for a locked copy -----------------------------------------------------------------------------


LOCK = {"object_lock": "compliance", "retention_days": 2562}


def store(name: str = "vault", **keys: object) -> dict[str, object]:
    """Return a sink as it stands in a file, one that fits unless `keys` say otherwise; None leaves a key out."""
    whole = {"intents": True, "start": "beginning"}
    found = {"type": "s3", "name": name, "bucket": "audit", "prefix": name, **LOCK, **whole, **keys}
    return {key: value for key, value in found.items() if value is not None}


ASKED = "tier sox needs a sink of type s3 with object_lock: compliance and retention_days: 2562 or more; "


NONE: dict[str, Any] = {"object_lock": None, "retention_days": None}


@pytest.mark.parametrize(
    ("sinks", "why"),
    [
        ([], "there is none"),
        ([{"type": "stderr", "name": "f"}], "there is none"),
        ([store(object_lock="governance")], "sink vault has object_lock: governance"),
        ([store(**NONE)], "sink vault has object_lock: none"),
        ([store(retention_days=2561)], "sink vault has retention_days: 2561"),
        ([store(filter={"status": "error"})], "sink vault has a filter, and so no copy of everything"),
        ([store(format="cef")], "sink vault has format: cef, and so no lines that can be verified"),
        ([store(filter={"events": "alert"})], "sink vault has a filter, and so no copy of everything"),
        ([store(intents=None)], "sink vault has intents: false, and so nothing of a call before it has ended"),
        ([store(start=None)], "sink vault has start: now, and so nothing of what was before it"),
        ([store(start="now", filter={"events": "all"})],
         "sink vault has start: now, and so nothing of what was before it"),
        ([store("a", retention_days=9), store("b", **NONE)],
         "sink a has retention_days: 9, sink b has object_lock: none"),
    ],
)  # fmt: skip
def test_sox_asks_for_a_copy_that_nobody_can_delete(sinks: list[dict[str, object]], why: str) -> None:
    assert refused("sox", sinks=sinks) == ASKED + why


def test_one_store_that_fits_is_enough_and_other_tiers_ask_for_none() -> None:
    assert configured("sox", sinks=[store("b", **NONE), store()]).audit.retention_rules.tier == "sox"
    configured("SOX", sinks=[store(filter={"events": "all"}, intents=None, object_lock="COMPLIANCE")])
    configured("hipaa")
    longer = {"tier": "sox", "classes": {"alert": "10y"}}
    assert "retention_days: 3660 or more" in refused(longer, sinks=[store()])
    configured(longer, sinks=[store(retention_days=3660)])


def test_a_copy_that_nobody_makes_is_none() -> None:
    for ship in ("off", False):
        found = refused("sox", sinks=[store()], ship=ship)
        assert found.startswith(
            "tier sox needs whoever records to see that its copy is made: audit.ship is off"
        )
    configured("sox", sinks=[store()], ship="thread")
    configured("hipaa", sinks=[store()], ship="off")


def test_a_profile_is_asked_as_the_rest_is() -> None:
    """What counts is what a profile comes to: it may bring the tier, and another one the sink."""
    data = {
        "audit": {"sinks": [store()]},
        "profiles": {
            "live": {"audit": {"retention": "sox"}},
            "bare": {"audit": {"retention": "sox", "sinks": []}},
        },
    }
    assert parse(data, where="x.yaml", env={}, profile="live").audit.retention_rules.tier == "sox"
    with pytest.raises(ConfigError, match="tier sox"):
        parse(data, where="x.yaml", env={}, profile="bare")
