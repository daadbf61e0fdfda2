"""``indelible report``: what a period comes to, for a review, each figure with the query that shows it."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from indelible.cli import report_file
from indelible.cli.caps import bounded, caps_options, make_caps
from indelible.cli.common import Where, find_trails, where_options
from indelible.cli.progress import step_bar
from indelible.errors import ConfigError
from indelible.events import format_time
from indelible.query.exports.place import find_target
from indelible.query.filters import check_interval, did_you_mean, parse_time, trail_time
from indelible.query.report.scope import ERROR_PERCENT, MIN_CALLS, PER_HOUR, PERIOD, Scope, moment
from indelible.values import parse_duration, shown

if TYPE_CHECKING:
    from indelible.cli.report_words import Unread, Words
    from indelible.query.engine.connection import Caps
    from indelible.query.exports.place import Target
    from indelible.query.report.controls.base import Framework
    from indelible.query.report.making import Controls, Report
    from indelible.trail.findings import VerifyResult

    Results = list[VerifyResult] | None

EPILOG: Final = """\b
Examples:
  indelible report                          the last 90 days, here
  indelible report --since 2026-07-01 --until 2026-10-01 --html q3.html
                                            a quarter, as one page to keep, mail or print
  indelible report --vkey trail.vkey        with a key that was kept elsewhere
  indelible report --per-hour 100 --error-rate 2
                                            other thresholds
  indelible report --json | jq .verification.ok
  indelible report --controls soc2 --html soc2.html
                                            what the trail shows of each control, and what not

Every section names the command that gives the same figures. Times are in UTC. The whole trail is
verified besides (--no-verify leaves that out, and the report says so).

