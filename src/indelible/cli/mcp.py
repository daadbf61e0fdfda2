"""``indelible mcp``: the trail as a read-only MCP server."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from indelible.cli.common import Where, note, print_json, where_options
from indelible.cli.text import neutralise
from indelible.errors import ConfigError, TrailError

if TYPE_CHECKING:
    from indelible.config import Settings
    from indelible.inquiry.questions import Place
    from indelible.inquiry.roles import Role
    from indelible.recorder import Recorder

MISSING: Final = "mcp needs the package mcp, 2.0 or later: pip install 'indelible[mcp]' 'mcp>=2'"

ELSEWHERE: Final = "--audit-trail PATH records this server's own calls elsewhere, --no-audit nowhere"

EPILOG: Final = """\b
Examples:
  indelible mcp                          for a client's configuration: command "indelible", args ["mcp"]
  indelible mcp --role auditor
  indelible mcp --trail /var/log/indelible/audit.jsonl --audit-trail ~/asked.jsonl
  indelible mcp --show                   what the role may ask and see; serves nothing

An MCP server over stdin and stdout: search, timeline, statistics, explain, verify, prove, sql. Who
may what is a role's, see 'mcp' in the configuration; without one it is 'operator', which sees no
arguments, results or users. Every call is recorded like any other, into the same trail.

Exit code 0: the client ended it; 2: wrong usage or configuration, or a trail of another user that its
calls cannot go into; 3: they cannot be recorded, or the SDK is missing.
"""


@click.command("mcp", epilog=EPILOG)
@click.option("--role", metavar="NAME", help="Who asks: auditor, operator, or a role of the configuration.")
@click.option(
    "--vkey", "vkeys", metavar="VKEY|FILE", multiple=True, help="The trail's public key, from elsewhere."
)
@click.option("--audit-trail", metavar="PATH", help="Record this server's own calls here.")
@click.option("--no-audit", is_flag=True, help="Do not record this server's own calls.")
@click.option("--show", is_flag=True, help="Say what the role may, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --show: one JSON object, with the tools' schemas.")
@where_options
def command(
    where: Where,
    role: str | None,
    vkeys: tuple[str, ...],
    audit_trail: str | None,
    no_audit: bool,  # noqa: FBT001 - click's signature
    show: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Answer agents' questions about the trail: a read-only MCP server."""
    if no_audit and audit_trail is not None:
        raise click.UsageError("--no-audit and --audit-trail: which of the two?")
    if as_json and not show:
        raise click.UsageError("--json is of --show: what is served is MCP")
    from indelible.inquiry.questions import Place
    from indelible.inquiry.roles import check_roles, make_role
    from indelible.trail.checking.check import load_vkey

    settings = where.settings
    check_roles(settings.mcp)
    chosen = make_role(settings.mcp, role or settings.mcp.role, "mcp.role" if role is None else "--role")
    keys = tuple(load_vkey(vkey).vkey() for vkey in vkeys)
    place = Place(Path(str(settings.audit.path)), where.trail is not None, keys)
    if show:
        return _show(chosen, as_json=as_json)
    _need_sdk()
    recorder = None if no_audit else _open_audit(where, settings, place, audit_trail)
    return _serve(settings, chosen, place, recorder)


def _need_sdk() -> None:
    """Raise TrailError when the SDK is not there, or an old one is."""
    try:
        import indelible.inquiry.server  # noqa: F401 - nobody else imports it
    except ImportError as exc:
        raise TrailError(MISSING) from exc


def _serve(settings: Settings, role: Role, place: Place, recorder: Recorder | None) -> int:
    from indelible.inquiry.server import Desk, over_stdio

    recorded = "nowhere" if recorder is None or recorder.path is None else str(recorder.path)
    note(f"answering as {role.name} about {place.path}; calls are recorded to {recorded}", "INFO")
    with contextlib.ExitStack() as stack:
        close = stack.close
        if recorder is not None:
            stack.callback(recorder.close)
        over_stdio(lambda: Desk(role, place, settings.mcp), recorder, close)
    return 0


# --- its own audit ------------------------------------------------------------------------------------------


def _open_audit(where: Where, settings: Settings, place: Place, elsewhere: str | None) -> Recorder:
    """Open the trail that this server's calls go into. Raises TrailError, ConfigError."""
    from indelible import configfile
    from indelible.opening import open_recorder
    from indelible.trail.reader import trails_in

    if elsewhere is not None:
        settings = configfile.load(where.config, profile=where.profile, trail=elsewhere)
    elif place.path.is_dir():
        found = trails_in(place.path)
        if len(found) != 1:
            raise ConfigError(
                f"{place.path}: {len(found)} trails lie here, and its calls go into one; {ELSEWHERE}"
            )
        settings = configfile.load(where.config, profile=where.profile, trail=str(found[0]))
    audit = settings.audit
    results = audit.record_results if audit.record_results in ("digest", "none") else "digest"
    audit = msgspec.structs.replace(audit, record_results=results)
    try:
        return open_recorder(msgspec.structs.replace(settings, audit=audit), caller="stdio", on_failure="deny")
    except ConfigError as exc:  # such as a trail of another user
        raise ConfigError(f"{exc}; {ELSEWHERE}") from exc
    except TrailError as exc:
        raise TrailError(f"{exc}; {ELSEWHERE}") from exc


# --- what a role may ----------------------------------------------------------------------------------------


def _show(role: Role, *, as_json: bool) -> int:
    said = describe(role)
    if as_json:
        print_json(said)
        return 0
    for name, value in said.items():
        if name != "schemas":
            text = ", ".join(value) if isinstance(value, list) else str(value)
            click.echo(f"{name}: {neutralise(text) or '-'}")
    return 0


def describe(role: Role) -> dict[str, Any]:
    """Return what a role may as plain data."""
    from indelible.inquiry.tools import BY_NAME

    return {
        "role": role.name,
        "tools": list(role.tools),
        "hidden": sorted(role.hidden),
        "users": sorted(role.users),
        "sessions": sorted(role.sessions),
        "backends": sorted(role.backends),
        "limit": role.limit,
        "schemas": {
            name: {"input": BY_NAME[name].input_schema, "output": BY_NAME[name].answer} for name in role.tools
        },
    }
