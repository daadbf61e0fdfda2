"""Formats by their name: ours, and those that other packages bring (entry points ``indelible.formats``).

Nothing is imported before it is asked for: the name of a format costs no start-up time. A third party's format is a
class that is made with `indelible.formats.record.Options`; `indelible.testing.check_format` judges it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final, cast

from indelible.errors import ConfigError
from indelible.values import nearest, shown

if TYPE_CHECKING:
    from indelible.formats.record import Format, Options

GROUP_FORMATS: Final = "indelible.formats"

FORMATS: Final = {
    "cef": "cef:CefFormat",
    "indelible": "indelible:IndelibleFormat",
    "leef": "leef:LeefFormat",
    "syslog": "syslog:SyslogFormat",
}
"""Name → module and class in `indelible.formats`."""


def format_names() -> list[str]:
    """Return the names of all formats that are installed."""
    return sorted({*FORMATS, *(point.name for point in _others())})


def make_format(name: str, options: Options) -> Format:
    """Return a format. Raises ConfigError: there is none of this name, or its package cannot be loaded."""
    if name in FORMATS:
        module, _, attribute = FORMATS[name].partition(":")
        made: Callable[[Options], Format] = getattr(
            importlib.import_module(f"indelible.formats.{module}"), attribute
        )
        return made(options)
    for point in _others():
        if point.name == name:
            return _load(point)(options)
    raise ConfigError(f"no format {shown(name)}{nearest(name, format_names())}")


def _others() -> tuple[EntryPoint, ...]:
    """Return the formats that other packages bring; ours cannot be replaced."""
    return tuple(point for point in entry_points(group=GROUP_FORMATS) if point.name not in FORMATS)


def _load(point: EntryPoint) -> Callable[[Options], Format]:
    try:
        return cast("Callable[[Options], Format]", point.load())
    except Exception as exc:  # noqa: BLE001 - another package's code runs while it is loaded
        raise ConfigError(f"format {shown(point.name)} of {point.value} cannot be loaded: {exc}") from None
