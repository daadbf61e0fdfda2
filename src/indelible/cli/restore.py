"""``indelible restore``: put a backup of a trail back, as the earlier trail that a new one follows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Where, main_trail, print_json, settings_of, where_options
from indelible.cli.hints import placed
from indelible.cli.progress import progress_bar
from indelible.cli.text import byte_count, one_line
from indelible.errors import ConfigError

if TYPE_CHECKING:
    from indelible.trail.start.restore import Plan

EPILOG: Final = """\b
Examples:
  indelible restore /backup/indelible               to the configured trail's place
  indelible restore /backup/audit.jsonl --dry-run   verify it, and say what would be done
  indelible restore /backup/audit.jsonl --trail /var/log/indelible/audit.jsonl
  indelible restore /backup/audit.jsonl --replace   set the trail aside that stands there
  indelible restore PATH --trail PATH               it was put back there already, as by a snapshot

The trail that the backup was made of may have gone on, so what is restored is never written to:
it is kept as an earlier trail, and a new one with a name of its own begins, whose first line names
it. `log` and `verify` go through both. Exit code 1: the backup is not what was sealed.
"""


@click.command("restore", epilog=EPILOG)
@click.argument("backup", metavar="BACKUP")
@click.option("--replace", is_flag=True, help="Where a trail stands: set it aside, too. Nothing is deleted.")
@click.option("--vkey", metavar="VKEY|FILE", help="The backup's public key, from a place that you trust.")
@click.option("--damaged", is_flag=True, help="Restore it though it is not what was sealed.")
@click.option("--dry-run", is_flag=True, help="Verify the backup and say what would be done; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@where_options
def command(
    where: Where,
    backup: str,
    replace: bool,  # noqa: FBT001 - click's signature
    vkey: str | None,
    damaged: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Put a backup back: verify it, copy it beside the trail, and begin a new trail that names it."""
    from indelible.trail.start import restore

    if not backup or "\0" in backup:
        msg = f"BACKUP: expected a path, found {backup!r}"
        raise ConfigError(msg)
    target = main_trail(where)
    source = restore.locate(Path(backup)).active
    with progress_bar([source], "verifying", earlier=True) as progress:
        planned = restore.plan(
            Path(backup), target, vkey=vkey, replace=replace, damaged=damaged, progress=progress
        )
    successor = None
    if not dry_run:
        with progress_bar([source], "copying") as progress:
            successor = restore.restore(planned, settings_of(where, target), progress)
    if as_json:
        print_json(as_dict(planned, successor))
    else:
        print_result(planned, successor)
    return 0


def as_dict(planned: Plan, successor: str | None) -> dict[str, Any]:
    """Return what was done, or would be, as `--json` prints it."""
    return {
        "trail": str(planned.target.active),
        "backup": str(planned.backup.active),
        "restored": planned.about,
        "replaced": planned.replaced,
        "ok": planned.found.ok,
        "not_checked": planned.found.not_checked,
        "successor": successor,
        "dry_run": successor is None,
    }


def print_result(planned: Plan, successor: str | None) -> None:
    """Say what was done, or would be, a fact a line."""
    would = "would be " if successor is None else ""
    about, found = planned.about, planned.found
    verdict = (
        "verified" if found.ok else f"NOT as it was sealed ({len(found.findings) + found.omitted} findings)"
    )
    count = f"{about['size']} events sealed" + (f", {found.unsealed} more" if found.unsealed else "")
    click.echo(one_line(f"{would}restored: {about['origin']}, {count}, {verdict}: {planned.backup.active}"))
    if planned.replaced is not None:
        other = planned.replaced
        click.echo(one_line(f"{would}set aside: {other['origin']}, {other['size']} events sealed"))
    if successor is None:
        size = byte_count(sum(path.stat().st_size for path in _files(planned)))
        click.echo(one_line(f"a new trail would begin at {planned.target.active}; {size} would be copied"))
        return
    click.echo(one_line(f"new trail: {successor}, at {planned.target.active}"))
    click.echo(
        placed("'indelible log' lists the restored events, too; pin the new key: 'indelible keygen --show'")
    )


def _files(planned: Plan) -> list[Path]:
    if planned.in_place:
        return []
    files = [planned.backup.active, *planned.backup.directory.rglob("*")]
    return [path for path in files if path.is_file()]
