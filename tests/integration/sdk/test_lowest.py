"""The oldest SDK 2.x that the project says it takes: every cause and promise of its middleware holds there as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOWEST = "2.0.0"
TESTS = ("tests/integration/sdk/test_outcomes.py", "tests/integration/sdk/test_promises.py")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_oldest_sdk_2_is_audited_as_the_newest_is(tmp_path: Path) -> None:
    uv, python = Path(sys.executable).with_name("uv"), tmp_path / "venv" / "bin" / "python"
    pinned = tmp_path / "constraints.txt"
    lines = (ROOT / "requirements" / "dev.txt").read_text().splitlines()
    kept = [
        line.split(" ")[0] for line in lines if "==" in line and not line.startswith((" ", "mcp", "fastmcp"))
    ]
    pinned.write_text("\n".join(kept) + "\n")
    tools = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "httpx2", "uvicorn", "psutil")
    for arguments in (
        ("venv", "--quiet", "--python", sys.executable, str(python.parents[1])),
        ("pip", "install", "--quiet", "--python", str(python), "-c", str(pinned), f"mcp=={LOWEST}", *tools),
        ("pip", "install", "--quiet", "--python", str(python), "-c", str(pinned), str(ROOT)),
    ):
        subprocess.run([uv, *arguments], check=True, timeout=1200)
    options = (
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not sdk1 and not tap",
        "-o",
        "addopts=--import-mode=importlib",
    )
    tested = subprocess.run(
        [python, "-m", "pytest", *options, *TESTS], cwd=ROOT, env={**os.environ, "INDELIBLE_LONG": ""},
        capture_output=True, text=True, check=False, timeout=2400,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout[-4000:]
    assert " passed" in tested.stdout
