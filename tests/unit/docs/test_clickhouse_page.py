"""The pages about ClickHouse: its engine runs their SQL, configurations are read, tables are the code's."""

from __future__ import annotations

import re

import pytest
import yaml

from indelible import config
from indelible.sink_settings.clickhouse import ClickhouseSettings
from indelible.sinks.clickhouse.answers import HINTS
from indelible.sinks.clickhouse.columns import COLUMNS, GIVEN, INDEXES
from indelible.sinks.clickhouse.quoting import literal
from indelible.sinks.clickhouse.schema import REMEMBERED
from indelible.sinks.clickhouse.views import VIEWS
from tests.clickhouse import Engine, insert, shipments, stamped
from tests.trails import operation
from tests.unit.docs.pages import DOCS, blocks, codes, rows, section

HOW_TO = DOCS / "how-to" / "ship-to-clickhouse.md"
REFERENCE = DOCS / "reference" / "clickhouse.md"


def sql(*words: str) -> list[str]:
    """Return the statements on the page that begin with one of these words."""
    texts = [block.text for block in blocks(HOW_TO) if block.language == "text" and block.mark != "output"]
    return [one.strip() for text in texts for one in text.split(";\n") if one.strip().startswith(words)]


def test_every_column_is_documented_as_it_is() -> None:
    kinds = {(False, True): "sent", (True, True): "stored", (True, False): "read"}
    wanted = [(one.name, one.type, kinds[bool(one.expression), one.stored]) for one in COLUMNS]
    found = [cells for cells in rows(section(REFERENCE, "The table")) if len(cells) == 4]
    assert [(codes(cells[0])[0], codes(cells[1])[0], cells[2]) for cells in found] == wanted
    for column, cells in zip(COLUMNS, found, strict=True):
        assert not column.path or codes(cells[3])[0] == ".".join(column.path)
    text = section(REFERENCE, "The table")
    for said in (f"| {REMEMBERED} |", *(f"`{column}`" for _, column, kind in INDEXES if kind != "minmax")):
        assert said in text


def test_every_view_is_documented() -> None:
    assert [(codes(cells[0])[0], cells[1]) for cells in rows(section(REFERENCE, "Views"))] == [
        (view.name, view.about) for view in VIEWS
    ]


def test_what_the_page_asks_is_answered(clickhouse: Engine) -> None:
    clickhouse.create("indelible")
    insert(clickhouse, "indelible", shipments("indelible/00", *stamped(*map(operation, range(100)))))
    asked = sql("SELECT")
    assert len(asked) >= 5
    for one in asked:
        clickhouse.rows(one)
    [deletes] = sql("DELETE")
    [alters] = sql("ALTER")
    clickhouse.query(alters)
    assert clickhouse.rows("SELECT path FROM indelible.events WHERE seq = 7") == [{"path": "/srv/7"}]
    clickhouse.query(deletes.replace("indelible/00112233445566778899aabbccddeeff", "indelible/00"))
    assert clickhouse.rows("SELECT count() AS rows FROM indelible.events WHERE seq IN (41, 57)") == [
        {"rows": 0}
    ]
    clickhouse.query("DROP DATABASE indelible")


def test_who_may_what_parses_and_names_the_columns(clickhouse: Engine) -> None:
    granted = sql("CREATE USER", "GRANT")
    assert len(granted) == 4
    for one in granted:
        clickhouse.query(f"SELECT formatQuery({literal(one)})")
    assert f"GRANT INSERT({', '.join(GIVEN)}) ON indelible.events TO indelible" in granted


def test_each_service_is_shown_in_its_own_shape() -> None:
    found = [
        sink
        for block in blocks(HOW_TO)
        if block.language == "yaml"
        for sink in config.parse(yaml.safe_load(block.text), where=block.name, env={}).audit.sinks
    ]
    own = {sink.name: ClickhouseSettings.of(sink.own) for sink in found}
    assert sorted(own) == ["altinity", "clickhouse", "cloud", "house", "mxcp-logs"]
    assert {name: one.url.rpartition(":")[2] for name, one in own.items()} == {
        "clickhouse": "8123", "cloud": "8443", "altinity": "8443", "house": "8443", "mxcp-logs": "8443",
    }  # fmt: skip
    assert [name for name, one in own.items() if one.allow_private] == ["clickhouse", "house"]
    assert (own["mxcp-logs"].database, own["mxcp-logs"].table) == ("mxcp", "logs")


@pytest.mark.parametrize("code", re.findall(r"`(\d+ [A-Z_]+)`", section(HOW_TO, "When nothing arrives")))
def test_what_the_page_says_of_errors_is_what_is_said(code: str) -> None:
    number, _, name = code.partition(" ")
    assert HINTS[int(number)][0] == name
