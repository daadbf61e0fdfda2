"""Alerts over syslog to a receiver, as the sink of that type sends them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from indelible.alert_settings import parse_alerts
from indelible.alerting.channels.parts import format_of, sink_of, wanted
from indelible.sinks.base import Shipment
from tests.unit.alerting.test_shapes import HOSTILE, alert, record
from tests.unit.sinks.receivers import Receiver, by_lines, octet_counted


@pytest.mark.parametrize(("framing", "split"), [("octet", octet_counted), ("lf", by_lines)])
def test_each_alert_is_one_message(framing: str, split: Any) -> None:
    receiver = Receiver(framing=split)
    keys = {"type": "syslog", "address": receiver.address, "protocol": "tcp", "framing": framing}
    [channel] = parse_alerts({"channels": [keys]}).channels
    made, shape = sink_of(channel.sink), format_of(channel.sink, "0")
    records = [record(alert(summary=HOSTILE)), record(alert(state="resolved"))]
    try:
        made.open()
        shipments = [Shipment(shape.render(one), 7, "a") for one in records]
        assert made.send(shipments).taken == 2
        made.close()
    finally:
        receiver.stop()
    assert receiver.messages == [one.record for one in shipments]
    assert [re.match(rb"<(\d+)>1 ", one)[1] for one in receiver.messages] == [b"132", b"134"]  # type: ignore[index] # it matches


@pytest.mark.parametrize(
    ("keys", "is_wanted"),
    [
        ({}, True),
        ({"severity": "warning"}, True),
        ({"severity": "error"}, False),
        ({"rules": ["denials"]}, True),
        ({"rules": ["error_rate"]}, False),
        ({"rules": "denials", "severity": "critical"}, False),
    ],
)
def test_a_channel_gets_what_it_asks_for(keys: dict[str, Any], is_wanted: bool) -> None:
    [channel] = parse_alerts({"channels": [{"type": "syslog", "address": "h:514", **keys}]}).channels
    assert wanted(channel)(record(alert()).entry) is is_wanted
