"""Fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.faults.tracing import Recorders


@pytest.fixture(scope="package")
def recorders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorders]:
    """What forks the recorders that are traced."""
    with Recorders(tmp_path_factory.mktemp("scratch")) as started:
        yield started
