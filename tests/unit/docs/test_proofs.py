"""A promise in the docs names the test that shows it, and that test exists."""

import ast
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


@pytest.mark.parametrize("heading", PROMISED)
def test_every_line_of_the_guarantees_names_a_test(heading: str) -> None:
    table = rows(section(GUARANTEES, heading))
    assert table
    for cells in table:
        assert "::test_" in cells[-1], f"{heading}: no test for {cells[0]!r}"
