"""What is wrong with a configuration's sinks, as far as that can be said without opening one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indelible.errors import ConfigError
from indelible.formats.record import Options
from indelible.registry import FORMATS, format_names, make_format, make_sink, sink_types
from indelible.shipper.choice import event_types
from indelible.shipper.lane import Parts
from indelible.shipper.shipper import options_of
from indelible.sink_settings.syslog import SyslogSettings
from indelible.values import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from indelible.formats.record import Format
    from indelible.sink_settings import SinkSettings


def check_names(sinks: Iterable[SinkSettings]) -> None:
    """Raise ConfigError for a format or a type that there is none of.

    A package that is there and cannot be loaded is not the configuration's fault: its sink is unavailable until it can.
    """
    for sink in sinks:
        for what, name, known in (
            ("format", sink.format, format_names()),
            ("sink of type", sink.type, sink_types()),
        ):
            if name not in known:
                raise ConfigError(f"audit.sinks: {sink.name}: no {what} {shown(name)}{nearest(name, known)}")
        _check_filter(sink)
        own = sink.own
        if isinstance(own, SyslogSettings) and sink.format == "syslog" and own.header_of("syslog") != "none":
            raise ConfigError(
                f"audit.sinks: {sink.name}: header: records of 'format: syslog' have one of their own"
            )


def _check_filter(sink: SinkSettings) -> None:
    """Raise ConfigError for a filter of event types that the sink's format has no shape for: it would get nothing."""
    named = sink.filter.events
    if named is None or sink.format not in FORMATS:
        return
    holds = make_format(sink.format, Options()).holds
    if not event_types(sink, holds) and holds is not None:
        raise ConfigError(
            f"audit.sinks: {sink.name}: filter: events: 'format: {sink.format}' has no shape for "
            f"{', '.join(sorted(named))}, only for {', '.join(sorted(holds))}"
        )


def format_of(sink: SinkSettings, version: str) -> Format:
    """Return a sink's format, with what its transport wants in front of a record. Raises ConfigError."""
    options = options_of(sink, version)
    header = sink.own.header_of(sink.format) if isinstance(sink.own, SyslogSettings) else "none"
    if header == "none":
        return make_format(sink.format, options)
    from indelible.formats.headed import Headed

    return Headed(header, lambda inner: make_format(sink.format, inner), options)


def parts(version: str, *, stdout_is_taken: bool = False) -> Parts:
    """Return what makes the formats and sinks that are installed."""
    return Parts(
        lambda sink: format_of(sink, version),
        lambda sink: make_sink(sink, stdout_is_taken=stdout_is_taken),
    )
