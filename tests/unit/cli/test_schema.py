"""`indelible schema`: what is printed, and what cannot be."""

from __future__ import annotations

import json

import pytest

from indelible import cli
from indelible.cli.schema import SCHEMAS
from indelible.cli.schema import command as schema
from indelible.sinks.clickhouse.schema import Options, script


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert cli.main(["schema", *args]) == 0
    return capsys.readouterr().out


def test_without_a_name_those_are_listed_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys).splitlines()
    assert [line.split()[0] for line in lines] == list(SCHEMAS) == list(schema.commands)


def test_options_are_those_of_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "clickhouse") == script(Options())
    given = ("--database", "a`b", "--table", "c d", "--cluster", "{cluster}", "--ttl", "1h30m")
    assert printed(capsys, "clickhouse", *given) == script(Options("a`b", "c d", "{cluster}", 5400))


@pytest.mark.parametrize(
    ("ttl", "said"), [("90d", "90 DAY"), ("36h", "36 HOUR"), ("90s", "90 SECOND"), ("1.5m", "90 SECOND")]
)
def test_a_time_is_in_its_largest_unit(capsys: pytest.CaptureFixture[str], ttl: str, said: str) -> None:
    assert f"recorded_at + INTERVAL {said}," in printed(capsys, "clickhouse", "--ttl", ttl)


def test_as_json_each_statement_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "clickhouse", "--json", "--table", "t"))
    assert (found["database"], found["table"]) == ("indelible", "t")
    assert found["views"][0] == "t_operations"
    text = script(Options(table="t"))
    for statement in found["statements"]:
        assert f"{statement['sql']};\n" in text
    assert [one["makes"] for one in found["statements"]][:2] == ["database indelible", "table t"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("clickhouse", "--table", ""), "--table: expected a text"),
        (("clickhouse", "--table", "a\nDROP TABLE b"), "--table: expected a name"),
        (("clickhouse", "--database", "\u2028"), "--database: expected a name"),
        (("clickhouse", "--cluster", "\x1b[2J"), "--cluster: expected a name"),
        (("clickhouse", "--table", "x" * 129), "up to 128"),
        (("clickhouse", "--ttl", "soon"), "--ttl: expected a duration"),
        (("clickhouse", "--ttl", "0s"), "at least 1s"),
        (("clickhous",), "did you mean 'clickhouse'?"),
        (("clickhouse", "--tabel", "x"), "did you mean --table?"),
    ],
)
def test_what_cannot_be_is_one_line(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], says: str
) -> None:
    assert cli.main(["schema", *args]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
