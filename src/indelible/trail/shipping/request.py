"""What somebody asks of the process that ships: `cursors/<name>.request`, carried out and removed by it.

A request is put there in one step and stands being carried out twice: a crash before it was removed has it done again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from indelible.trail import durable
from indelible.trail.reader import read_small

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

SUFFIX: Final = ".request"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """To ship a sink everything from a seq on again, or its dead letters, or both."""

    origin: str = ""
    begin: int | None = None
    """The seq, in the trail of this origin."""
    letters: bool = False


def path_of(layout: Layout, sink: str) -> Path:
    """Return where a request to a sink stands until it has been carried out."""
    return layout.cursors / f"{sink}{SUFFIX}"


def put(layout: Layout, sink: str, request: Request, access: Access) -> None:
    """Ask for something. Raises OSError."""
    durable.make_directory(layout.cursors, access)
    durable.replace_file(path_of(layout, sink), msgspec.json.encode(request) + b"\n", access)


def read(layout: Layout, sink: str) -> Request | None:
    """Return what is asked; None when nothing is, or nothing that can be read. Raises OSError."""
    data = read_small(path_of(layout, sink))
    try:
        return None if data is None else msgspec.json.decode(data, type=Request)
    except msgspec.DecodeError:
        return None


def done(layout: Layout, sink: str) -> None:
    """It was carried out. Raises OSError."""
    path_of(layout, sink).unlink(missing_ok=True)
