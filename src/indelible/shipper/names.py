"""What is wrong with a configuration's sinks, as far as that can be said without opening one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indelible.errors import ConfigError
from indelible.registry import format_names, make_format, make_sink, sink_types
from indelible.shipper.lane import Parts
from indelible.shipper.shipper import options_of
from indelible.values import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def parts(version: str, *, stdout_is_taken: bool = False) -> Parts:
    """Return what makes the formats and sinks that are installed."""
    return Parts(
        lambda sink: make_format(sink.format, options_of(sink, version)),
        lambda sink: make_sink(sink, stdout_is_taken=stdout_is_taken),
    )
