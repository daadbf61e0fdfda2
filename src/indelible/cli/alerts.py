"""``indelible alerts``: rules that look at the trail, and whom they tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Where, main_trail, print_json, where_options
from indelible.cli.text import counted, one_line
from indelible.errors import ConfigError, TrailError

if TYPE_CHECKING:
    from indelible.alert_settings import AlertSettings
    from indelible.trail.layout import Layout

EPILOG: Final = """\b
Examples:
  indelible alerts                             which rules there are, and what fires now
  indelible alerts --replay --since 30d        what the rules would have told of the last month
  indelible alerts --replay --rule error_rate --json
  indelible alerts --once                      look at what is new, tell, and end: for cron
  indelible alerts --follow                    look on until told to end, and print each alert
  indelible alerts test oncall                 send a test message to the channel 'oncall'

'alerts' in the configuration has the thresholds, rules of your own and channels. Where it stands,
wrap, record and the library look by themselves, beside the shipper. Each alert is an event of the
trail: indelible log --events alert.

Exit code 0: done; 1: with --once, something fired; 2: wrong usage or configuration; 3: alerts could
not be recorded or sent, or another process watches the trail.
"""

TEST_EPILOG: Final = """\b
Examples:
  indelible alerts test oncall
  indelible alerts test oncall --severity critical --json

