"""``indelible erase``: erase the content of somebody's events; proofs and checkpoints stay valid."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from indelible.cli.common import Where, find_trails, note, print_json, where_options
from indelible.cli.hints import placed
from indelible.cli.text import counted, one_line
from indelible.errors import ConfigError, TrailError

if TYPE_CHECKING:
    from indelible.trail.upkeep.orders import Erase

EPILOG: Final = """\b
Examples:
  indelible erase --user alice@example.org --dry-run
  indelible erase --user alice@example.org --reason "request 2026-31"
  indelible erase --session 0c9d1f0e --reason "request 2026-32" --yes
  indelible erase --event 1207 --event 5f0c36a1-7f7e-4f34-8a0e-0d0f0f6b0c11 --reason "pasted key"

What goes: the lines of these events, wherever the trail keeps them, with the other half of each
call (intent and outcome); of a line its seq and its leaf hash stay, so every proof still checks.
What is recorded: when, how many, which seqs, your reason, who asks; never whose they were. Put no
name into the reason. What somebody else's events say of the person is not searched, and copies
elsewhere (exports, backups, other systems) cannot be reached.

Exit code 0: done, also when there was nothing to erase; 1: a hold forbids it, or something had to
stay; 2: wrong usage or configuration; 3: it could not be done, or not yet.
"""

ELSEWHERE: Final = (
    "copies that cannot be reached from here: exports and proofs with their lines, backups and snapshots, what was"
    " sent to other systems, and blocks of the disk that the file system has not used again"
)

MAX_SEQ_DIGITS: Final = 16

By = Literal["user", "session", "event"]


@click.command("erase", epilog=EPILOG)
@click.option("--user", metavar="ID", help="Events of this user, as source.user_id or on_behalf_of has it.")
@click.option("--session", metavar="ID", help="Events of this session, as source.session_id has it.")
@click.option(
    "--event", "events", metavar="SEQ|EVENT_ID", multiple=True, help="This event; may be given again."
)
@click.option("--reason", metavar="TEXT", help="Why; it goes into the trail, redacted, and stays there.")
@click.option("--dry-run", is_flag=True, help="Erase nothing; say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
@where_options
def command(
    where: Where,
    user: str | None,
    session: str | None,
    events: tuple[str, ...],
    reason: str | None,
    dry_run: bool,  # noqa: FBT001 - click's signature
    yes: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Erase the content of a user's or a session's events, or of single ones, for good."""
    from indelible.cli.hold import redacted_reason
    from indelible.trail.reader import is_there

    by, values = _selected(user, session, events)
    if reason is None and not dry_run:
        raise click.UsageError("--reason is missing: it stays in the trail in the content's place")
    text = "a dry run" if reason is None else redacted_reason(where, reason)
    paths = [path for path in find_trails(where) if is_there(path)]
    if not paths:
        msg = f"{find_trails(where)[0]}: there is no trail here"
        raise TrailError(msg)
    if by == "event" and len(paths) > 1 and any(value.isdigit() for value in values):
        msg = f"{len(paths)} trails are meant, and a seq is one trail's; say which with --trail FILE"
        raise ConfigError(msg)
    if yes and not dry_run and len(paths) == 1:
        return _say([_give(where, paths[0], _order(by, values, text, dry_run=False))], as_json=as_json)
    look = [_give(where, path, _order(by, values, text, dry_run=True)) for path in paths]
    if dry_run or any(one["refused"] for one in look) or not any(_count(one) for one in look):
        return _say(look, as_json=as_json)
    if not yes and not _is_meant(look, as_json=as_json):
        note("nothing was erased")
        return 1
    done = [_give(where, one["trail"], _order(by, values, text, dry_run=False)) for one in look if _count(one)]
    kept = [one for one in look if not _count(one)]
    return _say([*done, *kept], as_json=as_json)


