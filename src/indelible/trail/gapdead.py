"""What recorders that are gone could not record: said once, by the next one that looks."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from indelible.errors import IndelibleError, TrailUnavailable
from indelible.trail import gapfile
from indelible.trail.gap import Writes, claim_of, metadata
from indelible.trail.gapfile import Count, GapFile
from indelible.trail.gapkeeper import try_to_keep
from indelible.trail.reader import shown_size
from indelible.trail.sharing.recent import find_ids

if TYPE_CHECKING:
    from indelible.trail.layout import Layout

log = logging.getLogger("indelible")

SETTLES_S: Final = 10.0
"""How long after a recorder's death its last `audit_gap` may still be on its way to another process."""


def report_the_dead(layout: Layout, writer: Writes, *, holds: bool) -> None:
    """Record what recorders of this trail that are gone could not record; `holds`: this process holds the trail."""
    try:
        for found in gapfile.left_behind(layout):
            if not _report(found, layout, writer, holds=holds):
                return
    except (OSError, IndelibleError) as exc:
        log.warning("%s: what others could not record stays there: %s", layout.gaps, exc)


def _report(found: GapFile, layout: Layout, writer: Writes, *, holds: bool) -> bool:
    """Record one dead recorder's count, once; tell whether to go on with the next."""
    count = found.count
    lost = _still_owed(count, layout, holds=holds)
    if lost is None:
        found.close()
        return True
    if lost <= 0:
        found.remove()
        return True
    count.reason = count.reason or "the process ended before it could record what it had refused"
    item = writer.service_event("audit_gap", {**metadata(count, lost), "of": _of(count)})
    count.lost, count.waiting, count.doubts = lost, 0, []
    count.claim = claim_of(item, lost, 0 if layout.behind_service else shown_size(layout.active))
    found.store()
    try_to_keep(found)
    try:
        writer.append(*item)
    except TrailUnavailable:
        found.close()
        return False
    found.remove()
    return True


def _still_owed(count: Count, layout: Layout, *, holds: bool) -> int | None:
    """Return how many events a dead recorder owes; None when it is not known yet: some may be on their way."""
    claim = count.claim
    sizes = {**dict.fromkeys(count.doubts, count.doubt_size), **({claim.event_id: claim.size} if claim else {})}
    if not sizes:
        return count.owed
    # behind a service nobody can look: said twice is better than not at all
    came = set() if layout.behind_service else find_ids(layout, set(sizes), min(sizes.values()))
    newest = max(count.doubt_at if count.doubts else 0.0, claim.at if claim else 0.0)
    if len(came) < len(sizes) and not holds and abs(time.time() - newest) < SETTLES_S:
        return None
    owed = count.owed - len(came.intersection(count.doubts))
    return owed - (claim.lost if claim is not None and claim.event_id in came else 0)


def _of(count: Count) -> dict[str, Any]:
    return {"recorder": count.recorder, "pid": count.pid}
