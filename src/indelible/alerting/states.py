"""How the rules and channels of a trail's alerts are, from the files that whoever watches leaves beside it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from indelible.alerting import store
from indelible.alerting.store import RuleState
from indelible.alerting.watch import current_watch
from indelible.errors import TrailError
from indelible.shipper import route
from indelible.trail.shipping import cursor, letters, state

if TYPE_CHECKING:
    from indelible.alert_settings import AlertSettings, ChannelSettings
    from indelible.trail.layout import Layout


def alert_states(layout: Layout, settings: AlertSettings | None) -> dict[str, Any]:
    """Return who watches a trail, and how its rules and channels are, as `status --json` prints them."""
    holder = current_watch(layout)
    shown = store.shown(layout)
    known = {} if shown is None else {rule.rule: rule for rule in shown.rules}
    rules = [] if settings is None or not settings.enabled else settings.rules
    channels = [] if settings is None or not settings.enabled else settings.channels
    dead: dict[str, int] = {}
    with contextlib.suppress(OSError):
        dead = letters.counts(layout.for_alerts())
    return {
        "alerts_watched_by": None if holder is None else {"pid": holder.pid, "since": holder.since},
        "alerts_error": None if shown is None or holder is None else shown.error,
        "alerts_next": None if shown is None else shown.next,
        "alert_rules": [
            msgspec.to_builtins(known.get(rule.name) or RuleState(rule=rule.name, severity=rule.severity))
            for rule in rules
        ],
        "alert_channels": [
            _channel(layout.for_alerts(), channel, dead, is_told=holder is not None) for channel in channels
        ],
    }


def _channel(
    layout: Layout, channel: ChannelSettings, dead: dict[str, int], *, is_told: bool
) -> dict[str, Any]:
    about = state.read(layout, channel.name)
    found: dict[str, Any] = {
        "channel": channel.name,
        "type": channel.type,
        "to": channel.sink.target,
        "state": about.state if is_told else "stopped",
        "taken": about.taken,
        "taken_at": about.taken_at,
        "refused": about.refused,
        "dead_letters": dead.get(channel.name, 0),
        "failures": about.failures,
        "error": about.error,
        "behind": None,
    }
    with contextlib.suppress(TrailError):
        at, now = cursor.read(layout, channel.name), route.sealed(layout)
        if at is not None and now is not None and at.origin == now.origin:
            found["behind"] = max(0, now.size - at.next)
    return found
