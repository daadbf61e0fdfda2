"""What a process records, on its standard error: its own events, once, sealed; and nobody waits for it."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from indelible.compliance import compliance_sink
from indelible.events import RecorderId
from indelible.shipper import echo
from indelible.shipper.echo import Echo
from indelible.sink_settings import SinkSettings
from indelible.sinks.base import Shipment
from indelible.sinks.memory import MemorySink
from tests.recording import wait_for
from tests.trails import Body, Maker, operation

ME = RecorderId(id="library", uid=1, pid=os.getpid())
OTHERS = (
    RecorderId(id="library", uid=1, pid=os.getpid() + 1),
    RecorderId(id="library", uid=2, pid=os.getpid()),
    RecorderId(id="stdio:x", uid=1, pid=os.getpid()),
)


def settings() -> SinkSettings:
    found = compliance_sink({"MCP_COMPLIANCE_FORMAT": "jsonlines"})
    assert found is not None
    return found


def of(recorder: RecorderId, number: int, **changes: Any) -> Body:
    body = operation(number, **changes)
    body["source"]["recorder"] = {"id": recorder.id, "uid": recorder.uid, "pid": recorder.pid}
    return body


def seqs(sink: MemorySink) -> list[int]:
    return [json.loads(record)["indelible"]["seq"] for record in sink.records]


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "audit.jsonl").add_many(5).seal()


def test_its_own_events_that_are_sealed_in_order(maker: Maker) -> None:
    """Through rotation; none of others, no intents, none from before, and none that is not sealed."""
    sink = MemorySink()
    export = Echo(maker.layout, settings(), ME, sink)
    expected = []
    for number in range(40):
        expected.append(maker.seq)
        maker.add(of(ME, number))
        maker.add(of(OTHERS[number % 3], number, request__args={"pid": f'"pid":{os.getpid()}'}))
        maker.add(of(ME, number, event_type="mcp_operation_started", outcome=None))
        if number % 15 == 14:
            maker.rotate(compress=number == 29)
    expected.append(maker.seq)
    maker.add(
        of(ME, 50, event_type="mcp_server_state_changed", outcome=None, state={"from": "Ready", "to": "Failed"})
    )
    assert sink.records == [], "nothing of it is sealed"
    maker.seal()
    wait_for(lambda: len(sink.records) == len(expected))
    maker.add(of(ME, 51))
    maker.seal()
    export.close()
    assert seqs(sink) == [*expected, maker.seq - 1]
    export.close()


def test_of_a_service_everybodys(maker: Maker) -> None:
    sink = MemorySink()
    export = Echo(maker.layout, settings(), None, sink)
    for number, recorder in enumerate((ME, *OTHERS)):
        maker.add(of(recorder, number))
    maker.seal()
    export.close()
    assert len(sink.records) == 4


def test_who_takes_nothing_gets_it_later(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "RETRY_S", 0.01)
    sink = MemorySink()
    sink.room = 3
    export = Echo(maker.layout, settings(), ME, sink)
    for number in range(10):
        maker.add(of(ME, number))
    maker.seal()
    wait_for(lambda: len(sink.records) == 3)
    sink.room = None
    wait_for(lambda: len(sink.records) == 10)
    assert seqs(sink) == list(range(6, 16)), "each once, in order"
    export.close()


@pytest.mark.parametrize("how", ["full", "hangs"])
def test_what_is_not_out_at_the_end_is_counted_and_nobody_waits(
    maker: Maker, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    said: list[Shipment] = []

    class Stderr(MemorySink):
        def send(self, shipments: Any) -> Any:
            said.extend(shipments)
            return super().send(shipments)

    monkeypatch.setattr(echo, "make_sink", lambda _: Stderr())
    monkeypatch.setattr(echo, "CLOSE_S", 1.0)
    sink = MemorySink(timeout=60.0)
    sink.room = 2
    export = Echo(maker.layout, settings(), ME, sink)
    for number in range(2):
        maker.add(of(ME, number))
    maker.seal()
    wait_for(lambda: len(sink.records) == 2)
    sink.hangs, sink.room = how == "hangs", (None if how == "hangs" else 0)
    for number in range(7):
        maker.add(of(ME, number))
        maker.add(of(OTHERS[0], number))
    maker.seal()
    begun = time.monotonic()
    export.close()
    assert time.monotonic() - begun < 30, "a sink that would hang for a minute was not waited for"
    assert [one.record.decode() for one in said] == [
        "indelible: 7 events were recorded and not exported to standard error, which did not take them"
    ]


def test_what_is_refused_or_deleted_is_counted(
    maker: Maker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = MemorySink()
    sink.refuses = lambda shipment: "no" if shipment.seq % 2 else ""
    export = Echo(maker.layout, settings(), ME, sink)
    for number in range(4):
        maker.add(of(ME, number))
    maker.seal()
    with caplog.at_level(logging.WARNING, "indelible"):
        export.close()
    assert [record.getMessage()[:20] for record in caplog.records] == ["2 events were record"]


def test_recorders_of_one_process_share_one(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = MemorySink()
    monkeypatch.setattr(echo, "make_sink", lambda _: sink)
    one, two = echo.begin(maker.layout, settings(), ME), echo.begin(maker.layout, settings(), ME)
    other = echo.begin(maker.layout, settings(), OTHERS[2])
    assert one is two
    assert one is not other
    maker.add(of(ME, 1))
    maker.seal()
    one.close()
    maker.add(of(ME, 2))
    maker.seal()
    two.close()
    assert seqs(sink) == [6, 7]
    three = echo.begin(maker.layout, settings(), ME)
    assert three is not one
    three.close()
    other.close()
