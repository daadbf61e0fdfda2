"""How the sinks of a trail are, from the files that whoever ships leaves beside it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from indelible.compliance import is_export
from indelible.errors import TrailCorrupt, TrailError
from indelible.shipper import route
from indelible.shipper.feed import Feed
from indelible.shipper.shipper import current_shipper
from indelible.trail.entry import line_recorded_at
from indelible.trail.shipping import backlog, cursor, letters, state
from indelible.trail.upkeep.unshipped import look

if TYPE_CHECKING:
    from collections.abc import Collection

    from indelible.config import AuditSettings
    from indelible.shipper.feed import Piece
    from indelible.shipper.route import Sealed
    from indelible.trail.layout import Layout

ONE_LINE = 1 << 20


def sink_states(layout: Layout, audit: AuditSettings | None) -> dict[str, Any]:
    """Return who ships a trail and how its sinks are, as `status --json` prints them; `audit` is None when not known.

    Those that are configured, and those that have a cursor. ``behind`` is how many sealed events one has not taken and
    can still get, ``behind_s`` how long ago the first of them was recorded. ``lost`` is what it never gets, also
    what it has not come to: a destination that is away for long is not told of as one that will catch up.
    """
    shipper = current_shipper(layout)
    known = {} if audit is None else {sink.name: sink for sink in audit.sinks}
    with contextlib.suppress(OSError):
        dead = letters.counts(layout)
        full = _backlogs(layout, audit)
        return {
            "shipped_by": None if shipper is None else {"pid": shipper.pid, "since": shipper.since},
            "sinks": [
                {
                    **_one(layout, name, is_shipped=shipper is not None),
                    "dead_letters": dead.get(name, 0),
                    "backlog_percent": full.get(name),
                    "configured": None if audit is None else _is_meant(name, known),
                }
                for name in [*known, *(name for name in cursor.sinks(layout) if name not in known)]
            ],
        }
    return {"shipped_by": None, "sinks": None}


def _is_meant(name: str, known: Collection[str]) -> bool | None:
    """Tell whether a sink is configured; None for one of an environment, which is not the one of who asks."""
    if name in known:
        return True
    return None if is_export(name) else False


def _one(layout: Layout, name: str, *, is_shipped: bool) -> dict[str, Any]:
    about = state.read(layout, name)
    said = msgspec.to_builtins(about)
    del said["pid"]
    if not is_shipped:
        said["state"] = "stopped"
    try:
        at = cursor.read(layout, name)
    except TrailError as exc:
        return {**said, "error": str(exc), "next": None, "behind": None, "behind_s": None}
    if at is None:
        return {**said, "next": None, "behind": None, "behind_s": None}
    trail = route.find(layout, at.origin)
    left = 0 if trail is None else max(0, trail.size - at.next)
    first = _next_of(trail, at.next) if left else None
    gone = 0 if first is None else sum(gap.end - gap.first for gap in first.gaps)
    left -= gone
    now = route.sealed(layout)
    if now is not None and now.origin != at.origin:
        left += now.size
    said["lost"] += gone
    return {**said, "next": at.next, "behind": left, "behind_s": _age(first) if left else 0.0}


def _next_of(trail: Sealed | None, seq: int) -> Piece | None:
    """Return the first event from a seq on, with what is missing before it; None when that is not known."""
    if trail is None:
        return None
    try:
        with contextlib.closing(Feed(trail.layout)) as feed:
            return feed.read(seq, trail.size, 1, ONE_LINE)
    except (OSError, TrailCorrupt):
        return None


def _age(piece: Piece | None) -> float | None:
    """Return how long ago an event was recorded; None when that is not known."""
    recorded = line_recorded_at(piece.lines[0][1]) if piece is not None and piece.lines else None
    if recorded is None:
        return None
    return max(0.0, round((datetime.now(UTC) - datetime.fromisoformat(recorded)).total_seconds(), 3))


def _backlogs(layout: Layout, audit: AuditSettings | None) -> dict[str, int]:
    """Return how full each sink's `max_backlog` is, in percent."""
    shipping = None if audit is None else backlog.shipping_of(audit)
    if shipping is None:
        return {}
    return {one.sink: round(one.percent) for one in look(layout, shipping).waiting()}
