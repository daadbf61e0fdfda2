"""What a server asks its client from within a call (sampling, elicitation): one event of each, when it is answered.

The answer goes on whatever becomes of the event: it is nobody's call, and what cannot be recorded now is owed.
"""

from __future__ import annotations

import time
from typing import Any

from indelible.capture.calling import OpenCall
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