Exit code 0: the report was made, whatever is in it; 2: wrong usage; 3: the trail cannot be read,
or the page cannot be written.
"""

LIMIT: Final = 20
"""Rows of each table unless somebody says otherwise."""

FRAMEWORK_NAMES: Final = "soc2, nist-800-53, pci-dss, hipaa, eu-ai-act or iso-27001"
"""Those of `indelible.query.report.controls.every`, which is not imported for a line of help."""

_PERCENT = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")


class Output(NamedTuple):
    """Where a report goes."""

    html: str | None
    as_json: bool
    limit: int
    framework: Framework | None
    """Of which controls are asked for; None for the report."""


class Made(NamedTuple):
    """What was made, and the lines that are in none of it: how many, and where the first stands."""

    report: Report | Controls
    unread: Unread


@click.command("report", epilog=EPILOG)
@click.option("--since", metavar="TIME", help=f"Where the period begins; {PERIOD} before its end without it.")
@click.option("--until", metavar="TIME", help="Where it ends; now without it.")
@click.option("--html", metavar="FILE", help="Write one self-contained page here; - is standard output.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("-n", "--limit", type=click.IntRange(min=0), metavar="N", default=LIMIT, show_default=True,
              help="Rows of each table; 0 is all.")  # fmt: skip
@click.option("--per-hour", type=click.IntRange(min=1), metavar="N", default=PER_HOUR, show_default=True,
              help="More calls than this within 60 minutes are many.")  # fmt: skip
@click.option("--error-rate", metavar="PERCENT", default=ERROR_PERCENT, show_default=True,
              help="A higher rate of errors is high.")  # fmt: skip
@click.option("--min-calls", type=click.IntRange(min=1), metavar="N", default=MIN_CALLS, show_default=True,
              help="Of fewer calls no rate is judged.")  # fmt: skip
@click.option("--vkey", "vkeys", metavar="VKEY|FILE", multiple=True,
              help="The trail's public key, from a place that you trust; of several trails, one for each.")  # fmt: skip
@click.option("--no-verify", is_flag=True, help="Do not verify the trail; the report says that.")
@click.option(
    "--controls", metavar="FRAMEWORK", help=f"What the trail shows of its controls: {FRAMEWORK_NAMES}."
)
@click.option(
    "--query", metavar="SECTION", help="Print the query of one section, for 'indelible sql', and end."
)
@caps_options
@where_options
def command(where: Where, **options: Any) -> int:
    """Report on a period: what was called by whom, what is new, what went wrong, and whether the record holds."""
    output = Output(options["html"], options["as_json"], options["limit"], _framework(options["controls"]))
    if output.html is not None and output.as_json:
        raise click.UsageError("--html and --json: one of the two")
    scope = _scope(options)
    if options["query"] is not None:
        if output.html is not None or output.as_json or output.framework is not None:
            raise click.UsageError(
                "--query prints a query and makes no report: not with --html, --json or --controls"
            )
        return _print_query(options["query"], scope)
    if options["no_verify"] and options["vkeys"]:
        raise click.UsageError("--vkey is for the verification that --no-verify leaves out")
    caps = make_caps(options["timeout"], options["memory"])
    paths = find_trails(where)
    target = None if output.html is None else find_target("--html", output.html, stdout=True, trails=paths)
    results = None if options["no_verify"] else _verified(paths, options["vkeys"])
    with bounded(caps):
        made = _made(paths, scope, output, caps)
    words = _words(where, paths, made, results, options["vkeys"], output.limit)
    _print(made, results, words, output, target)
    return 0


def _scope(options: dict[str, Any]) -> Scope:
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)  # what was recorded just now is in it
    until = trail_time(now) if options["until"] is None else _time("--until", options["until"], now)
    since = trail_time(moment(until) - timedelta(seconds=parse_duration(PERIOD)))
    if options["since"] is not None:
        since = _time("--since", options["since"], now)
    check_interval(since, until, (f"--since {options['since']}", f"--until {options['until'] or 'now'}"))
    rate = options["error_rate"].removesuffix("%").strip()
    if not _PERCENT.fullmatch(rate) or float(rate) >= 100:
        raise ConfigError(
            f"--error-rate: expected percent from 0 up to 100, such as 5, found {options['error_rate']!r}"
        )
    return Scope(since, until, options["per_hour"], rate, options["min_calls"])


def _time(option: str, text: str, now: datetime) -> str:
    try:
        return parse_time(text, now)
    except ValueError as exc:
        raise ConfigError(f"{option}: {exc}, found {shown(text)}") from None


def _verified(paths: list[Path], vkeys: tuple[str, ...]) -> list[VerifyResult]:
    from indelible.cli.verify import verify_all
    from indelible.trail.checking.check import load_vkey

    return verify_all(paths, [load_vkey(vkey) for vkey in vkeys])


def _made(paths: list[Path], scope: Scope, asked_for: Output, caps: Caps) -> Made:
    """Return what was asked for, and what could not be read, or is missing."""
    from indelible.cli.report_words import Unread
    from indelible.query.engine.asking import ALL, Asked
    from indelible.query.report import making
    from indelible.trail.reader import with_earlier

    framework = asked_for.framework
    total = making.steps(scope) if framework is None else 1 + len(making.facts_of(framework, scope))
    with Asked(with_earlier(paths), ALL, caps) as asked, step_bar(total, "asking", "queries") as step:
        if framework is None:
            report: Report | Controls = making.make(asked, scope, asked_for.limit, step)
        else:
            report = making.make_controls(asked, scope, framework, step)
    corrupt = asked.corrupt
    return Made(report, Unread(corrupt.count, corrupt.first(), corrupt.missing()))


def _framework(name: str | None) -> Framework | None:
    if name is None:
        return None
    from indelible.query.report.controls.every import FRAMEWORKS

    if name not in FRAMEWORKS:
        raise ConfigError(f"--controls: no framework {shown(name)}{did_you_mean(name, tuple(FRAMEWORKS))}")
    return FRAMEWORKS[name]


def _print_query(name: str, scope: Scope) -> int:
    from indelible.query.report.facts import facts
    from indelible.query.report.making import every_section

    known = {section.name: section.sql for section in every_section(scope)}
    known |= {fact.query_name: fact.sql for fact in facts(scope).values()}
    if name not in known:
        raise ConfigError(f"--query: no section {shown(name)}{did_you_mean(name, tuple(known))}")
    click.echo(known[name])
    return 0


def _words(
    where: Where, paths: list[Path], made: Made, results: Results, vkeys: tuple[str, ...], limit: int
) -> Words:
    from indelible.cli.hints import options_of
    from indelible.cli.report_words import Words, cannot_tell_new, notes_of
    from indelible.query.report.making import goes_back

    held, scope = made.report.held, made.report.scope
    return Words(
        trails=[str(path) for path in paths],
        scope=scope,
        options=options_of(where.config, where.profile, where.trail),
        vkeys=vkeys,
        limit=limit,
        notes=notes_of(held.rows[0], results, made.unread),
        cannot_tell_new=cannot_tell_new(held.rows[0]["oldest"], goes_back=goes_back(held, scope)),
    )


def _print(made: Made, results: Results, words: Words, output: Output, target: Target | None) -> None:
    from indelible.query.report.making import Report

    report = made.report
    if output.as_json:
        from indelible.cli import report_json

        if isinstance(report, Report):
            report_json.show(report_json.as_json(report, results, made.unread, words))
        else:
            report_json.show(report_json.controls(report, results, made.unread, words))
    elif target is not None:
        from indelible.cli import report_controls, report_page

        made_at = format_time(time.time_ns())
        if isinstance(report, Report):
            page = report_page.report_page(report, results, words, made_at)
        else:
            page = report_controls.controls_page(report, results, words, made_at)
        report_file.write(target, page)
        report_file.say(target, words.notes)
    else:
        from indelible.cli import report_controls, report_text

        if isinstance(report, Report):
            report_text.print_report(report, results, words)
        else:
            report_controls.print_controls(report, results, words)
