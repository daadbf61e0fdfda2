"""What a trail shows of a framework's controls, in a terminal and as a page."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from indelible.cli.hints import placed
from indelible.cli.report_html import page, paragraph, text
from indelible.cli.report_page import header, notes, queries, verification
from indelible.cli.report_words import NO_CERTIFICATE, sentence, verified
from indelible.cli.text import neutralise, one_line
from indelible.query.report.facts import VERIFIED

if TYPE_CHECKING:
    from indelible.cli.report_words import Words
    from indelible.query.report.controls.base import Control
    from indelible.query.report.making import Controls
    from indelible.trail.findings import VerifyResult

    Results = Sequence[VerifyResult] | None


def _said(name: str, made: Controls, results: Results) -> str:
    return verified(results)[0] if name == VERIFIED else sentence(made.facts[name])


# --- in a terminal ----------------------------------------------------------------------------------------


def print_controls(made: Controls, results: Results, words: Words) -> None:
    """Print what the trail shows of each control, and what it does not."""
    framework, scope = made.framework, made.scope
    click.secho(f"{framework.title} ({framework.version})", bold=True)
    click.echo(f"{one_line(', '.join(words.trails))}, {scope.since[:19]}Z to {scope.until[:19]}Z")
    _wrapped(framework.about)
    _wrapped(NO_CERTIFICATE)
    for note in words.notes:
        _wrapped(f"note: {note}")
    click.echo("The query of a fact, and its numbers:")
    click.secho(words.piped("facts.NAME"), dim=True)
    click.secho(words.verify_command, dim=True)
    for control in framework.controls:
        _print_control(control, made, results)


def _print_control(control: Control, made: Controls, results: Results) -> None:
    click.echo()
    click.secho(f"{control.id}  {control.title}", bold=True)
    _wrapped(control.asks)
    for name in control.facts:
        _wrapped(f"{_said(name, made, results)} [{name}]", "  shows: ")
    if control.sections:
        _wrapped(placed(f"{', '.join(control.sections)} of 'indelible report'"), "  in detail: ")
    _wrapped(control.not_shown, "  does not show: ")


def _wrapped(said: str, head: str = "") -> None:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    indent = " " * (len(head) - len(head.lstrip()))
    lines = textwrap.wrap(
        neutralise(said),
        max(columns, 40),
        initial_indent=head,
        subsequent_indent=2 * indent,
        break_on_hyphens=False,
    )
    for line in lines:
        click.echo(line)


# --- as a page --------------------------------------------------------------------------------------------


def controls_page(made: Controls, results: Results, words: Words, made_at: str) -> bytes:
    """Return the page, UTF-8."""
    return page(f"{made.framework.title}: what the audit trail shows", _body(made, results, words, made_at))


def _body(made: Controls, results: Results, words: Words, made_at: str) -> Iterator[str]:
    framework, scope = made.framework, made.scope
    yield f"<h1>{text(framework.title)}: what the audit trail shows</h1>\n"
    yield paragraph(f"Version of the framework: {framework.version}.", "faint")
    yield header(words, scope.since, scope.until, made_at)
    yield paragraph(framework.about)
    yield f'<div class="box">\n{paragraph(NO_CERTIFICATE)}</div>\n'
    yield notes(words)
    yield verification(results, words)
    for control in framework.controls:
        yield _control(control, made, results)
    every = [
        (f"facts-{name}", fact.query_name, words.command(fact.sql)) for name, (fact, _) in made.facts.items()
    ]
    yield queries(every)


def _control(control: Control, made: Controls, results: Results) -> str:
    shown = "".join(f"<li>{text(_said(name, made, results))} {_link(name)}</li>\n" for name in control.facts)
    detail = f"In detail: sections {', '.join(control.sections)} of the report." if control.sections else ""
    return (
        f"<h2>{text(control.id)} <br>{text(control.title)}</h2>\n{paragraph(control.asks, 'faint')}"
        f"<h3>The trail shows</h3>\n<ul>\n{shown}</ul>\n{paragraph(detail, 'faint') if detail else ''}"
        f"<h3>The trail does not show</h3>\n{paragraph(control.not_shown)}"
    )


def _link(name: str) -> str:
    """Return a link that says on paper, too, which query is meant."""
    said = "Verification" if name == VERIFIED else f"facts.{name}"
    return f'<a href="#{_target(name)}">{said}</a>'


def _target(name: str) -> str:
    return "verification" if name == VERIFIED else f"query-facts-{name}"
