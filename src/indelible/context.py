"""Which call this code runs in: for tool code, and for ordinary logs.

A capture sets the variable around the code of a call; threads and tasks that this code starts inherit it where Python
hands its context on (`asyncio.to_thread`, tasks; not a bare `threading.Thread`).
"""

from __future__ import annotations

import contextvars
import logging
import re
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self


class Named(Protocol):
    """Anything that has a request id: a call under way in some capture, an `Operation`."""

    @property
    def request_id(self) -> str:
        """Correlates everything of this call."""


current: Final[contextvars.ContextVar[Named | None]] = contextvars.ContextVar("indelible_call", default=None)
"""The call that this code belongs to. It stays after the call's end in tasks that the call left behind."""


resolvers: Final[list[Callable[[], Named | None]]] = []
"""Asked in order when the variable is empty: where a framework runs handlers in a context that is not the request's."""


def here() -> Named | None:
    """Return the call that this code runs in; None outside of any."""
    call = current.get()
    if call is None:
        for resolve in resolvers:
            call = resolve()
            if call is not None:
                break
    return call


def current_request_id() -> str | None:
    """Return the request id of the call that this code runs in; None outside of any."""
    call = here()
    return None if call is None else call.request_id


class Inside:
    """A context manager that makes a call the current one; may be left in another context than it was entered in."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: Named) -> None:
        self._call = call
        self._token: contextvars.Token[Named | None] | None = None

    def __enter__(self) -> Self:
        self._token = current.set(self._call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        try:
            current.reset(token)
        except ValueError:  # an asynchronous generator is finalised wherever the loop happens to be
            current.set(None)


MAX_LOGGED: Final = 128
"""Characters of a request id that a log record gets; as many as are taken from a wire."""

_UNFIT: Final = re.compile(r"[^!-~]")


def loggable(request_id: str) -> str:
    """Return a request id as it may stand in a log: visible ASCII, ``?`` in the place of all else, and not too long.

    What comes over a wire is no other; what code gives an operation may be a caller's header as it came, with a line
    break in it that would begin a record of its own.
    """
    return _UNFIT.sub("?", str(request_id)[:MAX_LOGGED])


class RequestIdFilter(logging.Filter):
    """Gives every log record the id of the call that it was made in, for a formatter's ``%(request_id)s``.

    Put it on a handler, then records of every logger have it. It drops no record. The id is one word (`loggable`).
    """

    def __init__(self, name: str = "", attribute: str = "request_id") -> None:
        """`attribute` is the record's field; outside a call it is ``-``. `name` is `logging.Filter`'s."""
        super().__init__(name)
        self._attribute = attribute

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the field; records of other loggers than `name` only get a ``-``. Always true."""
        mine = super().filter(record)
        named = current_request_id() if mine else None
        setattr(record, self._attribute, loggable(named) if named else "-")
        return True
