"""Debian's Chromium, driven by Playwright: what judges pages. Nothing is downloaded, and nothing goes to a network."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OPTIONS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

START_MS: Final = 120_000
"""A browser may take long to start on a machine with other work."""


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser, and end it."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path is not None, "chromium is missing: make setup"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(OPTIONS), timeout=START_MS)
        try:
            yield started
        finally:
            started.close()


def opened(browser: Browser, file: Path, **context: Any) -> tuple[Page, list[str]]:
    """Return a page and what it complained of or asked for, which goes on to grow."""
    page, said = browser.new_page(**context), list[str]()
    page.on("console", lambda message: said.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: said.append(f"request: {request.url}"))
    page.goto(file.as_uri(), timeout=START_MS)
    return page, said


OVERFLOWING: Final = """() => {
  const wide = document.documentElement.clientWidth;
  const bad = [];
  for (const one of document.body.querySelectorAll('*')) {
    if (one.closest('svg') && one.tagName !== 'svg') continue;
    const box = one.getBoundingClientRect();
    const inside = one.parentElement.closest('.scroll');
    const scrolls = inside && getComputedStyle(inside).overflowX === 'auto';
    if ((box.right > wide + 0.5 || box.left < -0.5) && !scrolls) bad.push(one.tagName + ': ' + one.textContent);
    if (one.scrollWidth > one.clientWidth + 1 && one.clientWidth && getComputedStyle(one).overflowX !== 'auto')
      bad.push(one.tagName + ' is too wide: ' + one.textContent);
  }
  return bad;
}"""
"""Elements that reach beyond the page, or beyond their own box; what can be scrolled may be wider."""

ROWS: Final = """() => [...document.querySelectorAll('tr')].map(
  row => [...row.cells].filter(cell => cell.innerText).map(cell => cell.innerText.replace(/\\s+/g, '')))"""
"""The rows of all tables: the texts of their cells, without blanks."""


def rows_of_pdf(file: Path) -> list[list[str]]:
    """Return the rows of all tables as a PDF's tags have them: the texts of their cells, without blanks."""
    tree = subprocess.run(
        ["pdfinfo", "-struct-text", str(file)], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    rows: list[list[str]] = []
    cell = 0
    for line in tree.splitlines():
        deep = len(line) - len(line.lstrip())
        if re.match(r"\s*TR\b", line):
            rows.append([])
            cell = 1_000
        elif re.match(r"\s*T[HD]\b", line):
            rows[-1].append("")
            cell = deep
        elif deep <= cell:  # what stands behind the table
            cell = 1_000
        elif found := re.match(r'\s*"(.*)"$', line):
            rows[-1][-1] += re.sub(r"\s+", "", found[1])
    return [[cell for cell in row if cell] for row in rows if any(row)]


def words_off_the_page(file: Path) -> tuple[int, list[str]]:
    """Return how many words a PDF shows, and those that are not wholly on their page."""
    boxes = subprocess.run(
        ["pdftotext", "-bbox", str(file), "-"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    wide = high = 0.0
    count, off = 0, []
    for line in boxes.splitlines():
        if found := re.search(r'<page width="([\d.]+)" height="([\d.]+)"', line):
            wide, high = float(found[1]), float(found[2])
        elif found := re.search(
            r'<word xMin="(-?[\d.]+)" yMin="(-?[\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">(.*)<', line
        ):
            count += 1
            left, top, right, bottom = (float(found[at]) for at in range(1, 5))
            if left < 0 or top < 0 or right > wide or bottom > high:
                off.append(found[5])
    return count, off
