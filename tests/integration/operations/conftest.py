"""Every operation on the disk goes wrong, one after the other: how many of them are tried."""

from __future__ import annotations

import pytest

from tests.effort import FAULT_STRIDE


@pytest.fixture
def fault_stride() -> int:
    """Every how many-th operation is made to fail: all of them in the long run, a sample in the quick one."""
    return FAULT_STRIDE
