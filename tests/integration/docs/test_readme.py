"""The README's own commands, in order, from a copy of the checkout to an audited server of the reader's."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FIVE_MINUTES = 300
MADE = shutil.ignore_patterns(
    ".git",
    ".venv*",
    ".tools",
    "node_modules",
    "__pycache__",
    "*_cache",
    ".hypothesis",
    "*.egg-info",
    "dist",
    "build",
)


@pytest.mark.timeout(2 * FIVE_MINUTES)
def test_readme_leads_from_a_clean_copy_to_an_audited_server(tmp_path: Path) -> None:
    copy = tmp_path / "indelible"
    shutil.copytree(ROOT, copy, ignore=MADE)
    outside = {
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "PYTHONHOME",
        "MAKEFLAGS",
        "MAKELEVEL",
        "MFLAGS",
        "INDELIBLE_CONFIG",
    }
    env = {name: value for name, value in os.environ.items() if name not in outside}
    venv = str(ROOT / ".venv" / "bin")
    env["PATH"] = os.pathsep.join(
        part for part in env["PATH"].split(os.pathsep) if not part.startswith(str(ROOT))
    )
    assert venv not in env["PATH"]
    env["XDG_STATE_HOME"] = str(tmp_path / "state")
    started = time.monotonic()
    with (tmp_path / "output").open("w+") as output:
        done = subprocess.run(
            [copy / "scripts" / "quickstart"], env=env, stdout=output, stderr=subprocess.STDOUT, check=False
        )
        output.seek(0)
        said = output.read()
    assert done.returncode == 0, said[-4000:]
    assert time.monotonic() - started < FIVE_MINUTES
    trail = tmp_path / "state" / "indelible" / "audit.jsonl"
    assert trail.exists(), f"the README's commands recorded nothing of the reader's own\n{said[-4000:]}"
    assert b'"event_type":"mcp_operation"' in trail.read_bytes()


def test_readme_shows_the_two_commands_first() -> None:
    script = subprocess.run(
        [ROOT / "scripts" / "quickstart", "--list"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert script.startswith("make run\n")
    assert "make test" in (ROOT / "README.md").read_text()
