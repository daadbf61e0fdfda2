"""The group of commands: what there is, and how a wrong command line is answered in one line."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final

import click

from indelible import loglines
from indelible.cli import hints
from indelible.cli.logged import name_log_lines
from indelible.cli.output import name_errors
from indelible.cli.text import one_line
from indelible.values import closest

COMMANDS: Final = {
    "demo": "See real MCP servers recorded, in a minute.",
    "wrap": "Record a stdio server: put before its command in a client's config.",
    "install": "Put wrap before the servers of a client: Claude, Cursor, VS Code, Windsurf.",
    "uninstall": "Give a client's configuration back as it was.",
    "record": "Hold a trail as a service, for recorders of other users.",
    "log": "List recorded calls.",
    "tail": "Follow the trail as it grows.",
    "sql": "Ask the trail with SQL.",
    "report": "Report on a period, or on what the trail shows of a framework's controls.",
    "twins": "Make the columns that questions are answered from, or check them.",
    "verify": "Check the trail against its signed checkpoint.",
    "prove": "Write the proof that one event is in the trail.",
    "export": "Write evidence for an auditor, or the trail as a log that other verifiers read.",
    "restore": "Put a backup of a trail back, as what a new trail follows.",
    "ship": "Take the trail to the sinks that are configured.",
    "status": "Say how the trail is.",
    "retain": "Delete the closed files that nothing keeps any more.",
    "alerts": "Tell when the trail shows what it should not.",
    "mcp": "Answer agents' questions about the trail: a read-only MCP server.",
    "incident": "Say what was called before something died, or note what was seen.",
    "hold": "Place, list and release legal holds.",
    "redact": "Say what redaction takes out of a text, or finds in a trail.",
    "witness": "Cosign checkpoints of trails, for who does not trust their machine.",
    "erase": "Erase the content of somebody's events; proofs stay valid.",
    "keygen": "Make a signing key, rotate a trail's, or show its public half.",
    "schema": "Print what a destination needs to have: tables, views.",
    "config": "Check the configuration.",
}
"""Every command and the line that `indelible --help` has for it; the module of the same name is imported late."""

EPILOG: Final = """\b
Examples:
  indelible install claude-desktop
  indelible wrap -- npx -y @modelcontextprotocol/server-filesystem /srv
  indelible log --since 1h --status error
  indelible verify
"""


class Commands(click.Group):
    """Commands whose modules are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name == "wrap":  # only for `indelible help` texts: `wrap` itself is run before click is there
            return click.Command("wrap", short_help=COMMANDS["wrap"], add_help_option=False)
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"indelible.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one may have been meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = closest(args[0], COMMANDS)
            hint = f"did you mean '{close}'?" if close else "'indelible --help' lists the commands"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from indelible import __version__

        click.echo(f"indelible {__version__}")
        ctx.exit()


@click.group("indelible", cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["--help", "-h"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print it.")
def root() -> None:
    """The audit trail for MCP: every call recorded once, redacted, sealed, and provable."""


def run(args: list[str]) -> int:
    """Run a command and return its exit code; usage errors become one line on stderr."""
    name_errors()
    hints.about(None, None, None)
    name_log_lines()
    _see_where_records_go(args)
    if not os.environ.get("COLUMNS", "1").strip("0"):  # not known; rich would take it for a width
        os.environ.pop("COLUMNS")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        # Not root.main(): that turns an interrupt and a broken pipe into exit codes of its own.
        with root.make_context("indelible", args or ["--help"]) as ctx:
            result: Any = root.invoke(ctx)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:  # a group alone: what there is, as of `indelible` itself
        click.echo(exc.format_message())
        return 0
    except click.ClickException as exc:
        click.echo(loglines.line(one_line(f"{_where(exc)}{_message(exc)}")), err=True)
        return exc.exit_code
    return result if isinstance(result, int) else 0


def _see_where_records_go(args: list[str]) -> None:
    """Have what is said on stderr be JSON lines where records stand there, from the first line on."""
    loglines.begin()
    if args[:1] == ["record"] or (args[:1] == ["ship"] and "--attached" in args):
        loglines.for_recorder()
    elif args[:1] == ["ship"]:
        loglines.for_recorder("ships")


def _where(exc: click.ClickException) -> str:
    """Return ``COMMAND: ``, or nothing for what is wrong with the command line as a whole."""
    ctx = getattr(exc, "ctx", None)
    command = ctx.command_path.partition(" ")[2] if ctx is not None else ""
    return f"{command}: " if command else ""


def _message(exc: click.ClickException) -> str:
    """Return click's message as one clause: lower case, no stop, with the nearest option."""
    if isinstance(exc, click.NoSuchOption):
        known = [name for param in exc.ctx.command.params for name in param.opts] if exc.ctx else []
        close = closest(exc.option_name, known)
        return f"no such option: {exc.option_name}" + (f"; did you mean {close}?" if close else "")
    message = " ".join(exc.format_message().split()).rstrip(".")
    message = message.replace("is not a valid integer range", "is not a whole number")
    message = message.replace(". Did you mean", "; did you mean")
    return message[:1].lower() + message[1:]
