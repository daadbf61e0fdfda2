"""PagerDuty's events to a receiver: the key goes in the body, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pagerduty
import pytest

from indelible.alert_settings import parse_alerts
from indelible.alerting.channels.parts import format_of, sink_of
from indelible.alerting.channels.shapes import PagerDutyShape
from indelible.formats.record import Options
from indelible.sinks.base import Shipment, Sink, SinkUnavailable
from tests.unit.alerting.test_shapes import alert, record
from tests.unit.sinks.web_receivers import Asked, HttpReceiver, Reply, said

KEY = "R0123456789ABCDEF0123456789ABCDE"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    made = HttpReceiver(lambda _asked: said(202, {"status": "success", "dedup_key": "x"}))
    yield made
    made.stop()


def sink(receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> Sink:
    monkeypatch.setenv("PD_KEY", KEY)
    keys = {
        "type": "pagerduty",
        "url": f"{receiver.url}/v2/enqueue",
        "routing_key_env": "PD_KEY",
        "allow_private": True,
    }
    [channel] = parse_alerts({"channels": [keys]}).channels
    assert isinstance(format_of(channel.sink, "0"), PagerDutyShape)
    return sink_of(channel.sink)


def shipment(**changes: Any) -> Shipment:
    return Shipment(PagerDutyShape(Options()).render(record(alert(**changes))), 7, "a1")


def test_the_key_is_in_the_body_and_in_no_record(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sink(receiver, monkeypatch)
    made.open()
    shipments = [shipment(), shipment(state="resolved")]
    assert made.send(shipments).taken == 2
    made.close()
    bodies = [json.loads(one.body) for one in receiver.asked]
    assert [one["routing_key"] for one in bodies] == [KEY, KEY]
    assert [one["event_action"] for one in bodies] == ["trigger", "resolve"]
    assert len({one["dedup_key"] for one in bodies}) == 1
    assert {one.path for one in receiver.asked} == {"/v2/enqueue"}
    assert all(KEY.encode() not in one.record for one in shipments)
    assert all("authorization" not in {name.lower() for name in one.headers} for one in receiver.asked)


def test_it_is_left_alone_for_as_long_as_it_asks(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.plan = lambda _asked: Reply(429, b"slow down", {"Retry-After": "17"})
    made = sink(receiver, monkeypatch)
    with pytest.raises(SinkUnavailable) as raised:
        made.send([shipment()])
    assert raised.value.retry_after == 17.0
    made.close()


def test_what_it_refuses_is_refused_once_it_takes_another_and_the_key_is_not_shown(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(asked: Asked) -> Reply:
        body = json.loads(asked.body)
        if "bad" in body.get("payload", {}).get("summary", ""):
            return said(400, {"message": f"Event object is invalid, routing_key {KEY}"})
        return said(202, {"status": "success"})

    receiver.plan = plan
    made = sink(receiver, monkeypatch)
    delivery = made.send([shipment(), shipment(summary="bad"), shipment()])
    assert delivery.taken == 3
    [(index, why)] = delivery.refused
    assert index == 1
    assert "400" in why
    assert KEY not in why, "it stands in a dead letter"
    receiver.plan = lambda _asked: said(401, {"message": f"no such key: {KEY}"})
    with pytest.raises(SinkUnavailable, match="401") as raised:
        made.send([shipment()])
    assert KEY not in str(raised.value)
    made.close()


def test_a_key_that_is_not_there_is_said_and_not_shown(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sink(receiver, monkeypatch)
    monkeypatch.delenv("PD_KEY")
    with pytest.raises(SinkUnavailable, match="routing_key_env: environment variable PD_KEY is not set"):
        made.open()
    made.close()
    assert receiver.asked == []


def test_the_requests_are_those_that_pagerduty_s_own_client_makes(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client is given what ours says, and puts it together by itself: place, key, action, severity, details."""
    made = sink(receiver, monkeypatch)
    made.open()
    made.send([shipment(), shipment(state="resolved")])
    made.close()
    ours = [json.loads(one.body) for one in receiver.asked]
    receiver.asked.clear()
    trigger, resolve = ours
    payload, said_apart = trigger["payload"], ("summary", "source", "severity", "custom_details")
    with pagerduty.EventsApiV2Client(KEY) as theirs:
        monkeypatch.setattr(theirs, "_url", receiver.url)  # by its own way in, it takes https:// alone
        theirs.trigger(
            payload["summary"],
            payload["source"],
            dedup_key=trigger["dedup_key"],
            severity=payload["severity"],
            custom_details=payload["custom_details"],
            payload={name: payload[name] for name in payload.keys() - set(said_apart)},
            links=trigger.get("links"),
        )
        theirs.resolve(resolve["dedup_key"])
    found = [json.loads(one.body) for one in receiver.asked]
    assert {(one.method, one.path) for one in receiver.asked} == {("POST", "/v2/enqueue")}
    own = {"client", "client_url"}  # optional, and its method has no words for them
    assert {name: value for name, value in trigger.items() if name not in own} == found[0]
    assert {name: resolve[name] for name in found[1]} == found[1]
