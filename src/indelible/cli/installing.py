"""What `indelible install` and `indelible uninstall` share: which file is meant, what is shown of it, the question."""

from __future__ import annotations

import functools
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from indelible.cli.common import note, print_json
from indelible.cli.text import neutralise, one_line
from indelible.clients import ledger
from indelible.clients.places import CLIENTS, Client, Place, Scope, named, places
from indelible.errors import ClientConfigError, ConfigError
from indelible.values import user_path

if TYPE_CHECKING:
    from indelible.clients.change import Plan
    from indelible.clients.servers import Pointer, Server

MAX_SHOWN: Final = 100_000
"""Characters of a command line that are looked at for secrets, and shown."""


class Asked(NamedTuple):
    """What the command line says."""

    client: Client
    config: str | None
    scope: Scope | None
    only: frozenset[str]
    dry_run: bool
    yes: bool
    as_json: bool


def options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the client and the options that both commands have; the command gets them as its first argument, `Asked`."""

    @functools.wraps(function)
    def command(
        client: str,
        config: str | None,
        scope: Scope | None,
        only: tuple[str, ...],
        dry_run: bool,  # noqa: FBT001 - click's signature
        yes: bool,  # noqa: FBT001
        as_json: bool,  # noqa: FBT001
        **others: Any,
    ) -> int:
        about = CLIENTS[client]
        if scope is not None and scope not in about.scopes:
            expected = " or ".join(about.scopes)
            raise click.UsageError(f"--scope: {about.title} has no scope {scope}; expected {expected}")
        return function(Asked(about, config, scope, frozenset(only), dry_run, yes, as_json), **others)

    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Change nothing; show what would change."),
        click.option(
            "--server", "only", metavar="NAME", multiple=True, help="Only this one; may be given again."
        ),
        click.option(
            "--scope",
            type=click.Choice(["user", "local", "project"]),
            help="Which of the client's configurations.",
        ),
        click.option("--config", metavar="FILE", help="The client's file; by default where it keeps it."),
        click.argument("client", metavar="CLIENT", type=click.Choice(list(CLIENTS))),
    ):
        command = option(command)
    return command


# --- which file -------------------------------------------------------------------------------------------------


def find_place(asked: Asked, *, installed: bool = False) -> Place:
    """Return the file that is meant: the one named, else the first that is there; with `installed`, that was changed.

    Raises ConfigError, ClientConfigError when there is none.
    """
    if asked.config is not None:
        if not asked.config or "\0" in asked.config:
            raise ConfigError(f"--config: expected a path, found {asked.config!r}")
        path = user_path(asked.config).absolute()
        if not path.exists() and not (installed and _known(path)):
            raise ConfigError(f"--config: {path}: cannot be read: No such file or directory")
        return named(asked.client, path, asked.scope)
    try:
        found = places(asked.client, asked.scope)
    except RuntimeError as exc:  # no home directory
        raise ConfigError(f"{exc}; name the client's file with --config FILE") from exc
    candidates = list({place.path: place for place in reversed(found)}.values())[
        ::-1
    ]  # home may be the project
    there = [place for place in candidates if place.path.exists()]
    changed = [place for place in candidates if installed and _known(place.path)]
    if not there and not changed:
        looked = ", ".join(str(place.path) for place in candidates)
        raise ClientConfigError(
            f"no configuration of {asked.client.title} is there; looked for {looked}; name it with --config FILE"
        )
    place, *others = changed or there
    for other in others:
        note(f"{other.path} is another one of {asked.client.title}; --config names it")
    return place


def _known(path: Path) -> bool:
    return ledger.read(path.resolve()) is not None


def check_is_there(path: Path) -> None:
    """Raise ClientConfigError for a file that was changed, and is gone now: where its backup is."""
    known = None if path.exists() else ledger.read(path.resolve())
    if known is not None:
        backups = [step.backup for step in known.steps if Path(step.backup).exists()]
        where = f"; as it was before install, it is in {backups[0]}" if backups else ""
        raise ClientConfigError(f"{path}: is not there any more{where}")


# --- what is shown ----------------------------------------------------------------------------------------------


class Shown:
    """Command lines as they may be shown: without what the redaction's defaults take out."""

    def __init__(self) -> None:
        from indelible.config import RedactionSettings
        from indelible.redact import Redactor

        self._redactor = Redactor(RedactionSettings(), hmac_key=b"", hmac_key_id="")

    def words(self, words: list[str]) -> list[str]:
        """Return a command line, redacted."""
        text = self._redactor.text(json.dumps(words), limit=MAX_SHOWN)
        try:
            return [neutralise(str(word)) for word in json.loads(text)]
        except ValueError:  # cut
            return [neutralise(text)]

    def line(self, words: list[str]) -> str:
        """Return a command line as one would type it."""
        return shlex.join(self.words(words))


def label(at: Pointer) -> str:
    """Return what a server is called, and for which directory."""
    return f"{at[-1]} (of {at[1]})" if at[0] == "projects" and len(at) > 2 else at[-1]


def print_plan(plan: Plan, path: Path, left: Callable[[Server], str]) -> None:
    """Print what would become of each server; `left` says why one stays as it is."""
    shown = Shown()
    changes = {change.at: change for change in plan.changes}
    click.echo(one_line(str(path)))
    for server in plan.servers:
        change = changes.get(server.at)
        if change is None:
            click.echo(one_line(f"  {label(server.at)}: {left(server)}"))
            continue
        click.echo(one_line(f"  {label(server.at)}" + (f": {change.note}" if change.note else "")))
        click.echo(f"    - {shown.line(change.before)}")
        click.echo(f"    + {shown.line(change.after)}")
    if not plan.servers:
        click.echo("  no servers")


def as_object(plan: Plan, asked: Asked, path: Path, left: Callable[[Server], str]) -> dict[str, Any]:
    """Return the same for ``--json``."""
    shown = Shown()
    changes = {change.at: change for change in plan.changes}
    listed = []
    for server in plan.servers:
        change = changes.get(server.at)
        one: dict[str, Any] = {"name": neutralise(server.name), "at": [neutralise(key) for key in server.at]}
        if change is None:
            one |= {"changed": False, "why": neutralise(left(server))}
        else:
            one |= {"changed": True, "before": shown.words(change.before), "after": shown.words(change.after)}
        listed.append(one)
    return {"client": asked.client.name, "file": str(path), "servers": listed}


# --- the question -----------------------------------------------------------------------------------------------


def is_meant(asked: Asked, what: str, question: str) -> bool:
    """Ask, unless ``--yes`` was given. Raises UsageError where nobody can be asked."""
    if asked.yes:
        return True
    if asked.as_json or not sys.stdin.isatty():
        raise click.UsageError(f"{what}; --yes says that this is meant")
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        raise KeyboardInterrupt from None


def say(asked: Asked, about: dict[str, Any], *lines: str) -> int:
    """Print what was done, in the form that was asked for."""
    if asked.as_json:
        print_json(about)
    else:
        for line in lines:
            click.echo(one_line(line))
    return 0
