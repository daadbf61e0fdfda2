"""``indelible incident``: what somebody outside saw go wrong, on record beside what was called then."""

from __future__ import annotations

from typing import Final

import click

from indelible.cli.common import Where, one_trail, print_json, where_options
from indelible.cli.text import one_line
from indelible.errors import ConfigError

MAX_NOTE_CHARS: Final = 500

EPILOG: Final = """\b
Examples:
  indelible incident add --note "checkout answers 502"
  indelible incident add --at 2026-11-22T05:10:00Z --backend shop --note "uptime check failed, 3 of 3"
  indelible incident add --at 10m --note "disk latency alarm" --json | jq -r .event_id
  indelible log --events alert,mcp_operation --since 1h

A monitor's hook can call it. The note is redacted as everything else is; the event is an alert whose
timestamp is the time that was seen, not that of the recording.

Exit code 0: it is on record; 2: wrong usage or configuration; 3: it could not be recorded.
"""


@click.group("incident", epilog=EPILOG)
def command() -> None:
    """Record what a monitor outside saw."""


@command.command("add", epilog=EPILOG)
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
