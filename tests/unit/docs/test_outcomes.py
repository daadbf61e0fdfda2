"""The page of outcomes shows the tables of the source, all of them and nothing else."""

from __future__ import annotations

from indelible.capture.causes import CAPTURES, CAUSES, TABLE, Cell
from indelible.capture.outcomes import REFUSALS
from tests.unit.docs.pages import DOCS

PAGE = DOCS / "reference" / "outcomes.md"


def shown(cell: Cell, number: int) -> str:
    said = "nothing" if cell.kind is None else f"`{cell.kind}`"
    more = [str(cell.code)] if cell.code is not None else []
    more += [f"`{cell.error_type}`"] if cell.error_type else []
    mark = f" ({number})" if number else ""
    return " ".join([said, *more]) + mark


def blanks() -> list[tuple[str, list[str]]]:
    """Return every sentence of a blank, with the captures that it holds for."""
    found: dict[str, list[str]] = {}
    for capture, cells in TABLE.items():
        for cell in cells.values():
            if cell.blank:
                captures = found.setdefault(cell.blank, [])
                captures += [CAPTURES[capture]] if CAPTURES[capture] not in captures else []
    return list(found.items())


def table() -> str:
    numbers = {sentence: number for number, (sentence, _) in enumerate(blanks(), 1)}
    rows = [
        "| cause | " + " | ".join(CAPTURES[capture] for capture in TABLE) + " |",
        "|---" * (len(TABLE) + 1) + "|",
    ]
    for cause, sentence in CAUSES.items():
        cells = [shown(cells[cause], numbers.get(cells[cause].blank, 0)) for cells in TABLE.values()]
        rows.append(f"| {sentence} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def sentences() -> str:
    return "\n".join(
        f"{number}. {sentence} ({'; '.join(captures)})"
        for number, (sentence, captures) in enumerate(blanks(), 1)
    )


def refusals() -> str:
    rows = ["| pattern (RE2, at the beginning) | of | whose |", "|---|---|---|"]
    for known in REFUSALS:
        means = "" if known.kind == "protocol_error" else f", which is `{known.kind}`"
        of = {"tool": "a tool's result", "prompt": "an exception of `prompts/get`"}[known.where]
        pattern = known.pattern.pattern.replace("|", "\\|")
        rows.append(f"| `{pattern}` | {of}{means} | {known.whose} |")
    return "\n".join(rows)


def test_every_capture_says_something_of_every_cause() -> None:
    assert set(TABLE) == set(CAPTURES)
    for capture, cells in TABLE.items():
        assert set(cells) == set(CAUSES), capture
    assert all(cell.blank for cells in TABLE.values() for cell in cells.values() if cell.kind is None)


def test_the_page_shows_the_table_its_blanks_and_the_refusals() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for part in (table(), sentences(), refusals()):
        assert part in text
