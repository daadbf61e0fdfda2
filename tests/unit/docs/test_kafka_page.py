"""The configurations on the page about Kafka are read as they stand, and mean what the page says of them."""

from __future__ import annotations

import yaml

from indelible import config
from indelible.sink_settings.kafka import KafkaSettings
from indelible.sinks.broker import troubles
from tests.unit.docs.pages import DOCS, blocks

PAGE = DOCS / "how-to" / "ship-to-kafka.md"


def shown() -> dict[str, KafkaSettings]:
    found = [
        config.parse(yaml.safe_load(block.text), where=block.name, env={}).audit.sinks
        for block in blocks(PAGE)
        if block.language == "yaml"
    ]
    return {sink.name: KafkaSettings.of(sink.own) for sinks in found for sink in sinks}


def test_each_service_is_shown_in_its_own_shape() -> None:
    sinks = shown()
    assert sorted(sinks) == ["confluent", "mcp-audit", "msk", "msk-mtls"]
    assert (sinks["mcp-audit"].brokers, sinks["mcp-audit"].tls) == (("localhost:9092",), None)
    ports = {name: {broker.rpartition(":")[2] for broker in sink.brokers} for name, sink in sinks.items()}
    assert ports == {"confluent": {"9092"}, "mcp-audit": {"9092"}, "msk": {"9096"}, "msk-mtls": {"9094"}}
    mechanisms = {name: sink.sasl.mechanism for name, sink in sinks.items() if sink.sasl is not None}
    assert mechanisms == {"confluent": "plain", "msk": "scram-sha-512"}
    assert all(sink.tls is not None for name, sink in sinks.items() if name != "mcp-audit")


def test_what_the_page_says_of_errors_is_what_is_said() -> None:
    text = PAGE.read_text()
    for name in ("UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED", "NOT_ENOUGH_REPLICAS"):
        assert f"| {troubles.said(name, 'x')} |" in text
