"""The receivers' configurations in the pages, as they stand there: they parse, and fit what our sinks send."""

from __future__ import annotations

import configparser
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from indelible import config
from indelible.formats.record import Options, Record
from indelible.registry import make_format, make_sink
from indelible.sink_settings import SinkSettings
from indelible.sink_settings.http import HttpSettings
from indelible.sink_settings.syslog import SyslogSettings
from tests.trails import ORIGIN, Maker, operation
from tests.unit.docs.pages import DOCS, Block, blocks


def page(name: str) -> list[Block]:
    return blocks(DOCS / "how-to" / f"ship-to-{name}.md")


def texts(name: str, begins: str) -> list[str]:
    """Return the configurations of a receiver on its page: text blocks that begin so."""
    return [block.text for block in page(name) if block.language == "text" and block.text.startswith(begins)]


def sinks(name: str) -> list[SinkSettings]:
    found = [
        config.parse(yaml.safe_load(block.text), where=block.name, env={}).audit.sinks
        for block in page(name)
        if block.language == "yaml"
    ]
    return [sink for some in found for sink in some]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    maker = Maker(tmp_path_factory.mktemp("trail") / "audit.jsonl")
    return Record(maker.add(operation(7, request__args={"text": "a\nb"})), ORIGIN)


def rendered(format_: str, record: Record) -> bytes:
    return make_format(format_, Options()).render(record)


def conf(text: str) -> configparser.ConfigParser:
    """Read Splunk's form: keys keep their case, nothing is interpolated."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign] # as its documentation says to
    parser.read_string(text)
    return parser


def test_splunk(record: Record) -> None:
    monitor, props = (conf(text) for text in texts("splunk", "["))
    (stanza,), (sourcetype,) = monitor.sections(), props.sections()
    assert monitor[stanza]["sourcetype"] == sourcetype
    (file,) = (sink for sink in sinks("splunk") if sink.type == "file")
    assert Path(stanza.removeprefix("monitor://").rstrip("*")).name == file.own.words
    rules = props[sourcetype]
    events = re.split(rules["LINE_BREAKER"], (rendered(file.format, record) + b"\n").decode() * 3)
    assert len([event for event in events if event.startswith("{")]) == 3
    at = events[0].index(rules["TIME_PREFIX"]) + len(rules["TIME_PREFIX"])
    assert at < 20, "the event's own time comes first"
    shown = events[0][at : at + int(rules["MAX_TIMESTAMP_LOOKAHEAD"])].split('"')[0]
    splunks = rules["TIME_FORMAT"].replace("%6N", "%f").replace("%:z", "%z")
    assert moment(shown, splunks) == datetime.fromisoformat(record.entry.timestamp)


def test_elastic(record: Record) -> None:
    (text,) = texts("elastic", "filebeat.inputs:")
    beat: dict[str, Any] = yaml.safe_load(text)
    (source,) = beat["filebeat.inputs"]
    (file,) = [one for one in sinks("elastic") if one.type == "file"]
    assert source["type"] == "filestream"
    assert Path(source["paths"][0].rstrip("*")).name == file.own.words
    parser = source["parsers"][0]["ndjson"]
    found: Any = json.loads(rendered(file.format, record))
    for key in parser["document_id"].split("."):
        found = found[key]
    assert found == record.entry.event_id
    assert re.fullmatch(r"logs-[a-z.]+-[a-z]+", beat["output.elasticsearch"]["index"])


class Directive:
    """A directive of Fluentd's configuration, strictly: ``<name argument>``, ``key value``, ``</name>``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, str] = {}
        self.inner: dict[str, Directive] = {}


def fluent(text: str) -> Directive:
    stack = [Directive("")]
    for line in text.splitlines():
        word = line.strip()
        if opened := re.fullmatch(r"<([a-z]+)(?: (\S+))?>", word):
            inner = Directive(opened[1])
            assert opened[1] not in stack[-1].inner
            stack[-1].inner[opened[1]] = inner
            stack.append(inner)
        elif closed := re.fullmatch(r"</([a-z]+)>", word):
            assert stack.pop().name == closed[1]
        elif word:
            key, _, value = word.partition(" ")
            assert re.fullmatch(r"@?[a-z0-9_]+", key)
            assert value
            assert key not in stack[-1].values
            stack[-1].values[key] = value
    (root,) = stack
    return root.inner["source"]


def test_fluentd(record: Record) -> None:
    syslog, tail = (fluent(text) for text in texts("fluentd", "<source>"))
    over, file = sinks("fluentd")
    own = SyslogSettings.of(over.own)
    assert own.place[1] == int(syslog.values["port"])
    assert (own.framing, syslog.values["frame_type"]) == ("octet", "octet_count")
    assert (own.protocol, "transport" in syslog.inner) == ("tls", True)
    assert over.max_bytes < int(syslog.values["message_length_limit"])
    time = rendered("syslog", record).decode().split(" ")[1]
    expected = datetime.fromisoformat(record.entry.timestamp)
    assert moment(time, ruby(syslog.inner["parse"].values["rfc5424_time_format"])) == expected
    parse = tail.inner["parse"].values
    found = json.loads(rendered(file.format, record))
    assert moment(found[parse["time_key"]], ruby(parse["time_format"])) == expected
    assert Path(tail.values["path"]).name == file.own.words


def moment(text: str, time_format: str) -> datetime:
    return datetime.strptime(text, time_format)  # noqa: DTZ007 - the format is the page's, and has the zone


def ruby(time_format: str) -> str:
    """Return Python's form of Ruby's: fractions of any length are %N there."""
    return time_format.replace("%N", "%f")


@pytest.mark.parametrize(("name", "format_"), [("qradar", "leef"), ("arcsight", "cef")])
def test_receivers_that_count_lines_get_lines(name: str, format_: str, record: Record) -> None:
    (sink,) = sinks(name)
    own = SyslogSettings.of(sink.own)
    assert (sink.type, own.protocol, own.framing, sink.format) == ("syslog", "tls", "lf", format_)
    assert sink.max_bytes >= 4096
    assert b"\n" not in rendered(format_, record)


@pytest.mark.parametrize(
    ("name", "flavor", "format_"),
    [("splunk", "splunk_hec", "hangar"), ("elastic", "elasticsearch", "ecs"), ("loki", "loki", "hangar")],
)
def test_over_http(name: str, flavor: str, format_: str) -> None:
    """The pages' configurations make sinks that go to where those APIs are."""
    [sink] = [one for one in sinks(name) if one.type == "http"]
    own = HttpSettings.of(sink.own)
    assert (own.flavor, sink.format) == (flavor, format_)
    assert own.path == {
        "splunk_hec": "/services/collector/event",
        "elasticsearch": "/logs-indelible.audit-default/_bulk",
        "loki": "/loki/api/v1/push",
    }[flavor]  # fmt: skip
    make_sink(sink)
