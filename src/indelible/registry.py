"""Formats and sinks by their names: ours, and those that other packages bring.

Their entry points are ``indelible.formats`` and ``indelible.sinks``. Nothing is imported before it is asked for: a name
costs no start-up time. A third party's format is a class that is made with `indelible.formats.record.Options`, its sink
one that is made with `indelible.sink_settings.SinkSettings`; `indelible.testing` has `check_format` and `check_sink`,
which judge them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, cast

from indelible.errors import FOREIGN, ConfigError
from indelible.values import nearest, shown

if TYPE_CHECKING:
    from indelible.formats.record import Format, Options
    from indelible.sink_settings import SinkSettings
    from indelible.sinks.base import Sink

GROUP_FORMATS: Final = "indelible.formats"
GROUP_SINKS: Final = "indelible.sinks"

FORMATS: Final = {
    "alive": "alive:AliveFormat",
    "argus": "argus:ArgusFormat",
    "cef": "cef:CefFormat",
    "cloudevents": "cloudevents:CloudeventsFormat",
    "ecs": "ecs:EcsFormat",
    "hangar": "hangar:HangarFormat",
    "indelible": "indelible:IndelibleFormat",
    "json-lines": "hangar:HangarFormat",
    "jsonlines": "hangar:HangarFormat",
    "leef": "leef:LeefFormat",
    "mcpgw": "mcpgw:McpgwFormat",
    "mxcp": "mxcp:MxcpFormat",
    "ocsf": "ocsf:OcsfFormat",
    "otlp": "otlp:OtlpFormat",
    "syslog": "syslog:SyslogFormat",
}
"""Name → module and class in `indelible.formats`."""

SINKS: Final = {
    "file": "file:FileSink",
    "stdout": "stream:StreamSink",
    "stderr": "stream:StreamSink",
    "syslog": "syslog:syslog_sink",
    "kafka": "kafka:KafkaSink",
    "http": "http:http_sink",
    "otlp": "otlp.sink:otlp_sink",
    "s3": "s3:S3Sink",
    "clickhouse": "clickhouse.sink:clickhouse_sink",
}
"""Type → module and what makes the sink in `indelible.sinks`."""


def format_names() -> list[str]:
    """Return the names of all formats that are installed."""
    return sorted({*FORMATS, *(point.name for point in _others(GROUP_FORMATS, FORMATS))})


def make_format(name: str, options: Options) -> Format:
    """Return a format. Raises ConfigError: there is none of this name, or its package cannot be loaded."""
    if name in FORMATS:
        made: Callable[[Options], Format] = _ours("formats", FORMATS[name])
        return made(options)
    for point in _others(GROUP_FORMATS, FORMATS):
        if point.name == name:
            return _made_format(point, options)
    raise ConfigError(f"no format {shown(name)}{nearest(name, format_names())}")


def _made_format(point: EntryPoint, options: Options) -> Format:
    make = cast("Callable[[Options], Format]", _load("format", point))
    try:
        found = make(options)
    except FOREIGN as exc:
        raise ConfigError(f"format {shown(point.name)} of {point.value} cannot be made: {exc!r}") from None
    for member in ("holds", "render"):
        if not hasattr(found, member):
            raise ConfigError(
                f"format {shown(point.name)} of {point.value} has no {member!r}, which a format needs"
            )
    return found


def sink_types() -> list[str]:
    """Return the types of all sinks that are installed."""
    return sorted({*SINKS, *(point.name for point in _others(GROUP_SINKS, SINKS))})


def make_sink(settings: SinkSettings, *, stdout_is_taken: bool = False) -> Sink:
    """Return a sink, not open yet.

    `stdout_is_taken` where standard output carries MCP: a sink of that type is refused then. Raises ConfigError: there
    is none of this type, its package cannot be loaded, or it does not take its own keys (`SinkSettings.extra`).
    """
    kind = settings.type
    if kind == "stdout" and stdout_is_taken:
        raise ConfigError(
            "a sink of type 'stdout' cannot be where standard output carries MCP; use stderr or a file"
        )
    if kind in SINKS:
        made: Callable[[SinkSettings], Sink] = _ours("sinks", SINKS[kind])
        return made(settings)
    for point in _others(GROUP_SINKS, SINKS):
        if point.name == kind:
            return _made(point, settings)
    raise ConfigError(f"no sink of type {shown(kind)}{nearest(kind, sink_types())}")


def _made(point: EntryPoint, settings: SinkSettings) -> Sink:
    make = cast("Callable[[SinkSettings], Sink]", _load("sink", point))
    try:
        return make(settings)
    except ValueError as exc:
        raise ConfigError(f"sink {settings.name}: {exc}") from None


def _ours(package: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(f"indelible.{package}.{module}"), attribute)


def _others(group: str, ours: Mapping[str, str]) -> tuple[EntryPoint, ...]:
    """Return what other packages bring; ours cannot be replaced."""
    return tuple(point for point in entry_points(group=group) if point.name not in ours)


def _load(what: str, point: EntryPoint) -> object:
    try:
        return point.load()
    except FOREIGN as exc:  # another package's code runs while it is loaded
        raise ConfigError(f"{what} {shown(point.name)} of {point.value} cannot be loaded: {exc}") from None
