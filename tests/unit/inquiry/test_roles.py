"""Roles: what each sees, and what a configuration cannot say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from indelible import config
from indelible.errors import ConfigError
from indelible.inquiry.roles import BUILT_IN, FIXED, check_roles, hidden_in, make_role
from indelible.inquiry_settings import BUILT_IN as BUILT_IN_NAMES
from indelible.inquiry_settings import TOOLS, InquirySettings, RoleSettings
from indelible.query.columns import COLUMNS, LOGS, view_columns
from indelible.query.filters import Filter
from tests.trails import Maker, operation
from tests.unit.inquiry.asking import AUDITOR, OPERATOR, ask, role


def parsed(text: dict[str, Any]) -> InquirySettings:
    return config.parse({"mcp": text}, where="x.yaml", env={}).mcp


def test_a_configuration_is_read() -> None:
    found = parsed(
        {
            "role": "payments",
            "roles": {"payments": {"tools": ["search"], "hide": ["args"], "limit": 7, "backends": ["pay"]}},
            "limit": 20, "max_answer_kb": 32, "timeout": "5s", "verify_timeout": "1h", "memory_mb": 100, "at_once": 1,
        }
    )  # fmt: skip
    assert found.roles["payments"] == RoleSettings(
        tools=("search",), hide=("args",), limit=7, backends=frozenset({"pay"})
    )
    assert (found.limit, found.max_answer_kb, found.timeout, found.verify_timeout) == (20, 32, 5.0, 3600.0)
    assert make_role(found, "payments").limit == 7


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"rolle": "x"}, "unknown key 'mcp.rolle'; did you mean 'role'?"),
        ({"roles": {"a": {"tool": ["search"]}}}, "a: unknown key 'tool'; did you mean 'tools'?"),
        ({"roles": {"a": {"tools": ["serch"]}}}, "a: tools: there is no tool 'serch'; did you mean 'search'?"),
        ({"roles": {"auditor": {}}}, "auditor: this role is built in"),
        ({"roles": {"a": {"users": []}}}, "a: users: expected a list of at least one text"),
        ({"roles": {"a": {"backends": "pay"}}}, "a: backends: expected a list of texts"),
        ({"roles": ["a"]}, "expected a mapping of roles' names"),
        ({"limit": 0}, "mcp.limit"),
        ({"limit": 10_001}, "mcp.limit: expected a number up to 10000"),
        ({"timeout": "0s"}, "mcp.timeout"),
        ({"max_answer_kb": 1}, "mcp.max_answer_kb"),
        ({"memory_mb": 1}, "mcp.memory_mb"),
        ({"at_once": 65}, "mcp.at_once"),
    ],
)
def test_what_means_nothing_is_an_error(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(said)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "name", "message"),
    [
        ({}, "auditr", "there is no role 'auditr'; did you mean 'auditor'?"),
        ({"a": RoleSettings(hide=("argz",))}, "a", "mcp.roles.a: hide: no column 'argz'; did you mean 'args'?"),
        ({"a": RoleSettings(hide=("seq",))}, "a", "seq cannot be hidden"),
        ({"a": RoleSettings(tools=TOOLS, hide=("args",))}, "a", "prove does not go with hide"),
    ],
)
def test_a_role_that_cannot_be_is_an_error(said: dict[str, RoleSettings], name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        make_role(InquirySettings(roles=said), name)


def test_every_role_of_a_configuration_is_checked() -> None:
    with pytest.raises(ConfigError, match="no column 'argz'"):
        check_roles(InquirySettings(roles={"a": RoleSettings(hide=("argz",))}))
    check_roles(InquirySettings())


def test_the_built_in_roles_are_those_that_cannot_be_redefined() -> None:
    assert tuple(BUILT_IN) == BUILT_IN_NAMES
    assert AUDITOR.sees_all
    assert set(AUDITOR.tools) == set(TOOLS)
    assert {"args", "result", "user_id", "error", "metadata"} <= OPERATOR.hidden
    assert not {"sql", "prove"} & set(OPERATOR.tools)


def test_who_names_no_tools_gets_none_that_shows_more() -> None:
    assert not {"sql", "prove"} & set(RoleSettings().tools)


def test_a_column_of_logs_goes_with_what_it_is_made_of() -> None:
    for name, _, of in LOGS:
        for column in COLUMNS:
            if column.name in of.replace("(", " ").replace(",", " ").split():
                assert name in hidden_in("logs", frozenset({column.name}))
    assert hidden_in("logs", frozenset({"args"})) == {"args", "input_json"}
    assert role(hide=("input_json", "reason")).hidden == {"args", "policy_reason"}


def test_what_is_hidden_is_no_column_of_a_role() -> None:
    mine = role(hide=("name",))
    assert not {"capability_name", "original_name"} & set(mine.columns())
    assert not {"name", "capability_name"} & set(mine.columns("logs"))
    assert set(FIXED) <= set(
        role(hide=tuple(name for name, _ in view_columns("events") if name not in FIXED)).columns()
    )


def test_a_filter_is_narrowed_and_never_widened() -> None:
    mine = role(users=frozenset({"ada", "bob"}), backends=frozenset({"pay"}))
    found = mine.narrowed(Filter(user=frozenset({"bob", "eve"})))
    assert found is not None
    assert found.user == {"bob"}
    assert found.backend == {"pay"}
    assert mine.narrowed(Filter(user=frozenset({"eve"}))) is None
    assert mine.narrowed(Filter(backend=frozenset({"other"}))) is None


def test_only_known_keys_are_seen(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    line = maker.add({**operation(1), "later": "secret", "target": {"backend": "files", "later": "secret"}})
    seen = AUDITOR.seen(line)
    assert seen is not None
    assert b"later" not in seen
    assert json.loads(seen)["target"] == {"backend": "files"}
    assert AUDITOR.seen(b'{"seq":1,"torn') is None


@pytest.mark.parametrize("tool", ["search", "statistics"])
def test_where_filters_do_not_meet_there_is_nothing(tool: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    Maker(path).add_many(3).seal()
    who = role(users=frozenset({"bob"}))
    found = ask(path, tool, who, user=["ada"])
    assert found.get("events", []) == []
    assert found.get("rows", [[0]]) == [[0]]
