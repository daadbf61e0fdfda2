"""What answers of ClickHouse are read as, and what may be configured."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest

from indelible.errors import ConfigError
from indelible.registry import make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.clickhouse.answers import ABOUT_ROWS, HINTS, verdict
from indelible.sinks.web.answers import Fewer, NotNow, Verdict
from indelible.sinks.web.client import Answer
from tests.clickhouse import Engine, sink_keys

# --- codes ----------------------------------------------------------------------------------------------------


def test_codes_have_the_names_that_clickhouse_gives_them(clickhouse: Engine) -> None:
    ours = {**ABOUT_ROWS, **{code: name for code, (name, _) in HINTS.items()}}
    assert not ABOUT_ROWS.keys() & HINTS.keys()
    rows = clickhouse.rows(f"SELECT arrayJoin({list(ours)}) AS code, toString(errorCodeToName(code)) AS name")
    assert {row["code"]: row["name"] for row in rows} == ours


@pytest.mark.parametrize(
    "body", [b"", b"Code: ", b"Code: 99999999. DB::Exception: x", b"\xff\xfe", b"__exception__\r\n"]
)
@pytest.mark.parametrize("header", [None, "", "x", "-1", "27", "9" * 40, "²"])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_whatever_is_answered_something_is_said_of_it(status: int, header: str | None, body: bytes) -> None:
    headers = {"x-clickhouse-query-id": "q"} | (
        {} if header is None else {"x-clickhouse-exception-code": header}
    )
    is_no = status != 200 or body or header in ("27", "9" * 40)
    with pytest.raises((Fewer, NotNow), match=r"^it answers \d+") if is_no else contextlib.nullcontext():
        assert verdict(Answer(status, headers, body), 3) == Verdict(3)


def test_an_exceptions_frame_is_not_repeated() -> None:
    text = (
        b"Code: 60. DB::Exception: Received from x:9000. DB::Exception: Table d.t does not exist. (UNKNOWN_TABLE) "
        b"(version 24.8.4.13 (official build))\n"
    )
    with pytest.raises(NotNow) as caught:
        verdict(Answer(404, {"x-clickhouse-exception-code": "60"}, text), 1)
    assert str(caught.value).startswith("it answers 60 UNKNOWN_TABLE: ")
    assert "version" not in str(caught.value)
    assert "Table d.t does not exist" in str(caught.value)


# --- settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"format": "cef"}, "format: a sink of type clickhouse takes indelible"),
        ({"format": "mxcp"}, "table: indelible.events takes lines as they stand"),
        ({"url": "http://10.0.0.5:8123"}, "plain text"),
        ({"url": "https://10.0.0.5:8443", "allow_private": False}, "not a public address"),
        ({"url": "https://ch.example/?query=x"}, "expected no query in it"),
        ({"url": "https://u:p@ch.example/"}, "without credentials"),
        ({"settings": {"insert_distributed_sync": 0}}, "'insert_distributed_sync' is not to be set here"),
        ({"settings": {"wait_for_async_insert": 0}}, "'wait_for_async_insert' is not to be set here"),
        ({"settings": {"input_format_allow_errors_num": 9}}, "is not to be set here"),
        ({"settings": {"param_x": 9}}, "is no setting's name"),
        ({"settings": {"a&b": 9}}, "is no setting's name"),
        ({"settings": {"a": [1]}}, "expected a text or a number"),
        ({"settings": "a=1"}, "expected a mapping"),
        ({"headers": {"X-ClickHouse-Key": "x"}}, "take username_… and password_…"),
        ({"table": "a\nb"}, "printable"),
        ({"database": "x" * 129}, "128"),
        ({"password_env": "A", "password_file": "B"}, "not both"),
        ({"tabel": "x"}, "did you mean 'table'?"),
    ],
)
def test_settings_that_cannot_be(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_sinks([sink_keys("http://127.0.0.1:8123") | keys])
    assert says in str(caught.value)


def test_a_sink_of_another_type_is_not_taken_for_one() -> None:
    [other] = parse_sinks([{"type": "stderr"}])
    with pytest.raises((TypeError, ConfigError)):
        make_sink(msgspec.structs.replace(other, type="clickhouse"))
