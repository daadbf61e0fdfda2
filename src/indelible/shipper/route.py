"""Which trail a cursor is in: the living one, or one that was set aside before a sink had all of it.

A trail that was set aside (`trail.start.retire`) lies below its successor, whose first line names it. A sink gets the
rest of the earlier one first, then its successor from the beginning. Where nothing names the cursor's trail, or its
files are gone, the sink goes on with the living trail's beginning, and the log says so.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from indelible.events import MAX_LINE_BYTES
from indelible.trail import files
from indelible.trail.entry import parse_line
from indelible.trail.layout import Layout
from indelible.trail.reader import Snapshot, names_in
from indelible.trail.upkeep.due import newest_checkpoint

MAX_CHAIN: Final = 64
"""So many trails are followed back."""


class Sealed(NamedTuple):
    """A trail, as far as its checkpoint covers it."""

    layout: Layout
    origin: str
    size: int


def sealed(layout: Layout) -> Sealed | None:
    """Return how far a trail is under its checkpoint; None while it has none."""
    found = newest_checkpoint(layout)
    return None if found is None else Sealed(layout, found.origin, found.size)


def find(living: Layout, origin: str) -> Sealed | None:
    """Return the trail of this origin, the living one or one that was set aside; None when there is none.

    Of several of one origin (a backup that was put back, too) the longest has all of it.
    """
    now = sealed(living)
    if now is not None and now.origin == origin:
        return now
    candidates = [found for found in _set_aside(living) if found.origin == origin]
    return max(candidates, key=lambda found: found.size, default=None)


def after(living: Layout, origin: str) -> tuple[Sealed, bool] | None:
    """Return the trail that comes after that of an origin, and whether it is known to.

    (the living trail, False) when nothing says what came in between; None while no new trail has begun.
    """
    now = sealed(living)
    if now is None or now.origin == origin:
        return None
    at = now
    for _ in range(MAX_CHAIN):
        named = _previous(at.layout)
        if named is None:
            break
        if named == origin:
            return at, True
        before = find(living, named)
        if before is None:
            break
        at = before
    return now, False


def is_past(living: Layout, origin: str, at: str) -> bool:
    """Tell whether the trail `at` comes after that of an origin, or nothing is left of that one to be shipped."""
    later = find(living, at)
    for _ in range(MAX_CHAIN):
        named = None if later is None else _previous(later.layout)
        if named is None:
            break
        if named == origin:
            return True
        later = find(living, named)
    return find(living, origin) is None


def _set_aside(living: Layout) -> list[Sealed]:
    found = []
    for name in sorted(names_in(living.retired)):
        if not name.startswith(".") and (living.retired / name).is_dir():
            found += [sealed(Layout(path)) for path in files.trails_in(living.retired / name)]
    return [one for one in found if one is not None]


def _previous(layout: Layout) -> str | None:
    """Return the origin of the trail that this one's first line says it follows."""
    try:
        with Snapshot(layout) as snapshot:
            if not snapshot.files:
                return None
            with snapshot.files[0].open() as stream:
                line = stream.read(MAX_LINE_BYTES + 1).partition(b"\n")[0]
    except OSError:
        return None
    metadata: Any = (parse_line(line) or {}).get("metadata")
    named = metadata.get("previous") if isinstance(metadata, dict) else None
    origin = named.get("origin") if isinstance(named, dict) else None
    return origin if isinstance(origin, str) else None


def begins(layout: Layout) -> int:
    """Return the first seq that is still there; 0 when there is none."""
    with Snapshot(layout) as snapshot:
        for file in snapshot.files:
            if file.named_seq is not None:
                return file.named_seq
    return files.first_seq(layout.active) or 0
