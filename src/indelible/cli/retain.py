"""``indelible retain``: delete the closed files that nothing keeps any more."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Where, one_trail, print_json, where_options
from indelible.cli.status import settings_for
from indelible.cli.text import byte_count, counted, neutralise, one_line, pad, width

if TYPE_CHECKING:
    from indelible.config import AuditSettings, Retention
    from indelible.trail.upkeep.due import Plan

EPILOG: Final = """\b
Examples:
  indelible retain --dry-run             every closed file: kept or not, and by which rule
  indelible retain --dry-run --tier saas the same, as if audit.retention were this tier
  indelible retain                       delete what nothing keeps any more
  indelible retain --json | jq '.deleted[] | {first, last, why}'

Whoever writes the trail does the same by itself, after each rotation and every hour. A file
goes when every event in it has passed the bound of its class (audit.retention); where that says
none, when it is not one of the newest audit.backup_count. A legal hold comes before both. What
is deleted is recorded in the trail, and the rest still verifies.

Exit code 0: done, also when nothing was due; 2: wrong usage or configuration; 3: it could not
be done.
"""

TIER: Final = "With --dry-run: as if audit.retention were hobby, saas, hipaa or sox."
HEADINGS: Final = ("file", "seqs", "events", "size", "ended", "", "by", "why")


@click.command("retain", epilog=EPILOG)
@click.option("--dry-run", is_flag=True, help="Delete nothing; say what would become of each closed file.")
@click.option("--tier", metavar="NAME", help=TIER)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
@where_options
def command(where: Where, dry_run: bool, tier: str | None, as_json: bool) -> int:  # noqa: FBT001 - click's signature
    """Delete the closed files that no hold, age, size or count keeps."""
    from msgspec.structs import replace

    from indelible.cli.ordering import give, needed_settings, opening_settings
    from indelible.trail.layout import Layout
    from indelible.trail.start.holder import current_holder
    from indelible.trail.upkeep.orders import Retain

    rules = _as_if(tier, dry_run=dry_run)
    path = one_trail(where)
    if dry_run:
        audit = needed_settings(where, path)
        _dry_run(path, audit if rules is None else replace(audit, retention=rules), as_json=as_json)
        return 0
    if current_holder(Layout(path).lock) is not None and settings_for(where, path) is None:
        audit, order = opening_settings(where, path), Retain()  # by its holder's rules
    else:
        audit = needed_settings(where, path)
        order = Retain(retention=audit.retention_rules, backup_count=audit.backup_count)
    done = give(path, audit, order, "deleting what nothing keeps any more")
    if as_json:
        print_json({"trail": str(path), **done})
    else:
        _print_done(path, done)
    return 0


def _as_if(tier: str | None, *, dry_run: bool) -> Retention | None:
    """Return the rules of a tier that is asked about; None for the configured ones. Raises ConfigError, UsageError."""
    if tier is None:
        return None
    if not dry_run:
        raise click.UsageError(
            "--tier goes with --dry-run; to have it so, set audit.retention in the configuration"
        )
    from indelible.errors import ConfigError
    from indelible.retention_settings import TIERS, tier_rules

    try:
        return tier_rules(tier)
    except ValueError:
        msg = f"--tier: no tier {one_line(repr(tier), 60)}; there are {', '.join(TIERS)}"
        raise ConfigError(msg) from None


def _print_done(path: Path, done: dict[str, Any]) -> None:
    for one in done["deleted"]:
        span = f"seq {one['first']} to {one['last']}"
        click.echo(one_line(f"deleted {span} ({byte_count(one['bytes'])}): {one['rule']}, {one['why']}"))
    count = done["deleted_files"]
    if done.get("cut"):
        click.echo(f"and {count - len(done['deleted'])} more files")
    kept = ", ".join(f"{number} by {rule}" for rule, number in sorted(done["kept"].items()))
    total = f"{counted(count, 'file')} deleted, {byte_count(done['deleted_bytes'])}"
    click.echo(one_line(f"{path}: {total}; kept: {kept or 'none'}"))


# --- dry run --------------------------------------------------------------------------------------------------------


def _dry_run(path: Path, audit: AuditSettings, *, as_json: bool) -> None:
    from indelible.trail.files import looking_again

    plan = looking_again(lambda: plan_for(path, audit))
    rows = [_describe(plan, at) for at in range(len(plan.files))]
    if as_json:
        from indelible.trail.upkeep.keeping import describe_rules

        print_json(
            {
                "trail": str(path),
                "dry_run": True,
                "retention": describe_rules(audit.retention_rules),
                "tier": audit.retention_rules.tier,
                "backup_count": audit.backup_count,
                "files": rows,
                "would_delete": sum(row["goes"] for row in rows),
            }
        )
        return
    _print_table([_cells(row) for row in rows])
    gone = [row for row in rows if row["goes"]]
    size = byte_count(sum(row["bytes"] for row in gone))
    click.echo(
        one_line(
            f"{path}: {len(gone)} of {len(rows)} closed files would be deleted, {size}; nothing was deleted"
        )
    )


def plan_for(path: Path, audit: AuditSettings) -> Plan:
    """Return what would become of the closed files of a trail; nothing is changed. Raises OSError, TrailError."""
    from indelible.errors import TrailError
    from indelible.trail.layout import Layout
    from indelible.trail.proofs.stored import words_beside
    from indelible.trail.reader import is_there
    from indelible.trail.shipping.backlog import shipping_of
    from indelible.trail.start.intents import Tracker, pruned_ranges
    from indelible.trail.upkeep.due import Rules, hold_finder, make_plan, sealed_size
    from indelible.trail.upkeep.facts import FactsStore
    from indelible.trail.upkeep.standing import read_standing

    if not is_there(path):
        msg = f"{path}: there is no trail here"
        raise TrailError(msg)
    layout = Layout(path)
    standing = read_standing(layout).standing
    rules = Rules(audit.retention_rules, audit.backup_count, shipping_of(audit))
    finder = hold_finder(list(standing.values()))
    pruned = pruned_ranges(layout, None, Tracker(words_beside(layout)))
    return make_plan(layout, rules, sealed_size(layout), FactsStore(layout, None), finder, pruned)


def _describe(plan: Plan, at: int) -> dict[str, Any]:
    file, verdict = plan.files[at], plan.verdicts[at]
    about = verdict.file
    try:
        size = file.path.stat().st_size
    except FileNotFoundError:  # the writer at work was faster
        size = 0
    facts = verdict.facts
    return {
        "file": file.path.name,
        "first": about.first,
        "last": about.last,
        "bytes": size,
        "ended": about.ended or None,
        "events": None if facts is None else {kind: one.count for kind, one in facts.classes.items()},
        "goes": verdict.goes,
        "rule": verdict.rule,
        "why": verdict.why,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    count = row["last"] - row["first"] + 1
    return (
        row["file"],
        f"{row['first']}-{row['last']}",
        str(count),
        byte_count(row["bytes"]),
        _ago(row["ended"]),
        "deleted" if row["goes"] else "kept",
        row["rule"],
        neutralise(row["why"]),
    )


def _ago(ended: str | None) -> str:
    """Return how long ago a file was closed, in the largest unit that is not 0."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(ended or "")).total_seconds()
    except (ValueError, TypeError):
        return "?"
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit} ago"
    return f"{max(seconds, 0):.0f}s ago"


def _print_table(rows: list[tuple[str, ...]]) -> None:
    if not rows:
        return
    widths = [max(width(row[at]) for row in (HEADINGS, *rows)) for at in range(len(HEADINGS))]
    for row in (HEADINGS, *rows):
        cells = [pad(cell, widths[at]) for at, cell in enumerate(row)]
        click.echo("  ".join(cells).rstrip())
