"""The pages of docs/ as data: blocks, tables, links, headings, and the names of tests that they give as proof.

A fenced block may have a mark on the line above it:

    <!-- run -->          sh: run by the tests, in the page's directory, in the page's order
    <!-- not run: why --> sh, python: only parsed
    <!-- file: NAME -->   any language: written to NAME before what follows runs
    <!-- output -->       text: what the block before it printed; `…` stands for any characters, a line of `…` alone
                          for any lines; times, ids and digests may differ

A python block without a mark is run too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"

_FENCE = re.compile(r"^```(\S*)\s*$")
_MARK = re.compile(r"^<!-- (run|output|not run: .+|file: \S+) -->$")
_COMMENT = re.compile(r"^<!--.*$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#+) (.+?)\s*$", re.MULTILINE)
_TEST_ID = re.compile(r"\btests/[\w/.-]+\.py(?:::[\w\[\]-]+)*")


class Block(NamedTuple):
    """A fenced block: its language, text, mark, and the number of its first line."""

    page: Path
    language: str
    text: str
    mark: str
    line: int

    @property
    def name(self) -> str:
        """Where it stands, for a message."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return every page under docs/."""
    return sorted(DOCS.rglob("*.md"))


def named(path: Path) -> str:
    """Return a page's name for a test's id."""
    return path.relative_to(DOCS).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks, in order; raises ValueError for one that is never closed."""
    found: list[Block] = []
    mark, language, start = "", None, 0
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if language is None:
            if fence:
                language, start, lines = fence[1], number + 1, []
            else:
                mark = line
        elif fence and not fence[1]:
            given = _MARK.match(mark)
            if _COMMENT.match(mark) and not given:
                msg = f"{page}:{start - 2}: not a mark: {mark}"
                raise ValueError(msg)
            found.append(
                Block(page, language, "".join(f"{item}\n" for item in lines), given[1] if given else "", start)
            )
            mark, language = "", None
        else:
            lines.append(line)
    if language is not None:
        msg = f"{page}:{start}: a block is never closed"
        raise ValueError(msg)
    return found


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    kept, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def links(page: Path) -> list[str]:
    """Return the targets of a page's links."""
    return _LINK.findall(prose(page))


def headings(page: Path) -> list[tuple[int, str]]:
    """Return (level, text) of a page's headings."""
    return [(len(signs), text) for signs, text in _HEADING.findall(prose(page))]


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", lambda match: match[1] or "", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def section(page: Path, heading: str) -> str:
    """Return the text below a heading, up to the next of its level or above; raises KeyError without it."""
    text = page.read_text(encoding="utf-8")
    start = re.search(rf"^(#+) {re.escape(heading)}\s*$", text, re.MULTILINE)
    if start is None:
        raise KeyError(heading)
    end = re.search(rf"^#{{1,{len(start[1])}}} ", text[start.end() :], re.MULTILINE)
    return text[start.end() : start.end() + end.start()] if end else text[start.end() :]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables' rows in a text, heads and rules left out."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
            if all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                del found[-1]  # what stood above the rule was the head
            else:
                found.append(cells)
    return found


def codes(cell: str) -> list[str]:
    """Return what stands between backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def test_ids(page: Path) -> list[str]:
    """Return the tests that a page names."""
    return _TEST_ID.findall(prose(page))


test_ids.__test__ = False  # type: ignore[attr-defined] # pytest would collect it by its name
