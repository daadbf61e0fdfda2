"""``indelible status``: how the trail is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from indelible.cli.common import Trails, Where, note, print_json, where_options
from indelible.cli.hints import options, placed
from indelible.cli.text import byte_count, compact, counted, one_line
from indelible.compliance import OUTPUT, is_export
from indelible.errors import ConfigError, TrailError

if TYPE_CHECKING:
    from indelible.config import AuditSettings

NEARLY_FULL: Final = 80
"""Percent of `max_backlog`: from here on it is said."""

SHOWN_HOLDS: Final = 10

EPILOG: Final = """\b
Examples:
  indelible status
  indelible status --json | jq .held_by
  indelible status --json | jq '.recorders[] | select(.waiting > 0)'
  indelible status --trail /var/log/indelible

Nothing is verified here; `indelible verify` does that. Exit code 3: there is no trail.
"""


@click.command("status", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
@where_options
def command(where: Where, as_json: bool) -> int:  # noqa: FBT001 - click's signature
    """Say who writes the trail, how large it is, what is sealed, and what happened last."""
    from indelible.alerting.states import alert_states
    from indelible.query.sinks import sink_states
    from indelible.query.state import trail_state
    from indelible.trail.layout import Layout
    from indelible.trail.reader import is_there

    trails = Trails(where)
    audit = settings_for(where, trails.path)
    settings = None if audit is None else describe_settings(audit)
    if audit is not None and not audit.enabled:
        note("audit.enabled is false: calls are forwarded and nothing is recorded")
    paths = [path for path in trails.paths() if is_there(path)]
    if not paths:
        if as_json:
            print_json({"trail": str(trails.path), "settings": settings})
        msg = f"{trails.path}: there is no trail here; 'indelible wrap' makes one at its first start"
        raise TrailError(msg)
    known = (None, None) if audit is None else (audit.backup_count, audit.disk_thresholds)
    alerts = None if audit is None or where.trail_alone else where.settings.alerts
    states = [
        {
            **trail_state(path, *known),
            **sink_states(Layout(path), audit),
            **alert_states(Layout(path), alerts),
            "settings": settings,
        }
        for path in paths
    ]
    if as_json:
        print_json(states[0] if len(states) == 1 else {"trails": states})
        return 0
    for state in states:
        print_state(state)
    return 0


def settings_for(where: Where, path: Path) -> AuditSettings | None:
    """Return the settings of the trail at `path`, or None when the configuration here is about another one.

    A trail does not say how it is rotated: only the configuration of whoever writes it does.
    """
    if not where.trail_alone:
        return where.settings.audit
    from indelible.trail.files import side_trails

    try:
        audit = Where().settings.audit
    except ConfigError:
        return None
    configured = Path(str(audit.path))
    return audit if path == configured or path in side_trails(configured) else None


def describe_settings(audit: AuditSettings) -> dict[str, Any]:
    """Return the settings that say what becomes of an event."""
    from indelible.config import Retention
    from indelible.trail.upkeep.keeping import describe_rules

    rules = audit.retention_rules
    retention = None if rules == Retention() else describe_rules(rules)
    return {
        "enabled": audit.enabled,
        "durability": audit.durability,
        "intent": audit.intent,
        "on_failure": audit.on_failure,
        "max_size": audit.max_size,
        "backup_count": audit.backup_count,
        "compress_rotated": audit.compress_rotated,
        "retention": retention,
        "tier": rules.tier,
        "disk_thresholds": list(audit.disk_thresholds),
    }


def print_state(state: dict[str, Any]) -> None:
    """Print one trail's state, a fact a line."""
    click.echo(click.style(one_line(str(state["trail"])), bold=True))
    facts = _facts(state)
    column = max(12, *(len(heading) for heading, _ in facts))
    for heading, text in facts:
        click.echo(f"  {heading:<{column}} {one_line(text)}")


def _facts(state: dict[str, Any]) -> list[tuple[str, str]]:
    settings = state["settings"]
    how = state["started"] or settings
    facts = [
        ("origin", str(state["origin"] or "none yet")),
        ("written by", _holder(state["held_by"])),
        *_recorders(state["recorders"], state["recorders_unknown"]),
        *(("its users", _user(user)) for user in state["users"] or ()),
        ("events", f"{state['events'] or 0}{_since(state['first_seq'])}"),
        ("size", f"{byte_count(state['bytes'])} in {counted(state['files'], 'file')}"),
        ("recorded", f"from {state['oldest'] or '-'} to {state['newest'] or '-'}"),
        ("checkpoint", _checkpoint(state)),
        *(("anchor", _anchor(anchor)) for anchor in state["anchors"]),
        *_shipping(state["shipped_by"], state["sinks"]),
        *_alerts(state),
        ("open calls", _open_calls(state)),
        ("durability", f"{how['durability']}, intents: {how['intent']}" if how else "not known"),
        ("rotation", _rotation(settings)),
    ]
    if settings and not settings["enabled"]:
        facts.insert(0, ("enabled", "false: calls are forwarded and nothing is recorded"))
    if state["kept_beyond_backup_count"]:
        kept = _kept(state["kept_beyond_backup_count"], settings["retention"], state["sinks"])
        facts.append(("kept", kept))
    facts += _holds(state["holds"])
    facts += [
        ("follows", f"{earlier} (set aside; `log` lists it, `verify` checks it)")
        for earlier in state["earlier"]
    ]
    for kind, event in state["last"].items():
        facts.append((f"last {kind}"[:40], _last(kind, event)))
    facts.append(("disk", _disk(state["disk"], settings)))
    return facts


