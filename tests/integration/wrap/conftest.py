from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.wrap.harness import Client, wrapped


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "trail" / "audit.jsonl"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Start commands that are ended with the test."""
    started: list[Client] = []

    def start(command: list[str], **options: object) -> Client:
        client = Client(command, cwd=tmp_path, **options)  # type: ignore[arg-type]
        started.append(client)
        return client

    yield start
    for client in started:
        client.close()


@pytest.fixture
def wrap(run: Callable[..., Client], trail: Path) -> Callable[..., Client]:
    """Start a wrapped command that records to `trail`."""

    def start(*command: str, options: tuple[str, ...] = (), **more: object) -> Client:
        return run(wrapped(trail, *command, options=options), **more)

    return start
