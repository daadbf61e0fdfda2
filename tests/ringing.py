"""A signal's handler that raises at any moment, for tests of what it leaves behind."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def ringing(ring: Callable[..., None]) -> Iterator[None]:
    """Have SIGALRM answered by `ring`, and afterwards as before.

    What a handler raises within a callback of the collector is lost, so there is none meanwhile. The time limit of the
    test has the same timer, and is set again for the rest of it: a loop in here ends by itself.
    """
    collects = gc.isenabled()
    gc.disable()
    handler, limit = signal.signal(signal.SIGALRM, ring), signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *limit)
        if collects:
            gc.enable()
