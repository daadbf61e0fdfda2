"""A Kafka broker whose disk is full: it ends itself, and nothing is missing when it comes back."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.integration.ship.shipped import configure, end, next_of, start, until
from tests.integration.ship.topics import add, in_order, kafka, state
from tests.trails import Maker


@pytest.mark.long  # it waits for a broker three times; beside it stands the one that is killed
def test_a_broker_whose_disk_is_full(mounted: Callable[..., Path], tmp_path: Path) -> None:
    """It ends itself then; once it has room, and is started again, everything arrives."""
    disk = mounted("size=40m,mode=0700")
    folder = tmp_path / "kafka"
    folder.mkdir()
    broker = Broker(folder, logs=disk / "logs", segment=1 << 20)
    broker.format()
    try:
        broker.start()
        topic = broker.topic("full", config={"preallocate": "false"})
        maker = Maker(tmp_path / "a.jsonl")
        add(maker, 60_000)
        configure(tmp_path, kafka(topic, broker.client_settings("plaintext"), compression="none"))
        process = start(tmp_path)
        until(lambda: state(maker)["state"] == "unavailable", "the state")
        assert 0 < (next_of(tmp_path, "k") or 0) < maker.seq
        subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
        broker.stop(signal.SIGKILL)
        broker.start()
        until(lambda: next_of(tmp_path, "k") == maker.seq, "the rest")
        assert end(process)[0] == 0
        found = broker.read(topic)
    finally:
        broker.stop(signal.SIGKILL)
    assert {one.seq for one in found} == set(range(maker.seq))
    for seqs in in_order(found).values():
        assert list(dict.fromkeys(seqs)) == sorted(set(seqs))
