"""kill -9 of a Kafka broker, of the shipper, other brokers, no client: nothing is missing, and each key is in order."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.brokers import PASSWORD, PATIENCE_S, USER, Broker
from tests.effort import LONG
from tests.integration.ship.shipped import COMMAND, configure, end, next_of, run, start, until
from tests.integration.ship.topics import add, in_order, kafka, state
from tests.trails import Maker

RECORDS = 100_000
KILLS = 200 if LONG else 10


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_USERNAME", USER)
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)


def test_a_broker_that_is_killed_in_the_middle(broker: Broker, tmp_path: Path) -> None:
    """The shipper lives: nothing comes twice."""
    topic = broker.topic("killed-broker", partitions=3)
    maker = Maker(tmp_path / "a.jsonl")
    add(maker, RECORDS)
    configure(tmp_path, kafka(topic, broker.client_settings("plaintext")))
    process = start(tmp_path)
    until(lambda: (next_of(tmp_path, "k") or 0) > RECORDS // 10, "a tenth")
    broker.kill()
    try:
        until(lambda: state(maker)["state"] == "unavailable", "the state")
        stood = next_of(tmp_path, "k") or 0
        assert stood < RECORDS, "it was killed too late"
    finally:
        broker.start()
    until(lambda: next_of(tmp_path, "k") == maker.seq, "the rest")
    code, said = end(process)
    assert code == 0
    assert len(said.splitlines()) <= 6, said
    found = broker.read(topic)
    assert sorted(one.seq for one in found) == list(range(maker.seq))
    for seqs in in_order(found).values():
        assert seqs == sorted(seqs)


def test_a_shipper_that_is_killed_again_and_again(broker: Broker, tmp_path: Path) -> None:
    """What was on its way comes twice, recognisably: a run of seqs that begins again."""
    topic = broker.topic("killed-shipper", partitions=3)
    maker = Maker(tmp_path / "a.jsonl")
    add(maker, 3_000 * KILLS)
    configure(tmp_path, kafka(topic, broker.client_settings("plaintext"), flush_batch_lines=1000))
    chance = random.Random() if LONG else random.Random("kafka")
    for _ in range(KILLS):
        before = arrived(broker, topic)
        process = start(tmp_path)
        goal = before + chance.randrange(3_000)
        until(lambda: arrived(broker, topic) > goal or next_of(tmp_path, "k") == maker.seq, "a record")  # noqa: B023
        process.kill()
        process.communicate()
    done = run(tmp_path, "--once")
    assert done.returncode == 0, done.stderr
    found = broker.read(topic)
    assert {one.seq for one in found} == set(range(maker.seq))
    for seqs in in_order(found).values():
        assert sum(later <= earlier for earlier, later in pairwise(seqs)) <= KILLS
        assert list(dict.fromkeys(seqs)) == sorted(set(seqs))
    lines = maker.layout.active.read_bytes().splitlines()
    assert all(one.value == lines[one.seq] for one in found)


def arrived(broker: Broker, topic: str) -> int:
    """Return how many records a topic has; a broker that was slow, and leads anew for that, is asked again."""
    from confluent_kafka import KafkaException, TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined] # its stubs forget it

    places = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(3)}  # type: ignore[no-untyped-call] # its stubs have none
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return sum(one.result().offset for one in broker.admin().list_offsets(places).values())
        except KafkaException:
            assert time.monotonic() < deadline


def test_other_brokers_by_a_signal(broker: Broker, tmp_path: Path) -> None:
    """From brokers that are not there to one that is, and on to another way in, while events come."""
    topic = broker.topic("reloaded", partitions=2)
    maker = Maker(tmp_path / "a.jsonl")
    add(maker, 5_000)
    configure(tmp_path, kafka(topic, {"brokers": ["127.0.0.1:1"]}, flush_interval="100ms"))
    process = start(tmp_path)
    until(lambda: state(maker)["state"] == "unavailable", "the first state")
    for listener in ("plaintext", "scram", "mtls"):
        configure(tmp_path, kafka(topic, broker.client_settings(listener), flush_interval="100ms"))
        process.send_signal(signal.SIGHUP)
        add(maker, 5_000)
        until(lambda: (next_of(tmp_path, "k") or 0) > maker.seq - 4_000, "some of it")
    until(lambda: next_of(tmp_path, "k") == maker.seq, "all of it")
    code, said = end(process)
    assert code == 0
    assert said.count("the configuration was read again: 1 sink") == 3
    assert "127.0.0.1:1: nothing listens there" in said
    found = broker.read(topic)
    assert sorted(one.seq for one in found) == list(range(maker.seq))
    for seqs in in_order(found).values():
        assert seqs == sorted(seqs)


def test_without_the_package_it_says_what_to_install_and_the_others_go_on(
    broker: Broker, tmp_path: Path
) -> None:
    topic = broker.topic("missing-package")
    maker = Maker(tmp_path / "a.jsonl").add_many(20).seal()
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['confluent_kafka'] = None\n")
    configure(
        tmp_path,
        kafka(topic, broker.client_settings("plaintext"), start="now"),
        {"type": "file", "path": "out.log", "start": "beginning"},
    )
    command = [*COMMAND, "ship", "-c", str(tmp_path / "indelible.yaml")]
    path = os.pathsep.join(filter(None, (str(blocked), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})
    until(lambda: state(maker)["state"] == "unavailable", "the state")
    until(lambda: next_of(tmp_path, "k") == 21, "its place")
    maker.add_many(7).seal()
    until(lambda: next_of(tmp_path, "out.log") == 28, "the other sink")
    status = subprocess.run(
        [*COMMAND, "status", "--json", "-c", str(tmp_path / "indelible.yaml")], capture_output=True, check=True
    )
    code, said = end(process)
    assert code == 0
    [sink] = [one for one in json.loads(status.stdout)["sinks"] if one["sink"] == "k"]
    assert (sink["state"], sink["next"]) == ("unavailable", 21)
    wanted = "needs the package confluent-kafka, which is not installed: pip install 'indelible[kafka]'"
    assert wanted in sink["error"]
    assert len([line for line in said.splitlines() if wanted in line]) == 1
    done = run(tmp_path, "--once")
    assert done.returncode == 0, done.stderr
    assert [one.seq for one in broker.read(topic)] == list(range(21, 28))
