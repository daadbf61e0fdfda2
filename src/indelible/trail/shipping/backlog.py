"""What is kept for sinks that have not taken it, and how much of that there may be.

The rule that lives here: a closed file that nothing else keeps stays while a configured sink has not taken all of it,
until the newer files that the sink has not taken fill `max_backlog.size` together with it, or the file is older than
`max_backlog.age`. Then it goes all the same, and an `alert` names the seqs that this sink never gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from indelible.errors import TrailError
from indelible.trail.shipping import cursor

if TYPE_CHECKING:
    from indelible.config import AuditSettings
    from indelible.sink_settings import Backlog
    from indelible.trail.layout import Layout

WARN_PERCENT: Final = 80
"""From here on an `alert` says that events will be lost to a sink."""


class Shipping(NamedTuple):
    """Which sinks are waited for, and how long."""

    sinks: tuple[str, ...]
    bound: Backlog


class Unshipped(NamedTuple):
    """A closed file, as a backlog counts it."""

    last: int
    bytes: int
    """On the disk."""
    age: float
    """Seconds since it was closed; 0 when nobody can tell."""


class Waiting(NamedTuple):
    """What is kept for one sink."""

    sink: str
    next: int
    """The seq of the first event of this trail that it has not taken."""
    files: int
    bytes: int
    age: float
    """Of the oldest file that it has not taken all of."""
    percent: float
    """Of the bound that is nearest; more than 100 when something is lost to it."""

    def about(self) -> dict[str, Any]:
        """Return what an alert says of it."""
        return {
            "sink": self.sink, "state": "above", "percent": round(self.percent), "next": self.next,
            "files": self.files, "bytes": self.bytes, "age_s": round(self.age),
        }  # fmt: skip


def shipping_of(audit: AuditSettings) -> Shipping | None:
    """Return what is waited for by these settings; None when there is no sink."""
    return Shipping(tuple(sink.name for sink in audit.sinks), audit.max_backlog) if audit.sinks else None


def places(layout: Layout, sinks: Sequence[str], origin: str | None) -> dict[str, int]:
    """Return where each sink is in the trail `origin`: the seq of the first event that it has not taken.

    0 for one that is in an earlier trail yet, or whose cursor cannot be read. One without a cursor is left out: it has
    not begun, and gets nothing that is older.
    """
    found = {}
    for sink in sinks:
        try:
            at = cursor.read(layout, sink)
        except TrailError:
            found[sink] = 0
            continue
        if at is not None:
            found[sink] = at.next if at.origin == origin else 0
    return found


def waiting(files: Sequence[Unshipped], places: Mapping[str, int], bound: Backlog) -> list[Waiting]:
    """Return what is kept for each sink; `files` are all closed files, oldest first."""
    found = []
    for sink, following in places.items():
        own = [file for file in files if file.last >= following]
        size, age = sum(file.bytes for file in own), own[0].age if own else 0.0
        share = max(
            size / bound.size if bound.size else (0.0 if bound.size is None or not own else 2.0),
            age / bound.age if bound.age else (0.0 if bound.age is None or not own else 2.0),
        )
        found.append(Waiting(sink, following, len(own), size, age, 100 * share))
    return found


def kept_for(at: int, files: Sequence[Unshipped], places: Mapping[str, int], bound: Backlog) -> str | None:
    """Return for which sink the file at a place in `files` is kept; None when it is for none."""
    file = files[at]
    if bound.age is not None and file.age > bound.age:
        return None
    if bound.size is not None and sum(one.bytes for one in files[at:]) > bound.size:
        return None
    return next((sink for sink, following in places.items() if file.last >= following), None)


def lost(first: int, last: int, places: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return what alerts say of a deletion: from which sinks events are taken that they never had."""
    return [
        {"sink": sink, "state": "lost", "lost": [max(first, following), last]}
        for sink, following in places.items()
        if last >= following
    ]
