"""Settings of `audit.sinks`: where events are shipped, in which format, and which ones; and `audit.max_backlog`.

No I/O here. `sinks.py` has what every sink has; each type has a module of its own, with a struct (`SinkSettings.own`)
and a table of its keys, so that an unknown key can be answered with the nearest known one, and so that the reference
page can be checked against the tables. `parts.py` is what types share, `filters.py` which events a sink gets.
"""

from indelible.sink_settings.backlog import Backlog, Ship, parse_backlog, parse_ship
from indelible.sink_settings.filters import FILTER_CHOICES, FILTER_KEYS, SinkFilter
from indelible.sink_settings.parts import TlsSettings
from indelible.sink_settings.sinks import (
    COMMON_KEYS,
    MAX_SINKS,
    TYPES,
    SinkSettings,
    parse_sinks,
    resolved,
)

__all__ = [
    "COMMON_KEYS",
    "FILTER_CHOICES",
    "FILTER_KEYS",
    "MAX_SINKS",
    "TYPES",
    "Backlog",
    "Ship",
    "SinkFilter",
    "SinkSettings",
    "TlsSettings",
    "parse_backlog",
    "parse_ship",
    "parse_sinks",
    "resolved",
]
