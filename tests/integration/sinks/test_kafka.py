"""A real Kafka broker has what the kafka sink sent: byte for byte, in order, by every way in; and what it refuses.

What is read back is read by another client (aiokafka), and the partitions are judged by Java's own.
"""

from __future__ import annotations

import base64
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from indelible.registry import make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.base import NOTHING, Shipment, Sink, SinkUnavailable
from indelible.sinks.checks import CHECKS
from indelible.testing import Destination, check_sink
from tests.brokers import LISTENERS, PASSWORD, PATIENCE_S, USER, Broker, Relay, java_source
from tests.certificates import Authority
from tests.integration.ship.shipped import configure, run
from tests.servers import until_taken
from tests.trails import ORIGIN, Maker, operation
from tests.unit.docs.pages import DOCS, blocks

JAVA = Path(__file__).parents[2] / "judges" / "kafka" / "Partitions.java"
PAGE = DOCS / "how-to" / "ship-to-kafka.md"
SAYS_WITHIN_S = 5.0
names = (f"topic-{number}" for number in itertools.count())


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_USERNAME", USER)
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)


def sink_of(broker: Broker, name: str, **other: Any) -> Sink:
    settings = {
        "type": "kafka",
        "topic": name,
        "timeout": PATIENCE_S,
        **broker.client_settings("plaintext"),
        **other,
    }
    [sink] = parse_sinks([settings])
    return make_sink(sink)


def record(number: int, key: str = "", size: int = 200) -> Shipment:
    data = b'{"seq":%d,"x":"%b"}' % (number, base64.b64encode(os.urandom(size)))
    return Shipment(data, number, f"id-{number}", key, ORIGIN)


def sent(sink: Sink, batch: Sequence[Shipment]) -> list[tuple[int, str]]:
    """Send all of it; return what was refused."""
    try:
        sink.open()
        delivery = sink.send(batch)
    finally:
        sink.close()
    assert delivery.taken == len(batch)
    return list(delivery.refused)


def lines(maker: Maker) -> list[bytes]:
    return maker.layout.active.read_bytes().splitlines()


