"""A real rsyslog reads the header in front of CEF, LEEF and JSON, and what is behind it is the record as it was.

For RFC 3164 a receiver takes `CEF:` for the tag and the rest for the message: together they are the record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import cefp
import pytest

from indelible.formats.found import split_front
from indelible.formats.record import Record
from indelible.shipper.names import format_of
from indelible.sink_settings import SinkSettings
from indelible.sink_settings.syslog import SyslogSettings
from indelible.sinks.base import Shipment
from tests.integration.sinks.rsyslog import Rsyslog
from tests.integration.sinks.test_syslogd import sink_to
from tests.servers import running, until_taken
from tests.unit.formats import leefread
from tests.unit.formats.events import FORGED, ORIGIN, fits, line_of, with_text

CONFIG = """
global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharacterTab="off")
module(load="imudp")
module(load="imtcp")
template(name="parts" type="list" option.jsonf="on") {{
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="pri" name="pri" format="jsonf")
  property(outname="tag" name="syslogtag" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
}}
ruleset(name="parts") {{ action(type="omfile" file="{folder}/mcp-audit.jsonl" template="parts") }}
input(type="imudp" port="{udp}" address="127.0.0.1" ruleset="parts")
input(type="imtcp" port="{tcp}" address="127.0.0.1" ruleset="parts")
input(type="imtcp" port="{tls}" address="127.0.0.1" ruleset="parts")
"""


class Parting(Rsyslog):
    """Writes what it takes for header and message; a TAB stays one, which it is not without that setting."""

    def configuration(self) -> str:
        return CONFIG.format(folder=self.folder, udp=self.udp, tcp=self.tcp, tls=self.tls)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parting]:
    made = Parting(tmp_path_factory.mktemp("rsyslog"))
    with running(made):
        yield made


def rendered(format_: str) -> list[bytes]:
    own = SyslogSettings(address="siem.example")
    settings = SinkSettings(type="syslog", name="s", own=own, format=format_, max_bytes=8_000)
    made = format_of(settings, "1.0")
    lines = [line_of(with_text(text)) for text in FORGED]
    return [made.render(Record(line, ORIGIN)) for line in lines if fits(line)]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tcp lf"])
@pytest.mark.parametrize("format_", ["cef", "leef", "mxcp"])
def test_header_and_record_are_told_apart(server: Parting, format_: str, transport: str) -> None:
    server.forget()
    sent = rendered(format_)
    sink = sink_to(server, transport)
    until_taken(sink, [Shipment(record, number, str(number)) for number, record in enumerate(sent)])
    sink.close()
    found = server.wait_for(len(sent))
    assert len(found) == len(sent) > 40
    for got, record in zip(found, sent, strict=True):
        front, body = (part.decode() for part in split_front(record))
        assert got["pri"] == "132"
        if format_ == "mxcp":
            assert (got["host"], got["msgid"]) == (front.split(" ")[2], "ToolInvocationFailed")
            assert got["time"].startswith("2026-11-21T05:38:34.123456")
            assert json.loads(got["msg"]) == json.loads(body)
            continue
        assert got["host"] == front.split(" ")[-2]
        assert got["time"][4:19] == "-11-21T05:38:34"
        said = got["tag"] + got["msg"]
        if format_ == "cef":
            assert cefp.parse(said) == cefp.parse(body)
        else:
            assert leefread.read(said.encode()) == leefread.read(body.encode())
