"""What the commands share: the options that every one has, and which trails are meant."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import click

from indelible.cli import hints
from indelible.errors import ConfigError, TrailError
from indelible.values import user_path

if TYPE_CHECKING:
    from indelible.config import AuditSettings, Settings
    from indelible.loglines import Level
    from indelible.query.sources.base import Source

SINK_HELP: Final = (
    "With kafka://… or s3://…: come in as this sink of the configuration does (TLS, credentials)."
)

LINES_HELP: Final = "Print the stored lines, byte for byte; on a terminal, with escapes for what it would obey."

lines_option = click.option("--json", "as_json", is_flag=True, help=LINES_HELP)
"""``--json`` of the commands that list events."""


class From(NamedTuple):
    """What ``--from`` and ``--sink`` say."""

    names: tuple[str, ...]
    sink: str | None

    def open(self, where: Where, since: str | None = None) -> list[Source]:
        """Return the sources, which are looked for now; nothing before `since` is wanted. Raises ConfigError."""
        from indelible.query.sources.opening import open_source

        sink = None
        if self.sink is not None:
            sinks = {one.name: one for one in where.settings.audit.sinks}
            if self.sink not in sinks:
                there = ", ".join(sinks) or "none"
                raise ConfigError(f"--sink {self.sink}: the configuration has no such sink; there are: {there}")
            sink = sinks[self.sink]
        return [open_source(name, sink, since) for name in self.names]


def from_options(text: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return what adds ``--from``, which may be repeated, and ``--sink``; the command gets them as `sources`."""

    def add(function: Callable[..., int]) -> Callable[..., int]:
        def command(names: tuple[str, ...], sink: str | None, **others: Any) -> int:
            if sink is not None and not names and not others.get("places"):
                raise click.UsageError("--sink says how --from comes to a topic or a bucket: name that, too")
            return function(sources=From(names, sink), **others)

        made: Callable[..., int] = functools.wraps(function)(command)
        made = click.option("--sink", metavar="NAME", help=SINK_HELP)(made)
        return click.option("--from", "names", metavar="SOURCE", multiple=True, help=text)(made)

    return add


@dataclass(frozen=True)
class Where:
    """What ``-c``, ``--profile`` and ``--trail`` say."""

    config: str | None = None
    profile: str | None = None
    trail: str | None = None

    @property
    def trail_alone(self) -> bool:
        """Tell whether a trail is named and no configuration: none is needed then, nor has one to be right."""
        return self.trail is not None and self.config is None and self.profile is None

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings in force, read once; warnings go to stderr. Raises ConfigError."""
        from indelible import configfile, loglines

        settings = configfile.load(self.config, profile=self.profile, trail=self.trail)
        loglines.settle(settings.audit.sinks, settings.audit.ship)
        for warning in settings.warnings:
            note(warning)
        return settings


def where_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add ``-c``, ``--profile`` and ``--trail``; the command gets them as its first argument, a `Where`."""

    @functools.wraps(function)
    def command(config: str | None, profile: str | None, trail: str | None, **others: Any) -> int:
        hints.about(config, profile, trail)
        return function(Where(config, profile, trail), **others)

    for option in (
        click.option("--trail", metavar="PATH", help="A trail's file, or a directory of trails."),
        click.option("--profile", metavar="NAME", help="Use this profile of the configuration."),
        click.option("-c", "--config", metavar="FILE", help="Read this configuration."),
    ):
        command = option(command)
    return command


class Trails:
    """Which trails are meant; `paths` looks again each time, since more may appear."""

    def __init__(self, where: Where) -> None:
        if where.trail is not None and where.trail_alone:
            self.path = _explicit(where.trail)
        else:
            self.path = Path(str(where.settings.audit.path))
        self._explicit = where.trail is not None

    def paths(self) -> list[Path]:
        """Return the active files of the trails that are meant.

        ``--trail FILE`` is that one; ``--trail DIR`` all that lie in it; without it the configured (or default)
        trail, and those beside it that further recorders made while it was held.
        """
        from indelible.trail.reader import trails_at

        return trails_at(self.path, named=self._explicit)


def find_trails(where: Where) -> list[Path]:
    """Return the trails that are meant, see `Trails.paths`. Raises TrailError when a directory holds none."""
    trails = Trails(where)
    found = trails.paths()
    if not found:
        msg = f"{trails.path}: there is no trail in this directory"
        raise TrailError(msg)
    return found


def one_trail(where: Where) -> Path:
    """Return the one trail that is meant. Raises ConfigError when there are several, TrailError when there is none."""
    found = find_trails(where)
    if len(found) > 1:
        msg = f"{len(found)} trails are meant, {found[0]} and others; say which one with --trail FILE"
        raise ConfigError(msg)
    return found[0]


def main_trail(where: Where) -> Path:
    """Return the trail that is named or configured: those beside it have keys of their own. Raises TrailError."""
    path = Trails(where).path
    return one_trail(where) if path.is_dir() else path


def settings_of(where: Where, path: Path) -> AuditSettings:
    """Return the settings of the trail, or the defaults when the configuration here is about another one."""
    from indelible.cli.status import settings_for
    from indelible.config import AuditSettings

    return settings_for(where, path) or AuditSettings(path=str(path))


def read_input(option: str, name: str, limit: int) -> bytes:
    """Return up to `limit` bytes of a file that an option names, or of standard input for ``-``. Raises ConfigError."""
    try:
        with open_input(option, name) as file:
            parts, left = [], limit
            while left and (part := file.read(left)):
                parts.append(part)
                left -= len(part)
    except OSError as exc:
        msg = f"{option}: {name}: cannot be read: {exc.strerror}"
        raise ConfigError(msg) from exc
    return b"".join(parts)


def open_input(option: str, name: str) -> BinaryIO:
    """Open a file that an option names, or standard input for ``-``. Raises ConfigError."""
    try:
        if name == "-":
            return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
        return Path(name).open("rb", buffering=0)
    except (OSError, ValueError, AttributeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else "expected a file"
        msg = (
            f"{option}: {name!r}: cannot be read: {why}"
            if "\0" in name
            else f"{option}: {name}: cannot be read: {why}"
        )
        raise ConfigError(msg) from exc


def _explicit(trail: str) -> Path:
    if not trail or "\0" in trail:
        msg = f"--trail: expected a path, found {trail!r}"
        raise ConfigError(msg)
    return user_path(trail).absolute()


def note(text: str, level: Level = "WARNING") -> None:
    """Say something on stderr that is not a failure; `level` stands there where lines are JSON."""
    from indelible import loglines
    from indelible.cli.text import one_line

    print(loglines.line(one_line(hints.placed(text)), level), file=sys.stderr)  # noqa: T201


def print_json(value: object, *, err: bool = False) -> None:
    """Print a value as one line of JSON; with `err` on stderr, where standard output has something else."""
    import orjson

    echo_json(orjson.dumps(value).decode(), err=err)


def echo_json(text: str, *, err: bool = False) -> None:
    """Print JSON; a terminal gets nothing that it would obey: what is not visible is an escape there."""
    from indelible.cli.text import visible_json

    stream = sys.stderr if err else sys.stdout
    click.echo(visible_json(text) if stream is not None and stream.isatty() else text, err=err)
