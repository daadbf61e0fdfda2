"""The page about reports has every section, with its columns, its words and its query, and the keys of the JSON."""

import re
import textwrap

from indelible.query.report.controls.every import FRAMEWORKS
from indelible.query.report.facts import facts
from indelible.query.report.making import every_section
from indelible.query.report.scope import (
    ERROR_PERCENT,
    HABIT_DAYS,
    HABIT_LEAST,
    MIN_CALLS,
    MOST_BUCKETS,
    PER_HOUR,
    PERIOD,
    SILENCE_H,
    Scope,
)
from indelible.query.report.sections import Kind
from tests.unit.docs.pages import DOCS, ROOT, blocks, codes, headings, rows, section

PAGE = DOCS / "reference" / "report.md"
SCOPE = Scope("2026-11-01T00:00:00.000000Z", "2026-11-21T00:00:00.000000Z")


def placed(sql: str) -> str:
    """Return a query as the page has it: the period in words, in lines of a page's width."""
    for time, word in ((SCOPE.since, "SINCE"), (SCOPE.until, "UNTIL"), (SCOPE.last_day, "LAST_DAY")):
        sql = sql.replace(time, word)
    return "\n".join(textwrap.wrap(sql, 118, break_long_words=False, break_on_hyphens=False))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_every_section_is_documented_with_its_words_columns_and_query() -> None:
    names = [text.strip("`") for level, text in headings(PAGE) if level == 3 and text.startswith("`")]
    every, known = every_section(SCOPE), facts(SCOPE)
    assert names == [*(one.name for one in every), *(one.query_name for one in known.values())]
    queries = {squeezed(block.text) for block in blocks(PAGE) if block.language == "text"}
    for one in every:
        said = section(PAGE, f"`{one.name}`")
        assert squeezed(one.title + ". " + one.says) in squeezed(said), one.name
        assert [(codes(name)[0], heading, kind) for name, heading, kind in rows(said)] == [
            tuple(column) for column in one.columns
        ]
        assert squeezed(placed(one.sql)) in queries
        for aside in one.asides:
            assert f"`{aside.name}`: {aside.says.removesuffix(': {n}')}." in squeezed(said)


def test_every_fact_is_documented_with_its_sentence_and_query() -> None:
    for fact in facts(SCOPE).values():
        said = section(PAGE, f"`{fact.query_name}`")
        assert squeezed(fact.says) in squeezed(said)
        assert squeezed(placed(fact.sql)) in squeezed(said)


def test_every_framework_is_documented_with_its_controls() -> None:
    [*table, _, _] = rows(section(PAGE, "Controls").partition("### ")[0])
    assert [(codes(name)[0], version, ids) for name, version, ids in table] == [
        (one.name, f"{one.title}: {one.version}", ", ".join(control.id for control in one.controls))
        for one in FRAMEWORKS.values()
    ]


def test_the_keys_of_the_json_are_documented() -> None:
    """The keys that the code writes, as its source has them."""
    source = (ROOT / "src/indelible/cli/report_json.py").read_text(encoding="utf-8")
    text = section(PAGE, "JSON") + section(PAGE, "Controls")
    assert set(re.findall(r'^ +"([a-z_]+)":', source, re.MULTILINE)) <= set(codes(text))


def test_kinds_of_values_are_explained() -> None:
    assert [codes(cells[0])[0] for cells in rows(section(PAGE, "Values"))] == list(Kind.__args__)  # type: ignore[attr-defined]


def test_thresholds_are_the_codes() -> None:
    text = squeezed(PAGE.read_text(encoding="utf-8"))
    for said in (
        f"`{PERIOD}`", f"more than {PER_HOUR} calls", f"{ERROR_PERCENT} %", f"at least {MIN_CALLS} calls",
        f"{HABIT_DAYS} days", f"at least {HABIT_LEAST} of", f"{SILENCE_H} hours", f"{MOST_BUCKETS} bars",
    ):  # fmt: skip
        assert said in text, said
