"""A fault of our own in the midst of somebody's call: what a capture inside a server does about it.

The rule that lives here: an exception out of our code is nobody else's. Under ``allow`` the call goes on as if we were
not there; the event that it cost is counted with everything else that is lost, and stands in the next ``audit_gap``.
Under ``deny`` nothing goes on without its record: the client is refused. Each fault is logged once, by its class and
its place; its text may hold anything, and is not.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from indelible.recorder import Recorder

log = logging.getLogger("indelible")


given_up: Final[contextvars.ContextVar[object]] = contextvars.ContextVar("indelible_given_up", default=None)
"""The session of the request on the wire that was lost by a fault: a capture above counts it no second time."""


class Faults:
    """The faults of one capture."""

    def __init__(self, recorder: Callable[[], Recorder], refusal: Callable[[str], Exception]) -> None:
        """`refusal` makes the framework's error of a reason. Raises what opening a trail does."""
        self._recorder = recorder
        self._refusal = refusal
        self._denies = recorder().on_failure == "deny"
        self._said: set[str] = set()

    def lost(self, exc: Exception, why: str) -> None:
        """Take a fault that cost an event. Raises the framework's error under ``deny``, which says `why`."""
        self.noted(exc)
        with contextlib.suppress(Exception):
            self._recorder().lost(f"a fault in Indelible: {type(exc).__name__}")
        if self._denies:
            raise self._refusal(why) from None

    @contextlib.contextmanager
    def minor(self) -> Iterator[None]:
        """Keep the faults of what is done beside a call to ourselves."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001
            self.noted(exc)

    def noted(self, exc: Exception) -> None:
        """Take a fault that cost less than an event."""
        what = f"{type(exc).__name__} at {_place(exc)}"
        if what not in self._said:
            self._said.add(what)
            log.error("a fault in Indelible: %s; the call goes its way", what)


def _place(exc: Exception) -> str:
    """Return where an exception comes from, as far as that is in this package."""
    trace, place = exc.__traceback__, "an unknown place"
    while trace is not None:
        code = trace.tb_frame.f_code
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == "indelible":
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