def _last(kind: str, event: dict[str, Any]) -> str:
    """Say when it was and what it says; of an alert in words, since its JSON is long and the end of it matters."""
    said = compact(event["metadata"], 200)
    if kind == "alert":
        from indelible.alerting.channels.notice import in_words

        said = in_words(event["metadata"])
    return f"{event['recorded_at']}, seq {event['seq']}: {said}"


def _disk(disk: dict[str, Any], settings: dict[str, Any] | None) -> str:
    """Say how much room there is, and what it means when it is little."""
    free = byte_count(disk["free"]) if disk["of"] == "bytes" else f"{disk['free']} inodes"
    if disk["threshold"] is None:
        return f"{free} free"
    used = f"{disk['used_percent']} % used, above the threshold of {disk['threshold']:g} %"
    text = f"{disk['health']}: {free} free, {used}"
    if disk["health"] != "full":
        return text
    denies = settings is not None and settings["on_failure"] == "deny"
    return text + (": calls are refused" if denies else ": new events are not recorded (on_failure)")


def _holder(holder: dict[str, Any] | None) -> str:
    if holder is None:
        return "nobody"
    who = f"process {holder['pid']}" if holder["pid"] else "another process"
    phase = holder["phase"] if holder["phase"] != "holding" else None
    about = ", ".join(
        part for part in (holder["command"], holder["since"] and f"since {holder['since']}", phase) if part
    )
    return f"{who} ({about})" if about else who


def _recorders(recorders: list[dict[str, Any]] | None, unknown: str | None) -> list[tuple[str, str]]:
    """Return a line a recorder, or one that says why they are not known."""
    if unknown is not None:
        return [("through it", f"not known: {unknown}")]
    return [("through it", _recorder(recorder)) for recorder in recorders or ()]


def _recorder(recorder: dict[str, Any]) -> str:
    """A waiting event or two are nothing; as many as may wait are a disk that does not keep up."""
    said = [f"{recorder['recorded']} recorded"]
    if recorder["waiting"]:
        full = " (no more may)" if recorder["waiting"] >= recorder["window"] else ""
        said.append(f"{recorder['waiting']} waiting{full}")
    if recorder["open_calls"]:
        said.append(f"{counted(recorder['open_calls'], 'call')} open")
    return f"process {recorder['pid']} ({recorder['recorder']}): {', '.join(said)}"


def _user(user: dict[str, Any]) -> str:
    """What a service's user has, and what was kept from him."""
    said = [counted(user["connections"], "connection")]
    if user["recorders"] != user["connections"]:
        said.append(counted(user["recorders"], "recorder"))
    if user["held"]:
        said.append("held back just now")
    if user["held_back"]:
        overtime = f", {user['overtime']} of them for overtime" if user["overtime"] else ""
        said.append(f"held back {counted(user['held_back'], 'time')}{overtime}")
    if user["turned_away"]:
        said.append(f"{counted(user['turned_away'], 'connection')} turned away")
    if user["open_calls"]:
        said.append(f"{counted(user['open_calls'], 'call')} open ({byte_count(user['open_bytes'])})")
    if user["refused"]:
        said.append(f"{counted(user['refused'], 'event')} refused")
    said.append(f"took {user['busy_s']:.1f} s of CPU time")
    return f"user {user['uid']}: {', '.join(said)}"


def _since(first_seq: object) -> str:
    return f" (those before seq {first_seq} were deleted)" if first_seq else ""


def _checkpoint(state: dict[str, Any]) -> str:
    if state["checkpoint"] is None:
        return placed("none that can be read; 'indelible verify' says more")
    behind = state["unsealed"]
    return f"covers {state['checkpoint']} events" + (f", {behind} not sealed yet" if behind else "")


def _anchor(anchor: dict[str, Any]) -> str:
    """What it has taken last, and what is wrong with it; a second or two behind is nothing."""
    taken = f"{anchor['size']} events at {anchor['taken_at']}" if anchor["size"] else "nothing yet"
    said = [f"{anchor['name']} ({anchor['to']}): {taken}"]
    if anchor["behind"]:
        said.append(f"{anchor['behind']} behind the checkpoint")
    if anchor["failures"]:
        attempts = counted(anchor["failures"], "attempt")
        said.append(f"{attempts} failed, the last at {anchor['failed_at']}: {anchor['error']}")
    return ", ".join(said)


