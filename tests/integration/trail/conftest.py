"""Fixtures of the trail's integration tests."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def kills() -> int:
    """How many times a process is killed in one test."""
    return int(os.environ.get("INDELIBLE_KILLS", "200"))
