"""What the shipper needs of channels: their formats, their sinks, and which alerts each gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from indelible.alert_settings import SEVERITIES
from indelible.alerting.channels.notice import reads
from indelible.registry import make_sink
from indelible.shipper.lane import Parts
from indelible.shipper.shipper import options_of

if TYPE_CHECKING:
    from indelible.alert_settings import ChannelSettings
    from indelible.formats.record import Entry, Format, Options
    from indelible.shipper.choice import Check
    from indelible.sink_settings import SinkSettings
    from indelible.sinks.base import Sink

SHAPES: Final = {
    "alert-webhook": "shapes:WebhookShape",
    "alert-slack": "shapes:SlackShape",
    "alert-pagerduty": "shapes:PagerDutyShape",
    "alert-syslog": "shapes:SyslogShape",
    "alert-email": "mail:MailShape",
}
"""Format of a channel → module and class."""

SINKS: Final = {"pagerduty": "pagerduty:pagerduty_sink", "email": "email:EmailSink"}
"""Type of a channel's sink → module and what makes it; any other is one of the shipper's."""


def parts(version: str, channels: Sequence[ChannelSettings]) -> Parts:
    """Return what makes the formats and sinks of these channels."""
    chosen = {channel.name: channel for channel in channels}

    def check(settings: SinkSettings) -> Check | None:
        return wanted(chosen[settings.name]) if settings.name in chosen else None

    return Parts(lambda settings: format_of(settings, version), sink_of, check)


def format_of(settings: SinkSettings, version: str) -> Format:
    """Return a channel's format."""
    make: Callable[[Options], Format] = _ours(SHAPES[settings.format])
    return make(options_of(settings, version))


def sink_of(settings: SinkSettings) -> Sink:
    """Return a channel's sink."""
    if settings.type not in SINKS:
        return make_sink(settings)
    make: Callable[[SinkSettings], Sink] = _ours(SINKS[settings.type])
    return make(settings)


def wanted(channel: ChannelSettings) -> Check:
    """Return what tells whether a channel gets an alert."""
    least = SEVERITIES.index(channel.severity)
    severe = frozenset(SEVERITIES[least:])

    def check(entry: Entry) -> bool:
        rule, severity = reads(entry.metadata)
        return severity in severe and (not channel.rules or rule in channel.rules)

    return check


def _ours(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(f"indelible.alerting.channels.{module}"), attribute)
