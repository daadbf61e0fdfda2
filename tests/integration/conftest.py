"""What is started once for all tests that need it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import brokers, objects, servers


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    """Give a Kafka broker. Who kills it starts it again."""
    with brokers.running(tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[objects.Store]:
    """Give an object store. Who kills it starts it again."""
    made = objects.Store(tmp_path_factory.mktemp("store"))
    with servers.running(made):
        yield made
