"""Any event, in every format, through every framing: as many records arrive as were sent, each the very same bytes.

What a format makes of an event is judged in tests/unit/formats, by readers that others wrote; here it is shown that
these bytes arrive, alone and in order, so that what was judged there is what a receiver gets. Datagrams, lines and
counted octets, with the header in front that the sink puts there.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final

import cefp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.formats.found import read_found, split_front
from indelible.formats.record import Record
from indelible.registry import FORMATS, make_sink
from indelible.shipper.names import format_of
from indelible.shipper.shipper import options_of
from indelible.sink_settings.sinks import SinkSettings, parse_sinks
from indelible.sinks.base import Shipment, Sink
from tests.effort import examples
from tests.unit.formats import events, leefread
from tests.unit.formats.readers import JSON_FORMATS, OPERATIONS_ONLY, READERS, strict
from tests.unit.sinks.receivers import Receiver, by_lines, octet_counted

BATCH: Final = st.lists(events.records | events.operation_records | events.redacted, min_size=8, max_size=16)
DATAGRAM: Final = 60_000
"""What is larger is no matter of framing: it is cut by its format, or refused by the sink."""


class Way:
    """One framing: a sink, and what arrives."""

    def __init__(self, name: str) -> None:
        self.receiver: Receiver | None = None
        self.socket: socket.socket | None = None
        if name == "udp":
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.bind(("127.0.0.1", 0))
            self.socket.settimeout(60)
            keys = {"address": f"127.0.0.1:{self.socket.getsockname()[1]}"}
        else:
            self.receiver = Receiver(framing=octet_counted if name == "octet" else by_lines)
            keys = {"address": self.receiver.address, "protocol": "tcp", "framing": name}
        [self.settings] = parse_sinks([{"type": "syslog", "timeout": "60s", **keys}])
        self.sink: Sink = make_sink(self.settings)

    def through(self, records: list[bytes]) -> list[bytes]:
        """Return what arrives of records that are sent."""
        if self.socket is not None:
            return [self._datagram(record) for record in records]
        assert self.receiver is not None
        self.receiver.messages.clear()
        taken = self.sink.send([Shipment(record, number, "") for number, record in enumerate(records)])
        assert (taken.taken, taken.refused) == (len(records), ())
        self.sink.close()  # and it has read everything
        return list(self.receiver.messages)

    def _datagram(self, record: bytes) -> bytes:
        assert self.socket is not None
        taken = self.sink.send([Shipment(record, 0, "")])
        assert (taken.taken, taken.refused) == (1, ())
        return self.socket.recv(1 << 16)

    def stop(self) -> None:
        self.sink.close()
        if self.socket is not None:
            self.socket.close()
        if self.receiver is not None:
            self.receiver.stop()


@pytest.fixture(scope="module", params=["udp", "lf", "octet"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    made = Way(request.param)
    yield made
    made.stop()


def settings_for(way: Way, format_: str) -> SinkSettings:
    """Return the sink's settings with another format, and the limit of a datagram."""
    own = way.settings.own
    return SinkSettings(type="syslog", name="s", own=own, format=format_, max_bytes=DATAGRAM)


def assert_is_of(format_: str, body: bytes, record: Record) -> None:
    """Have somebody else's reader say which event a record is of."""
    if format_ == "cef":
        found = cefp.parse(body.decode())["extension"]
        assert (found["IndelibleMcpSeq"], found["IndelibleMcpLeaf"]) == (str(record.entry.seq), record.leaf)
    elif format_ == "leef":
        attributes = leefread.read(body).attributes
        assert (attributes["seq"], attributes["leaf"]) == (str(record.entry.seq), record.leaf)
    elif format_ in JSON_FORMATS:
        read = READERS[format_](strict(body))
        assert (read["seq"], read["leaf"]) == (record.entry.seq, record.leaf)


@pytest.mark.sampled
def test_what_is_sent_arrives_one_by_one_whatever_the_format(way: Way) -> None:
    made = {name: format_of(settings_for(way, name), "1.0") for name in FORMATS if name != "indelible"}

    @settings(max_examples=examples(5), deadline=None, suppress_health_check=list(HealthCheck))
    @given(BATCH)
    def each(records: list[Record]) -> None:
        for name, format_ in made.items():
            held = [
                one for one in records if one.entry.event_type == "mcp_operation" or name not in OPERATIONS_ONLY
            ]
            sent = [format_.render(one) for one in held]
            fitting = [(data, one) for data, one in zip(sent, held, strict=True) if len(data) <= DATAGRAM]
            got = way.through([data for data, _ in fitting])
            assert got == [data for data, _ in fitting], name
            for data, (_, record) in zip(got, fitting, strict=True):
                front, body = split_front(data)
                assert bool(front) == (name != "syslog")
                assert_is_of(name, body, record)
                found = read_found(data)
                assert found is not None
                assert (found.seq, found.leaf.hex()) == (record.entry.seq, record.leaf)

    each()


@pytest.mark.parametrize("name", ["cef", "mxcp", "ecs"])
def test_behind_the_header_stands_what_a_file_would_have(way: Way, name: str) -> None:
    [file] = parse_sinks([{"type": "file", "path": "x", "format": name}])
    headed, plain = format_of(settings_for(way, name), "1.0"), format_of(file, "1.0")
    assert options_of(file, "1.0").host == options_of(way.settings, "1.0").host
    for text in events.FORGED:
        record = Record(events.line_of(events.with_text(text)), events.ORIGIN)
        assert split_front(headed.render(record))[1] == plain.render(record)
