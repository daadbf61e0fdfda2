"""A report in a terminal, or as plain text: the same words in both."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from indelible.cli.report_values import RIGHT, duration, shown
from indelible.cli.text import fit, neutralise, one_line, pad, width
from indelible.query.report.scope import moment

if TYPE_CHECKING:
    from indelible.cli.report_words import Words
    from indelible.query.report.making import Report, Table
    from indelible.query.report.sections import Column
    from indelible.trail.findings import VerifyResult

LEAST: Final = 8
"""The least cells of a column of texts, where the terminal is narrow."""

MOST: Final = 60
"""The most cells of one column where nothing says how wide the paper is."""


def print_report(report: Report, results: Sequence[VerifyResult] | None, words: Words) -> None:
    """Print all of it."""
    scope = report.scope
    click.secho(f"Report on {one_line(', '.join(words.trails))}", bold=True)
    long = duration((moment(scope.until) - moment(scope.since)).total_seconds())
    click.echo(f"{scope.since[:19]}Z to {scope.until[:19]}Z ({long})")
    _print_facts(report.summary, words)
    for text in words.notes:
        _print_wrapped(click.style("note", fg="yellow") + ": ", text)
    _heading("Verification")
    if results is None:
        click.echo("not verified: left out with --no-verify")
    else:
        from indelible.cli.verify import print_result

        for result in results:
            print_result(result)
    click.echo(words.verify_command)
    _print_facts(report.held, words)
    for table in report.tables:
        print_table(table, words)


def _heading(text: str) -> None:
    click.echo()
    click.secho(text, bold=True)


def _print_facts(table: Table, words: Words) -> None:
    """Print a table of one row as lines of a name and a value."""
    section = table.section
    _heading(section.title)
    [row] = table.rows
    names = max(len(column.heading) for column in section.columns)
    for column in section.columns:
        value = shown(row[column.name], column)
        if value:
            click.echo(f"{column.heading:<{names}}  {value}")
    _print_command(words.piped(section.name))


def print_table(table: Table, words: Words) -> None:
    """Print a section: its rows, what is to be said beside them, and the command that gives them."""
    section = table.section
    more = f": {table.total}" if table.total else f": {section.none}"
    _heading(f"{section.title}{more}")
    if table.rows:
        rows = table.rows[: words.limit or None]
        cells = [[shown(row[column.name], column, words.bucket) for column in section.columns] for row in rows]
        _print_cells(section.columns, cells)
        if table.total > len(rows):
            click.echo(f"and {table.total - len(rows)} more (-n 0 shows all)")
    for aside, number in table.asides:
        _print_wrapped("", aside.says.format(n=f"{number:,}"))
    if section.is_new and words.cannot_tell_new:
        _print_wrapped("", words.cannot_tell_new)
    _print_command(words.piped(section.name))


def _print_cells(columns: Sequence[Column], cells: list[list[str]]) -> None:
    heads = [column.heading for column in columns]
    widths = [max(width(text) for text in column) for column in zip(heads, *cells, strict=True)]
    widths = _squeezed(columns, widths)
    for row, style in [(heads, "bold"), *((row, "") for row in cells)]:
        parts = []
        for column, text, most in zip(columns, row, widths, strict=True):
            cut = fit(text, most)
            parts.append(" " * (most - width(cut)) + cut if column.kind in RIGHT else pad(cut, most))
        click.secho("  ".join(parts).rstrip(), bold=style == "bold")


def _squeezed(columns: Sequence[Column], widths: list[int]) -> list[int]:
    """Make a table fit the terminal: its widest texts give way, then its headings."""
    widths = [
        min(cells, MOST) if column.kind == "text" else cells
        for column, cells in zip(columns, widths, strict=True)
    ]
    if not sys.stdout.isatty():
        return widths
    room = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
    for kinds, least in ((("text",), LEAST), (tuple(column.kind for column in columns), LEAST)):
        while sum(widths) > room:
            able = [at for at, one in enumerate(columns) if one.kind in kinds and widths[at] > least]
            if not able:
                break
            widths[max(able, key=lambda at: widths[at])] -= 1
    return widths


def _print_wrapped(head: str, text: str) -> None:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    room = max(columns - len(click.unstyle(head)), 20)
    lines = textwrap.wrap(neutralise(text), room, break_on_hyphens=False) or [""]
    click.echo(head + lines[0])
    for line in lines[1:]:
        click.echo(line)


def _print_command(text: str) -> None:
    click.secho(text, dim=True)
