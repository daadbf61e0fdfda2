"""``indelible incident``: what was called before something died, and what somebody outside saw go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Where, find_trails, one_trail, print_json, where_options
from indelible.cli.text import one_line
from indelible.errors import ConfigError
from indelible.values import parse_duration, shown

if TYPE_CHECKING:
    from indelible.query.incidents.reading import Asked

MAX_NOTE_CHARS: Final = 500

DEFAULT_MOST: Final = 10
"""Incidents that are shown when nothing is said."""

MOST_INCIDENTS: Final = 10_000
MOST_CALLS: Final = 1_000
"""Of each list; they are held in memory for every incident."""

WINDOW_S: Final = 300.0
LONGEST_WINDOW_S: Final = 86_400.0

EPILOG: Final = """\b
Examples:
  indelible incident                             the newest 10, and what was called before each
  indelible incident --backend files --since 1d  of one server
  indelible incident --at 2026-11-22T05:10:00Z   what there was around that time, or was under
                                                 way then though nothing is on record
  indelible incident --each --limit 3            a crash loop one by one, 3 calls of each list
  indelible incident --json | jq '.incidents[].in_flight.calls[].name'
  indelible incident add --note "checkout answers 502"

An incident is a server that went Degraded or Failed, a recorder that died, events that could
not be recorded, or what `indelible incident add` noted. Times are shown in UTC.

Exit code 0: done, also when there was none; 2: wrong usage; 3: the trail cannot be read.
"""

ADD_EPILOG: Final = """\b
Examples:
  indelible incident add --note "checkout answers 502"
  indelible incident add --at 2026-11-22T05:10:00Z --backend shop --note "uptime check failed, 3 of 3"
  indelible incident add --at 10m --note "disk latency alarm" --json | jq -r .event_id
  indelible log --events alert,mcp_operation --since 1h

A monitor's hook can call it. The note is redacted as everything else is; the event is an alert whose
timestamp is the time that was seen, not that of the recording.

Exit code 0: it is on record; 2: wrong usage or configuration; 3: it could not be recorded.
"""


@click.group("incident", epilog=EPILOG, invoke_without_command=True)
@click.option("--backend", metavar="ID", help="Only what is about this MCP server, and its calls.")
@click.option("--at", metavar="TIME", help="Around this time: 10m ago, a date, or RFC 3339.")
@click.option("--since", metavar="TIME", help="At or after: the same forms.")
@click.option("--until", metavar="TIME", help="Before: the same forms.")
@click.option("--window", metavar="TIME", help="So long before an incident is looked at. Default 5m.")
@click.option(
    "-n", "most", type=click.IntRange(0, MOST_INCIDENTS), metavar="N", default=DEFAULT_MOST,
    help="The newest N incidents; 0 is all. Default 10.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(1, MOST_CALLS), metavar="N", default=10,
    help="Calls that are shown of a list. Default 10; those in flight are all in --json.",
)  # fmt: skip
@click.option("--each", is_flag=True, help="Show those of a crash loop one by one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@where_options
def command(where: Where, *, as_json: bool, **options: Any) -> int:
    """Show what was called before something died; with `add`, record what a monitor outside saw."""
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        return _show(where, as_json=as_json, **options)
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is not _DEFAULT]
    if given:
        named = {param.name: param.opts[0] for param in ctx.command.params}
        raise click.UsageError(f"{named[given[0]]} goes after {ctx.invoked_subcommand}")
    return 0


_DEFAULT: Final = click.core.ParameterSource.DEFAULT


def _show(where: Where, *, limit: int, as_json: bool, **options: Any) -> int:
    from indelible.cli import incident_view
    from indelible.cli.progress import progress_bar
    from indelible.query.incidents.reading import analyse
    from indelible.trail.reader import with_earlier

    asked = _asked(keep=limit, **options)
    living = find_trails(where)
    paths = with_earlier(living)
    with progress_bar(paths, "reading") as progress:
        analysis = analyse(paths, living, asked, progress)
    incident_view.show(analysis, asked, as_json=as_json)
    return 0


def _asked(*, at: str | None, since: str | None, until: str | None, **others: Any) -> Asked:
    """Return what the options ask for. Raises ConfigError, UsageError."""
    from indelible.cli.filtering import parse_moment
    from indelible.query.filters import check_given, check_interval
    from indelible.query.incidents.reading import Asked

    if at is not None and (since is not None or until is not None):
        raise click.UsageError("--at is a moment, --since and --until are a stretch: say which")
    begin, end, moment = (
        None if text is None else parse_moment(option, text)
        for option, text in (("--since", since), ("--until", until), ("--at", at))
    )
    check_interval(begin, end, (f"--since {since}", f"--until {until}"))
    if moment is not None:
        _check_past(moment)
    backend = others["backend"]
    check_given("--backend", [] if backend is None else [backend])
    return Asked(
        since=begin,
        until=end,
        at=moment,
        backend=backend,
        window_s=_window(others["window"]),
        keep=others["keep"],
        most=others["most"] or None,
        each=others["each"],
    )


def _check_past(at: str) -> None:
    from indelible import events

    if at > events.now():
        raise ConfigError(f"--at: {at} is later than now: nothing was called then yet")


def _window(text: str | None) -> float:
    if text is None:
        return WINDOW_S
    try:
        seconds = parse_duration(text)
    except ValueError as exc:
        raise ConfigError(f"--window: {exc}, found {shown(text)}") from None
    if not 0 < seconds <= LONGEST_WINDOW_S:
        raise ConfigError(f"--window: expected more than nothing and at most 1d, found {shown(text)}")
    return seconds


@command.command("add", epilog=ADD_EPILOG)
@click.option(
    "--at", metavar="TIME", default="0s", help="When it was seen: 10m ago, or RFC 3339. Default: now."
)
@click.option("--note", metavar="TEXT", required=True, help="What was seen; redacted, then recorded.")
@click.option("--backend", metavar="ID", help="The MCP server that it is about.")
@click.option("--json", "as_json", is_flag=True, help="Print what was recorded as one JSON object.")
@where_options
def add(where: Where, at: str, note: str, backend: str | None, as_json: bool) -> int:  # noqa: FBT001 - click's signature
    """Record what was seen from outside, as an event of the trail."""
    from indelible import events
    from indelible.cli.filtering import parse_moment
    from indelible.cli.ordering import give, opening_settings
    from indelible.trail.upkeep.orders import AddIncident

    order = AddIncident(
        id=events.new_id(),
        at=parse_moment("--at", at),
        note=_redacted(where, "--note", note),
        backend=None if backend is None else _redacted(where, "--backend", backend, 256),
    )
    path = one_trail(where)
    done = give(path, opening_settings(where, path), order, "recording the incident")
    if as_json:
        print_json({"trail": str(path), **done})
    else:
        click.echo(one_line(f"recorded for {done['at']}: {done['note']} (event {done['event_id']})"))
    return 0


def _redacted(where: Where, option: str, text: str, most: int = MAX_NOTE_CHARS) -> str:
    """Return a text as it may go into the trail: redacted by the rules in force here. Raises ConfigError."""
    from indelible.config import RedactionSettings
    from indelible.redact import Redactor

    if not text.strip() or len(text) > most:
        msg = f"{option}: expected 1 to {most} characters"
        raise ConfigError(msg)
    rules = RedactionSettings() if where.trail_alone else where.settings.redaction
    return Redactor(rules, hmac_key=b"", hmac_key_id="").text(text)
