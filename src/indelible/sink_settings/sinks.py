"""What every sink has, whatever its type. Pure.

A type that is not ours is another package's (entry point ``indelible.sinks``): `indelible.registry` finds it, and its
own keys are handed to it as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from indelible.anchor_settings import FACILITIES
from indelible.named_settings import fitting_name, parse_keys, parse_list, parse_name, parse_timeout
from indelible.sink_settings.clickhouse import CLICKHOUSE
from indelible.sink_settings.files import FILE
from indelible.sink_settings.filters import SinkFilter, parse_filter
from indelible.sink_settings.http import HTTP
from indelible.sink_settings.kafka import KAFKA
from indelible.sink_settings.otlp import OTLP
from indelible.sink_settings.parts import HIDDEN, Kind, Own
from indelible.sink_settings.s3 import S3
from indelible.sink_settings.syslog import SYSLOG
from indelible.values import Parser, one_of, parse_boolean, parse_size, parse_text

Start = Literal["now", "beginning"]

MAX_SINKS: Final = 16
"""Each has a thread of its own."""

MIN_MESSAGE_BYTES: Final = 480
"""What every syslog receiver takes (RFC 5424, section 6.1)."""

TYPES: Final[dict[str, Kind]] = {
    "file": FILE,
    "stdout": Kind({}, lambda _values: Own()),
    "stderr": Kind({}, lambda _values: Own()),
    "syslog": SYSLOG,
    "kafka": KAFKA,
    "http": HTTP,
    "otlp": OTLP,
    "s3": S3,
    "clickhouse": CLICKHOUSE,
}
"""Ours, by their names."""

_OTHERS: Final = Kind({}, lambda _values: Own())
"""A type of another package."""

_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_APP_NAME = re.compile(r"[!-~]{1,48}")


class SinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One sink. Times are in seconds, sizes in bytes."""

    type: str
    name: str
    """Names its cursor beside the trail, and stands in `status`."""
    own: Own = Own()
    """What its type asks for; of the type's own struct."""
    format: str = "indelible"
    filter: SinkFilter = SinkFilter()
    intents: bool = False
    """Whether it gets intents, too."""
    start: Start = "now"
    """Where a sink that has no cursor begins."""
    vendor: str = "Indelible"
    product: str = "Indelible"
    dialect: str = "indelible"
    app_name: str = "indelible"
    facility: str = "local0"
    enterprise: int = 32473
    max_bytes: int = 0
    """A record is cut to it; 0: not at all."""
    timeout: float = 5.0
    """How long one attempt may take."""
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The keys of a type that another package brings, as they stand in the file."""

    @property
    def target(self) -> str:
        """Where it takes events, for people."""
        return self.own.target or self.type

    def public(self) -> SinkSettings:
        """Return the same without what may be a secret; of another package's keys nobody else knows."""
        return msgspec.structs.replace(self, own=self.own.public(), extra=dict.fromkeys(self.extra, HIDDEN))


def _app_name(value: object) -> str:
    if isinstance(value, str) and _APP_NAME.fullmatch(value):
        return value
    raise ValueError("expected up to 48 printable ASCII characters without spaces")  # RFC 5424, section 6.2.5


def _enterprise(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 32:
        return value
    raise ValueError("expected a private enterprise number")


def _max_bytes(value: object) -> int:
    size = parse_size(value)
    if size and size < MIN_MESSAGE_BYTES:
        raise ValueError(f"expected a size of at least {MIN_MESSAGE_BYTES} bytes, or 0 for none")
    return size


COMMON_KEYS: Final[dict[str, Parser]] = {
    "type": parse_text,
    "name": parse_name,
    "format": parse_text,
    "filter": parse_filter,
    "intents": parse_boolean,
    "start": one_of("now", "beginning"),
    "timeout": parse_timeout,
    "max_bytes": _max_bytes,
    "vendor": parse_text,
    "product": parse_text,
    "dialect": one_of("indelible", "hangar"),
    "app_name": _app_name,
    "facility": one_of(*FACILITIES),
    "enterprise": _enterprise,
}
"""What every type takes; the last ones concern formats, and each reads what is its own."""


def parse_sinks(value: object) -> tuple[SinkSettings, ...]:
    """Return the settings of all sinks. Raises ValueError, naming the sink by its place."""
    sinks = parse_list(value, "sink", MAX_SINKS, _parse_sink)
    taken: dict[str, str] = {}
    for number, sink in enumerate(sinks, 1):
        place = sink.own.alone_at
        if place and place in taken:
            raise ValueError(
                f"sink {number}: prefix: sink {taken[place]!r} stores at {place}, too, and each would overwrite what "
                "the other stored; give each a prefix of its own"
            )
        taken[place] = sink.name
    return sinks


def _parse_sink(item: object) -> SinkSettings:
    if not isinstance(item, dict):
        raise ValueError("expected a mapping with 'type'")
    name = item.get("type")
    if not isinstance(name, str) or not _TYPE.fullmatch(name):
        raise ValueError(f"type: expected {', '.join(TYPES)}, or a type that another package brings")
    kind = TYPES.get(name, _OTHERS)
    given = {key: value for key, value in item.items() if name in TYPES or key in COMMON_KEYS}
    values = {**kind.defaults, **parse_keys(given, {**COMMON_KEYS, **kind.keys})}
    for key in kind.required:
        if key not in values:
            raise ValueError(f"type {name} needs {key!r}")
    if kind.formats and values.get("format") not in kind.formats:
        raise ValueError(f"format: a sink of type {name} takes {' or '.join(kind.formats)}")
    own = kind.make({key: values.pop(key) for key in kind.keys if key in values})
    values.setdefault("name", fitting_name(own.words, name))
    values.setdefault("max_bytes", own.max_bytes)
    if own.format:
        values.setdefault("format", own.format)
    own.check_format(values.get("format", "indelible"))
    extra = {str(key): value for key, value in item.items() if key not in given}
    return SinkSettings(**values, own=own, extra=extra)


def resolved(sinks: tuple[SinkSettings, ...], base: Path) -> tuple[SinkSettings, ...]:
    """Return the sinks with relative paths taken from the directory of the configuration file."""
    return tuple(msgspec.structs.replace(sink, own=sink.own.resolved(base)) for sink in sinks)
