"""``indelible hold``: legal holds: what must not be deleted or erased, whatever its age."""

from __future__ import annotations

import os
from typing import Any, Final

import click

from indelible.cli.common import Where, one_trail, print_json, where_options
from indelible.cli.text import one_line
from indelible.config import RedactionSettings
from indelible.errors import ConfigError, TrailError

MAX_REASON_CHARS: Final = 500

EPILOG: Final = """\b
Examples:
  indelible hold add --user alice@example.org --reason "case 2026-17"
  indelible hold add --session 0c9d1f --since 2026-11-01T00:00:00Z
  indelible hold add --since 30d --until 0s --reason "incident 7"
  indelible hold list
  indelible hold release 4f1a09c2d7be --reason "case closed"
"""


@click.group("hold", epilog=EPILOG)
def command() -> None:
    """Place legal holds, list and release them."""


@command.command("add", epilog=EPILOG)
@click.option("--user", metavar="ID", help="Events of this user, as source.user_id or on_behalf_of has it.")
@click.option("--session", metavar="ID", help="Events of this session, as source.session_id has it.")
@click.option("--since", metavar="TIME", help="Events from this time on: 30d, 2h, or RFC 3339.")
@click.option("--until", metavar="TIME", help="Events before this time.")
@click.option("--reason", metavar="TEXT", help="Why; it goes into the trail, redacted.")
@click.option("--json", "as_json", is_flag=True, help="Print the hold as one JSON object.")
@where_options
def add(
    where: Where,
    user: str | None,
    session: str | None,
    since: str | None,
    until: str | None,
    reason: str | None,
    as_json: bool,  # noqa: FBT001 - click's signature
) -> int:
    """Hold all events that match everything that is named, those to come too."""
    from indelible.cli.ordering import give, opening_settings
    from indelible.trail.upkeep import holding
    from indelible.trail.upkeep.orders import AddHold

    hold = holding.Hold(
        id=os.urandom(6).hex(),
        user=user,
        session=session,
        since=_time("--since", since),
        until=_time("--until", until),
        reason=None if reason is None else redacted_reason(where, reason),
    )
    holding.check(hold)
    path = one_trail(where)
    audit = opening_settings(where, path)
    done = give(path, audit, AddHold(hold=hold), "placing the hold")
    if as_json:
        print_json(done["hold"])
    else:
        click.echo(one_line(f"hold {done['hold']['id']}: {describe(done['hold'])}"))
    return 0


@command.command("list", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON array.")
@where_options
def list_(where: Where, as_json: bool) -> int:  # noqa: FBT001 - click's signature
    """List the holds that stand, as the trail itself has them."""
    import msgspec

    from indelible.trail.layout import Layout
    from indelible.trail.reader import is_there
    from indelible.trail.upkeep.standing import read_standing

    path = one_trail(where)
    if not is_there(path):
        msg = f"{path}: there is no trail here"
        raise TrailError(msg)
    standing = read_standing(Layout(path)).standing
    holds: list[dict[str, Any]] = [msgspec.to_builtins(hold) for hold in standing.values()]
    if as_json:
        print_json(holds)
        return 0
    for hold in holds:
        about = f"placed {hold.get('placed_at', '-')} by {hold.get('placed_by', '-')}"
        why = f": {hold['reason']}" if hold.get("reason") else ""
        click.echo(one_line(f"{hold['id']}  {describe(hold)}  ({about}{why})"))
    if not holds:
        click.echo("no hold stands")
    return 0


@command.command("release", epilog=EPILOG)
@click.argument("hold_id", metavar="ID")
@click.option("--reason", metavar="TEXT", required=True, help="Why; it goes into the trail, redacted.")
@click.option("--json", "as_json", is_flag=True, help="Print what was released as one JSON object.")
@where_options
def release(where: Where, hold_id: str, reason: str, as_json: bool) -> int:  # noqa: FBT001
    """Release a hold: from now on, retention and erasure reach what it held."""
    from indelible import events
    from indelible.cli.ordering import give, opening_settings
    from indelible.trail.upkeep.orders import ReleaseHold

    path = one_trail(where)
    audit = opening_settings(where, path)
    order = ReleaseHold(id=hold_id, reason=redacted_reason(where, reason), request=events.new_id())
    done = give(path, audit, order, "releasing the hold")
    if as_json:
        print_json(done["released"])
    else:
        click.echo(one_line(f"hold {done['released']['id']} is released"))
    return 0


def describe(hold: dict[str, Any]) -> str:
    """Return what a hold is about, on one line."""
    parts = [f"{key} {hold[key]}" for key in ("user", "session", "since", "until") if hold.get(key)]
    return ", ".join(parts)


def _time(option: str, text: str | None) -> str | None:
    """Return a time of an option in the trail's form. Raises ConfigError."""
    from datetime import UTC, datetime

    from indelible.query.filters import parse_time

    if text is None:
        return None
    try:
        return parse_time(text, datetime.now(UTC))
    except ValueError as exc:
        msg = f"{option}: {exc}"
        raise ConfigError(msg) from exc


def redacted_reason(where: Where, text: str) -> str:
    """Return a text as it may go into the trail: redacted by the rules in force here. Raises ConfigError."""
    from indelible.redact import Redactor

    if not text.strip() or len(text) > MAX_REASON_CHARS:
        msg = f"--reason: expected 1 to {MAX_REASON_CHARS} characters"
        raise ConfigError(msg)
    rules = RedactionSettings() if where.trail_alone else where.settings.redaction
    return Redactor(rules, hmac_key=b"", hmac_key_id="").text(text)
