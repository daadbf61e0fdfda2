"""The judges are other people's programs, built by `make setup`."""

from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / ".tools" / "bin"


@pytest.fixture(scope="session")
def judge() -> Callable[[str], str]:
    """Return the path of a judge's program. A missing one is a failure: a judge away proves nothing."""

    def find(name: str) -> str:
        path = TOOLS / name
        if not path.exists():
            pytest.fail(f"{name} is not built: run make setup")
        return str(path)

    return find
