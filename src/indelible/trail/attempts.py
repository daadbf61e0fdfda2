"""How attempts to hand something elsewhere go, as the states of sinks and of anchors keep it."""

from __future__ import annotations

from typing import Final, Protocol

from indelible import events

MAX_ERROR_CHARS: Final = 500
"""Of what is kept of an error."""


class Attempted(Protocol):
    """Part of a state. Times are RFC 3339, UTC."""

    taken_at: str | None
    failures: int
    """Attempts since then that failed."""
    error: str | None
    """Why the last one failed; None when it did not."""
    failed_at: str | None


def taken(state: Attempted) -> None:
    """Something was taken."""
    state.taken_at = events.now()
    state.failures, state.error, state.failed_at = 0, None, None


def failed(state: Attempted, why: str) -> None:
    """An attempt failed."""
    state.failures += 1
    state.error, state.failed_at = why[:MAX_ERROR_CHARS], events.now()
