"""Fixtures of the trail's unit tests."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def fault_stride() -> int:
    """Every how many-th operation is made to fail: all of them in the long run, a sample in the quick one."""
    return int(os.environ.get("INDELIBLE_FAULT_STRIDE", "23"))
