"""``indelible install``: put `indelible wrap` before the servers of an MCP client."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from indelible.cli import installing
from indelible.cli.common import note
from indelible.cli.installing import Asked
from indelible.cli.text import counted
from indelible.errors import ConfigError
from indelible.values import user_path

if TYPE_CHECKING:
    from indelible.clients.change import Plan
    from indelible.clients.servers import Server

EPILOG: Final = """\b
Examples:
  indelible install claude-desktop
  indelible install cursor --dry-run
  indelible install claude-code --scope project --command indelible
  indelible install vscode --server github --yes
  indelible install windsurf -- --actor ada --trail ~/audit/mcp.jsonl

Each server that is a command gets 'indelible wrap --name NAME --' before it; nothing else in the
file changes, not a byte. What follows -- are options for wrap; INDELIBLE_CONFIG and the like are
written out, since clients start servers without them. A backup is kept beside the file, and
'indelible uninstall CLIENT' gives back what was there. Servers behind a URL are listed, and not
recorded.

Exit code 0: done, or nothing to do; 1: you said no; 2: wrong usage, or the file is not one that
can be changed safely; 3: it could not be done.
"""

_TEMPORARY: Final = re.compile(
    r"/(?:archive|environments|builds)-v\d+/|/pipx/(?:\.cache|cache)/|/\.cache/pipx/"
)
"""Where uvx and ``pipx run`` keep what they run: gone at their next cleaning."""


@click.command("install", epilog=EPILOG)
@click.option(
    "--command", "program", metavar="WORD", help="What starts Indelible; by default its full path here."
)
@installing.options
@click.argument("wrap_options", metavar="[-- OPTION...]", nargs=-1, type=click.UNPROCESSED)
def command(asked: Asked, program: str | None, wrap_options: tuple[str, ...]) -> int:
    """Have the servers of an MCP client recorded: its configuration is shown, and changed.

    CLIENT is claude-desktop, claude-code, cursor, vscode or windsurf.
    """
    from indelible.clients import change

    launch, extra = _launcher(program), _options(wrap_options)
    place = installing.find_place(asked)
    path = place.path
    here = _of_this_shell(extra)
    extra = extra if place.scope == "project" else [*here, *extra]

    def plan() -> Plan:
        return change.plan_install(path, place.keys, lambda server: _words(launch, extra, server), asked.only)

    planned = plan()
    about = installing.as_object(planned, asked, path, _why) | {"dry_run": asked.dry_run, "backup": None}
    if not asked.as_json:
        installing.print_plan(planned, path, _why)
    if planned.changes and here and place.scope == "project":  # others read it, too
        note(f"not written into a project's file, though your environment says it: {shlex.join(here)}")
    if asked.dry_run or not planned.changes:
        return installing.say(asked, about | {"changed": False})
    count = counted(len(planned.changes), "server")
    if not installing.is_meant(asked, f"{count} of {path} would be wrapped", f"Wrap {count} of {path}?"):
        note("nothing was changed")
        return 1
    backup = change.install(asked.client, planned, plan)
    note(f"start {asked.client.title} again, so that it reads this")
    return installing.say(
        asked, about | {"changed": backup is not None, "backup": str(backup)}, f"  backup: {backup}"
    )


def _why(server: Server) -> str:
    """Say why a server stays as it is."""
    return {
        "wrapped": "is wrapped already",
        "remote": "not wrapped: remote (wrap stands before a command)",
        "odd": f"not wrapped: {server.why}",
    }.get(server.state, "not wrapped: not among --server")


def _words(launch: list[str], extra: list[str], server: Server) -> list[str]:
    """Return what goes before a server's command; a name that a trail cannot hold is left to `wrap`."""
    from indelible.cli.naming import clean

    name = clean(server.name)
    return [*launch, "wrap", *(["--name", name] if name else []), *extra, "--"]


def _launcher(program: str | None) -> list[str]:
    """Return what starts this program from anywhere: clients have a search path of their own. Raises ConfigError."""
    if program is not None:
        if not program or "\0" in program:
            raise ConfigError(f"--command: expected a program, found {program!r}")
        if program.rpartition("/")[2] != "indelible":
            raise ConfigError(
                f"--command: expected a program named indelible, found {program!r}; by that name it is known again"
            )
        return [program]
    script = Path(os.path.abspath(sys.argv[0]))  # noqa: PTH100 - a link to it outlives what it leads to
    if script.name != "indelible" or not os.access(script, os.X_OK):
        script = Path(sys.executable).with_name("indelible")
    words = [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "indelible"]
    if any(_TEMPORARY.search(str(place)) for place in (words[0], Path(words[0]).resolve())):
        raise ConfigError(
            f"{words[0]}: is there for this run only; install it first ('uv tool install indelible' or"
            " 'pipx install indelible'), or say what starts it with --command"
        )
    if words[0] != words[0].encode("utf-8", "replace").decode():
        raise ConfigError(f"{words[0]!r}: is not UTF-8; say what starts Indelible with --command")
    return words


def _options(words: tuple[str, ...]) -> list[str]:
    """Return the options for `wrap`, checked, with paths that hold in any working directory. Raises UsageError."""
    from indelible.cli import wrap

    try:
        options = wrap.parse([*words, "--", "server"])
    except wrap.UsageError as exc:
        raise click.UsageError(f"after --: {exc}") from exc
    if options.help or options.command != ["server"]:
        raise click.UsageError(f"after --: expected options of 'indelible wrap', found {' '.join(words)!r}")
    if options.name is not None:
        raise click.UsageError("after --: --name is each server's own name")
    found: list[str] = []
    for option, value, is_path in (
        ("--trail", options.trail, True),
        ("--socket", options.socket, True),
        ("--config", options.config, True),
        ("--profile", options.profile, False),
        ("--actor", options.actor, False),
        ("--caller-type", None if options.caller_type == "human" else options.caller_type, False),
    ):
        if value is not None:
            found += [option, str(user_path(value).absolute()) if is_path else value]
    return found


def _of_this_shell(extra: list[str]) -> list[str]:
    """Return options for `wrap` that say what the environment says here, and that `extra` does not say.

    Clients that start servers as the official SDK does pass on six variables, and ours are not among them: the record
    would be made elsewhere, and by other rules of redaction.
    """
    from indelible import configfile

    given, found = set(extra[::2]), []
    users = configfile.config_home() / "indelible" / configfile.DEFAULT_NAME
    named = os.environ.get("INDELIBLE_CONFIG")
    if "--config" not in given and (
        named or (_is_elsewhere("XDG_CONFIG_HOME", "~/.config") and users.exists())
    ):
        found += ["--config", str(Path(named or users).absolute())]
    configured = found or users.exists() or given & {"--config", "--trail", "--socket"}
    if not configured and _is_elsewhere("XDG_STATE_HOME", "~/.local/state"):
        found += ["--trail", str(configfile.default_trail().absolute())]
    return found


def _is_elsewhere(variable: str, usual: str) -> bool:
    value = os.environ.get(variable)
    return bool(value) and Path(str(value)) != Path(usual).expanduser()
