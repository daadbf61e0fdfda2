"""``indelible config``: what the configuration comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from indelible.cli.common import note, print_json
from indelible.cli.text import one_line
from indelible.values import age_text

EPILOG: Final = """\b
Examples:
  indelible config check
  indelible config check -c indelible.yaml --profile production
  indelible config check --json | jq .audit.path

Exit code 2: the configuration is wrong; the line on stderr says what, and where.
"""
ON_FAILURE: Final = "allow (the default of wrap and from Python)"

GROUP_EPILOG: Final = """\b
Examples:
  indelible config check
"""


@click.group("config", epilog=GROUP_EPILOG)
def command() -> None:
    """Check the configuration."""


@command.command("check", epilog=EPILOG)
@click.option("-c", "--config", metavar="FILE", help="Read this configuration.")
@click.option("--profile", metavar="NAME", help="Use this profile of it.")
@click.option("--trail", metavar="PATH", help="As if this trail were named.")
@click.option("--json", "as_json", is_flag=True, help="Print the settings as one JSON object.")
def check(config: str | None, profile: str | None, trail: str | None, as_json: bool) -> int:  # noqa: FBT001
    """Read the configuration and print the settings that it comes to."""
    from indelible import configfile
    from indelible.inquiry.roles import check_roles
    from indelible.redact.patterns import custom
    from indelible.shipper.names import check_names
    from indelible.trail import durable
    from indelible.trail.anchors import check_anchors
    from indelible.trail.start import keys

    file = configfile.find(config)
    settings = configfile.load(config, profile=profile, trail=trail)
    custom(settings.redaction.patterns)
    check_roles(settings.mcp)
    keys.check_source(settings.audit)
    check_anchors(settings.audit.anchors)
    check_names(settings.audit.sinks)
    check_rules(settings)
    durable.access_for(settings.audit.group)
    described = describe(None if file is None else str(file.absolute()), settings)
    if as_json:
        print_json(described)
    else:
        print_settings(described)
    return 0


def check_rules(settings: Any) -> None:
    """Raise ConfigError for a rule whose expression is none, and for rules that nobody would look by."""
    if settings.alerts is None:
        return
    from indelible.alerting.rules import make
    from indelible.shipper.companion import check

    make(settings.alerts.rules)
    if settings.alerts.enabled and settings.audit.ship == "thread":
        check(settings)


def describe(file: str | None, settings: Any) -> dict[str, Any]:
    """Return settings as plain data; servers by name only, since their definitions may hold secrets."""
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(settings)
    plain["audit"]["sinks"] = msgspec.to_builtins([sink.public() for sink in settings.audit.sinks])
    for places in ("anchors", "sinks"):
        plain["audit"][places] = [_said(place) for place in plain["audit"][places]]
    alerts = None if settings.alerts is None else describe_alerts(settings.alerts)
    plain["redaction"]["endpoints"] = [f"{one.kind} {one.name}" for one in settings.redaction.endpoints]
    return {
        "file": file,
        "profile": plain["profile"],
        "audit": plain["audit"],
        "redaction": plain["redaction"],
        "alerts": alerts,
        "mcp": plain["mcp"],
        "mcpServers": sorted(map(str, plain["servers"])),
        "warnings": plain["warnings"],
    }


def describe_alerts(alerts: Any) -> dict[str, Any]:
    """Return rules and channels as plain data: of a rule what concerns it, of a channel no secret."""
    import msgspec

    from indelible.alert_settings import BUILT_IN, CHANNELS, COMMON_KEYS, OWN_KEYS

    rules = []
    for rule in alerts.rules:
        own = OWN_KEYS if rule.is_own else BUILT_IN[rule.name].keys
        keys = ["name", *(key for key in own if key != "name"), *(key for key in COMMON_KEYS if key not in own)]
        rules.append({key: getattr(rule, key) for key in keys})
    channels = []
    for channel in alerts.channels:
        known = {key.removesuffix("_env").removesuffix("_file") for key in CHANNELS[channel.type].keys}
        own = _said(msgspec.to_builtins(channel.sink.own.public()))
        own = {key: value for key, value in own.items() if key in known or key in OF_CHANNELS}
        about = {"type": channel.type, "name": channel.name, "severity": channel.severity, **own}
        channels.append({**about, "rules": sorted(channel.rules)} if channel.rules else about)
    return {"enabled": alerts.enabled, "rules": rules, "channels": channels}


OF_CHANNELS: Final = frozenset({"host", "port", "sender"})
"""What a channel's keys come to under another name."""


def _said(place: dict[str, Any]) -> dict[str, Any]:
    """Return what an anchor or a sink has, without what does not concern its type; its own keys as in the file."""
    own = place.pop("own", {})
    place = {**place, **own}
    found = {key: _said(value) if isinstance(value, dict) else value for key, value in place.items()}
    return {key: value for key, value in found.items() if value is not None and value not in ([], {})}


def print_settings(described: dict[str, Any]) -> None:
    """Print settings for people. Times are in seconds, but for that of `retention`; sizes in bytes."""
    click.echo(f"configuration: {one_line(described['file'] or 'no file; the defaults')}")
    if described["profile"]:
        click.echo(f"profile: {one_line(described['profile'])}")
    for section in ("audit", "redaction", "alerts", "mcp"):
        if described[section] is None:
            continue
        click.echo(f"{section}:")
        for key, value in described[section].items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                click.echo(f"  {key}:")
                for place in value:
                    click.echo(f"    - {one_line(_value(place))}")
            else:
                shown = SAID[key](value) if key in SAID else _value(value)
                click.echo(f"  {key}: {one_line(shown)}")
    if described["mcpServers"]:
        click.echo(f"mcpServers: {one_line(', '.join(described['mcpServers']))}")
    for warning in described["warnings"]:
        note(warning)
    click.echo("ok")


def _retention(value: object) -> str:
    """Return rules as `status` says them."""
    if isinstance(value, int | float):
        return age_text(value)
    if not isinstance(value, dict):
        return _value(value)
    import msgspec

    from indelible.config import Retention
    from indelible.trail.upkeep.keeping import describe_rules

    return describe_rules(msgspec.convert(value, Retention))


SAID: Final[dict[str, Callable[[object], str]]] = {
    "on_failure": lambda value: ON_FAILURE if value is None else _value(value),
    "retention": _retention,
}
"""Settings that are not simply their value."""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_value(text)}" for name, text in value.items()) or "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
