"""Every page is there, is found from the index, and leads nowhere that does not exist."""

import itertools
from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCS, INDEX, ROOT, anchor, headings, links, named, pages

KINDS = {"tutorial", "how-to", "reference", "explanation"}


def resolved(page: Path, target: str) -> tuple[Path, str]:
    path, _, fragment = target.partition("#")
    return ((page.parent / path).resolve() if path else page), fragment


def local(page: Path) -> list[str]:
    return [target for target in links(page) if "://" not in target and not target.startswith("mailto:")]


@pytest.mark.parametrize(
    "page", [*pages(), ROOT / "README.md"], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in local(page):
        path, fragment = resolved(page, target)
        assert path.exists(), f"{target}: there is no such file"
        assert path.is_relative_to(ROOT), f"{target}: leads out of the checkout"
        if fragment and path.suffix == ".md":
            assert fragment in {anchor(text) for _, text in headings(path)}, (
                f"{target}: there is no such heading"
            )


def test_every_page_is_one_of_four_kinds_and_in_the_index() -> None:
    assert {named(page).partition("/")[0].removesuffix(".md") for page in pages()} == {*KINDS, "README"}
    indexed = {resolved(INDEX, target)[0] for target in local(INDEX)}
    assert set(pages()) - {INDEX} <= indexed


def test_the_readme_links_every_page_but_the_index() -> None:
    readme = ROOT / "README.md"
    linked = {resolved(readme, target)[0] for target in local(readme)}
    assert {path for path in linked if path.is_relative_to(DOCS)} - {INDEX} == set(pages()) - {INDEX}


@pytest.mark.parametrize("page", pages(), ids=named)
def test_a_page_has_one_title_and_skips_no_level(page: Path) -> None:
    levels = [level for level, _ in headings(page)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
