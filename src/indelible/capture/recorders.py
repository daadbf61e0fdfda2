"""The recorders of this process: captures that name the same trail share one, and a forked child opens its own."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from pathlib import Path

from indelible.opening import open_trail
from indelible.recorder import Recorder

Trail = Recorder | str | os.PathLike[str] | None
"""How a capture is told where to record: an open recorder, a trail's path, or None for the configured trail."""

_open: dict[str | None, Recorder] = {}
_opening = threading.Lock()
_exiting = False


def default_recorder() -> Recorder:
    """Return the process's recorder of the configured trail, opened at the first call; anew after a fork."""
    return _opened(None)


def known_or_asked(trail: Trail) -> Recorder | Callable[[], Recorder]:
    """Return a trail's recorder, or who is asked for it before each call: a path's is another one after a fork."""
    return trail if isinstance(trail, Recorder) else recorder_of(trail)


def recorder_of(trail: Trail) -> Callable[[], Recorder]:
    """Return who answers for a trail: captures of one process that name the same one share its recorder."""
    if isinstance(trail, Recorder):
        return lambda: trail
    if trail is None:
        return default_recorder
    path = str(Path(os.fspath(trail)).absolute())
    return lambda: _opened(path)


def _opened(path: str | None) -> Recorder:
    recorder = _open.get(path)
    if recorder is None or (recorder.closed and not _exiting):
        with _opening:
            recorder = _open.get(path)
            if recorder is None or (recorder.closed and not _exiting):
                recorder = _open[path] = open_trail(path)
                atexit.register(_at_exit)
    return recorder


def _at_exit() -> None:
    """From here on nothing is opened again: what comes after the recorders are closed is said to be lost."""
    global _exiting  # noqa: PLW0603
    _exiting = True


def _after_fork() -> None:
    """A child has none of its parent's recorders: it opens its own, and writes through the parent's."""
    global _opening  # noqa: PLW0603 - whoever held it is not in this process
    _opening = threading.Lock()
    _open.clear()


os.register_at_fork(after_in_child=_after_fork)
