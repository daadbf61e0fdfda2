"""Whether a call came in the middle of another one on the same thread: a signal's handler or a finalizer may make one.

Such a call must not wait for a lock: the one that has it may stand beneath, and goes on only when the call returns.
"""

from __future__ import annotations

import sys

_ROOM = __name__.rpartition(".")[0] + "."


def stands_on_a_call_of_ours() -> bool:
    """Tell whether this thread is in the midst of a function of the trail's beneath the one that asks."""
    frame = sys._getframe(1).f_back  # noqa: SLF001 - the only way to see what stands beneath
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(_ROOM):
            return True
        frame = frame.f_back
    return False
