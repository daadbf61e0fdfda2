"""A report as one self-contained page: figures, charts, and at its end the command that gives each figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from indelible import __version__
from indelible.cli import report_charts
from indelible.cli.report_html import facts, isolated, page, paragraph, table, text, tiles
from indelible.cli.report_values import duration, shown
from indelible.cli.text import counted
from indelible.query.report.scope import moment

if TYPE_CHECKING:
    from indelible.cli.report_words import Words
    from indelible.query.report.making import Report, Table
    from indelible.trail.findings import VerifyResult

BARS: Final = {
    "busy": "most",
    "errors": "percent",
    "cost": "centicents",
    "slow": "p95",
    "new_tools": "calls",
    "refused": "calls",
}
"""Sections whose rows have a bar, and of which column."""

SHOWN_FINDINGS: Final = 50
"""A page is for people: `verify --json` has all."""


def report_page(report: Report, results: Sequence[VerifyResult] | None, words: Words, made_at: str) -> bytes:
    """Return the page, UTF-8."""
    return page(
        f"Audit report, {report.scope.since[:10]} to {report.scope.until[:10]}",
        _body(report, results, words, made_at),
    )


def _body(report: Report, results: Sequence[VerifyResult] | None, words: Words, made_at: str) -> Iterator[str]:
    scope = report.scope
    yield "<h1>Audit report</h1>\n"
    yield header(words, scope.since, scope.until, made_at)
    yield notes(words)
    yield _one_row(report.summary)
    yield _contents(report)
    yield verification(results, words)
    yield _one_row(report.held)
    for found in report.tables:
        yield _section(found, report, words)
    yield _queries(report, words)


def header(words: Words, since: str, until: str, made_at: str) -> str:
    """Return what the page is about."""
    long = duration((moment(until) - moment(since)).total_seconds())
    return facts(
        [
            ("Trail", "<br>".join(isolated(path) for path in words.trails)),
            ("Period (UTC)", text(f"{_short(since)} to {_short(until)} ({long})")),
            ("Made", text(f"{_short(made_at)} (UTC), with indelible {__version__}")),
        ]
    )


def _short(time: str) -> str:
    return f"{time[:10]} {time[11:19]}"


def notes(words: Words) -> str:
    """Return what is to be known before anything else is believed."""
    if not words.notes:
        return ""
    items = "".join(f"<li>{text(note)}</li>\n" for note in words.notes)
    return f'<div class="box">\n<p><strong>To be known first</strong></p>\n<ul>\n{items}</ul>\n</div>\n'


def _one_row(found: Table) -> str:
    section, [row] = found.section, found.rows
    figures = tiles((column.heading, shown(row[column.name], column)) for column in section.columns)
    return f"<h2>{text(section.title)}</h2>\n{paragraph(section.says, 'faint')}{figures}{_link(section.name)}"


def _contents(report: Report) -> str:
    rows = "".join(
        f'<tr><td><a href="#{found.section.name}">{text(found.section.title)}</a></td>'
        f'<td class="n">{found.total:,}</td></tr>\n'
        for found in report.tables
    )
    return (
        '<h2>At a glance</h2>\n<table class="short">\n<caption>How many rows each section has</caption>\n'
        '<thead><tr><th scope="col">Section</th><th scope="col" class="n">Rows</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table>\n"
    )


def _link(name: str) -> str:
    return f'<p class="faint"><a href="#query-{name}">The query that shows it</a></p>\n'


def _section(found: Table, report: Report, words: Words) -> str:
    section, scope = found.section, report.scope
    parts = [f'<h2 id="{section.name}">{text(section.title)}</h2>\n', paragraph(section.says, "faint")]
    if section.name == "activity":
        parts.append(report_charts.activity(found.rows, moment(scope.since), moment(scope.until), words.bucket))
    rows = found.rows[: words.limit or None]
    if rows:
        caption = counted(found.total, "row") + (
            f", the first {len(rows)} of them" if found.total > len(rows) else ""
        )
        parts.append(table(section.columns, rows, caption, words.bucket, BARS.get(section.name)))
        if found.total > len(rows):
            parts.append(paragraph(f"And {found.total - len(rows):,} more: the query gives all of them."))
    else:
        parts.append(paragraph(section.none[:1].upper() + section.none[1:] + "."))
    parts += [paragraph(aside.says.format(n=f"{number:,}")) for aside, number in found.asides]
    if section.is_new and words.cannot_tell_new:
        parts.append(paragraph(words.cannot_tell_new))
    return "".join([*parts, _link(section.name)])


def verification(results: Sequence[VerifyResult] | None, words: Words) -> str:
    """Return the state of the trails: what was checked, what was found, what was not checked."""
    parts = ['<h2 id="verification">Verification</h2>\n']
    if results is None:
        parts.append(paragraph("The trail was not verified: that was left out when this report was made."))
    for result in results or ():
        word = '<span class="ok-word">ok</span>' if result.ok else '<span class="bad-word">NOT OK</span>'
        size = "none" if result.size is None else f"{result.size:,} events"
        parts.append(
            facts(
                [
                    ("Trail", isolated(result.trail)),
                    ("Verdict", word),
                    ("Lines as sealed", f"{result.events:,}"),
                    ("Checkpoint over", text(size)),
                    ("Not sealed yet", f"{result.unsealed:,}"),
                    ("Erased", f"{result.erased:,}"),
                    ("Deleted on record", f"{result.pruned:,}"),
                    ("Findings", "".join(f"{isolated(one)}<br>" for one in result.findings[:SHOWN_FINDINGS])),
                    ("More findings", text(_more(result))),
                    ("Not checked", "".join(f"{isolated(one)}<br>" for one in result.not_checked)),
                ]
            )
        )
    return "".join([*parts, f"<pre>{text(words.verify_command)}</pre>\n"])


def _more(result: VerifyResult) -> str:
    more = max(len(result.findings) - SHOWN_FINDINGS, 0) + result.omitted
    return f"{more:,}" if more else ""


def _queries(report: Report, words: Words) -> str:
    every = [report.summary, report.held, *report.tables]
    return queries(
        [(found.section.name, found.section.title, words.command(found.section.sql)) for found in every]
    )


def queries(every: Sequence[tuple[str, str, str]]) -> str:
    """Return the last part of a page: of each figure, by its name, the command that gives it."""
    items = "".join(
        f'<h3 id="query-{name}">{text(title)}</h3>\n<pre>{text(command)}</pre>\n'
        for name, title, command in every
    )
    return (
        "<h2>The queries</h2>\n"
        + paragraph(
            "Each of these commands gives the rows above, on the machine that has the trail, as long as nothing of the "
            "period is deleted or erased.",
            "faint",
        )
        + items
    )
