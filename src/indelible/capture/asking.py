"""What a server asks its client from within a call (sampling, elicitation): one event of each, when it is answered.

The answer goes on whatever becomes of the event: it is nobody's call, and what cannot be recorded now is owed.
"""

from __future__ import annotations

import time
from typing import Any

from indelible.capture import methods
from indelible.capture.calling import OpenCall
from indelible.capture.calls import Call
from indelible.capture.inputs import judge
from indelible.capture.outcomes import Verdict, judge_exception
from indelible.events import Target, format_time


class Asked:
    """A request of the server to the client, from its sending to its answer."""

    def __init__(self, within: OpenCall, method: str, params: Any) -> None:
        """`method` is one of `methods.SERVER_CALLS`; `params` its parameters in the wire's form."""
        audited, peer = within.audited, within.peer
        target = Target(
            backend=audited.backend,
            method=method,
            type=method.partition("/")[0],
            server_version=audited.server_version,
            protocol_version=peer.protocol_version,
        )
        call = Call(
            b"null",
            method,
            None,
            audited.source(peer),
            target,
            format_time(time.time_ns()),
            time.monotonic_ns(),
        )
        call.has_id = False  # the SDK numbers its requests itself
        call.event_type = methods.SERVER_CALLS[method]
        call.args = params
        call.continues = within.request_id
        self._call, self._audited = call, audited

    def answered(self, result: Any) -> None:
        """Record the client's answer, in the wire's form; never raises."""
        self._finish(judge(result))

    def failed(self, exc: BaseException) -> None:
        """Record that there was none, or an error; never raises."""
        self._finish(judge_exception(exc, method=self._call.method))

    def _finish(self, verdict: Verdict) -> None:
        self._audited.recorder.record_or_owe(self._call.finish(verdict, time.monotonic_ns()))
