"""Calls that became background tasks: carrying one out is an operation of its own, which continues the call.

The rules that live here:

- a call that was answered with a task is ``completed``: accepted. The *execution* of the task is another call, without
  a request of its own on any wire: it begins, with its intent, before the client hears of the task, and ends with what
  is first heard of its end: an answer to who asks about the task (`Tasks.heard`), or who follows the worker
  (`Tasks.ended`);
- its end is recorded before the answer that tells of it is released;
- a task whose end nobody hears of leaves its intent: when the process is gone, the next start says ``interrupted``.

Sources: MCP 2025-11-25, "Tasks"; SEP-2663 (``io.modelcontextprotocol/tasks``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from indelible.capture.calling import Audited, Incoming, OpenCall
from indelible.capture.frames import bounded
from indelible.capture.outcomes import Verdict, judge_error, judge_result

MAX_TASKS: Final = 10_000
"""Tasks of one server that are waited for; the end of the oldest is given up."""


class Tasks:
    """The tasks of one server that are under way."""

    def __init__(self, audited: Audited) -> None:
        """`audited` makes the events."""
        self._audited = audited
        self._open: dict[str, OpenCall] = {}
        self.follow: Callable[[str, OpenCall], None] | None = None
        """Told of each task that is accepted, by who can see how it ends without being asked."""

    async def accepted(self, call: OpenCall, verdict: Verdict) -> None:
        """Let the execution begin, when a call was answered with a task. Raises TrailUnavailable."""
        task = verdict.metadata.get("task") if verdict.metadata else None
        if task is None or verdict.kind != "completed" or task in self._open:
            return
        asked = call.incoming
        incoming = Incoming(
            method=asked.method,
            name=asked.name,
            continues=call.request_id,
            trace_id=asked.trace_id,
            span_id=asked.span_id,
            metadata={"task": task},
            effects=asked.effects,
        )
        opened = await self._audited.abegin(incoming, call.peer)
        if call.target.original_name is not None:
            opened.learn(original_name=call.target.original_name)
        self._open[task] = opened
        if len(self._open) > MAX_TASKS:
            why = f"more than {MAX_TASKS} tasks were under way: no end was waited for"
            self.ended(next(iter(self._open)), Verdict("interrupted", error=why))
        if self.follow is not None:
            self.follow(task, opened)

    async def heard(self, method: str, params: object, result: object) -> None:
        """Take an answer about a task, in the wire's form: an end is recorded before it goes on.

        Raises TrailUnavailable: the answer must be withheld.
        """
        told = end_of(method, params, result)
        opened = self._open.pop(told[0], None) if told is not None else None
        if told is not None and opened is not None:
            await opened.afinish(told[1])

    def ended(self, task: str, verdict: Verdict) -> None:
        """Record how a task ended that nobody has asked about; never raises TrailUnavailable."""
        opened = self._open.pop(task, None)
        if opened is not None:
            opened.finish_unasked(verdict)


def end_of(method: str, params: object, result: object) -> tuple[str, Verdict] | None:
    """Return a task's id and what became of it, when an answer says that it has ended. Pure; never raises.

    `result` is that of ``tasks/get`` or ``tasks/cancel``, or of ``tasks/result``, which is the call's own.
    """
    if not isinstance(result, Mapping):
        return None
    if method == "tasks/result":
        task = params.get("taskId") if isinstance(params, Mapping) else None
        return (task, judge_result(result)) if isinstance(task, str) else None
    task, why = result.get("taskId"), result.get("statusMessage")
    if not isinstance(task, str):
        return None
    said = bounded(why) if isinstance(why, str) else None
    match result.get("status"):
        case "completed":
            inner = result.get("result")
            return task, judge_result(inner) if isinstance(inner, Mapping) else Verdict("completed")
        case "failed":
            return task, _failed(result.get("error"), said)
        case "cancelled":
            return task, Verdict("cancelled", error=said)
    return None


def _failed(error: Any, said: str | None) -> Verdict:
    """Judge a task that failed: SEP-2663 has the JSON-RPC error in the answer, 2025-11-25 only says that it did."""
    if isinstance(error, Mapping):
        return judge_error(error.get("code"), error.get("message"))
    return Verdict("tool_error", error=said)
