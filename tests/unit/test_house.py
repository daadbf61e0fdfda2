"""Files say nothing about the machine that they were written on, nor where its packages come from."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MADE = {".git", ".venv", ".venv-mcp1", ".tools", "node_modules", "dist", "build", "__pycache__"}
# Put together here, so that this file is not one of those that it looks for.
INDEX = re.compile(
    r"(extra-)?index"
    r"-url\b|--find"
    r'-links|"resolved" *:|registry *= *"?https?'
    r":|<url>https?"
    r":|GOPROXY"
    r"=https?:"
)


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Walk what a checkout holds, with or without git."""
    for path in sorted(folder.iterdir()):
        if path.name in MADE or path.name.endswith(("_cache", ".egg-info", ".hypothesis")):
            continue
        if path.is_dir():
            yield from files(path)
        elif path.is_file():
            yield path


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    data = path.read_bytes()
    if b"\0" not in data:
        yield from enumerate(data.decode("utf-8", "replace").splitlines(), 1)


def test_the_walk_finds_the_checkout() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in files()}
    assert {"Makefile", ".ci/run", "pyproject.toml", "requirements/dev.txt", "src/indelible/events.py"} <= names


def test_no_file_names_a_package_index() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        if path != Path(__file__)
        for number, line in text_lines(path)
        if INDEX.search(line)
    ]
    assert found == []


def test_no_file_names_a_path_of_this_machine() -> None:
    here = [f"{ROOT.parent}/", f"{Path.home()}/"]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        for number, line in text_lines(path)
        if any(place in line for place in here if len(place) > len("/x/"))
    ]
    assert found == []


@pytest.mark.parametrize("name", ["base", "demo", "dev", "mcp1"])
def test_every_pin_has_hashes(name: str) -> None:
    pins = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=[a-zA-Z0-9])", pins)
    versions = [entry for entry in entries if "==" in entry]
    assert len(versions) > 5
    assert all("--hash=sha256:" in entry for entry in versions)


def test_the_lock_of_npm_pins_by_integrity() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    installed = {name: entry for name, entry in packages.items() if name}
    assert len(installed) > 50
    assert all(entry["integrity"].startswith("sha512-") for entry in installed.values())


def test_ci_runs_the_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert re.search(r"^make test\b", script.read_text(), re.MULTILINE)


def test_make_alone_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: ([a-z-]+)$", makefile, re.MULTILINE))
    assert {"run", "setup", "test", "check", "test-long", "bench", "lint", "types", "lock", "clean"} <= targets
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    said = subprocess.run(
        ["make"], cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert set(re.findall(r"^  make ([a-z-]+) ", said, re.MULTILINE)) == targets
