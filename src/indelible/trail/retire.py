"""Set aside a trail whose end is missing.

A trail that is shorter than its checkpoint has lost events that somebody may hold proofs of. To go on under the
same origin would fork it: two different events with one seq under one name. So the whole of it goes to
`retired/<origin>/`, where it is a trail of its own that `verify` reads, and a new origin begins.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, Final

from indelible.errors import TrailCorrupt
from indelible.trail import durable, files
from indelible.trail.durable import Access
from indelible.trail.layout import Layout

MARKER: Final = "retiring"
"""Stands in the trail's directory while the move is under way."""

_STAYS: Final = frozenset({"lock", "writer.sock", "key", "hmac.key", "retired", "definitions", "gaps", MARKER})
"""What belongs to the place and not to the one trail. `key.vkey` goes with the trail: it bears its name."""


def retire(layout: Layout, about: dict[str, Any], access: Access) -> None:
    """Set the trail aside. `about` (origin, size, root, end) is what the new trail's first event will say."""
    durable.replace_file(layout.directory / MARKER, json.dumps(about).encode(), access)
    finish(layout, access)


def finish(layout: Layout, access: Access) -> dict[str, Any] | None:
    """Go on with a move that was begun; return what was said of the old trail, or None when there is none.

    Each step may be done twice. The marker stays until `settled`, so that a crash before the new trail's first
    line does not lose what that line has to say; once the new trail has its origin, nothing more is moved.
    """
    about = pending(layout)
    if about is None:
        return None
    name = str(about["origin"]).rpartition("/")[2]
    target = Layout(layout.retired / name / layout.active.name)
    if not _begun_anew(layout, about):
        _move(layout, target, access)
    return {**about, "moved_to": str(target.active.relative_to(layout.active.parent))}


def _begun_anew(layout: Layout, about: dict[str, Any]) -> bool:
    """Tell whether what stands in the trail's place is the new one: then it has an origin, and another one."""
    try:
        return layout.origin.read_bytes().strip() != str(about["origin"]).encode()
    except FileNotFoundError:
        return False


def _move(layout: Layout, target: Layout, access: Access) -> None:
    durable.make_directory(target.directory, access)
    for path in sorted(layout.directory.iterdir()):
        if path.name not in _STAYS:
            path.rename(target.directory / path.name)
    if layout.active.exists() and not target.active.exists():
        layout.active.rename(target.active)
    for link in files.links(layout):
        link.unlink()
    durable.sync_directories([layout.directory, layout.active.parent, target.directory, target.active.parent])


def pending(layout: Layout) -> dict[str, Any] | None:
    """Return what the marker says, or None without one."""
    try:
        about = json.loads((layout.directory / MARKER).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        msg = f"{layout.directory / MARKER}: cannot read it: {exc}; an earlier trail was being set aside"
        raise TrailCorrupt(msg) from exc
    if not isinstance(about, dict) or not isinstance(about.get("origin"), str):
        msg = f"{layout.directory / MARKER}: does not name a trail"
        raise TrailCorrupt(msg)
    return about


def settled(layout: Layout) -> None:
    """Remove the marker: the new trail's first line is on disk."""
    with contextlib.suppress(FileNotFoundError):
        (layout.directory / MARKER).unlink()
        durable.sync_directory(layout.directory)
