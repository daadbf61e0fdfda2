"""Whether a call came in the middle of another one on the same thread: a signal's handler or a finalizer may make one.

Such a call must not wait for a lock: the one that has it may stand beneath, and goes on only when the call returns.
"""

from __future__ import annotations

import sys
from typing import Final

_TRAIL: Final = __name__.rpartition(".")[0]

_LOCKING: Final = frozenset(
    f"{_TRAIL}.{name}"
    for name in (
        "active", "batching", "commit", "condition", "gap", "gapfile", "queued", "sealer", "turn", "unsealed",
        "watched", "writer",
        "sharing.answers", "sharing.hub", "sharing.link", "sharing.shared", "sharing.through",
    )
)  # fmt: skip
"""Where events are on their way, and locks are held while they are. What opens a trail and closes it again (orders,
maintenance, side trails) is none of it: there a close has to be done when it returns."""


def stands_on_a_call_of_ours() -> bool:
    """Tell whether this thread is in the midst of recording, beneath the function that asks."""
    frame = sys._getframe(1).f_back  # noqa: SLF001 - the only way to see what stands beneath
    while frame is not None:
        if frame.f_globals.get("__name__") in _LOCKING:
            return True
        frame = frame.f_back
    return False
