"""Settings of `alerts`: which rules look at the trail, by which thresholds, and whom they tell. Pure.

`rules.py` has the rules that are built in and those that users write; `channels.py` where alerts go. Every key has a
parser in a table, so that an unknown key can be answered with the nearest known one, and so that the reference page can
be checked against the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

import msgspec

from indelible.alert_settings.channels import (
    CHANNEL_KEYS,
    CHANNELS,
    MAX_CHANNELS,
    ChannelSettings,
    EmailSettings,
    PagerDutySettings,
    parse_channels,
)
from indelible.alert_settings.rules import (
    BUILT_IN,
    COMMON_KEYS,
    MAX_RULES,
    OWN_KEYS,
    SEVERITIES,
    By,
    RuleSettings,
    Severity,
    parse_own_rules,
    parse_rules,
)
from indelible.values import Parser, nearest, parse_boolean, shown

__all__ = [
    "ALERT_KEYS",
    "BUILT_IN",
    "CHANNELS",
    "CHANNEL_KEYS",
    "COMMON_KEYS",
    "MAX_CHANNELS",
    "MAX_RULES",
    "OWN_KEYS",
    "SEVERITIES",
    "AlertSettings",
    "By",
    "ChannelSettings",
    "EmailSettings",
    "PagerDutySettings",
    "RuleSettings",
    "Severity",
    "parse_alerts",
    "parse_own_rules",
    "parse_rules",
]


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which rules look, and whom they tell."""

    enabled: bool = True
    rules: tuple[RuleSettings, ...] = ()
    """Those that are on: the built-in ones, then the user's own."""
    channels: tuple[ChannelSettings, ...] = ()

    def resolved(self, base: Path) -> Self:
        """Return the same with relative paths taken from the directory of the configuration file."""
        channels = tuple(channel.resolved(base) for channel in self.channels)
        return msgspec.structs.replace(self, channels=channels)


ALERT_KEYS: Final[dict[str, Parser]] = {
    "enabled": parse_boolean,
    "rules": parse_rules,
    "own_rules": parse_own_rules,
    "channels": parse_channels,
}
"""Key of `alerts` in the file → its parser."""


def parse_alerts(value: object) -> AlertSettings:
    """Return what `alerts` says. Raises ValueError, naming the key that is wrong."""
    if not isinstance(value, dict):
        raise ValueError("expected a mapping with rules and channels, or {} for the built-in rules as they are")
    found: dict[str, Any] = {}
    for key, item in value.items():
        if key not in ALERT_KEYS:
            raise ValueError(f"unknown key {shown(str(key))}{nearest(str(key), ALERT_KEYS)}")
        try:
            found[key] = ALERT_KEYS[key](item)
        except ValueError as exc:
            raise ValueError(f"{key}: {exc}") from None
    own = found.get("own_rules", ())
    rules = (*found.get("rules", parse_rules({})), *own)
    channels = found.get("channels", ())
    _check_named(rules, channels)
    return AlertSettings(enabled=found.get("enabled", True), rules=rules, channels=channels)


def _check_named(rules: tuple[RuleSettings, ...], channels: tuple[ChannelSettings, ...]) -> None:
    """Raise ValueError for a rule whose name another has, and for a channel that names a rule that there is none of."""
    known = [rule.name for rule in rules]
    for channel in channels:
        for name in sorted(channel.rules):
            if name not in known and name not in BUILT_IN:
                raise ValueError(
                    f"channels: {channel.name}: rules: no rule {shown(name)}{nearest(name, known)}"
                )
