"""A promise in the docs names the test that shows it, and that test exists."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCS, ROOT, named, pages, rows, section, test_ids

GUARANTEES = DOCS / "explanation" / "guarantees.md"
PROMISED = ("What an acknowledged event survives", "What is promised of every call", "Who can do what unseen")


@cache
def definitions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for test_id in test_ids(page):
        path, *within = test_id.split("::")
        assert (ROOT / path).is_file(), f"{named(page)}: there is no {path}"
        for name in within:
            assert name.partition("[")[0] in definitions(ROOT / path), f"{named(page)}: {path} has no {name}"


@pytest.mark.slow
def test_pytest_finds_every_test_that_a_page_names() -> None:
    """Also each case of a parametrized one, in `[…]`: a name in a file is not yet a test that runs."""
    wanted = {test_id for page in pages() for test_id in test_ids(page) if "::" in test_id}
    files = sorted({test_id.partition("::")[0] for test_id in wanted})
    assert len(wanted) > 50
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        *files,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    found = set(done.stdout.split("\n"))
    found |= {line.partition("[")[0] for line in found}
    assert sorted(wanted - found) == []


@pytest.mark.parametrize("heading", PROMISED)
def test_every_line_of_the_guarantees_names_a_test(heading: str) -> None:
    table = rows(section(GUARANTEES, heading))
    assert table
    for cells in table:
        assert "::test_" in cells[-1], f"{heading}: no test for {cells[0]!r}"
