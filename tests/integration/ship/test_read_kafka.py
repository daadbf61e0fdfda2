"""A real Kafka topic, as a sink has filled it, read back: listed, and checked against the trail."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import PASSWORD, PATIENCE_S, USER, Broker
from tests.integration.ship.shipped import COMMAND, LIMIT_S, configure, run
from tests.trails import Maker, operation

TOPIC = "read-back"
PARTITIONS = 3
SECRETS = {"KAFKA_USERNAME": USER, "KAFKA_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Path:
    """Ship a trail to a topic of three partitions; return the folder, in which a configuration lies."""
    folder = tmp_path_factory.mktemp("shipped")
    maker = Maker(folder / "a.jsonl")
    maker.add_many(300, lambda seq: operation(seq, source__session_id=f"s{seq % 7}"))
    maker.rotate(compress=True)
    maker.add_many(100).seal()
    broker.topic(TOPIC, PARTITIONS)
    common = {"type": "kafka", "topic": TOPIC, "start": "beginning", "timeout": PATIENCE_S}
    configure(
        folder,
        {**common, "name": "topic", **broker.client_settings("plaintext")},
        {"type": "file", "name": "file", "path": str(folder / "out")},
    )
    done = run(folder, "--once")
    assert done.returncode == 0, done.stderr
    configure(
        folder,
        {**common, "name": "secure", **broker.client_settings("scram")},
        {"type": "file", "name": "file", "path": str(folder / "out")},
    )
    return folder


def command(folder: Path, *args: str, env: Mapping[str, str] = SECRETS) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *args], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False,
        env={**os.environ, **env},
    )  # fmt: skip


def url(broker: Broker, listener: str = "plaintext", topic: str = TOPIC) -> str:
    return f"kafka://{broker.address(listener)}/{topic}"


def verified(folder: Path, *args: str) -> dict[str, Any]:
    done = command(folder, "verify", "--trail", "a.jsonl", *args, "--json")
    assert done.stderr == b""
    value: dict[str, Any] = json.loads(done.stdout)
    assert value["ok"] is (done.returncode == 0)
    return value


def test_all_of_a_topic_is_as_sealed_and_nothing_is_missing(shipped: Path, broker: Broker) -> None:
    found = verified(shipped, "--from", url(broker), "--complete")
    assert found["findings"] == []
    assert (found["records"], found["events"], found["files"]) == (402, 402, PARTITIONS)
    assert found["origins"][0]["missing"] == 0


def test_a_topic_is_listed_as_the_trail_is(shipped: Path, broker: Broker) -> None:
    for filters in (("--session", "s3", "-n", "0", "--json"), ("-n", "9")):
        here = command(shipped, "log", "--trail", "a.jsonl", *filters)
        there = command(shipped, "log", "--from", url(broker), *filters)
        assert (there.stdout, there.stderr) == (here.stdout, b"")
    made = command(
        shipped, "log", "--from", url(broker), "-n", "1", "--format", "cef"
    )  # a header names the trail
    assert made.stdout.startswith(b"CEF:0|")


def test_a_sink_of_the_configuration_says_how_to_come_in(shipped: Path, broker: Broker) -> None:
    args = (
        "log",
        "--from",
        url(broker, "scram"),
        "-c",
        "indelible.yaml",
        "--sink",
        "secure",
        "-n",
        "1",
        "--json",
    )
    done = command(shipped, *args)
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr) == (0, 1, b"")
    counted = command(shipped, *args[:-3], "--where", "seq < 9", "--count", "--json")
    assert (counted.returncode, counted.stdout, counted.stderr) == (0, b'{"count":8}\n', b"")
    wrong = command(shipped, *args, env={**SECRETS, "KAFKA_PASSWORD": "wrong-0ne"})
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count(b"\n")) == (3, b"", 1)
    assert b"cannot be read" in wrong.stderr
    assert b"wrong-0ne" not in wrong.stderr


@pytest.mark.parametrize(
    ("place", "args", "code", "said"),
    [
        ("kafka://{plaintext}/nowhere", (), 3, "there is no such topic"),
        ("kafka://127.0.0.1:1,127.0.0.1:2/x", (), 3, "127.0.0.1:1: nothing listens there"),
        ("kafka://{scram}/x", (), 3, "it closed the connection; does it expect TLS"),
        ("kafka://{silent}/x", (), 3, "it does not answer in time"),
        ("kafka://ada:secret@{plaintext}/x", (), 2, "no password stands in it"),
        ("kafka://{plaintext}", (), 2, "expected kafka://HOST:PORT"),
        ("kafka://{plaintext}/x", ("-c", "indelible.yaml", "--sink", "file"), 2, "not kafka"),
        (
            "kafka://{plaintext}/x",
            ("-c", "indelible.yaml", "--sink", "none"),
            2,
            "no such sink; there are: secure, file",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line(
    shipped: Path, broker: Broker, place: str, args: tuple[str, ...], code: int, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"127.0.0.1:{server.getsockname()[1]}"
        there = {"plaintext": broker.address(), "scram": broker.address("scram"), "silent": silent}
        done = command(shipped, "log", "--from", place.format(**there), *args)
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.count(b"\n") == 1
    assert said in done.stderr.decode()
    assert b"secret@" not in done.stderr


def test_what_somebody_else_has_put_there_is_found_with_its_offset(shipped: Path, broker: Broker) -> None:
    from confluent_kafka import Producer

    line = (shipped / "a.jsonl").read_bytes().splitlines()[5]
    producer = Producer({"bootstrap.servers": broker.address()})
    for value in (line.replace(b'"ada"', b'"eve"'), b"garbage", None, line):
        producer.produce(TOPIC, value, partition=2)
    producer.flush(PATIENCE_S)
    end = max(message.offset for message in broker.read(TOPIC) if message.partition == 2 and message.value) + 1
    found = verified(shipped, "--from", url(broker))
    where = f"{url(broker)}, partition 2"
    told = {(finding["problem"], finding["file"]) for finding in found["findings"]}
    assert told == {
        ("line altered", f"{where}, offset {end - 4}"),
        ("not a record", f"{where}, offset {end - 3}"),
        ("file unreadable", where),
    }
    assert (found["events"], found["repeated"]) == (402, 1)