def _shipping(shipper: dict[str, Any] | None, sinks: list[dict[str, Any]] | None) -> list[tuple[str, str]]:
    """Return who ships, and a line a sink."""
    if sinks is None:
        return [("sinks", "not known: what stands beside the trail cannot be read")]
    who = "nobody" if shipper is None else f"process {shipper['pid']}, since {shipper['since']}"
    return [("shipped by", who), *(("sink", _sink(sink)) for sink in sinks)] if sinks else []


def _alerts(state: dict[str, Any]) -> list[tuple[str, str]]:
    """Return who watches, the rules that fire or could not look, and a line a channel."""
    if not state["alert_rules"] and not state["alert_channels"]:
        return []
    from indelible.cli.alerts import describe_channel, describe_rule

    holder, rules = state["alerts_watched_by"], state["alert_rules"]
    who = "nobody" if holder is None else f"process {holder['pid']}, since {holder['since']}"
    last = max((rule["last_alert"] for rule in rules if rule["last_alert"]), default=None)
    about = f"{counted(len(rules), 'rule')}, the last alert at {last}" if last else counted(len(rules), "rule")
    facts = [("watched by", f"{who}; {about}")]
    if state["alerts_error"]:
        facts.append(("alerts", f"not looking: {state['alerts_error']}"))
    notable = [rule for rule in rules if rule["firing"] or rule["failures"] or rule["not_told"]]
    facts += [("rule", describe_rule(rule).removeprefix("rule ")) for rule in notable]
    channels = state["alert_channels"]
    return facts + [("channel", describe_channel(channel).removeprefix("channel ")) for channel in channels]


def _sink(sink: dict[str, Any]) -> str:
    """What it has, and what is wrong with it."""
    if sink["next"] is None and sink["error"] is None:
        return f"{sink['sink']}: has not begun"
    where = f" ({sink['to']}, {sink['format']})" if sink["to"] else ""
    said = [f"{sink['sink']}{where}: {sink['state']}"]
    if sink["behind"]:
        ago = "" if sink["behind_s"] is None else f", the first of {sink['behind_s']:.0f} s ago"
        said.append(f"{counted(sink['behind'], 'event')} behind{ago}")
    for key, what in (("dead_letters", "dead letter"), ("lost", "event")):
        if sink[key]:
            said.append(counted(sink[key], what) + (" lost" if key == "lost" else ""))
    if (sink["backlog_percent"] or 0) >= NEARLY_FULL:
        said.append(f"what is kept for it is {sink['backlog_percent']} % of max_backlog")
    if sink["error"]:
        attempts = counted(sink["failures"], "attempt")
        when = (
            "before that, " if sink["state"] == "stopped" else ""
        )  # whether it would fail now, nobody has tried
        said.append(f"{when}{attempts} failed, the last at {sink['failed_at']}: {sink['error']}")
    if sink["configured"] is None and is_export(sink["sink"]):
        said.append(f"asked for by {OUTPUT}")
    if sink["configured"] is False:
        said.append("not in the configuration any more")
    return ", ".join(said)


def _open_calls(state: dict[str, Any]) -> str:
    count = state["open_calls"]
    if not count:
        return "none"
    return (
        f"{count} under way"
        if state["held_by"]
        else f"{count}, to be recorded as interrupted at the next start"
    )


def _kept(count: int, retention: str | None, sinks: list[dict[str, Any]]) -> str:
    waited_for = [sink["sink"] for sink in sinks if sink["configured"] and sink["backlog_percent"]]
    if retention:
        why = "for retention's sake"
    elif waited_for:
        why = f"until {', '.join(waited_for)} took them, within max_backlog"
    else:
        why = "to be deleted at the next rotation"
    return f"{counted(count, 'file')} beyond backup_count, {why}"


def _holds(holds: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return a line a hold, and what it keeps."""
    from indelible.cli.hold import describe

    said = []
    for hold in holds[:SHOWN_HOLDS]:
        kept = hold["files"]
        files = f"; keeps {counted(kept, 'file')} that would be deleted" if kept else ""
        said.append(("hold", f"{hold['id']}: {describe(hold)}{files}"))
    if len(holds) > SHOWN_HOLDS:
        said.append(("hold", f"and {len(holds) - SHOWN_HOLDS} more: indelible hold list{options()}"))
    return said


def _rotation(settings: dict[str, Any] | None) -> str:
    if settings is None:
        return "not known: the configuration here is about another trail; -c FILE names this one's"
    kept = f"{settings['backup_count']} files, retention {settings['retention'] or 'none'}"
    text = f"at {byte_count(settings['max_size'])}, {kept}"
    return text + (", compressed" if settings["compress_rotated"] else "")
