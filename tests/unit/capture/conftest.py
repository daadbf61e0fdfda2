"""A trail that refuses what it cannot record, for tests that bring no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.opening import open_trail
from indelible.recorder import Recorder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def trail(path: Path) -> Iterator[Recorder]:
    with open_trail(path, on_failure="deny") as recorder:
        yield recorder
