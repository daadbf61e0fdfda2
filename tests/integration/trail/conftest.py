"""Fixtures of the trail's integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.effort import KILLS
from tests.integration.trail.forks import Forks


@pytest.fixture
def kills() -> int:
    """How many times a process is killed in one test."""
    return KILLS


@pytest.fixture(scope="package")
def forks() -> Iterator[Forks]:
    """What forks the processes that are killed."""
    with Forks() as started:
        yield started