def _selected(user: str | None, session: str | None, events: tuple[str, ...]) -> tuple[By, list[str]]:
    """Return what the events are selected by, and the values. Raises UsageError."""
    named: list[tuple[By, list[str]]] = []
    if user is not None:
        named.append(("user", [user]))
    if session is not None:
        named.append(("session", [session]))
    if events:
        named.append(("event", [_event(value) for value in events]))
    if len(named) != 1:
        raise click.UsageError("expected one of --user, --session and --event")
    by, values = named[0]
    for value in values:
        if not value or "\0" in value or value != value.encode("utf-8", "replace").decode():
            raise click.UsageError(f"--{by}: expected an id, found {value!r}")
    return by, values


def _event(value: str) -> str:
    """Return an event's id, or its seq as lines have it. Raises UsageError."""
    if not (value.isascii() and value.isdigit()):
        return value
    if len(value) > MAX_SEQ_DIGITS:
        raise click.UsageError(f"--event: no seq has more than {MAX_SEQ_DIGITS} digits")
    return str(int(value))


def _order(by: By, values: list[str], reason: str, *, dry_run: bool) -> Erase:
    from indelible.events import new_id
    from indelible.trail.upkeep.orders import Erase

    return Erase(id=new_id(), by=by, values=values, reason=reason, dry_run=dry_run)


def _give(where: Where, path: Path | str, order: Erase) -> dict[str, Any]:
    from indelible.cli.ordering import give, opening_settings

    audit = opening_settings(where, Path(path))
    return give(Path(path), audit, order, "looking for it" if order.dry_run else "erasing")


def _count(one: dict[str, Any]) -> int:
    return int(one["lines"]) + int(one["loose"])


def _is_meant(look: list[dict[str, Any]], *, as_json: bool) -> bool:
    """Ask the operator. Raises UsageError where nobody can be asked."""
    if as_json or not sys.stdin.isatty():
        raise click.UsageError(f"{_summary(look)} would be erased for good; --yes says that this is meant")
    try:
        return click.confirm(f"Erase {_summary(look)} for good?", err=True)
    except click.Abort:
        raise KeyboardInterrupt from None


def _summary(look: list[dict[str, Any]]) -> str:
    count = sum(_count(one) for one in look)
    where = look[0]["trail"] if len(look) == 1 else f"{len(look)} trails"
    return f"{counted(count, 'event')} of {where}"


# --- what is said -------------------------------------------------------------------------------------------


def _say(results: list[dict[str, Any]], *, as_json: bool) -> int:
    """Print what became of it; return the exit code."""
    code = 1 if any(one["refused"] or one["under_way"] or one["lasting"] for one in results) else 0
    if as_json:
        about = {"ok": code == 0, "erased": sum(_count(one) for one in results if one["records"])}
        print_json({**about, "trails": results, "elsewhere": ELSEWHERE})
        return code
    for one in results:
        _print_one(one)
    if any(_count(one) for one in results):
        note(ELSEWHERE)
    return code


def _print_one(one: dict[str, Any]) -> None:
    click.echo(one_line(f"{one['trail']}: {_outcome(one)}"))
    for hold, count in one["held"].items():
        click.echo(
            one_line(
                placed(f"  held: {counted(count, 'event')} by hold {hold}; 'indelible hold list' says why")
            )
        )
    if one["lasting"]:
        click.echo(f"  stays: {counted(one['lasting'], 'event')} that the trail needs to be read")
    if one["under_way"]:
        calls = counted(one["under_way"], "call")
        click.echo(f"  stays: {calls} under way; erase again once there is an outcome")


def _outcome(one: dict[str, Any]) -> str:
    if one["refused"]:
        return "nothing was erased"
    count = _count(one)
    if not count:
        return "nothing to erase"
    types = ", ".join(f"{number} {kind}" for kind, number in sorted(one["events"].items()))
    extra = [types] if types else []
    if one["of_earlier_trails"]:
        extra.append(f"{one['of_earlier_trails']} of them in earlier trails")
    if one["loose"]:
        extra.append(f"{one['loose']} in quarantine")
    if one["records"]:
        extra.append(f"on record as {', '.join(one['records'][:3])}{' …' * (len(one['records']) > 3)}")
    verb = "erased" if one["records"] else "would be erased"
    return f"{counted(count, 'event')} {verb} ({'; '.join(extra)})"
