"""``indelible uninstall``: give the configuration of an MCP client back as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from indelible.cli import installing
from indelible.cli.common import note
from indelible.cli.installing import Asked
from indelible.cli.text import counted, one_line

if TYPE_CHECKING:
    from indelible.clients.change import Plan
    from indelible.clients.servers import Server

EPILOG: Final = """\b
Examples:
  indelible uninstall claude-desktop
  indelible uninstall cursor --dry-run
  indelible uninstall claude-code --scope project --yes
  indelible uninstall vscode --config ~/src/.vscode/mcp.json --all

A file that nobody has edited since becomes what it was, to the byte, and the backups go. In one that
was edited the edits stay, and so do the backups.

Exit code 0: done, or nothing to do; 1: you said no; 2: wrong usage, or the file is not one that
can be changed safely; 3: it could not be done.
"""


@click.command("uninstall", epilog=EPILOG)
@click.option("--all", "everything", is_flag=True, help="Also servers that somebody else has wrapped.")
@installing.options
def command(asked: Asked, everything: bool) -> int:  # noqa: FBT001 - click's signature
    """Take 'indelible wrap' away from the servers of an MCP client, where install has put it.

    CLIENT is claude-desktop, claude-code, cursor, vscode or windsurf.
    """
    from indelible.clients import change

    place = installing.find_place(asked, installed=True)
    path = place.path
    installing.check_is_there(path)
    keys = asked.client.keys if asked.scope is None else place.keys

    def plan() -> Plan:
        return change.plan_uninstall(path, asked.client, keys, asked.only, everything=everything)

    planned = plan()
    kept = {record.at for record in planned.records}

    def why(server: Server) -> str:
        if server.state != "wrapped":
            return "is not wrapped"
        if server.at in kept:
            return "stays wrapped: not asked for, or nothing behind it"
        return "stays wrapped: by somebody else; --all takes that away, too"

    gone = _gone(planned)
    about = installing.as_object(planned, asked, path, why) | {
        "gone": [list(at) for at in gone], "dry_run": asked.dry_run, "backups": []
    }  # fmt: skip
    if not asked.as_json:
        installing.print_plan(planned, path, why)
        for at in gone:
            click.echo(one_line(f"  {installing.label(at)}: is gone"))
    if asked.dry_run or (not planned.changes and planned.known is None):
        return installing.say(asked, about | {"changed": False})
    count = counted(len(planned.changes), "server")
    what = f"'indelible wrap' would be taken from {count} of {path}"
    if planned.changes and not installing.is_meant(asked, what, f"Take it from {count} of {path}?"):
        note("nothing was changed")
        return 1
    backups = change.uninstall(planned, plan)
    if backups:
        note(f"the file was edited since install, and keeps the edits; as it was, it is in {backups[0]}")
    if planned.changes:
        note(f"start {asked.client.title} again, so that it reads this")
    return installing.say(
        asked, about | {"changed": bool(planned.changes), "backups": [str(backup) for backup in backups]}
    )


def _gone(plan: Plan) -> list[tuple[str, ...]]:
    """Return the servers that were wrapped and are not there any more, under whatever name."""
    from indelible.clients import servers

    if plan.known is None:
        return []
    found = servers.match(plan.servers, plan.known.records).values()
    there = {server.at for server in plan.servers}
    return [record.at for record in plan.known.records if record not in found and record.at not in there]
