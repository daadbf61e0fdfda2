"""The rules beside a shipper, in its process: begun, tried again, and made anew when the configuration was.

The rule that lives here: whatever is wrong with alerts is said once and tried again, and holds up no sink. An alert is
recorded by whoever holds the trail; where nobody does, it waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from indelible import __version__
from indelible.cli.common import Where, note
from indelible.errors import IndelibleError
from indelible.shipper.companion import looks
from indelible.trail import durable
from indelible.trail.upkeep.manage import through_holder

if TYPE_CHECKING:
    from indelible.alerting.watch import Watch
    from indelible.shipper.route import Sealed
    from indelible.trail.layout import Layout
    from indelible.trail.upkeep.orders import RecordAlert

AGAIN_S: Final = 5.0
"""How often a watch that could not begin is tried again: another process may have it."""


class Beside:
    """The rules of a trail, while it is shipped here."""

    def __init__(self, layout: Layout, where: Where, *, wanted: bool) -> None:
        """`wanted` is False for who ships some sinks only."""
        self._layout = layout
        self._where = where
        self._wanted = wanted
        self._watch: Watch | None = None
        self._due = 0.0
        self._said = ""

    def look(self) -> None:
        """Begin, where that is not done and is due."""
        if not self._wanted or self._watch is not None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + AGAIN_S
        if not looks(self._where.settings):
            return
        try:
            watch = self._made()
            watch.start()
        except IndelibleError as exc:
            self._say(f"alerts: nobody looks, which is tried again: {exc}")
            return
        self._watch, self._said = watch, ""

    def _made(self) -> Watch:
        from indelible.alerting.watch import Watch
        from indelible.errors import ConfigError

        settings = self._where.settings
        if settings.alerts is None:
            raise ConfigError("alerts: the configuration has none")
        access = durable.access_for(settings.audit.group)
        return Watch(self._layout, settings.alerts, settings.audit, access, __version__, self._record)

    def _record(self, order: RecordAlert) -> bool:
        return through_holder(self._layout, order) is not None

    def _say(self, about: str) -> None:
        if about != self._said:
            self._said = about
            note(about, "ERROR")

    def reload(self, where: Where) -> None:
        """Go on by another configuration; by the same one, untouched."""
        same = (where.settings.alerts, where.settings.audit) == (
            self._where.settings.alerts,
            self._where.settings.audit,
        )
        self._where = where
        if not same:
            self.close()
            self._due = 0.0
            self.look()

    def hurry(self) -> None:
        """Have no channel wait for more."""
        if self._watch is not None:
            self._watch.shipper.hurry()

    def has(self, goal: Sealed) -> bool:
        """Tell whether rules and channels have everything up to a point, or nobody looks."""
        return self._watch is None or self._watch.has(goal)

    def close(self) -> None:
        """End, as far as that is done soon."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
