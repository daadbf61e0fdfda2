"""How listings print events: as a table, as the lines that are stored, or in the words of another system.

What a format has no shape for is left out, and counted: nobody takes a listing that leaves something out for a whole
one.

Files and pipes get lines and records byte for byte. A terminal gets nothing that it would obey: what is not visible is
an escape there, in JSON one of the same value.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

import click

from indelible.cli.common import note
from indelible.cli.text import counted, neutralise, visible_json
from indelible.errors import FOREIGN

if TYPE_CHECKING:
    from indelible.formats.record import Format
    from indelible.query.filters import Filter
    from indelible.query.search import Hit

F = TypeVar("F", bound=Callable[..., Any])

AS_STORED: Final = "indelible"
"""The format that is the stored line."""

SHOWN_TYPES: Final = 3
"""So many event types of those that were left out are named."""

SAME: Final = {"jsonlines": "hangar", "json-lines": "hangar"}
"""Names of formats that are another one's."""

HELP: Final = "Print records in this format: mxcp, argus, cef, leef, syslog, ecs, …; one a line."


class Chosen(NamedTuple):
    """The format to print in; None is the stored line, byte for byte."""

    name: str
    format: Format | None


class Printer(Protocol):
    """Prints events to standard output."""

    def print(self, hits: Iterable[Hit]) -> int:
        """Print all of them; return how many were found."""

    def report(self) -> None:
        """Say on stderr what was left out."""


def format_option(function: F) -> F:
    """Add ``--format``."""
    return click.option("--format", "format_name", metavar="NAME", help=HELP)(function)


def chosen_format(name: str | None, *, as_json: bool) -> Chosen | None:
    """Return the format that is asked for; None for a table. Raises ConfigError, UsageError."""
    if name is None:
        return Chosen(AS_STORED, None) if as_json else None
    from indelible.registry import make_format

    format_ = make_format(name, _options())
    if as_json and name != AS_STORED:
        raise click.UsageError(f"--json prints the stored lines, --format {name} other ones: say which")
    return Chosen(name, None if name == AS_STORED else format_)


def _options() -> Any:
    """Return what formats are told here: who the events' machine is. All else is for sinks to set."""
    import socket

    from indelible.formats.record import Options

    return Options(host=socket.gethostname())


def make_printer(chosen: Chosen | None, wanted: Filter, *, steady: bool = False) -> Printer:
    """Return what prints; with `steady`, events come a few at a time."""
    if chosen is None:
        return _Table(wanted, steady=steady)
    return _Lines() if chosen.format is None else _Records(chosen.name, chosen.format)


class _Table:
    def __init__(self, wanted: Filter, *, steady: bool) -> None:
        from indelible.cli.table import TablePrinter

        terminal = sys.stdout.isatty()
        self._table = TablePrinter(sys.stdout, events=shows_events(wanted), terminal=terminal, steady=steady)

    def print(self, hits: Iterable[Hit]) -> int:
        """See `Printer`."""
        return self._table.print(hits)

    def report(self) -> None:
        """See `Printer`: everything was shown."""


def shows_events(wanted: Filter) -> bool:
    """Tell whether a listing needs a column for the type of event."""
    return wanted.events is None or len(wanted.events) > 1 or "mcp_operation" not in wanted.events


class _Lines:
    def print(self, hits: Iterable[Hit]) -> int:
        """See `Printer`: stored lines, and records that were read back, as they are."""
        write, count = _writer(), 0
        for hit in hits:
            write(hit.record or hit.line)
            count += 1
        return count

    def report(self) -> None:
        """See `Printer`: everything was shown."""


def _writer() -> Callable[[bytes], object]:
    """Return what prints a line or a record, given without its line end."""
    out = sys.stdout.buffer
    if sys.stdout.isatty():
        return lambda record: out.write(_visible(record) + b"\n")
    return lambda record: out.write(record + b"\n")


def _visible(record: bytes) -> bytes:
    text = record.decode("utf-8", "backslashreplace")
    return (visible_json(text) if text.startswith("{") else neutralise(text)).encode()


class _Records:
    def __init__(self, name: str, format_: Format) -> None:
        self._name = name
        self._format = format_
        self._left_out: Counter[str] = Counter()
        self._nameless = 0
        self._others: Counter[str] = Counter()
        """Of records that were read back: those of other formats."""
        self._failed = 0
        self._why = ""

    def print(self, hits: Iterable[Hit]) -> int:
        """See `Printer`."""
        write, count = _writer(), 0
        for hit in hits:
            count += 1
            record = self._render(hit)
            if record is not None:
                write(record)
        return count

    def _render(self, hit: Hit) -> bytes | None:
        from indelible.formats.record import NoEntryError, Record

        if hit.format:
            if hit.format == SAME.get(self._name, self._name):
                return hit.record
            self._others[hit.format] += 1
            return None
        if not hit.origin:
            self._nameless += 1
            return None
        try:
            record = Record(hit.line, hit.origin)
        except NoEntryError:
            self._left_out["values of other types than an event has"] += 1
            return None
        holds = self._format.holds
        if holds is not None and record.entry.event_type not in holds:
            self._left_out["erased" if record.entry.erased else record.entry.event_type] += 1
            return None
        try:
            data = self._format.render(record)
            if not isinstance(data, bytes):
                raise TypeError(f"its record is {type(data).__name__}, not bytes")
            if b"\n" in data:
                raise ValueError("it has a line end in it")
        except FOREIGN as exc:  # of another package's format
            self._failed += 1
            self._why = f"seq {record.entry.seq}: {type(exc).__name__}: {exc}"
            return None
        return data

    def report(self) -> None:
        """See `Printer`."""
        total = self._left_out.total()
        if total:
            types = [f"{count} {name}" for name, count in self._left_out.most_common(SHOWN_TYPES)]
            more = ", …" if len(self._left_out) > SHOWN_TYPES else ""
            what = f"{', '.join(types)}{more}"
            note(f"{counted(total, 'event')} left out, for which '{self._name}' has no shape: {what}")
        if self._failed:
            note(
                f"{counted(self._failed, 'event')} left out, of which '{self._name}' made no record: {self._why}"
            )
        if self._nameless:
            note(
                f"{counted(self._nameless, 'event')} left out, of a trail whose name is gone: "
                "no record of them could be checked; --json prints their lines"
            )
        for name, count in self._others.items():
            note(f"{counted(count, 'record')} left out, in '{name}', of which '{self._name}' cannot be made")
