"""What a server asks its client from within a call (sampling, elicitation): one event of each, when it is answered.

The answer goes on whatever becomes of the event: it is nobody's call, and what cannot be recorded now is owed.
"""

from __future__ import annotations

import time
import types
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from indelible import context
from indelible.capture import methods
from indelible.capture.calling import OpenCall
from indelible.capture.faults import Faults
from indelible.capture.incoming import as_sent
from indelible.capture.inputs import Moment, asked, judge
from indelible.capture.outcomes import Verdict, judge_error, judge_exception


class Asked:
    """A request of the server to the client, from its sending to its answer."""

    def __init__(self, within: OpenCall, method: str, params: Any) -> None:
        """`method` is one of `methods.SERVER_CALLS`; `params` its parameters in the wire's form."""
        audited = within.audited
        at = Moment(time.time_ns(), time.monotonic_ns())
        source = audited.source(within.peer)
        self._call = asked(method, params, source, within.target, at, within.request_id)
        self._audited = audited

    def answered(self, result: Any) -> None:
        """Record the client's answer, in the wire's form; never raises."""
        self._finish(judge(result))

    def failed(self, exc: BaseException) -> None:
        """Record that there was none, or an error; never raises."""
        self._finish(judge_exception(exc, method=self._call.method))

    def refused(self, code: object, message: object) -> None:
        """Record that the client answered with a JSON-RPC error; never raises."""
        self._finish(judge_error(code, message))

    def _finish(self, verdict: Verdict) -> None:
        self._audited.recorder.record_or_owe(self._call.finish(verdict, time.monotonic_ns()))


Within = OpenCall | Callable[[], OpenCall | None]
"""The call in which a session's server asks; or who tells it, when the session is that of many calls."""


def listen(session: Any, within: Within, faults: Faults) -> None:
    """Record what the server asks the client over a session from now on.

    What is put there does not keep the session alive: a cycle would wait for the garbage collector, and cost more than
    everything else here.
    """
    original = getattr(session, "send_request", None)
    if original is None:
        return
    whose = None
    if getattr(original, "__self__", None) is session:
        original, whose = original.__func__, weakref.ref(session)
    try:
        session.send_request = partial(_ask, within, faults, original, whose)
    except AttributeError:
        return  # a session that takes no new attributes: its requests are not seen


def listen_once(session: Any, within: Within, faults: Faults) -> None:
    """Do the same, unless somebody listens there already."""
    if getattr(getattr(session, "send_request", None), "func", None) is not _ask:
        listen(session, within, faults)


def _ask(
    within: Within, faults: Faults, original: Any, whose: Any, request: Any, *args: Any, **kwargs: Any
) -> Awaitable[Any]:
    """Be a session's `send_request` during a call; whoever calls this holds the session."""
    if whose is not None:
        original = types.MethodType(original, whose())
    made: Awaitable[Any] = original(request, *args, **kwargs)
    request = getattr(request, "root", request)  # SDK 1.x
    if getattr(request, "method", None) not in methods.SERVER_CALLS:
        return made
    call = within if isinstance(within, OpenCall) else within()
    return made if call is None else _noted(_innermost(call), faults, made, request)


def _innermost(call: OpenCall) -> OpenCall:
    """Return the call whose tool asks: this one's may have called another."""
    here = context.current.get()
    return here if isinstance(here, OpenCall) and here.is_of(call.wire) and call.audited.keeps(here) else call


async def _noted(call: OpenCall, faults: Faults, made: Awaitable[Any], request: Any) -> Any:
    asked = None
    with faults.minor():
        asked = Asked(call, request.method, as_sent(getattr(request, "params", None)))
    try:
        result = await made
    except BaseException as exc:
        with faults.minor():
            if asked is not None:
                asked.failed(exc)
        raise
    with faults.minor():
        if asked is not None:
            asked.answered(as_sent(result))
    return result
