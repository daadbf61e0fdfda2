"""Where a report's page goes: a file that has its name when it is whole, for its owner alone; or standard output."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from indelible.cli.common import note
from indelible.cli.text import one_line
from indelible.errors import ConfigError, TrailError
from indelible.trail.durable import Access, replace_file
from indelible.trail.layout import Layout
from indelible.values import user_path

STANDARD_OUTPUT: Final = "-"


def check(name: str, paths: Iterable[Path]) -> Path | None:
    """Return the file that is meant, None for standard output. Raises ConfigError where none may be written.

    It is asked before anything is read: a report that takes minutes does not end with that.
    """
    if name == STANDARD_OUTPUT:
        return None
    if not name or "\0" in name:
        raise ConfigError(f"--html: expected the name of a file, found {name!r}")
    target = user_path(name).absolute()
    if target.is_dir():
        raise ConfigError(f"--html: {target}: is a directory; expected the name of a file, such as report.html")
    if not target.parent.is_dir():
        raise ConfigError(f"--html: {target.parent}: there is no such directory")
    if os.path.lexists(target) and not stat.S_ISREG(target.lstat().st_mode):
        raise ConfigError(f"--html: {target}: is no regular file; - is standard output")
    for path in paths:
        layout, real = Layout(path.absolute()), target.resolve()
        if real == layout.active.resolve() or layout.directory.resolve() in real.parents:
            raise ConfigError(f"--html: {target}: belongs to the trail; write the page elsewhere")
        if real.name.startswith(f"{layout.active.name}.") and real.parent == layout.active.resolve().parent:
            raise ConfigError(
                f"--html: {target}: is named as the trail's own files are; write the page elsewhere"
            )
    return target


def write(target: Path | None, page: bytes) -> None:
    """Write the page. Raises TrailError when it cannot be written; what was there is as it was."""
    if target is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(page)
        sys.stdout.buffer.flush()
        return
    try:
        replace_file(target, page, Access())
    except OSError as exc:
        raise TrailError(f"{target}: cannot be written: {exc.strerror or exc}") from exc


def say(target: Path | None, notes: Iterable[str]) -> None:
    """Say on stderr where the page is, and what is to be known first: who runs this every night reads that."""
    for text in notes:
        note(text)
    if target is not None and sys.stderr is not None and sys.stderr.isatty():
        click.secho(f"{one_line(str(target))} is written", dim=True, err=True)
