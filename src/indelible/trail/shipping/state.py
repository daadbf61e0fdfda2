"""How a sink is, for `status`: `cursors/<name>.state`. Replaced in one step; a lost one is no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from indelible.trail import attempts, durable
from indelible.trail.reader import read_small

if TYPE_CHECKING:
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

SUFFIX: Final = ".state"
MAX_STATE_BYTES: Final = 65_536

Phase = Literal["running", "waiting", "unavailable", "stopped"]
"""`running`: there is something to ship; `waiting`: it has everything; `unavailable`: it cannot take anything now."""


class SinkState(msgspec.Struct, kw_only=True):
    """The state of one sink. Times are RFC 3339, UTC."""

    sink: str
    type: str = ""
    format: str = ""
    to: str = ""
    state: Phase = "stopped"
    pid: int = 0
    """Of the process that ships."""
    taken: int = 0
    """Events that it has taken, ever."""
    taken_at: str | None = None
    refused: int = 0
    """Events that it refused for good, ever."""
    lost: int = 0
    """Events that were deleted, or could not be read, before it had them."""
    failures: int = 0
    """Attempts in a row that failed."""
    error: str | None = None
    """Why the last one failed; None when it did not."""
    failed_at: str | None = None


def write(layout: Layout, state: SinkState, access: Access) -> None:
    """Show a state. Raises OSError."""
    durable.make_directory(layout.cursors, access)
    data = msgspec.json.encode(state) + b"\n"
    durable.replace_file(layout.cursors / f"{state.sink}{SUFFIX}", data, access, durable=False)


def read(layout: Layout, sink: str) -> SinkState:
    """Return a sink's state; one that says nothing when there is none that can be read."""
    try:
        data = read_small(layout.cursors / f"{sink}{SUFFIX}", MAX_STATE_BYTES)
        found = None if data is None else msgspec.json.decode(data, type=SinkState)
    except (OSError, msgspec.DecodeError):
        found = None
    return SinkState(sink=sink) if found is None else found


def is_shipped_by(state: SinkState, pid: int | None) -> bool:
    """Tell whether a sink is one of those that this process ships to now."""
    return state.state != "stopped" and state.pid == pid


def failed(state: SinkState, why: str) -> None:
    """An attempt failed."""
    state.state = "unavailable"
    attempts.failed(state, why)


def took(state: SinkState, count: int) -> None:
    """It has taken so many events."""
    state.taken += count
    attempts.taken(state)
