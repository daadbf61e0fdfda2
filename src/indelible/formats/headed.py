"""A syslog header in front of a record whose format has none: of CEF, LEEF and JSON. Pure.

    RFC 3164:  <PRI>Mmm dd hh:mm:ss HOSTNAME record
    RFC 5424:  <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID - record

The rules that live here:

- Nothing of a header was chosen by a caller: PRI and MSGID are of the event's type and outcome, the rest is configured.
- RFC 3164 has neither year nor zone (section 4.1.2). Its time is UTC; what counts is the record's own (`rt`,
  `devTime`). Without a known time it says the first of January, and RFC 5424 ``-``.
- MSG has no BOM (RFC 5424, section 6.4, MSG-ANY): in front of CEF, LEEF or JSON no reader expects one.
- A receiver's limit is for header and record together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from indelible.errors import ConfigError
from indelible.formats.names import Naming, naming
from indelible.formats.text import printable
from indelible.formats.times import event_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from indelible.formats.record import Entry, Format, Options, Record

Header = Literal["rfc3164", "rfc5424", "none"]

HOSTNAME_LIMIT: Final = 255
APP_NAME_LIMIT: Final = 48
PROCID_LIMIT: Final = 128
MSGID_LIMIT: Final = 32
"""RFC 5424, section 6."""

FACILITIES: Final = range(24)
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NO_TIME: Final = "Jan  1 00:00:00"


class Head(Protocol):
    """Makes headers."""

    longest: int
    """Bytes of the longest one."""

    def of(self, entry: Entry, named: Naming) -> str:
        """Return the header of an event, with the space after it."""


def checked_facility(options: Options) -> int:
    """Return the facility's part of PRI. Raises ConfigError."""
    if options.facility not in FACILITIES:
        raise ConfigError(f"facility {options.facility}: expected 0 to 23 (RFC 5424, section 6.2.1)")
    return options.facility * 8


class Head5424:
    """Header of RFC 5424 (section 6.2), up to MSGID."""

    longest = len("<191>1 2026-11-21T05:38:34.123456Z ") + HOSTNAME_LIMIT + APP_NAME_LIMIT + PROCID_LIMIT + 36

    def __init__(self, options: Options) -> None:
        """Facility, host and app name stand in it. Raises ConfigError."""
        self._facility = checked_facility(options)
        host, app = printable(options.host, HOSTNAME_LIMIT), printable(options.app_name, APP_NAME_LIMIT)
        self._device = f"{host} {app}"
        self.longest = type(self).longest - HOSTNAME_LIMIT - APP_NAME_LIMIT + len(host) + len(app)

    def of(self, entry: Entry, named: Naming) -> str:
        """See `Head`."""
        recorder = entry.source.recorder
        pid = recorder and recorder.pid
        return (
            f"<{self._facility + named.level.syslog}>1 {event_time(entry) or '-'} {self._device} "
            f"{'-' if pid is None else printable(str(pid), PROCID_LIMIT)} {named.name[:MSGID_LIMIT]} "
        )


class Plain5424(Head5424):
    """The same, without structured data."""

    def of(self, entry: Entry, named: Naming) -> str:
        """See `Head`."""
        return f"{super().of(entry, named)}- "


class Head3164:
    """Header of RFC 3164 (section 4.1): what CEF's and LEEF's own guides show."""

    def __init__(self, options: Options) -> None:
        """Facility and host stand in it. Raises ConfigError."""
        self._facility = checked_facility(options)
        self._host = printable(options.host, HOSTNAME_LIMIT)
        self.longest = len("<191>Nov 21 05:38:34  ") + len(self._host)

    def of(self, entry: Entry, named: Naming) -> str:
        """See `Head`."""
        time = event_time(entry)
        said = f"{MONTHS[int(time[5:7]) - 1]} {int(time[8:10]):2} {time[11:19]}" if time else NO_TIME
        return f"<{self._facility + named.level.syslog}>{said} {self._host} "


HEADS: Final[dict[str, Callable[[Options], Head]]] = {"rfc3164": Head3164, "rfc5424": Plain5424}


class Headed:
    """A format whose records have a header in front."""

    def __init__(self, header: Header, make: Callable[[Options], Format], options: Options) -> None:
        """`header` is not ``none``; `make` makes the format. Raises ConfigError."""
        self._head = HEADS[header](options)
        if options.max_bytes:
            room = max(1, options.max_bytes - self._head.longest)
            options = msgspec.structs.replace(options, max_bytes=room)
        self._inner = make(options)

    @property
    def holds(self) -> frozenset[str] | None:
        """See `Format`."""
        return self._inner.holds

    def render(self, record: Record) -> bytes:
        """See `Format`."""
        entry = record.entry
        return self._head.of(entry, naming(entry)).encode() + self._inner.render(record)