@pytest.mark.parametrize("listener", LISTENERS)
def test_the_lines_of_the_trail_arrive_byte_for_byte(broker: Broker, tmp_path: Path, listener: str) -> None:
    topic = broker.topic(next(names), partitions=3)
    maker = Maker(tmp_path / "a.jsonl")
    maker.add_many(
        300, lambda seq: operation(seq, source__session_id=f"s{seq % 7}", request__args={"t": "ü🦊\\u2028\n"})
    )
    maker.seal()
    configure(
        tmp_path, {"type": "kafka", "topic": topic, "start": "beginning", **broker.client_settings(listener)}
    )
    done = run(tmp_path, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert PASSWORD not in done.stdout
    found = broker.read(topic, listener)
    assert sorted(found, key=lambda one: one.seq) == [
        one._replace(value=line)
        for one, line in zip(sorted(found, key=lambda one: one.seq), lines(maker), strict=True)
    ]
    for one in found:
        assert one.headers["origin"] == ORIGIN.encode()
        assert one.headers["schema"] == b"1"
        assert one.headers["event_id"].decode() in one.value.decode()
        assert one.key == (f"s{one.seq % 7}".encode() if one.seq else None)
    for seqs in by_key(found).values():
        assert seqs == sorted(seqs)


def by_key(found: Sequence[Any]) -> dict[tuple[bytes | None, int], list[int]]:
    """Return the seqs of each key, in the order of its partition; each key has one."""
    kept: dict[tuple[bytes | None, int], list[int]] = {}
    for one in found:
        kept.setdefault((one.key, one.partition), []).append(one.seq)
    keys = [key for key, _ in kept if key is not None]
    assert len(keys) == len(set(keys))
    return kept


def test_a_key_goes_where_java_would_have_it(broker: Broker) -> None:
    partitions = 12
    topic = broker.topic(next(names), partitions=partitions)
    odd = ["ü", "ß🦊", "日本語", "\u2028", " ", "0", "a" * 1000, "\x00", "\x7f\x80\xff", "é" * 7]
    keys = [*odd, *(os.urandom(number % 23 + 1).hex() for number in range(5_000)), *map(str, range(4_990))]
    assert sent(sink_of(broker, topic), [record(at, key, 8) for at, key in enumerate(keys)]) == []
    coded = b"".join(base64.b64encode(key.encode()) + b"\n" for key in keys)
    wanted = [int(line) for line in java_source(JAVA, str(partitions), stdin=coded).split()]
    found = {one.seq: one.partition for one in broker.read(topic)}
    assert [found[at] for at in range(len(keys))] == wanted
    assert len(wanted) == 10_000


def test_the_other_strategies_and_an_empty_key(broker: Broker) -> None:
    partitions = 4
    spread: dict[str, list[int]] = {}
    for strategy in ("round_robin", "sticky", "hash"):
        topic = broker.topic(next(names), partitions=partitions)
        key = "" if strategy == "hash" else "one"
        sink = sink_of(broker, topic, partition_strategy=strategy, flush_batch_lines=25)
        assert sent(sink, [record(number, key) for number in range(100)]) == []
        found = broker.read(topic)
        assert len(found) == 100
        assert {one.key for one in found} == {key.encode() or None}
        spread[strategy] = [one.partition for one in sorted(found, key=lambda one: one.seq)]
    assert spread["round_robin"] == [number % partitions for number in range(100)]
    assert spread["sticky"] == [number // 25 for number in range(100)]
    assert set(spread["hash"]) <= set(range(partitions))


@pytest.mark.parametrize("compression", ["zstd", "gzip", "lz4", "snappy", "none"])
def test_every_compression_is_one_that_others_read(broker: Broker, compression: str) -> None:
    topic = broker.topic(next(names))
    batch = [record(number) for number in range(50)]
    assert sent(sink_of(broker, topic, compression=compression), batch) == []
    assert [one.value for one in broker.read(topic)] == [one.record for one in batch]


@pytest.mark.parametrize("acks", ["1", "0"])
def test_less_than_all_acknowledgements(broker: Broker, acks: str) -> None:
    topic = broker.topic(next(names))
    batch = [record(number) for number in range(50)]
    assert sent(sink_of(broker, topic, acks=acks), batch) == []
    deadline = time.monotonic() + PATIENCE_S
    while len(found := broker.read(topic)) < len(batch):
        assert time.monotonic() < deadline
    assert [one.value for one in found] == [one.record for one in batch]


# --- what is refused ------------------------------------------------------------------------------------------


def test_what_is_too_large_is_refused_alone_and_the_others_keep_their_order(broker: Broker) -> None:
    topic = broker.topic(next(names), partitions=2, config={"max.message.bytes": "20000"})
    batch = [record(number, f"k{number % 5}") for number in range(600)]
    for at in (0, 250, 251, 599):
        batch[at] = record(at, "k1", 30_000)
    sink = sink_of(broker, topic)
    refused = sent(sink, batch)
    assert [at for at, _ in refused] == [0, 250, 251, 599]
    assert {why for _, why in refused} == {
        "it is larger than what the topic takes (Broker: Message size too large)"
    }
    assert sent(sink, [record(number, "k1") for number in range(600, 700)]) == []
    found = broker.read(topic)
    assert len(found) == 696
    for (_, _), seqs in by_key(found).items():
        assert seqs == sorted(seqs)


@pytest.mark.parametrize("seed", range(3))
def test_of_many_under_way_when_the_client_breaks_each_arrives_once(broker: Broker, seed: int) -> None:
    """A refused request breaks it (gapless): what it does not give back then has arrived."""
    chance = random.Random(seed)
    topic = broker.topic(next(names), partitions=4, config={"max.message.bytes": "20000"})
    batch = [record(number, f"k{number % 50}") for number in range(10_000)]
    large = sorted(chance.sample(range(len(batch)), 2))
    for at in large:
        batch[at] = record(at, f"k{at % 50}", 30_000)
    sink = sink_of(broker, topic, flush_batch_bytes="60KB")
    assert [at for at, _ in sent(sink, batch)] == large
    found = broker.read(topic)
    assert sorted(one.seq for one in found) == [at for at in range(len(batch)) if at not in large]
    for seqs in by_key(found).values():
        assert seqs == sorted(seqs)


def test_a_batch_that_is_too_large_is_sent_in_smaller_ones(broker: Broker) -> None:
    topic = broker.topic(next(names), config={"max.message.bytes": "3000"})
    batch = [record(number, "k", 600) for number in range(120)]
    assert sent(sink_of(broker, topic, compression="none"), batch) == []
    assert [one.value for one in broker.read(topic)] == [one.record for one in batch]


def test_what_a_topic_does_not_take_goes_to_the_dead_letters(broker: Broker, tmp_path: Path) -> None:
    """A compacted topic takes no record without a key."""
    topic = broker.topic(next(names), config={"cleanup.policy": "compact"})
    maker = Maker(tmp_path / "a.jsonl").add_many(20)
    configure(
        tmp_path, {"type": "kafka", "topic": topic, "start": "beginning", **broker.client_settings("plaintext")}
    )
    done = run(maker.seal().layout.active.parent, "--once")
    assert done.returncode == 0, done.stderr
    assert "20 events taken, 1 refused; at event 21" in done.stdout
    assert [one.seq for one in broker.read(topic)] == list(range(1, 21))
    letters = (maker.layout.cursors / "dead-letter.jsonl").read_text().splitlines()
    assert len(letters) == 1
    assert "the topic does not take such a record" in letters[0]


def test_a_topic_that_takes_none_of_them_costs_no_record(broker: Broker) -> None:
    """As a compacted one does whose records have no key, until somebody sees it."""
    topic = broker.topic(next(names), config={"cleanup.policy": "compact"})
    sink = sink_of(broker, topic)
    batch = [record(number) for number in range(4)]
    for _ in range(2):
        with pytest.raises(
            SinkUnavailable, match="it refuses each of 4 records, and takes no other: "
        ) as raised:
            sent(sink, batch)
        assert raised.value.delivery == NOTHING
        assert raised.value.refuses
    broker.configure(topic, {"cleanup.policy": "delete"})
    assert sent(sink, batch) == []
    assert [one.value for one in broker.read(topic)] == [one.record for one in batch]
    broker.configure(topic, {"cleanup.policy": "compact"})
    assert [at for at, _ in sent(sink, [record(4), record(5)])] == [0, 1], "it has taken some just now"


def test_a_clock_that_is_wrong_refuses_no_record(broker: Broker) -> None:
    """Brokers take no time that is too far from theirs: that is nothing of the record's, and is put right."""
    topic = broker.topic(next(names), config={"message.timestamp.before.max.ms": "0"})
    sink = sink_of(broker, topic)
    batch = [record(number) for number in range(3)]
    with pytest.raises(SinkUnavailable) as raised:
        sent(sink, batch)
    assert raised.value.delivery == NOTHING
    assert str(raised.value) == "it does not take messages of this time: is this machine's clock right?"
    broker.configure(topic, {"message.timestamp.before.max.ms": "3600000"})
    until_taken(sink, batch)
    sink.close()
    assert [one.value for one in broker.read(topic)] == [one.record for one in batch]


def test_partitions_that_come_later_are_used(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined] # its stubs forget it

    monkeypatch.setattr("indelible.sinks.kafka.LOOK_S", 0.0)
    topic = broker.topic(next(names), partitions=1)
    sink = sink_of(broker, topic, partition_strategy="round_robin")
    until_taken(sink, [record(0)])
    broker.admin().create_partitions([NewPartitions(topic, 3)])[topic].result()
    deadline, number = time.monotonic() + PATIENCE_S, 1
    while {one.partition for one in broker.read(topic)} != {0, 1, 2}:
        assert time.monotonic() < deadline
        until_taken(sink, [record(number + at) for at in range(3)])
        number += 3
    sink.close()


# --- what goes wrong ------------------------------------------------------------------------------------------


def wrong(broker: Broker, cause: str, folder: Path) -> dict[str, Any]:
    """Return settings with one mistake."""
    scram = broker.client_settings("scram")
    mtls = broker.client_settings("mtls")
    other = str(Authority(folder, "somebody else").file)
    return {
        "password": {**scram, "sasl": {**scram["sasl"], "password_env": "HOME"}},
        "mechanism": {
            **broker.client_settings("plain"),
            "sasl": {**scram["sasl"], "mechanism": "scram-sha-256"},
        },
        "authority": {**scram, "tls": {"ca_file": other}},
        "no certificate": {**mtls, "tls": {"ca_file": str(broker.ca)}},
        "no tls": {"brokers": scram["brokers"]},
        "tls to none": {"tls": {"ca_file": str(broker.ca)}},
        "topic": {"topic": "nobody-made-this"},
        "absent": {"brokers": ["127.0.0.1:1"]},
        "name": {"brokers": ["nowhere.invalid:9092"]},
        "topic's name": {"topic": "..." + "x" * 240},
    }[cause]


SAID = {
    "password": "it refuses our user name, password or mechanism: Authentication failed",
    "mechanism": "it refuses our user name, password or mechanism: ",
    "authority": "its certificate is not accepted; look at tls: ca_file",
    "no certificate": "it refuses our certificate; look at tls: cert_file",
    "no tls": "it closed the connection; does it expect TLS, a certificate or a password there?",
    "tls to none": "it closed the connection; does it expect TLS, a certificate or a password there?",
    "topic": "there is no such topic",
    "absent": "127.0.0.1:1: nothing listens there",
    "name": "nowhere.invalid:9092: the name cannot be resolved",
}


@pytest.mark.parametrize("cause", SAID)
def test_each_cause_is_one_line_soon(
    broker: Broker, tmp_path: Path, cause: str, capfd: pytest.CaptureFixture[str]
) -> None:
    topic = broker.topic(next(names))
    sink = sink_of(broker, topic, timeout=SAYS_WITHIN_S, **wrong(broker, cause, tmp_path))
    with pytest.raises(SinkUnavailable) as raised:
        sink.open()
    said = str(raised.value)
    assert SAID[cause] in said
    assert said.isprintable()
    assert len(said) < 300
    assert not {PASSWORD, os.environ["HOME"]} & set(said.split())
    sink.close()
    assert capfd.readouterr() == ("", ""), "the client's own words are for nobody"


def test_a_password_that_is_put_right_is_used_without_a_restart(broker: Broker, tmp_path: Path) -> None:
    topic = broker.topic(next(names))
    settings = broker.client_settings("plain")
    file = tmp_path / "password"
    file.write_text("wrong\n")
    sasl = {"mechanism": "plain", "username_env": "KAFKA_USERNAME", "password_file": str(file)}
    sink = sink_of(broker, topic, **{**settings, "sasl": sasl})
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match="refuses our user name, password"):
            sink.open()
        sink.close()
    file.write_text(f"{PASSWORD}\n")
    assert sent(sink, [record(0)]) == []


def test_a_topic_that_is_deleted_and_made_again(broker: Broker) -> None:
    topic = broker.topic(next(names))
    sink = sink_of(broker, topic, timeout=2.0)
    sink.open()
    assert sink.send([record(0)]).taken == 1
    broker.admin().delete_topics([topic])[topic].result()
    batch = [record(1), record(2)]
    with pytest.raises(SinkUnavailable) as raised:
        sink.send(batch)
    assert raised.value.delivery.taken == 0
    sink.close()
    until_raises(sink.open, "there is no such topic")
    broker.topic(topic)
    sink.open()
    until_taken(sink, batch)
    sink.close()
    assert [one.value for one in broker.read(topic)] == [one.record for one in batch]


def until_raises(call: Callable[[], object], why: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            call()
        except SinkUnavailable as exc:
            if why in str(exc):
                return
        assert time.monotonic() < deadline


# --- the contract of sinks ------------------------------------------------------------------------------------


class Topic(Destination):
    """A topic behind a relay."""

    def __init__(self, broker: Broker, relay: Relay) -> None:
        self.broker = broker
        self.relay = relay
        self.name = broker.topic(next(names), config={"max.message.bytes": "90000"})
        self.large = record(1, size=100_000).record
        self.made: list[Sink] = []

    def make(self, timeout: float) -> Sink:
        self.made.append(
            sink_of(self.broker, self.name, brokers=[self.relay.address], timeout=min(timeout, 300.0))
        )
        return self.made[-1]

    def received(self) -> Sequence[bytes]:
        return [one.value for one in self.broker.read(self.name)]

    def take_away(self) -> None:
        self.relay.cut()

    def bring_back(self) -> None:
        self.relay.resume()

    def hang(self) -> None:
        self.relay.hold()

    def unfit(self) -> bytes:
        return self.large

    def close(self) -> None:
        for sink in self.made:
            sink.stop()
            sink.close()
        self.relay.close()


@pytest.fixture
def topics(broker: Broker) -> Iterator[Callable[[], Topic]]:
    made: list[Topic] = []

    def make() -> Topic:
        made.append(Topic(broker, Relay(broker)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_it_keeps_the_contract_of_sinks(topics: Callable[[], Topic]) -> None:
    assert check_sink(topics) == tuple(CHECKS)


def test_an_outage_doubles_nothing(broker: Broker, topics: Callable[[], Topic]) -> None:
    """What was under way when connections broke arrives once, however often the sink was closed and opened."""
    place = topics()
    sink = place.make(0.5)
    sink.open()
    batches = [[record(100 * batch + at, f"k{at % 3}") for at in range(100)] for batch in range(6)]
    until_taken(sink, batches[0])
    for batch in batches[1:]:
        place.relay.hold()
        with pytest.raises(SinkUnavailable) as raised:
            sink.send(batch)
        assert raised.value.delivery.taken == 0
        sink.close()
        place.relay.cut()
        with pytest.raises(SinkUnavailable):
            sink.open()
        sink.close()
        place.relay.release()
        place.relay.resume()
        until_opened(sink)
        until_taken(sink, batch)
    sink.close()
    found = broker.read(place.name)
    assert [one.value for one in found] == [one.record for batch in batches for one in batch]


def until_opened(sink: Sink) -> None:
    deadline, said = time.monotonic() + PATIENCE_S, ""
    while time.monotonic() < deadline:
        try:
            sink.open()
        except SinkUnavailable as exc:
            said = str(exc)
            sink.close()
        else:
            return
    pytest.fail(said)


def test_the_page_for_a_local_broker_is_run_as_it_stands(broker: Broker, tmp_path: Path) -> None:
    """But for the port: the test's broker has one of its own."""
    [text] = [block.text for block in blocks(PAGE) if '"localhost:9092"' in block.text]
    maker = Maker(tmp_path / "audit.jsonl").add_many(10).seal()
    (tmp_path / "indelible.yaml").write_text(text.replace("localhost:9092", broker.address()))
    topic = broker.topic("mcp-audit", partitions=6)
    done = run(tmp_path, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"mcp-audit (mcp-audit at {broker.address()}): 11 events taken; at event 11\n"
    assert sorted(one.value for one in broker.read(topic)) == sorted(lines(maker))


INTO = {"confluent": "plain", "msk": "scram", "msk-mtls": "mtls"}
"""Through which listener of the test's broker each sink of the page comes in."""


@pytest.mark.parametrize("name", INTO)
def test_the_pages_shapes_for_the_cloud_come_in(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """But for addresses, certificates of ours, and where a password lies. Public authorities are the system's."""
    shown = [yaml.safe_load(block.text) for block in blocks(PAGE) if block.language == "yaml"]
    [sink] = [one for page in shown for one in page["audit"]["sinks"] if one.get("name") == name]
    monkeypatch.setenv("SSL_CERT_FILE", str(broker.ca))
    sink["brokers"] = [broker.address(INTO[name])] * len(sink["brokers"])
    sink |= {"topic": broker.topic(next(names), partitions=3), "start": "beginning"}
    if "cert_file" in sink["tls"]:
        sink["tls"] = dict(zip(sink["tls"], map(str, broker.client), strict=True))
    sasl = sink.get("sasl", {})
    for key in ("username", "password"):
        if f"{key}_env" in sasl:
            monkeypatch.setenv(sasl[f"{key}_env"], {"username": USER, "password": PASSWORD}[key])
    if "password_file" in sasl:
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        sasl["password_file"] = "password"
    maker = Maker(tmp_path / "a.jsonl").add_many(10).seal()
    configure(tmp_path, sink)
    done = run(tmp_path, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(one.value for one in broker.read(sink["topic"])) == sorted(lines(maker))
