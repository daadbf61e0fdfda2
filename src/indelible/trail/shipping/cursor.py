"""How far a sink has got: `cursors/<name>.json` beside the trail.

The rule that lives here: **everything before a cursor has been acknowledged by its destination**, or was refused by it
for good and stands among the dead letters, or is not for it. So a cursor is written after the destination's word, never
before; it is replaced in one step and brought to the disk. A crash leaves the old one or the new: what lies between
them is shipped again, and recognisable by its seq.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from indelible import events
from indelible.errors import TrailError
from indelible.trail import durable
from indelible.trail.reader import names_in, read_small

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

SUFFIX: Final = ".json"
MAX_CURSOR_BYTES: Final = 4096


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a trail."""

    sink: str
    origin: str
    """The trail's. One that was set aside meanwhile is finished first."""
    next: int
    """The seq of the first event that the sink has not taken."""
    last: int | None = None
    """The seq of the last event that it has taken of this trail; None where it has none yet, or began elsewhere."""
    moved_at: str = ""
    """When it was written, RFC 3339."""


def path_of(layout: Layout, sink: str) -> Path:
    """Return where a sink's cursor stands."""
    return layout.cursors / f"{sink}{SUFFIX}"


def read(layout: Layout, sink: str) -> Cursor | None:
    """Return a sink's cursor, or None when it has none. Raises TrailError for one that cannot be read.

    To begin anew because of it would lose events, or ship all of them again: that is for somebody to decide.
    """
    path = path_of(layout, sink)
    try:
        data = read_small(path, MAX_CURSOR_BYTES)
        if data is None:
            return None
        found = msgspec.json.decode(data, type=Cursor)
    except OSError as exc:
        raise TrailError(f"{path}: cannot be read: {exc.strerror}") from exc
    except msgspec.DecodeError as exc:
        raise TrailError(f"{path}: is no cursor: {exc}; put it right, or remove it to begin anew") from exc
    if found.next < 0:
        raise TrailError(f"{path}: is no cursor: next is negative; put it right, or remove it to begin anew")
    return found


def write(layout: Layout, cursor: Cursor, access: Access) -> None:
    """Put a cursor in the place of the one before. Raises OSError; the old one stands then, or the new one."""
    durable.make_directory(layout.cursors, access)
    stamped = msgspec.structs.replace(cursor, moved_at=events.now())
    durable.replace_file(path_of(layout, cursor.sink), msgspec.json.encode(stamped) + b"\n", access)


def sinks(layout: Layout) -> list[str]:
    """Return the names of the sinks that have a cursor."""
    found = (name for name in names_in(layout.cursors) if name.endswith(SUFFIX) and not name.startswith("."))
    return sorted(name.removesuffix(SUFFIX) for name in found)
