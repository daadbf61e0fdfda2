"""Other environments than the tests' own: for what cannot be installed beside the rest."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def old_python() -> Path:
    """Return the Python that has the official SDK 1.x; without it the test fails, and says what makes it."""
    found = ROOT / ".venv-mcp1" / "bin" / "python"
    assert found.exists(), "the environment with the official SDK 1.x is missing: make setup"
    return found
