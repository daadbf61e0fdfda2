from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.record.serving import Service, open_place


@pytest.fixture
def place() -> Iterator[Path]:
    with open_place() as path:
        yield path


@pytest.fixture
def serve(place: Path) -> Iterator[Callable[..., Service]]:
    """Return a function that makes a service, not started; `config` is its configuration."""
    made: list[Service] = []

    def make(uid: int = 0, **config: Any) -> Service:
        made.append(Service(place, uid, **config))
        return made[-1]

    yield make
    for service in made:
        service.end()