Nothing is recorded. On PagerDuty the test is resolved at once.
"""


@click.group("alerts", epilog=EPILOG, invoke_without_command=True)
@click.option("--follow", is_flag=True, help="Look until told to end, and print each alert.")
@click.option("--once", is_flag=True, help="Look at what is new, have channels told, and end.")
@click.option("--replay", is_flag=True, help="Say what rules would have told; record and send nothing.")
@click.option("--since", metavar="TIME", help="With --replay: from when on. Default 30d.")
@click.option("--rule", "names", metavar="NAME", multiple=True, help="Only this rule; may be repeated.")
@click.option("--timeout", metavar="TIME", help="With --once: how long a channel may be away. Default 60s.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --follow an alert a line.")
@where_options
def command(where: Where, **options: Any) -> int:
    """Look at the trail by rules, and tell whom the configuration names."""
    ctx = click.get_current_context()
    ctx.obj = where
    return 0 if ctx.invoked_subcommand is not None else _run(where, **options)


def _run(
    where: Where, follow: bool, once: bool, replay: bool, since: str | None, names: tuple[str, ...],  # noqa: FBT001
    timeout: str | None, as_json: bool,  # noqa: FBT001
) -> int:  # fmt: skip
    from indelible.trail.layout import Layout
    from indelible.trail.reader import is_there

    if follow + once + replay > 1:
        raise click.UsageError("--follow, --once and --replay are three ways to look; take one")
    for option, value, needs in (("--since", since, replay), ("--timeout", timeout, once)):
        if value is not None and not needs:
            raise click.UsageError(f"{option} is for {'--replay' if option == '--since' else '--once'}")
    if names and not replay:
        raise click.UsageError("--rule is for --replay: what is live looks by all rules")
    settings = chosen(where, names, needed=not replay and (follow or once))
    path = main_trail(where)
    if not is_there(path):
        raise TrailError(f"{path}: there is no trail here; whoever records makes one")
    layout = Layout(path)
    if replay:
        from indelible.cli.alerts_replay import run

        return run(layout, settings, since or "30d", as_json=as_json)
    if follow or once:
        from indelible.cli.alerts_live import follow as run_on
        from indelible.cli.alerts_live import once as run_once

        return (
            run_once(layout, where, settings, timeout or "60s", as_json=as_json)
            if once
            else run_on(layout, where, settings, as_json=as_json)
        )
    return _print_state(layout, settings, as_json=as_json)


def chosen(where: Where, names: tuple[str, ...] = (), *, needed: bool = False) -> AlertSettings:
    """Return the rules and channels that are meant; the built-in rules when the configuration says nothing.

    Raises ConfigError for a rule that there is none of; where they are `needed`, when the configuration has none.
    """
    import msgspec

    from indelible.alert_settings import parse_alerts
    from indelible.values import nearest, shown

    found = None if where.trail_alone else where.settings.alerts
    if needed and (found is None or not found.enabled):
        raise ConfigError(
            "alerts: the configuration has none, or 'enabled: false'; 'alerts: {}' turns the rules on"
        )
    settings = found or parse_alerts({})
    known = {rule.name: rule for rule in settings.rules}
    for name in names:
        if name not in known:
            raise ConfigError(f"--rule: no rule {shown(name)}{nearest(name, known)}")
    rules = tuple(rule for rule in settings.rules if not names or rule.name in names)
    return msgspec.structs.replace(settings, rules=rules)


# --- how it is ------------------------------------------------------------------------------------------------


def _print_state(layout: Layout, settings: AlertSettings, *, as_json: bool) -> int:
    from indelible.alerting.states import alert_states

    state = alert_states(layout, settings)
    if as_json:
        print_json({"trail": str(layout.active), **state})
        return 0
    for line in describe(state):
        click.echo(one_line(line))
    return 0


def describe(state: dict[str, Any]) -> list[str]:
    """Return how the rules and channels are, a line each."""
    holder = state["alerts_watched_by"]
    lines = [
        "watched by nobody now"
        if holder is None
        else f"watched by process {holder['pid']}, since {holder['since']}"
    ]
    if state["alerts_error"]:
        lines.append(f"not looking: {state['alerts_error']}")
    lines += [describe_rule(rule) for rule in state["alert_rules"]]
    lines += [describe_channel(channel) for channel in state["alert_channels"]]
    return lines


def describe_rule(rule: dict[str, Any]) -> str:
    """Return how a rule is, in one line."""
    said = [f"rule {rule['rule']} ({rule['severity']}): {'FIRES' if rule['firing'] else 'well'}"]
    if rule["firing"] > 1:
        said.append(f"{rule['firing']} at once")
    if rule["last_alert"]:
        said.append(f"{counted(rule['alerts'], 'alert')}, the last at {rule['last_alert']}")
    if rule["not_told"]:
        said.append(f"{rule['not_told']} more not told")
    if rule["forgotten"]:
        said.append(f"no room for {counted(rule['forgotten'], 'subject')}")
    if rule["failures"]:
        said.append(f"{counted(rule['failures'], 'evaluation')} failed: {rule['error']}")
    return ", ".join(said)


def describe_channel(channel: dict[str, Any]) -> str:
    """Return how a channel is, in one line."""
    said = [f"channel {channel['channel']} ({channel['type']}, {channel['to']}): {channel['state']}"]
    said.append(f"{counted(channel['taken'], 'alert')} taken")
    if channel["dead_letters"]:
        said.append(counted(channel["dead_letters"], "dead letter"))
    if channel["error"]:
        said.append(f"{counted(channel['failures'], 'attempt')} failed: {channel['error']}")
    return ", ".join(said)


# --- a test ---------------------------------------------------------------------------------------------------


@command.command("test", epilog=TEST_EPILOG)
@click.argument("channel")
@click.option(
    "--severity", type=click.Choice(["info", "warning", "error", "critical"]), default="info", show_default=True,
    help="How grave the test says it is.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what became of it as one JSON object.")
@where_options
def test(where: Where, channel: str, severity: str, as_json: bool) -> int:  # noqa: FBT001
    """Send a test message to a channel."""
    from indelible.cli.alerts_live import send_test
    from indelible.values import nearest, shown

    group: Where = click.get_current_context().obj
    where = Where(where.config or group.config, where.profile or group.profile, where.trail or group.trail)
    settings = where.settings.alerts
    channels = {} if settings is None else {one.name: one for one in settings.channels}
    if channel not in channels:
        raise ConfigError(f"alerts.channels: no channel {shown(channel)}{nearest(channel, channels)}")
    took_ms = send_test(channels[channel], severity)
    if as_json:
        print_json({"channel": channel, "to": channels[channel].sink.target, "ok": True, "took_ms": took_ms})
    else:
        click.echo(one_line(f"{channel} ({channels[channel].sink.target}): taken, in {took_ms} ms"))
    return 0
