"""The page of a report in a real browser: nothing runs or is loaded, nothing is cut off, on a screen or on paper."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from indelible.cli import main
from tests.browsers import OVERFLOWING, ROWS, browser, opened, rows_of_pdf, words_off_the_page
from tests.reports import LONG, PERIOD, make_trail
from tests.trails import VKEY

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

WRAPPED = """() => [...document.querySelectorAll("td.n")].filter(cell => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return new Set([...range.getClientRects()].map(one => one.top)).size > 1;
}).map(cell => cell.textContent)"""
"""Numbers that stand on more than one line."""

PAGES = {
    "report": (*PERIOD, "-n", "0"),
    "controls": (*PERIOD, "--controls", "nist-800-53"),
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module", params=PAGES)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    trail, page = make_trail(folder / "audit.jsonl"), folder / "page.html"
    options = PAGES[request.param]
    assert main(["report", *options, "--trail", str(trail), "--vkey", VKEY, "--html", str(page)]) == 0
    return page


@pytest.mark.parametrize("wide", [1280, 800, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_runs_is_loaded_or_reaches_beyond_the_page(
    chromium: Browser, file: Path, wide: int, scheme: str
) -> None:
    page, said = opened(chromium, file, viewport={"width": wide, "height": 800}, color_scheme=scheme)
    try:
        assert said == [f"request: {file.as_uri()}"]
        assert page.evaluate("document.scripts.length + document.images.length + document.links.length") == (
            page.evaluate("document.querySelectorAll('a[href^=\"#\"]').length")
        )
        assert page.evaluate(OVERFLOWING) == []
        assert page.evaluate(WRAPPED) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    finally:
        page.close()


@pytest.mark.parametrize(("paper", "wide"), [("A4", 688), ("Letter", 710)])
def test_printed_nothing_is_cut_off(
    chromium: Browser, file: Path, tmp_path: Path, paper: str, wide: int
) -> None:
    """`wide` is what the margins leave of the paper, in CSS pixels: in that no element may be too wide."""
    page, _ = opened(chromium, file, viewport={"width": wide, "height": 900})
    printed = tmp_path / "page.pdf"
    try:
        shown = [row for row in page.evaluate(ROWS) if row]
        heads, said = page.locator("thead th").all_inner_texts(), page.locator("body").inner_text()
        texts = page.locator("p, li, h1, h2, h3, pre").all_inner_texts()
        page.emulate_media(media="print")
        assert page.evaluate(OVERFLOWING) == []
        page.pdf(path=printed, format=paper, tagged=True, prefer_css_page_size=False)
    finally:
        page.close()
    count, off = words_off_the_page(printed)
    assert (count > 500, off) == (True, [])
    assert any(LONG in cell for row in shown for cell in row) == ("Destructive calls" in said)
    on_paper = read(printed)
    assert [text for text in texts if "".join(text.split()) not in on_paper] == []
    assert [once(row, heads) for row in rows_of_pdf(printed)] == shown


ALONE = """() => [...document.querySelectorAll("h2, h3")].flatMap(head => {
  const next = head.nextElementSibling;
  const said = [head.innerText, next?.tagName === "P" ? head.innerText + next.innerText : head.innerText];
  return head.tagName === "H2" && next?.nextElementSibling?.tagName !== "H2" ? said : said.slice(0, 1);
}).map(text => text.replaceAll(/\\s+/g, ""))"""
"""What must not be the last on a sheet: a heading, or with what says what it is about, before what it is about."""


def test_no_heading_stands_alone_at_the_foot_of_a_sheet(chromium: Browser, file: Path, tmp_path: Path) -> None:
    page, _ = opened(chromium, file, viewport={"width": 688, "height": 900})
    printed, sheets = tmp_path / "page.pdf", list[str]()
    try:
        every = "".join(page.locator("body").inner_text().split())
        heads = [head for head in page.evaluate(ALONE) if every.count(head) == 1]
        assert len(heads) > 5
        for height in range(200, 300, 9):
            page.pdf(path=printed, width="210mm", height=f"{height}mm")
            done = subprocess.run(
                ["pdftotext", "-raw", printed, "-"], capture_output=True, text=True, check=True, timeout=60
            )
            sheets += ["".join(sheet.split()) for sheet in done.stdout.split("\f")]
    finally:
        page.close()
    assert len(sheets) > 30
    assert [(head, sheet[-200:]) for sheet in sheets for head in heads if sheet.endswith(head)] == []


def read(pdf: Path) -> str:
    """Return the text of a PDF in the order of its content, without blanks and page breaks."""
    done = subprocess.run(
        ["pdftotext", "-raw", str(pdf), "-"], capture_output=True, text=True, check=True, timeout=60
    )
    return "".join(done.stdout.split())


def once(row: list[str], heads: list[str]) -> list[str]:
    """Return a row; of a head that stands on several sheets, so that its cells say all of these, one sheet's."""
    known = {"".join(head.split()) for head in heads}
    return [
        next((head for head in known if cell and cell == head * (len(cell) // len(head))), cell) for cell in row
    ]


def test_who_does_not_see_has_a_table_for_every_chart_and_names_for_all(chromium: Browser, file: Path) -> None:
    page, _ = opened(chromium, file)
    try:
        charts = page.locator("svg[role=img]")
        for at in range(charts.count()):
            assert charts.nth(at).locator("> title").inner_html()
            assert charts.nth(at).locator("xpath=following::table").count() >= 1
        assert page.locator("svg:not([role=img]):not([aria-hidden=true])").count() == 0
        assert page.locator("table:not(.facts)").count() == page.locator("caption").count()
        assert page.locator("th:not([scope])").count() == 0
        targets = page.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
        assert targets
        assert [target for target in targets if page.locator(target).count() != 1] == []
    finally:
        page.close()
