"""What the commands share: the options that every one has, and which trails are meant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from indelible.errors import ConfigError, TrailError

if TYPE_CHECKING:
    from indelible.config import Settings

F = TypeVar("F", bound=Callable[..., Any])


def where_options(function: F) -> F:
    """Add ``-c``, ``--profile`` and ``--trail``."""
    for option in (
        click.option("--trail", metavar="PATH", help="A trail's file, or a directory of trails."),
        click.option("--profile", metavar="NAME", help="Use this profile of the configuration."),
        click.option("-c", "--config", metavar="FILE", help="Read this configuration."),
    ):
        function = option(function)
    return function


def load_settings(config: str | None, profile: str | None, trail: str | None) -> Settings:
    """Return the settings in force; warnings go to stderr. Raises ConfigError."""
    from indelible import configfile

    settings = configfile.load(config, profile=profile, trail=trail)
    for warning in settings.warnings:
        note(warning)
    return settings


class Trails:
    """Which trails are meant; `paths` looks again each time, since more may appear."""

    def __init__(self, config: str | None, profile: str | None, trail: str | None) -> None:
        if trail is not None and config is None and profile is None:
            self.path = _explicit(trail)  # no need of a configuration, nor of its being right
        else:
            self.path = Path(str(load_settings(config, profile, trail).audit.path))
        self._explicit = trail is not None

    def paths(self) -> list[Path]:
        """Return the active files of the trails that are meant.

        ``--trail FILE`` is that one; ``--trail DIR`` all that lie in it; without it the configured (or default)
        trail, and those beside it that further recorders made while it was held.
        """
        from indelible.trail.files import side_trails, trails_in

        if self._explicit:
            return trails_in(self.path) if self.path.is_dir() else [self.path]
        beside = side_trails(self.path)
        return [self.path, *beside] if not beside or is_there(self.path) else beside


def find_trails(config: str | None, profile: str | None, trail: str | None) -> list[Path]:
    """Return the trails that are meant, see `Trails.paths`. Raises TrailError when a directory holds none."""
    trails = Trails(config, profile, trail)
    found = trails.paths()
    if not found:
        msg = f"{trails.path}: there is no trail in this directory"
        raise TrailError(msg)
    return found


def _explicit(trail: str) -> Path:
    if not trail or "\0" in trail:
        msg = f"--trail: expected a path, found {trail!r}"
        raise ConfigError(msg)
    return Path(trail).expanduser().absolute()


def is_there(path: Path) -> bool:
    """Tell whether there is anything of a trail."""
    return path.exists() or path.with_name(path.name + ".d").is_dir()


def note(text: str) -> None:
    """Say something on stderr that is not a failure."""
    from indelible.cli.text import one_line

    print(f"indelible: {one_line(text)}", file=sys.stderr)  # noqa: T201


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    import orjson

    click.echo(orjson.dumps(value).decode())
