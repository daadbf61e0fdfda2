"""A change of sinks is put on record: what a shipper ships to is the trail's business, and only its holder writes it.

The shipper gives the holder an order, on a thread of its own, also where both are one process: who is shipped to waits
neither for the trail nor for a holder that does not answer. A shipper never writes to a trail itself, not to one that
nobody holds either. Where a change cannot be recorded, a line says so, and it stands.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from indelible.errors import IndelibleError
from indelible.events import new_id
from indelible.trail.upkeep.orders import Reloaded

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings
    from indelible.trail.layout import Layout

END_S: Final = 3.0
"""How long the end of a shipper waits for a change to be on record."""


def change(before: Sequence[SinkSettings], after: Sequence[SinkSettings]) -> Reloaded | None:
    """Return what became of sinks, known by their names; None when nothing did."""
    was, now = ({sink.name: sink for sink in sinks} for sinks in (before, after))
    order = Reloaded(
        id=new_id(),
        added=[name for name in now if name not in was],
        removed=[name for name in was if name not in now],
        changed=[name for name in now if name in was and now[name] != was[name]],
    )
    return order if order.added or order.removed or order.changed else None


class OnRecord:
    """Has changes recorded, one after the other."""

    def __init__(self, layout: Layout, say: Callable[[str], None]) -> None:
        """`say` is what a change that cannot be recorded is told to."""
        self._layout = layout
        self._say = say
        self._last: threading.Thread | None = None

    def put(self, order: Reloaded) -> None:
        """Have the trail's holder record it; returns at once."""
        thread = threading.Thread(target=self._put, args=(order, self._last), daemon=True)
        self._last = thread
        thread.start()

    def _put(self, order: Reloaded, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        # Here: a recorder that reloads nothing starts without it.
        from indelible.trail.upkeep.manage import through_holder

        try:
            if through_holder(self._layout, order) is None:
                self._say("the change of sinks is not on record: nobody records into the trail now")
        except (IndelibleError, OSError) as exc:
            self._say(f"the change of sinks is not on record: {exc}")

    def close(self) -> None:
        """Wait for what is under way, for a moment."""
        if self._last is not None:
            self._last.join(END_S)
