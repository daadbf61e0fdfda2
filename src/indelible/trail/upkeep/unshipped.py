"""Which closed files are kept for sinks, as a look at the trail's cursors and files finds it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from indelible.errors import TrailCorrupt
from indelible.sink_settings import Backlog
from indelible.trail import files
from indelible.trail.entry import line_recorded_at
from indelible.trail.files import TrailFile
from indelible.trail.shipping import backlog
from indelible.trail.shipping.backlog import WARN_PERCENT, Waiting
from indelible.trail.start import keys
from indelible.trail.upkeep.keeping import Closed

if TYPE_CHECKING:
    from indelible.trail.layout import Layout
    from indelible.trail.shipping.backlog import Shipping


class Unshipped:
    """What sinks have not taken of the closed files, at one moment."""

    def __init__(
        self, layout: Layout, shipping: Shipping | None, closed: Sequence[TrailFile], states: Sequence[Closed]
    ) -> None:
        self._bound = Backlog() if shipping is None else shipping.bound
        self._layout = layout
        self._sinks = () if shipping is None else shipping.sinks
        self._places = self._look()
        self._order = {about.first: at for at, about in enumerate(states)}
        self._files: list[backlog.Unshipped] = []
        if self._places:
            self._files = [
                backlog.Unshipped(about.last, _size(file), _age(about.ended))
                for file, about in zip(closed, states, strict=True)
            ]

    def _look(self) -> dict[str, int]:
        if not self._sinks:
            return {}
        return backlog.places(self._layout, self._sinks, keys.read_origin(self._layout))

    def keeps(self, file: Closed) -> str | None:
        """Return why a closed file is kept for a sink; None when it is for none."""
        if not self._places:
            return None
        sink = backlog.kept_for(self._order[file.first], self._files, self._places, self._bound)
        return None if sink is None else f"sink {sink} has not taken all of it"

    def waiting(self) -> list[Waiting]:
        """Return what is kept for each sink that has begun."""
        return backlog.waiting(self._files, self._places, self._bound) if self._places else []

    def nearly_full(self) -> list[Waiting]:
        """Return the sinks of which the backlog is at 80 % or more."""
        return [one for one in self.waiting() if one.percent >= WARN_PERCENT]

    def lost(self, ranges: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """Return what alerts say of a deletion of these seqs, by where the sinks are now."""
        now = self._look()
        return [about for first, last in ranges for about in backlog.lost(first, last, now)]

    def describe(self, about: dict[str, Any]) -> str:
        """Return what the log says with an alert."""
        if about["state"] == "lost":
            first, last = about["lost"]
            return f"sink {about['sink']}: events {first} to {last} are deleted before it had them: max_backlog is full"
        return (
            f"sink {about['sink']}: what is kept for it is {about['percent']} % of max_backlog: beyond that it is "
            "deleted, and lost to it"
        )


def look(layout: Layout, shipping: Shipping) -> Unshipped:
    """Return what sinks have not taken, as whoever does not hold the trail sees it. Raises OSError."""
    return files.looking_again(lambda: _look(layout, shipping))


def _look(layout: Layout, shipping: Shipping) -> Unshipped:
    closed = files.segments(layout)
    following = [*closed[1:], TrailFile(layout.active, 0, compressed=False)]
    starts = [file.first_seq for file in closed[1:]]
    starts.append(files.first_seq(layout.active) or 2**63)
    states = [
        Closed(file.first_seq, end - 1, _began(then), sealed=True)
        for file, end, then in zip(closed, starts, following, strict=False)
    ]
    return Unshipped(layout, shipping, closed, states)


def _began(file: TrailFile) -> str:
    try:
        return line_recorded_at(files.first_line(file)) or ""
    except TrailCorrupt:
        return ""


def _size(file: TrailFile) -> int:
    with contextlib.suppress(FileNotFoundError):  # compressed meanwhile
        return file.path.stat().st_size
    return 0


def _age(ended: str) -> float:
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(ended)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
