"""Fixtures of the trail's integration tests."""

from __future__ import annotations

import pytest

from tests.effort import KILLS


@pytest.fixture
def kills() -> int:
    """How many times a process is killed in one test."""
    return KILLS
