"""When a sink that failed is tried again. Pure."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 0.5
CAP_S: Final = 60.0
"""A destination that was away for a day has its events a minute after it is back."""

MAX_ASKED_S: Final = 3600.0
"""A destination that asks to be left alone longer than this is asked again all the same."""


def pause(failures: int, chance: float, asked: float | None = None) -> float:
    """Return how many seconds to wait after so many failures in a row.

    `chance` is from 0 up to 1: the pause doubles with each failure, and half of it is left to chance, so that many
    shippers do not come back to a destination at once. `asked` is what the destination asked for (Retry-After): no
    attempt is made sooner.
    """
    grown = min(CAP_S, FIRST_S * 2.0 ** min(max(failures - 1, 0), 20))
    spread = grown * (0.5 + 0.5 * chance)
    return spread if asked is None else max(spread, min(asked, MAX_ASKED_S))
