"""Where a report's page goes: a file that has its name when it is whole, for its owner alone; or standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from indelible.cli.common import note
from indelible.cli.text import one_line
from indelible.errors import TrailError
from indelible.trail.durable import Access, replace_file

if TYPE_CHECKING:
    from indelible.query.exports.place import Target


def write(target: Target, page: bytes) -> None:
    """Write the page. Raises TrailError when it cannot be written; what was there is as it was."""
    if target.is_stream:
        sys.stdout.flush()
        sys.stdout.buffer.write(page)
        sys.stdout.buffer.flush()
        return
    try:
        replace_file(target.path, page, Access())
    except OSError as exc:
        raise TrailError(f"{target.path}: cannot be written: {exc.strerror or exc}") from exc


def say(target: Target, notes: Iterable[str]) -> None:
    """Say on stderr where the page is, and what is to be known first: who runs this every night reads that."""
    for text in notes:
        note(text)
    if not target.is_stream and sys.stderr is not None and sys.stderr.isatty():
        click.secho(f"{one_line(str(target.path))} is written", dim=True, err=True)
