"""What depends on the place of a value in an array: the value of a flag that stands in front of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.config import RedactionSettings
from tests.effort import examples
from tests.redacting import event, make

Args = Callable[[Any], Any]
R = "[REDACTED]"


@pytest.mark.parametrize(
    ("given_args", "kept"),
    [
        (["--password", "x"], ["--password", R]),
        (["mysql", "-u", "bob", "--password", "hunter2", "db"], ["mysql", "-u", "bob", "--password", R, "db"]),
        (["--api-key", "x", "--token", "y", "z"], ["--api-key", R, "--token", R, "z"]),
        (["-Password", "x"], ["-Password", R]),
        (["--dbPassword", "x"], ["--dbPassword", R]),
        (["--pin", 1234, 5], ["--pin", R, 5]),
        (["--pin", 12.5], ["--pin", R]),
        (["--ssn", "x", "y"], ["--ssn", R, "y"]),
        (["--password", "-9 lives"], ["--password", R]),
        (["--password", ""], ["--password", R]),
        # A flag is no value of the flag before it, and has a value of its own.
        (["--password", "--verbose", "x"], ["--password", "--verbose", "x"]),
        (["--password", "--token", "x"], ["--password", "--token", R]),
        (["--password", "-v", "x"], ["--password", "-v", "x"]),
        # Neither are constants, objects, and what is no flag.
        (["--password", None, "x"], ["--password", None, "x"]),
        (["--password", True], ["--password", True]),
        (["--password", ["x"]], ["--password", ["x"]]),
        (["--password"], ["--password"]),
        (["password", "x"], ["password", "x"]),
        (["--password=x", "y"], ["--password=[REDACTED]", "y"]),
        (["-- password", "x"], ["-- password", "x"]),
        (["-p", "x"], ["-p", "x"]),
        (["--max-tokens", "5", "--path", "a"], ["--max-tokens", "5", "--path", "a"]),
        (["--spring.token_count", "5"], ["--spring.token_count", "5"]),
    ],
)
def test_a_flag_and_its_value(given_args: Any, kept: Any, args: Args) -> None:
    assert args(given_args) == kept
    assert args({"command": "x", "args": given_args, "n": 1}) == {"command": "x", "args": kept, "n": 1}
    assert args(kept) == kept
    assert json.loads(args(json.dumps(given_args))) == kept


def test_configured_names_are_flags_too(args: Args) -> None:
    settings = RedactionSettings(unknown_schema="keep", keys=("employee id",), allow_keys=("reset_token",))
    body = json.loads(make(settings).redact(event(["--employee-id", "x", "--reset-token", "y"])))
    assert body["request"]["args"] == ["--employee-id", R, "--reset-token", "y"]


@given(st.sampled_from(["--password", "--client-secret", "-token", "--pwd", "--auth", "--db.pass"]),
       st.lists(st.text("abcxyz ./=:-", max_size=8)), st.text("QZW", min_size=8, max_size=12))  # fmt: skip
@settings(deadline=None, max_examples=examples(200))
def test_no_value_of_a_flag_is_left(flag: str, around: list[str], secret: str) -> None:
    for value in ([*around, flag, secret], [flag, secret, *around], {"a": {"b": [flag, secret]}}):
        assert secret.encode() not in REDACTOR.redact(event(value))


REDACTOR = make()
